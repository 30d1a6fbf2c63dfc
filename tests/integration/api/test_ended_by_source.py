"""A series whose source says that it has ended leaves graphs and the present state at once."""

from __future__ import annotations

from datetime import datetime, timedelta

import aiohttp
import numpy as np
import pyarrow as pa

from gputel.model.columns import SCHEMA, STALE_BITS, VALUE
from tests.helpers.batches import NOON, batch, labels
from tests.integration.api.conftest import Land
from tests.integration.api.test_label_changes import at, get, moment

TEMP = "DCGM_FI_DEV_GPU_TEMP"
ENDED = -1.0  # stands for the mark in the rows below


def marked(rows: list[tuple[dict[str, str], datetime, float]]) -> pa.RecordBatch:
    """A batch of rows, with the mark in place of ENDED."""
    plain = batch(rows)
    values = plain.column(VALUE).to_numpy().copy()
    values.view(np.int64)[values == ENDED] = STALE_BITS
    place = SCHEMA.get_field_index(VALUE)
    return plain.set_column(place, SCHEMA.field(place), pa.array(values))


def of_gpu(gpu: int, values: dict[int, float], **others: str) -> list:
    series = labels(f"GPU-{gpu}", TEMP, hostname="h", **others)
    return [(series, NOON + timedelta(seconds=second), value) for second, value in values.items()]


async def latest(client: aiohttp.ClientSession, **parameters: str) -> list[str]:
    return [row["uuid"] for row in await get(client, "/api/v1/telemetry/latest", parameters)]


async def test_ended_series_is_gone_at_its_end_and_not_before(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(marked(of_gpu(0, {0: 40, 10: 41, 20: ENDED}) + of_gpu(1, {0: 50, 10: 51, 20: 52})))
    assert await moment(client, f"count({TEMP})", 19) == ["2"]
    assert await moment(client, f"count({TEMP})", 20) == ["1"]
    assert await moment(client, f"count({TEMP})", 200) == ["1"]
    assert await moment(client, f"sum({TEMP})", 25) == ["52"]
    assert await latest(client) == ["GPU-1"]


async def test_end_in_a_commit_of_its_own_counts(client: aiohttp.ClientSession, land: Land) -> None:
    await land(batch(of_gpu(0, {0: 40, 10: 41})))
    await land(marked(of_gpu(0, {20: ENDED})))
    assert await moment(client, TEMP, 19) == ["41"]
    assert await moment(client, TEMP, 21) == []
    assert await latest(client) == []


async def test_series_that_comes_back_is_there_again(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(marked(of_gpu(0, {0: 40, 10: ENDED})))
    await land(batch(of_gpu(0, {20: 42})))
    for second, values in ((9, ["40"]), (15, []), (20, ["42"])):
        assert await moment(client, TEMP, second) == values
    assert await latest(client) == ["GPU-0"]


async def test_end_is_no_sample(client: aiohttp.ClientSession, land: Land) -> None:
    await land(marked(of_gpu(0, {0: 40, 10: 41, 20: ENDED})))
    rows = await get(client, "/api/v1/telemetry", {"start_time": at(0), "end_time": at(60)})
    assert sorted(row["value"] for row in rows) == [40, 41]
    assert await moment(client, f"count_over_time({TEMP}[1m])", 30) == ["2"]
    assert await moment(client, f"avg_over_time({TEMP}[1m])", 30) == ["40.5"]
    (metric,) = await get(client, "/api/v1/metrics", {})
    assert metric["samples"] == 2


async def test_range_query_has_no_points_after_the_end(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(marked(of_gpu(0, {0: 40, 10: 41, 20: ENDED}) + of_gpu(0, {0: 1}, pod="p")))
    query = {"query": f'{TEMP}{{pod=""}}', "start": at(0), "end": at(60), "step": "10"}
    answer = await get(client, "/prometheus/api/v1/query_range", query)
    (series,) = answer["data"]["result"]
    assert [value for _, value in series["values"]] == ["40", "41"]


async def test_end_that_comes_again_changes_nothing(
    client: aiohttp.ClientSession, land: Land
) -> None:
    for _ in range(2):
        await land(marked(of_gpu(0, {0: 40, 20: ENDED})))
    assert await moment(client, TEMP, 19) == ["40"]
    assert await moment(client, TEMP, 20) == []


async def test_late_end_before_the_newest_sample_does_not_hide_it(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(batch(of_gpu(0, {0: 40, 30: 43})))
    await land(marked(of_gpu(0, {10: ENDED})))
    assert await latest(client) == ["GPU-0"]
    assert await moment(client, TEMP, 15) == []
    assert await moment(client, TEMP, 31) == ["43"]
