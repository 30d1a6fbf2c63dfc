"""A TCP relay in front of a server that a test can cut, as a failing network would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


_LONG = 4096  # bytes


class Wire:
    """Relays connections from a port of this machine to where ``connect`` leads."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._connect = connect
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._readers: set[asyncio.StreamReader] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._muted: set[asyncio.StreamReader] = set()
        self._to_damage = 0

    @property
    def url(self) -> str:
        """Where the wire begins, for HTTP."""
        return f"http://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and take no new one."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Pass nothing on, and break nothing, as where packets are lost."""
        self._flows.clear()

    def mute(self) -> None:
        """Pass nothing on that comes over the connections of now; new ones work."""
        self._muted |= self._readers

    def damage(self, pieces: int) -> None:
        """Flip a bit in the middle of each of so many long pieces that come."""
        self._to_damage += pieces

    def thaw(self) -> None:
        """Pass on again, from where it was."""
        self._flows.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, back = await self._connect()
        self._writers |= {writer, back}
        self._readers |= {reader, there}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= {writer, back}
            self._readers -= {reader, there}
            self._tasks.discard(task)
            writer.close()
            back.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                if reader in self._muted:
                    continue
                await self._flows.wait()
                if self._to_damage and len(data) > _LONG:
                    self._to_damage -= 1
                    at = len(data) // 2
                    data = b"".join((data[:at], bytes([data[at] ^ 4]), data[at + 1 :]))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


class PostgresWire(Wire):
    """Relays to the unix socket of a Postgres."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        socket = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"
        self._user, self._database = parts.username or query["user"][0], parts.path
        super().__init__(lambda: asyncio.open_unix_connection(socket))

    @property
    def dsn(self) -> str:
        """The way to the same database through the wire."""
        return f"postgresql://{self._user}@127.0.0.1:{self._port}{self._database}?sslmode=disable"


@asynccontextmanager
async def wire_to(dsn: str) -> AsyncIterator[PostgresWire]:
    """A wire to the server of ``dsn``, whole."""
    wire = PostgresWire(dsn)
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()


@asynccontextmanager
async def wire_to_port(port: int) -> AsyncIterator[Wire]:
    """A wire to a server on this machine, whole."""
    wire = Wire(lambda: asyncio.open_connection("127.0.0.1", port))
    await wire.mend()
    try:
        yield wire
    finally:
        await wire.cut()
