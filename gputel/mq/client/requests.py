"""The requests of a client to one broker: publish, consume, settle, and look into queues."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import msgspec

from gputel.errors import GputelError, UsageError
from gputel.mq.client.calls import Calls
from gputel.mq.client.http import HttpReply
from gputel.mq.wire import addresses
from gputel.mq.wire.ids import new_id
from gputel.mq.wire.protocol import (
    UNREADABLE,
    Ack,
    ConsumeBody,
    Consumed,
    DeadLetter,
    DeadLetterPage,
    DeadLetterSelection,
    Deleted,
    Delivery,
    Extend,
    Held,
    Holding,
    ItemResult,
    Lookup,
    Nack,
    OutgoingMessage,
    Peeked,
    PublishResult,
    QueueOptions,
)

T = TypeVar("T")
Item = tuple[str, str | None]
"""Id and lease of a message; without a lease (None), any lease on it counts."""

_DECLINE_S = 2.0
_UNSTATED_WAIT_S = 120.0  # a broker whose --publish-wait-s is longer is taken to be away
_PACK = msgspec.msgpack.Encoder().encode
_PUBLISHED = msgspec.msgpack.Decoder(list[PublishResult])
_DELIVERIES = msgspec.msgpack.Decoder(list[Delivery])
_CONSUMED = msgspec.msgpack.Decoder(Consumed)
_DELIVERED = msgspec.msgpack.Decoder(list[Delivery] | Consumed)
_RESULTS = msgspec.msgpack.Decoder(list[ItemResult])
_HOLDINGS = msgspec.msgpack.Decoder(list[Holding])
_STATS = msgspec.msgpack.Decoder(dict[str, Any])
_PEEKED = msgspec.msgpack.Decoder(list[Peeked])
_DEAD_LETTERS = msgspec.msgpack.Decoder(DeadLetterPage)
_DEAD_LETTER = msgspec.msgpack.Decoder(DeadLetter)
_COUNTED = msgspec.msgpack.Decoder(dict[str, int])
_DELETED = msgspec.msgpack.Decoder(Deleted)


class RequestClient:
    """The part of a QueueClient in which each call is one request. Use it as a context manager."""

    def __init__(
        self, url: str | Sequence[str], token: str | None, tls: ssl.SSLContext | None
    ) -> None:
        self._addresses = addresses.split(url)
        self.url = ",".join(self._addresses)
        self._token = token
        self._tls = tls
        self._calls: Calls | None = None

    async def __aenter__(self) -> Self:
        if addresses.are_several(self._addresses):
            raise UsageError(f"{self.url} may be several brokers: use gputel.mq.connect.connect")
        try:
            self._calls = Calls(self.url, self._token, self._tls)
        except ValueError as error:
            raise UsageError(f"the broker's address: {error}") from None
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._calls is not None:
            await self._calls.wire.aclose()
            self._calls = None

    @property
    def _open(self) -> Calls:
        if self._calls is None:
            raise RuntimeError("use the QueueClient in an async with block")
        return self._calls

    async def publish(
        self,
        messages: Sequence[OutgoingMessage],
        wait_s: float | None = None,
        *,
        queue: str | None = None,
    ) -> list[PublishResult]:
        """Publish the messages in their order. Returns one result for each.

        Waits in the broker for room up to ``wait_s`` (default and limit: the broker's own).
        Raises QueueFull; PublishIncomplete, which is one, when some of the list was accepted;
        QueueClosed; PayloadTooLarge; JournalFull. A message without an id gets one here.
        """
        arguments = {"wait_s": wait_s, "queue": queue}
        waits_s = _UNSTATED_WAIT_S if wait_s is None else wait_s
        body = _PACK(with_ids(messages))
        return await self._open.each(
            messages, "/publish", arguments, body, _PUBLISHED, waits_s=waits_s, again=True
        )

    async def consume(
        self,
        max_messages: int,
        max_bytes: int | None = None,
        wait_s: float = 0.0,
        visibility_timeout_s: float | None = None,
        *,
        queue: str | None = None,
    ) -> list[Delivery]:
        """Lease up to ``max_messages``; the first one whatever ``max_bytes`` is.

        Waits up to ``wait_s`` for the first; empty when none came. Raises QueueClosed when the
        broker is closed and empty. If it is cancelled, the broker takes back what it was about to
        deliver; messages delivered already are given back in the background.
        """
        bounds = (max_messages, max_bytes, wait_s, visibility_timeout_s)
        return await self._consume(b"", _DELIVERIES, bounds, queue)

    async def ack_and_consume(
        self,
        items: Sequence[Item],
        max_messages: int,
        max_bytes: int | None = None,
        wait_s: float = 0.0,
        visibility_timeout_s: float | None = None,
        *,
        queue: str | None = None,
    ) -> Consumed:
        """``ack`` and ``consume`` in one request: the acks are done, then it waits for messages.

        Returns ``acks``, a result for each item, and ``messages``. Raises ConsumeEnded, a
        QueueClosed with the ``acks``, when the broker is closed and empty. After BrokerUnavailable
        or a cancellation the acks may have been done; to ack an item again does no harm.
        """
        body = _PACK(ConsumeBody([Ack(id_, lease) for id_, lease in items]))
        bounds = (max_messages, max_bytes, wait_s, visibility_timeout_s)
        return await self._consume(body, _CONSUMED, bounds, queue)

    async def _consume(
        self,
        body: bytes,
        reading: msgspec.msgpack.Decoder[T],
        bounds: tuple[int, int | None, float, float | None],
        queue: str | None,
    ) -> T:
        max_messages, max_bytes, wait_s, visibility_timeout_s = bounds
        arguments = {
            "max": max_messages,
            "wait_s": wait_s,
            "max_bytes": max_bytes,
            "visibility_timeout_s": visibility_timeout_s,
            "queue": queue,
        }
        late = partial(self._decline, queue)
        return await self._open.call(
            "/consume", arguments, body, reading, waits_s=wait_s, late=late
        )

    async def _decline(self, queue: str | None, reply: HttpReply) -> None:
        """Give back what was delivered to a consume that had been cancelled."""
        if reply.status != 200 or self._calls is None:
            return
        try:
            deliveries = _DELIVERED.decode(reply.body)
        except UNREADABLE:
            return  # the leases run out by themselves
        if isinstance(deliveries, Consumed):
            deliveries = deliveries.messages
        items = [(delivery.id, delivery.lease) for delivery in deliveries]
        with contextlib.suppress(GputelError, TimeoutError):
            async with asyncio.timeout(_DECLINE_S):
                await self.nack(items, reason="the consumer left", queue=queue)

    async def ack(self, items: Sequence[Item], *, queue: str | None = None) -> list[ItemResult]:
        """Ack messages, each as (id, lease). Returns one result for each.

        It is ``stale_lease`` for a lease that ran out, and ok for a message that is gone.
        """
        return await self._each("/ack", [Ack(id_, lease) for id_, lease in items], queue)

    async def nack(
        self,
        items: Sequence[Item],
        delay_s: float = 0.0,
        reason: str = "",
        dead: bool = False,
        *,
        queue: str | None = None,
    ) -> list[ItemResult]:
        """Give messages back, after ``delay_s``; with ``dead``, make them dead letters."""
        nacks = [Nack(id_, lease, delay_s, reason, dead) for id_, lease in items]
        return await self._each("/nack", nacks, queue)

    async def extend(
        self,
        items: Sequence[Item],
        visibility_timeout_s: float,
        *,
        queue: str | None = None,
    ) -> list[ItemResult]:
        """Let leases run out ``visibility_timeout_s`` from now. Returns one result for each."""
        extensions = [Extend(id_, lease, visibility_timeout_s) for id_, lease in items]
        return await self._each("/extend", extensions, queue)

    async def _each(
        self, path: str, items: Sequence[Ack | Nack | Extend], queue: str | None
    ) -> list[ItemResult]:
        if not items:
            return []
        return await self._open.each(items, path, {"queue": queue}, _PACK(items), _RESULTS)

    # ------------------------------------------------------------------ what is held

    async def held(self, ids: Sequence[str], *, queue: str | None = None) -> list[Held | None]:
        """The state of the message with each id; None when the broker does not hold it."""
        body = _PACK([Lookup(id_) for id_ in ids])
        holdings = await self._open.each(
            ids, "/held", {"queue": queue}, body, _HOLDINGS, again=True
        )
        return [holding.held for holding in holdings]

    async def stats(self, *, queue: str | None = None) -> dict[str, Any]:
        """What the queue holds and has counted, as ``GET /stats`` answers it."""
        return await self._open.call("/stats", {"queue": queue}, None, _STATS, again=True)

    async def peek(
        self,
        max_messages: int = 10,
        max_payload_bytes: int | None = None,
        *,
        queue: str | None = None,
    ) -> list[Peeked]:
        """The next messages, up to 1,000, in the order of delivery; changes nothing.

        A payload over ``max_payload_bytes`` (default: 64 KiB) is None.
        """
        arguments = {"max": max_messages, "max_payload_bytes": max_payload_bytes, "queue": queue}
        return await self._open.call("/peek", arguments, None, _PEEKED, again=True)

    # ------------------------------------------------------------------ dead letters

    async def dead_letters(
        self, limit: int = 100, offset: int = 0, *, queue: str | None = None
    ) -> list[DeadLetter]:
        """Dead letters, oldest first, without their payloads; ``limit`` is 1,000 at most."""
        arguments = {"limit": limit, "offset": offset, "queue": queue}
        page = await self._open.call("/dead-letters", arguments, None, _DEAD_LETTERS, again=True)
        return page.dead_letters

    async def dead_letter(self, id: str, *, queue: str | None = None) -> DeadLetter:
        """One dead letter with its payload. Raises UnknownMessage."""
        path = f"/dead-letters/{quote(id, safe='')}"
        return await self._open.call(path, {"queue": queue}, None, _DEAD_LETTER, again=True)

    async def replay(
        self, ids: Sequence[str] = (), *, all: bool = False, queue: str | None = None
    ) -> int:
        """Make some dead letters ready again, or ``all``, behind all others. Returns how many.

        Raises UnknownMessage when none of the ids is a dead letter, QueueClosed, and BadRequest.
        """
        return await self._settle_dead("replay", ids, all, queue)

    async def purge(
        self, ids: Sequence[str] = (), *, all: bool = False, queue: str | None = None
    ) -> int:
        """Drop some dead letters, or ``all``. Returns how many; raises as ``replay``."""
        return await self._settle_dead("purge", ids, all, queue)

    async def _settle_dead(
        self, action: str, ids: Sequence[str], every: bool, queue: str | None
    ) -> int:
        selection = DeadLetterSelection(ids=list(ids) or None, all=every)
        path = f"/dead-letters/{action}"
        done = await self._open.call(path, {"queue": queue}, _PACK(selection), _COUNTED)
        return next(iter(done.values()))

    # ------------------------------------------------------------------ queues

    async def declare(self, queue: str, *, ordered_keys: bool | None = None) -> None:
        """Make a queue that stays until it is deleted, or change its option; None changes nothing.

        Raises QueueNotEmpty when the option would change and messages wait, TooManyQueues,
        JournalFull, and BadRequest for an invalid name.
        """
        body = _PACK(QueueOptions() if ordered_keys is None else QueueOptions(ordered_keys))
        path = _path_of(queue)
        await self._open.call(path, {}, body, _STATS, method="PUT", again=True)

    async def delete(self, queue: str, *, force: bool = False) -> int:
        """Delete a queue; with ``force``, its messages too. Returns how many messages were dropped.

        Raises UnknownQueue; QueueNotEmpty when it holds messages and ``force`` is not set;
        BadRequest for the default queue.
        """
        arguments = {"force": "true"} if force else {}
        path = _path_of(queue)
        deleted = await self._open.call(path, arguments, None, _DELETED, method="DELETE")
        return deleted.purged

    async def check(self) -> str | None:
        """None when the broker answers, else the reason why not. For readiness checks."""
        try:
            await self.stats()
        except GputelError as error:
            return error.message
        return None


def with_ids(messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
    """The messages, each with an id, so that the broker recognises a message that is sent again."""
    return [m if m.id else msgspec.structs.replace(m, id=new_id()) for m in messages]


def _path_of(queue: str) -> str:
    return f"/queues/{quote(queue, safe='')}"
