"""Compression of answers for their transfer, if the client accepts it."""

from __future__ import annotations

import zlib
from typing import Protocol

import pyarrow as pa

from gputel.api.formats.columnar import BytesOut
from gputel.api.formats.format import Encoder
from gputel.store.read.records import Records

LEAST_BYTES = 1400
"""A shorter body is not compressed: it fits into one packet as it is."""

CODINGS = ("zstd", "gzip")
"""The names in Accept-Encoding and Content-Encoding, the preferred one first."""

_GZIP_LEVEL, _GZIP_WINDOW = 3, 31  # a window of 32 KiB, with the header of gzip


class Compressor(Protocol):
    """Takes bytes, gives compressed bytes, some of them later. Its methods block."""

    def add(self, data: bytes) -> bytes:
        """Take bytes, and give the compressed bytes that are ready."""
        ...

    def end(self) -> bytes:
        """Give all that is left."""
        ...


class Gzip:
    """RFC 1952."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)

    def add(self, data: bytes) -> bytes:
        """Take bytes, and give the compressed bytes that are ready."""
        return self._stream.compress(data)

    def end(self) -> bytes:
        """Give all that is left."""
        return self._stream.flush()


class Zstd:
    """RFC 8878."""

    def __init__(self) -> None:
        self._out = BytesOut()
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self._out, "w"), "zstd")

    def add(self, data: bytes) -> bytes:
        """Take bytes, and give the compressed bytes that are ready."""
        self._stream.write(data)
        return self._out.take()

    def end(self) -> bytes:
        """Give all that is left."""
        self._stream.close()
        return self._out.take()


class CompressedEncoder:
    """An encoder whose bytes are compressed."""

    def __init__(self, encoder: Encoder, coding: str) -> None:
        self._encoder = encoder
        self._compressor = compressor(coding)

    def start(self) -> bytes:
        """The beginning of the answer."""
        return self._compressor.add(self._encoder.start())

    def add(self, records: Records) -> bytes:
        """Encode more records, at least one."""
        return self._compressor.add(self._encoder.add(records))

    def end(self) -> bytes:
        """The end of the answer."""
        return self._compressor.add(self._encoder.end()) + self._compressor.end()


def compressor(coding: str) -> Compressor:
    """A new compressor for one of ``CODINGS``."""
    return Zstd() if coding == "zstd" else Gzip()


def compress(coding: str, body: bytes) -> bytes:
    """Compress a complete body. Blocks."""
    stream = compressor(coding)
    return stream.add(body) + stream.end()
