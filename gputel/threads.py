"""Threads for work that needs much CPU time, which would block the event loop.

Each kind of work has its own threads. So queries that use all of theirs delay neither pushes nor
the process's own work (``GET /metrics``, the collector), which uses ``asyncio.to_thread``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most ``most`` threads for one kind of work; more work waits for a free thread.

    A thread is free when its work ends, even if nobody waits for the result any more.
    """

    def __init__(self, name: str, most: int) -> None:
        self.most = most
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=f"gputel-{name}")

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Start the work; it is dropped if the future is cancelled before a thread is free."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, partial(work, *args, **kwargs))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the work."""
        return await self.start(work, *args, **kwargs)

    async def run_if(
        self, large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of the work, which uses a thread only if it is ``large``."""
        return await self.start(work, *args, **kwargs) if large else work(*args, **kwargs)


EVALUATION = Threads("evaluation", 4)
"""For PromQL: the longest work that one request can cause."""

READING = Threads("reading", (os.cpu_count() or 1) + 4)
"""To decode, sort, encode and compress what requests read, in pieces of bounded size."""

PUSHES = Threads("pushes", 2)
"""To parse the bodies of pushes, which takes several times the memory of a body."""

LOOKUPS = Threads("lookups", 128)
"""For the names of hosts to scrape, since a lookup may hang."""
