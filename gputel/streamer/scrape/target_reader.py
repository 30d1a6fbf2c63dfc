"""Reads the answers of one target, from one slot to the next."""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Sequence

from gputel.model.entities import target_uuid
from gputel.model.meanings import MEANINGS
from gputel.model.names import LABEL_COLUMNS, METRIC, RAW, UUID
from gputel.model.raw_labels import raw_text
from gputel.sources.exposition.reader import BadLine, ExpositionReader, ParsedAnswer
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.exposition.target_rules import TargetRules
from gputel.streamer.scrape.fetch import FetchedAnswer
from gputel.streamer.scrape.jobs import Target

log = logging.getLogger("gputel.streamer")

UP, DURATION, SCRAPED = "up", "scrape_duration_seconds", "scrape_samples_scraped"
"""The samples of a target itself, by the names of Prometheus."""

FROZEN_US = 600_000_000
"""Values that are all the same for so long are a sign that the exporter reads no new ones."""

_MOVING = {
    metric
    for name in ("gputel:gpu_power_watts", "gputel:gpu_energy_joules_total")
    for metric in MEANINGS[name].scales
}
"""Metrics that change from reading to reading, also of a GPU that does nothing."""

_LOG_EVERY_S = 3600.0  # an example of bad lines
_SHOWN = 200


class TargetReader:
    """Reads the answers of one target, and limits the log lines about them."""

    def __init__(
        self, target: Target, rules: TargetRules, table: SeriesTable, most_samples: int
    ) -> None:
        self.target = target
        self._most_samples = most_samples
        self._rules = rules
        self._table = table
        self._reader: ExpositionReader | None = None
        self._open_metrics = False
        self._own: list[int] = []
        self._told_at: float | None = None
        self._values = 0  # a hash of those of the last answer
        self._same_since_us = 0

    def parse(self, answer: FetchedAnswer, at_us: int) -> ParsedAnswer:
        """The samples of an answer, in the table of the shard."""
        if self._reader is None or self._open_metrics != answer.open_metrics:
            self._open_metrics = answer.open_metrics
            self._reader = ExpositionReader(
                self.target.labels,
                open_metrics=answer.open_metrics,
                rules=self._rules,
                table=self._table,
                most_samples=self._most_samples,
                live=True,
            )
        return self._reader.parse(answer.body, at_us)

    def frozen_since_us(self, answer: ParsedAnswer, at_us: int) -> int | None:
        """Since when all values have been the same; None if they move, or need not.

        Called with each answer, and its time.
        """
        values = hash(array("d", answer.values).tobytes())
        if values != self._values:
            self._values, self._same_since_us = values, at_us
        if at_us - self._same_since_us < FROZEN_US:
            return None
        moving = _MOVING & self._table.texts_of(METRIC, answer.series)
        return self._same_since_us if moving else None

    def own_series(self) -> list[int]:
        """The series of the target itself: UP, DURATION and SCRAPED."""
        if not self._own:
            given = self.target.labels
            labels = {each.name: given.get(each.prometheus or "", "") for each in LABEL_COLUMNS}
            labels[UUID] = target_uuid(self.target.labels["instance"])
            labels[RAW] = raw_text(self.target.labels)
            for name in (UP, DURATION, SCRAPED):
                self._own.append(self._table.index_of(tuple({**labels, METRIC: name}.values())))
        return self._own

    def gone(self, answer: ParsedAnswer | None, at_us: int) -> set[int]:
        """The series that this answer lacks and the one before had; None: there was no answer."""
        return self._reader.gone(answer, at_us) if self._reader else set()

    def all_series(self) -> set[int]:
        """The series of the last answer, and those of the target itself."""
        return self.gone(None, 0) | set(self.own_series())

    def forget(self, table: SeriesTable) -> None:
        """Put series into another table from now on."""
        self._table, self._own = table, []
        if self._reader:
            self._reader.forget(table)

    def tell(self, bad: Sequence[BadLine]) -> None:
        """Log bad lines of the target, with one as an example, but not often."""
        now = time.monotonic()
        if self._told_at is not None and now - self._told_at < _LOG_EVERY_S:
            return
        self._told_at = now
        log.warning(
            "%s: %d lines are not stored, such as line %d: %s",
            self.target.url,
            len(bad),
            bad[0].line + 1,
            bad[0].reason[:_SHOWN],
        )
