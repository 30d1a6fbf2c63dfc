"""What a queue counts and times."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What happened since the queue was made; none of them ever falls."""

    published: int = 0
    duplicates: int = 0
    delivered: int = 0
    redelivered: int = 0
    acked: int = 0
    nacked: int = 0
    lease_timeouts: int = 0  # leases that ran out
    expired: int = 0  # messages whose time to live was over
    dead_lettered: int = 0
    replayed: int = 0
    purged: int = 0


class Latency:
    """How long something took, each time: a histogram in plain numbers.

    ``counts`` has the times in each bucket, one for each of ``BOUNDS``, the greatest seconds that
    count there, and one for all above. ``total_s`` is their sum.
    """

    BOUNDS = (
        *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
        *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
    )

    __slots__ = ("_bucket", "_last", "counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.total_s = 0.0
        self._last = -1.0
        self._bucket = 0

    def add(self, seconds: float) -> None:
        """Count one. Those of a batch are mostly alike, and then need no search."""
        if seconds != self._last:
            self._last = seconds
            self._bucket = bisect_left(self.BOUNDS, seconds)
        self.counts[self._bucket] += 1
        self.total_s += seconds

    def copy(self) -> Latency:
        """The same numbers, which stay as they are."""
        copied = Latency()
        copied.counts, copied.total_s = self.counts[:], self.total_s
        return copied

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def quantile(self, part: float) -> float:
        """Seconds that ``part`` of them, 0 to 1, did not exceed; 0 when nothing was counted.

        It lies somewhere in a bucket, and is taken to lie in proportion, as Prometheus'
        ``histogram_quantile`` does; above the greatest bound, it is that bound.
        """
        left = part * self.count
        lower = 0.0
        for bound, count in zip(self.BOUNDS, self.counts, strict=False):
            if count and left <= count:
                return lower + (bound - lower) * left / count
            left -= count
            lower = bound
        return lower if self.count else 0.0
