"""Sizes and spans of time as people read them, each in the unit that suits it."""

from __future__ import annotations

_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")
_SPANS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def size(count: float) -> str:
    """A number of bytes: ``1,023 bytes``, ``3 MiB``; ``3.0 MiB`` if that is not exact."""
    unit = 0
    while count >= 1024 and unit < len(_SIZES) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:,.{0 if count == int(count) else 1}f} {_SIZES[unit]}"


def span(seconds: float) -> str:
    """A span of time to three digits: ``2.1 ms``, ``1.5 min``."""
    for unit, length in _SPANS:
        if abs(seconds) >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"


def age(seconds: float) -> str:
    """How long ago something was, in whole units: ``2 min``; ``now`` below a second."""
    for unit, length in _SPANS:
        if abs(seconds) >= length:
            return f"{seconds / length:.0f} {unit}"
    return "now"
