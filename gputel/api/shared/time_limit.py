"""How long a query may take until its answer begins: ``--query-timeout-s``.

What waits for Postgres inside is cancelled, and its statement with it. An answer that has begun to
be sent is not cut off: it ends when it is whole, or when its client takes no more of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.errors import QueryTimedOut
from gputel.web.errors import Handler

QUERIES = "/api/v1/"

_CLEAN_UP_S = 2.0
_DEADLINE = web.RequestKey("deadline", asyncio.Timeout)
Answer = TypeVar("Answer")


async def within(seconds: float, request: web.Request, work: Awaitable[Answer]) -> Answer:
    """What the work for a request gives, held to the limit until the answer begins.

    Work that is cancelled, as it is when the client leaves, is waited for: but not for ever, since
    a Postgres behind a dead network does not confirm that a statement ended. Raises QueryTimedOut
    where it takes longer, or raises a TimeoutError itself.
    """
    task = asyncio.ensure_future(work)
    try:
        async with asyncio.timeout(seconds) as request[_DEADLINE]:
            return await asyncio.shield(task)
    except TimeoutError:
        raise QueryTimedOut(
            f"query timed out: its answer was not ready within {seconds:g} s; ask for less (a "
            "shorter time, fewer series, a longer step, a limit), or raise --query-timeout-s"
        ) from None
    finally:
        del request[_DEADLINE]
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CLEAN_UP_S)


def time_limit_middleware(seconds: float) -> Middleware:
    """Hold every GET of a path of ``QUERIES`` to the limit, until its answer begins."""

    @web.middleware
    async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = handler(request)
        if request.method == "POST" or not request.path.startswith(QUERIES):
            return await answer
        return await within(seconds, request, answer)

    return limited


async def lift_time_limit(request: web.Request, _response: web.StreamResponse) -> None:
    """Let an answer that begins take its time: for ``Application.on_response_prepare``.

    Raises TimeoutError where the request is about to be refused.
    """
    deadline = request.get(_DEADLINE)
    if deadline is not None:
        if deadline.expired():
            raise TimeoutError
        deadline.reschedule(None)
