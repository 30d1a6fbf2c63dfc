"""Ingest of many distinct series: the same rows, spread over more and more of them.

    .venv/bin/python benchmarks/churn.py --rows 1000000 --hosts 31 1250 12500

A host has 8 GPUs with ten metrics each, so 31 hosts are 2,480 series and 12,500 are 1,000,000.
The first ingest meets every series for the first time; at 1,000,000 rows of 1,000,000 series each
row is a new series and a block of its own. The second is of later readings of the same fleet, which
the store knows and the process does not. Whole processes from start to exit, each fleet into a
database of its own; memory is the peak of gputel, without Postgres.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from gputel.store.migrations import migrate
from gputel.store.postgres.shared import embedded_postgres

STARTS = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")


def ingest(csv: Path, environ: dict[str, str]) -> tuple[float, float]:
    """Seconds, and the peak of its memory in MiB."""
    command = [sys.executable, "-m", "gputel", "ingest", str(csv), "--format", "json"]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=csv.parent, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, "the ingest failed"
    return time.perf_counter() - began, usage.ru_maxrss / 1024


async def fleet(server: str, hosts: int, rows: int, work: Path) -> None:
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE churn_{hosts}")
    dsn = server.replace("/gputel?", f"/churn_{hosts}?")
    await migrate(dsn)
    environ = os.environ | {"GPUTEL_POSTGRES_DSN": dsn, "GPUTEL_DATA_DIR": str(work)}
    for name, start in zip(("new", "known"), STARTS, strict=True):
        csv = work / "churn.csv"
        command = [sys.executable, "-m", "gputel", "simulate", "--rows", str(rows)]
        command += ["--hosts", str(hosts), "--start", start, "--pods", "--output", str(csv)]
        await asyncio.to_thread(subprocess.run, command, check=True)
        seconds, mib = await asyncio.to_thread(ingest, csv, environ)
        csv.unlink()
        connection = await asyncpg.connect(dsn)
        series = await connection.fetchval("SELECT count(*) FROM series")
        await connection.close()
        rate = f"{rows / seconds:>10,.0f} rows/s"
        load = os.getloadavg()[0]
        print(
            f"{series:>10,} series {name:>6} {rate} {mib:>6,.0f} MiB  load {load:.1f}", flush=True
        )
    await admin.execute(f"DROP DATABASE churn_{hosts} WITH (FORCE)")
    await admin.close()


async def bench(args: argparse.Namespace, work: Path) -> None:
    work.chmod(0o755)
    async with embedded_postgres(work / "data", None) as server:
        for hosts in args.hosts:
            await fleet(server, hosts, args.rows, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--hosts", type=int, nargs="+", default=[31, 1250, 12_500])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gputel-bench-", dir="/var/tmp") as work:
        asyncio.run(bench(args, Path(work)))


if __name__ == "__main__":
    main()
