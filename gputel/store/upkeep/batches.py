"""Batches of what is rewritten in one transaction: as much as fits into memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg

from gputel.store.pool import store_errors

_BATCH_SAMPLES = 250_000  # some 25 MB in this process
_BLOCK_SAMPLES = 10  # what a block costs beside its samples, as samples
_PAGE_IDS = 100_000
BY_INDEX = "SET LOCAL enable_seqscan = off"
"""If the planner does not know the size of a day, it reads the whole day, also for a few series."""


async def batches(
    connection: asyncpg.Connection,
    statement: str,
    *bounds: object,
    most_ids: int = _PAGE_IDS,
    by_index: bool = False,
) -> AsyncIterator[list[int]]:
    """Ids in order, at most ``most_ids`` at once, that with their samples fit into memory.

    ``statement`` gives an id, its blocks and its samples in each row. Its arguments are ``bounds``,
    the id after which it begins, and the most rows. ``by_index``: it has few of the ids of a table.
    Raises StoreUnavailable or StoreError.
    """
    batch: list[int] = []
    size, after = 0, -1
    while True:
        async with store_errors(), connection.transaction():
            if by_index:
                await connection.execute(BY_INDEX)
            page = await connection.fetch(statement, *bounds, after, _PAGE_IDS)
        for id_, blocks, samples in page:
            cost = samples + _BLOCK_SAMPLES * blocks
            if batch and (size + cost > _BATCH_SAMPLES or len(batch) == most_ids):
                yield batch
                batch, size = [], 0
            batch.append(id_)
            size += cost
        if len(page) < _PAGE_IDS:
            break
        after = page[-1][0]
    if batch:
        yield batch
