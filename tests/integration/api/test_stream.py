"""The live stream: what lands comes, once, in the order of commits, also over interruptions."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.write.writer import Arrival, Writer
from gputel.times import Duration
from gputel.web.health import Health
from gputel.web.server.listener import Listener
from tests.helpers.batches import NOON, batch, labels, steady
from tests.helpers.event_stream import EventStream, event_stream
from tests.helpers.wire import Wire
from tests.integration.api.conftest import Land, Start


async def values(stream: EventStream, count: int) -> list[float]:
    return [event.data["value"] for event in await stream.some(count)]


async def test_a_record_that_lands_comes_as_json_with_an_id(
    client: aiohttp.ClientSession, land: Land
) -> None:
    series = labels(
        "GPU-x",
        "POWER",
        gpu_id="3",
        device="nvidia3",
        hostname="h",
        pod="p",
        model_name="H100",
        container="c",
        namespace="n",
        labels_raw='a="b"',
    )
    await land(batch([(series, NOON, 1.0)]))
    async with event_stream(client) as stream:
        assert stream.reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert stream.reply.headers["Cache-Control"] == "no-store"
        await land(batch([(series, NOON + timedelta(seconds=1), 2.5)]))
        event = await stream.next()
    assert event is not None
    assert event.name == "message"
    assert event.id
    renamed = {"modelName": series.pop("model_name")}
    assert event.data == series | renamed | {"timestamp": "2026-03-01T12:00:01Z", "value": 2.5}


async def test_records_of_one_commit_come_in_order_of_time(
    client: aiohttp.ClientSession, land: Land
) -> None:
    async with event_stream(client) as stream:
        times = [NOON + timedelta(seconds=s) for s in (3, 1, 2, 1)]
        gpus = ["GPU-a", "GPU-b", "GPU-a", "GPU-c"]
        rows = zip(gpus, times, strict=True)
        await land(batch([(labels(gpu), time, 0.0) for gpu, time in rows]))
        found = [event.data["timestamp"][17:19] for event in await stream.some(4)]
    assert found == ["01", "01", "02", "03"]


async def test_filters_leave_what_they_leave_elsewhere_also_of_series_that_are_new(
    client: aiohttp.ClientSession, land: Land
) -> None:
    rows = [
        (labels(gpu, metric, hostname=host), NOON, float(value))
        for value, (gpu, metric, host) in enumerate(
            [
                ("GPU-a1", "GPU_TEMP", "h1"),
                ("GPU-a2", "MEMORY_TEMP", "h2"),
                ("GPU-b1", "GPU_TEMP", "h1"),
                ("GPU-a3", "GPU_UTIL", "h1"),
                ("GPU-a4", "GPU_TEMP", "h3"),
            ]
        )
    ]
    query = {"uuid": "GPU-a", "metric": "*_TEMP"}
    async with (
        event_stream(client, **query) as some,
        event_stream(client, **query, hostname="h3") as one,
    ):
        await land(batch(rows))
        assert sorted(await values(some, 3)) == [0, 1, 4]
        assert await values(one, 1) == [4]
        await land(batch([(labels("GPU-a9", "NEW_TEMP", hostname="h3"), NOON, 9.0)]))
        assert await values(some, 1) == [9]
        assert await values(one, 1) == [9]


async def test_each_record_comes_once_over_disconnects_and_processes_while_collectors_overlap(
    start: Start, pool: asyncpg.Pool
) -> None:
    chance = random.Random(7)
    writers, commits, rows = 4, 30, 25

    async def collect(
        clients: Sequence[aiohttp.ClientSession], total: int
    ) -> Counter[tuple[str, float]]:
        found: Counter[tuple[str, float]] = Counter()
        last: str | None = None
        while found.total() < total:
            async with event_stream(chance.choice(clients), last, metric="T*") as stream:
                if last is None:
                    opened.set()
                for event in await stream.some(
                    min(chance.randrange(1, 400), total - found.total())
                ):
                    assert event.name == "message"
                    found[event.data["uuid"], event.data["value"]] += 1
                last = stream.last_id
        return found

    async def write(name: str) -> None:
        writer = Writer(pool)
        for number in range(commits):
            await asyncio.sleep(chance.random() / 50)
            first = number * rows
            series = labels(f"GPU-{name}"), labels(f"GPU-{name}", "OTHER")
            records = [
                (each, NOON + timedelta(seconds=row), float(row))
                for row in range(first, first + rows)
                for each in series
            ]
            await writer.land([Arrival(f"{name}-{number}", None, batch(records))])

    opened = asyncio.Event()
    async with start() as one, start() as other, event_stream(other):
        reading = asyncio.create_task(collect([one, other], writers * commits * rows))
        await opened.wait()
        await asyncio.gather(*(write(str(name)) for name in range(writers)))
        async with asyncio.timeout(60):
            found = await reading
    assert set(found.values()) == {1}
    assert len(found) == writers * commits * rows


async def test_a_client_that_comes_back_gets_what_it_missed_within_one_commit(
    client: aiohttp.ClientSession, land: Land
) -> None:
    async with event_stream(client) as stream:
        await land(steady(10))
        seen = await values(stream, 3)
        last = stream.last_id
    await land(steady(2, "GPU-b"))
    async with event_stream(client, last) as stream:
        assert seen + await values(stream, 9) == [*range(10), 0, 1]
        await land(steady(1, "GPU-c"))
        assert await values(stream, 1) == [0]


async def test_a_heartbeat_tells_the_place_to_come_back_to(start: Start, land: Land) -> None:
    async with start(stream_heartbeat_s=0.05) as client:
        async with event_stream(client, uuid="GPU-b") as stream:
            first = stream.last_id
            await land(steady(5))
            while stream.last_id == first:
                await stream.until_quiet()
            last = stream.last_id
        await land(steady(2, "GPU-b"))
        async with event_stream(client, last) as stream:
            assert await values(stream, 2) == [0, 1]


async def test_a_slow_client_is_told_how_much_it_lost_and_goes_on(start: Start, land: Land) -> None:
    commits, rows = 40, 4000
    async with start(stream_max_lag=5000) as client:
        url = client._base_url
        assert url is not None
        slow = socket.create_connection((url.host, url.port))
        slow.sendall(b"GET /api/v1/stream HTTP/1.0\r\n\r\n")
        slow.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=slow, limit=2**20)
        assert b": the stream is alive" in await reader.readuntil(b"alive\n\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(commits):
            await land(steady(rows, f"GPU-{number}"))
        async with event_stream(client) as stream:  # the tail has looked once more
            await land(steady(1, "GPU-last"))
            await stream.some(1)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        lost = came = 0
        while True:
            line = await reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"event: lag"):
                data = await reader.readline()
                lost += int(data.removeprefix(b'data: {"dropped":').removesuffix(b"}\n"))
            elif line.startswith(b"data: "):
                came += 1
                if b"GPU-last" in line:
                    break
        writer.close()
    assert lost > 0
    assert came + lost == commits * rows + 1


async def test_what_is_no_longer_kept_is_a_gap(
    start: Start, land: Land, pool: asyncpg.Pool
) -> None:
    async with start() as client, event_stream(client) as stream:
        first = stream.last_id
        await land(steady(3))
        await stream.some(3)
    await pool.execute("UPDATE landing_demand SET keep = '0', written = pg_current_xact_id()")
    await Maintenance(pool).run()
    assert await pool.fetchval("SELECT count(*) FROM landing") == 1, "no horizon has seen it yet"
    await land(steady(2, "GPU-b"))
    await Maintenance(pool).run()
    assert await pool.fetchval("SELECT sum(samples) FROM landing") == 2
    async with start() as client, event_stream(client, first) as stream:
        event = await stream.next()
        assert event is not None
        assert event.name == "gap"
        await land(steady(1, "GPU-c"))
        assert await values(stream, 1) == [0]


async def test_what_was_kept_by_bytes_is_bounded(
    start: Start, land: Land, pool: asyncpg.Pool
) -> None:
    noise = random.Random(1)
    async with start(stream_replay_max_bytes=1024 * 1024) as client:
        async with event_stream(client) as stream:
            first = stream.last_id
            for number in range(8):
                series = labels(f"GPU-{number}")
                rows = [
                    (series, NOON + timedelta(seconds=i), noise.random()) for i in range(20_000)
                ]
                await land(batch(rows))
                await Maintenance(pool).run()
        await Maintenance(pool).run()
        kept = await pool.fetchval("SELECT sum(octet_length(payload)) FROM landing")
        assert 0 < kept < 2 * 1024 * 1024
        async with event_stream(client, first) as stream:
            event = await stream.next()
            assert event is not None
            assert event.name == "gap"
            await land(steady(1, "GPU-b"))
            while event.data.get("uuid") != "GPU-b":
                event = await stream.next()
                assert event is not None


async def test_nothing_is_kept_where_nobody_follows(land: Land, pool: asyncpg.Pool) -> None:
    await land(steady(3))
    assert await pool.fetchval("SELECT count(*) FROM landing") == 0


async def test_what_was_kept_is_dropped_when_nobody_has_followed_for_long(
    client: aiohttp.ClientSession, land: Land, pool: asyncpg.Pool
) -> None:
    async with event_stream(client) as stream:
        await land(steady(3))
        await stream.some(3)
    await pool.execute(
        "UPDATE landing_demand SET until = now() - interval '1 s', keep = '0', "
        "written = pg_current_xact_id()"
    )
    await land(steady(3, "GPU-b"))
    await Maintenance(pool).run()
    await Maintenance(pool).run()
    assert await pool.fetchval("SELECT count(*) FROM landing") == 0


async def test_a_demand_that_has_lapsed_is_a_gap_for_who_comes_back(
    client: aiohttp.ClientSession, land: Land, pool: asyncpg.Pool
) -> None:
    async with event_stream(client) as stream:
        last = stream.last_id
    await pool.execute(
        "UPDATE landing_demand SET until = now() - interval '1 s', written = pg_current_xact_id()"
    )
    await land(steady(3))
    async with event_stream(client, last) as stream:
        event = await stream.next()
        assert event is not None
        assert event.name == "gap"
        await land(steady(1, "GPU-b"))
        assert await values(stream, 1) == [0]


async def test_tables_that_a_crash_of_postgres_emptied_are_a_gap_for_who_follows(
    client: aiohttp.ClientSession, land: Land, pool: asyncpg.Pool
) -> None:
    async with event_stream(client) as stream:
        await pool.execute("TRUNCATE landing, landing_demand, landing_horizon")
        event = await stream.next()
        assert event is not None
        assert event.name == "gap"
        await land(steady(1))
        assert await values(stream, 1) == [0]


async def test_a_stream_begins_once_older_transactions_are_over(
    client: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    async def opened() -> None:
        async with event_stream(client):
            pass

    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT pg_current_xact_id()")
        opening = asyncio.create_task(opened())
        done, _ = await asyncio.wait([opening], timeout=0.5)
        assert not done
        await transaction.commit()
        await opening


async def test_nothing_is_missed_while_postgres_is_away(
    wire: Wire, wired_client: aiohttp.ClientSession, land: Land
) -> None:
    async with event_stream(wired_client) as stream:
        await land(steady(2))
        assert await values(stream, 2) == [0, 1]
        await wire.cut()
        await land(steady(3, "GPU-b"))
        await asyncio.sleep(0.3)
        await wire.mend()
        assert await values(stream, 3) == [0, 1, 2]


async def test_more_streams_than_may_be_are_refused(start: Start) -> None:
    async with start(stream_max_clients=1) as client:
        async with event_stream(client):
            async with client.get("/api/v1/stream") as reply:
                assert reply.status == 503
                assert reply.headers["Retry-After"] == "1"
                refusal = await reply.json()
            assert refusal["code"] == "too_many_streams"
            assert "--stream-max-clients" in refusal["message"]
        async with asyncio.timeout(60):
            while True:  # the server has to notice first
                async with client.get("/api/v1/stream") as reply:
                    if reply.status == 200:
                        return
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("last", ["x", "1.2", "1.5:3:", "1.3:5:9", "1.3:5:4.1:2:", "é"])
async def test_an_id_that_is_none_is_refused_by_name(
    client: aiohttp.ClientSession, last: str
) -> None:
    async with client.get("/api/v1/stream", headers={"Last-Event-ID": last}) as reply:
        assert reply.status == 400
        assert (await reply.json())["message"].startswith("Last-Event-ID: ")


async def test_a_server_that_stops_ends_its_streams(pool: asyncpg.Pool) -> None:
    settings = ApiSettings(api_port=0, stream_replay=Duration(minutes=1))
    async with aiohttp.ClientSession() as client:
        serving = serve(settings, "127.0.0.1", Reader(pool), Health())
        listener: Listener = await serving.__aenter__()
        async with client.get(f"{listener.url}/api/v1/stream") as reply:
            stream = EventStream(reply)
            await stream.until_quiet()
            async with asyncio.timeout(60):
                await serving.__aexit__(None, None, None)
                assert await stream.next() is None
