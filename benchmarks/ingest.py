"""CSV to queryable: `gputel ingest` beside psql's `\\copy`, on one server, in turns.

    .venv/bin/python benchmarks/ingest.py --rows 1000000 --rounds 3

The peer is what a user would do by hand: `\\copy` into a flat table of 13 text columns with the
(uuid, timestamp desc) index that its queries need; also without that index. Both sides are timed
as whole processes, from start to exit. Each round loads into a database of its own, made before
the clock starts. The medians and the ratio are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from gputel.store.migrations import migrate
from gputel.store.postgres.binaries import find_binaries
from gputel.store.postgres.shared import embedded_postgres

FLAT = """
CREATE TABLE flat (id bigserial PRIMARY KEY, timestamp text, metric_name text, gpu_id text,
    device text, uuid text, "modelName" text, "Hostname" text, container text, pod text,
    namespace text, value text, labels_raw text)
"""
SIZE_OF_BLOCKS = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE (relname LIKE 'sample_block_%' AND relkind = 'r') OR relname = 'sample_frame'
"""
INDEX = "CREATE INDEX ON flat (uuid, timestamp DESC)"
COLUMNS = (
    'timestamp,metric_name,gpu_id,device,uuid,"modelName","Hostname",container,pod,namespace,'
    "value,labels_raw"
)


def simulated(path: Path, rows: int) -> Path:
    if not path.exists():
        print(f"simulating {rows:,} rows ...", flush=True)
        command = [sys.executable, "-m", "gputel", "simulate", "--rows", str(rows)]
        with path.open("wb") as out:
            subprocess.run(command, stdout=out, check=True)
    return path


async def fresh_database(dsn: str, name: str) -> str:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return dsn.replace("/gputel?", f"/{name}?")


async def scalar(dsn: str, sql: str) -> int:
    connection = await asyncpg.connect(dsn)
    value = await connection.fetchval(sql)
    await connection.close()
    return value


async def time_gputel(dsn: str, csv: Path, rows: int, data_dir: Path) -> dict[str, float]:
    target = await fresh_database(dsn, "bench_gputel")
    await migrate(target)
    command = [sys.executable, "-m", "gputel", "ingest", str(csv), "--format", "json"]
    environ = os.environ | {"GPUTEL_POSTGRES_DSN": target, "GPUTEL_DATA_DIR": str(data_dir)}
    began = time.perf_counter()
    done = await asyncio.to_thread(
        subprocess.run, command, env=environ, check=True, capture_output=True, cwd=data_dir
    )
    seconds = time.perf_counter() - began
    report = json.loads(done.stdout)
    assert await scalar(target, "SELECT count(*) FROM telemetry") == rows, report
    bytes_ = float(await scalar(target, SIZE_OF_BLOCKS))
    return {"seconds": seconds, "inside": report["seconds"], "bytes": bytes_ / rows}


async def time_copy(dsn: str, csv: Path, rows: int, psql: Path, *, index: bool) -> dict[str, float]:
    target = await fresh_database(dsn, "bench_copy")
    connection = await asyncpg.connect(target)
    await connection.execute(FLAT)
    if index:
        await connection.execute(INDEX)
    await connection.close()
    copy = f"\\copy flat ({COLUMNS}) FROM '{csv}' WITH (FORMAT csv, HEADER)"
    began = time.perf_counter()
    await asyncio.to_thread(subprocess.run, [str(psql), "-q", "-d", target, "-c", copy], check=True)
    seconds = time.perf_counter() - began
    assert await scalar(target, "SELECT count(*) FROM flat") == rows
    size = float(await scalar(target, "SELECT pg_total_relation_size('flat')"))
    return {"seconds": seconds, "bytes": size / rows}


def line(name: str, rows: int, runs: list[dict[str, float]]) -> float:
    seconds = [run["seconds"] for run in runs]
    median = statistics.median(seconds)
    print(
        f"{name:<34}{median:8.2f} s  {rows / median:10,.0f} rows/s  "
        f"(min {min(seconds):.2f}, max {max(seconds):.2f})  {runs[0]['bytes']:6.1f} B a row"
    )
    return median


async def bench(args: argparse.Namespace) -> None:
    work = Path(args.work_dir or tempfile.mkdtemp(prefix="gputel-bench-", dir="/var/tmp"))
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)
    csv = simulated(work / f"simulated-{args.rows}.csv", args.rows)
    mib = csv.stat().st_size / 2**20
    psql = find_binaries(None, work / "data" / "postgres").bin_dir / "psql"
    print(f"{args.rows:,} rows, {mib:,.0f} MiB, {args.rounds} rounds, {os.cpu_count()} cores")
    ours, indexed, plain = [], [], []
    async with embedded_postgres(work / "data", None) as dsn:
        for _ in range(args.rounds):
            ours.append(await time_gputel(dsn, csv, args.rows, work))
            indexed.append(await time_copy(dsn, csv, args.rows, psql, index=True))
            plain.append(await time_copy(dsn, csv, args.rows, psql, index=False))
    mine = line("gputel ingest, exactly once", args.rows, ours)
    theirs = line("\\copy, flat table with index", args.rows, indexed)
    bare = line("\\copy, flat table, primary key", args.rows, plain)
    inside = statistics.median(run["inside"] for run in ours)
    print(f"gputel without interpreter start: {inside:.2f} s, {args.rows / inside:,.0f} rows/s")
    print(f"ratio to \\copy with index: {theirs / mine:.2f}x   without: {bare / mine:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work-dir", help="Keep files here. Default: a temporary directory.")
    asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    main()
