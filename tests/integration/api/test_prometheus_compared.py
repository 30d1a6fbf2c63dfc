"""PromQL is answered as a real Prometheus answers it from the same samples."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from gputel.store.writer import Arrival, Writer
from gputel.web.listener import Listener
from tests.batches import NOON, batch
from tests.integration.api import prometheus_data
from tests.prometheus_server import get, missing, prometheus

START = NOON.timestamp()
RANGE = [("start", str(START - 120)), ("end", str(START + 4200)), ("step", "47")]
MOMENTS = (0, 7.5, 900, 1290, 1500, 1801, 2700, 3585, 3885, 3886, 7200)
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
async def both(pool: asyncpg.Pool, api: Listener, reference: str) -> Compare:
    """Asks both the same and compares; gputel has the samples in many blocks and some twice."""
    rows = sorted(prometheus_data.rows(), key=lambda row: row[1])
    writer = Writer(pool)
    for number, first in enumerate(range(0, len(rows), 3000)):
        piece = batch(rows[first : first + 3100])
        assert await writer.land([Arrival(str(number), None, piece)]) == [True]

    async def compare(path: str, *parameters: tuple[str, str]) -> None:
        theirs, ours = await asyncio.gather(
            asyncio.to_thread(get, reference, path, list(parameters)),
            asyncio.to_thread(get, f"{api.url}/prometheus", path, list(parameters)),
        )
        what = f"{path} {dict(parameters)}"
        assert ours[0] == theirs[0], f"{what}: {ours} instead of {theirs}"
        if theirs[0] != 200:
            assert ours[1]["errorType"] == theirs[1]["errorType"], what
            return
        assert described(ours[1]["data"]) == described(theirs[1]["data"]), what

    return compare


def described(data: Any) -> Any:
    """An answer in a form that can be compared, numbers within 1e-9 of each other."""
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
    """Compare each query over a range and at moments of all kinds; tell of all that differ."""
    wrong = []
    for query in queries:
        try:
            await both("query_range", ("query", query), *RANGE)
            for second in MOMENTS:
                moment = (NOON + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
                await both("query", ("query", query), ("time", moment))
        except AssertionError as error:
            wrong.append(str(error)[:1500])
    assert not wrong, "\n\n".join(wrong)


SELECTORS = [
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP",
    'DCGM_FI_DEV_GPU_UTIL{gpu="1"}',
    'DCGM_FI_DEV_GPU_UTIL{gpu!="1"}',
    'DCGM_FI_DEV_GPU_UTIL{Hostname=~"host-[01]",gpu!~"0|1"}',
    'DCGM_FI_DEV_GPU_UTIL{Hostname=~"host-1|host-2"}',
    'DCGM_FI_DEV_GPU_UTIL{pod=""}',
    'DCGM_FI_DEV_GPU_UTIL{pod!=""}',
    'DCGM_FI_DEV_GPU_UTIL{pod=~"train-.*"}',
    'DCGM_FI_DEV_GPU_UTIL{nothing=""}',
    'DCGM_FI_DEV_GPU_UTIL{nothing=~".+"}',
    '{__name__=~"DCGM_FI_DEV_GPU_(UTIL|TEMP)",UUID="GPU-02"}',
    '{UUID="GPU-11"}',
    '{instance="host-1:9400",job=~"dcgm.*"}',
    'DCGM_FI_DEV_GPU_UTIL{modelName="A100"}',
    "no_such_metric",
    "DCGM_FI_DEV_GPU_TEMP offset 10m",
    "DCGM_FI_DEV_GPU_TEMP offset -5m",
    f"DCGM_FI_DEV_GPU_TEMP @ {START + 1000.5}",
    "DCGM_FI_DEV_GPU_TEMP @ start()",
    "DCGM_FI_DEV_GPU_TEMP @ end() offset 20m",
    "timestamp(DCGM_FI_DEV_GPU_TEMP)",
    "timestamp(DCGM_FI_DEV_GPU_TEMP + 0)",
]
RANGES = [
    *(
        f"{function}(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[{span}])"
        for function in ("rate", "increase", "delta", "irate", "idelta", "resets", "changes")
        for span in ("1m", "5m", "1h")
    ),
    *(
        f"{function}_over_time(DCGM_FI_DEV_GPU_TEMP[{span}])"
        for function in ("avg", "min", "max", "sum", "count", "last", "stddev", "stdvar", "present")
        for span in ("30s", "5m")
    ),
    *(
        f"quantile_over_time({quantile}, DCGM_FI_DEV_GPU_TEMP[7m])"
        for quantile in ("0", "0.5", "0.99", "1", "-1", "2", "NaN", "scalar(no_such) + 0.5")
    ),
    "quantile_over_time(scalar(DCGM_FI_DEV_GPU_UTIL{gpu='2',Hostname='host-2'}) / 100, "
    "DCGM_FI_DEV_GPU_UTIL[5m])",
    "rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m] offset 5m)",
    f"rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m] @ {START + 2000})",
    "increase(DCGM_FI_DEV_GPU_UTIL[2h])",
    "avg_over_time(DCGM_FI_DEV_POWER_USAGE[1m] offset 1h)",
    "changes(DCGM_FI_DEV_GPU_TEMP[10m])",
    "delta(DCGM_FI_DEV_GPU_TEMP[10m])",
]
AGGREGATIONS = [
    *(f"{op}(DCGM_FI_DEV_GPU_TEMP)" for op in ("sum", "avg", "min", "max", "count", "group")),
    *(f"{op} by (Hostname) (DCGM_FI_DEV_GPU_TEMP)" for op in ("sum", "avg", "min", "max", "count")),
    *(f"{op} by (Hostname) (DCGM_FI_DEV_POWER_USAGE)" for op in ("stddev", "stdvar")),
    "stddev without (gpu, UUID) (DCGM_FI_DEV_GPU_UTIL)",
    "sum without (gpu, UUID, device) (DCGM_FI_DEV_GPU_UTIL)",
    "avg by (pod, no_such) (DCGM_FI_DEV_GPU_UTIL)",
    "sum by () (DCGM_FI_DEV_GPU_UTIL)",
    'count by (__name__) ({__name__=~"DCGM.+"})',
    "avg by (Hostname) (rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m]))",
    "max by (modelName) (avg_over_time(DCGM_FI_DEV_GPU_UTIL[5m]))",
    "quantile(0.9, DCGM_FI_DEV_GPU_UTIL)",
    "quantile by (Hostname) (0.25, DCGM_FI_DEV_GPU_TEMP)",
    "quantile(NaN, DCGM_FI_DEV_GPU_UTIL)",
    "topk(3, DCGM_FI_DEV_POWER_USAGE)",
    "topk by (Hostname) (1, DCGM_FI_DEV_GPU_TEMP)",
    "bottomk(2, DCGM_FI_DEV_GPU_TEMP)",
    "bottomk without (gpu, UUID, device) (1, DCGM_FI_DEV_GPU_TEMP)",
    "topk(0, DCGM_FI_DEV_GPU_TEMP)",
    "topk(100, DCGM_FI_DEV_GPU_TEMP)",
    "topk(scalar(count(DCGM_FI_DEV_POWER_USAGE)), DCGM_FI_DEV_GPU_TEMP)",
    "sum(no_such_metric)",
    "count(DCGM_FI_DEV_GPU_UTIL > 50)",
]
OPERATORS = [
    "DCGM_FI_DEV_GPU_TEMP * 1.8 + 32",
    "100 - DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_UTIL / 0",
    "DCGM_FI_DEV_GPU_UTIL % 7",
    "-DCGM_FI_DEV_GPU_TEMP % 7",
    "2 ^ -1 ^ 2",
    "-2 ^ 2",
    "DCGM_FI_DEV_GPU_TEMP ^ 2",
    "DCGM_FI_DEV_GPU_TEMP atan2 3",
    "DCGM_FI_DEV_GPU_TEMP > 50",
    "50 < DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP >= bool 50",
    "50 == bool DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL != 0",
    "DCGM_FI_DEV_GPU_UTIL <= 0 or DCGM_FI_DEV_GPU_TEMP > 85",
    "1 + 2 * 3 / 4",
    "1 >= bool 2",
    "DCGM_FI_DEV_POWER_USAGE / DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_POWER_USAGE / on(UUID) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP - ignoring(pod, namespace) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP > on(UUID) DCGM_FI_DEV_POWER_USAGE / 10",
    "DCGM_FI_DEV_GPU_TEMP > bool on(UUID) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP > ignoring(pod, namespace) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_POWER_USAGE / on(Hostname) group_left sum by (Hostname) (DCGM_FI_DEV_POWER_USAGE)",
    "sum by (Hostname) (DCGM_FI_DEV_GPU_TEMP) * on(Hostname) group_right DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP * on(UUID) group_left(pod, namespace) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP * on(Hostname) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP * on(Hostname) sum by (Hostname) (DCGM_FI_DEV_GPU_UTIL)",
    "sum by (Hostname) (DCGM_FI_DEV_GPU_TEMP) < on(Hostname) group_right DCGM_FI_DEV_GPU_UTIL * 9",
    "DCGM_FI_DEV_GPU_TEMP and on(UUID) DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_GPU_TEMP unless on(Hostname) DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_POWER_USAGE or on(Hostname) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL and DCGM_FI_DEV_GPU_TEMP",
    "-DCGM_FI_DEV_GPU_UTIL",
    "-(1 + 1)",
    '-{__name__=~"DCGM_FI_DEV_GPU_.*"}',
    '{__name__=~"DCGM_FI_DEV_GPU_.*"} > 50',
    '{__name__=~"DCGM_FI_DEV_GPU_.*"} * 2',
    "DCGM_FI_DEV_GPU_TEMP + no_such_metric",
    "no_such_metric or vector(1)",
]
FUNCTIONS = [
    *(
        f"{function}(DCGM_FI_DEV_GPU_TEMP - 50)"
        for function in ("abs", "ceil", "floor", "sqrt", "exp", "ln", "log2", "log10", "sgn")
    ),
    "round(DCGM_FI_DEV_GPU_TEMP)",
    "round(DCGM_FI_DEV_GPU_TEMP, 0.25)",
    "round(DCGM_FI_DEV_GPU_TEMP - 60, 5)",
    "clamp(DCGM_FI_DEV_GPU_TEMP, 30, 60)",
    "clamp(DCGM_FI_DEV_GPU_TEMP, 60, 30)",
    "clamp_min(DCGM_FI_DEV_GPU_TEMP, 50)",
    "clamp_max(DCGM_FI_DEV_GPU_TEMP, scalar(DCGM_FI_DEV_GPU_UTIL{UUID='GPU-22'}))",
    "time()",
    "time() - 10",
    "vector(time())",
    "scalar(DCGM_FI_DEV_GPU_TEMP)",
    "scalar(DCGM_FI_DEV_GPU_TEMP{UUID='GPU-01'})",
    "absent(DCGM_FI_DEV_GPU_TEMP{UUID='GPU-01'})",
    "absent(no_such_metric{a='b',c=~'d',e='f',e='g'})",
    "absent(sum(no_such_metric))",
    "pi()",
    "3.5",
    "Inf",
    "NaN",
    "abs({__name__=~'DCGM_FI_DEV_GPU_.*'})",
]


@pytest.mark.parametrize(
    "queries",
    [SELECTORS, RANGES, AGGREGATIONS, OPERATORS, FUNCTIONS],
    ids=["selectors", "ranges", "aggregations", "operators", "functions"],
)
async def test_answers_are_those_of_prometheus(both: Compare, queries: list[str]) -> None:
    await _everywhere(both, queries)


ERRORS = [
    "sum(",
    "rate(DCGM_FI_DEV_GPU_UTIL)",
    'DCGM_FI_DEV_GPU_UTIL{gpu=~"("}',
    "{}",
    "1 > 2",
    "topk(NaN, DCGM_FI_DEV_GPU_UTIL)",
    "DCGM_FI_DEV_GPU_UTIL + on(Hostname) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL[5m] + 1",
    "no_such_function(1)",
]


async def test_refusals_are_those_of_prometheus(both: Compare) -> None:
    await _everywhere(both, ERRORS)
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
