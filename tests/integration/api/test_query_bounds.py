"""What one client asks takes neither the memory nor the threads that others need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import aiohttp
import asyncpg
import pytest

from gputel.api.prometheus.endpoints import MOST_SELECTORS
from gputel.api.server import serve
from gputel.config.settings import MIB, ApiSettings
from gputel.store.pool import problem_of
from gputel.store.read.reader import Reader
from gputel.threads import EVALUATION, PUSHES, READING, Threads
from gputel.web.health import Health
from tests.helpers.batches import NOON
from tests.helpers.telemetry_rows import Labels, add_many

API = "/prometheus/api/v1"
AT = str(NOON.timestamp())
LONG = {"start": AT, "end": str(NOON.timestamp() + 10_000), "step": "1"}


@contextmanager
def all_busy(threads: Threads) -> Iterator[None]:
    """All threads of one kind have work that does not end, and as much more waits for one."""
    done = threading.Event()
    for _ in range(2 * threads.most):
        threads.start(done.wait)
    try:
        yield
    finally:
        done.set()


async def labelled(pool: asyncpg.Pool, uuid: str, raw: str) -> None:
    await add_many(pool, Labels(uuid), NOON, 1, 2)
    await pool.execute("UPDATE series SET labels_raw = $2 WHERE uuid = $1", uuid, raw)


@pytest.mark.parametrize("threads", [EVALUATION, READING, PUSHES], ids=["ev", "read", "push"])
async def test_metrics_are_answered_while_all_threads_of_queries_are_busy(client, threads) -> None:
    with all_busy(threads):
        async with client.get("/metrics") as answer:
            assert answer.status == 200
            assert b"gputel_" in await answer.read()


async def test_records_are_read_while_all_threads_that_evaluate_are_busy(client, pool) -> None:
    await add_many(pool, Labels("GPU-a"), NOON, 1, 5000)
    with all_busy(EVALUATION):
        async with client.get("/api/v1/gpus/GPU-a/telemetry") as answer:
            assert len(await answer.json()) == 5000


async def test_queries_that_timed_out_end_their_threads_and_give_their_turns_on(
    pool: asyncpg.Pool,
) -> None:
    await add_many(pool, Labels("GPU-a"), NOON, 10, 8000)
    settings = ApiSettings(api_port=0)
    # Some 800,000,000 samples are added up: minutes of work, were it to go on.
    heavy = " + ".join(f"sum_over_time(TEMP[{10_000 + n}s])" for n in range(90))
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as api,
        aiohttp.ClientSession(api.url) as client,
    ):

        async def ask(query: str, **more: str) -> int:
            form = {"query": query, **LONG, **more}
            async with client.post(f"{API}/query_range", data=form) as answer:
                await answer.read()
                return answer.status

        beside = [ask(heavy, timeout="0.5") for _ in range(2 * EVALUATION.most)]
        assert set(await asyncio.gather(*beside)) == {503}
        # Each turn is given on when its thread has ended, so these wait for all of them.
        light = [ask("TEMP", step="100") for _ in range(2 * EVALUATION.most)]
        assert set(await asyncio.gather(*light)) == {200}


@pytest.mark.parametrize("path", ["labels", "series?match[]=TEMP", "label/note/values"])
async def test_labels_of_more_bytes_than_an_answer_may_have_are_refused(
    pool: asyncpg.Pool, path: str
) -> None:
    for gpu in range(120):
        long = f"n{'x' * 12_000}{gpu}"
        raw = f'{long}="1"' if path == "labels" else f'note="{long}"'
        await labelled(pool, f"GPU-{gpu}", raw)
    settings = ApiSettings(api_port=0, query_max_bytes=MIB)
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as api,
        aiohttp.ClientSession(api.url) as client,
        client.get(f"{API}/{path}") as answer,
    ):
        body = await answer.json()
    assert (answer.status, body["errorType"]) == (422, "execution")
    assert "--query-max-bytes" in body["error"]


@pytest.mark.parametrize(
    "path",
    ["/api/v1/gpus", "/api/v1/hosts", "/api/v1/metrics", "/api/v1/telemetry"],
)
async def test_lists_of_more_than_a_query_may_select_are_refused(pool, path: str) -> None:
    for uuid in ("GPU-a", "GPU-b"):
        await add_many(pool, Labels(uuid, metric=f"M-{uuid}"), NOON, 1, 2)
    for most, status in ((2, 200), (1, 400)):
        settings = ApiSettings(api_port=0, query_max_series=most)
        async with (
            serve(settings, "127.0.0.1", Reader(pool), Health()) as api,
            aiohttp.ClientSession(api.url) as client,
            client.get(path) as answer,
        ):
            body = await answer.json()
        assert answer.status == status, path
        if status == 400:
            assert body["code"] == "query_too_large"


async def test_an_answer_of_more_bytes_than_it_may_have_is_refused(pool: asyncpg.Pool) -> None:
    settings = ApiSettings(api_port=0, query_max_bytes=MIB)
    queries = {
        "query_range": {
            "query": "TEMP",
            **LONG,
            "end": str(NOON.timestamp() + 100),
            "step": "0.01",
        },
        "query": {"query": "TEMP[1d]", "time": str(NOON.timestamp() + 80_000)},
    }
    async with (
        serve(settings, "127.0.0.1", Reader(pool), Health()) as api,
        aiohttp.ClientSession(api.url) as client,
    ):
        for number in range(12):
            await add_many(pool, Labels(f"GPU-{number}"), NOON, 1, 10_000)
        for path, parameters in queries.items():
            async with client.get(f"{API}/{path}", params=parameters) as answer:
                body = await answer.json()
            assert (answer.status, body.get("errorType")) == (422, "execution"), path
            assert "--query-max-bytes" in body["error"]


async def test_reads_leave_sessions_to_others_that_share_the_pool(pool: asyncpg.Pool) -> None:
    reader = Reader(pool)
    held = pool.get_max_size() - 2
    async with AsyncExitStack() as sessions:
        for _ in range(held):
            await sessions.enter_async_context(reader.session())
        waiting = asyncio.ensure_future(reader.gpu_exists("GPU-a"))
        assert await problem_of(pool) is None
        assert await pool.fetchval("SELECT 1") == 1
        assert not waiting.done()
    assert await waiting is False


async def test_so_many_selectors_are_refused_before_any_is_parsed(client) -> None:
    form = [("match[]", "TEMP")] * (MOST_SELECTORS + 1)
    async with client.post(f"{API}/series", data=form) as answer:
        body = await answer.json()
    assert (answer.status, body["errorType"]) == (400, "bad_data")
    assert f"more than {MOST_SELECTORS}" in body["error"]
