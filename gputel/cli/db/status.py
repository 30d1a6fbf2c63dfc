"""What ``gputel db status`` and ``gputel db maintain`` print."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.table import Table

from gputel.cli import terminal
from gputel.cli.terminal import echo, echo_json
from gputel.store.status import DayStatus, StoreStatus
from gputel.store.upkeep.maintenance import Work
from gputel.times import rfc3339
from gputel.units import size, span

_LEAST_WIDTH = 160  # a narrow terminal wraps lines, and shortens none
_BYTES = ("heap", "toast", "index")


def as_dict(status: StoreStatus) -> dict[str, Any]:
    """The status for a program: bytes, seconds, ISO 8601."""
    return {
        "timescaledb": status.timescaledb,
        "series": status.series,
        **_sums(status.days),
        "stale_hours": status.stale_hours,
        "rollup_bytes": status.rollup_bytes,
        "oldest": _rfc3339(status.oldest),
        "newest": _rfc3339(status.newest),
        "lag_s": (status.now - status.newest).total_seconds() if status.newest else None,
        "partitions": [
            {
                "day": str(day.day),
                **_sums([day]),
                "oldest": _rfc3339(day.oldest),
                "newest": _rfc3339(day.newest),
                "expired": day.expired,
            }
            for day in status.days
        ],
    }


def print_status(status: StoreStatus, shape: str) -> None:
    """Print the status as ``table`` or ``json``."""
    report = as_dict(status)
    if shape == "json":
        echo_json(report, indent=2)
        return
    console = terminal.console(width=max(terminal.console().width, _LEAST_WIDTH))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("day", "samples", "blocks", "to merge", *_BYTES, "B/sample", "newest"):
        table.add_column(name, justify="left" if name in ("day", "newest") else "right")
    for day in report["partitions"]:
        table.add_row(day["day"] + (" expired" if day["expired"] else ""), *_cells(day))
    if report["partitions"]:
        table.add_section()
    table.add_row("all", *_cells(report))
    console.print(table)
    kind = "a TimescaleDB hypertable" if report["timescaledb"] else "native partitions"
    console.print(
        f"\n{report['series']:,} series in {kind}, from {report['oldest'] or 'no sample'}"
    )
    hours = report["stale_hours"]
    wait = (
        "1 hour waits for its rollups" if hours == 1 else f"{hours:,} hours wait for their rollups"
    )
    console.print(f"rollups take {size(report['rollup_bytes'])}; {wait}")
    if report["lag_s"] is not None:
        console.print(f"the newest sample is {span(report['lag_s'])} old")
    if report["estimated"]:
        console.print("~ estimated from a part of the partition, because it is large")


def say_waiting() -> None:
    """Say that the command waits for another process."""
    echo("waiting: another gputel maintains this database", err=True)


def print_work(work: Work) -> None:
    """Print what maintenance did, and what it postponed."""
    merged = work.merged
    lines = [f"dropped {day}" for day in work.dropped_days]
    if merged.blocks_before:
        days = len(work.merged_days)
        lines.append(
            f"merged {merged.blocks_before:,} blocks of {days} {'day' if days == 1 else 'days'} "
            f"into {merged.blocks_after:,} ({merged.samples:,} samples)"
        )
    if work.removed_series:
        lines.append(f"removed {work.removed_series:,} series without samples")
    if work.rolled_up_hours:
        hours = "1 hour" if work.rolled_up_hours == 1 else f"{work.rolled_up_hours:,} hours"
        lines.append(f"made the rollups of {hours}")
    lines += [f"postponed, because readers were in the way: {what}" for what in work.postponed]
    echo("\n".join(lines or ["nothing to do"]))


def _sums(days: Iterable[DayStatus]) -> dict[str, Any]:
    days = list(days)
    samples, total = sum(day.samples for day in days), sum(day.total for day in days)
    known = [day.to_merge for day in days if day.to_merge is not None]
    return {
        "samples": samples,
        "blocks": sum(day.blocks for day in days),
        "to_merge": sum(known) if len(known) == len(days) else None,
        **{f"{name}_bytes": sum(getattr(day, name) for day in days) for name in _BYTES},
        "bytes_per_sample": round(total / samples, 2) if samples else None,
        "estimated": any(day.estimated for day in days),
    }


def _cells(report: dict[str, Any]) -> list[str]:
    about = "~" if report["estimated"] else ""
    merge, each = report["to_merge"], report["bytes_per_sample"]
    return [
        f"{about}{report['samples']:,}",
        f"{about}{report['blocks']:,}",
        "?" if merge is None else f"{merge:,}",
        *(size(report[f"{name}_bytes"]) for name in _BYTES),
        "" if each is None else f"{about}{each:.1f}",
        _seconds(report["newest"]),
    ]


def _seconds(moment: str | None) -> str:
    return moment[: len("2025-07-18T20:42:34")] + "Z" if moment else ""


def _rfc3339(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
