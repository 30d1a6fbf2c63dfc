from __future__ import annotations

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gputel.web.server.listener import Listener
from tests.helpers.query_command import gputel, on_a_terminal
from tests.helpers.telemetry_rows import Labels, add_block, add_many, every
from tests.helpers.wire import Wire

NOON = datetime(2025, 7, 18, 12, tzinfo=UTC)


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> None:
    await add_block(pool, Labels(), every(NOON, 1, 60), [0.0, 0.5, *range(58)])
    await add_block(pool, Labels(metric="POWER", pod="train-0"), [NOON], [700])
    await add_block(pool, Labels(uuid="GPU-b", hostname="host-2"), [NOON], [1])


@pytest.mark.usefixtures("stored")
async def test_gpus_are_json_for_programs(api: Listener) -> None:
    ended = await gputel(api, "query", "gpus")
    assert ended.code == 0, ended.err
    assert [gpu["uuid"] for gpu in json.loads(ended.out)] == ["GPU-a", "GPU-b"]
    assert ended.out.endswith("]\n")


@pytest.mark.usefixtures("stored")
async def test_gpus_as_csv_and_as_a_table(api: Listener) -> None:
    ended = await gputel(api, "query", "gpus", "--format", "csv")
    first, _ = csv.DictReader(ended.out.splitlines())
    assert (first["uuid"], first["hostname"]) == ("GPU-a", "host-1")
    assert first["last_seen"] == "2025-07-18T12:00:59Z"
    ended = await gputel(api, "query", "gpus", "--format", "table")
    assert ended.out.splitlines()[1].split() == ["uuid", "hostname", "last", "seen"]
    assert ended.out.endswith("\n2 GPUs\n")


async def test_an_empty_store_says_how_to_fill_it(api: Listener) -> None:
    ended = await gputel(api, "query", "gpus", "--format", "table")
    assert ended.code == 0
    assert "gputel ingest FILE" in ended.out
    assert json.loads((await gputel(api, "query", "gpus")).out) == []


@pytest.mark.usefixtures("stored")
async def test_telemetry_is_all_of_it_as_json_and_as_csv(api: Listener) -> None:
    found = json.loads((await gputel(api, "query", "telemetry", "GPU-a")).out)
    assert len(found) == 61
    ended = await gputel(api, "query", "telemetry", "GPU-a", "--format", "csv")
    rows = list(csv.DictReader(ended.out.splitlines()))
    header = "timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace"
    assert ended.out.startswith(header + ",value,labels_raw\r\n")
    assert [(row["timestamp"], row["Hostname"]) for row in rows] == [
        (record["timestamp"], record["hostname"]) for record in found
    ]
    assert [row["value"] for row in rows[-3:]] == ["0.5", "0", "700"]
    assert rows[-1]["labels_raw"] == 'gpu="0"'


@pytest.mark.usefixtures("stored")
async def test_telemetry_is_narrowed_by_metric_time_and_limit(api: Listener) -> None:
    async def values(*options: str) -> list[float]:
        ended = await gputel(api, "query", "telemetry", "GPU-a", *options)
        assert ended.code == 0, ended.err
        return [record["value"] for record in json.loads(ended.out)]

    assert await values("--metric", "POWER") == [700]
    assert await values("--limit", "2") == [57, 56]
    assert await values("--since", "2025-07-18T12:00:58+00:00") == [57, 56]
    assert await values("--until", "2025-07-18T12:00:00Z", "--metric", "TEMP") == [0]
    assert await values("--since", "1h") == []
    assert await values("--metric", "TEMP", "--step", "1h", "--agg", "count") == [60]
    ended = await gputel(api, "query", "telemetry", "GPU-a", "--step", "1x")
    assert (ended.code, ended.out) == (1, "")
    assert "--step: '1x' is no time span" in ended.err
    assert await values("--metric", "TE*", "--metric", "POWER", "--limit", "1") == [57]
    assert await values("--metric", "TEMP", "--order", "asc", "--limit", "2") == [0, 0.5]
    assert await values("--metric", "TEMP", "--step", "1h", "--agg", "p50") == [27.5]
    ended = await gputel(api, "query", "telemetry", "GPU-a", "--agg", "max")
    assert "--agg: needs a step; add --step 5m" in ended.err


@pytest.mark.usefixtures("stored")
async def test_a_day_is_asked_for_by_its_date_and_refusals_name_the_flags(api: Listener) -> None:
    ask = ("query", "telemetry", "GPU-a", "--format", "json")
    ended = await gputel(api, *ask, "--since", "2025-07-18", "--until", "2025-07-18")
    assert len(json.loads(ended.out)) == 61
    ended = await gputel(api, *ask, "--since", "2025-07-19", "--until", "2025-07-18T10:00")
    assert (ended.code, ended.err) == (1, "gputel: --since: is after --until; swap the two\n")


@pytest.mark.usefixtures("stored")
async def test_a_table_shows_the_newest_and_says_how_to_see_more(api: Listener) -> None:
    ended = await gputel(api, "query", "telemetry", "GPU-a", "--format", "table")
    lines = ended.out.splitlines()
    assert lines[0].startswith("metric TEMP  uuid GPU-a  hostname host-1")
    assert len(lines) == 2 + 50 + 2
    assert lines[2].split() == ["2025-07-18T12:00:59", "57"]
    assert lines[-1].startswith("the 50 newest records; --limit N shows more")
    ended = await gputel(api, "query", "telemetry", "GPU-a", "--format", "table", "--limit", "99")
    assert ended.out.splitlines()[-1] == "the 61 newest records"
    assert ended.out.splitlines()[-3].split()[-3:] == ["POWER", "700", "train-0"]
    ended = await gputel(api, "query", "telemetry", "GPU-a", "--format", "table", "--since", "1h")
    assert "no records" in ended.out


@pytest.mark.usefixtures("stored")
async def test_on_a_terminal_a_table_is_the_default(api: Listener) -> None:
    shown = await on_a_terminal(api, "gpus", TERM="dumb", COLUMNS="200")
    assert shown.splitlines()[-1] == "2 GPUs"


@pytest.mark.usefixtures("stored")
async def test_an_unknown_gpu_is_one_clear_line(api: Listener) -> None:
    ended = await gputel(api, "query", "telemetry", "GPU-c")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("gputel: no telemetry of GPU 'GPU-c' has landed")
    assert ended.err.count("\n") == 1


async def test_https_of_an_api_without_it_is_told_to_be_so(api: Listener) -> None:
    url = api.url.replace("http:", "https:")
    ended = await gputel(None, "query", "gpus", "--api-url", url)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"gputel: {url} does not speak HTTPS")
    assert ended.err.endswith(": use http://\n")


async def test_an_api_that_is_away_is_one_clear_line() -> None:
    ended = await gputel(None, "query", "gpus", "--api-url", "http://127.0.0.1:1/")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "gputel: no API answers at http://127.0.0.1:1/ (Connection refused): start it with "
        "`gputel run --role all`, or name another with --api-url\n"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://[x"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    ended = await gputel(None, "query", "gpus", "--api-url", url)
    assert ended.code == 2
    assert "must look like http://127.0.0.1:8080" in ended.err
    assert ended.err.count("\n") == 1


async def test_another_kind_of_server_is_recognised() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nwhat?")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    ended = await gputel(None, "query", "gpus", "--api-url", f"http://127.0.0.1:{port}")
    server.close()
    assert ended.code == 1
    assert "answered 404 Not Found: is it gputel's API?" in ended.err


@pytest.mark.parametrize("format_", ["json", "csv"])
async def test_a_reader_that_has_seen_enough_ends_it_quietly(
    pool: asyncpg.Pool, api: Listener, format_: str
) -> None:
    await add_many(pool, Labels(), NOON, blocks=200, samples=200)
    ended = await gputel(
        api, "query", "telemetry", "GPU-a", "--format", format_, shell="| head -c 9"
    )
    assert len(ended.out) == 9
    assert ended.err == ""


@pytest.mark.parametrize("format_", ["json", "csv"])
async def test_an_answer_that_breaks_off_is_an_error(
    pool: asyncpg.Pool, wire: Wire, wired_api: Listener, format_: str
) -> None:
    await add_many(pool, Labels(), NOON - timedelta(hours=11), blocks=1000, samples=200)
    arguments = ("telemetry", "GPU-a", "--format", format_, "--api-url", wired_api.url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "query", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readexactly(10)
    await wire.cut()
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"broke off its answer, which is incomplete" in err
