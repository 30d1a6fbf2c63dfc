"""Durations and sizes as Prometheus writes them: ``1m30s``, ``16MB``.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#configuration-file
"""

from __future__ import annotations

import re

from gputel.times import parse_duration

_SIZE = re.compile(r"([0-9]{1,15})\s?(?:([KMGT])i?)?B?")
_SIZES = {"K": 10, "M": 20, "G": 30, "T": 40}  # powers of two, with and without the "i"


def parse_seconds(text: str) -> float:
    """The seconds of a duration. Raises ValueError, which shows how to write one."""
    try:
        return parse_duration(text) / 1_000_000
    except ValueError:
        raise ValueError(f"{text!r} is not a duration like 10s, 1m30s or 500ms") from None


def parse_size(text: str) -> int:
    """The bytes of a size; MB and MiB are the same, as in Prometheus. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a size like 16MB, 512KiB or 1000000")
    return int(match[1]) << _SIZES.get(match[2], 0)
