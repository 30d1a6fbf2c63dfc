"""The files that get one name: the file that has it, and the next one after each rotation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from gputel.backoff import pause
from gputel.sources.csv.growing import GrowingCsv, open_growing
from gputel.sources.csv.open import CsvOptions
from gputel.store.write.streams import Streams

_LOOK_S = 0.2


async def growing_files(
    path: Path,
    options: CsvOptions,
    stream_id: str | None,
    stopping: asyncio.Event,
    waits: Callable[[], None],
) -> AsyncIterator[GrowingCsv]:
    """Each file that gets the name, once, until ``stopping`` is set.

    ``stream_id`` is the stream of all of them; None: each has its own. Take the next one when the
    one before it is finished. ``waits`` is called when there is no file with a row yet. Raises
    SourceError for a file that can never be followed.
    """
    ended: set[str] = set()
    waiting = False
    while not stopping.is_set():
        csv = await asyncio.to_thread(open_growing, path, options)
        if csv is None and not waiting:
            waiting = True
            waits()
        if csv is None or (stream_id or csv.stream_id) in ended:
            await pause(_LOOK_S, stopping)
            continue
        yield csv
        waiting = False
        ended.add(stream_id or csv.stream_id)


async def first_row_of(streams: Streams, source: str, csv: GrowingCsv) -> int:
    """Where the stream of a growing file begins: where an ingest of its first rows ended.

    ``source`` is the name of the file in the store. Reads the file up to there.
    """
    return await asyncio.to_thread(csv.rows_of, await streams.ended_of(source))
