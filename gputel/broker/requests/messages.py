"""The requests about messages, all but consume: publish, ack, nack, extend, held."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from gputel.broker.queues.consumers import Consumers
from gputel.broker.queues.queues import Queues
from gputel.broker.queues.waiters import Outcome
from gputel.broker.queues.waiting import Act
from gputel.broker.requests import arguments as query
from gputel.broker.requests.consume import acking, item_results
from gputel.broker.requests.exchange import (
    Answer,
    Answering,
    answer,
    converted,
    read_body,
    read_items,
    request_type,
)
from gputel.config.settings import BrokerSettings
from gputel.errors import RequestError
from gputel.mq.core.message import Message, State
from gputel.mq.core.queue import MessageQueue
from gputel.mq.wire.encoding import decode_items, decode_publish
from gputel.mq.wire.protocol import (
    Ack,
    ErrorReply,
    Extend,
    Held,
    Holding,
    Lookup,
    Nack,
    PublishResult,
)

T = TypeVar("T", Ack, Nack, Extend)

_HELD: dict[State, Held] = {
    State.READY: "ready",
    State.DELAYED: "ready",
    State.IN_FLIGHT: "in_flight",
    State.DEAD: "dead",
}


class MessageHandlers:
    """Answers producers, and consumers on what they hold."""

    def __init__(self, queues: Queues, settings: BrokerSettings, consumers: Consumers) -> None:
        self._queues = queues
        self._settings = settings
        self._consumers = consumers

    def by_path(self) -> dict[str, Answering]:
        """What answers a POST to each path."""
        return {
            "/publish": self.publish,
            "/ack": self.ack,
            "/nack": self.nack,
            "/extend": self.extend,
            "/held": self.held,
        }

    async def publish(self, request: web.Request) -> Answer:
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
            del messages, outcomes, refusals  # a raised error keeps what its frames name for long
            raise refusal
        results = [_published(m, o) for m, o in zip(messages, outcomes, strict=True)]
        if refusals:
            return _partly(request, refusals[0], results)
        return answer(request, results if listed else results[0], status=202)

    async def ack(self, request: web.Request) -> Answer:
        """``POST /ack``: messages that were processed."""
        return await self._each(request, Ack, acking)

    async def nack(self, request: web.Request) -> Answer:
        """``POST /nack``: messages given back, or sent to the dead letters."""
        return await self._each(request, Nack, _nacking)

    async def extend(self, request: web.Request) -> Answer:
        """``POST /extend``: leases that shall last longer."""
        return await self._each(request, Extend, _extending)

    async def held(self, request: web.Request) -> Answer:
        """``POST /held``: where messages are held, if they are; nothing is changed by it."""
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
        return answer(request, results if listed else results[0])

    async def _each(
        self, request: web.Request, kind: type[T], acting: Callable[[MessageQueue], Act[T]]
    ) -> Answer:
        (name,) = query.read(request.query, query.QUEUE)
        body = await read_items(request, self._settings)
        items, listed = await converted(len(body), decode_items, body, request_type(request), kind)
        del body
        self._consumers.seen(request)
        waiting = self._queues.existing(name)
        errors = waiting.each(acting(waiting.queue), items)
        if not listed and errors[0] is not None:
            raise errors[0]
        if waiting.confirm is not None:
            await waiting.confirm()
        results = item_results(items, errors)
        return answer(request, results if listed else results[0])


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


def _published(message: Message, outcome: Outcome) -> PublishResult:
    if outcome is None:
        return PublishResult(message.id, "accepted")
    if isinstance(outcome, State):
        return PublishResult(message.id, "duplicate", held=_HELD[outcome])
    return PublishResult(message.id, "refused", code=outcome.code)


def _partly(request: web.Request, error: RequestError, results: list[PublishResult]) -> Answer:
    return answer(request, ErrorReply(error.code, error.message, results), status=error.status)
