"""Spans of time as PromQL writes them: ``1h30m``.

Source: ``ParseDuration`` and ``Duration.String`` of prometheus/common/model/time.go.
"""

from __future__ import annotations

import re

_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000,
             "m": 60_000, "s": 1000, "ms": 1}  # fmt: skip
_SPAN = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit in _UNITS_MS))
_MOST_MS = (2**63 - 1) // 1_000_000
_MOST_DIGITS = 20
_WHOLE_ONLY = ("y", "w")  # written only if nothing smaller is left


def parse_duration(text: str) -> int:
    """Microseconds of a span like ``5m`` or ``1h30m``. Raises ValueError with what is wrong."""
    match = _SPAN.fullmatch(text)
    if match is None or not text:
        raise ValueError(f'not a valid duration string: "{text[:100]}"')
    if any(len(part or "") > _MOST_DIGITS for part in match.groups()):
        raise ValueError("duration out of range")
    pairs = zip(match.groups(), _UNITS_MS.values(), strict=True)
    total = sum(int(part) * unit for part, unit in pairs if part)
    if total > _MOST_MS:
        raise ValueError("duration out of range")
    return total * 1000


def format_duration(microseconds: int) -> str:
    """The span as Prometheus writes it."""
    rest = microseconds // 1000
    if not rest:
        return "0s"
    text = ""
    for unit, size in _UNITS_MS.items():
        if unit in _WHOLE_ONLY and rest % size:
            continue
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text
