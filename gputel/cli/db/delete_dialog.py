"""What ``gputel db delete`` shows, asks, and does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from gputel import times
from gputel.cli.db.status import say_waiting
from gputel.cli.terminal import console, echo, echo_json
from gputel.config.settings import Settings
from gputel.errors import UsageError
from gputel.model.names import METRIC
from gputel.store.open import open_store
from gputel.store.read.selection import Comparison, LabelCondition, Selection, matching
from gputel.store.upkeep.conditions import Deletion, stream_numbers
from gputel.store.upkeep.delete import Deleted, delete
from gputel.store.upkeep.maintenance import sole_in_turn
from gputel.store.upkeep.survey import Survey, survey
from gputel.units import size

NOTHING = (
    "no sample meets these conditions, so nothing is deleted: `gputel query hosts`, `gpus` and "
    "`metrics` list the names there are"
)
_CONDITIONS = "--stream, --host, --gpu, --metric, --start or --end"


def deletion_of(
    streams: tuple[str, ...],
    hosts: tuple[str, ...],
    gpus: tuple[str, ...],
    metrics: tuple[str, ...],
    start: str | None,
    end: str | None,
) -> Deletion:
    """The conditions of the options; raises UsageError if there are none or no time meets them."""
    conditions = []
    if hosts:
        conditions.append(LabelCondition("hostname", Comparison.IS, hosts))
    if metrics:
        conditions.append(matching(METRIC, metrics))
    deletion = Deletion(
        Selection(tuple(conditions)),
        gpus,
        tuple(
            (host, index) for host, slash, index in (each.rpartition("/") for each in gpus) if slash
        ),
        streams,
        times.parse(start, round_up=True) if start else None,
        times.parse(end) if end else None,
    )
    if deletion == Deletion():
        raise UsageError(f"say what to delete, by at least one of {_CONDITIONS}")
    if "" in (*streams, *hosts, *gpus, *metrics):
        raise UsageError("--stream, --host, --gpu and --metric must not be empty")
    first, last = deletion.span
    if first > last:
        raise UsageError(f"--start {start} is later than --end {end}")
    return deletion


def run(settings: Settings, deletion: Deletion, shape: str, *, dry_run: bool, yes: bool) -> None:
    """Show what there is, ask, and delete; the database is not kept open while a person thinks."""
    found = asyncio.run(_survey(settings, deletion))
    if shape == "table":
        _show(found, deletion)
    deleted = None
    if not dry_run and (deletion.of_whole_streams or not found.is_empty):
        if not yes:
            click.confirm("Delete this?", abort=True, err=True)
        deleted = asyncio.run(_delete(settings, deletion, found))
    if shape == "json":
        echo_json(_as_dict(found, deletion, deleted), indent=2)
    elif deleted is not None:
        echo(_done(deleted, deletion))


async def _survey(settings: Settings, deletion: Deletion) -> Survey:
    async with open_store(settings, make=False) as pool, pool.acquire() as connection:
        return await survey(connection, deletion, await stream_numbers(connection, deletion))


async def _delete(settings: Settings, deletion: Deletion, found: Survey) -> Deleted:
    async with (
        open_store(settings, make=False) as pool,
        sole_in_turn(pool, say_waiting) as connection,
    ):
        with _progress(found.samples + found.rollup_minutes) as show:
            return await delete(connection, deletion, show)


def _show(found: Survey, deletion: Deletion) -> None:
    from rich.table import Table

    if found.is_empty:
        echo(NOTHING)
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, text in _cells(found):
            table.add_row(name, text)
        console().print(table)
    for line in _notes(found, deletion):
        echo(line)


def _cells(found: Survey) -> Iterator[tuple[str, str]]:
    for name in ("samples", "series", "gpus", "hosts", "blocks"):
        yield {"gpus": "GPUs"}.get(name, name), f"{getattr(found, name):,}"
    yield "size", f"about {size(found.bytes)}"
    if found.first and found.last:
        yield "first", times.rfc3339(found.first)
        yield "last", times.rfc3339(found.last)
    if found.rollup_minutes:
        yield "minutes of rollups whose samples have expired", f"{found.rollup_minutes:,}"


def _notes(found: Survey, deletion: Deletion) -> Iterator[str]:
    if found.rollup_minutes_cut:
        yield (
            f"{found.rollup_minutes_cut:,} minutes of rollups that --start or --end cuts stay: "
            "their samples have expired"
        )
    if found.rollup_days_left:
        yield (
            f"the rollups of {found.rollup_days_left:,} days whose samples have expired stay: "
            "rollups do not tell streams"
        )
    if found.repeating_streams and found.samples:
        yield (
            f"other streams that have brought samples again since then, perhaps some of these: "
            f"{found.repeating_streams:,}. Such a sample is stored once, and goes with the stream "
            "that brought it first"
        )
    if deletion.of_whole_streams:
        yield (
            "the position of each stream goes as well: its source can be ingested again, and a "
            "streamer that starts with it reads it from the beginning"
        )
    elif not found.is_empty:
        yield (
            "what has been read stays read: to ingest the same file again does not bring these "
            "samples back, but gputel ingest --stream-id NEW-NAME FILE does"
        )


def _done(deleted: Deleted, deletion: Deletion) -> str:
    parts = [f"deleted {deleted.samples:,} samples"]
    if deleted.rollup_minutes:
        parts.append(f"{deleted.rollup_minutes:,} minutes of rollups")
    if deleted.series:
        parts.append(f"{deleted.series:,} series that have no samples any more")
    if deletion.of_whole_streams:
        count = len(set(deletion.streams))
        parts.append("the stream" if count == 1 else f"{count} streams")
    return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _as_dict(found: Survey, deletion: Deletion, deleted: Deleted | None) -> dict[str, Any]:
    shown = {
        name: times.rfc3339(each) if isinstance(each, datetime) else each
        for name, each in asdict(found).items()
    }
    return {
        "found": shown,
        "notes": list(_notes(found, deletion)),
        "deleted": asdict(deleted) if deleted else None,
    }


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Deleted], None]]:
    """A function that takes what has been deleted; shows a line on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda deleted: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = ("deleting", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task("", total=total)
        yield lambda deleted: bars.update(bar, completed=deleted.samples + deleted.rollup_minutes)
