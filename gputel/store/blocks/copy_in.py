"""COPY of rows in memory; it ends when its session ends."""

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
    """Add the rows of ``copy_payload`` or ``copy_rows`` to a table, one statement for each piece.

    A piece is written at once. Between parts of a piece, asyncpg would wait until the socket takes
    more, and would wait for ever if the session has ended in the meantime.
    """
    for rows in payload:
        source = memoryview(b"".join((COPY_HEADER, rows, COPY_TRAILER)))  # bytes would be a path
        await connection.copy_to_table(table, source=source, columns=columns, format="binary")
