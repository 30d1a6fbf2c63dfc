"""``gputel query stream``, the real command against a live API."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import asyncpg
import pytest

from gputel import metrics
from gputel.api.server import serve
from gputel.config.settings import ApiSettings
from gputel.store.read.reader import Reader
from gputel.store.write.writer import Arrival, Writer
from gputel.web.health import Health
from gputel.web.server.listener import Listener
from tests.helpers.batches import NOON, batch, labels, steady
from tests.helpers.processes import free_port
from tests.helpers.query_command import gputel, on_a_terminal
from tests.helpers.wire import wire_to_port


@asynccontextmanager
async def following(api_url: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, once the API has its stream open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "query", "stream", "--api-url", api_url, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={key: value for key, value in os.environ.items() if "GPUTEL" not in key},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def opened() -> None:
    """Wait until a stream of this process's API is open, to which all is sent that lands."""
    async with asyncio.timeout(120):
        while not metrics.REGISTRY.get_sample_value("gputel_api_stream_clients"):
            await asyncio.sleep(0.02)


async def test_records_are_printed_as_they_land(api: Listener, pool: asyncpg.Pool) -> None:
    async with following(api.url, "--metric", "T*", "--limit", "3") as process:
        await opened()
        other = batch([(labels("GPU-a", "OTHER"), NOON, 1.0)])
        writer = Writer(pool)
        await writer.land([Arrival("1", None, steady(2)), Arrival("2", None, other)])
        assert process.stdout is not None
        first = json.loads(await process.stdout.readline())
        assert (first["metric_name"], first["value"]) == ("TEMP", 0)
        assert json.loads(await process.stdout.readline())["value"] == 1
        await writer.land([Arrival("3", None, steady(5, "GPU-b"))])
        out, err = await process.communicate()
    assert [json.loads(line)["uuid"] for line in out.splitlines()] == ["GPU-b"]
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("format_", ["csv", "table"])
async def test_formats_for_people_and_sheets(
    api: Listener, pool: asyncpg.Pool, format_: str
) -> None:
    async with following(api.url, "--format", format_, "--limit", "1") as process:
        await opened()
        series = labels("GPU-a", "TEMP", hostname="h[1]", gpu_id="3", pod="a,b")
        await Writer(pool).land([Arrival("1", None, batch([(series, NOON, 41.5)]))])
        out, _ = await process.communicate()
    if format_ == "csv":
        (row,) = csv.DictReader(out.decode().splitlines())
        assert (row["Hostname"], row["pod"], row["value"]) == ("h[1]", "a,b", "41.5")
    else:
        assert out.split() == [b"2026-03-01T12:00:00", b"TEMP", b"41.5", b"h[1]/3", b"GPU-a"]


@pytest.mark.parametrize("columns", ["80", "140"])
async def test_a_line_on_a_narrow_terminal_has_no_uuid(
    api: Listener, pool: asyncpg.Pool, columns: str
) -> None:
    plain = {"COLUMNS": columns, "NO_COLOR": "1"}
    shown = asyncio.create_task(on_a_terminal(api, "stream", "--limit", "1", **plain))
    await opened()
    await Writer(pool).land([Arrival("1", None, batch([(labels("GPU-a", "TEMP"), NOON, 41.5)]))])
    told, line = (await shown).splitlines()
    assert told == "gputel: records come as they land; Ctrl-C ends it"
    assert ("GPU-a" in line) == (columns == "140")


async def test_it_goes_on_where_it_was_when_the_api_is_back(pool: asyncpg.Pool) -> None:
    settings, writer = ApiSettings(api_port=free_port()), Writer(pool)
    url = f"http://127.0.0.1:{settings.api_port}"
    serving = serve(settings, "127.0.0.1", Reader(pool), Health())
    await serving.__aenter__()
    async with following(url, "--limit", "4") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await opened()
        await writer.land([Arrival("1", None, steady(2))])
        lines = [await process.stdout.readline() for _ in range(2)]
        await serving.__aexit__(None, None, None)
        assert b"the API ended the stream; going on in" in await process.stderr.readline()
        await writer.land([Arrival("2", None, steady(2, "GPU-b"))])
        async with serve(settings, "127.0.0.1", Reader(pool), Health()):
            out, err = await process.communicate()
    assert process.returncode == 0
    assert err.endswith(b"gputel: the API answers again\n")
    found = [json.loads(line) for line in [*lines, *out.splitlines()]]
    places = [(row["uuid"], row["value"]) for row in found]
    assert places == [("GPU-a", 0), ("GPU-a", 1), ("GPU-b", 0), ("GPU-b", 1)]


async def test_it_comes_back_also_where_the_api_has_too_many_requests_for_a_while(
    pool: asyncpg.Pool,
) -> None:
    settings, writer = ApiSettings(api_port=0, concurrency_limit=1), Writer(pool)
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as listener,
        wire_to_port(listener.port) as wire,
        aiohttp.ClientSession(listener.url) as other,
        following(wire.url, "--limit", "2") as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        await opened()
        await writer.land([Arrival("1", None, steady(1))])
        lines = [await process.stdout.readline()]
        await wire.cut()
        async with free_stream(other):
            lost = f"gputel: the connection to the API at {wire.url} was lost; going on in 0.5 s\n"
            assert await process.stderr.readline() == lost.encode()
            await wire.mend()
            while b"without an answer" not in await process.stderr.readline():
                pass
        await writer.land([Arrival("2", None, steady(1, "GPU-b"))])
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert [json.loads(line)["uuid"] for line in [*lines, *out.splitlines()]] == ["GPU-a", "GPU-b"]


@asynccontextmanager
async def free_stream(client: aiohttp.ClientSession) -> AsyncIterator[None]:
    """A stream, once the API has noticed that another is gone."""
    while True:
        async with client.get("/api/v1/stream") as reply:
            if reply.status == 200:
                yield
                return
        await asyncio.sleep(0.02)


async def test_ctrl_c_ends_it_with_130(api: Listener) -> None:
    async with following(api.url) as process:
        await opened()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err.strip()) == (130, b"gputel: stopped")


async def test_a_wrong_filter_or_an_api_that_is_away_ends_it(api: Listener) -> None:
    ended = await gputel(api, "query", "stream", "--metric", "")
    assert ended.code == 1
    assert ended.err.startswith("gputel: --metric: is empty")
    ended = await gputel(None, "query", "stream", "--api-url", "http://127.0.0.1:1")
    assert ended.code == 1
    assert ended.err.startswith("gputel: no API answers at http://127.0.0.1:1")
