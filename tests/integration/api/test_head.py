"""The newest hours in memory: no answer shows whether it came from there or from Postgres."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nan
from typing import Any

import asyncpg
import pyarrow as pa
import pytest

from gputel import metrics
from gputel.api.prometheus.engine import Engine
from gputel.api.prometheus.params import RangeSteps
from gputel.api.prometheus.series import SeriesSource
from gputel.config.settings import ApiSettings
from gputel.errors import StoreUnavailable
from gputel.promql.syntax.parse import parse_selector
from gputel.store.blocks.samples import micros
from gputel.store.head.head import Head
from gputel.store.limits import limits_of
from gputel.store.read.latest import latest
from gputel.store.read.reader import Reader
from gputel.store.read.records import Record
from gputel.store.read.selection import EVERY, Comparison, LabelCondition, Selection, of_gpu
from gputel.store.read.telemetry import TelemetryQuery, telemetry
from gputel.store.read.time_order import Order, Position
from gputel.store.read.view import StoredViews, Views
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.build import roll_up
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step
from gputel.store.upkeep.conditions import Deletion
from gputel.store.upkeep.delete import delete
from gputel.store.upkeep.maintenance import sole
from gputel.store.upkeep.merge import FINAL, merge_day, merge_frames
from gputel.store.write.writer import Arrival, Writer
from gputel.times import Duration
from tests.helpers.batches import batch, labels
from tests.helpers.waiting import eventually
from tests.integration.api.conftest import Start
from tests.integration.api.test_ended_by_source import ENDED, marked

STEP = timedelta(seconds=10)
SPAN = timedelta(hours=2)
METRICS = ["DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_UTIL"]
EXPRESSIONS = [
    "DCGM_FI_DEV_GPU_TEMP",
    'DCGM_FI_DEV_GPU_TEMP{UUID="GPU-1"}',
    '{UUID=~"GPU-[13]", pod!=""}',
    "avg by (Hostname) (DCGM_FI_DEV_POWER_USAGE)",
    "sum(max_over_time(DCGM_FI_DEV_GPU_UTIL[2m]))",
    "count_over_time(DCGM_FI_DEV_GPU_TEMP[10m])",
    "topk(2, DCGM_FI_DEV_GPU_TEMP)",
    "gputel:gpu_power_watts",
    'count({__name__=~"DCGM_FI_DEV_GPU_.*"}) by (__name__)',
    "DCGM_FI_DEV_GPU_TEMP offset 3m",
]
SELECTORS = [
    '{UUID=~".+"}',
    'DCGM_FI_DEV_GPU_TEMP{pod=~"p.*"}',
    '{Hostname="h1"}',
    '{UUID=~"GPU-[1-4]"}',
]


class World:
    """What happens to a store; and the same questions, asked with the memory and without it."""

    def __init__(self, pool: asyncpg.Pool, head: Head, seed: int) -> None:
        self.pool, self.head, self.reader = pool, head, Reader(pool)
        self.random = random.Random(seed)
        self.writers = [Writer(pool), Writer(pool)]
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.landed: list[pa.RecordBatch] = []
        self.numbers = iter(range(10**6))
        self.with_head = self.ways(head)
        self.without = self.ways(StoredViews(self.reader))

    @staticmethod
    def ways(views: Views) -> tuple[SeriesSource, Engine]:
        limits = limits_of(ApiSettings())
        source = SeriesSource(views, limits, 2**20)
        return source, Engine(source, limits)

    def rows(
        self, first: int, count: int, pod: str = "", gpus: Sequence[int] = range(5)
    ) -> pa.RecordBatch:
        """Samples of some GPUs from ``first`` steps before now on."""
        gpus = self.random.sample(gpus, self.random.randint(1, len(gpus)))
        rows = []
        for gpu in gpus:
            for metric in self.random.sample(METRICS, self.random.randint(1, 3)):
                series = labels(f"GPU-{gpu}", metric, hostname=f"h{gpu % 2}", pod=pod)
                for step in range(count):
                    at = self.now - (first - step) * STEP
                    if self.random.random() < 0.1:
                        at += timedelta(milliseconds=self.random.randint(1, 400))
                    rows.append((series, at, self.value()))
        return marked(rows)

    def value(self) -> float:
        whole = float(self.random.randint(0, 100))
        return self.random.choice([whole, whole, whole, whole + 0.25, nan, ENDED])

    async def land(self, *batches: pa.RecordBatch) -> None:
        writer = self.random.choice(self.writers)
        await writer.land([Arrival(f"m{next(self.numbers)}", None, each) for each in batches])
        self.landed += batches

    async def new(self) -> None:
        await self.land(self.rows(self.random.randint(0, 12), self.random.randint(1, 12)))

    async def late(self) -> None:
        await self.land(self.rows(self.random.randint(12, 900), self.random.randint(1, 30)))

    async def around_the_floor(self) -> None:
        await self.land(self.rows(730, 20))

    async def pod(self) -> None:
        pod = f"p{self.random.randint(0, 2)}"
        await self.land(self.rows(self.random.randint(0, 60), self.random.randint(1, 20), pod))

    async def again(self) -> None:
        """The same samples from another message, some with another value."""
        if self.landed:
            await self.land(self.random.choice(self.landed))

    async def at_once(self) -> None:
        batches = [self.rows(self.random.randint(0, 40), 5) for _ in range(4)]
        await asyncio.gather(*(self.land(each) for each in batches))

    async def merge(self) -> None:
        async with sole(self.pool) as connection:
            assert connection is not None
            await roll_up(connection, everything=True)
            for day in {self.now.date(), (self.now - SPAN * 1.5).date()}:
                await merge_frames(connection, day, 1)
                await merge_day(connection, day, FINAL)

    async def remove(self) -> None:
        gpu = self.random.randint(0, 4)
        start = self.now - self.random.randint(0, 800) * STEP
        what = Deletion(uuids=(f"GPU-{gpu}",), start=start, end=start + 30 * STEP)
        async with sole(self.pool) as connection:
            assert connection is not None
            await delete(connection, what, lambda _: None)

    async def cut_sessions(self) -> None:
        """Postgres ends the sessions of all that read, as a restart of it would."""
        await self.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'head' AND pid <> pg_backend_pid()"
        )

    async def lose_the_feed(self) -> None:
        """As after a crash of Postgres, and landings meanwhile are kept for nobody."""
        await self.pool.execute("TRUNCATE landing, landing_demand, landing_horizon")
        await self.new()

    async def settle(self) -> None:
        """Whatever the memory does beside answering."""
        await asyncio.sleep(0.1)
        await filled(self.head)

    async def step(self) -> None:
        often = [self.new] * 6 + [self.late] * 3 + [self.pod] * 2
        seldom = [
            self.around_the_floor,
            self.silent,
            self.again,
            self.at_once,
            self.merge,
            self.settle,
        ]
        rare = [self.settle, self.remove, self.cut_sessions, self.lose_the_feed]
        await self.random.choice(often + seldom * 2 + rare)()

    async def compare(self) -> None:
        back = self.random.choice([0, 0, 10, 300, 719, 725, 900])
        at = micros(self.now - back * STEP)
        span = self.random.choice([1, 30, 360, 800]) * STEP
        start = self.now - back * STEP - span
        steps = RangeSteps(micros(start), at, micros_of(span / self.random.choice([1, 5, 7])))
        await self.compare_newest(start)
        await self.compare_records(start, start + span)
        for expression in self.random.sample(EXPRESSIONS, 3):
            instant = [await patiently(engine.instant, expression, at) for _, engine in self.both]
            assert instant[0] == instant[1], (expression, self.now, back)
            ranges = [await patiently(engine.range, expression, steps) for _, engine in self.both]
            assert ranges[0] == ranges[1], (expression, steps)
        selector = parse_selector(self.random.choice(SELECTORS))
        found = [
            await patiently(source.distinct, [selector], micros(start), at)
            for source, _ in self.both
        ]
        assert found[0] == found[1], (selector, start, at)

    async def compare_newest(self, since: datetime) -> None:
        """The newest of each series; and of a pod, which another one may have followed."""
        seen_since = self.random.choice([None, None, since])
        pods = Selection((LabelCondition("pod", Comparison.LIKE, ("p%",)),))
        for selection in (EVERY, pods, of_gpu("GPU-1")):
            found = []
            for views in (self.head, StoredViews(self.reader)):
                newest = await patiently(latest, views, selection, seen_since)
                columns = newest.ts.tolist(), newest.value.tolist(), newest.of.series
                found.append([*zip(*columns, strict=True)])
            assert repr(found[0]) == repr(found[1]), (selection, seen_since)

    async def compare_records(self, start: datetime, end: datetime) -> None:
        """Records newest or oldest first, some of them in pages."""
        order, limit = self.random.choice([*Order]), self.random.choice([None, 7])
        query = TelemetryQuery(of_gpu("GPU-1"), start, end, order, limit=limit)
        for each in (query, replace(query, selection=EVERY)):
            found = [await patiently(self.records, each, views) for views in (self.head, None)]
            assert repr(found[0]) == repr(found[1]), query

        by_step = self.random.choice([7, 60, 90, 3600]) * 1_000_000
        groups = self.random.choice([None, ("hostname",), ("pod", "uuid"), ()])
        fill, aggregate = self.random.random() < 0.3, self.random.choice([*Aggregate])
        steps = StepQuery(by_step, aggregate, group_by=groups, fill=fill)
        after = self.random.choice([None, Position(micros(start) // by_step * by_step, 1, nan)])
        for each in (query, replace(query, selection=EVERY, after=after if not groups else None)):
            found = [
                await patiently(self.by_step, each, steps, views) for views in (self.head, None)
            ]
            assert repr(found[0]) == repr(found[1]), (each, steps)

    async def by_step(
        self, query: TelemetryQuery, steps: StepQuery, views: Views | None
    ) -> list[Any]:
        read = telemetry_by_step(self.reader, query, steps, views=views)
        found = []
        async with aclosing(read) as pieces:
            async for records in pieces:
                columns = records.samples.series_id.tolist(), records.samples.ts.tolist()
                names = [records.series[lane] for lane in columns[0]]
                lanes = names if steps.group_by is not None else columns[0]
                found += [*zip(lanes, columns[1], records.samples.value.tolist(), strict=True)]
        return found

    async def records(self, query: TelemetryQuery, views: Views | None) -> list[Record]:
        async with aclosing(telemetry(self.reader, query, views=views)) as pieces:
            return [record async for records in pieces for record in records]

    async def silent(self) -> None:
        """GPUs of which nothing new comes."""
        await self.land(self.rows(self.random.randint(690, 760), 10, gpus=range(8, 10)))

    @property
    def both(self) -> tuple[tuple[SeriesSource, Engine], ...]:
        return self.with_head, self.without


async def patiently(ask: Callable[..., Awaitable[Any]], *question: Any) -> Any:
    """The answer, asked again if Postgres has ended the session, as a client does after a 503."""
    for _ in range(20):
        with suppress(StoreUnavailable):
            return await ask(*question)
    return await ask(*question)


def micros_of(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


async def filled(head: Head) -> None:
    async def is_filled() -> bool:
        return head.floor_us is not None

    await eventually(is_filled)


@pytest.fixture
async def own_pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool whose sessions have a name."""
    async with asyncpg.create_pool(
        dsn, min_size=0, max_size=8, server_settings={"application_name": "head"}
    ) as own:
        yield own


@asynccontextmanager
async def running(
    pool: asyncpg.Pool, span: timedelta = SPAN, most: int = 2**28
) -> AsyncIterator[Head]:
    async with starting(pool, span, most) as head:
        await filled(head)
        yield head


@asynccontextmanager
async def starting(
    pool: asyncpg.Pool, span: timedelta = SPAN, most: int = 2**28
) -> AsyncIterator[Head]:
    """A head that may be empty still."""
    head = Head(Reader(pool), span, most)
    task = asyncio.create_task(head.run())
    try:
        yield head
    finally:
        task.cancel()
        await asyncio.wait({task})


def reads() -> dict[str, float]:
    """How many reads there were so far, by where the samples came from."""
    (family,) = metrics.API_HEAD_READS.collect()
    return {
        each.labels["source"]: each.value for each in family.samples if each.name.endswith("_total")
    }


async def of(views: Views, expression: str, at: datetime) -> bytes:
    return await World.ways(views)[1].instant(expression, micros(at))


@pytest.mark.parametrize("seed", range(4))
async def test_answers_are_the_same_with_and_without_the_head(
    pool: asyncpg.Pool, own_pool: asyncpg.Pool, seed: int
) -> None:
    before = reads()
    most = [2**28, 2**28, 100_000, 30_000][seed]  # the last ones have no room for the window
    async with running(own_pool, most=most) as head:
        world = World(pool, head, seed)
        for _ in range(40):
            await world.step()
            await world.compare()
    now = reads()
    wanted = {"head": 15, "both": 15} if most == 2**28 else {"both": 5}
    for source, least in wanted.items():
        assert now[source] - before.get(source, 0) > least, source


async def test_what_has_landed_is_in_the_next_answer(pool: asyncpg.Pool) -> None:
    writer, now = Writer(pool), datetime.now(UTC)
    async with running(pool) as head:
        for number in range(50):
            row = (labels("GPU-a", "TEMP"), now + number * timedelta(milliseconds=1), number)
            await writer.land([Arrival(f"m{number}", None, batch([row]))])
            answer = await of(head, "TEMP", now + timedelta(seconds=1))
            assert f'"{number}"'.encode() in answer
        assert head.floor_us is not None


async def test_landings_of_transactions_that_were_open_when_it_filled_are_not_missed(
    pool: asyncpg.Pool,
) -> None:
    """A commit that took its id before the demand, and nothing kept what it landed."""
    now = datetime.now(UTC)
    async with pool.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE gpu IN SHARE MODE")
        rows = [(labels("GPU-a", "TEMP"), now, 7.0)]
        landing = asyncio.create_task(Writer(pool).land([Arrival("m", None, batch(rows))]))

        async def waits() -> bool:
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'gpu'::regclass"
            )
            return bool(await pool.fetchval(waiting))

        await eventually(waits)
        head = Head(Reader(pool), SPAN, 2**28)
        task = asyncio.create_task(head.run())

        async def demanded() -> bool:
            return bool(await pool.fetchval("SELECT since IS NOT NULL FROM landing_demand"))

        await eventually(demanded)
        assert head.floor_us is None, "it may not begin before the open commit has ended"
        await transaction.rollback()
        await landing
    await filled(head)
    assert b'"7"' in await of(head, "TEMP", now)
    task.cancel()
    await asyncio.wait({task})


async def test_client_that_leaves_takes_no_answer_from_those_that_wait_with_it(
    pool: asyncpg.Pool, own_pool: asyncpg.Pool
) -> None:
    """Requests share the question what has landed; it has to have been answered."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'landing'::regclass"

    async def waits() -> bool:
        return bool(await pool.fetchval(waiting))

    async with running(own_pool) as head:
        pass  # from here on it asks only for those who read
    async with pool.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE landing IN ACCESS EXCLUSIVE MODE")
        asked = [asyncio.create_task(of(head, "TEMP", datetime.now(UTC))) for _ in range(4)]
        for number, leaving in enumerate(asked[:3]):
            await eventually(waits)
            assert not any(each.done() for each in asked[number:])
            leaving.cancel()
            await asyncio.wait({leaving})
        await eventually(waits)
        assert not asked[3].done()
        await transaction.rollback()
        assert b"success" in await asked[3]


async def test_dropped_day_is_gone_from_memory_at_once(pool: asyncpg.Pool) -> None:
    now = datetime.now(UTC)
    yesterday = now - timedelta(days=1)
    rows = [(labels("GPU-a", "TEMP"), at, 7.0) for at in (yesterday, now)]
    await Writer(pool).land([Arrival("m", None, batch(rows))])
    count = "count_over_time(TEMP[2d])"
    async with running(pool, span=timedelta(days=3)) as head:
        assert b'"2"' in await of(head, count, now)
        await pool.execute("SELECT drop_sample_block_day($1)", yesterday.date())
        assert b'"1"' in await of(head, count, now)
        await filled(head)
        assert b'"1"' in await of(head, count, now)


async def test_samples_of_an_older_collector_are_not_taken_for_all_that_landed(
    pool: asyncpg.Pool,
) -> None:
    async with running(pool) as head:
        await pool.execute("INSERT INTO landing (part, samples, payload) VALUES (0, 1, 'x')")
        assert b"success" in await of(head, "TEMP", datetime.now(UTC))


async def test_commit_of_old_samples_alone_puts_no_samples_into_the_feed(
    pool: asyncpg.Pool,
) -> None:
    now = datetime.now(UTC)
    async with running(pool):
        old = [
            (labels("GPU-a", "TEMP"), now - timedelta(hours=9) + n * STEP, 7.0) for n in range(9)
        ]
        await Writer(pool).land([Arrival("old", None, batch(old))])
        rows = await pool.fetch("SELECT kind, samples, octet_length(payload) AS size FROM landing")
        assert [tuple(row) for row in rows] == [(b"o", 0, 0)]
        await Writer(pool).land(
            [Arrival("new", None, batch([(labels("GPU-a", "TEMP"), now, 1.0)]))]
        )
        rows = await pool.fetch("SELECT kind, samples FROM landing WHERE samples > 0")
        assert [tuple(row) for row in rows] == [(b"r", 1)]


async def test_readiness_tells_of_a_window_that_is_shorter_than_wanted(pool: asyncpg.Pool) -> None:
    now = datetime.now(UTC)
    rows = [
        (labels("GPU-a", metric), now - n * STEP, 7.0) for n in range(700) for metric in METRICS
    ]
    await Writer(pool).land([Arrival("m", None, batch(rows))])
    async with running(pool) as head:
        assert head.note() is None
    async with running(pool, most=20_000) as head:
        told = head.note()
        assert told is not None
        assert "--head-max-bytes" in told
        assert "2:00:00" in told


async def test_database_that_only_reads_answers_without_a_head(
    pool: asyncpg.Pool, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    await Writer(pool).land([Arrival("m", None, batch([(labels("GPU-a", "TEMP"), now, 7.0)]))])
    only_reads = {"default_transaction_read_only": "on"}
    async with asyncpg.create_pool(dsn, min_size=0, server_settings=only_reads) as reading:

        async def told() -> bool:
            return "the head cannot be kept up to date" in caplog.text

        async with starting(reading) as head:
            await eventually(told)
            assert "read-only" in caplog.text
            assert b'"7"' in await of(head, "TEMP", now)


async def test_labels_of_series_that_are_gone_are_forgotten(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods come and go; only the series of the window stay in memory."""
    monkeypatch.setattr("gputel.store.head.head._MANY", 5)
    now, writer = datetime.now(UTC), Writer(pool)
    async with running(pool, most=40_000) as head:
        for number in range(60):
            at = now - timedelta(minutes=60 - number)
            rows = [
                (labels("GPU-a", "TEMP", pod=f"p{number}"), at + n * STEP, 1.0) for n in range(6)
            ]
            await writer.land([Arrival(f"m{number}", None, batch(rows))])
            assert b"p%d" % number in await of(head, "TEMP", at + timedelta(minutes=1))

        async def few() -> bool:
            (family,) = metrics.API_HEAD_SERIES.collect()
            return bool(family.samples[0].value < 40)

        await eventually(few)
        assert b"p59" in await of(head, "TEMP", now)


async def test_api_answers_alike_with_a_head(pool: asyncpg.Pool, start: Start) -> None:
    now = datetime.now(UTC).replace(microsecond=0) - STEP
    rows = [
        (labels(f"GPU-{gpu}", metric, hostname="h"), now - n * STEP, float(n + gpu))
        for gpu in range(3)
        for metric in METRICS
        for n in range(90)
    ]
    await Writer(pool).land([Arrival("m", None, batch(rows))])
    times = f"start_time={now - 30 * STEP:%Y-%m-%dT%H:%M:%SZ}&end_time={now:%Y-%m-%dT%H:%M:%SZ}"
    paths = [
        "/api/v1/telemetry/latest?seen_since=now-1h&metric=DCGM_FI_DEV_GPU_TEMP",
        "/api/v1/telemetry/latest?metric=gputel:gpu_power_watts",
        f"/api/v1/gpus/GPU-1/telemetry?{times}",
        f"/api/v1/telemetry?{times}&limit=50&order=asc",
        f"/api/v1/telemetry?{times}&step=1m&agg=p95&group_by=hostname",
        f"/api/v1/telemetry/top?{times}&metric=DCGM_FI_DEV_GPU_TEMP",
        f"/prometheus/api/v1/query?query=sum(DCGM_FI_DEV_GPU_TEMP)&time={now.timestamp()}",
        f"/prometheus/api/v1/label/UUID/values?start={now.timestamp() - 60}&end={now.timestamp()}",
    ]
    found = []
    async with start(head_window=Duration(hours=2)) as one, start() as other:

        async def is_filled() -> bool:
            async with one.get("/metrics") as answer:
                return "gputel_api_head_samples 810.0" in await answer.text()

        await eventually(is_filled)
        before = reads()
        for client in (one, other):
            for path in paths:
                async with client.get(path) as answer:
                    assert answer.status == 200, await answer.text()
                    body = await answer.json()
                    for record in body if isinstance(body, list) else ():
                        record.pop("age_s", None)
                    found.append(body)
        assert sum(reads().values()) - sum(before.values()) == len(paths)
    assert found[: len(paths)] == found[len(paths) :]
    assert all(found)
