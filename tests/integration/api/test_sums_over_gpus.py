"""``agg=sum`` and ``agg=rate`` of a group count each GPU once, whatever its samples and labels."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
import asyncpg
import pytest

from gputel.store.rollup.build import roll_up
from tests.helpers.batches import NOON, batch, labels
from tests.integration.api.conftest import Land
from tests.integration.api.test_paging import get

PATH = "/api/v1/telemetry"
POWER, ENERGY = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
MEMORY = "DCGM_FI_DEV_FB_USED"
Row = tuple[str, dict[str, str], int, float]


async def land_rows(land: Land, metric: str, *rows: Row) -> None:
    """Rows of (uuid, other labels, seconds after noon, value), all on one host."""
    await land(
        batch(
            [
                (labels(uuid, metric, hostname="h", **others), NOON + timedelta(seconds=s), value)
                for uuid, others, s, value in rows
            ]
        )
    )


async def of_host(client: aiohttp.ClientSession, agg: str, **query: str) -> list[float]:
    """The values of the host, by the hour."""
    rows, _ = await get(client, PATH, step="1h", agg=agg, group_by="hostname", **query)
    assert all(row["hostname"] == "h" for row in rows)
    return [row["value"] for row in rows]


@pytest.mark.parametrize("rolled_up", [False, True])
async def test_the_power_of_a_host_is_that_of_its_gpus_however_many_samples_they_have(
    pool: asyncpg.Pool, client: aiohttp.ClientSession, land: Land, rolled_up: bool
) -> None:
    often: list[Row] = [("GPU-a", {}, 10 * place, 400.0) for place in range(12)]
    rarely: list[Row] = [("GPU-b", {}, 0, 100.0), ("GPU-b", {}, 3000, 300.0)]
    await land_rows(land, POWER, *often, *rarely)
    if rolled_up:
        async with pool.acquire() as connection:
            await roll_up(connection, everything=True)
    assert await of_host(client, "sum") == [600]
    assert await of_host(client, "sum_over_time") == [12 * 400 + 400]
    top = {"metric": POWER, "start_time": "2026-03-01T12:00:00Z", "agg": "sum"}
    rows, _ = await get(client, f"{PATH}/top", by="host", **top)
    assert [(row["hostname"], row["value"]) for row in rows] == [("h", 600)]
    rows, _ = await get(client, f"{PATH}/top", by="gpu", **top)
    assert [(row["uuid"], row["value"]) for row in rows] == [("GPU-a", 400), ("GPU-b", 200)]


async def test_a_counter_counts_with_its_newest_value_and_its_rate(
    client: aiohttp.ClientSession, land: Land
) -> None:
    samples: list[Row] = [
        (uuid, {}, s, 10.0 * s) for uuid in ("GPU-a", "GPU-b") for s in range(0, 600, 60)
    ]
    await land_rows(land, ENERGY, *samples)
    assert await of_host(client, "sum") == [2 * 5400]
    assert await of_host(client, "rate") == [20]


@pytest.mark.parametrize(("agg", "values"), [("sum", [800]), ("rate", [2])])
async def test_a_pod_that_starts_or_shares_a_gpu_does_not_make_it_two(
    client: aiohttp.ClientSession, land: Land, agg: str, values: list[float]
) -> None:
    metric = POWER if agg == "sum" else ENERGY
    of = {POWER: lambda _: 400.0, ENERGY: float}[metric]
    rows: list[Row] = [("GPU-a", {}, s, of(s)) for s in range(0, 1800, 60)]
    rows += [("GPU-a", {"pod": "p"}, s, of(s)) for s in range(1800, 3600, 60)]
    rows += [("GPU-b", {"pod": pod}, s, of(s)) for s in range(0, 3600, 60) for pod in "pq"]
    await land_rows(land, metric, *rows)
    assert await of_host(client, agg) == values


async def test_mig_instances_count_each_but_not_the_power_of_their_board(
    client: aiohttp.ClientSession, land: Land
) -> None:
    for metric, value in ((MEMORY, 1000.0), (POWER, 300.0)):
        raw = [{"labels_raw": f'gpu="0",GPU_I_ID="{number}"'} for number in range(3)]
        await land_rows(land, metric, *[("GPU-a", each, 0, value) for each in raw])
    assert await of_host(client, "sum", metric=MEMORY) == [3000]
    assert await of_host(client, "sum", metric=POWER) == [300]


async def test_without_groups_a_sum_is_the_value_that_a_group_would_count(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land_rows(land, POWER, ("GPU-a", {}, 0, 100.0), ("GPU-a", {}, 60, 300.0))
    rows, _ = await get(client, PATH, step="1h", agg="sum")
    assert [row["value"] for row in rows] == [200]
