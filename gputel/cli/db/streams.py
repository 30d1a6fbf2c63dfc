"""``gputel db streams``: the streams of files, by the names that ``db delete --stream`` takes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gputel.cli.options import settings_options
from gputel.cli.terminal import console, echo, echo_json
from gputel.config.resolve import resolve
from gputel.config.settings import Settings
from gputel.store.open import open_store
from gputel.times import rfc3339

if TYPE_CHECKING:
    from gputel.store.write.streams import StreamSummary


@click.command("streams")
@click.option("--format", "shape", type=click.Choice(("table", "json")), default="table")
@settings_options("data_dir", "postgres")
def streams_command(shape: str, **flags: str | None) -> None:
    """List the streams of files and of the sample, the last one read first."""
    streams = [_as_dict(each) for each in asyncio.run(_streams(resolve(flags).settings))]
    if shape == "json":
        echo_json(streams, indent=2)
    elif not streams:
        echo("no file has been read")
    else:
        _show(streams)


async def _streams(settings: Settings) -> list[StreamSummary]:
    from gputel.store.write.streams import all_streams

    async with open_store(settings, make=False) as pool:
        return await all_streams(pool)


def _as_dict(stream: StreamSummary) -> dict[str, Any]:
    read = stream.reserved_at or stream.created_at
    return {
        "stream": stream.stream_id,
        "source": stream.source,
        "loop": stream.looping,
        "rows": stream.next_row - stream.leased_rows,
        "row_count": stream.row_count,
        "last_read": rfc3339(read),
        "is_recorded": stream.recorded,
        "deleted_samples": stream.deleted_samples,
    }


def _show(streams: Sequence[Mapping[str, Any]]) -> None:
    """Print a table, whose lines only the terminal wraps: a path is copied, and grep finds it."""
    from rich.table import Table

    rows = [
        (
            each["stream"],
            f"{each['rows']:,}",
            each["last_read"][:19] + "Z",
            each["source"] + (" (in a loop)" if each["loop"] else ""),
        )
        for each in streams
    ]
    titles = ("stream", "rows", "last read", "source")
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title == "rows" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    widths = [max(map(len, texts)) for texts in zip(titles, *rows, strict=True)]
    console(width=sum(widths) + 2 * len(widths)).print(table, crop=False)
