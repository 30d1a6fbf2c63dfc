"""From publish to visible in the API: a broker, a collector and an API, each a process.

    .venv/bin/python benchmarks/latency.py --hosts 1000 --seconds 60

Each host of a made-up fleet publishes the readings of its 8 GPUs, ten metrics each, as one message
every ``--interval-s`` seconds, the hosts spread evenly over that time: 2,000 rows/s by default.
Every series has been seen once before the clock starts. A prober follows every ``--probe-every``-th
message: from just before its publish it asks the API for the newest sample of the message's last
series, again and again, until it is the one of this message. Times are those of the whole way, the
last answer's included. All on loopback, with the embedded Postgres as it is by default.

With ``--live`` one client follows the live stream meanwhile, and the times from publish to its
events are told as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pyarrow as pa

from gputel.model.columns import LABEL_TYPE, LABELS, SCHEMA
from gputel.model.record_batch import encode
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.sources.simulated.fleet import METRICS, SimulatedGpu, make_gpus
from gputel.store.postgres.shared import embedded_postgres

GPUS = 8
POLL_S = 0.002


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def roles(environ: dict[str, str], *names: str) -> Iterator[dict[str, int]]:
    """A gputel process for each role, ended by its pid, which the dictionary has."""
    command = [sys.executable, "-m", "gputel", "run", "--log-level", "warning", "--role"]
    running = [subprocess.Popen([*command, name], env=environ) for name in names]
    try:
        yield dict(zip(names, [process.pid for process in running], strict=True))
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, from proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Host:
    """One host: its labels stay, times and values change."""

    def __init__(self, gpus: list[SimulatedGpu]) -> None:
        rows = [(metric, gpu) for metric in METRICS for gpu in gpus]
        labels = {
            "metric_name": [metric for metric, _ in rows],
            "gpu_id": [str(gpu.index) for _, gpu in rows],
            "device": [f"nvidia{gpu.index}" for _, gpu in rows],
            "uuid": [gpu.uuid for _, gpu in rows],
            "model_name": ["NVIDIA H100 80GB HBM3" for _ in rows],
            "hostname": [gpu.host for _, gpu in rows],
            "labels_raw": [f'gpu="{gpu.index}",__name__="{metric}"' for metric, gpu in rows],
        }
        empty = [""] * len(rows)
        self._labels = [
            pa.array(labels.get(name, empty), pa.string()).cast(LABEL_TYPE) for name in LABELS
        ]
        self._values = pa.array(np.arange(len(rows)) * 1.5)
        self.rows = len(rows)
        self.last = (gpus[-1].uuid, METRICS[-1])

    def payload(self, now_us: int) -> bytes:
        times = pa.array(np.full(self.rows, now_us), pa.int64()).cast(SCHEMA.field(0).type)
        columns = [times, *self._labels, self._values]
        return encode(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


class Prober:
    """Asks the API until a sample is there; keeps what it took."""

    def __init__(self, session: aiohttp.ClientSession, api: str) -> None:
        self._session = session
        self._api = api
        self.seconds: list[float] = []
        self.asked = 0

    async def newest_us(self, series: tuple[str, str]) -> int:
        """The time of the newest sample of the series, in Unix microseconds; 0 if none."""
        url = f"{self._api}/api/v1/gpus/{series[0]}/telemetry"
        query = {"metric": series[1], "limit": "1"}
        self.asked += 1
        async with self._session.get(url, params=query) as answer:
            if answer.status != 200:
                return 0
            records = await answer.json()
        return int(np.datetime64(records[0]["timestamp"][:-1], "us").astype(int)) if records else 0

    async def until_visible(self, series: tuple[str, str], ts_us: int, began: float) -> None:
        while await self.newest_us(series) != ts_us:
            await asyncio.sleep(POLL_S)
        self.seconds.append(time.perf_counter() - began)


class Follower:
    """Follows one metric in the live stream; keeps what each message took to come."""

    def __init__(self, session: aiohttp.ClientSession, api: str) -> None:
        self._session = session
        self._api = api
        self.published: dict[tuple[str, int], float] = {}
        self.seconds: list[float] = []

    async def follow(self, opened: asyncio.Event) -> None:
        query = {"metric": METRICS[-1]}
        url, forever = f"{self._api}/api/v1/stream", aiohttp.ClientTimeout()
        async with self._session.get(url, params=query, timeout=forever) as answer:
            async for line in answer.content:
                if line.startswith(b":"):
                    opened.set()
                if line.startswith(b"data:"):
                    record = json.loads(line[5:])
                    time_us = int(np.datetime64(record["timestamp"][:-1], "us").astype(int))
                    published = self.published.pop((record["uuid"], time_us), None)
                    if published is not None:
                        self.seconds.append(time.perf_counter() - published)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        try:
            async with session.get(f"{url}/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)


async def stream(
    args: argparse.Namespace,
    client: QueueClient,
    prober: Prober,
    follower: Follower,
    pids: dict[str, int],
) -> tuple[float, dict[str, float]]:
    """Publish at the rate, follow some; the rows per second reached, and the share of a core."""
    fleet = make_gpus(args.hosts, GPUS, 7, pods=False)
    hosts = [Host(fleet[first : first + GPUS]) for first in range(0, len(fleet), GPUS)]
    began_us = time.time_ns() // 1000
    for first in range(0, len(hosts), 100):  # every series once, before the clock starts
        some = hosts[first : first + 100]
        await client.publish(
            [OutgoingMessage(id=h.last[0], payload=h.payload(began_us)) for h in some]
        )
    await prober.until_visible(hosts[-1].last, began_us, 0.0)
    await asyncio.sleep(2.0)
    prober.seconds.clear()
    prober.asked = 0
    apart_s = args.interval_s / len(hosts)
    used = {name: cpu_s(pid) for name, pid in pids.items()}
    began, sent = time.perf_counter(), 0
    async with asyncio.TaskGroup() as group:
        while (now := time.perf_counter()) < began + args.seconds:
            await asyncio.sleep(max(0.0, began + sent * apart_s - now))
            host, now_us = hosts[sent % len(hosts)], time.time_ns() // 1000
            message = OutgoingMessage(id=f"bench/{now_us}", payload=host.payload(now_us))
            follower.published[host.last[0], now_us] = published = time.perf_counter()
            group.create_task(client.publish([message]))
            if sent % args.probe_every == 0:
                group.create_task(prober.until_visible(host.last, now_us, published))
            sent += 1
    seconds = time.perf_counter() - began
    shares = {name: (cpu_s(pid) - used[name]) / seconds for name, pid in pids.items()}
    return sent * hosts[0].rows / seconds, shares


async def bench(args: argparse.Namespace, work: Path) -> None:
    work.chmod(0o755)
    broker, api = free_port(), free_port()
    async with embedded_postgres(work / "data", None) as dsn:
        environ = os.environ | {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_DATA_DIR": str(work / "data"),
            "GPUTEL_BROKER_PORT": str(broker),
            "GPUTEL_API_PORT": str(api),
        }
        url = f"http://127.0.0.1:{broker}"
        with roles(environ, "broker", "collector", "api") as pids:
            async with aiohttp.ClientSession() as session, QueueClient(url) as client:
                prober = Prober(session, f"http://127.0.0.1:{api}")
                await ready(session, url)
                await ready(session, f"http://127.0.0.1:{api}")
                pids |= {"this": os.getpid()}
                follower = Follower(session, f"http://127.0.0.1:{api}")
                if args.live:
                    opened = asyncio.Event()
                    following = asyncio.create_task(follower.follow(opened))
                    await opened.wait()
                rate, shares = await stream(args, client, prober, follower, pids)
                if args.live:
                    await asyncio.sleep(1.0)
                    following.cancel()
    print(f"{rate:,.0f} rows/s in messages of {GPUS * len(METRICS)}, load {os.getloadavg()[0]:.1f}")
    print("of a core:", ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    print(f"publish to visible, {len(prober.seconds)} probes, {prober.asked} questions:")
    tell(prober.seconds)
    if args.live:
        missing = len(follower.published)
        print(f"publish to event, {len(follower.seconds)} messages, {missing} that did not come:")
        tell(follower.seconds)


def tell(seconds: list[float]) -> None:
    p50, p90, p99, most = np.percentile(seconds, [50, 90, 99, 100]) * 1000
    print(f"p50 {p50:.1f} ms   p90 {p90:.1f} ms   p99 {p99:.1f} ms   max {most:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--interval-s", type=float, default=40)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--probe-every", type=int, default=5)
    parser.add_argument("--live", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gputel-bench-", dir="/var/tmp") as work:
        asyncio.run(bench(args, Path(work)))


if __name__ == "__main__":
    main()
