"""The API on a full store, beside what else answers such questions from the same samples.

    .venv/bin/python benchmarks/api.py --rows 10000000 --rounds 3 --seconds 3

Rows of a made-up fleet of 248 GPUs, a reading of each of their ten metrics every 10 s up to now,
are ingested first; the others are given the same samples (``api_peers.py``). wrk then asks each
question of each in turns, a request after the other on one connection that is kept, GPUs and
metrics in turn, on a warm cache. Times are wrk's, to the last byte; medians of the rounds. With
``--beside N``, gputel answers once more while `gputel ingest` lands N other rows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import asyncpg
from api_peers import by_hand, free_port, prometheus, victoria_metrics

from gputel.store.postgres.shared import embedded_postgres

GPUTEL = [sys.executable, "-m", "gputel"]
ROWS_PER_S = 31 * 8 * 10 / 10  # hosts, GPUs, metrics, and seconds between two readings
PIECE_ROWS = 9_920_000  # 40,000 s
SCRIPT = Path(__file__).with_name("wrk.lua")
PROMQL = {
    "one series, an hour, step 15s": ('DCGM_FI_DEV_GPU_TEMP{{UUID="{uuid}"}}', 3600, 15),
    "avg by host, an hour, step 1m": ("avg by (Hostname) (DCGM_FI_DEV_GPU_TEMP)", 3600, 60),
    "max over 5m, an hour, step 1m": ("max_over_time(DCGM_FI_DEV_GPU_TEMP[5m])", 3600, 60),
    "avg by host, 10 hours, step 5m": ("avg by (Hostname) (DCGM_FI_DEV_GPU_TEMP)", 36000, 300),
    "ten hottest of an hour, now": ("topk(10, avg_over_time(DCGM_FI_DEV_GPU_TEMP[1h]))", 0, 0),
}


@dataclass(frozen=True)
class Ask:
    """One question, as one of those that are asked hears it: paths that are asked in turn."""

    question: str
    who: str
    url: str
    paths: list[str]
    accept: str = "application/json"


@dataclass(frozen=True)
class Told:
    """What wrk measured: milliseconds, requests, bytes an answer."""

    p50: float
    p99: float
    per_s: float
    size: float


async def wrk(ask: Ask, seconds: float, work: Path) -> Told:
    paths = work / "paths"
    paths.write_text("\n".join(ask.paths) + "\n")
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", "-c1", f"-d{seconds:g}s", "--timeout", "60s", "-s", str(SCRIPT), ask.url),
        env=os.environ | {"BENCH_PATHS": str(paths), "BENCH_ACCEPT": ask.accept},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    line = next(text for text in out.decode().splitlines() if text.startswith("wrk "))
    requests, size, took_us, p50, p99, errors = map(int, line.split()[1:])
    assert not errors, (ask.question, ask.who, line)
    if not requests:  # the first was still unanswered
        return await wrk(ask, 4 * seconds, work)
    return Told(p50 / 1000, p99 / 1000, requests / took_us * 1e6, size / requests)


async def measure(asks: Iterable[Ask], rounds: int, seconds: float, work: Path) -> None:
    """Ask in turns, and print the medians, question by question."""
    asks = list(asks)
    for ask in asks:
        await wrk(ask, 1, work)  # warm
    told: dict[Ask | str, list[Told]] = defaultdict(list)
    for _ in range(rounds):
        for place, ask in enumerate(asks):
            told[str(place)].append(await wrk(ask, seconds, work))
    question = ""
    for place, ask in enumerate(asks):
        if ask.question != question:
            question = ask.question
            print(f"\n{question}")
        runs = told[str(place)]
        p50, p99 = (
            statistics.median(getattr(run, name) for run in runs) for name in ("p50", "p99")
        )
        per_s = statistics.median(run.per_s for run in runs)
        print(
            f"  {ask.who:<16} p50 {p50:9.1f} ms   p99 {p99:9.1f} ms   {per_s:8.1f}/s   "
            f"{runs[0].size:11,.0f} B   load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def questions(
    api: str, hand: str | None, uuids: list[str], all_since: datetime, end: datetime
) -> list[Ask]:
    """Those of the API, and the two that one would write by hand."""
    start = end - timedelta(hours=1)
    since, until = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (start, end))
    span = urlencode({"start_time": since, "end_time": until})
    hour = [f"/api/v1/gpus/{uuid}/telemetry?{span}" for uuid in uuids]
    step = [f"{path}&step=1m" for path in hour]
    latest = "/api/v1/telemetry/latest"
    arrow = "application/vnd.apache.arrow.stream"
    asks = [Ask("list of GPUs", "gputel", api, ["/api/v1/gpus"])]
    if hand:
        asks.append(Ask("list of GPUs", "by hand", hand, ["/gpus"]))
    asks.append(Ask("newest records, one metric", "gputel", api,
                    [f"{latest}?metric=DCGM_FI_DEV_GPU_TEMP"]))  # fmt: skip
    asks.append(Ask("newest records, all", "gputel", api, [latest]))
    asks.append(Ask("last hour of a GPU", "gputel", api, hour))
    asks.append(Ask("last hour of a GPU", "gputel, arrow", api, hour, arrow))
    if hand:
        paths = [f"/hour?{urlencode({'uuid': u, 'start': since, 'end': until})}" for u in uuids]
        asks.append(Ask("last hour of a GPU", "by hand", hand, paths))
    asks.append(Ask("last hour of a GPU, step 1m", "gputel", api, step))
    fleet = {"metric": "DCGM_FI_DEV_GPU_TEMP", "step": "1h", "agg": "avg", "group_by": "hostname"}
    fleet |= {"start_time": all_since.strftime("%Y-%m-%dT%H:00:00Z"), "end_time": until}
    asks.append(Ask("all there is, avg by host, step 1h", "gputel", api,
                    [f"/api/v1/telemetry?{urlencode(fleet)}"]))  # fmt: skip
    return asks


def ranges(who: str, url: str, uuids: list[str], end: datetime) -> list[Ask]:
    """Questions in PromQL."""
    host, _, prefix = url.removeprefix("http://").partition("/")
    found = []
    for name, (text, range_s, step_s) in PROMQL.items():
        paths = []
        for uuid in uuids if "{uuid}" in text else uuids[:1]:
            query: dict[str, Any] = {"query": text.format(uuid=uuid)}
            at = end.timestamp()
            if step_s:
                query |= {"start": at - range_s, "end": at, "step": step_s}
            else:
                query |= {"time": at}
            path = "query_range" if step_s else "query"
            paths.append(f"/{prefix}/{path}?{urlencode(query)}")
        found.append(Ask(name, who, f"http://{host}", paths))
    return found


async def agree(asks: list[Ask]) -> None:
    """Print where two answer the same PromQL with another number of series or points."""
    sizes: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    async with aiohttp.ClientSession() as session:
        for ask in asks:
            async with session.get(ask.url + ask.paths[0]) as reply:
                series = (await reply.json())["data"]["result"]
            points = sum(len(each.get("values", [0])) for each in series)
            sizes[ask.question][ask.who] = len(series), points
    for question, found in sizes.items():
        same = "" if len(set(found.values())) == 1 else "   NOT ALIKE"
        print(f"{question}: {found}{same}")


async def run(*arguments: str, environ: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *GPUTEL, *arguments, env=environ, cwd=environ["GPUTEL_DATA_DIR"]
    )
    assert await process.wait() == 0, arguments


async def land(path: Path, rows: int, environ: dict[str, str]) -> None:
    """Ingest so many rows, the last of them of now; a piece of the file is on disk at a time."""
    now = datetime.now(UTC)
    for missing in range(rows, 0, -PIECE_ROWS):
        start = now - timedelta(seconds=missing / ROWS_PER_S)
        piece = ("--rows", str(min(missing, PIECE_ROWS)), "--start", start.isoformat())
        await run("simulate", *piece, "--output", str(path), environ=environ)
        await run("ingest", str(path), environ=environ)
        path.unlink()


async def ready(url: str) -> list[str]:
    """The uuids of all GPUs, once the API answers."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/api/v1/gpus") as answer:
                    return [gpu["uuid"] for gpu in await answer.json()]
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


async def bench(args: argparse.Namespace, work: Path) -> None:
    work.chmod(0o755)
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(embedded_postgres(work / "data", None))
        port = free_port()
        environ = os.environ | {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_DATA_DIR": str(work),
            "GPUTEL_API_PORT": str(port),
            "GPUTEL_LOG_LEVEL": "warning",
        }
        await land(work / "rows.csv", args.rows, environ)
        if args.maintain:
            began = time.monotonic()
            await run("db", "maintain", environ=environ)
            print(f"maintained in {time.monotonic() - began:.1f} s")
            await run("db", "status", environ=environ)
        hand = await stack.enter_async_context(by_hand(dsn)) if args.peers else None
        others = {}
        if args.peers:
            for name, peer in (("Prometheus", prometheus), ("VictoriaMetrics", victoria_metrics)):
                if url := await stack.enter_async_context(peer(dsn, work)):
                    others[name] = url
        connection = await asyncpg.connect(dsn)
        all_since, end = await connection.fetchrow(
            "SELECT min(first_ts), max(last_ts) FROM stored_block"
        )
        await connection.close()
        api = await asyncio.create_subprocess_exec(*GPUTEL, "run", "--role", "api", env=environ)
        try:
            url = f"http://127.0.0.1:{port}"
            uuids = await ready(url)
            own = questions(url, hand, uuids, all_since, end)
            await measure(own, args.rounds, args.seconds, work)
            asked = [
                ranges(who, place, uuids, end)
                for who, place in {"gputel": f"{url}/prometheus/api/v1", **others}.items()
            ]
            promql = [ask for same in zip(*asked, strict=True) for ask in same]
            await measure(promql, args.rounds, args.seconds, work)
            print()
            await agree(promql)
            if args.beside:
                await beside(args, own, environ, work)
        finally:
            api.terminate()
            await api.wait()


async def beside(
    args: argparse.Namespace, asks: list[Ask], environ: dict[str, str], work: Path
) -> None:
    """The questions to gputel once more, while another file is ingested."""
    more = work / "more.csv"
    start = (datetime.now(UTC) - timedelta(days=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = ("--rows", str(args.beside), "--start", start)
    await run("simulate", *rows, "--output", str(more), environ=environ)
    print("\nbeside an ingest")
    landing = asyncio.create_task(run("ingest", str(more), environ=environ))
    await asyncio.sleep(2)
    await measure([ask for ask in asks if ask.who == "gputel"], 1, args.seconds, work)
    print("  the ingest", "had ended before" if landing.done() else "was going on")
    await landing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--beside", type=int, default=0, help="Rows of another ingest.")
    parser.add_argument("--maintain", action="store_true", help="Merge and roll up all days first.")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gputel-bench-", dir="/var/tmp") as work:
        asyncio.run(bench(args, Path(work)))


if __name__ == "__main__":
    main()
