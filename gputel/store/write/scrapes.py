"""What the streamers that scrape share: who is alive, which slots land, and how targets are.

A slot is one beat of a shard's scrapes. Slots are the rows of the shard's stream: one that was
reserved lands at most once, whichever streamers scraped it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from gputel.store.pool import store_errors
from gputel.store.queries import load

_MOST_EXPIRED = 1000
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class SlotRange:
    """The slots from ``first`` to before ``after`` of a shard's stream.

    ``possible``: no streamer with a right clock can have reserved slots beyond this one yet.
    """

    stream_id: str
    shard: str
    first: int
    after: int
    possible: int


@dataclass(frozen=True)
class Reservation:
    """The slots from ``first`` on are reserved; ``missed`` slots before it never landed.

    If ``first`` is the end of the range, others have had all of them.
    """

    first: int
    missed: int


@dataclass(frozen=True)
class KnownTarget:
    """A target that will be scraped."""

    job: str
    url: str
    shard: str
    labels: Mapping[str, str]
    interval_s: float
    timeout_s: float


@dataclass(frozen=True)
class TargetReport(KnownTarget):
    """The last scrape of a target.

    All its values have been the same from ``frozen_since`` on, though they should move.
    """

    scraped_at: datetime
    duration_s: float
    samples: int
    refused: int
    error: str
    frozen_since: datetime | None = None


class Scrapes:
    """The scrapes of all streamers, as one of them sees them.

    Methods raise StoreUnavailable or StoreError.
    """

    def __init__(self, pool: asyncpg.Pool, owner: str) -> None:
        self._pool = pool
        self._sql = load("scrapes")
        self._owner = owner
        self._begun: set[str] = set()
        self._clock = time.monotonic(), time.time_ns() // 1000

    async def beat(self, shards: Collection[str], lease_s: float) -> dict[str, list[str]]:
        """Say that this streamer is alive and knows these shards; returns the shards of each one.

        It is taken for dead if it does not say so again within ``lease_s``.
        """
        async with store_errors():
            await self._pool.execute(self._sql["beat"], self._owner, list(shards), lease_s)
            asked = time.monotonic()
            clock_us: int = await self._pool.fetchval(self._sql["clock"])
            self._clock = (asked + time.monotonic()) / 2, clock_us
            rows = await self._pool.fetch(self._sql["alive"])
        return {row["owner"]: row["shards"] for row in rows}

    def now_us(self) -> int:
        """The time by the clock of Postgres, in Unix microseconds: the same for all streamers."""
        at, clock_us = self._clock
        return clock_us + round((time.monotonic() - at) * _MICROSECONDS)

    async def leave(self) -> None:
        """Say that this streamer stops, so that others take its shards at once."""
        async with store_errors():
            await self._pool.execute(self._sql["leave"], self._owner)

    async def reserve(self, ranges: Sequence[SlotRange], lease_s: float) -> list[Reservation]:
        """Reserve slots before their message is published, at most one range of each stream.

        What has not landed within ``lease_s`` seconds is expired.
        """
        columns = _columns([(r.stream_id, r.first, r.after, r.possible) for r in ranges])
        async with store_errors():
            await self._begin([each for each in ranges if each.stream_id not in self._begun])
            found = await self._reserve(columns, lease_s)
            if len(found) < len(ranges):  # streams have been forgotten
                await self._begin(ranges)
                found = await self._reserve(columns, lease_s)
        return [found[each.stream_id] for each in ranges]

    async def _begin(self, ranges: Sequence[SlotRange]) -> None:
        if ranges:
            begun = _columns([(each.stream_id, each.shard, each.first) for each in ranges])
            await self._pool.execute(self._sql["begin_streams"], *begun)
            self._begun.update(each.stream_id for each in ranges)

    async def _reserve(self, columns: list[list[Any]], lease_s: float) -> dict[str, Reservation]:
        rows = await self._pool.fetch(self._sql["reserve_slots"], *columns, self._owner, lease_s)
        return {row["stream_id"]: Reservation(row["first"], row["missed"]) for row in rows}

    async def expired(self) -> list[tuple[str, int]]:
        """Slots that this streamer or a dead one reserved, and that were to land by now.

        Each is the stream and the first slot of a message.
        """
        async with store_errors():
            rows = await self._pool.fetch(self._sql["expired_slots"], self._owner, _MOST_EXPIRED)
        return [(row["stream_id"], row["first_row"]) for row in rows]

    async def extend(self, slots: Sequence[tuple[str, int]], lease_s: float) -> None:
        """Wait for these slots for longer."""
        async with store_errors():
            await self._pool.execute(self._sql["extend_slots"], *_columns(slots), lease_s)

    async def drop(self, slots: Sequence[tuple[str, int]]) -> dict[str, int]:
        """Give up expired slots, which can never land then; returns how many of each shard."""
        async with store_errors():
            rows = await self._pool.fetch(self._sql["drop_slots"], *_columns(slots))
        return {row["shard"]: row["slots"] for row in rows}

    async def add_targets(self, targets: Sequence[KnownTarget]) -> None:
        """Note these targets before they are scraped, so that their lost slots are counted."""
        if targets:
            async with store_errors():
                columns = _target_columns(targets)
                await self._pool.execute(self._sql["add_targets"], self._owner, *columns)

    async def report(self, reports: Sequence[TargetReport]) -> None:
        """Note the last scrape of these targets.

        A target may be there twice: while its shard is made anew, the one before ends a slot.
        """
        by_time = sorted(reports, key=lambda each: each.scraped_at)
        newest = {(each.job, each.url, each.labels["instance"]): each for each in by_time}
        if newest:
            async with store_errors():
                columns = _target_columns(list(newest.values()))
                await self._pool.execute(self._sql["report"], self._owner, *columns)

    async def forget(self, jobs: Collection[str], kept: Sequence[tuple[str, str, str]]) -> None:
        """Forget those targets of these jobs that no streamer lists, and old streams of slots.

        ``kept`` are those that this streamer lists: job, URL and instance of each.
        """
        columns = _columns(kept) or [[], [], []]
        async with store_errors():
            await self._pool.execute(self._sql["forget_targets"], list(jobs), *columns, self._owner)
            await self._pool.execute(self._sql["forget_streams"])


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _target_columns(targets: Sequence[KnownTarget]) -> list[list[Any]]:
    """The fields of targets of one kind."""
    names = [field.name for field in dataclasses.fields(targets[0])]
    columns = {name: [getattr(each, name) for each in targets] for name in names}
    columns["labels"] = [msgspec.json.encode(each.labels).decode() for each in targets]
    return list(columns.values())
