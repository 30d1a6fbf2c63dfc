"""Scrapes of a fleet: gputel beside VictoriaMetrics, on the same exporters, one after the other.

    .venv/bin/python benchmarks/live.py --nodes 1000 --interval 10s --seconds 120 \\
        --victoria /usr/bin/victoria-metrics

The exporters are one process with a page for each node, of 8 GPUs with 25 metrics each, whose
values change. gputel runs as it would in production: broker, streamer, collector and Postgres, each
a process. What the exporters use is not counted. For each side it prints CPU seconds per million
samples, cores, bytes on disk per sample, memory, and how old the newest sample is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil

from gputel.store.migrations import migrate
from gputel.store.postgres.shared import embedded_postgres

GPUS, METRICS = 8, 25
SAMPLES = GPUS * METRICS
NAMES = [
    "SM_CLOCK", "MEM_CLOCK", "MEMORY_TEMP", "GPU_TEMP", "POWER_USAGE", "TOTAL_ENERGY_CONSUMPTION",
    "PCIE_REPLAY_COUNTER", "GPU_UTIL", "MEM_COPY_UTIL", "ENC_UTIL", "DEC_UTIL", "XID_ERRORS",
    "FB_FREE", "FB_USED", "FB_RESERVED", "NVLINK_BANDWIDTH_TOTAL", "BAR1_USED",
    "UNCORRECTABLE_REMAPPED_ROWS", "CORRECTABLE_REMAPPED_ROWS", "BAR1_FREE",
    "VIDEO_CLOCK", "POWER_VIOLATION", "THERMAL_VIOLATION", "SYNC_BOOST_VIOLATION",
    "BOARD_LIMIT_VIOLATION",
]  # fmt: skip
ROLES = ("streamer", "broker", "collector", "postgres", "victoria")
STORED = """
SELECT (SELECT sum(samples) FROM stored_block) AS samples,
       (SELECT sum(pg_total_relation_size(part)) FROM
           (SELECT part FROM sample_block_part
            UNION ALL SELECT unnest('{sample_frame, series_list, series_list_member}'::regclass[]))
        AS parts) AS bytes,
       (SELECT extract(epoch FROM now() - min(last_ts)) FROM gpu) AS oldest_s,
       (SELECT extract(epoch FROM now() - max(last_ts)) FROM gpu) AS newest_s,
       (SELECT coalesce(sum(slots_lost), 0) FROM scrape_target) AS lost
"""


class Exporters(asyncio.Protocol):
    """Answers ``GET /<node>`` with the page of that node; as fast as Python can."""

    pages: dict[bytes, list[bytes]] = {}  # noqa: RUF012
    asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for request in data.split(b"\r\n\r\n")[:-1]:
            node = request.split(b" ", 2)[1][1:]
            lines = self.pages.get(node) or page(node)
            self.pages[node] = lines
            Exporters.asked += 1
            ends = [b"%d\n" % (n * 7919 * Exporters.asked % 91) for n in range(GPUS)]
            body = b"".join(
                [text for n, line in enumerate(lines) for text in (line, ends[n % GPUS])]
            )
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "
            self.transport.write(head + b"%d\r\n\r\n" % len(body) + body)


def page(node: bytes) -> list[bytes]:
    name = node.decode()
    return [
        f'DCGM_FI_DEV_{metric}{{gpu="{gpu}",UUID="GPU-{name}-{gpu}-5fd4f087-86f3-7a43-b711",'
        f'pci_bus_id="00000000:{gpu:02X}:00.0",device="nvidia{gpu}",modelName="NVIDIA H100 80GB '
        f'HBM3",Hostname="{name}",DCGM_FI_DRIVER_VERSION="550.144.03",container="train",'
        f'namespace="ml",pod="train-{name}"}} '.encode()
        for metric in NAMES
        for gpu in range(GPUS)
    ]


def serve(port: int) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(Exporters, "127.0.0.1", port)
        await asyncio.Event().wait()

    import uvloop

    uvloop.run(run())


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def config(folder: Path, port: int, nodes: int, interval: str) -> Path:
    groups = "".join(
        f"  - {{targets: ['127.0.0.1:{port}'], labels: {{instance: node{n}, "
        f"__metrics_path__: /node{n}}}}}\n"
        for n in range(nodes)
    )
    path = folder / "scrapes.yml"
    path.write_text(
        "scrape_configs:\n- job_name: dcgm\n"
        f"  scrape_interval: {interval}\n  static_configs:\n{groups}"
    )
    return path


@contextlib.contextmanager
def started(*commands: list[str], env: dict[str, str], log: Path) -> Iterator[list[psutil.Process]]:
    with log.open("ab") as out, contextlib.ExitStack() as stack:
        running = []
        for command in commands:
            made = subprocess.Popen(command, stdout=out, stderr=out, env=env)
            stack.callback(stop, made)
            running.append(psutil.Process(made.pid))
        yield running


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def family(processes: list[psutil.Process]) -> set[psutil.Process]:
    found = set(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= set(process.children(recursive=True))
    return found


def cpu(processes: set[psutil.Process]) -> dict[str, float]:
    used: dict[str, float] = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times, line = process.cpu_times(), " ".join(process.cmdline())
            role = next((r for r in ("broker", "streamer", "collector") if f"--role {r}" in line),
                        "postgres" if "postgres" in line else "victoria")  # fmt: skip
            total = times.user + times.system
            used[role] = used.get(role, 0.0) + total
    return used


def memory(processes: set[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20


def measure(processes: list[psutil.Process], seconds: float) -> dict[str, float]:
    """CPU seconds of each role over ``seconds``."""
    before = cpu(family(processes))
    time.sleep(seconds)
    after = cpu(family(processes))
    return {role: total - before.get(role, 0.0) for role, total in after.items()}


async def gputel(folder: Path, scrapes: Path, args: argparse.Namespace) -> dict[str, float]:
    data = folder / "data"
    async with embedded_postgres(data, None) as dsn:
        await migrate(dsn)
        (pid_file,) = data.rglob("postmaster.pid")
        postgres = psutil.Process(int(pid_file.read_text().split()[0]))
        env = os.environ | {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_BROKER_PORT": str(free_port()),
            "GPUTEL_SCRAPE_CONFIG": str(scrapes),
            "GPUTEL_SCRAPE_BATCH_S": str(args.batch_s),
        }
        run = [sys.executable, "-m", "gputel", "run", "--role"]
        commands = [[*run, role] for role in ("broker", "collector", "streamer")]
        with started(*commands, env=env, log=folder / "gputel.log") as processes:
            processes.append(postgres)
            await asyncio.sleep(args.warm)
            before = await stored(dsn)
            used = await asyncio.to_thread(measure, processes, args.seconds)
            mib = memory(family(processes))
            return used | since(before, await stored(dsn)) | {"MiB": mib}


async def stored(dsn: str) -> dict[str, float]:
    connection = await asyncpg.connect(dsn)
    row = await connection.fetchrow(STORED)
    await connection.close()
    return {name: float(value) for name, value in row.items()}


def since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What has landed after the first scrapes, which also bring the series themselves."""
    return after | {name: after[name] - before[name] for name in ("samples", "bytes", "lost")}


def victoria(folder: Path, scrapes: Path, args: argparse.Namespace) -> dict[str, float]:
    port = free_port()
    command = [
        args.victoria,
        f"-promscrape.config={scrapes}",
        f"-storageDataPath={folder / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
    ]
    with started(command, env=dict(os.environ), log=folder / "victoria.log") as processes:
        time.sleep(args.warm)
        before = stored_by_victoria(folder, port)
        used = measure(processes, args.seconds)
        mib = memory(family(processes))
        return used | since(before, stored_by_victoria(folder, port)) | {"MiB": mib}


def stored_by_victoria(folder: Path, port: int) -> dict[str, float]:
    pages = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    rows = sum(float(line.split()[-1]) for line in pages.splitlines()
               if line.startswith('vm_rows_inserted_total{type="promscrape"'))  # fmt: skip
    size = sum(path.stat().st_size for path in (folder / "victoria").rglob("*") if path.is_file())
    return {"samples": rows, "bytes": float(size), "lost": 0.0}


def show(name: str, found: dict[str, float], args: argparse.Namespace) -> float:
    roles = {role: found[role] for role in ROLES if role in found}
    total = sum(roles.values())
    due = args.nodes * SAMPLES * args.seconds / float(args.interval.removesuffix("s"))
    per_million = total / due * 1e6
    parts = ", ".join(f"{role} {seconds / due * 1e6:.2f}" for role, seconds in roles.items())
    size = found["bytes"] / max(1.0, found["samples"])
    print(f"{name}: {per_million:.2f} CPU s per million samples ({parts})")
    print(
        f"  {total / args.seconds:.2f} cores, {found['MiB']:.0f} MiB of memory, "
        f"{size:.1f} bytes of disk for each of {found['samples']:,.0f} samples"
    )
    if "oldest_s" in found:
        print(f"  newest sample {found['newest_s']:.1f} s old, the GPU furthest behind "
              f"{found['oldest_s']:.1f} s, slots lost {found['lost']:.0f}")  # fmt: skip
    return per_million


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--interval", default="10s")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm", type=float, default=45)
    parser.add_argument("--batch-s", type=float, default=5.0)
    parser.add_argument("--victoria", default="victoria-metrics")
    parser.add_argument("--only", choices=("gputel", "victoria"))
    parser.add_argument("--serve", type=int)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    port = free_port()
    exporters = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
    try:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
            folder = Path(place)
            folder.chmod(0o755)
            scrapes = config(folder, port, args.nodes, args.interval)
            ours = theirs = 0.0
            if args.only != "victoria":
                ours = show("gputel", asyncio.run(gputel(folder, scrapes, args)), args)
            if args.only != "gputel":
                theirs = show("VictoriaMetrics", victoria(folder, scrapes, args), args)
            if ours and theirs:
                print(f"ratio {ours / theirs:.2f}")
    finally:
        exporters.terminate()
        exporters.wait()


if __name__ == "__main__":
    main()
