"""The client of the broker that streamers and collectors use; MessagePack both ways."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from gputel.mq.client.acks import Acks
from gputel.mq.client.consumer import Message, Retry, messages
from gputel.mq.client.requests import RequestClient
from gputel.mq.client.sender import Sender
from gputel.mq.wire.ids import new_id
from gputel.mq.wire.protocol import OutgoingMessage, PublishResult

MOST_REFUSALS = 5
"""Refusals in a row before a worker gives up: a request may have been damaged on the way."""


class QueueClient(RequestClient):
    """A client of the queue, as an async context manager. Calls may run side by side.

    ``url`` is the address of one broker; ``gputel.mq.connect.connect`` takes several as well.
    ``token`` is sent with every request. ``tls`` verifies a broker at an https:// address; the
    default trusts the certificates that this machine trusts.

    ``queue`` is the name of a queue; None is the default one. Every call raises
    BrokerUnavailable when the broker cannot be reached or does not answer in time; trying again
    is safe, because the broker refuses an id that it holds. A call also raises the RequestError
    that the broker answers, such as UnknownQueue, TooManyQueues or BadRequest; ``retriable`` is
    True for an error that may pass.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        patience_s: float = 60.0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, token, tls)
        self._patience_s = patience_s
        self._senders: dict[str | None, Sender] = {}
        self._acks: set[Acks] = set()

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for acks in list(self._acks):
            await acks.aclose()
        for sender in self._senders.values():
            await sender.aclose()
        await super().__aexit__(error_type, error, trace)

    async def send(
        self,
        payload: bytes,
        *,
        id: str | None = None,
        key: str = "",
        metadata: dict[str, Any] | None = None,
        delay_s: float = 0.0,
        ttl_s: float | None = None,
        queue: str | None = None,
    ) -> PublishResult:
        """Publish one message; concurrent sends share their requests.

        It becomes ready after ``delay_s``, and is dropped if no consumer got it within ``ttl_s``.

        Tries again while the broker is away or full, for ``patience_s`` at most, then raises
        BrokerUnavailable, QueueFull or JournalFull. A retry makes no second message, because the
        id stays the same. Raises QueueClosed and PayloadTooLarge at once.
        """
        message = OutgoingMessage(
            id=id or new_id(),
            key=key,
            payload=payload,
            metadata=metadata or {},
            delay_s=delay_s,
            ttl_s=ttl_s,
        )
        sender = self._senders.get(queue)
        if sender is None:
            publish = partial(self.publish, queue=queue)
            sender = self._senders[queue] = Sender(publish, self._patience_s)
        return await sender.send(message)

    def messages(
        self,
        *,
        prefetch: int = 1,
        visibility_timeout_s: float = 30.0,
        queue: str | None = None,
        retry_s: float = 1.0,
        retry_most_s: float = 60.0,
        max_attempts: int | None = None,
    ) -> AsyncGenerator[Message, None]:
        """Messages one after another, ``async for``, until the broker is closed and empty.

        Leases are extended until a message is acked or given back. Use ``aclosing``, so that
        messages fetched ahead are given back too. While the broker is away, the generator waits.

        A message whose ``async with`` block raises comes again after ``retry_s``, then after twice
        that, and so on up to ``retry_most_s``. After ``max_attempts`` deliveries it becomes a dead
        letter, or after those that the broker allows (``--max-attempts``).
        """
        retry = Retry(retry_s, retry_most_s, max_attempts)
        return self.messages_with(prefetch, visibility_timeout_s, queue, retry)

    def messages_with(
        self, prefetch: int, visibility_timeout_s: float, queue: str | None, retry: Retry
    ) -> AsyncGenerator[Message, None]:
        """As ``messages``, with all its arguments."""
        return messages(self, self._acks, prefetch, visibility_timeout_s, queue, retry)
