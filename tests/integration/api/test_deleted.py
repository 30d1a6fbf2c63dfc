"""After any landings, maintenance and deletions, answers are those of a plain model of samples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gputel.api.server import serve
from gputel.config.settings import ApiSettings, PostgresSettings
from gputel.store.pool import close_pool, open_pool
from gputel.store.read.reader import Reader
from gputel.store.read.selection import Comparison, LabelCondition, Selection
from gputel.store.upkeep.conditions import Deletion, stream_numbers
from gputel.store.upkeep.delete import delete
from gputel.store.upkeep.maintenance import Maintenance, sole
from gputel.store.upkeep.merge import merge_frames
from gputel.store.upkeep.survey import survey
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Arrival, Chunk, Writer
from gputel.web.health import Health
from tests.helpers.batches import batch, labels

START = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
STEP, STEPS = timedelta(seconds=20), 540  # three hours, over midnight
SERIES = [(uuid, metric) for uuid in ("GPU-a", "GPU-b", "GPU-c") for metric in ("TEMP", "UTIL")]
STREAMS = ("one", "two")
TABLES = (
    "sample_block, series, gpu, rollup, rollup_stale, series_end, stream_progress, stream_lease, "
    "stream_rejects, stream_repeats, message_ledger, sample_frame, series_list, series_list_member"
)
Key = tuple[int, int]  # a series, and a step after START


@dataclass
class Model:
    """Samples, each with the stream that brought it first, or None."""

    owner: dict[Key, str | None] = field(default_factory=dict)

    def land(self, stream: str | None, keys: Sequence[Key]) -> None:
        for key in keys:
            self.owner.setdefault(key, stream)

    def delete(self, deletion: Deletion) -> int:
        gone = [key for key in self.owner if self._meets(key, deletion)]
        for key in gone:
            del self.owner[key]
        return len(gone)

    def _meets(self, key: Key, deletion: Deletion) -> bool:
        uuid, metric = SERIES[key[0]]
        for condition in deletion.selection.conditions:
            text = metric if condition.label == "metric_name" else f"host-{uuid[-1]}"
            if text not in condition.values:
                return False
        if deletion.uuids and uuid not in deletion.uuids:
            return False
        if deletion.streams and self.owner[key] not in deletion.streams:
            return False
        first, last = deletion.span
        return first <= START + key[1] * STEP <= last


def rows_of(keys: Sequence[Key]) -> Any:
    rows = []
    for series, step in keys:
        uuid, metric = SERIES[series]
        value = float(series * 1000 + step * 7 % 101)
        named = labels(uuid, metric, hostname=f"host-{uuid[-1]}", gpu_id="0")
        rows.append((named, START + step * STEP, value))
    return batch(rows)


class Store:
    """A store, and a live API on it, which keeps its caches from one answer to the next."""

    def __init__(self, pool: asyncpg.Pool, client: aiohttp.ClientSession) -> None:
        self.pool, self.client = pool, client
        self._writer, self._messages = Writer(pool), 0

    async def land(self, stream: str | None, keys: Sequence[Key]) -> None:
        self._messages += 1
        chunk = None
        if stream is not None:
            streams = Streams(self.pool, stream, "owner")
            await streams.register(stream, stream, looping=True)
            lease = await streams.reserve(len(keys), 600)
            assert lease is not None
            chunk = Chunk(stream, lease.first_row)
        arrival = Arrival(f"message-{self._messages}", chunk, rows_of(keys))
        assert await self._writer.land([arrival]) == [True]
        await self.pool.execute("UPDATE stream_progress SET reserved_at = '2026-01-01'")

    async def delete(self, deletion: Deletion) -> int:
        async with sole(self.pool) as connection:
            assert connection is not None
            streams = await stream_numbers(connection, deletion)
            found = (await survey(connection, deletion, streams)).samples
            gone = (await delete(connection, deletion, lambda so_far: None)).samples
        assert found == gone
        return gone

    async def maintain(self) -> None:
        await Maintenance(self.pool).run(everything=True)

    async def merge_frames(self) -> None:
        async with sole(self.pool) as connection:
            assert connection is not None
            for day in (START.date(), (START + STEPS * STEP).date()):
                await merge_frames(connection, day, 2)

    async def answers(self) -> dict[str, Any]:
        return {
            f"{path} {parameters}": await self._answer(path, parameters)
            for path, parameters in QUESTIONS
        }

    async def _answer(self, path: str, parameters: dict[str, str]) -> Any:
        async with self.client.get(path, params=parameters) as response:
            assert response.status == 200, await response.text()
            answer = await response.json()
        if not isinstance(answer, list):
            return answer
        for record in answer:
            record.pop("age_s", None)
        # Records of one instant are in order of series, as these were made.
        return sorted(answer, key=repr)


def _at(step: int) -> str:
    return (START + step * STEP).isoformat()


QUESTIONS = [
    ("/api/v1/gpus", {}),
    ("/api/v1/hosts", {}),
    ("/api/v1/telemetry", {"limit": "10000", "order": "asc"}),
    ("/api/v1/telemetry/latest", {}),
    *(("/api/v1/telemetry", {"step": step, "agg": agg, "limit": "10000"})
      for step, agg in (("1h", "avg"), ("1m", "max"), ("5m", "count"), ("90s", "sum"),
                        ("2h", "min"), ("1h", "p95"))),
    ("/api/v1/telemetry", {"step": "1h", "agg": "sum", "group_by": "hostname"}),
    *(("/prometheus/api/v1/query", {"query": query, "time": _at(step)})
      for query in ("TEMP", "sum by (uuid) (count_over_time(UTIL[1h]))")
      for step in (100, 539)),
    *(("/prometheus/api/v1/query_range",
       {"query": query, "start": _at(0), "end": _at(STEPS), "step": "60"})
      for query in ("TEMP", "max_over_time(UTIL[10m])", "sum(TEMP)")),
]  # fmt: skip

keys = st.lists(
    st.tuples(st.integers(0, len(SERIES) - 1), st.integers(0, STEPS - 1)), min_size=1, unique=True
)
runs = st.builds(
    lambda series, first, count: [
        (series, step) for step in range(first, min(STEPS, first + count))
    ],
    st.integers(0, len(SERIES) - 1),
    st.integers(0, STEPS - 1),
    st.integers(1, STEPS),
)
scrapes = st.builds(
    # Again and again the same series of each GPU at the same times, so that these are in frames.
    lambda series, first, count, apart, times: [
        [(each, step + later) for each in series for later in range(times) if step + later < STEPS]
        for step in range(first, min(STEPS, first + count * apart), apart)
    ],
    st.sampled_from([(0, 1, 2, 3, 4, 5), (0, 1), (2, 3, 4)]),
    st.sampled_from([0, 255, 260, 268]) | st.integers(0, STEPS - 1),  # 270 is midnight
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(1, 3),
)
messages = st.builds(lambda one: [one], keys | runs) | scrapes
landings = st.tuples(st.just("land"), st.sampled_from((None, *STREAMS)), messages)


@st.composite
def deletions(draw: st.DrawFn) -> Deletion:
    conditions = []
    if draw(st.booleans()):
        hosts = draw(st.lists(st.sampled_from(["host-a", "host-b", "host-x"]), min_size=1))
        conditions.append(LabelCondition("hostname", Comparison.IS, tuple(hosts)))
    if draw(st.booleans()):
        conditions.append(LabelCondition("metric_name", Comparison.IS, ("TEMP",)))
    bounds = sorted(draw(st.lists(st.integers(-10, STEPS + 10), min_size=2, max_size=2)))
    start, end = (START + each * STEP for each in bounds)
    return Deletion(
        Selection(tuple(conditions)),
        uuids=draw(st.sampled_from([(), ("GPU-a",), ("GPU-b", "GPU-c")])),
        streams=draw(st.sampled_from([(), (), ("one",), STREAMS])),
        start=draw(st.sampled_from([None, start, start])),
        end=draw(st.sampled_from([None, end + timedelta(seconds=7), end])),
    )


steps = (
    landings
    | st.tuples(st.just("delete"), deletions())
    | st.tuples(st.just("maintain"))
    | st.tuples(st.just("merge frames"))
)


@pytest.fixture(scope="module")
def dsns(server_dsn: str) -> Iterator[tuple[str, str]]:
    """Two databases with the present schema."""
    names = ("deleted_model_a", "deleted_model_b")

    async def execute(*statements: str) -> None:
        connection = await asyncpg.connect(server_dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(*(f"CREATE DATABASE {name} TEMPLATE gputel_template" for name in names)))
    first, second = (server_dsn.replace("@/gputel?", f"@/{name}?") for name in names)
    yield first, second
    asyncio.run(execute(*(f"DROP DATABASE {name} WITH (FORCE)" for name in names)))


@asynccontextmanager
async def empty_store(dsn: str) -> AsyncIterator[Store]:
    pool = await open_pool(dsn, PostgresSettings(postgres_pool_size=4))
    await pool.execute(f"TRUNCATE {TABLES}")
    api = serve(ApiSettings(api_port=0), "127.0.0.1", Reader(pool), Health())
    try:
        async with api as listener, aiohttp.ClientSession(listener.url) as client:
            yield Store(pool, client)
    finally:
        await close_pool(pool)


async def follow(story: Sequence[tuple[Any, ...]], dsns: tuple[str, str]) -> None:
    model = Model()
    async with empty_store(dsns[0]) as store, empty_store(dsns[1]) as scratch:
        for name in STREAMS:
            await Streams(store.pool, name, "owner").register(name, name, looping=True)
        for action, *arguments in story:
            if action == "land":
                stream, parts = arguments
                for message in parts:
                    await store.land(stream, message)
                    model.land(stream, message)
            elif action == "merge frames":
                await store.merge_frames()
            elif action == "maintain":
                await store.maintain()
            elif arguments[0] != Deletion():
                await store.answers()  # fills the caches
                (deletion,) = arguments
                assert await store.delete(deletion) == model.delete(deletion)
                for name in STREAMS:
                    await Streams(store.pool, name, "owner").register(name, name, looping=True)
        if model.owner:
            await scratch.land(None, sorted(model.owner))
        assert await store.pool.fetchval("SELECT count(*) FROM telemetry") == len(model.owner)
        assert await store.answers() == await scratch.answers()
        await store.maintain()
        await scratch.maintain()
        assert await store.answers() == await scratch.answers()
        metrics = [await each._answer("/api/v1/metrics", {}) for each in (store, scratch)]
        assert metrics[0] == metrics[1]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck),
          phases=(Phase.explicit, Phase.reuse, Phase.generate))  # fmt: skip
@given(st.lists(steps, min_size=3, max_size=10))
def test_every_answer_is_that_of_a_store_that_never_had_the_samples(
    dsns: tuple[str, str], story: list[tuple[Any, ...]]
) -> None:
    framed = [[(2, step), (3, step)] for step in range(4)]
    asyncio.run(follow([("land", "one", [[(0, 5)]]), ("land", None, framed), *story], dsns))
