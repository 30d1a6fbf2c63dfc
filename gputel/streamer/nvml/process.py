"""The process that calls NVML, as its parent sees it.

The event loop does not know the process, only a socket to it: a loop cannot be closed while a
process of its own hangs in the driver, where not even SIGKILL ends it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

_CHILD = "gputel.streamer.nvml.child"
_LOOK_S, _LOOKS = 0.02, 100  # for the end of the process


class NvmlAnswer(NamedTuple):
    """A reading, or the ``error`` for which there is none. The rest is that of NvmlReading."""

    text: bytes = b""
    error: str = ""
    failed: Mapping[str, int] = MappingProxyType({})
    lost: Sequence[str] = ()


class NvmlProcess:
    """Starts at once. A request may be given up; its answer is then thrown away.

    Raises OSError if the system cannot start a process.
    """

    def __init__(self, hostname: str) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                (sys.executable, "-P", "-m", _CHILD, hostname),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                start_new_session=True,  # Ctrl-C at a terminal does not reach it
            )
        self._streams: tuple[StreamReader, StreamWriter] | None = None
        self._asked_at = time.monotonic()
        self._asking: asyncio.Task[NvmlAnswer] | None = None
        self.answered = False
        """Whether it has answered at least once."""

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def silent_s(self) -> float:
        """The seconds since the request that is not answered yet."""
        return time.monotonic() - self._asked_at

    async def ask(self) -> NvmlAnswer:
        """The answer to a new request; one with an error if the process cannot answer any more."""
        if self._asking:
            late = await asyncio.shield(self._asking)
            if late.error:
                return late
        self._asked_at = time.monotonic()
        self._asking = asyncio.create_task(self._exchange())
        answer = await asyncio.shield(self._asking)
        self._asking = None
        return answer

    def kill(self) -> None:
        """Kill it. While it hangs in the driver, it keeps running all the same."""
        self._disconnect()
        self._process.kill()

    async def close(self) -> None:
        """End it in order; kill it if that takes too long, and leave it if even that does."""
        self._disconnect()
        if not await self._ended():
            self._process.kill()
            await self._ended()

    def _disconnect(self) -> None:
        """Close the socket, which is the end of the requests."""
        if self._asking:
            self._asking.cancel()
        if self._streams:
            self._streams[1].close()
        self._socket.close()

    async def _ended(self) -> bool:
        for _ in range(_LOOKS):
            if not self.running:
                return True
            await asyncio.sleep(_LOOK_S)
        return False

    async def _exchange(self) -> NvmlAnswer:
        try:
            answer = await self._request()
        except (OSError, EOFError, ValueError):
            return NvmlAnswer(error="the process that calls NVML has ended")
        self.answered = True
        return answer

    async def _request(self) -> NvmlAnswer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self._socket)
        reader, writer = self._streams
        writer.write(b"read\n")
        await writer.drain()
        header = json.loads(await reader.readline())
        if "error" in header:
            return NvmlAnswer(error=header["error"])
        text = await reader.readexactly(header["bytes"])
        return NvmlAnswer(text, "", header["failed"], header["lost"])
