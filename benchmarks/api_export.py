"""Exports of one GPU's telemetry through HTTP, in each format, by a client that only counts.

    .venv/bin/python benchmarks/api_export.py --rows 1000000

Rows of a made-up fleet of one GPU are ingested, then an API process answers for them whole. Beside
it, in the same run, the floor: the same records from the same store by a plain aiohttp server that
asks Postgres for JSON text through a cursor, as one would write it by hand.
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
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web

from gputel.store.postgres.shared import embedded_postgres

GPUTEL = [sys.executable, "-m", "gputel"]
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
_JSON = """
SELECT json_build_object('timestamp', timestamp, 'metric_name', metric_name, 'gpu_id', gpu_id,
    'device', device, 'uuid', uuid, 'modelName', model_name, 'hostname', hostname,
    'container', container, 'pod', pod, 'namespace', namespace, 'value', value,
    'labels_raw', labels_raw)::text
FROM telemetry WHERE uuid = $1 LIMIT $2
"""


async def floor(dsn: str, uuid: str, port: int) -> web.AppRunner:
    """The server by hand: rows as JSON text, in no order, a thousand at a time."""

    async def export(request: web.Request) -> web.StreamResponse:
        connection = await asyncpg.connect(dsn)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async with connection.transaction():
            cursor = await connection.cursor(_JSON, uuid, int(request.query["limit"]))
            before = "["
            while rows := await cursor.fetch(1000):
                await response.write((before + ",".join(row[0] for row in rows)).encode())
                before = ","
        await response.write(b"]")
        await connection.close()
        return response

    app = web.Application()
    app.router.add_get("/", export)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def served(dsn: str, uuid: str, port: int) -> None:
    """Serve the floor until killed, in a process of its own."""
    await floor(dsn, uuid, port)
    await asyncio.Event().wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def fetch(name: str, url: str, rows: int, headers: dict[str, str]) -> None:
    """Read it to its end three times; print the best."""
    best, size = float("inf"), 0
    async with aiohttp.ClientSession(auto_decompress=False, read_bufsize=2**20) as session:
        for _ in range(3):
            began, size = time.perf_counter(), 0
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                async for data in answer.content.iter_any():
                    size += len(data)
            best = min(best, time.perf_counter() - began)
    speed, each = rows / best, size / rows
    print(f"{name:<14}{speed:>12,.0f} rows/s {each:8.1f} B a row {best:8.2f} s", end="")
    print(f"   load {os.getloadavg()[0]:.1f}", flush=True)


async def up(url: str) -> None:
    """Wait until something listens."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.head(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


async def bench(args: argparse.Namespace, work: Path) -> None:
    work.chmod(0o755)
    async with embedded_postgres(work / "data", None) as dsn:
        port, other = free_port(), free_port()
        environ = os.environ | {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_DATA_DIR": str(work),
            "GPUTEL_API_PORT": str(port),
            "GPUTEL_LOG_LEVEL": "warning",
        }
        path = str(work / "rows.csv")
        simulate = (
            "simulate",
            "--hosts",
            "1",
            "--gpus",
            "1",
            "--rows",
            str(args.rows),
            "--output",
            path,
        )
        for command in (simulate, ("ingest", path)):
            subprocess.run([*GPUTEL, *command], env=environ, check=True, stdout=subprocess.DEVNULL)
        connection = await asyncpg.connect(dsn)
        uuid = await connection.fetchval("SELECT uuid FROM gpu")
        await connection.close()
        hand = [sys.executable, "-P", __file__, "--serve", dsn, uuid, str(other)]
        servers = [
            await asyncio.create_subprocess_exec(*GPUTEL, "run", "--role", "api", env=environ),
            await asyncio.create_subprocess_exec(*hand, env=environ),
        ]
        try:
            await up(f"http://127.0.0.1:{port}/healthz")
            url = f"http://127.0.0.1:{port}/api/v1/gpus/{uuid}/telemetry?format="
            for name in FORMATS:
                await fetch(name, url + name, args.rows, {"Accept-Encoding": "identity"})
            for coding in ("gzip", "zstd"):
                await fetch(f"json, {coding}", f"{url}json", args.rows, {"Accept-Encoding": coding})
            await up(f"http://127.0.0.1:{other}/nothing")
            part = args.rows // 10  # it would take long
            await fetch("by hand, json", f"http://127.0.0.1:{other}/?limit={part}", part, {})
        finally:
            for server in servers:
                server.terminate()
                await server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(served(args.serve[0], args.serve[1], int(args.serve[2])))
        return
    with tempfile.TemporaryDirectory(prefix="gputel-bench-", dir="/var/tmp") as work:
        asyncio.run(bench(args, Path(work)))


if __name__ == "__main__":
    main()
