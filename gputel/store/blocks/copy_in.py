"""COPY of rows that are in memory, which ends when its session does."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from gputel.store.blocks.copy_format import COPY_HEADER, COPY_TRAILER


async def copy_in(
    connection: asyncpg.Connection,
    table: str,
    columns: Sequence[str],
    payload: Sequence[memoryview],
) -> None:
    """Add the rows of ``copy_payload`` or ``copy_rows`` to a table, a statement a piece.

    A piece is written as a whole: asyncpg would wait between parts of it until the socket takes
    more, and it waits for ever when the session has ended meanwhile.
    """
    for rows in payload:
        source = memoryview(b"".join((COPY_HEADER, rows, COPY_TRAILER)))  # bytes would be a path
        await connection.copy_to_table(table, source=source, columns=columns, format="binary")
