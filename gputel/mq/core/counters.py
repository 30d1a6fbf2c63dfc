"""What a queue counts and times."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Events since the queue was made. The values never fall."""

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
    dead_dropped: int = 0  # dead letters that gave way to a publish


class Latency:
    """A histogram of durations.

    ``counts`` has one bucket for each upper bound in ``BOUNDS`` (seconds), and a last one for
    longer times. ``total_s`` is the sum of all durations.
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
        """Count one duration. Equal durations in a row, as in a batch, are searched once."""
        if seconds != self._last:
            self._last = seconds
            self._bucket = bisect_left(self.BOUNDS, seconds)
        self.counts[self._bucket] += 1
        self.total_s += seconds

    def copy(self) -> Latency:
        """A copy that later calls do not change."""
        copied = Latency()
        copied.counts, copied.total_s = self.counts[:], self.total_s
        return copied

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)

    def quantile(self, part: float) -> float:
        """The seconds that a share ``part`` (0 to 1) did not exceed; 0 when nothing was counted.

        Interpolated within its bucket, as Prometheus' ``histogram_quantile`` does. Above the
        greatest bound, the result is that bound.
        """
        left = part * self.count
        lower = 0.0
        for bound, count in zip(self.BOUNDS, self.counts, strict=False):
            if count and left <= count:
                return lower + (bound - lower) * left / count
            left -= count
            lower = bound
        return lower if self.count else 0.0
