"""One bound for the bytes of all queues of a broker together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Total:
    """The bytes that the queues hold, and those of publishes that wait for room.

    Each queue reports its changes with ``change``. If a queue has room under its own bound and
    none under this one, it waits with ``when_room``. Use it from one event loop only.
    """

    def __init__(self, max_bytes: int, max_waiting_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.max_waiting_bytes = max_waiting_bytes
        self.room = max_bytes
        """Free bytes; after a restart it can be negative."""
        self.waiting = 0
        self._short: dict[Callable[[], object], None] = {}
        self._waking = False
        self.reclaim: Callable[[int], bool] = lambda _bytes: False
        """Frees so many bytes of dead letters; returns whether it could."""

    @property
    def used(self) -> int:
        """Bytes that all queues hold."""
        return self.max_bytes - self.room

    def change(self, by: int) -> None:
        """A queue holds ``by`` bytes more, or less."""
        self.room -= by
        if by < 0 and self._short and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def when_room(self, serve: Callable[[], object]) -> None:
        """Call ``serve`` once when bytes become free."""
        self._short[serve] = None

    def _wake(self) -> None:
        self._waking = False
        short, self._short = self._short, {}
        for serve in short:
            serve()
