"""Bytes a sample on disk, index included: bulk ingest and a live scrape, before and after merging.

    .venv/bin/python benchmarks/storage.py --rows 1000000 --hours 24

The peer is the flat table of what one would do by hand: 13 text columns, a primary key, and the
(uuid, timestamp desc) index. The scrape reads the 2,470 series of 247 GPUs every 10 s, a commit
each, once on the beat and once with every host a few milliseconds off it; maintenance passes go on
beside it, as in a collector, and once without them; each hour ends with its rollups. Values are
the simulator's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import numpy as np
import pyarrow as pa

from gputel.config.settings import PostgresSettings
from gputel.model.columns import LABEL_TYPE, LABELS, SCHEMA
from gputel.sources.simulated.fleet import METRICS
from gputel.sources.simulated.workload import Workload
from gputel.store.migrations import migrate
from gputel.store.pool import close_pool, open_pool
from gputel.store.postgres.binaries import find_binaries
from gputel.store.postgres.shared import embedded_postgres
from gputel.store.read.reader import Reader
from gputel.store.read.selection import of_gpu
from gputel.store.read.telemetry import TelemetryQuery
from gputel.store.rollup.build import roll_up
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.write.writer import Arrival, Writer

SCENARIOS = ("bulk", "unmerged", "beat", "jitter")
GPUS, HOSTS, STEP_US = 247, 31, 10_000_000
START_US = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000
SIZES = """
SELECT sum(pg_table_size(part) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)),
       sum(coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0)),
       sum(pg_indexes_size(part))
FROM {parts} JOIN pg_class AS c ON c.oid = part
"""
FLAT = """
CREATE TABLE flat (id bigserial PRIMARY KEY, timestamp text, metric_name text, gpu_id text,
    device text, uuid text, "modelName" text, "Hostname" text, container text, pod text,
    namespace text, value text, labels_raw text);
CREATE INDEX ON flat (uuid, timestamp DESC)
"""
COLUMNS = (
    'timestamp,metric_name,gpu_id,device,uuid,"modelName","Hostname",container,pod,namespace,'
    "value,labels_raw"
)


async def report(
    pool: asyncpg.Pool, name: str, samples: int, parts: str = "sample_block_part"
) -> None:
    sizes = await pool.fetchrow(SIZES.format(parts=parts))
    each = [float(size) / samples for size in sizes]
    cells = "".join(f"{size:10.2f}" for size in (sum(each), *each))
    print(f"{name:<52}{cells}", flush=True)


async def landed(pool: asyncpg.Pool, samples: int) -> None:
    found = await pool.fetchrow("SELECT count(*), sum(value) FROM telemetry")
    assert found[0] == samples, (found, samples)


async def merge_all(pool: asyncpg.Pool) -> str:
    before = await pool.fetchrow("SELECT sum(value) FROM telemetry")
    began = time.perf_counter()
    work = await Maintenance(pool).run(everything=True)
    seconds = time.perf_counter() - began
    after = await pool.fetchrow("SELECT sum(value) FROM telemetry")
    assert abs(before[0] - after[0]) <= 1e-9 * abs(before[0]), "the view changed"
    return f"{work.merged.samples / seconds:,.0f} samples/s"


async def bulk(pool: asyncpg.Pool, dsn: str, csv: Path, rows: int, psql: Path) -> None:
    await pool.execute(FLAT)
    copy = f"\\copy flat ({COLUMNS}) FROM '{csv}' WITH (FORMAT csv, HEADER)"
    await asyncio.to_thread(subprocess.run, [psql, "-q", "-d", dsn, "-c", copy], check=True)
    await report(pool, "flat table", rows, "(SELECT 'flat'::regclass AS part) AS flat")
    command = [sys.executable, "-m", "gputel", "ingest", csv, "--format", "json"]
    command += ["--postgres-dsn", dsn, "--rejects", csv.parent / "rejects.csv"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    await landed(pool, rows)
    await report(pool, "bulk ingest", rows)
    speed = await merge_all(pool)
    await landed(pool, rows)
    await report(pool, f"bulk ingest, merged ({speed})", rows)


class Scrape:
    """Record batches of one scrape each."""

    def __init__(self, jitter_us: int) -> None:
        self._workload = Workload(HOSTS, 8, 7)
        self._random = np.random.default_rng(1)
        self._jitter_us = jitter_us
        self._host = np.tile(np.arange(GPUS) // 8, len(METRICS))
        names = {
            "metric_name": [metric for metric in METRICS for _ in range(GPUS)],
            "uuid": [f"GPU-{gpu:08x}" for _ in METRICS for gpu in range(GPUS)],
            "hostname": [f"host-{gpu // 8:03d}" for _ in METRICS for gpu in range(GPUS)],
        }
        empty = [""] * len(self._host)
        self._labels = [
            pa.array(names.get(name, empty), pa.string()).cast(LABEL_TYPE) for name in LABELS
        ]

    def batch(self, number: int) -> pa.RecordBatch:
        values = [column[:GPUS] for column in self._workload.step(number)]
        values[METRICS.index("DCGM_FI_DEV_POWER_USAGE")] = values[2] / 1000
        off = self._random.normal(0, 1, HOSTS) * self._jitter_us
        ts = START_US + number * STEP_US + self._jitter_us * 10 + off.astype(np.int64)[self._host]
        times = pa.array(ts, pa.int64()).cast(SCHEMA.field(0).type)
        value = pa.array(np.concatenate(values).astype(float))
        return pa.RecordBatch.from_arrays([times, *self._labels, value], schema=SCHEMA)


async def live(
    pool: asyncpg.Pool, name: str, scrapes: int, jitter_us: int, *, passes: bool
) -> None:
    scrape, writer, maintenance = Scrape(jitter_us), Writer(pool), Maintenance(pool)
    seconds = []
    for number in range(scrapes):
        await writer.land([Arrival(str(number), None, scrape.batch(number))])
        if passes and number % 360 == 359:
            seconds.append(await roll_up_hour(pool))
        if passes and number % 30 == 29:  # every five minutes
            await asyncio.sleep(0.05)
            await maintenance.run()
    samples = scrapes * GPUS * len(METRICS)
    await report(pool, name, samples)
    if passes:
        await report_rollups(pool, samples, seconds)
        speed = await merge_all(pool)
        await landed(pool, samples)
        await report(pool, f"{name}, merged ({speed})", samples)
        await report_queries(pool)


async def roll_up_hour(pool: asyncpg.Pool) -> float:
    async with pool.acquire() as connection:
        began = time.perf_counter()
        assert await roll_up(connection, everything=True) == 1
        return time.perf_counter() - began


async def report_rollups(pool: asyncpg.Pool, samples: int, seconds: list[float]) -> None:
    name = f"its rollups ({statistics.median(seconds):.1f} s for an hour of samples)"
    await report(pool, name, samples, "rollup_part")
    for step_s, rows, count, size in await pool.fetch(
        "SELECT step_s, count(*), sum(cardinality(count)), sum(pg_column_size(rollup.*)) "
        "FROM rollup GROUP BY 1 ORDER BY 1"
    ):
        print(f"  of {step_s} s: {rows:,} rows, {count:,} buckets, {size / count:.1f} B a bucket")


async def report_queries(pool: asyncpg.Pool) -> None:
    """All metrics of one GPU over the whole time, by rollups and by samples."""
    reader, asked = Reader(pool), TelemetryQuery(of_gpu("GPU-00000003"))
    for step_s in (60, 300, 3600):
        found = {}
        for use in (True, False):
            times = []
            for _ in range(11):
                began, records = time.perf_counter(), 0
                steps = StepQuery(step_s * 1_000_000, use_rollups=use)
                async for piece in telemetry_by_step(reader, asked, steps):
                    records += len(piece)
                times.append(time.perf_counter() - began)
            found[use] = records, statistics.median(times) * 1000
        assert found[True][0] == found[False][0]
        print(
            f"  one GPU by {step_s} s, {found[True][0]:,} records: {found[True][1]:.0f} ms by "
            f"rollups, {found[False][1]:.0f} ms by samples"
        )


async def bench(args: argparse.Namespace) -> None:
    work = Path(args.work_dir or tempfile.mkdtemp(prefix="gputel-bench-", dir="/var/tmp"))
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)
    csv = work / f"simulated-{args.rows}.csv"
    if not csv.exists() and "bulk" in (args.only or SCENARIOS):
        with csv.open("wb") as out:
            command = [sys.executable, "-m", "gputel", "simulate", "--rows", str(args.rows)]
            subprocess.run(command, stdout=out, check=True)
    psql = find_binaries(args.bin_dir, work / "data" / "postgres").bin_dir / "psql"
    scrapes = round(args.hours * 360)
    async with embedded_postgres(work / "data", args.bin_dir) as server:
        admin = await asyncpg.connect(server)
        print(await admin.fetchval("SHOW server_version"), end=", ")
        print("TOAST by", await admin.fetchval("SHOW default_toast_compression"))
        print(f"{'bytes a sample':<52}{'all':>10}{'heap':>10}{'toast':>10}{'index':>10}")
        for name in args.only or SCENARIOS:
            await admin.execute(f"DROP DATABASE IF EXISTS bench_{name} WITH (FORCE)")
            await admin.execute(f"CREATE DATABASE bench_{name}")
            dsn = server.replace("/gputel?", f"/bench_{name}?")
            await migrate(dsn)
            pool = await open_pool(dsn, PostgresSettings())
            if name == "bulk":
                await bulk(pool, dsn, csv, args.rows, psql)
            elif name == "unmerged":
                await live(pool, "live scrape, never merged", min(scrapes, 360), 0, passes=False)
            elif name == "beat":
                await live(pool, "live scrape on the beat", scrapes, 0, passes=True)
            else:
                await live(pool, "live scrape, 3 ms off the beat", scrapes, 3000, passes=True)
            await close_pool(pool)
            await admin.execute(f"DROP DATABASE bench_{name} WITH (FORCE)")
        await admin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="Run this one.")
    parser.add_argument("--bin-dir", type=Path, help="Postgres to use. Default: the embedded one.")
    parser.add_argument("--work-dir", help="Keep files here. Default: a temporary directory.")
    asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    main()
