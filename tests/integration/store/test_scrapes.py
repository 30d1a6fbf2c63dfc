"""Slots of scrapes: each is reserved once, and each that is not landed is counted as lost."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from gputel.store.write.scrapes import KnownTarget, Reservation, Scrapes, SlotRange, TargetReport

LEASE_S = 60.0
POSSIBLE = 1000
TARGET = KnownTarget("gpus", "http://gpu1:9400/metrics", "gpus/1", {"instance": "gpu1"}, 1.0, 1.0)
OTHER = KnownTarget("gpus", "http://gpu2:9400/metrics", "gpus/2", {"instance": "gpu2"}, 1.0, 1.0)


def slots(first: int, after: int, stream: str = "scrape/gpus/1000/1") -> SlotRange:
    return SlotRange(stream, "gpus/1", first, after, POSSIBLE)


async def reserve(scrapes: Scrapes, first: int, after: int) -> Reservation:
    (reservation,) = await scrapes.reserve([slots(first, after)], LEASE_S)
    return reservation


async def leases(pool: asyncpg.Pool) -> list[tuple[int, int, str]]:
    rows = await pool.fetch("SELECT first_row, row_count, owner FROM stream_lease ORDER BY 1")
    return [tuple(row) for row in rows]


async def land(pool: asyncpg.Pool) -> None:
    """What is reserved lands, which deletes the leases."""
    await pool.execute("DELETE FROM stream_lease")


async def lost(pool: asyncpg.Pool) -> dict[str, int]:
    rows = await pool.fetch("SELECT instance, slots_lost FROM scrape_target")
    return {row["instance"]: row["slots_lost"] for row in rows}


async def next_row(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT next_row FROM stream_progress")


@pytest.fixture
async def mine(pool: asyncpg.Pool) -> Scrapes:
    scrapes = Scrapes(pool, "mine")
    await scrapes.add_targets([TARGET, OTHER])
    return scrapes


async def test_a_stream_begins_at_its_first_slot_and_has_lost_none(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    assert await reserve(mine, 10, 12) == Reservation(10, 0)
    assert await reserve(mine, 12, 13) == Reservation(12, 0)
    assert await leases(pool) == [(10, 2, "mine"), (12, 1, "mine")]
    assert await lost(pool) == {"gpu1": 0, "gpu2": 0}


async def test_slots_that_others_have_had_are_cut_off_or_refused(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    other = Scrapes(pool, "other")
    await reserve(other, 10, 13)
    assert await reserve(mine, 11, 15) == Reservation(13, 0)
    assert await reserve(mine, 13, 15) == Reservation(13, 0)  # its own, once more
    assert await reserve(other, 12, 14) == Reservation(15, 0)
    assert await leases(pool) == [(10, 3, "other"), (13, 2, "mine")]
    await land(pool)
    assert (await reserve(other, 10, 15)).first >= 15
    assert await leases(pool) == []


async def test_slots_that_are_left_out_are_lost_by_each_target_of_the_shard(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await reserve(mine, 10, 12)
    assert await reserve(mine, 15, 16) == Reservation(15, 3)
    assert await lost(pool) == {"gpu1": 3, "gpu2": 0}
    late = Scrapes(pool, "late")
    assert (await reserve(late, 12, 15)).first >= 15
    assert await lost(pool) == {"gpu1": 3, "gpu2": 0}


async def test_the_same_slots_once_more_are_own_after_a_lost_answer(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await reserve(Scrapes(pool, "other"), 8, 9)
    first = await reserve(mine, 10, 12)
    assert (await reserve(mine, 10, 12)).first == first.first == 10
    assert await leases(pool) == [(8, 1, "other"), (10, 2, "mine")]
    assert await lost(pool) == {"gpu1": 1, "gpu2": 0}


async def test_slots_that_were_cut_off_are_own_after_a_lost_answer(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await reserve(Scrapes(pool, "other"), 8, 11)
    await reserve(mine, 10, 13)
    assert await reserve(mine, 10, 13) == Reservation(11, 0)
    assert await leases(pool) == [(8, 3, "other"), (11, 2, "mine")]


async def test_own_slots_once_more_give_nobody_those_that_others_have_had_since(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await reserve(mine, 10, 12)
    await reserve(Scrapes(pool, "other"), 12, 14)
    assert await reserve(mine, 10, 12) == Reservation(10, 0)
    await land(pool)
    assert await next_row(pool) == 14
    assert await reserve(mine, 12, 14) == Reservation(14, 0)


async def test_a_next_slot_in_the_far_future_does_not_count(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    wrong = Scrapes(pool, "wrong")
    await reserve(mine, 10, 11)
    await wrong.reserve([SlotRange("scrape/gpus/1000/1", "gpus/1", 3600, 3601, 9999)], LEASE_S)
    assert await reserve(mine, 11, 13) == Reservation(11, 0)
    assert await next_row(pool) == 13
    assert await reserve(mine, 11, 13) == Reservation(11, 0)
    assert await reserve(Scrapes(pool, "other"), 12, 14) == Reservation(13, 0)


async def test_streams_are_reserved_together_each_by_itself(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await mine.reserve([slots(10, 12, "b"), slots(20, 21, "a")], LEASE_S)
    both = [slots(13, 14, "b"), slots(20, 22, "a"), slots(5, 6, "c")]
    assert await mine.reserve(both, LEASE_S) == [
        Reservation(13, 1),
        Reservation(21, 0),
        Reservation(5, 0),
    ]


async def test_slots_of_streamers_that_reserve_at_once_never_overlap(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    chance = random.Random(7)
    await reserve(mine, 0, 1)

    async def work(owner: str) -> None:
        scrapes, at = Scrapes(pool, owner), 1
        while at < 200:
            after = at + chance.randrange(1, 4)
            for _ in range(chance.randrange(1, 3)):  # the answer may be lost
                await reserve(scrapes, at, after)
            at = after + chance.choice((0, 0, 2))

    await asyncio.gather(*(work(f"o{number}") for number in range(6)))
    taken = [slot for first, count, _ in await leases(pool) for slot in range(first, first + count)]
    assert len(set(taken)) == len(taken)
    assert len(taken) + (await lost(pool))["gpu1"] == await next_row(pool)


async def expire(pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE stream_lease SET expires_at = now()")


async def test_expired_slots_are_those_of_oneself_and_of_the_dead(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    living, dead = Scrapes(pool, "living"), Scrapes(pool, "dead")
    await living.beat(["gpus/1"], LEASE_S)
    await mine.reserve([slots(1, 2, "a")], LEASE_S)
    await living.reserve([slots(1, 2, "b")], LEASE_S)
    await dead.reserve([slots(1, 2, "c")], LEASE_S)
    assert await mine.expired() == []
    await expire(pool)
    assert await mine.expired() == [("a", 1), ("c", 1)]
    await mine.extend([("a", 1)], LEASE_S)
    assert await mine.expired() == [("c", 1)]


async def test_expired_slots_that_are_given_up_are_lost_once_and_by_each_target(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await reserve(mine, 10, 12)
    await reserve(mine, 12, 15)
    both = [("scrape/gpus/1000/1", 10), ("scrape/gpus/1000/1", 12)]
    assert await mine.drop(both) == {}  # they may still land
    await expire(pool)
    assert await mine.drop(both) == {"gpus/1": 5}
    assert await Scrapes(pool, "other").drop(both) == {}
    assert await lost(pool) == {"gpu1": 5, "gpu2": 0}


def of_target(
    target: KnownTarget, at: datetime, frozen_since: datetime | None = None
) -> TargetReport:
    return TargetReport(
        **vars(target),
        scraped_at=at,
        duration_s=0.5,
        samples=7,
        refused=1,
        error="it is down",
        frozen_since=frozen_since,
    )


async def test_target_is_frozen_until_a_report_says_that_its_values_move(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for frozen_since in (None, at, None):
        await mine.report([of_target(TARGET, at, frozen_since)])
        found = await pool.fetchval(
            "SELECT frozen_since FROM scrape_target WHERE instance = 'gpu1'"
        )
        assert found == frozen_since


async def test_a_report_keeps_the_count_of_lost_slots_and_the_list_keeps_the_report(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    await reserve(mine, 10, 11)
    await reserve(mine, 12, 13)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    await mine.report([of_target(TARGET, at)])
    await mine.add_targets([TARGET])
    row = await pool.fetchrow("SELECT * FROM scrape_target WHERE instance = 'gpu1'")
    assert (row["slots_lost"], row["scraped_at"], row["samples"]) == (1, at, 7)
    other = await pool.fetchrow("SELECT * FROM scrape_target WHERE instance = 'gpu2'")
    assert (other["scraped_at"], other["samples"], other["owner"]) == (None, 0, "mine")


async def test_of_two_reports_of_a_target_the_newer_one_counts(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    new, old = (of_target(TARGET, datetime(2026, 3, day, tzinfo=UTC)) for day in (2, 1))
    await mine.report([replace(new, shard="gpus/1.new"), old])
    row = await pool.fetchrow("SELECT * FROM scrape_target WHERE instance = 'gpu1'")
    assert (row["shard"], row["scraped_at"]) == ("gpus/1.new", new.scraped_at)


async def test_a_streamer_is_alive_until_its_lease_ends_or_it_leaves(
    pool: asyncpg.Pool, mine: Scrapes
) -> None:
    other = Scrapes(pool, "other")
    await mine.beat(["gpus/1"], LEASE_S)
    assert await other.beat(["gpus/2"], 0) == {"mine": ["gpus/1"]}
    await other.beat(["gpus/2"], LEASE_S)
    await mine.leave()
    assert await other.beat(["gpus/2"], LEASE_S) == {"other": ["gpus/2"]}
