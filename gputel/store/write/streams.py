"""The work index of streams: which streamer reads which chunk, and which chunks have landed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from gputel.errors import ConfigError, StreamConflict
from gputel.model.bounds import name_flaw
from gputel.store.pool import store_errors
from gputel.store.queries import load


@dataclass(frozen=True)
class ChunkLease:
    """A chunk that this owner may publish: rows first_row to first_row + row_count."""

    first_row: int
    row_count: int
    taken_over: bool


@dataclass(frozen=True)
class Progress:
    """How far a stream is. Rows below ``next_row`` have landed, except the leased ones."""

    next_row: int
    row_count: int | None
    leases: int
    leased_rows: int
    own_leases: int
    next_expiry_s: float | None
    rejected_rows: int
    skipped_lines: int
    repeated_rows: int
    deleted_samples: int
    """Samples that it brought and ``gputel db delete`` took away: they count as landed rows."""

    @property
    def landed_rows(self) -> int:
        """Lines of landed chunks, with those that were rejected, skipped, or there already."""
        return self.next_row - self.leased_rows

    @property
    def complete(self) -> bool:
        """Every row of a one-shot stream has landed."""
        return self.row_count is not None and self.next_row >= self.row_count and not self.leases


def deletion_note(samples: int) -> str:
    """What people have to know who read the source of a stream again with so many deleted samples.

    The stream does not land them again, as a message that comes again must not.
    """
    return (
        f"{samples:,} of its samples have been deleted since by gputel db delete, and this stream "
        "does not land them again: to do so, run gputel ingest --stream-id NEW-NAME FILE"
    )


@dataclass(frozen=True)
class StreamSummary:
    """A stream of a file. ``recorded``: blocks tell all samples that came by it."""

    stream_id: str
    source: str
    looping: bool
    next_row: int
    row_count: int | None
    created_at: datetime
    reserved_at: datetime | None
    recorded: bool
    deleted_samples: int
    leased_rows: int


async def all_streams(pool: asyncpg.Pool) -> list[StreamSummary]:
    """Every stream of a file, the last one read first. Raises StoreUnavailable or StoreError."""
    async with store_errors():
        rows = await pool.fetch(load("streams")["all"])
    return [StreamSummary(**row) for row in rows]


class Streams:
    """The leases of one stream, as one owner sees them. Raises StoreUnavailable or StoreError."""

    def __init__(self, pool: asyncpg.Pool, stream_id: str, owner: str) -> None:
        self._pool = pool
        self._sql = load("streams")
        self.stream_id = stream_id
        self.owner = owner

    async def register(
        self, fingerprint: str, source: str, *, looping: bool, first_row: int = 0
    ) -> Progress:
        """Make the stream known, or go on with it. A new one begins at ``first_row``.

        Raises StreamConflict for another source, ConfigError for a name that no stream can have.
        """
        if flaw := name_flaw(self.stream_id):
            shown = ascii(self.stream_id[:40])
            raise ConfigError(f"stream_id: {shown} {flaw}: choose another name with --stream-id")
        source = _storable(source)
        async with store_errors():
            await self._pool.execute(
                self._sql["register"], self.stream_id, fingerprint, source, looping, first_row
            )
            row = await self._pool.fetchrow(self._sql["describe"], self.stream_id)
        if row["fingerprint"] != fingerprint:
            raise StreamConflict(
                f"stream {self.stream_id!r} was fed from {row['source']!r}, and {source!r} has "
                f"other content: choose another name with --stream-id"
            )
        if row["looping"] != looping:
            kinds = ("a looping stream", "a one-shot ingest")
            raise StreamConflict(
                f"stream {self.stream_id!r} is {kinds[not row['looping']]} of {row['source']!r} "
                f"and cannot go on as {kinds[not looping]}: choose another name with --stream-id"
            )
        return await self.progress()

    async def ended_of(self, source: str) -> dict[str, int]:
        """How many rows were ingested from a source, by the fingerprint of what it was then."""
        async with store_errors():
            return dict(await self._pool.fetch(self._sql["ended_streams"], _storable(source)))

    async def reserve(self, rows: int, lease_s: float) -> ChunkLease | None:
        """Take over an expired chunk, or reserve the next ``rows`` rows; None: nothing to take."""
        async with store_errors():
            row = await self._pool.fetchrow(
                self._sql["reserve"], self.stream_id, self.owner, rows, lease_s
            )
        return ChunkLease(row["first_row"], row["row_count"], row["taken_over"]) if row else None

    async def finish(self, row_count: int) -> None:
        """Note that the source ends at ``row_count``: leases beyond it are dropped or trimmed."""
        async with store_errors(), self._pool.acquire() as connection, connection.transaction():
            for name in ("finish_progress", "finish_leases", "finish_last_lease"):
                await connection.execute(self._sql[name], self.stream_id, row_count)

    async def release(self, first_rows: Sequence[int]) -> None:
        """Give back these chunks of this owner, so that others can take them at once."""
        async with store_errors():
            await self._pool.execute(
                self._sql["release"], self.stream_id, self.owner, list(first_rows)
            )

    async def unsettled(self, first_rows: Sequence[int]) -> set[int]:
        """Which of these chunks have not landed yet."""
        async with store_errors():
            rows = await self._pool.fetch(self._sql["unsettled"], self.stream_id, list(first_rows))
        return {row["first_row"] for row in rows}

    async def progress(self) -> Progress:
        """How far the stream is now. Raises StreamConflict if it has been deleted."""
        async with store_errors():
            row = await self._pool.fetchrow(self._sql["progress"], self.stream_id, self.owner)
        if row is None:
            raise StreamConflict(
                f"stream {self.stream_id!r} has been deleted by gputel db delete: "
                "start again to read its source from the beginning"
            )
        return Progress(**dict(row))


def _storable(text: str) -> str:
    """The name of a source, for people; what Postgres cannot store is escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
