"""What the API is measured beside: a server by hand on a flat table, Prometheus, VictoriaMetrics.

Each gets the samples that the store has, in the same run, on the same machine.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import numpy as np
from aiohttp import web

from gputel.store.blocks.samples import decode_rows

FLAT = """
CREATE TABLE flat (timestamp timestamptz NOT NULL, metric_name text NOT NULL, gpu_id text NOT NULL,
    device text NOT NULL, uuid text NOT NULL, "modelName" text NOT NULL, hostname text NOT NULL,
    container text NOT NULL, pod text NOT NULL, namespace text NOT NULL, value float8 NOT NULL)
"""
FILL = """
INSERT INTO flat SELECT timestamp, metric_name, gpu_id, device, uuid, model_name, hostname,
    container, pod, namespace, value FROM telemetry
"""
INDEX = "CREATE INDEX ON flat (uuid, timestamp DESC)"
HOUR = """
SELECT coalesce(json_agg(f ORDER BY timestamp DESC), '[]')::text FROM flat AS f
WHERE uuid = $1 AND timestamp >= $2::text::timestamptz AND timestamp <= $3::text::timestamptz
"""
GPUS = """
SELECT json_agg(g)::text FROM (SELECT DISTINCT ON (uuid) uuid, device, "modelName", hostname,
    gpu_id, timestamp AS last_seen FROM flat ORDER BY uuid, timestamp DESC) AS g
"""
SERIES = """
SELECT series_id, metric_name, format('%s{UUID="%s",Hostname="%s",modelName="%s",gpu="%s"} ',
    metric_name, uuid, hostname, model_name, gpu_id) AS head
FROM series ORDER BY metric_name, series_id
"""
BLOCKS = """
SELECT series_id, first_ts, step_us, array_send(off_us) AS off_us, array_send(value) AS value
FROM sample_block WHERE series_id = $1
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def by_hand(dsn: str) -> AsyncIterator[str]:
    """A server that sends the JSON that Postgres makes of a flat table with the usual index."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(FLAT)
    await connection.execute(FILL)
    await connection.execute(INDEX)
    await connection.execute("VACUUM ANALYZE flat")
    await connection.close()
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=8)

    async def hour(request: web.Request) -> web.Response:
        query = request.query
        body = await pool.fetchval(HOUR, query["uuid"], query["start"], query["end"])
        return web.Response(text=body, content_type="application/json")

    async def gpus(_request: web.Request) -> web.Response:
        return web.Response(text=await pool.fetchval(GPUS), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/hour", hour), web.get("/gpus", gpus)])
    runner, port = web.AppRunner(app, access_log=None), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
        await pool.close()


async def write_samples(dsn: str, path: Path, *, openmetrics: bool) -> None:
    """All samples as text, one metric and one series after the other.

    OpenMetrics has seconds, and an end; the text that VictoriaMetrics takes has milliseconds.
    """
    connection = await asyncpg.connect(dsn)
    with path.open("w") as out:
        for series in await connection.fetch(SERIES):
            samples = decode_rows(await connection.fetch(BLOCKS, series["series_id"]))
            order = np.argsort(samples.ts, kind="stable")
            times = samples.ts[order] // 1000
            head, values = series["head"], samples.value[order].tolist()
            stamps = (times / 1000 if openmetrics else times).tolist()
            pairs = zip(values, stamps, strict=True)
            out.writelines(f"{head}{value!r} {stamp}\n" for value, stamp in pairs)
        if openmetrics:
            out.write("# EOF\n")
    await connection.close()


@asynccontextmanager
async def prometheus(dsn: str, work: Path) -> AsyncIterator[str | None]:
    """Debian's Prometheus with the samples; None where it is not installed."""
    if not shutil.which("prometheus"):
        yield None
        return
    text, data, config = work / "openmetrics", work / "prometheus", work / "prometheus.yml"
    await write_samples(dsn, text, openmetrics=True)
    create = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(data))
    await asyncio.to_thread(subprocess.run, create, check=True)
    text.unlink()
    config.write_text("global:\n  scrape_interval: 1h\n")
    async with _server(
        work / "prometheus.log",
        "/-/ready",
        lambda port: [
            *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}"),
            *("--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}"),
        ],
    ) as url:
        yield f"{url}/api/v1"


@asynccontextmanager
async def victoria_metrics(dsn: str, work: Path) -> AsyncIterator[str | None]:
    """Debian's VictoriaMetrics with the samples; None where it is not installed."""
    if not shutil.which("victoria-metrics"):
        yield None
        return
    text = work / "samples"
    await write_samples(dsn, text, openmetrics=False)
    async with _server(
        work / "victoria.log",
        "/health",
        lambda port: [
            *("victoria-metrics", f"-storageDataPath={work / 'victoria'}"),
            *("-retentionPeriod=100y", f"-httpListenAddr=127.0.0.1:{port}"),
            "-search.disableCache",
        ],
    ) as url:
        send = (
            "curl",
            "-sSf",
            "--noproxy",
            "*",
            "-T",
            str(text),
            f"{url}/api/v1/import/prometheus",
        )
        await asyncio.to_thread(subprocess.run, send, check=True)
        text.unlink()
        await asyncio.sleep(5)  # until what was taken can be found
        yield f"{url}/api/v1"


@asynccontextmanager
async def _server(log: Path, ready: str, command: Callable[[int], list[str]]) -> AsyncIterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        server = subprocess.Popen(command(port), stdout=out, stderr=out)
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                await asyncio.to_thread(urllib.request.urlopen, url + ready, timeout=5)
                break
            except OSError:
                await asyncio.sleep(0.1)
        yield url
    finally:
        server.terminate()
        await asyncio.to_thread(server.wait)
