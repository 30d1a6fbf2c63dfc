"""The API beside a full store: the list of GPUs, and the last hour of one GPU, by a real client.

    .venv/bin/python benchmarks/api.py --rows 10000000 --seconds 20

Rows of a made-up fleet of 248 GPUs, a reading of each of their ten metrics every 10 s up to now,
are ingested first. Then an API process answers one client on one connection that it keeps, a
request after the other on a warm cache, the GPUs in turn: with nothing beside it, then while
`gputel ingest` lands another file. Times are the client's, to the last byte of the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
import numpy as np

from gputel.store.embedded import embedded_postgres
from gputel.store.queries import load

GPUTEL = [sys.executable, "-m", "gputel"]
WARM_UP = 20


async def run(*arguments: str, environ: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *GPUTEL, *arguments, env=environ, stdout=subprocess.DEVNULL, cwd=environ["GPUTEL_DATA_DIR"]
    )
    assert await process.wait() == 0, arguments


async def land(path: Path, rows: int, environ: dict[str, str], *more: str) -> None:
    await run("simulate", "--rows", str(rows), "--output", str(path), *more, environ=environ)
    await run("ingest", str(path), environ=environ)
    path.unlink()


class Client:
    """One client on one connection."""

    def __init__(self, session: aiohttp.ClientSession, url: str, end: datetime) -> None:
        self._session = session
        self.end = end
        self._url = f"{url}/api/v1/gpus"
        self.uuids: list[str] = []
        self._turn = 0

    async def gpus(self) -> int:
        async with self._session.get(self._url) as answer:
            found = await answer.json()
        self.uuids = [gpu["uuid"] for gpu in found]
        return len(found)

    async def last_hour(self) -> int:
        self._turn += 1
        uuid = self.uuids[self._turn % len(self.uuids)]
        since = (self.end - timedelta(hours=1)).isoformat()
        query = {"start_time": since, "end_time": self.end.isoformat()}
        async with self._session.get(f"{self._url}/{uuid}/telemetry", params=query) as answer:
            return (await answer.read()).count(b'"timestamp"')

    async def measure(self, name: str, seconds: float) -> None:
        """Ask both questions in turn and print what each took."""
        for ask, what in ((self.gpus, "GPUs"), (self.last_hour, "records")):
            times, count, sizes = [], 0, set()
            until = time.perf_counter() + seconds / 2
            while time.perf_counter() < until:
                began = time.perf_counter()
                sizes.add(await ask())
                if (count := count + 1) > WARM_UP:
                    times.append(time.perf_counter() - began)
            p50, p99 = np.percentile(times, [50, 99]) * 1000
            size = f"{min(sizes):,}" if len(sizes) == 1 else f"{min(sizes):,}-{max(sizes):,}"
            print(f"{name:<14}{size:>12} {what:<8} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms", end="")
            print(f"   {len(times):,} requests, load {os.getloadavg()[0]:.1f}", flush=True)

    async def ready(self) -> None:
        while True:
            try:
                if await self.gpus():
                    return
            except (aiohttp.ClientError, KeyError, TypeError):
                await asyncio.sleep(0.1)


async def bench(args: argparse.Namespace, work: Path) -> None:
    work.chmod(0o755)
    async with embedded_postgres(work / "data", None) as dsn:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        environ = os.environ | {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_DATA_DIR": str(work),
            "GPUTEL_API_PORT": str(port),
            "GPUTEL_LOG_LEVEL": "warning",
        }
        await land(work / "rows.csv", args.rows, environ)
        connection = await asyncpg.connect(dsn)
        end = await connection.fetchval("SELECT max(last_ts) FROM sample_block")
        api = await asyncio.create_subprocess_exec(*GPUTEL, "run", "--role", "api", env=environ)
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
                client = Client(session, f"http://127.0.0.1:{port}", end)
                await client.ready()
                await client.measure("alone", args.seconds)
                more = work / "more.csv"
                start = (datetime.now(UTC) - timedelta(days=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
                beside = str(args.beside)
                await run("simulate", "--rows", beside, "--start", start, "--output", str(more),
                          environ=environ)  # fmt: skip
                landing = asyncio.create_task(run("ingest", str(more), environ=environ))
                await asyncio.sleep(2.0)
                await client.measure("beside ingest", args.seconds)
                print("the ingest", "had ended before" if landing.done() else "was going on")
                await landing
                if args.plans:
                    await plans(connection, client.uuids[0], end)
        finally:
            api.terminate()
            await api.wait()
            await connection.close()


async def plans(connection: asyncpg.Connection, uuid: str, end: datetime) -> None:
    """Print how Postgres answers, once more on a warm cache."""
    sql, explain = load("reader"), "EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, TIMING OFF) "
    rows = await connection.fetch(sql["series_of_gpu"], uuid, None, end)
    ids, since = [row["series_id"] for row in rows], end - timedelta(hours=1)
    day = end.replace(hour=0, minute=0, second=0, microsecond=0)
    questions = {
        "gpus": (),
        "series_of_gpu": (uuid, None, end),
        "newest_block": (ids, since, day + timedelta(days=1)),
        "blocks": (ids, max(day, since), day + timedelta(days=1), end),
    }
    for name, arguments in questions.items():
        print(f"\n{name}")
        for _ in range(2):
            lines = await connection.fetch(explain + sql[name], *arguments)
        print("\n".join(line[0] for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--beside", type=int, default=8_000_000, help="Rows of the other ingest.")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--plans", action="store_true", help="Print the query plans as well.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gputel-bench-", dir="/var/tmp") as work:
        asyncio.run(bench(args, Path(work)))


if __name__ == "__main__":
    main()
