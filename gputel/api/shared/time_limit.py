"""The time limit of queries, ``--query-timeout-s``: how long an answer may take to begin.

A query over the limit is cancelled, and its statement in Postgres with it. An answer that has
begun is not cut off: it ends when it is complete, or when its client stops taking it.
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
    """Do the work for a request, within the limit until the answer begins.

    If the work is cancelled, for example because the client left, this waits for its end. It does
    not wait for ever: behind a dead network Postgres never confirms that a statement ended. Raises
    QueryTimedOut if the work takes longer than ``seconds`` or raises a TimeoutError.
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
    """A middleware that limits each request under ``QUERIES`` but a POST, until its answer begins.

    Queries in PromQL are elsewhere, and call ``within`` themselves.
    """

    @web.middleware
    async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = handler(request)
        if request.method == "POST" or not request.path.startswith(QUERIES):
            return await answer
        return await within(seconds, request, answer)

    return limited


async def lift_time_limit(request: web.Request, _response: web.StreamResponse) -> None:
    """End the limit of a request whose answer begins; for ``Application.on_response_prepare``.

    Raises TimeoutError if the request is over the limit and about to be refused.
    """
    deadline = request.get(_DEADLINE)
    if deadline is not None:
        if deadline.expired():
            raise TimeoutError
        deadline.reschedule(None)
