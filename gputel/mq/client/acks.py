"""Acks that no caller waits for: sent with the next consume, or alone soon after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gputel.errors import GputelError
from gputel.mq.wire.protocol import ItemResult

Item = tuple[str, str]
"""Id and lease."""
Send = Callable[[Sequence[Item]], Awaitable[list[ItemResult]]]

_LINGER_S = 0.003  # an ack waits this long for a consume that takes it along
_AGAIN_S = 0.5
_MOST = 500  # acks that wait to be sent together


class Acks:
    """Acks of one consumer. When the broker is away, an ack is tried again for ``keep_s``."""

    def __init__(self, send: Send, keep_s: float) -> None:
        self._send = send
        self._keep_s = keep_s
        self._waiting: dict[Item, float] = {}  # and until when to try: the loop's seconds
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, item: Item) -> None:
        """Ack this message soon."""
        self._waiting[item] = asyncio.get_running_loop().time() + self._keep_s
        if len(self._waiting) >= _MOST:
            self._go()
        else:
            self._within(_LINGER_S)

    def take(self) -> dict[Item, float]:
        """Remove and return all waiting acks; ``put_back`` them if sending fails."""
        taken, self._waiting = self._waiting, {}
        self._stop_timer()
        return taken

    def put_back(self, items: dict[Item, float]) -> None:
        """Send these again; an ack that was done already does no harm."""
        now = asyncio.get_running_loop().time()
        self._waiting |= {item: until for item, until in items.items() if until > now}
        if self._waiting:
            self._within(_AGAIN_S)

    async def aclose(self) -> None:
        """Send the waiting acks once."""
        if self._task is not None:
            await asyncio.wait((self._task,))
        if items := self.take():
            await self._try(items)
        self._stop_timer()

    def _within(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._go)

    def _go(self) -> None:
        self._stop_timer()
        if self._task is not None and not self._task.done():
            self._within(_LINGER_S)
        elif items := self.take():
            self._task = asyncio.get_running_loop().create_task(self._try(items))

    async def _try(self, items: dict[Item, float]) -> None:
        try:
            await self._send(list(items))
        except GputelError as error:
            if error.retriable:
                self.put_back(items)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
