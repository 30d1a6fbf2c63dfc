"""A cache that is bounded by the size of its values in bytes."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Values by key, of at most ``max_bytes`` together. The oldest value is dropped first.

    Several threads may use it. A value of more than ``max_each`` bytes is not cached, so that a
    few large values do not displace many small ones.
    """

    def __init__(
        self, max_bytes: int, max_each: int | None = None, max_values: int | None = None
    ) -> None:
        self._max_bytes, self._max_values = max_bytes, max_values
        self._max_each = min(max_bytes, max_each or max_bytes)
        self._held: dict[K, tuple[V, int]] = {}
        self._lock = Lock()
        self.bytes = 0

    def get(self, key: K) -> V | None:
        """The value, or None if it is not cached."""
        entry = self._held.get(key)
        return None if entry is None else entry[0]

    def sized(self, key: K) -> tuple[V, int] | None:
        """The value with its size, or None if it is not cached."""
        return self._held.get(key)

    def put(self, key: K, value: V, size: int) -> None:
        """Cache a value of ``size`` bytes; drop the oldest values if there is no room."""
        with self._lock:
            old = self._held.pop(key, None)
            self.bytes -= 0 if old is None else old[1]
            if size > self._max_each:
                return
            self._held[key] = value, size
            self.bytes += size
            while self.bytes > self._max_bytes or len(self._held) > (
                self._max_values or len(self._held)
            ):
                _, oldest = self._held.pop(next(iter(self._held)))
                self.bytes -= oldest
