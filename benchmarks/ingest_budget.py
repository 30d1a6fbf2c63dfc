"""Where the time of a row goes: one `gputel ingest` in this process, each of its steps measured.

    .venv/bin/python benchmarks/ingest_budget.py --rows 1000000

CPU time is that of the thread that does a step, so steps that overlap add up; for steps that wait,
and for Postgres, it is time on the clock. In microseconds per thousand rows, on an embedded
Postgres made for the run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gputel.cli.ingest import job as ingest_job
from gputel.cli.ingest.command import DEFAULTS
from gputel.cli.ingest.inputs import Input
from gputel.collector import batch
from gputel.config.resolve import resolve
from gputel.config.settings import Settings
from gputel.model import record_batch
from gputel.mq.client import QueueClient
from gputel.runtime import run_loop, running
from gputel.sources.dcgm.lines import LineReader
from gputel.sources.dcgm.parse import ColumnParser
from gputel.store.write import writer
from gputel.store.write.writer import Writer

CPU = {
    "read the file, find line ends": (LineReader, "_read_on"),
    "parse and check": (ColumnParser, "parse"),
    "encode": (record_batch, "encode"),
    "decode and check": (batch, "decode_some"),
    "fingerprint the series": (writer, "_fingerprint_all"),
    "resolve series, make blocks": (writer, "_prepare"),
}
CLOCK = {
    "publish": (QueueClient, "publish"),
    "look for samples in the store": (writer, "find_stored"),
    "COPY, index included": (Writer, "_write"),
    "whole transaction, prepared in it": (Writer, "land"),
}


def measure(owner: Any, name: str, spent: Counter[str], label: str, *, clock: bool) -> None:
    function = getattr(owner, name)

    async def waits(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return await function(*args, **kwargs)
        finally:
            spent[label] += time.perf_counter() - began

    def works(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[label] += time.thread_time() - began

    setattr(owner, name, waits if clock else works)


async def ingest(path: Path, settings: Settings) -> tuple[float, float]:
    async with running(["store", "broker", "collector"], settings) as (process, services):
        began, cpu = time.perf_counter(), time.process_time()
        await ingest_job.ingest_input(process, services, Input(path), Path("rejects"))
        return time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    spent: Counter[str] = Counter()
    for steps, clock in ((CPU, False), (CLOCK, True)):
        for label, (owner, name) in steps.items():
            measure(owner, name, spent, label, clock=clock)
    with tempfile.TemporaryDirectory(prefix="gputel-bench-", dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "simulated.csv"
        with path.open("wb") as out:
            command = [sys.executable, "-m", "gputel", "simulate", "--rows", str(rows)]
            subprocess.run(command, stdout=out, check=True)
        given = {"data_dir": str(Path(directory) / "data"), "loop": False, "broker_port": 0}
        settings = resolve(given, defaults=DEFAULTS).settings
        seconds, cpu = run_loop(ingest(path, settings))
    for title, steps in (("CPU", CPU), ("clock", CLOCK)):
        for label in steps:
            print(f"{title:<8}{label:<36}{spent[label] / rows * 1e9:9,.0f} µs per 1,000 rows")
    rest = cpu - sum(spent[label] for label in CPU)
    print(
        f"CPU     the rest: event loop, queue, asyncpg{rest / rows * 1e9:11,.0f} µs per 1,000 rows"
    )
    print(f"{seconds:.2f} s on the clock, {cpu:.2f} s of CPU in gputel, for {rows:,} rows")


if __name__ == "__main__":
    main()
