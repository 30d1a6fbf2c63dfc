"""A cache that is bounded by the bytes of what it keeps."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Values by key, of at most ``max_bytes`` together; the oldest is forgotten first.

    May be used from several threads. A value of more than ``max_each`` bytes is not kept, so that a
    few large ones do not push out many small ones.
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
        """The value, or None if it is not kept."""
        found = self._held.get(key)
        return None if found is None else found[0]

    def sized(self, key: K) -> tuple[V, int] | None:
        """The value with its size, or None if it is not kept."""
        return self._held.get(key)

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of ``size`` bytes, and forget the oldest ones that have no room beside."""
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
