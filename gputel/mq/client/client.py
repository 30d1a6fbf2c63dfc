"""The client of the broker that streamers and collectors use; MessagePack both ways."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from gputel.mq.client.acks import Acks
from gputel.mq.client.consumer import Message, messages
from gputel.mq.client.requests import RequestClient
from gputel.mq.client.sender import Sender
from gputel.mq.wire.ids import new_id
from gputel.mq.wire.protocol import OutgoingMessage, PublishResult

MOST_REFUSALS = 5
"""Refusals in a row that a worker takes: one may be of a request that was damaged on the way."""


class QueueClient(RequestClient):
    """A client of the queue, as an async context manager. Calls may run side by side.

    ``url`` is one broker's; ``gputel.mq.connect`` makes a client of one or of several. ``token`` is
    shown to it; ``tls`` is how one at an https:// address is known, by default as this machine
    knows others.

    ``queue`` names the queue that a call is for; None is the default one. Every call raises
    BrokerUnavailable when the broker cannot be reached or does not answer in time; trying again
    is safe, because the broker refuses an id that it holds. Beside what each call names, it raises
    the RequestError that the broker answers with, such as UnknownQueue, TooManyQueues or
    BadRequest; ``retriable`` tells those that pass.
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
        queue: str | None = None,
    ) -> PublishResult:
        """Publish one message; sends that run side by side share their requests.

        Tries again while the broker is away or full, for ``patience_s`` at most, which does no
        harm: the broker knows the id, given here or made. Then raises BrokerUnavailable,
        QueueFull or JournalFull; at once QueueClosed or PayloadTooLarge.
        """
        name = new_id() if id is None else id
        message = OutgoingMessage(id=name, key=key, payload=payload, metadata=metadata or {})
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
    ) -> AsyncGenerator[Message, None]:
        """Messages one after another, ``async for``, until the broker is closed and empty.

        Leases are extended until a message is acked or given back; end with ``aclosing`` so that
        what was fetched ahead is given back too. A broker that is away is waited for.
        """
        return messages(self, self._acks, prefetch, visibility_timeout_s, queue)
