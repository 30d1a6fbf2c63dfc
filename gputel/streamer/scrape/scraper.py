"""The streamer of live sources: it scrapes its share of the targets, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gputel import metrics
from gputel.backoff import pause
from gputel.errors import GputelError, StoreError, StoreUnavailable
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.write.scrapes import KnownTarget, Scrapes, TargetReport
from gputel.streamer.scrape.fetch import Fetcher
from gputel.streamer.scrape.jobs import ScrapeJob, Target
from gputel.streamer.scrape.outbox import Outbox
from gputel.streamer.scrape.shard import Shard
from gputel.streamer.scrape.shards import shards_of, targets_by_shard
from gputel.streamer.scrape.slots import ScrapedSlots, TargetResult
from gputel.streamer.scrape.targets import TargetList

log = logging.getLogger("gputel.streamer")

_BEAT_S = 1.5
_LEASE_S = 5.0  # of this streamer; with a beat it is the time until others take its shards
_FIRST_S = 5.0  # for the first answers of discoveries
_GATHER_S = 1.0  # for which the slots of several shards wait for each other, at most
_SETTLE_S = 5.0
_LEAVE_S = 2.0
_MOST_LINES = 10  # about targets, in each beat

Shards = Mapping[str, tuple[ScrapeJob, list[Target]]]


@dataclass
class _Running:
    """A shard that this streamer scrapes."""

    shard: Shard
    task: asyncio.Task[None]
    stopping: asyncio.Event
    results: dict[str, TargetResult] = field(default_factory=dict)  # the last ones, by URL


class Scraper:
    """Scrapes the shards whose turn it is, among all streamers of the same store."""

    def __init__(
        self,
        targets: TargetList,
        client: QueueClient,
        scrapes: Scrapes,
        owner: str,
        *,
        batch_s: float,
        keep_impossible: bool,
    ) -> None:
        self._targets = targets
        self._scrapes = scrapes
        self._owner = owner
        self._batch_s = batch_s
        self._keep_impossible = keep_impossible
        self._outbox = Outbox(scrapes, client, min(batch_s, _GATHER_S))
        self._version = -1  # of the lists of targets, from which the next two come
        self._shards: Shards = {}
        self._listed: frozenset[tuple[str, str]] = frozenset()  # job and URL of each target
        self._running: dict[str, _Running] = {}
        self._alive: dict[str, list[str]] = {}
        self._reports: dict[tuple[str, str], TargetResult] = {}  # to be written, by shard and URL
        self._added: tuple[int, frozenset[str]] | None = None  # as below
        self._forgotten: tuple[int, frozenset[str]] | None = None  # lists and shards of that time
        self._jobs: set[str] = set()  # that were ever listed
        self._lines = 0  # about targets, since the last beat
        self._outage = Outage(log, "the database")
        self._unwritten = Outage(log, "the list of targets", "cannot be written")

    async def run(self, stopping: asyncio.Event) -> None:
        """Scrape until ``stopping`` is set; then publish what was scraped."""
        try:
            async with Fetcher() as fetcher, asyncio.TaskGroup() as group:
                listing = group.create_task(self._targets.run(stopping))
                sending = group.create_task(self._outbox.run())
                settling = group.create_task(self._settle(stopping))
                await self._targets.first(_FIRST_S)
                await self._keep_shards(fetcher, group, stopping)
                await self._end_shards()
                await self._outbox.flushed()
                for task in (listing, sending, settling):
                    task.cancel()
        finally:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self._scrapes.leave()

    async def _keep_shards(
        self, fetcher: Fetcher, group: asyncio.TaskGroup, stopping: asyncio.Event
    ) -> None:
        while not stopping.is_set():
            self._take_lists()
            try:
                self._alive = await self._scrapes.beat(self._shards, _LEASE_S)
                self._outage.ends()
            except StoreUnavailable as error:  # nobody else can take over then, or publish
                self._outage.begins(error)
            mine = shards_of(self._owner, self._shards, self._alive) if self._alive else set()
            await self._write(self._add_targets(mine))
            self._start_and_stop(mine, fetcher, group)
            await self._write(self._report())
            await self._write(self._forget_targets(mine))
            await pause(_BEAT_S, stopping)

    def _take_lists(self) -> None:
        """Take the present targets, if their lists have changed."""
        if self._version != self._targets.version:
            self._version = self._targets.version
            jobs = self._targets.jobs()
            self._shards = targets_by_shard(jobs)
            self._listed = frozenset(
                (target.job, target.url) for _, targets in jobs.values() for target in targets
            )

    async def _write(self, work: Coroutine[Any, Any, None]) -> None:
        """Write about targets, for people: scrapes go on if that fails."""
        try:
            await work
        except StoreUnavailable:
            pass  # the next beat tells
        except StoreError as error:  # each reason is logged once
            self._unwritten.begins(error)

    def _start_and_stop(self, mine: set[str], fetcher: Fetcher, group: asyncio.TaskGroup) -> None:
        for name, running in list(self._running.items()):
            shard = running.shard
            if name not in mine or shard.job != self._shards[name][0]:
                shard.unlisted = [
                    target.url
                    for target in shard.targets
                    if (target.job, target.url) not in self._listed
                ]
                running.stopping.set()
            if running.task.done():
                del self._running[name]
        for name in mine:
            job, targets = self._shards[name]
            if name not in self._running:
                self._running[name] = self._start(name, job, fetcher, group)
            self._running[name].shard.targets = targets
        metrics.SCRAPE_SHARDS.set(len(self._running))

    def _start(
        self, name: str, job: ScrapeJob, fetcher: Fetcher, group: asyncio.TaskGroup
    ) -> _Running:
        shard = Shard(
            name,
            job,
            fetcher,
            self._scrapes.now_us,
            self._note_scraped,
            batch_s=self._batch_s,
            keep_impossible=self._keep_impossible,
        )
        stopping = asyncio.Event()
        return _Running(shard, group.create_task(shard.run(stopping)), stopping)

    async def _end_shards(self) -> None:
        """Stop all shards; a slot that has begun is completed."""
        for running in self._running.values():
            running.stopping.set()
        if self._running:
            await asyncio.wait([running.task for running in self._running.values()])
        await self._write(self._report())

    def _note_scraped(self, slots: ScrapedSlots) -> None:
        self._outbox.put(slots)
        running = self._running[slots.shard]
        for result in slots.results:
            self._reports[slots.shard, result.target.url] = result
        self._tell_changes(running, slots.results)
        running.results = {result.target.url: result for result in slots.results}

    def _tell_changes(self, running: _Running, results: Sequence[TargetResult]) -> None:
        """Log which targets have gone down, or are up again, but not too many at once."""
        for result in results:
            before = running.results.get(result.target.url)
            if (before.error if before else "") == result.error:
                continue
            self._lines += 1
            if self._lines > _MOST_LINES:
                continue
            if result.error:
                log.warning("target %s is down: %s", result.target.url, result.error)
            else:
                log.info("target %s is up", result.target.url)

    async def _report(self) -> None:
        """Write how the last scrapes went, for people."""
        if self._lines > _MOST_LINES:
            log.warning("and %d more targets went down or up", self._lines - _MOST_LINES)
        self._lines = 0
        states = Counter(
            "down" if result.error else "up"
            for running in self._running.values()
            for result in running.results.values()
        )
        for state in ("up", "down"):
            metrics.SCRAPE_TARGETS.labels(state=state).set(states[state])
        taken, self._reports = self._reports, {}
        reports = [
            _report_of(shard, self._running[shard].shard.job, result)
            for (shard, url), result in taken.items()
            if shard in self._running and (result.target.job, url) in self._listed
        ]
        try:
            await self._scrapes.report(reports)
        except StoreError:
            self._reports = taken | self._reports
            raise

    async def _add_targets(self, mine: set[str]) -> None:
        """Make the targets known that are to be scraped, once after each change."""
        state = self._version, frozenset(mine)
        if state != self._added:
            await self._scrapes.add_targets(
                [
                    KnownTarget(
                        target.job, target.url, name, target.labels, job.interval_s, job.timeout_s
                    )
                    for name, (job, targets) in self._shards.items()
                    if name in mine
                    for target in targets
                ]
            )
            self._added = state

    async def _forget_targets(self, mine: set[str]) -> None:
        """Forget targets that are not listed any more, once after each change."""
        state = self._version, frozenset(mine)
        if state == self._forgotten:
            return
        self._jobs |= {job.name for job, _ in self._shards.values()}
        kept = [
            (target.job, target.url, target.labels["instance"])
            for _, targets in self._shards.values()
            for target in targets
        ]
        await self._scrapes.forget(self._jobs, kept)
        self._forgotten = state

    async def _settle(self, stopping: asyncio.Event) -> None:
        while not await pause(_SETTLE_S, stopping):
            try:
                await self._outbox.settle()
            except GputelError as error:
                away = error.retriable  # the broker or Postgres
                text = "what has not landed is looked for later: %s"
                log.log(logging.DEBUG if away else logging.WARNING, text, error.message)


def _report_of(shard: str, job: ScrapeJob, result: TargetResult) -> TargetReport:
    target = result.target
    return TargetReport(
        target.job,
        target.url,
        shard,
        target.labels,
        job.interval_s,
        job.timeout_s,
        result.scraped_at,
        result.duration_s,
        result.samples,
        result.refused,
        result.error,
        result.frozen_since,
    )
