"""Start roles in order, wait for a stop, stop them in reverse within the drain deadline."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from importlib import import_module
from typing import Any, TypeVar

from gputel import metrics
from gputel.config.settings import Settings
from gputel.errors import Stopped
from gputel.file_limit import raise_file_limit
from gputel.roles.process import BrokerAddress, Process, Services
from gputel.roles.registry import check_ports_of, in_start_order

log = logging.getLogger("gputel")
Result = TypeVar("Result")

_GC_THRESHOLDS = (10_000, 20, 20)
_SAME_REQUEST_S = 0.5  # `timeout make run` sends one signal twice: to make's group and through make


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The function that makes gputel's event loop: uvloop's if uvloop is installed."""
    try:
        import uvloop
    except ImportError:  # pragma: no cover - only where uvloop has no build
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end. Raises Stopped if a signal cancelled it."""
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(main)
    except asyncio.CancelledError:
        raise Stopped("stopped while starting") from None


@asynccontextmanager
async def running(
    roles: Iterable[str], settings: Settings, modules: Sequence[str] = ()
) -> AsyncIterator[tuple[Process, Services]]:
    """Run the roles for as long as the context lasts; yields the process and what they offer.

    A thread imports ``modules``, which the caller needs next, while the roles start.

    SIGTERM and Ctrl-C set ``process.stopping``, and cancel a start that has not ended; a second
    Ctrl-C, half a second later or more, ends the process at once. At the end the roles stop in
    reverse order, all within the drain deadline. Raises the error that a role had in its start or
    in its work.
    """
    raise_file_limit()
    process = Process(settings)
    services = Services(BrokerAddress(settings.broker_url, settings.common.token))
    loop = asyncio.get_running_loop()
    with _Signals(loop, process):
        async with AsyncExitStack() as stack:
            in_order = in_start_order(roles)
            stack.enter_context(metrics.only_of(role.name for role in in_order))
            await check_ports_of(in_order, settings)
            _ = process.access  # wrong tokens are an error before any role starts
            needed = [*modules, *(name for role in in_order for name in role.modules)]
            with _imports_in_thread(needed):
                for role in in_order:
                    if role.start:
                        start = role.start(process, services)
                        services = await stack.enter_async_context(start)
                        log.debug("%s started", role.name)
            process.started = True
            stack.callback(_begin_stop, process)
            yield process, services
    if process.failure:
        raise process.failure


@contextmanager
def _imports_in_thread(modules: Sequence[str]) -> Iterator[None]:
    """Import modules in a thread while the roles start, without garbage collection.

    If a module cannot be imported, the code that needs it raises the error.
    """

    def import_all() -> None:
        with suppress(Exception):
            for name in modules:
                import_module(name)

    gc.disable()
    thread = threading.Thread(target=import_all, name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        # All objects so far live as long as the process, and messages are not in cycles. Searching
        # them for garbage again and again would cost a broker a fifth of its time.
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.enable()


def _begin_stop(process: Process) -> None:
    now = asyncio.get_running_loop().time()
    process.stop_deadline = now + process.settings.common.drain_deadline_s
    process.stopping.set()


async def run_until_stopped(roles: Iterable[str], settings: Settings) -> None:
    """Run the roles until a signal or an error in one of them stops the process."""
    async with running(roles, settings) as (process, _):
        log.info("ready")
        await process.stopping.wait()
        log.info("stopping: finishing pending work, %g s at most", process.remaining_s())
    log.info("stopped")


class _Signals:
    """Turn SIGTERM and SIGINT into a stop for as long as the context lasts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, process: Process) -> None:
        self._loop = loop
        self._process = process
        self._main = asyncio.current_task()
        self._first_at: float | None = None  # the loop's time

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop, number)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        now = self._loop.time()
        if self._first_at is None:
            self._first_at = now
        elif number == signal.SIGINT and now - self._first_at >= _SAME_REQUEST_S:
            log.warning("stopped at once, because of a second Ctrl-C")
            sys.stderr.flush()
            os._exit(130)
        self._process.stopping.set()
        if not self._process.started and self._main:
            self._main.cancel()
