"""The base of all compressed files: they are unpacked forward, from the start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from gputel.sources.bytes.stream import PlainBytes

_SEEK_BYTES = 1024 * 1024


class PackedBytes(ABC):
    """The contents of a compressed file, up to its end or its first damage. See ByteStream."""

    seekable = False

    def __init__(self, raw: PlainBytes) -> None:
        self.damage: str | None = None
        self._raw = raw
        self._restart()

    def _restart(self) -> None:
        self._raw.seek(0)
        self.damage = None
        self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """Prepare to unpack from the start of the file."""

    @abstractmethod
    def _next(self, limit: int) -> bytes:
        """The next bytes, at most ``limit``; empty at the end or after a damage."""

    def read_into(self, view: memoryview) -> int:
        """See ByteStream."""
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int) -> None:
        """See ByteStream."""
        self._restart()
        while offset:
            data = self._next(min(offset, _SEEK_BYTES))
            if not data:
                return
            offset -= len(data)

    def twin(self) -> Self:
        """See ByteStream."""
        return type(self)(self._raw.twin())

    def fingerprint(self) -> str:
        """See ByteStream; this is the fingerprint of the compressed bytes."""
        return self._raw.fingerprint()

    def close(self) -> None:
        """See ByteStream."""
        self._raw.close()
