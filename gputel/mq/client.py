"""The client of the broker that streamers and collectors use; MessagePack both ways."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import msgspec

from gputel.errors import (
    BadRequest,
    BrokerUnavailable,
    GputelError,
    NotFound,
    PayloadTooLarge,
    QueueClosed,
    QueueFull,
    Unauthorized,
    UsageError,
)
from gputel.mq.connection import Reply
from gputel.mq.consumer import Message, messages
from gputel.mq.protocol import (
    MSGPACK,
    Ack,
    ConsumeBody,
    Consumed,
    Delivery,
    ErrorReply,
    Extend,
    Held,
    Holding,
    ItemResult,
    Lookup,
    Nack,
    Outgoing,
    PublishResult,
)
from gputel.mq.sender import Sender
from gputel.mq.wire import Late, Request, Wire

__all__ = [
    "ConsumeEnded",
    "Consumed",
    "Delivery",
    "ItemResult",
    "Message",
    "OutgoingMessage",
    "PublishIncomplete",
    "PublishResult",
]
__all__ += ["QueueClient"]

T = TypeVar("T")
OutgoingMessage = Outgoing
"""A message to publish: ``payload``, ``id``, ``key``, ``metadata``."""

_GRACE_S = 30.0  # beyond the wait that the broker was asked for
_DECLINE_S = 2.0
_UNSTATED_WAIT_S = 120.0  # a broker whose --publish-wait-s is longer is taken to be away
_HEADERS = {"Content-Type": MSGPACK, "Accept": MSGPACK}
_ERRORS: dict[str, type[GputelError]] = {
    kind.code: kind
    for kind in (BadRequest, Unauthorized, NotFound, PayloadTooLarge, QueueClosed, QueueFull)
}
_PACK = msgspec.msgpack.Encoder().encode
_PUBLISHED = msgspec.msgpack.Decoder(list[PublishResult])
_DELIVERIES = msgspec.msgpack.Decoder(list[Delivery])
_CONSUMED = msgspec.msgpack.Decoder(Consumed)
_DELIVERED = msgspec.msgpack.Decoder(list[Delivery] | Consumed)
_RESULTS = msgspec.msgpack.Decoder(list[ItemResult])
_HOLDINGS = msgspec.msgpack.Decoder(list[Holding])
_STATS = msgspec.msgpack.Decoder(dict[str, Any])
_ERROR = msgspec.msgpack.Decoder(ErrorReply)
_JSON_ERROR = msgspec.json.Decoder(ErrorReply)


class PublishIncomplete(QueueFull):
    """The queue stayed full, or closed, before a list was through; ``results`` tells of each."""

    def __init__(self, message: str, results: list[PublishResult]) -> None:
        super().__init__(message)
        self.results = results


class ConsumeEnded(QueueClosed):
    """The queue is closed and empty; ``acks`` tells of the acks that came with the consume."""

    def __init__(self, message: str, acks: list[ItemResult]) -> None:
        super().__init__(message)
        self.acks = acks


class QueueClient:
    """A client of one broker, as an async context manager. Calls may run side by side.

    Every call raises BrokerUnavailable when the broker cannot be reached or does not answer in
    time; trying again is safe, because the broker refuses an id that it holds.
    """

    def __init__(self, url: str, *, patience_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._wire: Wire | None = None
        self._sender = Sender(self.publish, patience_s)

    async def __aenter__(self) -> Self:
        try:
            self._wire = Wire(self.url, _HEADERS)
        except ValueError as error:
            raise UsageError(f"the broker's address: {error}") from None
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._wire is not None:
            await self._sender.aclose()
            await self._wire.aclose()
            self._wire = None

    async def send(
        self,
        payload: bytes,
        *,
        id: str | None = None,
        key: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> PublishResult:
        """Publish one message; sends that run side by side share their requests.

        Tries again while the broker is away or full, for ``patience_s`` at most, which does no
        harm: the broker knows the id, given here or made. Then raises BrokerUnavailable or
        QueueFull; at once QueueClosed or PayloadTooLarge.
        """
        name = uuid.uuid4().hex if id is None else id
        message = Outgoing(id=name, key=key, payload=payload, metadata=metadata or {})
        return await self._sender.send(message)

    def messages(
        self, *, prefetch: int = 1, visibility_timeout_s: float = 30.0
    ) -> AsyncGenerator[Message, None]:
        """Messages one after another, ``async for``, until the broker is closed and empty.

        Leases are extended until a message is acked or given back; end with ``aclosing`` so that
        what was fetched ahead is given back too. A broker that is away is waited for.
        """
        return messages(self, prefetch, visibility_timeout_s)

    async def publish(
        self, messages: Sequence[OutgoingMessage], wait_s: float | None = None
    ) -> list[PublishResult]:
        """Publish the messages in their order; gives one result each.

        Waits in the broker for room up to ``wait_s`` (default and limit: the broker's own).
        Raises QueueFull; PublishIncomplete, which is one, when some of the list was accepted;
        QueueClosed; PayloadTooLarge. A message without an id gets one here.
        """
        arguments = {} if wait_s is None else {"wait_s": _text(wait_s)}
        waits_s = _UNSTATED_WAIT_S if wait_s is None else wait_s
        body = _PACK([m if m.id is not None else _named(m) for m in messages])
        return await self._call(
            "/publish", arguments, body, _PUBLISHED, waits_s=waits_s, again=True
        )

    async def consume(
        self,
        max_messages: int,
        max_bytes: int | None = None,
        wait_s: float = 0.0,
        visibility_timeout_s: float | None = None,
    ) -> list[Delivery]:
        """Lease up to ``max_messages``, and of them at least one whatever ``max_bytes`` is.

        Waits up to ``wait_s`` for the first; empty when none came. Raises QueueClosed once the
        broker is closed and empty. Cancelled, it tells the broker so, which takes back what it
        was about to deliver; what it had delivered already is given back in the background.
        """
        arguments = _consume_arguments(max_messages, max_bytes, wait_s, visibility_timeout_s)
        return await self._call(
            "/consume", arguments, b"", _DELIVERIES, waits_s=wait_s, late=self._decline
        )

    async def ack_and_consume(
        self,
        items: Sequence[tuple[str, str]],
        max_messages: int,
        max_bytes: int | None = None,
        wait_s: float = 0.0,
        visibility_timeout_s: float | None = None,
    ) -> Consumed:
        """``ack`` and ``consume`` in one request: the acks are done, then it waits for messages.

        Gives ``acks``, a result for each item, and ``messages``. Raises ConsumeEnded, a
        QueueClosed with the ``acks``, once the broker is closed and empty. After
        BrokerUnavailable, or cancelled, the acks may have been done: done again, such an item
        answers ``unknown_message``.
        """
        arguments = _consume_arguments(max_messages, max_bytes, wait_s, visibility_timeout_s)
        body = _PACK(ConsumeBody([Ack(id_, lease) for id_, lease in items]))
        return await self._call(
            "/consume", arguments, body, _CONSUMED, waits_s=wait_s, late=self._decline
        )

    async def _decline(self, reply: Reply) -> None:
        """Give back what was delivered to a consume that had been cancelled."""
        if reply.status != 200:
            return
        deliveries = _DELIVERED.decode(reply.body)
        if isinstance(deliveries, Consumed):
            deliveries = deliveries.messages
        items = [Nack(d.id, d.lease, 0.0, "the consumer left") for d in deliveries]
        wire = self._wire
        if items and wire is not None:
            with contextlib.suppress(OSError):
                await wire.exchange(Request("POST", "/nack", _PACK(items)), _DECLINE_S)

    async def ack(self, items: Sequence[tuple[str, str]]) -> list[ItemResult]:
        """Drop messages that were processed, each as (id, lease); gives one result each."""
        return await self._each("/ack", [Ack(id_, lease) for id_, lease in items])

    async def nack(
        self,
        items: Sequence[tuple[str, str]],
        delay_s: float = 0.0,
        reason: str = "",
        dead: bool = False,
    ) -> list[ItemResult]:
        """Give messages back, after ``delay_s``; with ``dead``, send them to the dead letters."""
        return await self._each(
            "/nack", [Nack(id_, lease, delay_s, reason, dead) for id_, lease in items]
        )

    async def extend(
        self, items: Sequence[tuple[str, str]], visibility_timeout_s: float
    ) -> list[ItemResult]:
        """Let leases last ``visibility_timeout_s`` from now; gives one result each."""
        return await self._each(
            "/extend", [Extend(id_, lease, visibility_timeout_s) for id_, lease in items]
        )

    async def held(self, ids: Sequence[str]) -> list[Held | None]:
        """Where the broker holds the message of each id: None where it does not hold it."""
        body = _PACK([Lookup(id_) for id_ in ids])
        found = await self._call("/held", {}, body, _HOLDINGS, again=True)
        return [holding.held for holding in found]

    async def stats(self) -> dict[str, Any]:
        """What the queue holds and has counted, as ``GET /stats`` tells it."""
        return await self._call("/stats", {}, None, _STATS, again=True)

    async def check(self) -> str | None:
        """None when the broker answers, else why it cannot be used: for readiness."""
        try:
            await self.stats()
        except GputelError as error:
            return error.message
        return None

    async def _each(self, path: str, items: Sequence[Ack | Nack | Extend]) -> list[ItemResult]:
        if not items:
            return []
        return await self._call(path, {}, _PACK(items), _RESULTS)

    async def _call(
        self,
        path: str,
        arguments: dict[str, str],
        body: bytes | None,
        reading: msgspec.msgpack.Decoder[T],
        *,
        waits_s: float = 0.0,
        again: bool = False,
        late: Late | None = None,
    ) -> T:
        if self._wire is None:
            raise RuntimeError("use the QueueClient in an async with block")
        target = f"{path}?{'&'.join(map('='.join, arguments.items()))}" if arguments else path
        request = Request("GET" if body is None else "POST", target, body or b"", again)
        try:
            status, reply = await self._wire.exchange(request, waits_s + _GRACE_S, late)
        except TimeoutError:
            raise BrokerUnavailable(f"the broker at {self.url} did not answer in time") from None
        except (OSError, UnicodeError) as error:
            raise BrokerUnavailable(f"cannot reach the broker at {self.url}: {error}") from None
        if status >= 400:
            self._refused(status, reply)
        try:
            return reading.decode(reply)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BrokerUnavailable(f"what answers at {self.url} is no broker: {error}") from None

    def _refused(self, status: int, body: bytes) -> NoReturn:
        error = _error_reply(body)
        if error is None or error.code not in _ERRORS:
            text = error.message if error else f"status {status}"
            raise BrokerUnavailable(f"the broker at {self.url} answered {status}: {text}")
        if error.results and any(result.state != "refused" for result in error.results):
            raise PublishIncomplete(error.message, error.results)
        if error.acks is not None and error.code == QueueClosed.code:
            raise ConsumeEnded(error.message, error.acks)
        raise _ERRORS[error.code](error.message)


def _error_reply(body: bytes) -> ErrorReply | None:
    decoder: Any
    for decoder in (_JSON_ERROR, _ERROR):
        try:
            reply: ErrorReply = decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        return reply
    return None


def _consume_arguments(
    max_messages: int, max_bytes: int | None, wait_s: float, visibility_timeout_s: float | None
) -> dict[str, str]:
    arguments = {"max": str(max_messages), "wait_s": _text(wait_s)}
    if max_bytes is not None:
        arguments["max_bytes"] = str(max_bytes)
    if visibility_timeout_s is not None:
        arguments["visibility_timeout_s"] = _text(visibility_timeout_s)
    return arguments


def _named(message: Outgoing) -> Outgoing:
    # With an id from here, the broker knows a message that is sent again.
    return msgspec.structs.replace(message, id=uuid.uuid4().hex)


def _text(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
