"""From file to table: every row once, whatever goes away in between."""

import asyncio
import gzip
import logging
import time
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import pytest

from gputel.collector import batch as batches
from gputel.config.settings import PostgresSettings
from gputel.model.checksum import sealed
from gputel.model.record_batch import encode
from gputel.mq.client import OutgoingMessage
from gputel.outage import Outage
from gputel.store.pool import close_pool, open_pool
from gputel.streamer import streamer as streamers
from gputel.streamer.publisher import message_id
from tests.helpers.batches import NOON, batch, labels, steady
from tests.helpers.waiting import eventually
from tests.helpers.wire import wire_to


async def values(pipeline):
    rows = await pipeline.pool.fetch("SELECT value FROM telemetry ORDER BY 1")
    return [row["value"] for row in rows]


async def test_one_shot_stream_lands_every_row_once_and_ends(pipeline, csv):
    async with pipeline.broker():
        await pipeline.start_collector()
        streamer = await pipeline.streamer(csv)
        await asyncio.wait_for(streamer.run(asyncio.Event()), 60)
        assert await values(pipeline) == list(range(1000))


async def test_a_compressed_file_that_was_cut_short_lands_as_far_as_it_goes_and_is_reported(
    pipeline, csv, caplog
):
    packed = csv.with_suffix(".gz")
    packed.write_bytes(gzip.compress(csv.read_bytes())[:-20])
    async with pipeline.broker():
        await pipeline.start_collector()
        streamer = await pipeline.streamer(packed)
        await asyncio.wait_for(streamer.run(asyncio.Event()), 60)
        landed = await values(pipeline)
        assert landed == list(range(len(landed)))
        assert landed
    assert "get a complete copy of the file" in caplog.text


async def test_streamers_of_one_stream_share_its_rows(pipeline, csv):
    async with pipeline.broker():
        await pipeline.start_collector(workers=3)
        streamers = [await pipeline.streamer(csv, owner=f"o{i}", chunk_rows=7) for i in range(4)]
        await asyncio.gather(*(streamer.run(asyncio.Event()) for streamer in streamers))
        assert await values(pipeline) == list(range(1000))


async def test_looping_stream_goes_on_at_the_start_and_stamps_the_time_of_processing(pipeline, csv):
    stopping = asyncio.Event()
    async with pipeline.broker():
        await pipeline.start_collector()
        streamer = await pipeline.streamer(csv, loop=True, timestamps="processing")
        task = asyncio.create_task(streamer.run(stopping))

        async def looped():
            return await pipeline.landed() > 2500

        await eventually(looped)
        stopping.set()
        await asyncio.wait_for(task, 60)
        rows = await pipeline.pool.fetchval("SELECT next_row FROM stream_progress")
        assert await values(pipeline) == sorted(row % 1000 for row in range(rows))
        age = await pipeline.pool.fetchval("SELECT now() - min(timestamp) FROM telemetry")
        assert age < timedelta(minutes=5)


async def test_rate_holds_a_stream_back(pipeline, csv):
    stopping = asyncio.Event()
    async with pipeline.broker():
        streamer = await pipeline.streamer(csv, rate=100, chunk_interval_s=0.1)
        began = time.monotonic()
        task = asyncio.create_task(streamer.run(stopping))
        reserved = 0
        while reserved < 100:
            reserved = await pipeline.pool.fetchval("SELECT next_row FROM stream_progress")
            assert reserved <= 100 * (time.monotonic() - began) + 2 * 10  # and two chunks
            await asyncio.sleep(0.02)
        rows = await pipeline.pool.fetchval("SELECT max(row_count) FROM stream_lease")
        assert rows == 10
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_message_names_its_stream_first_row_and_row_count(pipeline, csv):
    async with pipeline.broker():
        streamer = await pipeline.streamer(csv, stream_id="s")
        task = asyncio.create_task(streamer.run(asyncio.Event()))
        client = await pipeline.client()
        deliveries = await client.consume(1, None, 10)
        assert deliveries[0].id == "s/0"
        metadata = {"stream_id": "s", "first_row": 0, "row_count": 50}
        assert deliveries[0].metadata == sealed("s/0", deliveries[0].payload, metadata)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_broker_that_comes_back_empty_gets_what_it_had_lost_once_more(pipeline, csv):
    async with pipeline.broker() as port:
        streamer = await pipeline.streamer(csv, chunk_lease_s=1)
        task = asyncio.create_task(streamer.run(asyncio.Event()))
        client = await pipeline.client()

        async def all_published():
            return (await client.stats())["ready"] == 20

        await eventually(all_published)
    async with pipeline.broker(port):
        await pipeline.start_collector()
        await asyncio.wait_for(task, 60)
    assert await values(pipeline) == list(range(1000))


async def test_broker_that_is_away_is_one_line_in_the_log_and_one_when_it_is_back(
    pipeline, csv, caplog, unused_tcp_port
):
    caplog.set_level(logging.INFO)
    pipeline.url = f"http://127.0.0.1:{unused_tcp_port}"
    await pipeline.start_collector(workers=3)
    task = asyncio.create_task((await pipeline.streamer(csv)).run(asyncio.Event()))

    def said(text):
        names = [name for name, _, line in caplog.record_tuples if text in line]
        return [names.count(role) for role in ("gputel.streamer", "gputel.collector")]

    async def all_away():
        return said("the broker is away") == [1, 1]

    await eventually(all_away)
    await asyncio.sleep(0.3)  # for more tries, if there are any
    async with pipeline.broker(unused_tcp_port):
        await asyncio.wait_for(task, 60)
        assert await values(pipeline) == list(range(1000))
        assert said("the broker is away") == said("the broker is back") == [1, 1]


async def test_full_queue_holds_the_streamer_back_and_loses_nothing(pipeline, csv):
    async with pipeline.broker(queue_max_messages=3, publish_wait_s=0.1):
        streamer = await pipeline.streamer(csv)
        task = asyncio.create_task(streamer.run(asyncio.Event()))
        client = await pipeline.client()

        async def full():
            return (await client.stats())["ready"] == 3

        await eventually(full)
        await asyncio.sleep(0.3)  # for it to go too far, if it does
        assert await pipeline.pool.fetchval("SELECT count(*) FROM stream_lease") <= 6
        await pipeline.start_collector()
        await asyncio.wait_for(task, 60)
    assert await values(pipeline) == list(range(1000))


async def test_chunks_that_the_broker_still_holds_are_not_read_again(pipeline, csv):
    read = []

    class Observer:
        def chunk_read(self, chunk):
            read.append(chunk.first_row)

        def chunk_dead(self, lease):
            raise AssertionError(lease)

    async with pipeline.broker():
        streamer = await pipeline.streamer(csv, Observer(), chunk_lease_s=2)
        task = asyncio.create_task(streamer.run(asyncio.Event()))
        client = await pipeline.client()
        ends = "SELECT min(expires_at) FROM stream_lease"

        async def all_published():
            return (await client.stats())["ready"] == 20

        async def all_taken_over():
            return await pipeline.pool.fetchval(ends) > before

        await eventually(all_published)
        before = await pipeline.pool.fetchval("SELECT max(expires_at) FROM stream_lease")
        await eventually(all_taken_over)
        await pipeline.start_collector()
        await asyncio.wait_for(task, 60)
    assert read == sorted(set(read))
    assert await values(pipeline) == list(range(1000))


async def test_stopped_streamer_waits_for_its_chunks_and_leaves_no_lease(pipeline, csv):
    stopping = asyncio.Event()
    async with pipeline.broker():
        await pipeline.start_collector()
        looping = {"loop": True, "timestamps": "processing"}
        streamer = await pipeline.streamer(csv, **looping, rate=2000, chunk_interval_s=0.02)
        task = asyncio.create_task(streamer.run(stopping))

        async def under_way():
            return await pipeline.landed() > 100

        await eventually(under_way)
        stopping.set()
        await asyncio.wait_for(task, 60)
        assert await pipeline.pool.fetchval("SELECT count(*) FROM stream_lease") == 0


async def test_streamer_that_is_stopped_without_a_broker_hands_its_chunks_back(pipeline, csv):
    stopping = asyncio.Event()
    async with pipeline.broker():
        streamer = await pipeline.streamer(csv, chunk_lease_s=600)
    task = asyncio.create_task(streamer.run(stopping))

    async def reserved():
        return await pipeline.pool.fetchval("SELECT count(*) FROM stream_lease")

    await eventually(reserved)
    stopping.set()
    await asyncio.wait_for(task, 60)
    left = await pipeline.pool.fetchval(
        "SELECT count(*) FROM stream_lease WHERE expires_at > now()"
    )
    assert left == 0


@pytest.mark.parametrize(
    ("back", "why"),
    [(False, "the broker is away"), (True, "the broker has lost messages")],
    ids=["away", "empty"],
)
async def test_stopped_streamer_does_not_wait_for_what_the_broker_has_lost(
    pipeline, csv, caplog, back, why
):
    stopping = asyncio.Event()
    async with AsyncExitStack() as brokers:
        port = await brokers.enter_async_context(pipeline.broker())
        streamer = await pipeline.streamer(csv, chunk_lease_s=600)
        task = asyncio.create_task(streamer.run(stopping))
        client = await pipeline.client()

        async def all_published():
            return (await client.stats())["ready"] == 20

        await eventually(all_published)
        await brokers.aclose()
        if back:
            await brokers.enter_async_context(pipeline.broker(port))
        stopping.set()
        await asyncio.wait_for(task, 60)
    assert f"{why}: 20 chunk(s) have not landed, their rows are read again later" in caplog.text
    async with pipeline.broker():
        await pipeline.start_collector()
        await asyncio.wait_for((await pipeline.streamer(csv)).run(asyncio.Event()), 60)
    assert await values(pipeline) == list(range(1000))


async def test_stopped_streamer_does_not_wait_for_a_broker_that_hangs(pipeline, csv, monkeypatch):
    monkeypatch.setattr(streamers, "_ANSWER_S", 0.1)
    connected, stopping = asyncio.Event(), asyncio.Event()

    async def hang(_reader, writer):
        connected.set()
        await stopping.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        pipeline.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        streamer = await pipeline.streamer(csv, chunk_lease_s=600)
        ended = asyncio.Event()
        task = asyncio.create_task(streamer.run(ended))
        await asyncio.wait_for(connected.wait(), 60)
        ended.set()
        await asyncio.wait_for(task, 60)
        stopping.set()
    left = "SELECT count(*) FROM stream_lease WHERE expires_at > now()"
    assert await pipeline.pool.fetchval(left) == 0


async def test_stopped_streamer_tells_what_it_waits_for(pipeline, csv, caplog):
    caplog.set_level(logging.INFO)
    stopping = asyncio.Event()
    async with pipeline.broker():
        streamer = await pipeline.streamer(csv)
        task = asyncio.create_task(streamer.run(stopping))
        client = await pipeline.client()

        async def all_published():
            return (await client.stats())["ready"] == 20

        async def told():
            return "waiting for 20 chunk(s) to land, which the broker holds" in caplog.text

        await eventually(all_published)
        stopping.set()
        await eventually(told)
        await pipeline.start_collector()
        await asyncio.wait_for(task, 60)
    assert await values(pipeline) == list(range(1000))


async def test_chunk_among_the_dead_letters_is_told_to_the_observer(pipeline, csv):
    dead = asyncio.Event()

    class Observer:
        def chunk_read(self, chunk):
            pass

        def chunk_dead(self, lease):
            dead.set()

    async with pipeline.broker():
        client = await pipeline.client()
        streamer = await pipeline.streamer(csv, Observer(), chunk_lease_s=0.2, chunk_rows=1000)
        task = asyncio.create_task(streamer.run(asyncio.Event()))
        (delivery,) = await client.consume(1, None, 10)
        await client.nack([(delivery.id, delivery.lease)], reason="no", dead=True)
        await asyncio.wait_for(dead.wait(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_collector_waits_for_a_database_that_went_away_and_lands_all(pipeline, dsn, caplog):
    caplog.set_level(logging.INFO, "gputel.collector")

    def said(text):
        lines = [line for name, _, line in caplog.record_tuples if name == "gputel.collector"]
        return len([line for line in lines if line.startswith(text)])

    async with wire_to(dsn) as wire, pipeline.broker():
        pool = await open_pool(wire.dsn, PostgresSettings())
        stop = await pipeline.start_collector(pool, visibility_timeout_s=1)
        client = await pipeline.client()
        for number in range(3):
            await wire.cut()
            messages = [
                OutgoingMessage(id=f"{number}/{i}", payload=encode(steady(10, f"GPU-{number}{i}")))
                for i in range(20)
            ]
            await client.publish(messages)

            async def away(count=number + 1):
                return said("the database is away, trying again") == count

            async def back(count=number + 1):
                return said("the database is back after") == count

            async def landed(rows=200 * (number + 1)):
                return await pipeline.landed() == rows

            await eventually(away)
            await wire.mend()
            await eventually(back)
            await eventually(landed)
        assert (await client.stats())["dead"] == 0
        await stop()
        await close_pool(pool)
    assert await pipeline.landed() == 600
    assert (said("the database is away"), said("the database is back")) == (3, 3)
    assert not said("rows not landed")


async def test_rows_that_wait_for_a_lock_of_others_are_told_of_until_they_land(
    pipeline, csv, dsn, caplog, monkeypatch
):
    monkeypatch.setattr(batches, "_SLOW_COMMIT_S", 0.1)
    caplog.set_level(logging.INFO, "gputel.collector")
    outage = Outage(logging.getLogger("gputel.collector"), "the database")
    locker = await asyncpg.connect(dsn)
    async with pipeline.broker(), locker.transaction():
        await locker.execute("LOCK TABLE sample_block")
        await pipeline.start_collector(outage=outage)
        task = asyncio.create_task((await pipeline.streamer(csv)).run(asyncio.Event()))

        async def told():
            return await outage.check()

        await eventually(told)
        assert "another session may hold a lock" in await outage.check()  # type: ignore[operator]
        await locker.execute("ROLLBACK; BEGIN")
        await asyncio.wait_for(task, 60)
        assert await values(pipeline) == list(range(1000))
        assert await outage.check() is None
    await locker.close()
    assert "the database is back after" in caplog.text


async def test_message_that_cannot_be_decoded_goes_to_the_dead_letters_with_its_reason(pipeline):
    async with pipeline.broker():
        client = await pipeline.client()
        await client.publish([OutgoingMessage(id="1", payload=b"hello")])
        await client.publish(
            [OutgoingMessage(id="2", payload=encode(steady(1)), metadata={"stream_id": 7})]
        )
        await client.publish([OutgoingMessage(id="3", payload=encode(steady(5)))])
        await pipeline.start_collector()

        async def settled():
            stats = await client.stats()
            return stats["dead"] == 2 and stats["acked"] == 1

        await eventually(settled)
        assert await pipeline.landed() == 5


@pytest.mark.parametrize("bad", ["GPU-\x00", "GPU-x"])
async def test_data_that_postgres_refuses_does_not_keep_others_from_landing(pipeline, bad):
    async with pipeline.broker():
        client = await pipeline.client()
        rows = [(labels(bad), NOON, 1.0)]
        messages = [
            OutgoingMessage(id=str(i), payload=encode(steady(3, f"GPU-{i}"))) for i in range(5)
        ]
        messages.insert(2, OutgoingMessage(id="bad", payload=encode(batch(rows))))
        await client.publish(messages)
        await pipeline.start_collector()
        dead = int("\x00" in bad)

        async def settled():
            stats = await client.stats()
            return (stats["dead"], stats["acked"]) == (dead, 6 - dead)

        await eventually(settled)
        assert await pipeline.landed() == 16 - dead


async def test_collector_that_is_stopped_finishes_what_it_holds(pipeline, csv):
    async with pipeline.broker():
        stop = await pipeline.start_collector(visibility_timeout_s=600)
        streamer = await pipeline.streamer(csv, chunk_rows=10)
        task = asyncio.create_task(streamer.run(asyncio.Event()))

        async def some():
            return await pipeline.landed()

        await eventually(some)
        await stop()
        client = await pipeline.client()

        async def nothing_held():
            return (await client.stats())["in_flight"] == 0

        await eventually(nothing_held)  # long before a lease would run out
        await pipeline.start_collector()
        await asyncio.wait_for(task, 60)
    assert await values(pipeline) == list(range(1000))


def test_message_id_is_derived_from_the_stream_and_the_row():
    assert message_id("s", 42) == "s/42"
