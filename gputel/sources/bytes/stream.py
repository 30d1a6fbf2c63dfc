"""The bytes of a source file, read forward in bounded memory.

A file is read as it was when it was opened: bytes appended later are not seen, and a file that
shrinks is an error.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Protocol, Self

from gputel.errors import SourceError

_SAMPLES, _SAMPLE_BYTES, _END_BYTES = 16, 4096, 256 * 1024


class ByteStream(Protocol):
    """Bytes in order. If they end too early, ``damage`` says why, once the end is reached."""

    damage: str | None
    seekable: bool

    def read_into(self, view: memoryview) -> int:
        """Read some bytes into the view; return their number, 0 at the end."""
        ...

    def seek(self, offset: int) -> None:
        """Continue at an offset. If ``seekable`` is False, this reads everything before it."""
        ...

    def twin(self) -> ByteStream:
        """A second stream of the same bytes, at the start, even if the file has been renamed."""
        ...

    def fingerprint(self) -> str:
        """A fingerprint of the file's content: 32 hex digits, quick for a file of any size.

        BLAKE2b over the size, 256 KiB at each end and 16 samples between; a small file is read
        completely. An edit of a large file that keeps the size and all samples goes unnoticed.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class PlainBytes:
    """A regular file, cut at the size that it had when it was opened."""

    seekable = True

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.damage: str | None = None
        self.size = size
        self._descriptor = descriptor
        self._offset = 0

    @classmethod
    def open(cls, path: Path, descriptor: int | None = None) -> Self:
        """Open a file, or a copy of the descriptor of one that is open; raises SourceError."""
        descriptor = _open(path) if descriptor is None else os.dup(descriptor)
        return cls(path, descriptor, os.fstat(descriptor).st_size)

    def twin(self) -> PlainBytes:
        """See ByteStream."""
        return PlainBytes(self.path, os.dup(self._descriptor), self.size)

    def read_into(self, view: memoryview) -> int:
        """See ByteStream. Raises SourceError if the file shrank or cannot be read on."""
        wanted = min(len(view), self.size - self._offset)
        if wanted <= 0:
            return 0
        try:
            count = os.preadv(self._descriptor, [view[:wanted]], self._offset)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read on: {error.strerror}") from None
        if not count:
            raise SourceError(
                f"{self.path}: shrank while it was read, from {self.size} bytes to "
                f"{os.fstat(self._descriptor).st_size}; ingest a file that nobody rewrites"
            )
        self._offset += count
        return count

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from an offset; this does not move the stream."""
        return os.pread(self._descriptor, count, offset)

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._descriptor

    def seek(self, offset: int) -> None:
        """See ByteStream."""
        self._offset = offset

    def fingerprint(self) -> str:
        """See ByteStream."""
        hasher = hashlib.blake2b(self.size.to_bytes(8, "big"), digest_size=16)
        spans = [(0, self.size)]
        if self.size > 2 * _END_BYTES + _SAMPLES * _SAMPLE_BYTES:
            step = self.size // (_SAMPLES + 1)
            spans = [(0, _END_BYTES), (self.size - _END_BYTES, _END_BYTES)]
            spans += [(step * sample, _SAMPLE_BYTES) for sample in range(1, _SAMPLES + 1)]
        for offset, count in spans:
            hasher.update(self.read_at(offset, count))
        return hasher.hexdigest()

    def close(self) -> None:
        """See ByteStream."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


def _open(path: Path) -> int:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise SourceError(f"{path}: is a directory; name a CSV file in it")
        if not stat.S_ISREG(mode):
            raise SourceError(f"{path}: is not a regular file; save its contents to one first")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise SourceError(f"{path}: may not be read; give this user read permission") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror}") from None
