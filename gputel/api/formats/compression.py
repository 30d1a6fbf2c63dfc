"""What an answer is compressed with for its transfer, where the client asks for it."""

from __future__ import annotations

import zlib
from typing import Protocol

import pyarrow as pa
from aiohttp import web

from gputel.api.formats.columnar import BytesOut
from gputel.web.headers import accept

LEAST_BYTES = 1400
"""A shorter body fits one packet as it is."""

CODINGS = ("zstd", "gzip")
_GZIP_LEVEL, _GZIP_WINDOW = 3, 31  # a window of 32 KiB, with the header of gzip


class Compressor(Protocol):
    """Bytes in, compressed bytes out, some of them later. Blocks."""

    def add(self, data: bytes) -> bytes:
        """Take bytes; what can be sent by now."""
        ...

    def end(self) -> bytes:
        """All that is left."""
        ...


class Gzip:
    """RFC 1952."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)

    def add(self, data: bytes) -> bytes:
        """Take bytes; what can be sent by now."""
        return self._stream.compress(data)

    def end(self) -> bytes:
        """All that is left."""
        return self._stream.flush()


class Zstd:
    """RFC 8878."""

    def __init__(self) -> None:
        self._out = BytesOut()
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self._out, "w"), "zstd")

    def add(self, data: bytes) -> bytes:
        """Take bytes; what can be sent by now."""
        self._stream.write(data)
        return self._out.take()

    def end(self) -> bytes:
        """All that is left."""
        self._stream.close()
        return self._out.take()


def compressor(coding: str) -> Compressor:
    """One of ``CODINGS``."""
    return Zstd() if coding == "zstd" else Gzip()


def compress(coding: str, body: bytes) -> bytes:
    """The whole body at once."""
    stream = compressor(coding)
    return stream.add(body) + stream.end()


def asked_coding(request: web.Request) -> str | None:
    """What Accept-Encoding likes best of ``CODINGS``; None for bytes as they are."""
    return accept.coding(request.headers.getall("Accept-Encoding", []), CODINGS)
