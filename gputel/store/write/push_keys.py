"""The keys of pushes, each with the digest of the body of its first push."""

from __future__ import annotations

import asyncpg

from gputel.store.pool import store_errors
from gputel.store.queries import load


class PushKeys:
    """Remembers keys for as long as the ledger remembers messages."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._sql = load("push_keys")

    async def digest_of(self, key: bytes, digest: bytes) -> bytes:
        """The digest of the body that the key first came with: ``digest`` if the key is new.

        Raises StoreUnavailable while Postgres is away, StoreError where it refuses.
        """
        async with store_errors():
            known: bytes = await self._pool.fetchval(self._sql["note_key"], key, digest)
        return known
