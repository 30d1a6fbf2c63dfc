"""Which samples may land: none of dropped days, of the far future, or that cannot be."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel import metrics
from gputel.model.columns import TIMESTAMP
from gputel.model.possible import impossible_rows
from gputel.store.blocks.blocks import DAY_US, Int64

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Rejected:
    """Samples of one record batch that do not land."""

    expired: int = 0
    future: int = 0
    impossible: int = 0

    @property
    def total(self) -> int:
        """All of them together."""
        return self.expired + self.future + self.impossible

    def count(self) -> None:
        """Add them to the metrics."""
        metrics.COLLECTOR_ROWS_REJECTED.labels(reason="expired").inc(self.expired)
        metrics.COLLECTOR_ROWS_REJECTED.labels(reason="future").inc(self.future)
        metrics.COLLECTOR_ROWS_REJECTED.labels(reason="impossible").inc(self.impossible)


@dataclass(frozen=True)
class Admission:
    """The rule. Without a retention no sample is too old, without a limit none is too new.

    ``keep_impossible``: values that their field cannot have land too.
    """

    retention: timedelta | None = None
    future_limit: timedelta | None = None
    keep_impossible: bool = True

    def now(self) -> Window:
        """The times that may land now, by this machine's clock."""
        now_us = time.time_ns() // 1000
        return self.between(now_us, now_us)

    def between(self, earliest_us: int, latest_us: int) -> Window:
        """The times that may land if the present is between these two, in Unix microseconds."""
        first, last = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        if self.retention is not None:  # a day is dropped when all of it is older
            first = (earliest_us - self.retention // _MICROSECOND) // DAY_US * DAY_US
        if self.future_limit is not None:
            last = latest_us + self.future_limit // _MICROSECOND
        return Window(first, last, self.keep_impossible)


@dataclass(frozen=True)
class Window:
    """An inclusive span of Unix microseconds, and whether impossible values may land."""

    first_us: int
    last_us: int
    keep_impossible: bool = True

    def admit(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_] | None, Rejected]:
        """Which of the records may land (None: all of them), and how many may not."""
        ts = batch.column(TIMESTAMP).view(pa.int64()).to_numpy()
        admitted, rejected = self._admit_times(ts)
        impossible = None if self.keep_impossible else impossible_rows(batch)
        if impossible is None:
            return admitted, rejected
        if admitted is not None:
            impossible &= admitted
        rejected = replace(rejected, impossible=int(impossible.sum()))
        return ~impossible if admitted is None else admitted & ~impossible, rejected

    def _admit_times(self, ts: Int64) -> tuple[npt.NDArray[np.bool_] | None, Rejected]:
        low, high = int(ts.min(initial=self.last_us)), int(ts.max(initial=self.first_us))
        if low >= self.first_us and high <= self.last_us:
            return None, Rejected()
        expired, future = ts < self.first_us, ts > self.last_us
        return ~(expired | future), Rejected(int(expired.sum()), int(future.sum()))
