from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gputel.web.server.listener import Listener
from tests.helpers.query_command import gputel, on_a_terminal
from tests.helpers.telemetry_rows import Labels, add_block, every

UUIDS = [f"GPU-5fd4f087-86f3-7a43-b711-4771313afc5{place}" for place in range(3)]


@pytest.fixture(autouse=True)
async def fleet(pool: asyncpg.Pool) -> None:
    start, step = datetime.now(UTC) - timedelta(minutes=30), 30 * 60 / 16
    for place, uuid in enumerate(UUIDS):
        labels = Labels(uuid, "DCGM_FI_DEV_MEM_COPY_UTIL", f"mtv5-dgx1-hgpu-00{place // 2 + 1}")
        times = every(start, step, 16)
        await add_block(pool, labels, times, [float(place * 10 + n) for n in range(16)])
        power = Labels(uuid, "DCGM_FI_DEV_POWER_USAGE", labels.hostname)
        await add_block(pool, power, times[-1:], [117.4136])


async def rows(api: Listener, *arguments: str) -> list[dict[str, object]]:
    ended = await gputel(api, "query", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


async def test_filters_of_gpus_and_hosts_and_metrics(api: Listener) -> None:
    assert [row["uuid"] for row in await rows(api, "gpus", "--uuid", UUIDS[1])] == UUIDS[1:2]
    found = await rows(api, "gpus", "--hostname", "mtv5-dgx1-hgpu-001", "--seen-since", "now-1h")
    assert [row["uuid"] for row in found] == UUIDS[:2]
    assert await rows(api, "gpus", "--model", "A100") == []
    assert [row["gpus"] for row in await rows(api, "hosts")] == [2, 1]
    assert [row["gpus"] for row in await rows(api, "hosts", "--uuid", UUIDS[1])] == [1]
    ended = await gputel(api, "query", "hosts", "--model", "A100", "--format", "table")
    assert ended.out == "no GPU matches: leave a filter out; `gputel query gpus` lists all GPUs\n"
    assert [row["unit"] for row in await rows(api, "metrics")] == ["%", "W"]


async def test_a_gpu_has_its_newest_values_and_its_last_hour(api: Listener) -> None:
    ended = await gputel(api, "query", "gpu", UUIDS[0])
    assert json.loads(ended.out)["uuid"] == UUIDS[0]
    ended = await gputel(api, "query", "gpu", UUIDS[0], "--format", "table")
    assert ended.out.startswith(f"uuid       {UUIDS[0]}\nmodel      NVIDIA H100")
    line = next(line for line in ended.out.splitlines() if "POWER_USAGE" in line)
    assert line.split()[1:3] == ["117.414", "W"]
    line = next(line for line in ended.out.splitlines() if "COPY_UTIL" in line)
    assert line.split()[1:3] == ["15", "%"]
    assert line.rstrip()[-1] == "█"


async def test_latest_telemetry_and_top(api: Listener) -> None:
    found = await rows(api, "latest", "--metric", "*UTIL", "--hostname", "mtv5-dgx1-hgpu-001")
    assert [(row["uuid"], row["value"]) for row in found] == [(UUIDS[0], 15), (UUIDS[1], 25)]
    found = await rows(api, "top", "DCGM_FI_DEV_MEM_COPY_UTIL", "--n", "2", "--agg", "max")
    assert [row["value"] for row in found] == [35, 25]
    found = await rows(api, "top", "DCGM_FI_DEV_MEM_COPY_UTIL", "--by", "host", "--order", "asc")
    assert [row["hostname"] for row in found] == ["mtv5-dgx1-hgpu-001", "mtv5-dgx1-hgpu-002"]


async def test_telemetry_of_a_fleet_and_of_groups(api: Listener) -> None:
    found = await rows(api, "telemetry", "--uuid", "GPU-5", "--metric", "*_POWER_*")
    assert {row["uuid"] for row in found} == set(UUIDS)
    grouped = ("--step", "1d", "--agg", "max", "--group-by", "hostname", "--metric", "*UTIL")
    found = await rows(api, "telemetry", *grouped, "--since", "1d")
    days = sorted((row["hostname"], row["value"]) for row in found)  # two of a host past midnight
    assert dict(days) == {"mtv5-dgx1-hgpu-001": 25, "mtv5-dgx1-hgpu-002": 35}
    ended = await gputel(api, "query", "telemetry", "--metric", "*UTIL", "--format", "ndjson")
    assert len([json.loads(line) for line in ended.out.splitlines()]) == 48


TABLES = (
    ("gpus",),
    ("gpu", UUIDS[0]),
    ("hosts",),
    ("metrics",),
    ("latest",),
    ("latest", "--metric", "*UTIL"),
    ("telemetry",),
    ("telemetry", UUIDS[0]),
    ("top", "DCGM_FI_DEV_POWER_USAGE"),
    ("top", "DCGM_FI_DEV_POWER_USAGE", "--by", "host"),
)


@pytest.mark.parametrize("command", TABLES, ids=" ".join)
async def test_a_table_fits_a_terminal_and_cuts_no_uuid(
    api: Listener, command: tuple[str, ...]
) -> None:
    shown = await on_a_terminal(api, *command, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= 80
    cut = [line for line in lines if "GPU-5" in line and not any(uuid in line for uuid in UUIDS)]
    assert cut == []


async def test_a_narrow_terminal_cuts_no_uuid_either(api: Listener) -> None:
    shown = await on_a_terminal(api, "gpus", COLUMNS="30")
    assert all(uuid in shown for uuid in UUIDS)


async def test_colours_are_for_terminals(api: Listener) -> None:
    assert "\x1b[36mGPU-" in await on_a_terminal(api, "gpus")
    assert "\x1b" not in (await gputel(api, "query", "gpus", "--format", "table")).out


async def test_a_terminal_is_shown_nothing_binary(api: Listener) -> None:
    for command in (("gpus",), ("export",), ("telemetry",)):
        assert "a terminal cannot show it" in await on_a_terminal(
            api, *command, "--format", "parquet"
        )


@pytest.mark.parametrize("format_", ["json", "ndjson", "csv", "arrow", "parquet"])
async def test_a_metric_that_is_none_is_told_with_the_nearest(api: Listener, format_: str) -> None:
    for command in (("telemetry",), ("latest",), ("export",)):
        asked = (*command, "--metric", "DCGM_FI_DEV_POWR_USAGE", "--format", format_)
        ended = await gputel(api, "query", *asked, shell="| cat")
        assert (ended.code, ended.out) == (1, "")
        assert "did you mean DCGM_FI_DEV_POWER_USAGE" in ended.err
        assert ended.err.count("\n") == 1
    assert await rows(api, "telemetry", "--metric", "*UTIL", "--since", "0s") == []


async def test_refusals_name_flags_and_the_nearest_gpu(api: Listener) -> None:
    for command in (("gpu", UUIDS[0] + "x"), ("telemetry", UUIDS[0] + "x")):
        ended = await gputel(api, "query", *command)
        assert ended.code == 1
        assert "did you mean GPU-5fd4f087-86f3-7a43-b711-4771313afc5" in ended.err
        assert "`gputel query gpus` lists" in ended.err
    ended = await gputel(api, "query", "telemetry", "--group-by", "hostname")
    assert ended.err == "gputel: --group-by: needs a step; add --step 5m, or leave it out\n"
    ended = await gputel(api, "query", "telemetry", UUIDS[0], "--model", "x")
    assert ended.err.startswith("gputel: --model: is for many GPUs; leave UUID out")


async def test_the_beginning_of_a_uuid_is_enough_where_one_gpu_has_it(
    api: Listener, pool: asyncpg.Pool
) -> None:
    for uuid in ("GPU-a", "GPU-a1", "MIG-100%/x", "MIG-100_/y"):
        await add_block(pool, Labels(uuid, "POWER"), [datetime.now(UTC)], [1.0])
    for begun, uuid in {"GPU-a": "GPU-a", "GPU-a1": "GPU-a1", "MIG-100%": "MIG-100%/x"}.items():
        ended = await gputel(api, "query", "gpu", begun)
        assert json.loads(ended.out)["uuid"] == uuid, ended.err
        assert [row["uuid"] for row in await rows(api, "telemetry", begun)] == [uuid]
    ended = await gputel(api, "query", "gpu", "MIG-100_", "--format", "table")
    assert ended.out.startswith("uuid       MIG-100_/y\n")


async def test_the_beginning_of_several_uuids_is_refused_with_some_of_them(
    api: Listener, pool: asyncpg.Pool
) -> None:
    for command in ("gpu", "telemetry"):
        ended = await gputel(api, "query", command, "GPU-5fd4")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == (
            f"gputel: the uuids of 3 GPUs begin with 'GPU-5fd4': {', '.join(UUIDS)}; write more "
            "of it\n"
        )
        ended = await gputel(api, "query", command, "")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("gputel: UUID: is empty")
        assert (await gputel(api, "query", command, "gpu-5fd4")).code == 1
    for place in range(2):
        await add_block(pool, Labels(f"GPU-6{place}"), [datetime.now(UTC)], [1.0])
    ended = await gputel(api, "query", "gpu", "G")
    assert f"of 5 GPUs begin with 'G': {', '.join(UUIDS)} and 2 more; write more" in ended.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_shell_gets_its_script(shell: str) -> None:
    ended = await gputel(None, "completion", shell)
    assert ended.code == 0, ended.err
    assert "_GPUTEL_COMPLETE" in ended.out


async def completed(url: str, *words: str) -> tuple[list[str], str]:
    """What Tab offers for the last word, and what it says on stderr."""
    script = "import sys; sys.argv = ['gputel']; from gputel.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "GPUTEL_API_URL": url,
            "_GPUTEL_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("gputel", *words)),
            "COMP_CWORD": str(len(words)),
        },
    )
    out, err = await process.communicate()
    return [line.partition(",")[2] for line in out.decode().split()], err.decode()


async def test_tab_completes_names_from_the_api_and_is_silent_without_it(api: Listener) -> None:
    assert await completed(api.url, "query", "gpu", "GPU-5") == (UUIDS, "")
    metric = (["DCGM_FI_DEV_POWER_USAGE"], "")
    assert await completed(api.url, "query", "latest", "--metric", "DCGM_FI_DEV_P") == metric
    assert await completed(api.url, "query", "top", "DCGM_FI_DEV_P") == metric
    hosts, _ = await completed(api.url, "query", "gpus", "--hostname", "mtv5")
    assert hosts == ["mtv5-dgx1-hgpu-001", "mtv5-dgx1-hgpu-002"]
    assert await completed("http://127.0.0.1:1", "query", "gpu", "GPU-5") == ([], "")
    assert await completed("nonsense", "query", "gpu", "GPU-5") == ([], "")
