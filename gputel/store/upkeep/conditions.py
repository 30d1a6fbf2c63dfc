"""What people delete: the conditions of samples, and the series and streams that meet them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from gputel.errors import UsageError
from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import INTEGER, elements, micros
from gputel.store.pool import store_errors
from gputel.store.queries import load
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.selection import Bools, Selection, storable

SQL = load("delete")
_PIECE_IDS = 100_000
_READ_LATELY_S = 10.0
_OF_GPUS = (
    "(s.uuid = ANY (${}::text[]) OR (s.hostname, s.gpu_id) IN "
    "(SELECT host, index FROM unnest(${}::text[], ${}::text[]) AS place (host, index)))"
)


@dataclass(frozen=True)
class Deletion:
    """Conditions that all have to hold; one that is empty holds for every sample.

    ``selection`` is of labels, ``places`` are the host and index of GPUs: a series is of one of
    ``uuids`` or ``places``. Both ``start`` and ``end`` are included.
    """

    selection: Selection = field(default_factory=Selection)
    uuids: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    streams: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    @property
    def of_whole_streams(self) -> bool:
        """Whether nothing but streams is named, so that these streams go as well."""
        return bool(self.streams) and self == Deletion(streams=self.streams)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """The first and the last instant."""
        return self.start or EARLIEST, self.end or LATEST

    def includes(self, ts: Int64, length_us: int = 1) -> Bools:
        """Which of the spans that begin at these Unix microseconds lie in the time."""
        first, last = map(micros, self.span)
        return (ts >= first) & (ts + (length_us - 1) <= last)

    def touches(self, ts: Int64, length_us: int) -> Bools:
        """Which of these spans have a part in the time."""
        first, last = map(micros, self.span)
        return (ts + (length_us - 1) >= first) & (ts <= last)

    def where(self, first: int) -> tuple[str, list[list[str]]]:
        """A condition on ``series AS s`` and its arguments, from placeholder ``$first`` on."""
        where, arguments = self.selection.where(first)
        if self.uuids or self.places:
            number = first + len(arguments)
            where += f" AND {_OF_GPUS.format(number, number + 1, number + 2)}"
            places = [each for each in self.places if all(map(storable, each))]
            arguments += [
                [each for each in self.uuids if storable(each)],
                [host for host, _ in places],
                [index for _, index in places],
            ]
        return where, arguments


async def stream_numbers(
    connection: asyncpg.Connection, deletion: Deletion
) -> tuple[int, ...] | None:
    """The streams of a deletion as blocks have them; None for blocks of any stream.

    Raises UsageError for a stream that is unknown, that blocks do not tell, or, where the stream is
    to go as well, that a streamer reads.
    """
    if not deletion.streams:
        return None
    names = [name for name in deletion.streams if storable(name)]
    async with store_errors():
        rows = await connection.fetch(SQL["streams"], names, _READ_LATELY_S)
    known = {row["stream_id"]: row for row in rows}
    for name in deletion.streams:
        if name not in known:
            raise UsageError(
                f"--stream: there is no stream {name!r}; gputel db streams lists those there are"
            )
        _check(known[name], of_whole_streams=deletion.of_whole_streams)
    return tuple(row["number"] for row in rows)


def _check(row: asyncpg.Record, *, of_whole_streams: bool) -> None:
    name = row["stream_id"]
    if row["slots"]:
        raise UsageError(
            f"--stream: {name!r} is a stream of scrapes, whose samples cannot be told by stream: "
            "delete them by --host, --gpu, --metric, --start or --end"
        )
    if not row["recorded"]:
        raise UsageError(
            f"--stream: {name!r} began with an older gputel, which did not store the stream of its "
            "samples: delete them by --host, --gpu, --metric, --start or --end"
        )
    if of_whole_streams and row["is_read"]:
        raise UsageError(
            f"--stream: a streamer reads {name!r} now: stop it and try again. It counts as stopped "
            f"{_READ_LATELY_S:g} s after it last read, and when the leases of its chunks have "
            "ended (--chunk-lease-s)"
        )


async def series_pieces(
    connection: asyncpg.Connection, deletion: Deletion
) -> list[list[int] | None]:
    """The ids of the series that meet the conditions on labels, in pieces that fit one statement.

    ``[None]`` if there are no such conditions, which stands for all series.
    """
    if not (deletion.selection.conditions or deletion.uuids or deletion.places):
        return [None]
    where, conditions = deletion.where(1)
    raw = await connection.fetchval(SQL["matching"].format(where=where), *conditions)
    ids = elements([raw] if raw else [], INTEGER).tolist()
    return [ids[first : first + _PIECE_IDS] for first in range(0, len(ids), _PIECE_IDS)]
