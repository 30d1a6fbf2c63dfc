"""Counts what one query reads, and collects what the reader of its answer should know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gputel.api.prometheus.meanings import reason_for_nothing
from gputel.errors import ExpressionFailed
from gputel.model.meanings import Meaning
from gputel.promql.syntax.nodes import Selector
from gputel.store.blocks.samples import Samples
from gputel.store.limits import Limits


class Tally:
    """Counts what one query has read. Its methods raise ExpressionFailed over a limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._series = self._samples = self._bytes = 0
        self._last = -1  # the series of the sample that was counted last
        self.warnings: set[str] = set()

    def warn_of(self, meaning: Meaning, unknown: Mapping[str, int]) -> None:
        """Note the samples of each name that the answer leaves out, as their unit is unknown."""
        for name, count in unknown.items():
            samples = "a sample" if count == 1 else f"{count} samples"
            self.warnings.add(
                f"{meaning.name} leaves {samples} of {name} with the value 1 out: this name is "
                "percent in DCGM 4.6 and a ratio from 4.7 on, and nothing else that the exporter "
                f"sends tells which it is; query {name} itself to see the values"
            )

    def warn_of_nothing(self, selector: Selector) -> None:
        """Note why a selector has found nothing, if its name tells it."""
        if reason := reason_for_nothing(selector.matchers):
            self.warnings.add(reason)

    def add_series(self, count: int, size: int) -> None:
        """Count series whose labels have ``size`` bytes."""
        self._series += count
        if self._series > self._limits.max_series:
            raise ExpressionFailed(
                f"the query selects more than {self._limits.max_series} series, the limit "
                "(--query-max-series): narrow it by more matchers"
            )
        self.add_bytes(size)

    def begin_selector(self) -> None:
        """What is counted next is another selector's, even if it is of the same series."""
        self._last = -1

    def add_samples(self, samples: Samples) -> None:
        """Count samples, which come in order of series, and their series."""
        ids = samples.series_id
        if not len(ids):
            return
        self.add_series(int(np.count_nonzero(np.diff(ids, prepend=self._last))), 0)
        self._last = int(ids[-1])
        self.add_others(samples)

    def add_others(self, samples: Samples) -> None:
        """Count samples, but not their series, which the query does not select."""
        self._samples += len(samples)
        if self._samples > self._limits.max_samples:
            raise ExpressionFailed(
                "query processing would load too many samples into memory: more than "
                f"{self._limits.max_samples}, the limit (--query-max-samples): narrow it by more "
                "matchers or a shorter time"
            )

    def add_bytes(self, count: int) -> None:
        """Count bytes of labels."""
        self._bytes += count
        if self._bytes > self._limits.max_bytes:
            raise ExpressionFailed(
                f"the labels of the series have more than {self._limits.max_bytes} bytes, the "
                "limit (--query-max-bytes): narrow it by more matchers or a shorter time"
            )
