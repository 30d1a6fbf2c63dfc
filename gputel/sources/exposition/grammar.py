"""One line of an exposition, parsed strictly: a bad line is refused alone, with its reason.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ (text 0.0.4, with quoted
names) and OpenMetrics 1.0.
"""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple

from gputel.printable import shortened

_short = partial(shortened, most=60)
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PLAIN = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\]*)"(?:,|(?=}))')
"""A label as most exporters write it: without blanks and escapes. The others take longer."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_GAP = re.compile(r"[ \t]*")
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE
)
# In microseconds both fit 64 bits.
_MILLISECONDS = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"[+-]?\d{1,12}(?:\.\d*)?", re.ASCII)
_ESCAPED = re.compile(r'\\([\\"n])')


class LineFlaw(ValueError):
    """A line is no sample. ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Sample(NamedTuple):
    """One line. ``labels`` has no empty values; ``time_us`` is None if the line has no time.

    ``head_end`` is the index in the line of the first character after the name and the labels.
    """

    name: str
    labels: dict[str, str]
    value: float
    time_us: int | None
    head_end: int


def parse_line(line: str, *, open_metrics: bool = False) -> Sample:
    """The sample of a line without its line feed. Raises LineFlaw.

    The time is in milliseconds; in OpenMetrics it is in seconds, and an exemplar may follow.
    """
    at = _gap(line, 0)
    name, at = _metric_name(line, at)
    after_name = at
    at = _gap(line, at)
    labels: dict[str, str] = {}
    if at < len(line) and line[at] == "{":
        name, at = _labels(line, at + 1, name, labels)
        after_name = at
    elif after_name == at:
        raise LineFlaw(f"no value after the name {_short(name)!r}")
    if not name:
        raise LineFlaw("it has no metric name")
    value, time_us = parse_rest(line[at:], open_metrics=open_metrics)
    return Sample(name, labels, value, time_us, after_name)


def parse_rest(rest: str, *, open_metrics: bool = False) -> tuple[float, int | None]:
    """The value and the time (Unix microseconds, or None) after the labels. Raises LineFlaw."""
    if open_metrics:
        rest = rest.partition(" # ")[0]
    words = rest.split()
    if not words:
        raise LineFlaw("it has no value")
    if not _NUMBER.fullmatch(words[0]):
        raise LineFlaw(f"the value is no number: {_short(' '.join(words))!r}")
    if len(words) > 2:
        raise LineFlaw(f"something follows the time: {_short(words[2])!r}")
    return float(words[0]), _time_us(words[1], open_metrics) if len(words) == 2 else None


def _time_us(text: str, open_metrics: bool) -> int:
    if open_metrics:
        if not _SECONDS.fullmatch(text):
            raise LineFlaw(f"the time is no number of seconds: {_short(text)!r}")
        whole, _, part = text.partition(".")
        sign = -1 if whole.startswith("-") else 1
        return int(whole) * 1_000_000 + sign * int(part[:6].ljust(6, "0"))
    if not _MILLISECONDS.fullmatch(text):
        raise LineFlaw(f"the time is no number of milliseconds: {_short(text)!r}")
    return int(text) * 1000


def _metric_name(line: str, at: int) -> tuple[str, int]:
    match = _NAME.match(line, at)
    if match:
        return match[0], match.end()
    if at < len(line) and line[at] == "{":
        return "", at
    raise LineFlaw(f"it does not begin with a metric name: {_short(line[at:])!r}")


def _labels(line: str, at: int, name: str, labels: dict[str, str]) -> tuple[str, int]:
    """Fill ``labels``; returns the metric's name, which may stand among them, and the end."""
    while True:
        plain = _PLAIN.match(line, at)
        if plain and plain[1] not in labels:
            labels[plain[1]], at = plain[2], plain.end()
            continue
        at = _gap(line, at)
        if line.startswith("}", at):
            return name, at + 1
        label, at = _label_name(line, at)
        at = _gap(line, at)
        if line.startswith("=", at):
            value, at = _quoted(line, _gap(line, at + 1), f"the value of {_short(label)}")
            if label in labels:
                raise LineFlaw(f"the label {_short(label)} is there twice")
            labels[label] = value
        elif not name and not labels:
            name = label
        else:
            raise LineFlaw(f"no = after the label {_short(label)}")
        at = _gap(line, at)
        if line.startswith(",", at):
            at += 1
        elif not line.startswith("}", at):
            raise LineFlaw(
                f"after the label {_short(label)} there is neither , nor }}: a quote in its value "
                'must be written \\"'
            )


def _label_name(line: str, at: int) -> tuple[str, int]:
    if line.startswith('"', at):
        return _quoted(line, at, "a name")
    match = _LABEL_NAME.match(line, at)
    if match is None:
        raise LineFlaw(f"no label name where one must be: {_short(line[at:])!r}")
    return match[0], match.end()


def _quoted(line: str, at: int, what: str) -> tuple[str, int]:
    match = _QUOTED.match(line, at)
    if match is None:
        raise LineFlaw(f"{what} is not in quotes, or its quote is never closed")
    text = match[1]
    if "\\" in text:
        text = _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text)
    return text, match.end()


def _gap(line: str, at: int) -> int:
    match = _GAP.match(line, at)
    assert match is not None
    return match.end()
