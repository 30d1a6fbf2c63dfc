"""Scrapes the targets of one shard, slot by slot, and makes batches of their samples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

import numpy as np

from gputel import metrics
from gputel.backoff import pause
from gputel.errors import ScrapeFailed
from gputel.model.columns import with_ends
from gputel.model.entities import SCRAPES
from gputel.sources.dcgm.flaws import find_flaws, without_rows
from gputel.sources.exposition.reader import BadLine, ParsedAnswer
from gputel.sources.exposition.series_table import SeriesTable
from gputel.streamer.scrape.answers import require_usable, rules_of
from gputel.streamer.scrape.fetch import FetchedAnswer, Fetcher
from gputel.streamer.scrape.jobs import ScrapeJob, Target
from gputel.streamer.scrape.shards import grid_of
from gputel.streamer.scrape.slots import Scrape, ScrapedSlots, SlotRows, TargetResult
from gputel.streamer.scrape.target_reader import TargetReader

_LARGE_BYTES = 256 * 1024  # an answer that takes the event loop for too long
_MOST_FORGOTTEN = 1000  # series of a shard that its last slot did not have


class Shard:
    """Scrapes the targets of a shard until it is stopped; ``done`` takes what it scraped.

    ``now_us`` is the clock that all streamers share.
    """

    def __init__(
        self,
        name: str,
        job: ScrapeJob,
        fetcher: Fetcher,
        now_us: Callable[[], int],
        done: Callable[[ScrapedSlots], None],
        *,
        batch_s: float,
        keep_impossible: bool,
    ) -> None:
        self.name = name
        self.job = job
        self._fetcher = fetcher
        self._now_us = now_us
        self._done = done
        self._keep_impossible = keep_impossible
        self._grid = grid_of(name, job.interval_s)
        job_name, number = name.rsplit("/", 1)
        self._stream_id = f"{SCRAPES}{job_name}/{round(job.interval_s * 1000)}/{number}"
        self._most_slots = max(1, int(batch_s / job.interval_s))
        self._table = SeriesTable()
        self._readers: dict[str, TargetReader] = {}  # by URL
        self._rules = rules_of(job)
        self._parsing = asyncio.Lock()
        self.targets: Sequence[Target] = ()
        """Those that the next slot scrapes."""
        self.unlisted: Collection[str] = ()
        """URLs of targets that are listed no more: their series end when the shard is stopped."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Scrape each slot from the next one on. When stopped, the slot that has begun is done."""
        slot = self._grid.slot_at(self._now_us())
        rows = SlotRows(slot + 1)
        while True:
            slot = self._next(slot)
            wait_s = (self._grid.begin_us(slot) - self._now_us()) / 1_000_000
            if await pause(wait_s, stopping):
                self._close(rows)
                self._close(self._ends(slot))
                return
            if slot < self._grid.slot_at(self._now_us()):  # the process was stopped, or is busy
                continue
            if slot != rows.first + len(rows.starts):
                self._close(rows)
                rows = SlotRows(slot)
            await self._scrape_slot(slot, rows)
            if len(rows.starts) >= self._most_slots:
                self._close(rows)
                rows = SlotRows(slot + 1)

    def _next(self, last: int) -> int:
        """The slot to scrape after the last one: those that have passed are left out."""
        present = self._grid.slot_at(self._now_us())
        if last > present + 1:  # the shared clock was set back
            return present + 1
        return max(last + 1, present)

    async def _scrape_slot(self, slot: int, rows: SlotRows) -> None:
        at_us = self._grid.begin_us(slot)
        targets = self.targets
        before, self._readers = self._readers, {each.url: self._reader(each) for each in targets}
        rows.starts.append(len(rows.series))
        scrapes = await asyncio.gather(*(self._scrape(each, at_us) for each in targets))
        for scrape in scrapes:
            self._add(rows, scrape, at_us)
        for url, reader in before.items():
            if self._readers.get(url) is not reader:
                rows.end(reader.all_series(), at_us)
        rows.belong_to_last()

    def _ends(self, slot: int) -> SlotRows:
        """The rows of a slot in which the targets end that are listed no more, if there are any."""
        rows = SlotRows(slot)
        for url in self.unlisted:
            if url in self._readers:
                rows.starts = [0]
                rows.end(self._readers[url].all_series(), self._grid.begin_us(slot))
        rows.belong_to_last()
        return rows

    def _reader(self, target: Target) -> TargetReader:
        known = self._readers.get(target.url)
        if known and known.target == target:
            return known
        return TargetReader(target, self._rules, self._table, self.job.sample_limit)

    async def _scrape(self, target: Target, at_us: int) -> Scrape:
        scrape = Scrape(target, datetime.fromtimestamp(self._now_us() / 1_000_000, UTC))
        began = time.monotonic()
        try:
            answer = await self._fetcher.get(self.job, target, self._within_s(at_us))
            scrape.duration_s = time.monotonic() - began
            reader = self._readers[target.url]
            scrape.answer = await self._parse(reader, answer, at_us)
            if since_us := reader.frozen_since_us(scrape.answer, at_us):
                scrape.frozen_since = datetime.fromtimestamp(since_us / 1_000_000, UTC)
        except ScrapeFailed as failure:
            scrape.duration_s = time.monotonic() - began
            scrape.error = failure.message
        metrics.SCRAPE_SECONDS.observe(scrape.duration_s)
        result = "failed" if scrape.error else "ok"
        metrics.SCRAPES.labels(job=self.job.name, result=result).inc()
        return scrape

    def _within_s(self, at_us: int) -> float:
        """Until the next slot begins: else each would begin a bit later than the one before.

        A slot that begins late has half the timeout at least.
        """
        left_s = (at_us + self._grid.interval_us - self._now_us()) / 1_000_000
        return max(left_s, self.job.timeout_s / 2)

    async def _parse(self, reader: TargetReader, answer: FetchedAnswer, at_us: int) -> ParsedAnswer:
        """Parse an answer. Raises ScrapeFailed if it is not one of an exporter, or too long."""
        async with self._parsing:
            if len(answer.body) > _LARGE_BYTES:
                parsed = await asyncio.to_thread(reader.parse, answer, at_us)
            else:
                parsed = reader.parse(answer, at_us)
        require_usable(parsed)
        return parsed

    def _add(self, rows: SlotRows, scrape: Scrape, at_us: int) -> None:
        """Add the samples of a scrape, and those of its target itself."""
        parsed, reader = scrape.answer, self._readers[scrape.target.url]
        rows.series += parsed.series
        rows.values += parsed.values
        rows.times += parsed.times
        own = (float(not scrape.error), scrape.duration_s, float(len(parsed.series)))
        rows.series += reader.own_series()
        rows.values += own
        rows.times += [at_us] * len(own)
        rows.end(reader.gone(None if scrape.error else parsed, at_us), at_us)
        rows.scrapes.append(scrape)
        rows.belong_to_last()
        self._note_lines(scrape)

    def _note_lines(self, scrape: Scrape) -> None:
        foreign, malformed = scrape.answer.foreign, scrape.answer.malformed
        metrics.SCRAPE_SAMPLES.labels(job=self.job.name).inc(len(scrape.answer.series))
        for reason, count in (("no_gpu", len(foreign)), ("malformed", len(malformed))):
            if count:
                metrics.SCRAPE_LINES_REFUSED.labels(reason=reason).inc(count)
        if malformed:
            self._readers[scrape.target.url].tell(malformed)

    def _close(self, rows: SlotRows) -> None:
        """Hand over the complete slots."""
        if not rows.starts:
            return
        batch = self._table.batch(rows.series, rows.values, rows.times)
        flaws = find_flaws(batch, keep_impossible=self._keep_impossible)
        ended = np.zeros(len(rows.series), np.bool_)
        ended[rows.ended] = True
        batch = with_ends(batch, ended)
        starts = np.array(rows.starts, np.int64)
        scrape = np.array(rows.scrape, np.int64)
        refused = np.zeros(len(rows.scrapes) + 1, np.int64)  # the last one: of no scrape
        if flaws:
            batch, kept = without_rows(batch, flaws)
            starts = np.append(0, np.cumsum(kept))[starts]
            np.add.at(refused, scrape[~kept], 1)
            self._tell_flaws(rows, flaws)
        results = {
            each.target.url: TargetResult(
                each.target,
                each.scraped_at,
                each.duration_s,
                len(each.answer.series) - int(count),
                len(each.answer.malformed) + int(count),
                each.error,
                each.frozen_since,
            )
            for each, count in zip(rows.scrapes, refused[:-1], strict=True)
        }
        self._done(
            ScrapedSlots(
                self.name,
                self._stream_id,
                self._grid,
                rows.first,
                starts.tolist(),
                batch,
                list(results.values()),
            )
        )
        self._forget(len(rows.series) // len(rows.starts))

    def _tell_flaws(self, rows: SlotRows, flaws: dict[int, tuple[str, str]]) -> None:
        metrics.SCRAPE_LINES_REFUSED.labels(reason="bad_value").inc(len(flaws))
        told: dict[str, list[BadLine]] = {}
        begins = np.searchsorted(rows.scrape, np.arange(len(rows.scrapes)))
        for row, (_, reason) in flaws.items():
            number = rows.scrape[row]
            if number < 0:
                continue
            scrape, place = rows.scrapes[number], row - int(begins[number])
            if place < len(scrape.answer.lines):  # else it is of the target itself
                bad = BadLine(scrape.answer.lines[place], reason)
                told.setdefault(scrape.target.url, []).append(bad)
        for url, lines in told.items():
            if url in self._readers:
                self._readers[url].tell(lines)

    def _forget(self, rows: int) -> None:
        """Forget old series if there are too many."""
        if len(self._table) > 2 * rows + _MOST_FORGOTTEN:
            self._table = SeriesTable()
            for reader in self._readers.values():
                reader.forget(self._table)
