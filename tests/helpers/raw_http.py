"""HTTP by hand on a socket: for requests that no client would send."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self

import msgspec

_PATIENCE_S = 60.0


class RawReply(NamedTuple):
    """One reply: its status, its fields by small name, its body decoded where it is JSON."""

    status: int
    fields: dict[str, str]
    body: Any


class Raw:
    """A connection on which bytes are written and replies read in their order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> Self:
        """A new connection to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """Write; what the other side no longer takes is dropped."""
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def reply(self) -> RawReply:
        """The next reply; those that only say to go on are passed over."""
        async with asyncio.timeout(_PATIENCE_S):
            status, fields = await self._head()
            body = await self.reader.readexactly(int(fields.get("content-length", 0)))
        is_json = fields.get("content-type", "").startswith("application/json")
        return RawReply(status, fields, msgspec.json.decode(body) if is_json else body)

    async def status(self) -> int:
        """The status of the next reply, whose body, if it has one, is not read."""
        async with asyncio.timeout(_PATIENCE_S):
            return (await self._head())[0]

    async def _head(self) -> tuple[int, dict[str, str]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[:-2]
        status = int(lines[0][9:12])
        if status == 100:
            return await self._head()
        pairs = (line.split(": ", 1) for line in lines[1:])
        return status, {name.lower(): value for name, value in pairs}

    async def rest(self) -> bytes:
        """All that comes until the other side closes or breaks the connection."""
        got = b""
        async with asyncio.timeout(_PATIENCE_S):
            try:
                while data := await self.reader.read(65_536):
                    got += data
            except ConnectionError:
                pass
        return got

    def vanish(self) -> None:
        """Break the connection, as a killed machine's would be once it is up again: RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def raw_to(port: int) -> AsyncIterator[Raw]:
    """A connection for as long as the context lasts."""
    raw = await Raw.to(port)
    try:
        yield raw
    finally:
        raw.writer.transport.abort()


def request(
    target: str = "/publish", body: bytes = b"", *fields: str, method: str = "POST"
) -> bytes:
    """A whole request; its length is told unless a field says otherwise."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields]
    if not any(field.lower().startswith(("content-length", "transfer-enc")) for field in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body


def message(id_: str, payload: str = "") -> bytes:
    """A publish of one message."""
    return request("/publish", msgspec.json.encode({"id": id_, "payload": payload}))
