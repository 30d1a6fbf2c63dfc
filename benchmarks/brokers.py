"""What one, two and three brokers carry, and what a stream loses when one of them dies: nothing.

    .venv/bin/python benchmarks/brokers.py                    # messages per second, by brokers
    .venv/bin/python benchmarks/brokers.py --share 0.2        # each broker has a fifth of a core
    .venv/bin/python benchmarks/brokers.py --kill --rows 1000000

Each broker, producer and consumer is a process of its own on this machine. Messages of 300 bytes
go in batches of 100 to one broker after the other; consumers drink from all. One broker and its
clients fill two cores, so --share (root, Linux) bounds each broker to a part of a core, as if it
had a slower machine of its own. With --kill, rows whose values are their numbers are streamed
through three brokers, one of which is killed for good in the middle; then every number must be in
the store once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import uvloop

from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.mq.connect import connect
from gputel.store.migrations import migrate
from gputel.store.postgres.shared import embedded_postgres

PAYLOAD = os.urandom(300)
OUTSTANDING = 20_000
HEADER = "timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gputel(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gputel", *arguments]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | environment)


def bound(process: subprocess.Popen[bytes], share: float) -> Path:
    """Let a process have so much of a core at most; the control group, to be removed."""
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    group = (first if first.is_dir() else second) / f"gputel-bench-{process.pid}"
    group.mkdir()
    quota = int(share * 20_000)
    if first.is_dir():
        (group / "cpu.cfs_period_us").write_text("20000")
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} 20000")
    (group / "cgroup.procs").write_text(str(process.pid))
    return group


@asynccontextmanager
async def brokers(
    count: int, share: float | None = None
) -> AsyncIterator[tuple[list[str], list[subprocess.Popen[bytes]]]]:
    ports = [free_port() for _ in range(count)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    processes = [gputel("run", "--role", "broker", "--broker-port", str(port)) for port in ports]
    groups: list[Path] = []
    try:
        for url in urls:
            async with QueueClient(url) as client:
                for _ in range(200):
                    if await client.check() is None:
                        break
                    await asyncio.sleep(0.05)
        groups = [bound(process, share) for process in processes] if share else []
        yield urls, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for group in groups:
            group.rmdir()


async def work(kind: str, urls: list[str], seconds: float) -> None:
    """A producer or a consumer: prints how many messages it moved."""
    moved = 0
    async with connect(urls) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if kind == "produce":
                stats = await client.stats()
                if stats["ready"] > OUTSTANDING:
                    await asyncio.sleep(0.005)
                    continue
                for _ in range(10):
                    await client.publish([OutgoingMessage(payload=PAYLOAD)] * 100)
                moved += 1000
            else:
                found = await client.consume(100, wait_s=0.1)
                moved += len(found)
                await client.ack([(each.id, each.lease) for each in found])
    print(json.dumps(moved))


async def carried(
    count: int, clients: int, seconds: float, share: float | None
) -> tuple[float, list[float]]:
    """Messages per second through so many brokers, and how much of a core each of them took."""
    async with brokers(count, share) as (urls, processes):
        kinds = ["produce", "consume"] * clients
        before = [cpu_s(process) for process in processes]
        workers = [
            await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--work", kind, "--seconds", str(seconds),
                "--urls", ",".join(urls), stdout=subprocess.PIPE,
            )
            for kind in kinds
        ]  # fmt: skip
        told = [json.loads((await worker.communicate())[0]) for worker in workers]
        shares = [
            (cpu_s(process) - was) / seconds for process, was in zip(processes, before, strict=True)
        ]
    return sum(told[1::2]) / seconds, shares


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


async def compare(arguments: argparse.Namespace) -> None:
    found: dict[int, list[tuple[float, list[float]]]] = {1: [], 2: [], 3: []}
    for _ in range(arguments.rounds):
        for count in found:
            found[count].append(
                await carried(count, arguments.clients, arguments.seconds, arguments.share)
            )
    alone = statistics.median(rate for rate, _ in found[1])
    for count, rounds in found.items():
        rate = statistics.median(rate for rate, _ in rounds)
        cores = statistics.median(sum(shares) for _, shares in rounds)
        print(
            f"{count} broker{'s' if count > 1 else ' '}  {rate:9,.0f} messages/s  "
            f"{rate / alone:4.2f} of one  brokers took {cores:.2f} cores, "
            f"{cores / rate * 1e6:.1f} us a message"
        )


def write_numbered(path: Path, rows: int) -> None:
    with path.open("w") as out:
        out.write(HEADER + ",value,labels_raw\n")
        for row in range(rows):
            gpu = row % 248
            out.write(
                f'"2026-03-01T00:{row // 60_000 % 60:02d}:{row // 1000 % 60:02d}Z",'
                f'"ROW","{gpu % 8}","nvidia{gpu % 8}","GPU-{gpu:04d}","H100",'
                f'"host-{gpu // 8:03d}","","","","{row}",""\n'
            )


async def kill(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        file = directory / "numbered.csv"
        write_numbered(file, arguments.rows)
        async with embedded_postgres(directory / "data") as dsn, brokers(3) as (urls, processes):
            await migrate(dsn)
            environment = {"GPUTEL_POSTGRES_DSN": dsn, "GPUTEL_BROKER_URL": ",".join(urls)}
            source = ("--csv", str(file), "--stream-id", "s", "--no-loop", "--rate", "0")
            pace = ("--chunk-rows", "2000", "--chunk-lease-s", "5", "--timestamps", "source")
            started = time.monotonic()
            roles = [
                gputel("run", "--role", role, *own, **environment)
                for role, own in [("streamer", source + pace), ("collector", ())] * 2
            ]
            connection = await asyncpg.connect(dsn)
            try:
                killed_at = await watch(connection, arguments.rows, processes[0])
                took = time.monotonic() - started
                rows, distinct = await connection.fetchrow(
                    "SELECT count(*), count(DISTINCT value) FROM telemetry"
                )
            finally:
                await connection.close()
                for role in roles:
                    role.send_signal(signal.SIGTERM)
                for role in roles:
                    role.wait()
    print(f"killed one of three brokers at {killed_at:,} of {arguments.rows:,} rows")
    print(f"{rows:,} rows in the store, {distinct:,} of them distinct, in {took:.1f} s")
    if not rows == distinct == arguments.rows:
        sys.exit("FAILED: rows were lost or doubled")


async def watch(connection: asyncpg.Connection, rows: int, victim: subprocess.Popen[bytes]) -> int:
    """Kill the victim in the middle, wait until all rows have landed; when it was killed."""
    killed_at = 0
    while True:
        landed = await connection.fetchrow(
            "SELECT next_row, row_count, "
            "(SELECT coalesce(sum(row_count), 0) FROM stream_lease) AS leased FROM stream_progress"
        )
        if landed is not None:
            done = landed["next_row"] - landed["leased"]
            if not killed_at and done >= 2 * rows // 5:
                victim.kill()
                killed_at = done
            ended = landed["row_count"] is not None and landed["next_row"] >= landed["row_count"]
            if ended and not landed["leased"]:
                return killed_at
        await asyncio.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=1, help="producers, and as many consumers")
    parser.add_argument("--share", type=float, help="of a core, for each broker")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--work", choices=("produce", "consume"), help=argparse.SUPPRESS)
    parser.add_argument("--urls", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        task = work(arguments.work, arguments.urls.split(","), arguments.seconds)
    else:
        task = kill(arguments) if arguments.kill else compare(arguments)
    uvloop.run(task)


if __name__ == "__main__":
    main()
