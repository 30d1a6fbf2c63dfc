"""What all queues of a broker hold together, within one bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Total:
    """Bytes that the queues hold, and those of publishes that wait for room.

    Each queue tells what it holds with ``change``. One that finds no room under this bound, though
    there is room under its own, waits with ``when_room``. Use it from one event loop only.
    """

    def __init__(self, max_bytes: int, max_waiting_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.max_waiting_bytes = max_waiting_bytes
        self.room = max_bytes
        """Bytes that are free; none may be, and less than none after a restart."""
        self.waiting = 0
        self._short: dict[Callable[[], object], None] = {}
        self._waking = False

    @property
    def held(self) -> int:
        """Bytes that all queues hold."""
        return self.max_bytes - self.room

    def change(self, by: int) -> None:
        """A queue holds so many bytes more, or less."""
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
