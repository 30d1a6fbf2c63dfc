"""Room for request bodies: taken as they come, and no slow sender keeps others out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gputel.web.errors import error_middleware
from gputel.web.server.intake import BodyIntake, BoundNames
from tests.helpers.raw_http import Raw, request

KIB = 1024
BODY = 1024 * KIB
ROOM = 3 * BODY
BOUNDS = BoundNames("--body", "--bodies", "--time")


class Served:
    """A server whose handler reads bodies into an intake, and answers when it is told to."""

    def __init__(self, intake: BodyIntake) -> None:
        self.intake = intake
        self.port = 0
        self.whole = 0  # bodies that were received
        self.most = 0  # bytes that the intake held
        self.answering = asyncio.Event()
        self.answering.set()

    async def handle(self, asked: web.Request) -> web.Response:
        body = await self.intake.receive(asked, 2 * BODY)
        self.whole += 1
        await self.answering.wait()
        return web.json_response({"size": len(body)})

    async def until_held(self, size: int) -> None:
        """Wait until the intake holds so many bytes."""
        async with asyncio.timeout(20):
            while self.intake.taken_bytes < size:
                await asyncio.sleep(0.005)

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, self.intake.taken_bytes)
            await asyncio.sleep(0)


@asynccontextmanager
async def served(timeout_s: float = 10.0) -> AsyncIterator[Served]:
    one = Served(BodyIntake(ROOM, timeout_s, BOUNDS))
    app = web.Application(client_max_size=2 * BODY, middlewares=[error_middleware])
    app.router.add_post("/", one.handle)
    watching = asyncio.create_task(one.watch())
    async with TestServer(app) as server:
        assert server.port is not None
        one.port = server.port
        yield one
    watching.cancel()


async def begun(one: Served, sent: int, size: int = BODY) -> Raw:
    """A connection on which a body was begun and not ended."""
    raw = await Raw.to(one.port)
    whole = request("/", b"x" * size)
    await raw.send(whole[: len(whole) - size + sent])
    return raw


async def test_senders_who_send_nothing_hold_no_room() -> None:
    async with served() as one:
        slow = [await begun(one, 1) for _ in range(20)]
        for _ in range(3):
            raw = await Raw.to(one.port)
            await raw.send(request("/", b"x" * BODY))
            assert (await raw.reply()).status == 200
            raw.vanish()
        assert one.intake.taken_bytes == 20
        for raw in slow:
            raw.vanish()


async def test_slow_senders_who_hold_all_the_room_are_cut_off_when_others_wait() -> None:
    async with served(timeout_s=2.0) as one:
        slow = [await begun(one, BODY - 10) for _ in range(3)]
        await one.until_held(ROOM - 30)
        raw = await Raw.to(one.port)
        sending = asyncio.create_task(raw.send(request("/", b"x" * BODY)))
        assert (await raw.reply()).status == 200
        await sending
        refused = await slow[-1].reply() if one.whole == 0 else await first_reply(slow)
        assert (refused.status, refused.body["code"]) == (408, "too_slow")
        assert "others wait" in refused.body["message"]
        for each in [*slow, raw]:
            each.vanish()


async def first_reply(raws: list[Raw]):
    """The reply that comes first on any of the connections."""
    replies = [asyncio.create_task(raw.reply()) for raw in raws]
    done, pending = await asyncio.wait(replies, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(pending) if pending else None
    return done.pop().result()


async def test_slow_senders_are_let_be_when_nobody_waits() -> None:
    async with served(timeout_s=0.5) as one:
        raw = await begun(one, 0)
        whole = b"x" * BODY
        for at in range(0, BODY, 64 * KIB):
            await raw.send(whole[at : at + 64 * KIB])
            await asyncio.sleep(0.05)
        assert (await raw.reply()).status == 200
        raw.vanish()


async def test_bodies_that_fill_the_room_half_way_do_not_block_each_other() -> None:
    async with served() as one:
        raws = [await begun(one, BODY // 2) for _ in range(6)]
        await one.until_held(ROOM)
        rests = [asyncio.create_task(raw.send(b"x" * (BODY // 2))) for raw in raws]
        assert [(await raw.reply()).status for raw in raws] == [200] * 6
        await asyncio.gather(*rests)
        assert one.intake.taken_bytes == 0
        assert one.most <= ROOM + BODY
        for raw in raws:
            raw.vanish()


async def test_bodies_that_are_being_answered_are_waited_for_and_not_passed() -> None:
    async with served() as one:
        one.answering.clear()
        raws = [await Raw.to(one.port) for _ in range(6)]
        sending = [asyncio.create_task(raw.send(request("/", b"x" * BODY))) for raw in raws]
        await one.until_held(ROOM - 256 * KIB)
        for _ in range(200):
            await asyncio.sleep(0)
        one.answering.set()
        assert [(await raw.reply()).status for raw in raws] == [200] * 6
        await asyncio.gather(*sending)
        assert one.most <= ROOM + BODY
        for raw in raws:
            raw.vanish()


@pytest.mark.parametrize("at", ["while it is read", "while it waits"])
async def test_room_of_senders_who_leave_comes_back(at: str) -> None:
    async with served() as one:
        count = 2 if at == "while it is read" else 8
        raws = [await begun(one, BODY - 10) for _ in range(count)]
        await one.until_held(min(count * (BODY - 10), ROOM - 512 * KIB))
        for raw in raws:
            raw.vanish()
        async with asyncio.timeout(20):
            while one.intake.taken_bytes:
                await asyncio.sleep(0.005)
