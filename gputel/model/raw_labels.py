"""The labels in ``labels_raw``, in the forms that people have.

Exporters write Prometheus' text format, ``gpu="0",pod="train-0"``. Others write it with braces,
with single quotes, without quotes, with names that are quoted or have dots, or as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gputel.model.names import PARSED_COLUMNS

MOST_RAW_LABELS = 128
"""The most labels that are read from one text."""

LANE_LABELS = ("GPU_I_ID", "instance", "job")
"""Where these, the metric and the GPU are the same, a series ends when another one begins, as when
a pod starts. A series with other texts of them is of something else: another MIG instance, say."""

_IN_QUOTES = r'"((?:[^"\\]|\\.)*+)"' + r"|'((?:[^'\\]|\\.)*+)'"
_NAME = rf"(?:([\w./@-]++)|{_IN_QUOTES})"
_WORD = r"""[^\s,;"'{}\[\]=\\]++"""
_TEXT = rf"(?:{_IN_QUOTES}|({_WORD}(?:[ \t]++{_WORD}(?!\s*+=))*+))?+"
_PAIR = re.compile(rf"\s*+{_NAME}\s*+[=:]\s*+{_TEXT}\s*+(?:[,;]|\Z|(?<=\s))", re.DOTALL)
_TO_NEXT = re.compile(r'(?:[^"\'\\,]|\\.|' + _IN_QUOTES + r")*+,", re.DOTALL)
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*+\s*+(?=\{)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NO_NAME = re.compile(r"[^A-Za-z0-9_]")


class RawLabels(NamedTuple):
    """The labels of a text by name. ``whole``: they are all that the text says."""

    labels: dict[str, str]
    whole: bool


def read_raw(text: str) -> RawLabels:
    """The labels of a text, and whether it was read as a whole.

    Characters of a name that PromQL does not take become ``_``, as Prometheus does it for clients
    that do not know others: ``k8s.pod.name`` is ``k8s_pod_name``. It was not read as a whole if
    something in it is no label, if one name has two texts, or if it has too many labels.
    """
    text = text.strip()
    if metric := _METRIC.match(text):
        text = text[metric.end() :]
    pairs = _json_pairs(text)
    whole = pairs is not None
    if pairs is None:
        pairs, whole = _pairs(text)
    labels: dict[str, str] = {}
    for name, value in pairs:
        known = _NO_NAME.sub("_", name)
        known = f"_{known}" if known[:1].isdigit() else known
        if not value or labels.get(known) == value:
            continue
        if not known or known in labels or len(labels) == MOST_RAW_LABELS:
            whole = False
            continue
        labels[known] = value
    return RawLabels(labels, whole)


def raw_text(labels: Mapping[str, str]) -> str:
    """All labels in Prometheus' text format, sorted: ``a="1",b="2"``."""
    return ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels.items()))


def parsed_labels(labels_raw: str) -> dict[str, str]:
    """The labels of PARSED_COLUMNS in a text, by the names of the API; empty ones too."""
    labels = read_raw(labels_raw).labels
    return {column.api: labels.get(column.api, "") for column in PARSED_COLUMNS}


def _json_pairs(text: str) -> list[tuple[str, str]] | None:
    """The pairs of a JSON object of texts, numbers, and true or false; None if it is none."""
    if not text.startswith("{"):
        return None
    try:
        pairs = json.loads(
            text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=list
        )
    except (ValueError, RecursionError):
        return None
    plain = {None: "", True: "true", False: "false"}
    texts = []
    for name, value in pairs:
        if not isinstance(value, str | bool | None) or not _is_text(f"{name}{value}"):
            return None
        texts.append((name, value if isinstance(value, str) else plain[value]))
    return texts


def _is_text(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can name and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _pairs(text: str) -> tuple[list[tuple[str, str]], bool]:
    """The pairs of a text, and whether there is nothing else in it."""
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    pairs, whole = [], True
    for match in _matches(text.rstrip()):
        if match is None:
            whole = False
            continue
        name = next(group for group in match.group(1, 2, 3) if group is not None)
        value = next((group for group in match.group(4, 5, 6) if group is not None), "")
        pairs.append((_unescaped(name), _unescaped(value)))
    return pairs, whole


def _matches(text: str) -> Iterator[re.Match[str] | None]:
    """The pairs in order, and None for each stretch that is none."""
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        yield match
        if match is None:
            match = _TO_NEXT.match(text, at)
            if match is None:
                return
        at = match.end()


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text
