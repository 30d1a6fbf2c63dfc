"""From a scraped slot to the table: once, or never and counted, whatever goes away in between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.write.scrapes import KnownTarget, Scrapes
from gputel.streamer.publisher import message_of, publish
from gputel.streamer.scrape import outbox as outboxes
from gputel.streamer.scrape.outbox import Outbox
from gputel.streamer.scrape.shards import grid_of
from gputel.streamer.scrape.slots import ScrapedSlots
from tests.helpers.batches import batch, labels
from tests.helpers.waiting import eventually, until
from tests.integration.pipeline.conftest import Pipeline

log = logging.getLogger("gputel.test")

SHARD, STREAM = "gpus/1", "scrape/gpus/1000/1"
GRID = grid_of(SHARD, 1.0)
TARGET = KnownTarget("gpus", "http://gpu1:9400/metrics", SHARD, {"instance": "gpu1"}, 1.0, 1.0)
OWNERS = {"me": 1.0, "other": 2.0}  # and the value of the samples of each


@pytest.fixture
async def base(pipeline: Pipeline) -> int:
    """The slot of now, by the clock of Postgres; the target is known."""
    scrapes = Scrapes(pipeline.pool, "me")
    await scrapes.beat([], 60.0)
    await scrapes.add_targets([TARGET])
    return GRID.slot_at(scrapes.now_us())


def slots(first: int, count: int, owner: str = "me") -> ScrapedSlots:
    """Slots of one series, with one sample in each."""
    moments = [datetime.fromtimestamp(GRID.begin_us(first + n) / 1e6, UTC) for n in range(count)]
    rows: pa.RecordBatch = batch([(labels(), at, OWNERS[owner]) for at in moments])
    return ScrapedSlots(SHARD, STREAM, GRID, first, range(count), rows, [])


@asynccontextmanager
async def outbox(
    pipeline: Pipeline, owner: str = "me", gather_s: float = 0.0
) -> AsyncIterator[Outbox]:
    async with QueueClient(pipeline.url) as client:
        made = Outbox(Scrapes(pipeline.pool, owner), client, gather_s)
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])


async def landed(pipeline: Pipeline, base: int) -> list[tuple[int, float]]:
    """The slots that have landed, from ``base`` on, and the values in them."""
    rows = await pipeline.pool.fetch("SELECT timestamp, value FROM telemetry ORDER BY 1")
    return [
        (GRID.slot_at(round(row["timestamp"].timestamp() * 1e6)) - base, row["value"])
        for row in rows
    ]


async def all_landed(pipeline: Pipeline) -> None:
    async def nothing_leased() -> bool:
        return await pipeline.pool.fetchval("SELECT NOT EXISTS (SELECT FROM stream_lease)")

    await eventually(nothing_leased)


async def lost(pipeline: Pipeline) -> int:
    return await pipeline.pool.fetchval("SELECT slots_lost FROM scrape_target")


async def held(pipeline: Pipeline, count: int) -> None:
    """Wait until the broker holds so many messages."""
    async with QueueClient(pipeline.url) as client:

        async def holds() -> bool:
            return (await client.stats())["ready"] == count

        await eventually(holds)


async def test_slots_land_with_their_samples(pipeline: Pipeline, base: int) -> None:
    async with pipeline.broker(), outbox(pipeline) as mine:
        await pipeline.start_collector()
        mine.put(slots(base, 2))
        mine.put(slots(base + 2, 1))
        await mine.flushed()
        await all_landed(pipeline)
    assert await landed(pipeline, base) == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert await lost(pipeline) == 0


async def test_what_one_round_leaves_waits_for_no_others(pipeline: Pipeline, base: int) -> None:
    began = time.monotonic()
    async with pipeline.broker(), outbox(pipeline, gather_s=1.0) as mine:
        await pipeline.start_collector()
        for number in range(20):  # a round takes one of each stream
            mine.put(slots(base + number, 1))

        async def have_landed() -> bool:
            return len(await landed(pipeline, base)) == 20

        await eventually(have_landed)
    assert time.monotonic() - began < 15


async def test_slots_that_others_have_had_meanwhile_are_left_out(
    pipeline: Pipeline, base: int
) -> None:
    async with (
        pipeline.broker(),
        outbox(pipeline) as paused,
        outbox(pipeline, "other") as other,
    ):
        await pipeline.start_collector()
        other.put(slots(base, 3, "other"))
        await other.flushed()
        for first, count in ((base - 1, 2), (base, 3), (base + 1, 4)):
            paused.put(slots(first, count))
        await paused.flushed()
        await all_landed(pipeline)
    others, own = [(0, 2.0), (1, 2.0), (2, 2.0)], [(3, 1.0), (4, 1.0)]
    assert await landed(pipeline, base) == others + own
    assert await lost(pipeline) == 0


async def test_slots_wait_while_the_broker_is_away(
    pipeline: Pipeline, base: int, unused_tcp_port: int
) -> None:
    pipeline.url = f"http://127.0.0.1:{unused_tcp_port}"
    async with outbox(pipeline) as mine:
        for number in range(5):
            mine.put(slots(base + number, 1))
        async with pipeline.broker(unused_tcp_port):
            await pipeline.start_collector()
            await mine.flushed()
            await all_landed(pipeline)
    assert await landed(pipeline, base) == [(number, 1.0) for number in range(5)]
    assert await lost(pipeline) == 0


async def test_the_oldest_slots_that_wait_too_long_are_dropped_and_counted(
    pipeline: Pipeline,
    base: int,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipeline.url = f"http://127.0.0.1:{unused_tcp_port}"
    async with outbox(pipeline) as mine:
        mine.put(slots(base, 1))

        async def is_reserved() -> bool:
            return await pipeline.pool.fetchval("SELECT EXISTS (SELECT FROM stream_lease)")

        await eventually(is_reserved)  # and does not wait here any more
        monkeypatch.setattr(outboxes, "_MOST_AGE_S", -1.0)
        mine.put(slots(base + 1, 1))
        mine.put(slots(base + 2, 2))
        mine.put(slots(base + 4, 1))
        async with pipeline.broker(unused_tcp_port):
            await pipeline.start_collector()
            await mine.flushed()
            await all_landed(pipeline)
    assert await landed(pipeline, base) == [(0, 1.0), (4, 1.0)]
    assert await lost(pipeline) == 3
    assert "2 slots of scrapes waited for too long: dropped" in caplog.text


async def test_a_message_that_the_broker_lost_is_given_up_and_never_lands(
    pipeline: Pipeline, base: int, unused_tcp_port: int
) -> None:
    async with pipeline.broker(unused_tcp_port), outbox(pipeline) as mine:
        mine.put(slots(base, 2))
        await mine.flushed()
        await held(pipeline, 1)
        await pipeline.pool.execute("UPDATE stream_lease SET expires_at = now()")
        await mine.settle()  # the broker has it: it may still land
        assert await pipeline.pool.fetchval("SELECT expires_at > now() FROM stream_lease")
    async with pipeline.broker(unused_tcp_port), outbox(pipeline) as mine:
        await mine.settle()  # its time is not over
        assert await lost(pipeline) == 0
        await pipeline.pool.execute("UPDATE stream_lease SET expires_at = now()")
        await mine.settle()
        assert await lost(pipeline) == 2
        copy = slots(base, 2)
        async with QueueClient(pipeline.url) as client:
            message = await message_of(STREAM, base, 2, copy.batch)
            await publish(client, [message], Outage(log, "the broker"), asyncio.Event())
        mine.put(slots(base + 2, 1))
        await pipeline.start_collector()
        await mine.flushed()
        await all_landed(pipeline)
        await held(pipeline, 0)
    assert await landed(pipeline, base) == [(2, 1.0)]
    assert await lost(pipeline) == 2


async def test_slots_that_a_streamer_still_tries_to_publish_are_not_given_up(
    pipeline: Pipeline, base: int, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.url = f"http://127.0.0.1:{unused_tcp_port}"
    async with outbox(pipeline) as mine:
        mine.put(slots(base, 2))
        await until(lambda: "the broker is away" in caplog.text, 60, "a try")
        await pipeline.pool.execute("UPDATE stream_lease SET expires_at = now()")
        async with pipeline.broker(unused_tcp_port):
            await mine.settle()
            await pipeline.start_collector()
            await mine.flushed()
            await all_landed(pipeline)
    assert await landed(pipeline, base) == [(0, 1.0), (1, 1.0)]
    assert await lost(pipeline) == 0


async def test_a_stop_waits_for_the_broker_and_tells_what_is_lost_otherwise(
    pipeline: Pipeline, base: int, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.url = f"http://127.0.0.1:{unused_tcp_port}"
    async with outbox(pipeline) as mine:
        mine.put(slots(base, 2))
        flushing = asyncio.create_task(mine.flushed())
        await until(lambda: "waiting until the broker has the last scrapes" in caplog.text, 60, "")
        flushing.cancel()
        await asyncio.wait([flushing])
        assert "the last scrapes are lost: they were not published" in caplog.text
