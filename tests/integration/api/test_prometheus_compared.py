"""PromQL is answered as a real Prometheus answers it from the same samples."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import cycle, islice
from typing import Any

import asyncpg
import pytest

from gputel.api.prometheus import series
from gputel.api.prometheus.labels import LANE
from gputel.model.meanings import MEANINGS
from gputel.store.write.writer import Arrival, Writer
from gputel.web.server.listener import Listener
from tests.helpers.batches import NOON, batch
from tests.helpers.prometheus_server import get, missing, prometheus
from tests.integration.api import prometheus_data
from tests.integration.api.prometheus_questions import QUESTIONS
from tests.integration.api.prometheus_recorded import answers_of, recorded

START = NOON.timestamp()
RANGE = [("start", str(START - 120)), ("end", str(START + 4200)), ("step", "47")]
MOMENTS = (0, 7.5, 900, 1290, 1500, 1801, 2700, 3585, 3885, 3886, 7200)
MOMENTS_A_QUERY = 5
Compare = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the samples."""
    if why := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with prometheus(tmp_path_factory.mktemp("prometheus"), prometheus_data.rows()) as url:
        yield url


@pytest.fixture
async def landed(pool: asyncpg.Pool, api: Listener, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of gputel's API that has the samples, in many blocks and some of them twice.

    That Prometheus did not scrape them, so it has no marks where a pod takes the place of another.
    """
    monkeypatch.setattr(series, "LANE", (*LANE, "pod"))
    rows = sorted(prometheus_data.rows(), key=lambda row: row[1])
    writer = Writer(pool)
    for number, first in enumerate(range(0, len(rows), 3000)):
        piece = batch(rows[first : first + 3100])
        assert await writer.land([Arrival(str(number), None, piece)]) == [True]
    return f"{api.url}/prometheus"


@pytest.fixture
async def both(landed: str, reference: str) -> Compare:
    """Asks both the same and compares."""

    async def compare(path: str, *parameters: tuple[str, str]) -> None:
        theirs, ours = await asyncio.gather(
            asyncio.to_thread(get, reference, path, list(parameters)),
            asyncio.to_thread(get, landed, path, list(parameters)),
        )
        what = f"{path} {dict(parameters)}"
        assert ours[0] == theirs[0], f"{what}: {ours} instead of {theirs}"
        if theirs[0] != 200:
            assert ours[1]["errorType"] == theirs[1]["errorType"], what
            return
        assert not (apart := differences(ours[1]["data"], theirs[1]["data"])), f"{what}: {apart}"

    return compare


def described(data: Any) -> Any:
    """An answer in a form that can be compared, numbers within 1e-9 of each other."""
    if isinstance(data, list):
        names = MEANINGS.keys()  # which Prometheus does not have
        return [each for each in data if not isinstance(each, str) or each not in names]
    if not isinstance(data, dict) or "resultType" not in data:
        return data
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return kind, result[0], Near(result[1]) if kind == "scalar" else result[1]
    series = {}
    for each in result:
        samples = each["values"] if kind == "matrix" else [each["value"]]
        labels = tuple(sorted(each["metric"].items()))
        assert labels not in series
        series[labels] = [(stamp, Near(value)) for stamp, value in samples]
    return kind, series


def differences(ours: Any, theirs: Any) -> str:
    """What differs between two answers: the first few points, or all that there is."""
    mine, right = described(ours), described(theirs)
    if mine == right:
        return ""
    if isinstance(mine, tuple) and isinstance(right, tuple) and isinstance(right[1], dict):
        one, other = mine[1], right[1]
        found = [
            f"{labels}: {a} instead of {b}"
            for labels in one.keys() & other.keys()
            for a, b in zip(one[labels], other[labels], strict=False)
            if a != b
        ]
        found += [f"only one has {labels}" for labels in one.keys() ^ other.keys()]
        return "; ".join(found[:5])
    return f"{ours} instead of {theirs}"


class Near:
    """A number that equals what is within a billionth of it."""

    def __init__(self, text: str) -> None:
        self.value = float(text)

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Near)
        if math.isnan(self.value) or math.isnan(other.value):
            return math.isnan(self.value) and math.isnan(other.value)
        return math.isclose(self.value, other.value, rel_tol=1e-9, abs_tol=1e-12)

    def __repr__(self) -> str:
        return repr(self.value)

    __hash__ = None  # type: ignore[assignment]


async def _everywhere(both: Compare, queries: list[str]) -> None:
    """Compare each query over a range and at moments in turn; tell of all that differ."""
    wrong, moments = [], cycle(MOMENTS)
    for query in queries:
        try:
            await both("query_range", ("query", query), *RANGE)
            for second in islice(moments, MOMENTS_A_QUERY):
                moment = (NOON + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
                await both("query", ("query", query), ("time", moment))
        except AssertionError as error:
            wrong.append(str(error)[:1500])
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("about", QUESTIONS)
async def test_answers_are_those_of_prometheus(both: Compare, about: str) -> None:
    await _everywhere(both, QUESTIONS[about])


async def test_refusals_are_those_of_prometheus(both: Compare) -> None:
    time = ("time", str(START + 1000))
    ranged = ("query", "DCGM_FI_DEV_GPU_UTIL")
    start, end, step = RANGE
    await both("query", time)
    await both("query", ("query", "1"), ("time", "yesterday"))
    await both("query_range", ("query", "DCGM_FI_DEV_GPU_UTIL[5m]"), *RANGE)
    await both("query_range", ("query", '"text"'), *RANGE)
    await both("query_range", ranged, end, step)
    await both("query_range", ranged, start, end)
    await both("query_range", ranged, start, end, ("step", "0"))
    await both("query_range", ranged, start, end, ("step", "-5"))
    await both("query_range", ranged, start, end, ("step", "5x"))
    await both("query_range", ranged, start, ("end", "0"), step)
    await both("query_range", ranged, ("start", "0"), end, step)
    await both("series")
    await both("series", ("match[]", "sum(x)"))
    await both("labels", ("match[]", "{"))


async def test_steps_and_times_are_read_as_prometheus_reads_them(both: Compare) -> None:
    query = ("query", "DCGM_FI_DEV_GPU_TEMP")
    for step in ("15", "15.5", "1m", "1m30s", "500ms", "1h", "0.25"):
        end = START + (60 if step in ("500ms", "0.25") else 3700)
        times = ("start", "2026-03-01T14:00:00.25+02:00"), ("end", str(end)), ("step", step)
        await both("query_range", query, *times)
    await both("query", ("query", "DCGM_FI_DEV_GPU_TEMP[1m]"), ("time", str(START + 620)))
    await both("query", ("query", "DCGM_FI_DEV_GPU_TEMP[1m] offset 1h"), ("time", str(START)))
    await both("query", ("query", '"text"'), ("time", str(START)))
    await both("query", ("query", "time()"), ("time", "1772366400.123"))


async def test_what_there_is_is_told_as_by_prometheus(both: Compare) -> None:
    span = ("start", str(START)), ("end", str(START + 3600))
    power = ("match[]", "DCGM_FI_DEV_POWER_USAGE")
    for given in ((), span, (power,), (power, *span), (power, ("match[]", '{pod!=""}'))):
        await both("labels", *given)
        for name in ("__name__", "Hostname", "pod", "instance", "no_such", "UUID"):
            await both(f"label/{name}/values", *given)
        if given and given != span:
            await both("series", *given)


async def test_answers_are_those_that_were_recorded_of_prometheus(landed: str) -> None:
    wrong = []
    for path, parameters, status, right in recorded():
        found, answer = await asyncio.to_thread(get, landed, path, parameters)
        data = answer["data"] if found == 200 else answer["errorType"]
        if found != status or differences(data, right):
            wrong.append(f"{path} {parameters}: {differences(data, right)}"[:1500])
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


async def test_the_recorded_answers_are_those_of_prometheus(reference: str) -> None:
    answers = await asyncio.to_thread(list, answers_of(reference))
    for (status, data), (path, parameters, known, right) in zip(answers, recorded(), strict=True):
        assert status == known
        assert not differences(data, right), f"record them again: {path} {parameters}"
