"""What a client asks about queues as such: nothing of it publishes or delivers a message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from gputel.errors import GputelError
from gputel.mq.client.calls import Calls
from gputel.mq.wire.protocol import Deleted, Held, Holding, Lookup, Peeked, QueueOptions

_PACK = msgspec.msgpack.Encoder().encode
_HOLDINGS = msgspec.msgpack.Decoder(list[Holding])
_STATS = msgspec.msgpack.Decoder(dict[str, Any])
_PEEKED = msgspec.msgpack.Decoder(list[Peeked])
_DELETED = msgspec.msgpack.Decoder(Deleted)


class Inspector(ABC):
    """The part of a QueueClient that looks into queues, declares and deletes them."""

    @property
    @abstractmethod
    def _open(self) -> Calls: ...

    async def held(self, ids: Sequence[str], *, queue: str | None = None) -> list[Held | None]:
        """Where the broker holds the message of each id: None where it does not hold it."""
        body = _PACK([Lookup(id_) for id_ in ids])
        found = await self._open.each(ids, "/held", {"queue": queue}, body, _HOLDINGS, again=True)
        return [holding.held for holding in found]

    async def stats(self, *, queue: str | None = None) -> dict[str, Any]:
        """What the queue holds and has counted, as ``GET /stats`` tells it."""
        return await self._open.call("/stats", {"queue": queue}, None, _STATS, again=True)

    async def peek(
        self,
        max_messages: int = 10,
        max_payload_bytes: int | None = None,
        *,
        queue: str | None = None,
    ) -> list[Peeked]:
        """The messages that are next, up to 1,000, in the order of delivery; nothing is changed.

        A payload over ``max_payload_bytes`` (64 KiB unless said) is None.
        """
        arguments = {"max": max_messages, "max_payload_bytes": max_payload_bytes, "queue": queue}
        return await self._open.call("/peek", arguments, None, _PEEKED, again=True)

    async def declare(self, queue: str, *, ordered_keys: bool | None = None) -> None:
        """Make a queue that stays until it is deleted, or change its option; None leaves it.

        Raises QueueNotEmpty when the option would change for messages held, TooManyQueues,
        JournalFull, and BadRequest for a name that is none.
        """
        body = _PACK(QueueOptions() if ordered_keys is None else QueueOptions(ordered_keys))
        path = _path_of(queue)
        await self._open.call(path, {}, body, _STATS, method="PUT", again=True)

    async def delete(self, queue: str, *, force: bool = False) -> int:
        """Forget a queue, with all that it holds if forced; gives how many messages that were.

        Raises UnknownQueue; QueueNotEmpty when it holds messages and is not forced; BadRequest
        for the default queue.
        """
        arguments = {"force": "true"} if force else {}
        path = _path_of(queue)
        deleted = await self._open.call(path, arguments, None, _DELETED, method="DELETE")
        return deleted.purged

    async def check(self) -> str | None:
        """None when the broker answers, else why it cannot be used: for readiness."""
        try:
            await self.stats()
        except GputelError as error:
            return error.message
        return None


def _path_of(queue: str) -> str:
    return f"/queues/{quote(queue, safe='')}"
