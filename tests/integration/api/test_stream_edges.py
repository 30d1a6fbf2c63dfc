"""The live stream where things go wrong: races, clocks, dumps, revoked tokens, odd clients."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from gputel import metrics
from gputel.api.server import serve
from gputel.api.stream import tail
from gputel.config.settings import AccessSettings, ApiSettings, PostgresSettings
from gputel.store import queries
from gputel.store.pool import close_pool, open_pool
from gputel.store.read.reader import Reader
from gputel.store.read.records import SeriesLabels
from gputel.store.read.selection import Bools, Selection
from gputel.store.upkeep.maintenance import Maintenance
from gputel.web.access.access import Access
from gputel.web.health import Health
from tests.helpers.batches import NOON, batch, labels, steady
from tests.helpers.event_stream import EventStream, event_stream
from tests.helpers.raw_http import raw_to, request
from tests.helpers.wire import PostgresWire
from tests.integration.api.conftest import Land, Start

TOKEN = "reader-0123456789abcdef"


async def values(stream: EventStream, count: int) -> list[float]:
    return [event.data["value"] for event in await stream.some(count)]


@pytest.fixture
async def held_demand(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session that holds a lock for which each change of the demand waits before its commit."""
    await pool.execute(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$"
    )
    await pool.execute(
        "CREATE TRIGGER hold AFTER INSERT OR UPDATE ON landing_demand "
        "FOR EACH STATEMENT EXECUTE FUNCTION hold()"
    )
    connection = await asyncpg.connect(dsn)
    await connection.execute("SELECT pg_advisory_lock(7)")
    yield connection
    await connection.close()


async def test_a_stream_waits_for_a_collector_that_began_while_the_demand_was_committed(
    client: aiohttp.ClientSession, pool: asyncpg.Pool, held_demand: asyncpg.Connection
) -> None:
    async def opened() -> None:
        async with event_stream(client):
            pass

    opening = asyncio.create_task(opened())
    while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.01)
    async with pool.acquire() as collector, collector.transaction():
        await collector.execute("SELECT pg_current_xact_id()")
        assert not await collector.fetchval(queries.load("writer")["mark_rollups"], [NOON])
        await held_demand.execute("SELECT pg_advisory_unlock(7)")
        done, _ = await asyncio.wait([opening], timeout=0.5)
        assert not done
    await opening


async def test_what_began_before_and_takes_long_may_be_missing_and_that_is_told(
    client: aiohttp.ClientSession, pool: asyncpg.Pool, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_BEGIN_S", 0.2)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_current_xact_id()")
        async with client.get("/api/v1/stream") as reply:
            stream = EventStream(reply)
            event = await stream.next()
            assert event is not None
            assert event.name == "gap"
            await land(steady(1))
            assert await values(stream, 1) == [0]


async def test_a_stream_whose_filters_leave_nothing_of_much_says_that_it_lives(
    start: Start, land: Land
) -> None:
    async def write() -> None:
        while True:
            await land(steady(2))
            await asyncio.sleep(0.05)

    async with (
        start(stream_heartbeat_s=0.5) as client,
        event_stream(client, uuid="GPU-other") as stream,
    ):
        writing = asyncio.create_task(write())
        first = stream.last_id
        async with asyncio.timeout(60):
            await stream.until_quiet()
        writing.cancel()
        assert stream.last_id != first


async def test_who_comes_back_to_another_process_that_has_seen_less_gets_nothing_twice(
    start: Start, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as quick, start() as slow:
        monkeypatch.setattr(tail, "_POLL_S", 2.0)
        async with event_stream(slow):
            await asyncio.sleep(0.3)
            monkeypatch.setattr(tail, "_POLL_S", 0.05)
            async with event_stream(quick) as stream:
                await land(steady(3))
                assert await values(stream, 3) == [0, 1, 2]
                last = stream.last_id
            async with event_stream(slow, last) as stream:
                await land(batch([(labels("GPU-b"), NOON, 9.0)]))
                assert await values(stream, 1) == [9]


async def test_a_demand_that_a_dump_brought_is_none_and_what_came_with_it_is_dropped(
    start: Start, land: Land, pool: asyncpg.Pool
) -> None:
    async with start() as client, event_stream(client) as stream:
        await land(steady(3))
        await stream.some(3)
        last = stream.last_id
    await Maintenance(pool).run()
    for table in ("landing", "landing_demand", "landing_horizon"):
        await pool.execute(f"CREATE TABLE dump AS TABLE {table}; TRUNCATE {table}")
        if table == "landing":  # of a server that has seen many more transactions
            await pool.execute("UPDATE dump SET xid = (xid::text::bigint + 100000)::text::xid8")
        await pool.execute(f"INSERT INTO {table} SELECT * FROM dump; DROP TABLE dump")
    await land(steady(2, "GPU-b"))
    assert await pool.fetchval("SELECT sum(samples) FROM landing") == 3, "there is no demand"
    async with start() as client, event_stream(client, last) as stream:
        event = await stream.next()
        assert event is not None
        assert event.name == "gap"
        await land(batch([(labels("GPU-c"), NOON, 9.0)]))
        await land(batch([(labels("GPU-c"), NOON, 10.0)]))
        assert await values(stream, 2) == [9, 10]
        assert await pool.fetchval("SELECT sum(samples) FROM landing") == 2


async def test_what_was_dropped_is_a_gap_also_where_the_clock_went_backward(
    start: Start, land: Land, pool: asyncpg.Pool
) -> None:
    async with start() as client, event_stream(client) as stream:
        last = stream.last_id
        await land(steady(3))
        await stream.some(3)
    # As if all until now was an hour ahead, and ten minutes have gone since.
    await pool.execute("SELECT pg_sleep(0.01)")
    await Maintenance(pool).run()
    await pool.execute("UPDATE landing_horizon SET taken_at = taken_at - interval '1 h'")
    await pool.execute("UPDATE landing SET landed_at = landed_at - interval '1 h'")
    await Maintenance(pool).run()
    assert await pool.fetchval("SELECT count(*) FROM landing") == 0
    async with start() as client, event_stream(client, last) as stream:
        event = await stream.next()
        assert event is not None
        assert event.name == "gap"


async def test_head_answers_the_fields_alone(client: aiohttp.ClientSession) -> None:
    url = client._base_url
    assert url is not None
    assert url.port is not None
    async with raw_to(url.port) as raw:
        await raw.send(request("/api/v1/stream", method="HEAD"))
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"text/event-stream" in head
        await raw.send(request("/healthz", method="GET"))
        assert (await raw.reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_a_stream_counts_with_the_time_until_it_began(
    client: aiohttp.ClientSession,
) -> None:
    def noted() -> tuple[float, float]:
        samples = [
            sample
            for family in metrics.HTTP.collect()
            for sample in family.samples
            if sample.labels.get("route") == "/api/v1/stream"
        ]
        seconds = sum(each.value for each in samples if each.name.endswith("_sum"))
        return seconds, sum(
            each.value
            for each in samples
            if each.name.endswith("requests_total") and each.labels["status"] == "200"
        )

    seconds, count = noted()
    began = time.perf_counter()
    async with event_stream(client):
        opened = time.perf_counter() - began
        await asyncio.sleep(0.2)
    async with asyncio.timeout(60):
        while noted()[1] == count:
            await asyncio.sleep(0.02)
    assert noted()[0] - seconds <= opened


async def test_a_token_that_is_revoked_ends_its_streams(
    pool: asyncpg.Pool, land: Land, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"a read {TOKEN}\n")
    access = Access.of(AccessSettings(token_file=file))
    settings = ApiSettings(api_port=0, stream_heartbeat_s=0.1)
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health(), access) as listener,
        aiohttp.ClientSession(listener.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client,
        event_stream(client) as stream,
    ):
        await land(steady(1))
        assert await values(stream, 1) == [0]
        file.write_text(f"b read another-{TOKEN}\n")
        with pytest.raises(aiohttp.ClientError):
            await stream.some(1)
        async with client.get("/api/v1/stream") as reply:
            assert reply.status == 401


async def test_a_stream_that_has_not_begun_when_the_server_stops_ends(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_BEGIN_S", 60)
    serving = serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health())
    listener = await serving.__aenter__()
    async with (
        aiohttp.ClientSession(listener.url) as client,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute("SELECT pg_current_xact_id()")
        opening = asyncio.create_task(client.get("/api/v1/stream"))
        await asyncio.sleep(0.3)
        await serving.__aexit__(None, None, None)
        async with await opening as reply:
            assert reply.status == 200
            await reply.read()


async def test_a_server_stops_where_postgres_does_not_even_confirm_the_end_of_a_query(
    wire: PostgresWire,
) -> None:
    pool = await open_pool(wire.dsn, PostgresSettings())
    serving = serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health())
    listener = await serving.__aenter__()
    async with aiohttp.ClientSession(listener.url) as client, event_stream(client) as stream:
        wire.freeze()
        await asyncio.sleep(0.3)
        await serving.__aexit__(None, None, None)
        assert await stream.next() is None
    wire.thaw()
    await close_pool(pool)


async def test_patterns_that_may_take_long_hold_nobody_else_up(
    client: aiohttp.ClientSession, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    holds = Selection.holds

    def seen(selection: Selection, series: Sequence[SeriesLabels]) -> Bools:
        threads.add(threading.current_thread())
        return holds(selection, series)

    monkeypatch.setattr(Selection, "holds", seen)
    async with event_stream(client, metric=["M*9", "*8*"]) as stream:
        await land(batch([(labels("GPU-a", f"M{n}"), NOON, float(n)) for n in range(100)]))
        assert len(await values(stream, 27)) == 27
    assert threads
    assert threading.main_thread() not in threads
