"""The bytes of a source file, plain or gzipped, read forward in bounded memory.

A file is read as it was when it was opened: bytes appended later are not seen, and a file that
shrinks is an error. Gzip is known by its first two bytes, not by its name.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from pathlib import Path
from typing import Protocol

from gputel.errors import SourceError

_GZIP_MAGIC = b"\x1f\x8b"
_OTHERS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"PAR1": "Parquet",
}
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_COMPRESSED_BYTES = 32 * 1024
_SAMPLES, _SAMPLE_BYTES, _END_BYTES = 16, 4096, 256 * 1024


class ByteStream(Protocol):
    """Bytes in order. ``damage`` says why they end before they should, once they have ended."""

    damage: str | None
    seekable: bool

    def read_into(self, view: memoryview) -> int:
        """Fill the view as far as one step goes; returns the number of bytes, 0 at the end."""
        ...

    def seek(self, offset: int) -> None:
        """Go on at an offset; where ``seekable`` is False this reads all that lies before it."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class PlainBytes:
    """A regular file, cut at the size that it had when it was opened."""

    seekable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        self._descriptor = _open(path)
        self.size = os.fstat(self._descriptor).st_size
        self._offset = 0

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
        """Up to ``count`` bytes from an offset, wherever the stream stands."""
        return os.pread(self._descriptor, count, offset)

    def seek(self, offset: int) -> None:
        """See ByteStream."""
        self._offset = offset

    def close(self) -> None:
        """See ByteStream."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class GzipBytes:
    """The contents of a gzip file, all its members, up to its end or its first damage.

    Whatever can be decompressed before the damage is handed out.
    """

    seekable = False

    def __init__(self, raw: PlainBytes) -> None:
        self.damage: str | None = None
        self._raw = raw
        self._restart()

    def _restart(self) -> None:
        self._raw.seek(0)
        self.damage = None
        self._inflater = zlib.decompressobj(_GZIP_WBITS)
        self._compressed = b""
        self._salvaged = b""

    def read_into(self, view: memoryview) -> int:
        """See ByteStream."""
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self, limit: int) -> bytes:
        while not self.damage and self._feed():
            before = self._inflater.copy()
            try:
                data = self._inflater.decompress(self._compressed, limit)
            except zlib.error as error:
                self._salvage(before, str(error))
                break
            self._compressed = self._inflater.unconsumed_tail
            if data:
                return data
        data, self._salvaged = self._salvaged[:limit], self._salvaged[limit:]
        return data

    def _feed(self) -> bool:
        """Have compressed bytes at hand; False at the end of the file."""
        if self._inflater.eof:
            self._compressed = self._inflater.unused_data.lstrip(b"\0")
        if not self._compressed:
            self._compressed = self._read_compressed()
        if self._inflater.eof:
            self._compressed = self._compressed.lstrip(b"\0")
            if self._compressed:
                self._inflater = zlib.decompressobj(_GZIP_WBITS)
        elif not self._compressed:
            self.damage = "the gzip data ends in its middle"
        return bool(self._compressed)

    def _read_compressed(self) -> bytes:
        buffer = bytearray(_COMPRESSED_BYTES)
        return bytes(buffer[: self._raw.read_into(memoryview(buffer))])

    def _salvage(self, inflater: zlib._Decompress, error: str) -> None:
        """Decompress byte by byte up to the damage, which a larger step would lose."""
        pieces = []
        try:
            for place in range(len(self._compressed)):
                pieces.append(inflater.decompress(self._compressed[place : place + 1]))
        except zlib.error:
            pass
        self._salvaged = b"".join(pieces)
        self.damage = f"the gzip data is damaged ({error})"

    def seek(self, offset: int) -> None:
        """See ByteStream."""
        self._restart()
        while offset:
            data = self._next(min(offset, 1024 * 1024))
            if not data:
                return
            offset -= len(data)

    def close(self) -> None:
        """See ByteStream."""
        self._raw.close()


def open_bytes(path: Path) -> ByteStream:
    """Open a file by what it holds; raises SourceError where it is none that gputel reads."""
    plain = PlainBytes(path)
    if not plain.size:
        raise SourceError(f"{path}: is empty; a DCGM CSV starts with a header line")
    magic = plain.read_at(0, 8)
    if magic.startswith(_GZIP_MAGIC):
        return GzipBytes(plain)
    for known, name in _OTHERS.items():
        if magic.startswith(known):
            raise SourceError(f"{path}: is a {name} file; unpack it to CSV, or use gzip")
    return plain


def fingerprint(path: Path) -> str:
    """What tells this file's content from another's: 32 hex digits, cheap for any size.

    BLAKE2b over the size, 256 KiB at each end and 16 samples between; all of a small file. An
    edit of a large file that keeps its size and misses every sample goes unnoticed.
    """
    plain = PlainBytes(path)
    size = plain.size
    hasher = hashlib.blake2b(size.to_bytes(8, "big"), digest_size=16)
    if size <= 2 * _END_BYTES + _SAMPLES * _SAMPLE_BYTES:
        hasher.update(plain.read_at(0, size))
    else:
        hasher.update(plain.read_at(0, _END_BYTES))
        for sample in range(_SAMPLES):
            hasher.update(plain.read_at(size * (sample + 1) // (_SAMPLES + 1), _SAMPLE_BYTES))
        hasher.update(plain.read_at(size - _END_BYTES, _END_BYTES))
    plain.close()
    return hasher.hexdigest()


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
