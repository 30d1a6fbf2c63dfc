from __future__ import annotations

import asyncio
import math
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from gputel.errors import StoreUnavailable
from gputel.store.pool import problem_of
from gputel.store.read.reader import Connection, Reader
from gputel.store.read.records import Record, Records
from gputel.store.read.selection import Comparison, LabelCondition, Selection, matching, of_gpu
from gputel.store.read.telemetry import RECORDS_PER_PIECE, TelemetryQuery, telemetry
from gputel.store.read.time_order import Order, Position
from tests.helpers.telemetry_rows import Labels, add_block, add_many, add_series, every

Pieces = AsyncGenerator[Records, None]

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEMP = Labels()
POWER = Labels(metric="POWER")


@pytest.fixture
def reader(pool: asyncpg.Pool) -> Reader:
    return Reader(pool)


def of(reader: Reader, uuid: str = "GPU-a", metric: str = "", **wanted: Any) -> Pieces:
    only = [matching("metric_name", [metric])] if metric else []
    return telemetry(reader, TelemetryQuery(of_gpu(uuid).and_(*only), **wanted))


async def read(
    reader: Reader, uuid: str = "GPU-a", metric: str = "", **wanted: Any
) -> list[Record]:
    found: list[Record] = []
    async for records in of(reader, uuid, metric, **wanted):
        assert 1 <= len(records) <= RECORDS_PER_PIECE
        found += records
    return found


async def test_an_empty_store_knows_no_gpu(pool: asyncpg.Pool, reader: Reader) -> None:
    assert await reader.gpus() == []
    assert not await reader.gpu_exists("GPU-a")
    assert await read(reader) == []
    assert await problem_of(pool) is None


async def test_a_gpu_on_which_nothing_has_landed_is_left_out(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    await add_series(pool, TEMP)
    assert await reader.gpus() == []
    assert not await reader.gpu_exists("GPU-a")


async def test_a_gpu_was_seen_from_its_oldest_to_its_newest_sample(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    await add_block(pool, TEMP, every(NOON, 1, 3), [1, 2, 3])
    await add_block(pool, POWER, every(NOON - timedelta(days=3), 1, 2), [1, 2])
    await add_block(pool, Labels(uuid="GPU-b"), [NOON], [1])
    first, second = await reader.gpus()
    assert (first.uuid, second.uuid) == ("GPU-a", "GPU-b")
    assert first.first_seen == NOON - timedelta(days=3)
    assert first.last_seen == NOON + timedelta(seconds=2)
    assert second.first_seen == second.last_seen == NOON


async def test_a_gpu_that_moved_is_one_gpu_on_its_newest_host(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    old, new = Labels(hostname="host-9", pod="train-0"), Labels(hostname="host-2")
    await add_block(pool, new, [NOON], [1])
    await add_block(pool, old, [NOON - timedelta(hours=1)], [2])
    (gpu,) = await reader.gpus()
    assert gpu.hostname == "host-2"
    assert gpu.first_seen == NOON - timedelta(hours=1)
    assert gpu.last_seen == NOON
    found = await read(reader)
    assert [(record.hostname, record.pod, record.value) for record in found] == [
        ("host-2", "", 1),
        ("host-9", "train-0", 2),
    ]


async def test_a_record_has_every_label_and_its_value(pool: asyncpg.Pool, reader: Reader) -> None:
    await add_block(pool, TEMP, [NOON], [41.5])
    assert await read(reader) == [
        Record(  # type: ignore[call-arg]
            timestamp=NOON,
            metric_name="TEMP",
            gpu_id="0",
            device="nvidia0",
            uuid="GPU-a",
            model_name="NVIDIA H100 80GB HBM3",
            hostname="host-1",
            container="",
            pod="",
            namespace="",
            value=41.5,
            labels_raw='gpu="0"',
        )
    ]


async def test_values_that_no_number_can_show_are_kept(pool: asyncpg.Pool, reader: Reader) -> None:
    await add_block(pool, TEMP, every(NOON, 1, 3), [math.nan, math.inf, -math.inf])
    low, high, nan = [record.value for record in await read(reader)]
    assert (low, high) == (-math.inf, math.inf)
    assert math.isnan(nan)


async def test_both_ends_of_the_range_are_included_to_the_microsecond(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    times = [NOON - MICROSECOND, NOON, NOON + MICROSECOND]
    await add_block(pool, TEMP, times, [1, 2, 3])

    async def values(**wanted: Any) -> list[float]:
        return [record.value for record in await read(reader, **wanted)]

    assert await values(start=NOON, end=NOON) == [2]
    assert await values(start=NOON) == [3, 2]
    assert await values(end=NOON) == [2, 1]
    assert await values(start=times[0], end=times[2]) == [3, 2, 1]
    assert await values(start=times[2] + MICROSECOND) == []
    assert await values(end=times[0] - MICROSECOND) == []
    assert await values(start=NOON, end=NOON - MICROSECOND) == []


async def test_midnight_belongs_to_the_range_on_either_side(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    midnight = datetime(2025, 7, 19, tzinfo=UTC)
    await add_block(pool, TEMP, [midnight - 2 * MICROSECOND, midnight - MICROSECOND], [1, 2])
    await add_block(pool, TEMP, [midnight, midnight + MICROSECOND], [3, 4])

    async def values(start: datetime, end: datetime) -> list[float]:
        return [record.value for record in await read(reader, start=start, end=end)]

    assert await values(midnight, midnight) == [3]
    assert await values(midnight - MICROSECOND, midnight) == [3, 2]
    assert await values(midnight - timedelta(days=1), midnight - MICROSECOND) == [2, 1]


async def test_records_come_newest_first_across_series_blocks_and_days(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    await add_block(pool, TEMP, every(NOON, 10, 50), range(50))
    await add_block(pool, TEMP, every(NOON + timedelta(seconds=5), 10, 30), range(30))
    await add_block(pool, POWER, every(NOON + timedelta(seconds=60), 1, 100), range(100))
    await add_block(pool, POWER, every(NOON - timedelta(days=40), 7, 20), range(20))
    await add_block(pool, Labels(uuid="GPU-b"), every(NOON, 1, 5), range(5))
    found = await read(reader)
    assert len(found) == 200
    times = [record.timestamp for record in found]
    assert times == sorted(times, reverse=True)
    assert {record.uuid for record in found} == {"GPU-a"}
    assert await read(reader) == found


@pytest.mark.parametrize("order", Order)
async def test_days_far_apart_are_all_found(
    pool: asyncpg.Pool, reader: Reader, order: Order
) -> None:
    wanted = [NOON + timedelta(days=days) for days in (-3000, -400, -399, -7, -3, -1, 0)]
    for number, moment in enumerate(wanted):
        await add_block(pool, (TEMP, POWER)[number % 2], [moment], [number])
    newest_first = order is Order.NEWEST_FIRST
    found = [record.timestamp for record in await read(reader, order=order)]
    assert found == (wanted[::-1] if newest_first else wanted)
    narrow = await read(reader, order=order, start=wanted[1], end=wanted[-1] - MICROSECOND)
    assert [record.timestamp for record in narrow] == [
        moment for moment in found if wanted[1] <= moment < wanted[-1]
    ]


async def test_only_the_metric_asked_for_comes(pool: asyncpg.Pool, reader: Reader) -> None:
    await add_block(pool, TEMP, every(NOON, 1, 3), [1, 2, 3])
    await add_block(pool, POWER, every(NOON, 1, 3), [4, 5, 6])
    assert [record.value for record in await read(reader, metric="POWER")] == [6, 5, 4]
    assert await read(reader, metric="power") == []


@pytest.mark.parametrize("limit", [1, 999, 1000, 1001, 4999, 5000, 5001])
async def test_a_limit_keeps_the_newest(pool: asyncpg.Pool, reader: Reader, limit: int) -> None:
    await add_many(pool, TEMP, NOON, blocks=50, samples=100)
    found = await read(reader, limit=limit)
    assert [record.value for record in found] == list(range(4999, -1, -1))[:limit]


@pytest.mark.parametrize("name", ["\x00", "GPU-\ud800", "", "%"])
async def test_names_that_postgres_cannot_hold_are_only_unknown(reader: Reader, name: str) -> None:
    assert not await reader.gpu_exists(name)
    assert await read(reader, name) == []
    assert await read(reader, "GPU-a", metric=name) == []


async def test_memory_does_not_grow_with_the_number_of_records(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    await add_many(pool, TEMP, NOON, blocks=1500, samples=200)
    await add_many(pool, POWER, NOON, blocks=500, samples=200)

    async def peak(metric: str, count: int) -> int:
        seen = 0
        tracemalloc.start()
        async with aclosing(of(reader, metric=metric)) as pieces:
            async for records in pieces:
                seen += len(records)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seen == count
        return highest

    await peak("POWER", 100_000)
    assert await peak("TEMP", 300_000) < 1.5 * await peak("POWER", 100_000)


@pytest.mark.parametrize("order", Order)
async def test_pages_joined_are_the_whole_answer(
    pool: asyncpg.Pool, reader: Reader, order: Order
) -> None:
    for metric in ("TEMP", "POWER"):
        await add_block(pool, Labels(metric=metric), every(NOON, 10, 50), [1, 2] * 25)
        await add_block(
            pool, Labels(metric=metric), every(NOON + timedelta(days=3), 10, 30), [1] * 30
        )
        await add_block(pool, Labels(metric=metric), [NOON] * 7, [1] * 7)
    whole = await read(reader, order=order)
    assert len(whole) == 160, "those of one instant count once"
    times = [record.timestamp for record in whole]
    assert times == sorted(times, reverse=order is Order.NEWEST_FIRST)
    found: list[Record] = []
    position = None
    while len(found) < len(whole):
        async with aclosing(of(reader, order=order, after=position, limit=5)) as pieces:
            async for records in pieces:
                found += records
                position = Position.of_last(records.samples, position)
    assert found == whole


async def test_series_of_many_gpus_are_selected_by_their_labels(
    pool: asyncpg.Pool, reader: Reader
) -> None:
    for uuid, hostname in [("GPU-a", "host-1"), ("GPU-ab", "host-2"), ("GPU_b", "host-2")]:
        for metric in ("TEMP", "POWER"):
            await add_block(pool, Labels(uuid, metric, hostname), [NOON], [1])

    async def selected(*matchers: LabelCondition) -> set[tuple[str, str]]:
        found = set()
        async for records in telemetry(reader, TelemetryQuery(Selection(matchers))):
            found |= {(record.uuid, record.metric_name) for record in records}
        return found

    everything = {(uuid, m) for uuid in ("GPU-a", "GPU-ab", "GPU_b") for m in ("TEMP", "POWER")}
    assert await selected() == everything
    assert await selected(matching("uuid", ["GPU-a*"])) == {
        each for each in everything if each[0] != "GPU_b"
    }
    assert {uuid for uuid, _ in await selected(matching("uuid", ["GPU_?"]))} == {"GPU_b"}
    temperatures = matching("metric_name", ["TEMP"])
    on_two = matching("hostname", ["host-2", "host-9"])
    assert await selected(temperatures, on_two) == {("GPU-ab", "TEMP"), ("GPU_b", "TEMP")}
    others = LabelCondition("metric_name", Comparison.IS_NOT, ("TEMP",))
    assert {metric for _, metric in await selected(others)} == {"POWER"}
    assert await selected(matching("uuid", ["%", "\x00", "G\\PU*"])) == set()


async def test_a_day_of_too_many_samples_to_hold_is_read_in_slices(
    pool: asyncpg.Pool, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(120):
        await add_block(pool, Labels(f"GPU-{number:03d}"), every(NOON, 60, 20), range(20))

    async def everything(order: Order) -> list[Record]:
        found: list[Record] = []
        async for records in telemetry(reader, TelemetryQuery(order=order)):
            found += records
        return found

    whole = {order: await everything(order) for order in Order}
    monkeypatch.setattr("gputel.store.read.telemetry._SAMPLES_HELD", 100)
    for order in Order:
        found = await everything(order)
        assert len(found) == 2400
        assert found == whole[order]


async def test_a_read_sees_one_state_of_the_store(pool: asyncpg.Pool, reader: Reader) -> None:
    await add_many(pool, TEMP, NOON, blocks=200, samples=100)
    async with aclosing(of(reader)) as pieces:
        seen = len(await anext(pieces))
        await add_block(pool, TEMP, [NOON - timedelta(hours=1)], [-1])
        await pool.execute("DELETE FROM sample_block WHERE first_ts = $1", NOON)
        async for records in pieces:
            seen += len(records)
    assert seen == 20_000


async def test_a_closed_read_gives_its_session_back(pool: asyncpg.Pool, reader: Reader) -> None:
    await add_many(pool, TEMP, NOON, blocks=200, samples=100)
    for _ in range(2 * pool.get_max_size()):
        async with aclosing(of(reader)) as pieces:
            await anext(pieces)
    assert pool.get_idle_size() == pool.get_size()


async def test_a_read_that_is_cancelled_as_its_session_ends_is_cancelled(reader: Reader) -> None:
    async def reads() -> None:
        async with reader.snapshot() as connection:
            sessions.append(connection)
            await asyncio.sleep(60)

    sessions: list[Connection] = []
    task = asyncio.create_task(reads())
    while not sessions:
        await asyncio.sleep(0.01)
    sessions[0].terminate()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_more_long_reads_than_sessions_are_told_to_come_back(
    pool: asyncpg.Pool, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.store.read.reader._BUSY_WAIT_S", 0.05)
    await add_many(pool, TEMP, NOON, blocks=200, samples=100)
    open_reads = [of(reader) for _ in range(pool.get_max_size() // 2)]
    for pieces in open_reads:
        await anext(pieces)
    with pytest.raises(StoreUnavailable, match="as many telemetry requests as may run"):
        await read(reader)
    assert await problem_of(pool) is None
    for pieces in open_reads:
        await pieces.aclose()
    assert len(await read(reader, limit=1)) == 1


async def test_a_closed_pool_is_a_store_that_is_away(pool: asyncpg.Pool, reader: Reader) -> None:
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await reader.gpus()
    with pytest.raises(StoreUnavailable):
        await read(reader)
    assert "Postgres is away" in (await problem_of(pool) or "")
