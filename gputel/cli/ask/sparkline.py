"""A row of values as a line of blocks, ▁ for the smallest to █ for the largest."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value; a space for None and for what is not finite.

    Values that are all the same are a low line.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return " " * len(values)
    low, high = min(known), max(known)
    return "".join(_block(value, low, high) for value in values)


def _block(value: float | None, low: float, high: float) -> str:
    if value is None or not math.isfinite(value):
        return " "
    # Each end by itself, as the distance of the two may be more than a float can hold.
    scale = high / 2 - low / 2
    part = (value / 2 - low / 2) / scale if scale else 0.0
    return BLOCKS[min(int(part * len(BLOCKS)), len(BLOCKS) - 1)]
