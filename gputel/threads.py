"""Work that holds the CPU, beside the event loop where it is large enough to matter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def maybe_in_thread(
    large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do it where it does not hold up other requests; what is small is done sooner at once."""
    return await asyncio.to_thread(work, *args, **kwargs) if large else work(*args, **kwargs)
