"""Work that holds the CPU, beside the event loop where it is large enough to matter.

Each kind of work has threads of its own. So queries that take all of theirs hold up neither pushes
nor what the process does for itself (``GET /metrics``, the collector), which is in the threads of
``asyncio.to_thread``.
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
    """At most ``most`` threads for one kind of work; more work waits for a free one.

    A thread is free when its work ends, also if nobody waits for the result any more.
    """

    def __init__(self, name: str, most: int) -> None:
        self.most = most
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=f"gputel-{name}")

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Begin the work. If the future is cancelled, work that waits for a thread is dropped."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, partial(work, *args, **kwargs))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the work."""
        return await self.start(work, *args, **kwargs)

    async def run_if(
        self, large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of the work, done at once and without a thread if it is not large."""
        return await self.start(work, *args, **kwargs) if large else work(*args, **kwargs)


EVALUATION = Threads("evaluation", 4)
"""Evaluates PromQL: the longest work that one request can ask for."""

READING = Threads("reading", (os.cpu_count() or 1) + 4)
"""Decodes, sorts, encodes and compresses what requests read, in pieces of bounded size."""

PUSHES = Threads("pushes", 2)
"""Parses the bodies of pushes, which takes several times their memory."""
