"""What ``gputel db status`` and ``gputel db maintain`` print."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.table import Table

from gputel.cli import terminal
from gputel.cli.terminal import say, say_json
from gputel.store.status import DayStatus, StoreStatus
from gputel.store.upkeep.maintenance import Work
from gputel.times import rfc3339
from gputel.units import size, span

_LEAST_WIDTH = 160  # a line that a narrow terminal wraps is still whole
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
    """To standard output, as ``table`` or ``json``."""
    found = as_dict(status)
    if shape == "json":
        say_json(found, indent=2)
        return
    console = terminal.console(width=max(terminal.console().width, _LEAST_WIDTH))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("day", "samples", "blocks", "to merge", *_BYTES, "B/sample", "newest"):
        table.add_column(name, justify="left" if name in ("day", "newest") else "right")
    for day in found["partitions"]:
        table.add_row(day["day"] + (" expired" if day["expired"] else ""), *_cells(day))
    if found["partitions"]:
        table.add_section()
    table.add_row("all", *_cells(found))
    console.print(table)
    kind = "a TimescaleDB hypertable" if found["timescaledb"] else "native partitions"
    console.print(f"\n{found['series']:,} series in {kind}, from {found['oldest'] or 'no sample'}")
    wait = f"{found['stale_hours']:,} hour{'s wait' if found['stale_hours'] != 1 else ' waits'}"
    console.print(f"rollups take {size(found['rollup_bytes'])}; {wait} for theirs")
    if found["lag_s"] is not None:
        console.print(f"the newest sample is {span(found['lag_s'])} old")
    if found["estimated"]:
        console.print("~ estimated from a part of the partition, which is large")


def print_work(work: Work) -> None:
    """What maintenance did, and what it had to leave."""
    merged = work.merged
    lines = [f"dropped {day}" for day in work.dropped_days]
    if merged.blocks_before:
        days = len(work.merged_days)
        lines.append(
            f"merged {merged.blocks_before:,} blocks of {days} {'day' if days == 1 else 'days'} "
            f"into {merged.blocks_after:,} ({merged.samples:,} samples)"
        )
    if work.rolled_up_hours:
        hours = "1 hour" if work.rolled_up_hours == 1 else f"{work.rolled_up_hours:,} hours"
        lines.append(f"made the rollups of {hours}")
    lines += [f"left for later, readers were in the way: {what}" for what in work.postponed]
    say("\n".join(lines or ["nothing is left to do"]))


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


def _cells(found: dict[str, Any]) -> list[str]:
    about = "~" if found["estimated"] else ""
    merge, each = found["to_merge"], found["bytes_per_sample"]
    return [
        f"{about}{found['samples']:,}",
        f"{about}{found['blocks']:,}",
        "?" if merge is None else f"{merge:,}",
        *(size(found[f"{name}_bytes"]) for name in _BYTES),
        "" if each is None else f"{about}{each:.1f}",
        _seconds(found["newest"]),
    ]


def _seconds(moment: str | None) -> str:
    return moment[: len("2025-07-18T20:42:34")] + "Z" if moment else ""


def _rfc3339(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
