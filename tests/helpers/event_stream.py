"""A client of server-sent events, as strict as a browser's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Event:
    """One event: its name, what it says, and the last id that came with it or before it."""

    name: str
    data: Any
    id: str


class EventStream:
    """Events of an answer, one after the other."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply
        self.last_id = ""

    async def next(self) -> Event | None:
        """The next event; None where the server has ended the stream."""
        name, data = "message", []
        while line := await self.reply.content.readline():
            field, _, text = line.decode().rstrip("\n").partition(":")
            text = text.removeprefix(" ")
            if field == "id":
                self.last_id = text
            elif field == "event":
                name = text
            elif field == "data":
                data.append(text)
            elif not field and not text:
                if data:
                    return Event(name, json.loads("\n".join(data)), self.last_id)
                name = "message"
        return None

    async def some(self, count: int) -> list[Event]:
        """The next events, that many."""
        found: list[Event] = []
        while len(found) < count:
            event = await self.next()
            assert event is not None, f"the stream ended after {len(found)} events"
            found.append(event)
        return found

    async def until_quiet(self) -> None:
        """Read on past the comment that tells of silence; events before it are thrown away."""
        while line := await self.reply.content.readline():
            if line.startswith(b"id: "):
                self.last_id = line[4:].decode().strip()
            if line.startswith(b":"):
                return


@asynccontextmanager
async def event_stream(
    client: aiohttp.ClientSession, last_id: str | None = None, **query: Any
) -> AsyncIterator[EventStream]:
    """An open stream: what lands from now on comes."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client.get("/api/v1/stream", params=query, headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        stream = EventStream(reply)
        if last_id is None:
            await stream.until_quiet()
        yield stream
