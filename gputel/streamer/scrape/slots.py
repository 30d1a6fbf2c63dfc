"""What was scraped in some slots of a shard: while it comes in, and complete."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from gputel.sources.exposition.reader import ParsedAnswer
from gputel.streamer.scrape.jobs import Target
from gputel.streamer.scrape.shards import Grid


@dataclass(frozen=True)
class TargetResult:
    """How the last scrape of a target went; ``samples`` of it are stored.

    All its values have been the same from ``frozen_since`` on, though they should move.
    """

    target: Target
    scraped_at: datetime
    duration_s: float
    samples: int
    refused: int
    error: str
    frozen_since: datetime | None = None


@dataclass(frozen=True)
class ScrapedSlots:
    """The samples of one or more slots of a shard, from ``first`` on.

    ``starts`` has the row of the batch at which each slot begins.
    """

    shard: str
    stream_id: str
    grid: Grid
    first: int
    starts: Sequence[int]
    batch: pa.RecordBatch
    results: Sequence[TargetResult]

    @property
    def after(self) -> int:
        """The slot after the last one."""
        return self.first + len(self.starts)

    def since(self, slot: int) -> pa.RecordBatch:
        """The samples of this slot and later ones."""
        return self.batch.slice(self.starts[slot - self.first])


@dataclass
class Scrape:
    """One scrape of one target."""

    target: Target
    scraped_at: datetime
    duration_s: float = 0.0
    answer: ParsedAnswer = field(default_factory=ParsedAnswer)
    error: str = ""
    frozen_since: datetime | None = None


@dataclass
class SlotRows:
    """The rows of slots that are not complete yet; ``scrape`` has the number of each row's one."""

    first: int
    starts: list[int] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    scrape: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)  # rows that say that a series has ended
    scrapes: list[Scrape] = field(default_factory=list)

    def end(self, series: Collection[int], at_us: int) -> None:
        """Add that these series have ended."""
        self.ended += range(len(self.series), len(self.series) + len(series))
        self.series += series
        self.values += [0.0] * len(series)
        self.times += [at_us] * len(series)

    def belong_to_last(self) -> None:
        """Note that the rows that were added are of the last scrape."""
        self.scrape += [len(self.scrapes) - 1] * (len(self.series) - len(self.scrape))
