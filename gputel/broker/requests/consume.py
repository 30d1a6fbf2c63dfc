"""``POST /consume``: acks of what was processed come in, and the next messages go out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from aiohttp import web

from gputel.broker.queues.consumers import Consumers
from gputel.broker.queues.queues import Queues
from gputel.broker.queues.waiting import Act, WaitingQueue
from gputel.broker.requests import arguments as query
from gputel.broker.requests.exchange import (
    Answer,
    Answering,
    answer,
    converted,
    let_go,
    read_items,
    reply_type,
    request_type,
    reserve,
)
from gputel.config.settings import BrokerSettings
from gputel.errors import Busy, QueueClosed, RequestError
from gputel.mq.core.message import Delivery
from gputel.mq.core.queue import MessageQueue
from gputel.mq.wire.encoding import decode_consume, encode_consumed, encode_deliveries
from gputel.mq.wire.protocol import Ack, ErrorReply, Extend, ItemResult, Nack

_ARGUMENTS = (
    query.QUEUE,
    query.MAX,
    query.MAX_BYTES_ARGUMENT,
    query.WAIT_S,
    query.VISIBILITY_TIMEOUT_S,
)


class ConsumeHandler:
    """Answers consumers that want messages."""

    def __init__(self, queues: Queues, settings: BrokerSettings, consumers: Consumers) -> None:
        self._queues = queues
        self._settings = settings
        self._consumers = consumers

    def by_path(self) -> dict[str, Answering]:
        """What answers a POST to each path."""
        return {"/consume": self.consume}

    async def consume(self, request: web.Request) -> Answer:
        """``POST /consume``: the next message, or with ``max=`` or acks a list of them."""
        name, most, max_bytes, wait_s, timeout_s = query.read(request.query, *_ARGUMENTS)
        body = await read_items(request, self._settings)
        items = None
        if body:
            items = await converted(len(body), decode_consume, body, request_type(request))
            del body
            let_go(request)  # it may wait for messages for as long as its client likes
        self._consumers.seen(request)
        waiting = self._queues.named(name)
        acks = None if items is None else _ack(waiting, items)
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
            return answer(request, refusal, status=error.status)
        if not deliveries and most is None and acks is None:
            return Answer(status=204)
        try:
            reserve(request, _size(deliveries))
        except Busy:
            waiting.give_back(deliveries)
            if acks is None:
                raise
            deliveries = []  # the acks were done, and that is told
        return await _delivering(request, waiting, deliveries, acks, listed=most is not None)


async def _delivering(
    request: web.Request,
    waiting: WaitingQueue,
    deliveries: Sequence[Delivery],
    acks: Sequence[ItemResult] | None,
    *,
    listed: bool,
) -> Answer:
    content_type = reply_type(request)
    try:
        if acks is not None and waiting.confirm is not None:
            await waiting.confirm()
        size = _size(deliveries)
        if acks is None:
            body = await converted(size, encode_deliveries, deliveries, content_type, listed)
        else:
            body = await converted(size, encode_consumed, deliveries, content_type, acks)
    except BaseException:
        waiting.give_back(deliveries)
        raise
    return Answer(body, content_type, undelivered=partial(_take_back, waiting, deliveries))


def _size(deliveries: Sequence[Delivery]) -> int:
    return sum([len(message.payload) + len(message.metadata) for message, _, _ in deliveries])


def _ack(waiting: WaitingQueue, items: Sequence[Ack]) -> list[ItemResult]:
    return item_results(items, waiting.each(acking(waiting.queue), items))


def acking(queue: MessageQueue) -> Act[Ack]:
    """What acks one item."""
    ack = queue.ack
    return lambda item, now: ack(item.id, item.lease, now)


def _take_back(waiting: WaitingQueue, deliveries: Sequence[Delivery], begun: bool) -> None:
    if not begun:
        waiting.give_back(deliveries)
        return
    # A message that no client can read to its end must become a dead letter some day.
    waiting.each(
        lambda delivery, now: waiting.queue.nack(
            delivery.message.id, delivery.lease, now, reason="the reply was cut off"
        ),
        deliveries,
    )


def item_results(
    items: Sequence[Ack | Nack | Extend], errors: Sequence[RequestError | None]
) -> list[ItemResult]:
    """What became of each item, from what it raised."""
    return [
        ItemResult(item.id, ok=True)
        if error is None
        else ItemResult(item.id, ok=False, code=error.code, message=error.message)
        for item, error in zip(items, errors, strict=True)
    ]
