"""The requests about messages, in the order of their life: publish, consume, ack, nack, extend.

``held`` looks messages up and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakSet

from aiohttp import web

from gputel.broker.queues.queues import Queues
from gputel.broker.queues.waiting import Act, Outcome, WaitingQueue
from gputel.broker.requests import arguments as query
from gputel.broker.requests.encoding import (
    decode_consume,
    decode_items,
    decode_publish,
    encode_consumed,
    encode_deliveries,
)
from gputel.broker.requests.exchange import (
    Reply,
    ReplyHandler,
    converted,
    encoded_reply,
    let_go,
    read_body,
    read_items,
    reply_type,
    request_type,
    reserve,
)
from gputel.config.settings import BrokerSettings
from gputel.errors import Busy, QueueClosed, RequestError, UnknownQueue
from gputel.mq.core.message import LeasedMessage, QueuedMessage, State
from gputel.mq.core.queue import MessageQueue
from gputel.mq.wire.protocol import (
    Ack,
    ErrorReply,
    Extend,
    Held,
    Holding,
    ItemResult,
    Lookup,
    Nack,
    PublishResult,
)

T = TypeVar("T", Ack, Nack, Extend)

_CONSUME_ARGUMENTS = (
    query.QUEUE,
    query.MAX,
    query.MAX_BYTES_ARGUMENT,
    query.WAIT_S,
    query.VISIBILITY_TIMEOUT_S,
)
_HELD: dict[State, Held] = {
    State.READY: "ready",
    State.DELAYED: "ready",
    State.IN_FLIGHT: "in_flight",
    State.DEAD: "dead",
}


class Consumers:
    """The open connections of consumers: while there is one, a draining broker waits for it."""

    def __init__(self) -> None:
        self._connections: WeakSet[web.RequestHandler] = WeakSet()

    def seen(self, request: web.Request) -> None:
        """Remember that the connection of this request belongs to a consumer."""
        if request.transport is not None:
            self._connections.add(request.protocol)

    def connected(self) -> int:
        """How many of the connections are open now."""
        transports = [connection.transport for connection in self._connections]
        return sum(transport is not None and not transport.is_closing() for transport in transports)


class MessageHandlers:
    """Answers producers and consumers."""

    def __init__(self, queues: Queues, settings: BrokerSettings, consumers: Consumers) -> None:
        self._queues = queues
        self._settings = settings
        self._consumers = consumers

    def by_path(self) -> dict[str, ReplyHandler]:
        """The handler of a POST to each path."""
        return {
            "/publish": self.publish,
            "/consume": self.consume,
            "/ack": self.ack,
            "/nack": self.nack,
            "/extend": self.extend,
            "/held": self.held,
        }

    async def publish(self, request: web.Request) -> Reply:
        """``POST /publish?wait_s=``: one message, or a list of them."""
        name, wait_s = query.read(request.query, query.QUEUE, query.WAIT_S)
        longest_s = self._settings.publish_wait_s
        body = await read_body(request, self._settings.message_max_bytes)
        messages, listed = await converted(len(body), decode_publish, body, request_type(request))
        del body
        outcomes = await self._queues.named(name).publish(
            messages, longest_s if wait_s is None else min(wait_s, longest_s)
        )
        refusals = [outcome for outcome in outcomes if isinstance(outcome, RequestError)]
        if refusals and not listed:
            refusal = refusals[0]
            # The traceback of a raised error keeps the variables of its frames alive for long.
            del messages, outcomes, refusals
            raise refusal
        results = [_publish_result(m, o) for m, o in zip(messages, outcomes, strict=True)]
        if refusals:
            error = refusals[0]
            refusal_body = ErrorReply(error.code, error.message, results)
            return encoded_reply(request, refusal_body, status=error.status)
        return encoded_reply(request, results if listed else results[0], status=202)

    async def consume(self, request: web.Request) -> Reply:
        """``POST /consume``: the next message, or with ``max=`` or acks a list of them."""
        name, most, max_bytes, wait_s, timeout_s = query.read(request.query, *_CONSUME_ARGUMENTS)
        body = await read_items(request, self._settings)
        items = None
        if body:
            items = await converted(len(body), decode_consume, body, request_type(request))
            del body
            let_go(request)  # the consume may wait for messages as long as its client likes
        self._consumers.seen(request)
        waiting = self._queues.named(name)
        acks = None
        if items is not None:
            acks = _item_results(items, waiting.each(_acking(waiting.queue), items))
        try:
            deliveries = await waiting.consume(
                most or 1, max_bytes or self._settings.message_max_bytes, wait_s, timeout_s
            )
        except QueueClosed as error:
            if acks is None:
                raise
            if waiting.confirm is not None:
                await waiting.confirm()
            refusal = ErrorReply(error.code, error.message, acks=acks)
            return encoded_reply(request, refusal, status=error.status)
        if not deliveries and most is None and acks is None:
            return Reply(status=204)
        size = _size(deliveries)
        try:
            reserve(request, size)
        except Busy:
            waiting.give_back(deliveries)
            if acks is None:
                raise
            deliveries, size = [], 0  # the acks were done, so their results must go out
        return await _delivery_reply(
            request, waiting, deliveries, acks, size=size, listed=most is not None
        )

    async def ack(self, request: web.Request) -> Reply:
        """``POST /ack``: messages that were processed."""
        return await self._each(request, Ack, _acking)

    async def nack(self, request: web.Request) -> Reply:
        """``POST /nack``: messages to be delivered again, or to become dead letters."""
        return await self._each(request, Nack, _nacking)

    async def extend(self, request: web.Request) -> Reply:
        """``POST /extend``: leases that must last longer."""
        return await self._each(request, Extend, _extending)

    async def held(self, request: web.Request) -> Reply:
        """``POST /held``: whether the queue holds messages, and in which state."""
        (name,) = query.read(request.query, query.QUEUE)
        body = await read_items(request, self._settings)
        items, listed = await converted(
            len(body), decode_items, body, request_type(request), Lookup
        )
        del body
        queue = self._queues.existing(name).queue
        states = [queue.state_of(item.id) for item in items]
        results = [
            Holding(item.id, _HELD[state] if state else None)
            for item, state in zip(items, states, strict=True)
        ]
        return encoded_reply(request, results if listed else results[0])

    async def _each(
        self, request: web.Request, kind: type[T], acting: Callable[[MessageQueue], Act[T]]
    ) -> Reply:
        (name,) = query.read(request.query, query.QUEUE)
        body = await read_items(request, self._settings)
        items, listed = await converted(len(body), decode_items, body, request_type(request), kind)
        del body
        self._consumers.seen(request)
        waiting = self._settling_at(name, kind)
        if waiting is None:
            errors: list[RequestError | None] = [None] * len(items)
        else:
            errors = waiting.each(acting(waiting.queue), items)
            if not listed and errors[0] is not None:
                raise errors[0]
            if waiting.confirm is not None:
                await waiting.confirm()
        results = _item_results(items, errors)
        return encoded_reply(request, results if listed else results[0])

    def _settling_at(self, name: str | None, kind: type) -> WaitingQueue | None:
        """The queue of an ack, nack or extend. Raises UnknownQueue.

        None: it was forgotten with its last message, as at a restart, so an ack and a nack have
        nothing to do.
        """
        try:
            return self._queues.existing(name)
        except UnknownQueue:
            if kind is Extend or self._settings.queue_create == "declared":
                raise
            return None


def _publish_result(message: QueuedMessage, outcome: Outcome) -> PublishResult:
    if outcome is None:
        return PublishResult(message.id, "accepted")
    if isinstance(outcome, State):
        return PublishResult(message.id, "duplicate", held=_HELD[outcome])
    return PublishResult(message.id, "refused", code=outcome.code)


async def _delivery_reply(
    request: web.Request,
    waiting: WaitingQueue,
    deliveries: Sequence[LeasedMessage],
    acks: Sequence[ItemResult] | None,
    *,
    size: int,
    listed: bool,
) -> Reply:
    content_type = reply_type(request)
    try:
        if acks is not None and waiting.confirm is not None:
            await waiting.confirm()
        if acks is None:
            body = await converted(size, encode_deliveries, deliveries, content_type, listed)
        else:
            body = await converted(size, encode_consumed, deliveries, content_type, acks)
    except BaseException:
        waiting.give_back(deliveries)
        raise
    return Reply(body, content_type, undelivered=partial(_take_back, waiting, deliveries))


def _size(deliveries: Sequence[LeasedMessage]) -> int:
    return sum([len(message.payload) + len(message.metadata) for message, _, _ in deliveries])


def _take_back(waiting: WaitingQueue, deliveries: Sequence[LeasedMessage], begun: bool) -> None:
    if not begun:
        waiting.give_back(deliveries)
        return
    # The attempt counts: a message that no client can read to its end must become a dead letter.
    waiting.each(
        lambda delivery, now: waiting.queue.nack(
            delivery.message.id, delivery.lease, now, reason="the reply was cut off"
        ),
        deliveries,
    )


def _acking(queue: MessageQueue) -> Act[Ack]:
    ack = queue.ack
    return lambda item, now: ack(item.id, item.lease, now)


def _nacking(queue: MessageQueue) -> Act[Nack]:
    def act(item: Nack, now: float) -> None:
        queue.nack(
            item.id,
            item.lease,
            now,
            delay_s=item.delay_s,
            reason=item.reason,
            dead=item.dead,
        )

    return act


def _extending(queue: MessageQueue) -> Act[Extend]:
    return lambda item, now: queue.extend(item.id, item.lease, now, item.visibility_timeout_s)


def _item_results(
    items: Sequence[Ack | Nack | Extend], errors: Sequence[RequestError | None]
) -> list[ItemResult]:
    return [
        ItemResult(item.id, ok=True)
        if error is None
        else ItemResult(item.id, ok=False, code=error.code, message=error.message)
        for item, error in zip(items, errors, strict=True)
    ]
