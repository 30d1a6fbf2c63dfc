"""The texts of the elements of a JSON list, one by one, without parsing them into objects.

A body of some megabytes may be a list of millions of numbers, or be nested millions of levels deep.
Cutting it into the texts of its elements takes no more memory than the largest element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_TRIED = (
    4096,
    64 * 1024,
    1024 * 1024,
)  # characters in which the end of a nested element is looked for
_BLANK = re.compile(r"[ \t\n\r]*+")
_TEXT = r'"(?:[^"\\]|\\.)*+"'
_FLAT = re.compile(rf'\{{(?:[^"{{}}\[\]]|{_TEXT})*+\}}|{_TEXT}|[^\s,:"{{}}\[\]]++', re.DOTALL)
_ANY = json.JSONDecoder()


class NotJson(ValueError):
    """Why a text is no list of JSON and no element of one."""


def elements(text: str) -> Iterator[str]:
    """The texts of the elements of a list; the complete text if it is no list.

    Raises NotJson at the first element that is not JSON. The content of an element without
    nested objects or lists is not checked.
    """
    at = _skip(text, 0)
    if not text.startswith("[", at):
        end = _end_of(text, at, 0)
        yield text[at:end]
        at = _skip(text, end)
    else:
        at = _skip(text, at + 1)
        index = 0
        while not (text.startswith("]", at) and not index):
            end = _end_of(text, at, index)
            yield text[at:end]
            at = _skip(text, end)
            index += 1
            if not text.startswith(",", at):
                break
            at = _skip(text, at + 1)
        if not text.startswith("]", at):
            raise _not_json(index, "a comma or the end of the list is missing after the last one")
        at = _skip(text, at + 1)
    if at < len(text):
        raise NotJson("is not JSON: there is more text after its end")


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None  # it matches the empty string
    return match.end()


def _end_of(text: str, at: int, index: int) -> int:
    match = _FLAT.match(text, at)
    if match:
        return match.end()
    for size in _TRIED:
        try:
            return at + _ANY.raw_decode(text[at : at + size])[1]
        except ValueError:
            continue
        except RecursionError:
            break
    raise _not_json(index, "its end is not found")


def _not_json(index: int, what: str) -> NotJson:
    return NotJson(f"is not JSON at record {index}: {what}; send a list of records, or one record")
