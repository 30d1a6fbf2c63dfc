"""Telemetry across GPUs: what a plain computation over the same rows gives."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import Any

import aiohttp
import asyncpg
import pytest

from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.web.health import Health
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every
from tests.integration.api.test_paging import Rows, get

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)
PATH = "/api/v1/telemetry"
STEP_S = 60
Sample = tuple[datetime, float]
Data = dict[Labels, list[Sample]]
Value = Callable[[Sequence[Sequence[Sample]]], float | None]


async def land(pool: asyncpg.Pool) -> Data:
    """Ten minutes, with gaps, of two metrics of six GPUs on three hosts, in odd blocks."""
    rng, data = random.Random(5), {}
    for gpu in range(6):
        for metric in ("TEMP", "ERRORS"):
            labels = Labels(f"GPU-{gpu}", metric, f"host-{gpu % 3}", "p" * (gpu % 2))
            times = sorted(rng.sample(range(600_000), 60))
            samples = [
                (NOON + timedelta(milliseconds=ms), float(rng.randrange(100)))
                for ms in times
                if ms // 60_000 not in (3, gpu)
            ]
            for first in range(0, len(samples), 17):
                part = samples[first : first + 17]
                await add_block(pool, labels, [s[0] for s in part], [s[1] for s in part])
            data[labels] = samples
    return data


def quantile(wanted: float) -> Value:
    def of(series: Sequence[Sequence[Sample]]) -> float:
        values = sorted(value for samples in series for _, value in samples)
        rank = wanted * (len(values) - 1)
        low = math.floor(rank)
        high = min(low + 1, len(values) - 1)
        return values[low] + (values[high] - values[low]) * (rank - low)

    return of


def rate(series: Sequence[Sequence[Sample]]) -> float | None:
    found = []
    for samples in series:
        gain = 0.0
        for (_, before), (_, after) in pairwise(samples):
            gain += after - before if after >= before else after
        if len(samples) > 1:
            found.append(gain / (samples[-1][0] - samples[0][0]).total_seconds())
    return sum(found) if found else None


def of_values(function: Callable[[list[float]], float]) -> Value:
    return lambda series: function([value for samples in series for _, value in samples])


def sum_of_averages(series: Sequence[Sequence[Sample]]) -> float:
    return sum(sum(value for _, value in samples) / len(samples) for samples in series)


VALUES: dict[str, Value] = {
    "avg": of_values(lambda values: sum(values) / len(values)),
    "min": of_values(min),
    "max": of_values(max),
    "sum": sum_of_averages,
    "sum_over_time": of_values(sum),
    "count": of_values(len),
    "p50": quantile(0.5),
    "p95": quantile(0.95),
    "p99": quantile(0.99),
    "rate": rate,
}


def computed(
    data: Data, key: Callable[[Labels], tuple[str, ...]], agg: str
) -> dict[tuple[datetime, tuple[str, ...]], float]:
    spans: dict[tuple[datetime, tuple[str, ...]], dict[Labels, list[Sample]]]
    spans = defaultdict(lambda: defaultdict(list))
    for labels, samples in data.items():
        for sample in samples:
            start = NOON + (sample[0] - NOON) // timedelta(seconds=STEP_S) * timedelta(
                seconds=STEP_S
            )
            spans[start, key(labels)][labels].append(sample)
    values = {place: VALUES[agg](list(series.values())) for place, series in spans.items()}
    return {place: value for place, value in values.items() if value is not None}


def by_place(rows: Rows, names: Sequence[str]) -> dict[tuple[datetime, tuple[str, ...]], float]:
    """The value of each row by its time and these labels, which no two rows have."""
    found = {
        (datetime.fromisoformat(row["timestamp"]), tuple(row[name] for name in names)): row["value"]
        for row in rows
    }
    assert len(rows) == len(found)
    return found


async def test_steps_of_each_series_are_those_of_its_records(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    data = await land(pool)
    for agg in VALUES:
        wanted = computed(data, lambda labels: (labels.metric, labels.uuid), agg)
        rows, _ = await get(client, PATH, step="1m", agg=agg)
        assert by_place(rows, ("metric_name", "uuid")) == pytest.approx(wanted), agg


@pytest.mark.parametrize(
    ("group_by", "key"),
    [
        ("metric", lambda labels: (labels.metric,)),
        ("hostname", lambda labels: (labels.metric, labels.hostname)),
        ("pod,hostname", lambda labels: (labels.metric, labels.pod, labels.hostname)),
    ],
)
async def test_groups_are_those_of_all_their_records(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    group_by: str,
    key: Callable[[Labels], tuple[str, ...]],
) -> None:
    data = await land(pool)
    names = ["metric_name", *(name for name in group_by.split(",") if name != "metric")]
    for agg in VALUES:
        rows, _ = await get(client, PATH, step="1m", agg=agg, group_by=group_by)
        assert all(list(row) == ["timestamp", *names, "value"] for row in rows)
        assert by_place(rows, names) == pytest.approx(computed(data, key, agg)), agg


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("name", ["json", "csv"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"step": "1m", "agg": "p95"},
        {"step": "1m", "group_by": "hostname"},
        {"step": "1m", "group_by": "metric", "agg": "p50"},
    ],
)
async def test_pages_are_the_whole_answer(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    order: str,
    name: str,
    more: dict[str, str],
) -> None:
    await land(pool)
    wanted, _ = await get(client, PATH, order=order, format=name, **more)
    found, url = await get(client, PATH, order=order, format=name, limit="7", **more)
    while url is not None:
        rows, url = await get(client, url)
        found += rows
        if "group_by" in more:  # another group in front of all does not shift the others
            away = timedelta(days=-400 if order == "asc" else 400)
            await add_block(pool, Labels("GPU-9", "AAA", "a"), [NOON + away], [1])
    assert found == wanted


async def test_groups_are_the_same_in_csv(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await land(pool)
    wanted, _ = await get(client, PATH, step="1m", group_by="hostname", agg="count")
    found, _ = await get(client, PATH, step="1m", group_by="hostname", agg="count", format="csv")
    renamed = [{name.lower(): value for name, value in row.items()} for row in found]
    assert renamed == [{name: str(value) for name, value in row.items()} for row in wanted]


async def test_filters_hold_together(pool: asyncpg.Pool, client: aiohttp.ClientSession) -> None:
    data = await land(pool)

    async def count(**query: str) -> int:
        return len((await get(client, PATH, **query))[0])

    def wanted(of: Callable[[Labels], bool]) -> int:
        return sum(len(samples) for labels, samples in data.items() if of(labels))

    assert await count() == wanted(lambda _: True)
    assert await count(hostname="host-1") == wanted(lambda each: each.hostname == "host-1")
    assert await count(uuid="GPU-2", metric="T*") == wanted(
        lambda each: (each.uuid, each.metric) == ("GPU-2", "TEMP")
    )
    assert await count(uuid="GPU-") == wanted(lambda _: True)
    assert await count(pod="p", hostname="host-0") == wanted(
        lambda each: (each.pod, each.hostname) == ("p", "host-0")
    )
    assert await count(namespace="x") == await count(modelName="\x00") == 0


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"group_by": "hostname"}, "group_by: needs a step; add step=5m"),
        ({"group_by": "uuid", "step": "1m"}, "group_by: 'uuid' is none of hostname, modelName"),
        ({"group_by": "", "step": "1m"}, "group_by: is empty; write it like hostname"),
        ({"group_by": "pod", "step": "1m", "agg": "last"}, "agg: last is of one series"),
        ({"uuid": ""}, "uuid: is empty"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: aiohttp.ClientSession, query: dict[str, str], says: str
) -> None:
    async with client.get(PATH, params=query) as response:
        assert response.status == 400
        assert says in (await response.json())["message"]


async def test_a_cursor_of_groups_is_for_the_same_groups(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await land(pool)
    _, url = await get(client, PATH, step="1m", group_by="hostname", limit="1")
    assert url is not None
    async with client.get(url.replace("group_by=hostname", "group_by=pod,hostname")) as response:
        assert response.status == 400
        assert (
            "cursor: belongs to a request with another group_by"
            in (await response.json())["message"]
        )


@pytest.fixture
async def narrow(pool: asyncpg.Pool) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of an API with low limits."""
    settings = ApiSettings(api_port=0, query_max_series=4, query_max_samples=1000)
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as listener,
        aiohttp.ClientSession(listener.url) as session,
    ):
        yield session


async def refusal(client: aiohttp.ClientSession, path: str, **query: str) -> dict[str, Any]:
    async with client.get(path, params=query) as response:
        assert response.status == 400, await response.text()
        found: dict[str, Any] = await response.json()
    assert found["code"] == "query_too_large"
    assert "narrow it by metric" in found["message"]
    return found


async def test_a_query_that_is_too_dear_is_refused_with_its_limit(
    pool: asyncpg.Pool, narrow: aiohttp.ClientSession
) -> None:
    await land(pool)
    for query in ({}, {"step": "1m"}, {"step": "1m", "group_by": "hostname"}, {"limit": "1"}):
        assert "--query-max-series" in (await refusal(narrow, PATH, **query))["message"]
    assert (await get(narrow, PATH, uuid="GPU-1"))[0]
    await add_many(pool, Labels("GPU-1", "TEMP"), NOON + timedelta(hours=1), 10, 1000)
    for query in ({"agg": "avg"}, {"agg": "p95"}, {"group_by": "pod"}, {"limit": "99"}):
        found = await refusal(narrow, PATH, uuid="GPU-1", step="1s", **query)
        assert "--query-max-samples" in found["message"]
    assert (
        "1000 (--" in (await refusal(narrow, "/api/v1/gpus/GPU-1/telemetry", step="1m"))["message"]
    )
    rows, _ = await get(narrow, PATH, uuid="GPU-1", step="1s", start_time="2025-07-18T13:01:31Z")
    assert len(rows) == 9  # a short part of the same large block is cheap
    assert len((await get(narrow, PATH, uuid="GPU-1", metric="TEMP"))[0]) > 10_000


async def test_answers_are_the_same_however_little_is_read_at_once(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await land(pool)
    await add_block(pool, Labels("GPU-0"), every(NOON - timedelta(days=3), 1, 30), range(30))
    queries: list[dict[str, str]] = [
        {"step": "1m", "agg": agg, "order": order, **group}
        for agg, order in product(("avg", "p99", "rate"), ("asc", "desc"))
        for group in ({}, {"group_by": "hostname"})
    ]
    wanted = [await get(client, PATH, **query) for query in queries]
    monkeypatch.setattr("gputel.store.steps.steps._HELD", 25)
    assert [await get(client, PATH, **query) for query in queries] == wanted


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("agg", ["max", "rate"])
@pytest.mark.parametrize(("group_by", "names"), [("", ("uuid",)), ("hostname", ("hostname",))])
async def test_gaps_are_filled_between_the_first_and_the_last(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    order: str,
    agg: str,
    group_by: str,
    names: tuple[str, ...],
) -> None:
    await land(pool)
    query = {"step": "1m", "agg": agg, "order": order}
    query |= {"group_by": group_by} if group_by else {}
    known, _ = await get(client, PATH, **query)
    times: dict[tuple[str, ...], list[datetime]] = defaultdict(list)
    values = {}
    for row in known:
        lane = (row["metric_name"], *(row[name] for name in names))
        times[lane].append(datetime.fromisoformat(row["timestamp"]))
        values[times[lane][-1], lane] = row["value"]
    wanted = {
        (time, lane): values.get((time, lane))
        for lane, seen in times.items()
        for time in every(min(seen), 60, round((max(seen) - min(seen)).total_seconds() / 60) + 1)
    }
    rows, _ = await get(client, PATH, fill="null", **query)
    found = {
        (
            datetime.fromisoformat(row["timestamp"]),
            (row["metric_name"], *(row[name] for name in names)),
        ): row["value"]
        for row in rows
    }
    assert found == wanted
    assert len(rows) == len(found) > len(known)
    seconds = [row["timestamp"] for row in rows]
    assert seconds == sorted(seconds, reverse=order == "desc")
    paged, url = await get(client, PATH, fill="null", limit="7", **query)
    while url is not None:
        more, url = await get(client, url)
        paged += more
    assert paged == rows


async def test_too_many_filled_records_are_refused(
    pool: asyncpg.Pool, client: aiohttp.ClientSession
) -> None:
    await add_block(pool, Labels(), [NOON], [1])
    await add_block(pool, Labels(), [NOON + timedelta(days=12)], [1])
    async with client.get(PATH, params={"step": "1s", "fill": "null"}) as response:
        assert response.status == 400
        found = await response.json()
    assert found["code"] == "query_too_large"
    assert "fill=null" in found["message"]
    rows, _ = await get(client, PATH, step="1d", fill="null")
    assert [row["value"] for row in rows] == [1, *[None] * 11, 1]
    async with client.get(PATH, params={"fill": "null"}) as response:
        assert "fill: needs a step" in (await response.json())["message"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_of_many_series_are_the_whole_answer(
    pool: asyncpg.Pool,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    await land(pool)
    await add_many(pool, Labels("GPU-0"), NOON - timedelta(days=1), blocks=3, samples=50)
    wanted, _ = await get(client, PATH, order=order)
    monkeypatch.setattr("gputel.store.read.telemetry._SHORT_SERIES", 3)
    monkeypatch.setattr("gputel.store.read.telemetry._LEAST_SLICE", 20)
    found, url = await get(client, PATH, order=order, limit="25")
    while url is not None:
        rows, url = await get(client, url)
        found += rows
    assert found == wanted
