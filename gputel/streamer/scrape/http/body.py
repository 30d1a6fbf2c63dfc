"""The body of an answer, unpacked, and never more of it in memory than a limit allows."""

from __future__ import annotations

import zlib

from aiohttp import ClientResponse

from gputel.errors import ScrapeFailed
from gputel.units import size

_GZIP = 16 + zlib.MAX_WBITS
_MOST_MEMBERS = 1000
ENDED_EARLY = "the answer ended too early"


async def read_body(response: ClientResponse, limit: int, limit_name: str) -> bytes:
    """The complete body. Raises ScrapeFailed, and what aiohttp raises for a lost connection.

    ``limit_name`` is the setting that the limit has, for the error.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    body: _Plain
    if encoding in ("gzip", "x-gzip"):
        body = _Gzip(limit, limit_name)
    elif encoding in ("identity", ""):
        body = _Plain(limit, limit_name)
    else:
        raise ScrapeFailed("the answer is compressed, but not by gzip, which was asked for")
    async for data in response.content.iter_any():
        body.feed(data)
    return body.end()


class _Plain:
    """A body that grows up to a limit."""

    def __init__(self, limit: int, limit_name: str) -> None:
        self._limit = limit
        self._limit_name = limit_name
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes that arrived."""
        self._size += len(data)
        if self._size > self._limit:
            name = f"{self._limit_name}, " if self._limit_name else ""
            raise ScrapeFailed(f"the answer is over {name}{size(self._limit)}")
        self._parts.append(data)

    def end(self) -> bytes:
        """The body."""
        return b"".join(self._parts)


class _Gzip(_Plain):
    """The same for a body in gzip, of which at most one byte over the limit is unpacked."""

    def __init__(self, limit: int, limit_name: str) -> None:
        super().__init__(limit, limit_name)
        self._member = zlib.decompressobj(_GZIP)
        self._members = 1

    def feed(self, data: bytes) -> None:
        """Take the next compressed bytes."""
        while data:
            if self._member.eof:  # a gzip file may have several members
                self._members += 1
                if self._members > _MOST_MEMBERS:  # each copies what follows it
                    raise ScrapeFailed(f"the answer's gzip has over {_MOST_MEMBERS} members")
                self._member = zlib.decompressobj(_GZIP)
            try:
                part = self._member.decompress(data, self._limit + 1 - self._size)
            except zlib.error:
                raise ScrapeFailed("the answer's gzip is damaged") from None
            super().feed(part)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def end(self) -> bytes:
        """The body. Raises ScrapeFailed if the compressed data has no end."""
        if not self._member.eof:
            raise ScrapeFailed(ENDED_EARLY)
        return super().end()
