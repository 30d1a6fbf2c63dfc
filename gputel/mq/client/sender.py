"""Few requests for many callers that send one message each: messages are sent in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gputel.backoff import Backoff
from gputel.errors import BadRequest, GputelError, PayloadTooLarge, QueueClosed, QueueFull
from gputel.mq.wire.protocol import OutgoingMessage, PublishResult

Publish = Callable[[Sequence[OutgoingMessage]], Awaitable[list[PublishResult]]]

_MAX_MESSAGES = 500
_MAX_BYTES = 1024 * 1024
_SIDE_BY_SIDE = 2  # requests: one is on its way while the next fills
_LONGEST_DELAY_S = 2.0


class _Waiting(NamedTuple):
    message: OutgoingMessage
    done: asyncio.Future[PublishResult]


class Sender:
    """Publishes in the background, with ``publish``, which gives one result for each message.

    Messages are sent in the order in which they came, except those that are tried again.
    """

    def __init__(self, publish: Publish, patience_s: float) -> None:
        self._publish = publish
        self._patience_s = patience_s
        self._line: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, message: OutgoingMessage) -> PublishResult:
        """Give the message to the broker, trying again while it is away or full.

        Gives up after ``patience_s`` and raises the last error. Raises an error that cannot pass,
        such as QueueClosed or PayloadTooLarge, at once. If it is cancelled, the message may have
        been sent.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_s
        backoff = Backoff(most_s=_LONGEST_DELAY_S)
        while True:
            try:
                return await self._queued(message, loop)
            except GputelError as error:
                pause_s = backoff.next_s()
                if not error.retriable or loop.time() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)

    async def aclose(self) -> None:
        """Wait until every message has its result."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _queued(
        self, message: OutgoingMessage, loop: asyncio.AbstractEventLoop
    ) -> PublishResult:
        done: asyncio.Future[PublishResult] = loop.create_future()
        self._line.append(_Waiting(message, done))
        if len(self._tasks) < _SIDE_BY_SIDE:
            task = loop.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _work(self) -> None:
        while batch := self._batch():
            try:
                results = await self._publish([waiting.message for waiting in batch])
            except QueueFull as error:
                _settle_partly(batch, error)
            except (PayloadTooLarge, BadRequest) as error:
                await self._one_by_one(batch, error)
            except (GputelError, OSError) as error:
                for waiting in batch:
                    _fail(waiting, error)
            except BaseException:
                for waiting in batch:
                    waiting.done.cancel()
                raise
            else:
                for waiting, result in zip(batch, results, strict=True):
                    _settle(waiting, result)

    def _batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._line and len(batch) < _MAX_MESSAGES:
            size += len(self._line[0].message.payload)
            if batch and size > _MAX_BYTES:
                break
            waiting = self._line.popleft()
            if not waiting.done.done():
                batch.append(waiting)
        return batch

    async def _one_by_one(self, batch: list[_Waiting], error: GputelError) -> None:
        # The broker refuses a whole list if one message is bad: send them one by one.
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        for waiting in batch:
            try:
                (result,) = await self._publish([waiting.message])
            except GputelError as its_own:
                _fail(waiting, its_own)
            else:
                _settle(waiting, result)


def _settle_partly(batch: list[_Waiting], error: QueueFull) -> None:
    results: list[PublishResult] = getattr(error, "results", [])
    for n, waiting in enumerate(batch):
        if n < len(results):
            _settle(waiting, results[n])
        else:
            _fail(waiting, error)


def _settle(waiting: _Waiting, result: PublishResult) -> None:
    if result.state != "refused":
        if not waiting.done.done():
            waiting.done.set_result(result)
    elif result.code == QueueClosed.code:
        _fail(waiting, QueueClosed("the queue is closed: it accepts no more messages"))
    else:
        _fail(waiting, QueueFull("the queue had no room for the message in time"))


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
