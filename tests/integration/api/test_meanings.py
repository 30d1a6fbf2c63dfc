"""Asking by meaning over the names of old and new exporters, on a live API and Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from gputel.model.meanings import MEANINGS
from tests.helpers.batches import NOON, batch, labels
from tests.integration.api.conftest import Land
from tests.integration.api.test_ended_by_source import ENDED, marked
from tests.integration.api.test_label_changes import Row, at, get, moment

CLASSIC, NEW = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS"
POWER = "gputel:gpu_power_watts"
UTIL, RATIO = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO"
PERCENT = "gputel:gpu_utilization_percent"
OLD_RAW = 'instance="n1:9400",job="dcgm",DCGM_FI_DRIVER_VERSION="550.1",Hostname="n1"'
NEW_RAW = 'instance="n1:9400",job="dcgm",DCGM_FI_SYSTEM_DRIVER_VERSION="550.1",hostname="n1"'


def rows(
    metric: str,
    values: Mapping[int, float],
    raw: str = OLD_RAW,
    gpu: int = 0,
    **others: str,
) -> list[Row]:
    series = labels(f"GPU-{gpu}", metric, hostname="n1", gpu_id=str(gpu), labels_raw=raw, **others)
    return [(series, NOON + timedelta(seconds=second), value) for second, value in values.items()]


def upgrade(gpu: int = 0, raw: str = "", **others: str) -> list[Row]:
    """Classic names until second 300, new names from then on, a scrape each 15 s."""
    old = dict.fromkeys(range(0, 300, 15), 100.0) | {300: ENDED}
    new = dict.fromkeys(range(300, 600, 15), 200.0)
    return [
        *rows(CLASSIC, old, OLD_RAW + raw, gpu, **others),
        *rows(NEW, new, NEW_RAW + raw, gpu, **others),
    ]


async def answer(client: aiohttp.ClientSession, query: str, step: str = "15") -> Any:
    span = {"query": query, "start": at(0), "end": at(585), "step": step}
    return await get(client, "/prometheus/api/v1/query_range", span)


async def graph(client: aiohttp.ClientSession, query: str) -> list[tuple[dict[str, str], Any]]:
    return [
        (each["metric"], [value for _, value in each["values"]])
        for each in (await answer(client, query))["data"]["result"]
    ]


@pytest.mark.parametrize("raw", ["", ',GPU_I_ID="3",GPU_I_PROFILE="1g.10gb"'])
async def test_upgrade_of_the_exporter_leaves_no_hole_and_doubles_nothing(
    client: aiohttp.ClientSession, land: Land, raw: str
) -> None:
    await land(marked([row for gpu in range(4) for row in upgrade(gpu, raw)]))
    expected = ["100"] * 20 + ["200"] * 20
    drawn = await graph(client, POWER)
    assert [values for _, values in drawn] == [expected] * 4
    assert {each["DCGM_FI_DRIVER_VERSION"] for each, _ in drawn} == {"550.1"}
    assert all("hostname" not in each and each["Hostname"] == "n1" for each, _ in drawn)
    assert await graph(client, f"count({POWER})") == [({}, ["4"] * 40)]
    ((_, sums),) = await graph(client, f"sum({POWER})")
    assert sums == ["400"] * 20 + ["800"] * 20
    counts = await moment(client, f"count_over_time({POWER}[9m45s])", 585)
    assert counts == ["40"] * 4
    assert await moment(client, f"avg_over_time({POWER}[9m45s])", 585) == ["150"] * 4
    assert await moment(client, f"max_over_time(sum({POWER})[10m:15s])", 585) == ["800"]
    assert await moment(client, f"{POWER} offset 5m", 585) == ["100"] * 4
    assert await moment(client, f"{POWER} @ {NOON.timestamp() + 400}", 0) == ["200"] * 4
    assert await moment(client, f'{POWER}{{gpu="2"}}', 320) == ["200"]
    assert await moment(client, f'count({POWER}{{DCGM_FI_DRIVER_VERSION="550.1"}})', 320) == ["4"]


async def test_pods_that_come_with_the_upgrade_end_what_was_there_before(
    client: aiohttp.ClientSession, land: Land
) -> None:
    old = rows(CLASSIC, dict.fromkeys(range(0, 300, 15), 100.0), pod="a")
    new = rows(NEW, dict.fromkeys(range(300, 600, 15), 200.0), NEW_RAW, pod="b")
    await land(batch(old + new))
    assert await moment(client, f"count({POWER})", 310) == ["1"]
    assert await moment(client, f'{POWER}{{pod="a"}}', 299) == ["100"]
    assert await moment(client, f'{POWER}{{pod="a"}}', 310) == []
    assert await moment(client, f'{POWER}{{pod="b"}}', 310) == ["200"]


async def test_both_names_at_once_count_once_and_the_new_one_wins(
    client: aiohttp.ClientSession, land: Land
) -> None:
    seconds = range(0, 600, 15)
    shifted = range(5, 600, 15)  # another beat, as from two ways in
    await land(
        batch(
            rows(CLASSIC, dict.fromkeys(seconds, 100.0))
            + rows(NEW, dict.fromkeys(seconds, 101.0), NEW_RAW)
            + rows(CLASSIC, dict.fromkeys(seconds, 100.0), gpu=1)
            + rows(NEW, dict.fromkeys(shifted, 101.0), NEW_RAW, gpu=1)
        )
    )
    assert await moment(client, f"count({POWER})", 400) == ["2"]
    assert await moment(client, f"sum({POWER})", 400) == ["202"]
    assert await moment(client, f"count_over_time({POWER}[1m])", 404) == ["4", "4"]
    assert await moment(client, f"count({CLASSIC})", 400) == ["2"], "stored names stay"


async def test_labels_of_the_past_stay_when_the_driver_changes(
    client: aiohttp.ClientSession, land: Land
) -> None:
    pci = ',pci_bus_id="00000000:8D:00.0"'
    newer = NEW_RAW.replace("550.1", "580.1")
    await land(
        batch(
            rows(CLASSIC, dict.fromkeys(range(0, 300, 15), 100.0))
            + rows(NEW, dict.fromkeys(range(300, 450, 15), 100.0), NEW_RAW + pci)
            + rows(NEW, dict.fromkeys(range(450, 600, 15), 100.0), newer + pci)
        )
    )
    drawn = await graph(client, f"count by (DCGM_FI_DRIVER_VERSION) ({POWER})")
    assert drawn == [
        ({"DCGM_FI_DRIVER_VERSION": "550.1"}, ["1"] * 30),
        ({"DCGM_FI_DRIVER_VERSION": "580.1"}, ["1"] * 10),
    ]
    assert await moment(client, f"count_over_time({POWER}[10m])", 440) == ["30"]


async def test_energy_is_one_counter_in_joules(client: aiohttp.ClientSession, land: Land) -> None:
    old = {second: 1_000_000_000.0 + second * 250_000 for second in range(0, 300, 15)}
    new = {second: 1_000_000.0 + second * 250 for second in range(300, 600, 15)}
    await land(
        batch(
            rows("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", old)
            + rows("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL", new, NEW_RAW)
        )
    )
    energy = "gputel:gpu_energy_joules_total"
    for second in (200, 300, 330, 420, 585):
        (rate,) = await moment(client, f"rate({energy}[2m])", second)
        assert float(rate) == pytest.approx(250), second
        assert await moment(client, f"resets({energy}[9m])", second) == ["0"], second
    assert await moment(client, energy, 0) == ["1000000"]


async def test_units_are_those_of_the_meaning(client: aiohttp.ClientSession, land: Land) -> None:
    await land(
        batch(
            rows("DCGM_FI_DEV_SM_CLOCK", {0: 1410.0})
            + rows("DCGM_FI_DEV_FB_USED", {0: 3.0})
            + rows("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", {0: 1234567.0})
            + rows("DCGM_FI_DEV_FAN_SPEED_RATIO", {0: 0.25})
            + rows("DCGM_FI_PROF_SM_ACTIVE", {0: 0.75})
        )
    )
    for meaning, value in {
        "gpu_sm_clock_hertz": "1410000000",
        "gpu_memory_used_bytes": "3145728",
        "gpu_energy_joules_total": "1234.567",
        "gpu_fan_speed_percent": "25",
        "gpu_sm_active_ratio": "0.75",
    }.items():
        assert await moment(client, f"gputel:{meaning}", 1) == [value], meaning


async def test_end_of_the_only_name_ends_the_meaning(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(marked(rows(CLASSIC, {0: 100.0, 15: 100.0, 30: ENDED})))
    await land(marked(rows(NEW, {90: 200.0}, NEW_RAW)))
    for second, values in ((29, ["100"]), (30, []), (89, []), (90, ["200"])):
        assert await moment(client, POWER, second) == values, second


async def test_classic_names_alone_are_the_plain_query_under_another_name(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(
        marked(
            rows(CLASSIC, {0: 1.0, 15: 2.0, 30: ENDED, 60: 3.0})
            + rows(CLASSIC, {0: 1.5, 16: 2.5, 400: 7.0}, 'x="1"', gpu=1)
            + rows(CLASSIC, {0: 4.0, 300: 4.5}, OLD_RAW + ',nvlink="0"', gpu=2)
            + rows(CLASSIC, {0: 5.0, 300: 5.5}, OLD_RAW + ',nvlink="1"', gpu=2)
            + rows(CLASSIC, {0: 6.0}, gpu=3, pod="a")
            + rows(CLASSIC, {45: 7.0}, gpu=3, pod="b")
        )
    )

    def renamed(drawn: Iterable[tuple[dict[str, str], Any]]) -> list[tuple[dict[str, str], Any]]:
        return [(each | {"__name__": POWER}, values) for each, values in drawn]

    for expression in ("%s", 'last_over_time(%s{gpu!="3"}[2m])', '%s{pod="a"} offset 1m'):
        plain = await graph(client, expression % CLASSIC)
        assert plain
        assert await graph(client, expression % POWER) == renamed(plain), expression
    for expression in ("sum by (gpu) (%s)", "rate(%s[5m])", "%s > 2"):
        plain = await graph(client, expression % CLASSIC)
        drawn = await graph(client, expression % POWER)
        assert drawn == (renamed(plain) if ">" in expression else plain), expression


async def test_patterns_of_names_read_no_meaning(client: aiohttp.ClientSession, land: Land) -> None:
    await land(batch(rows(CLASSIC, {0: 100.0})))
    for pattern in (".+", "gputel:.*", POWER):
        expected = ["1"] if pattern == ".+" else []
        assert await moment(client, f'count({{__name__=~"{pattern}"}})', 1) == expected
    assert await moment(client, f'{{__name__="{POWER}"}}', 1) == ["100"]
    assert await moment(client, f'{{__name__="{POWER}",__name__!~"gputel:.*"}}', 1) == []
    assert await moment(client, f'{{__name__="{POWER}",__name__=~"gputel:.*"}}', 1) == ["100"]


async def test_meanings_are_listed_where_a_field_is_there(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(batch(upgrade() + rows(UTIL, {0: 5.0}, gpu=1) + rows("up", {0: 1.0})))

    async def names(**parameters: str) -> list[str]:
        found = await get(client, "/prometheus/api/v1/label/__name__/values", parameters)
        return list(found["data"])

    assert await names() == [NEW, UTIL, CLASSIC, POWER, PERCENT, "up"]
    assert await names(**{"match[]": '{__name__=~".*power.*"}'}) == [POWER]
    assert await names(**{"match[]": '{UUID="GPU-1"}'}) == [UTIL, PERCENT]
    assert await names(**{"match[]": POWER}) == [POWER]
    assert await names(**{"match[]": CLASSIC}) == [CLASSIC]
    metadata = await get(client, "/prometheus/api/v1/metadata", {})
    assert metadata["data"][POWER] == [{"type": "gauge", "help": "Power drawn.", "unit": "W"}]
    assert not (metadata["data"].keys() & MEANINGS.keys()) - {POWER, PERCENT}
    series = await get(client, "/prometheus/api/v1/series", {"match[]": POWER})
    ((shown),) = series["data"]
    assert shown["__name__"] == POWER
    assert shown["DCGM_FI_DRIVER_VERSION"] == "550.1"
    assert "DCGM_FI_SYSTEM_DRIVER_VERSION" not in shown


async def ratio(client: aiohttp.ClientSession, second: int) -> tuple[list[str], list[str]]:
    """The utilization of all GPUs, and the warnings."""
    parameters = {"query": PERCENT, "time": at(second)}
    found = await get(client, "/prometheus/api/v1/query", parameters)
    values = [each["value"][1] for each in found["data"]["result"]]
    return values, found.get("warnings", [])


async def test_unit_of_a_doubtful_name_comes_from_its_values(
    client: aiohttp.ClientSession, land: Land
) -> None:
    other = NEW_RAW.replace("n1:9400", "n2:9400")
    await land(
        batch(
            rows(RATIO, {0: 0.25, 600: 1.0, 1200: 1.0}, NEW_RAW, gpu=0)
            + rows(RATIO, {0: 0.0, 600: 0.5}, NEW_RAW, gpu=1)
            + rows(RATIO, {0: 37.0, 600: 1.0}, other, gpu=2)
            + rows(RATIO, {0: 1.0, 600: 99.0}, other, gpu=3)
        )
    )
    assert await ratio(client, 0) == (["25", "0", "37", "1"], [])
    assert await ratio(client, 600) == (["100", "50", "1", "99"], [])
    values, (warning,) = await ratio(client, 1200)
    assert values == []
    assert warning.startswith(f"{PERCENT} leaves a sample of {RATIO} with the value 1 out: ")


async def test_names_that_only_dcgm_4_7_has_prove_a_ratio(
    client: aiohttp.ClientSession, land: Land
) -> None:
    other = NEW_RAW.replace("n1:9400", "n2:9400")
    await land(
        batch(
            rows(RATIO, {0: 1.0}, NEW_RAW)
            + rows("DCGM_FI_DEV_SM_CLOCK_HERTZ", {0: 1.4e9}, NEW_RAW)
            + rows(RATIO, {0: 1.0}, other, gpu=1)
        )
    )
    values, (warning,) = await ratio(client, 1)
    assert values == ["100"]
    assert "a sample" in warning


async def test_1_before_an_upgrade_to_ratios_is_1_percent_and_100_percent_after(
    client: aiohttp.ClientSession, land: Land
) -> None:
    proof = "DCGM_FI_DEV_SM_CLOCK_HERTZ"
    await land(
        batch(
            rows(RATIO, {0: 37.0, 15: 1.0, 60: 1.0, 75: 0.5}, NEW_RAW)
            + rows(RATIO, {15: 1.0, 60: 1.0}, NEW_RAW, gpu=1)
            + rows(proof, {60: 1.4e9, 75: 1.4e9}, NEW_RAW)
            + rows(proof, {60: 1.4e9}, NEW_RAW, gpu=1)
        )
    )
    for second, values in ((15, ["1", "1"]), (60, ["100", "100"])):
        parameters = {"query": f"last_over_time({PERCENT}[1m])", "time": at(second)}
        found = await get(client, "/prometheus/api/v1/query", parameters)
        assert [each["value"][1] for each in found["data"]["result"]] == values
        assert "warnings" not in found


async def test_proof_of_ratios_says_nothing_of_the_time_before_it(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(
        batch(
            rows(RATIO, {0: 1.0, 15: 0.0, 60: 0.5, 75: 1.0}, NEW_RAW)
            + rows("DCGM_FI_DEV_SM_CLOCK_HERTZ", {60: 1.4e9, 75: 1.4e9}, NEW_RAW)
        )
    )
    found = await answer(client, f"sum_over_time({PERCENT}[15s])")
    start = NOON.timestamp()
    values = {round(ts - start): value for ts, value in found["data"]["result"][0]["values"]}
    assert [values.get(second) for second in (0, 15, 60, 75)] == [None, "0", "50", "150"]
    assert len(found["warnings"]) == 1


async def test_samples_that_contradict_each_other_are_left_out(
    client: aiohttp.ClientSession, land: Land
) -> None:
    await land(batch(rows(RATIO, {0: 0.5, 15: 40.0, 30: 1.0}, NEW_RAW)))
    found = await answer(client, f"count_over_time({PERCENT}[1m])")
    assert found["data"]["result"][0]["values"][3][1] == "2"
    assert len(found["warnings"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        "telemetry?metric=%s",
        "telemetry?step=5m&metric=%s",
        "telemetry/latest?metric=DCGM_*&metric=%s",
        "telemetry/top?metric=%s",
        "gpus/GPU-0/telemetry?metric=%s",
    ],
)
async def test_records_have_the_names_that_exporters_sent(
    client: aiohttp.ClientSession, land: Land, path: str
) -> None:
    await land(batch(rows(CLASSIC, {0: 100.0})))
    async with client.get("/api/v1/" + path % POWER) as response:
        assert response.status == 400
        text = await response.text()
    if "latest" in path:
        assert "has meanings and other names" in text
    else:
        assert f"{POWER} is a meaning: only PromQL" in text
        assert f"{NEW} or {CLASSIC}" in text


@pytest.mark.parametrize("path", ["", "/latest", "/top"])
async def test_name_of_no_meaning_is_refused(client: aiohttp.ClientSession, path: str) -> None:
    for name, advice in (
        ("gputel:gpu_powr_watts", f": did you mean {POWER}? docs/meanings.md lists"),
        ("gputel:x", "; docs/meanings.md lists them"),
    ):
        async with client.get(f"/api/v1/telemetry{path}", params={"metric": name}) as response:
            assert response.status == 400
            assert f"{name} is no meaning{advice}" in await response.text()


@pytest.mark.parametrize(
    ("query", "warnings"),
    [
        (
            "sum(gputel:gpu_powr_watts) or vector(1)",
            [f"gputel:gpu_powr_watts is no meaning: did you mean {POWER}? "
             "docs/meanings.md lists them"],
        ),
        ("rate(gputel:x[5m])", ["gputel:x is no meaning; docs/meanings.md lists them"]),
        (
            '{__name__=~"gputel:gpu_power_.*"}',
            ["the pattern 'gputel:gpu_power_.*' selects no meaning: query each by its name"],
        ),
        ("gputel:gpu_temperature_celsius", None),
        ("no_such_metric", None),
        ("gputel:of_a_rule", None),
    ],
)  # fmt: skip
async def test_promql_warns_of_a_name_that_is_no_meaning(
    client: aiohttp.ClientSession, land: Land, query: str, warnings: list[str] | None
) -> None:
    await land(batch(rows(CLASSIC, {0: 100.0}) + rows("gputel:of_a_rule", {0: 1.0})))
    for found in (
        await get(client, "/prometheus/api/v1/query", {"query": query, "time": at(10)}),
        await answer(client, query),
    ):
        assert found.get("warnings") == warnings


async def test_metrics_tell_their_meaning(client: aiohttp.ClientSession, land: Land) -> None:
    await land(batch(rows(CLASSIC, {0: 100.0}) + rows("OTHER", {0: 1.0})))
    found = await get(client, "/api/v1/metrics", {})
    assert {each["metric_name"]: each["meaning"] for each in found} == {CLASSIC: POWER, "OTHER": ""}


async def newest(client: aiohttp.ClientSession, *names: str, **others: str) -> list[list[Any]]:
    parameters = [("metric", name) for name in names] + list(others.items())
    async with client.get("/api/v1/telemetry/latest", params=parameters) as response:
        assert response.status == 200, await response.text()
        found = await response.json()
    return [[each["metric_name"], each["uuid"], each["value"]] for each in found]


async def test_newest_records_by_meaning_have_each_gpu_once(
    client: aiohttp.ClientSession, land: Land
) -> None:
    energy = "gputel:gpu_energy_joules_total"
    await land(
        batch(
            rows(CLASSIC, {0: 100.0, 15: 100.0})  # upgraded
            + rows(NEW, {30: 200.0}, NEW_RAW, pod="b")
            + rows(CLASSIC, {30: 101.0}, gpu=1)  # both at once
            + rows(NEW, {30: 102.0}, NEW_RAW, gpu=1)
            + rows(CLASSIC, {30: 103.0}, gpu=2)  # rolled back
            + rows(NEW, {15: 104.0}, NEW_RAW, gpu=2)
            + rows("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", {30: 5000.0}, gpu=2)
            + rows(CLASSIC, {30: 7.0}, OLD_RAW + ',GPU_I_ID="1"', gpu=3)
            + rows(CLASSIC, {30: 8.0}, OLD_RAW + ',GPU_I_ID="2"', gpu=3)
        )
    )
    power = [
        [POWER, "GPU-0", 200],
        [POWER, "GPU-1", 102],
        [POWER, "GPU-2", 103],
        [POWER, "GPU-3", 7],
        [POWER, "GPU-3", 8],
    ]
    assert await newest(client, POWER) == power
    assert await newest(client, POWER, energy, uuid="GPU-2") == [[energy, "GPU-2", 5], power[2]]
    assert len(await newest(client, CLASSIC, NEW)) == 8, "stored names stay"


async def test_newest_value_of_an_unknown_unit_is_null(
    client: aiohttp.ClientSession, land: Land
) -> None:
    other = NEW_RAW.replace('"n1:9400"', '"n2:9400"')
    upgraded = NEW_RAW.replace('"n1:9400"', '"n4:9400"')
    await land(
        batch(
            rows(RATIO, {0: 1.0}, NEW_RAW)
            + rows("DCGM_FI_DEV_SM_CLOCK_HERTZ", {0: 1.4e9}, NEW_RAW)
            + rows(RATIO, {0: 1.0}, other, gpu=1)
            + rows(RATIO, {0: 0.5}, other.replace("n2", "n3"), gpu=2)
            + rows(UTIL, {0: 1.0}, gpu=3)
            + rows(RATIO, {0: 37.0}, upgraded, gpu=4)
            + rows(RATIO, {0: 1.0}, upgraded, gpu=5)
            + rows("DCGM_FI_DEV_SM_CLOCK_HERTZ", {0: 1.4e9}, upgraded, gpu=5)
        )
    )
    values = {uuid: value for _, uuid, value in await newest(client, PERCENT)}
    shown = {"GPU-0": 100, "GPU-1": None, "GPU-2": 50, "GPU-3": 1, "GPU-4": 37, "GPU-5": 100}
    assert values == shown
