"""CSV files for tests: the real capture where it is at hand, and numbered rows."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from gputel.model.columns import CSV_NAMES

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "dcgm_metrics_20250718_134233.csv"
START = datetime(2025, 7, 18, 20, 0, tzinfo=UTC)
SERIES = 40


def numbered_row(index: int) -> list[str]:
    """A good row whose value is its index; its time is that of no other row of its series."""
    gpu = index % SERIES
    when = START + timedelta(milliseconds=10 * index)
    return [
        *(
            when.isoformat(),
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
            str(gpu % 8),
            f"nvidia{gpu % 8}",
        ),
        *(f"GPU-{gpu:04d}", "NVIDIA H100 80GB HBM3", f"host-{gpu // 8}", "", "", ""),
        *(str(index), f'gpu="{gpu % 8}"'),
    ]


def write_numbered(path: Path, rows: int) -> Path:
    """A file of good rows whose values are 0, 1, 2 ..."""
    return write_rows(path, map(numbered_row, range(rows)))


def write_rows(path: Path, rows: Iterable[list[str]]) -> Path:
    """A DCGM CSV of these rows."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(CSV_NAMES.values())
        writer.writerows(rows)
    return path


async def numbers(pool: asyncpg.Pool | asyncpg.Connection) -> Counter[int]:
    """How often each value has landed."""
    rows = await pool.fetch(
        "SELECT value::bigint AS n, count(*) AS times FROM telemetry GROUP BY 1"
    )
    return Counter({row["n"]: row["times"] for row in rows})
