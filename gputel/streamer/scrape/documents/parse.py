"""Text in YAML or JSON, from people and programs, of which nothing is trusted.

In YAML a few lines of aliases can stand for billions of values, and an alias can contain itself: so
the values are counted as if each alias were written out, and too many are refused. The library's
fast loader crashes the process for thousands of lists in each other: so they are counted first.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any

from gputel.printable import printable

MOST_YAML_BYTES = 4 << 20  # the library takes seconds for so much
_MOST_VALUES = 1_000_000
_MOST_DEPTH = 64


class _TooDeep(Exception):
    """Lists or mappings are too deep in each other."""


def parse_json(data: bytes) -> object:
    """The document. Raises ValueError, which says what is wrong and where."""
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{place}: is not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8") from None
    except RecursionError:
        raise ValueError("has too many lists in each other") from None


def parse_yaml(data: bytes) -> object:
    """The document. Raises ValueError, which says what is wrong and where.

    The error never has a part of the text, which may be a password.
    """
    import yaml

    if len(data) > MOST_YAML_BYTES:
        raise ValueError("is over 4 MiB, which is too large for YAML; write JSON")
    loader = _loader()
    try:
        text = data.decode("utf-8-sig")
        _check_depth(yaml.parse(text, Loader=loader))
        document = yaml.load(text, Loader=loader)  # noqa: S506
    except _TooDeep:
        raise ValueError(f"has over {_MOST_DEPTH} lists or mappings in each other") from None
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, printable(error.problem or "is damaged")
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}is not YAML: {problem}") from None
    except yaml.YAMLError:
        raise ValueError("is not YAML: has characters that cannot be printed") from None
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
        # The library does not check what a number, a date or a tagged value is made of.
        raise ValueError("has a number or date that cannot be read; write it in quotes") from None
    _count(document, {}, set())
    return document


def _check_depth(events: Iterable[Any]) -> None:
    """Raise _TooDeep for too many lists or mappings in each other."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MOST_DEPTH:
                raise _TooDeep
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _loader() -> Any:
    """The safe loader, the fast one where it is built in, that refuses a key given twice."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class UniqueKeys(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            if isinstance(node, yaml.MappingNode):
                _check_keys([key for key, _ in node.value])
            result: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return result

    return UniqueKeys


def _check_keys(keys: list[Any]) -> None:
    """Refuse a key that is given twice, and merge keys, which can be a bomb of aliases too."""
    import yaml

    seen = set()
    for key in keys:
        problem = ""
        if key.tag == "tag:yaml.org,2002:merge":
            problem = "merge keys (<<) are not supported"
        elif isinstance(key, yaml.ScalarNode):
            problem = f"the key {key.value[:40]!r} is given twice" if key.value in seen else ""
            seen.add(key.value)
        if problem:
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)


def _count(value: object, known: dict[int, int], inside: set[int]) -> int:
    """The values in a value, each as often as it is meant. ``inside``: what contains it."""
    if not isinstance(value, (dict, list, set)):
        return 1
    if id(value) in inside:
        raise ValueError("has an alias that contains itself")
    if id(value) not in known:
        inside.add(id(value))
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known, inside) for part in parts)
        inside.discard(id(value))
    if known[id(value)] > _MOST_VALUES:
        raise ValueError(f"has over {_MOST_VALUES:,} values, aliases written out")
    return known[id(value)]
