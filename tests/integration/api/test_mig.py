"""The MIG instances of a GPU are told apart wherever people look at them."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.helpers.batches import NOON, batch, labels
from tests.integration.api.conftest import Land
from tests.integration.api.test_label_changes import at, get

ACTIVE, POWER = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_POWER_USAGE"
PROFILES = {"7": "1g.10gb", "8": "2g.20gb", "10": "1g.10gb"}
VALUES = {"7": 0.25, "8": 0.5, "10": 0.75}
SPAN = {"start_time": at(0), "end_time": at(60)}


@pytest.fixture(autouse=True)
async def landed(land: Land) -> None:
    rows = [(labels("GPU-plain", POWER, hostname="node-2"), NOON, 300.0)]
    for instance, value in VALUES.items():
        raw = f'MY_GPU_I_ID="1",GPU_I_PROFILE="{PROFILES[instance]}",GPU_I_ID="{instance}",job="a"'
        series = labels("GPU-mig", ACTIVE, hostname="node-1", pod=f"p{instance}", labels_raw=raw)
        rows.append((series, NOON, value))
    await land(batch(rows))


def told(rows: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    return {(row["GPU_I_ID"], row["GPU_I_PROFILE"]): row["value"] for row in rows}


async def test_the_newest_records_have_instance_and_profile(client: aiohttp.ClientSession) -> None:
    path = "/api/v1/telemetry/latest"
    rows = await get(client, path, {"metric": ACTIVE})
    assert [row["GPU_I_ID"] for row in rows] == ["7", "8", "10"]
    assert told(rows) == {(each, PROFILES[each]): VALUES[each] for each in VALUES}
    assert told(await get(client, path, {"metric": POWER})) == {("", ""): 300}
    async with client.get(path, params={"format": "csv", "GPU_I_ID": "8"}) as response:
        head, row = (await response.text()).splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True))["GPU_I_PROFILE"] == "2g.20gb"


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"GPU_I_ID": "10"}, [0.75]),
        ({"GPU_I_PROFILE": "1g.10gb"}, [0.25, 0.75]),
        ({"GPU_I_PROFILE": "1g.10gb", "GPU_I_ID": "7"}, [0.25]),
        ({"GPU_I_ID": "1"}, []),
    ],
)
@pytest.mark.parametrize(
    "path",
    ["/api/v1/telemetry/latest", "/api/v1/telemetry", "/api/v1/gpus/GPU-mig/telemetry"],
)
async def test_instances_can_be_asked_for(
    client: aiohttp.ClientSession, path: str, where: dict[str, str], found: list[float]
) -> None:
    assert sorted(row["value"] for row in await get(client, path, where)) == found
    if not path.endswith("latest"):
        stepped = await get(client, path, {**where, **SPAN, "step": "1m"})
        assert sorted(row["value"] for row in stepped) == found


async def test_groups_and_rankings_know_instances(client: aiohttp.ClientSession) -> None:
    asked = {"metric": ACTIVE, "step": "1m", "group_by": "GPU_I_PROFILE", **SPAN}
    rows = await get(client, "/api/v1/telemetry", asked)
    assert {row["GPU_I_PROFILE"]: row["value"] for row in rows} == {"1g.10gb": 0.5, "2g.20gb": 0.5}
    asked = {"metric": ACTIVE, "GPU_I_ID": "8", **SPAN}
    (row,) = await get(client, "/api/v1/telemetry/top", asked)
    assert row["value"] == 0.5


async def test_the_page_of_a_gpu_has_each_instance_and_no_label_of_one_of_them(
    client: aiohttp.ClientSession,
) -> None:
    gpu = await get(client, "/api/v1/gpus/GPU-mig", {})
    assert [metric["GPU_I_ID"] for metric in gpu["metrics"]] == ["7", "8", "10"]
    assert told(gpu["metrics"]) == {(each, PROFILES[each]): VALUES[each] for each in VALUES}
    assert not gpu["labels"].keys() & {"GPU_I_ID", "GPU_I_PROFILE", "pod"}
    assert gpu["labels"]["job"] == "a"


async def test_promql_and_the_store_have_the_same_instances(
    client: aiohttp.ClientSession, pool: Any
) -> None:
    query = {"query": f'{ACTIVE}{{GPU_I_ID="8"}}', "time": at(1)}
    answer = await get(client, "/prometheus/api/v1/query", query)
    assert [each["value"][1] for each in answer["data"]["result"]] == ["0.5"]
    rows = await pool.fetch("SELECT gpu_i_id, gpu_i_profile FROM series ORDER BY series_id")
    assert {tuple(row) for row in rows} == {("", ""), *PROFILES.items()}
