"""Sessions that notice when their server has vanished without closing the connection.

The client of a half-open connection waits for ever, and no time limit fits both a merge and a
short read. So a session that has waited for a while asks the server, over another connection, what
the server does for it:

    it works                   the session goes on waiting
    it waits for a lock        the same, up to a limit; then the statement is cancelled
    it is idle or unknown      the answer or the statement was lost: the session is ended
    no answer                  the server is away: the session is ended

The session is also ended at the server, which would keep its locks otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import asyncpg

log = logging.getLogger("gputel.store")

T = TypeVar("T")

_PATIENCE_S = 15.0  # with a statement before the server is asked about it, and between two times
_ASK_S = 10.0
_LOCK_S = 60.0  # that a statement may wait for a lock of another session, advisory ones apart
_AWAITED = frozenset(
    {
        "prepare",
        "bind",
        "bind_execute",
        "bind_execute_many",
        "execute",
        "query",
        "copy_in",
        "copy_out",
        "close_statement",
        "close_portal",
        "_wait_for_cancellation",
    }
)
_IDLE = ("idle", "idle in transaction", "idle in transaction (aborted)")
_STATE = """
SELECT state, wait_event_type, wait_event,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS since_s
FROM pg_stat_activity WHERE pid = $1
"""
# Keepalive finds a machine that is gone while nothing is sent, the user timeout one while it is.
_TCP_OPTIONS = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
_TCP_USER_TIMEOUT_MS = 30_000


class Session(asyncpg.Connection):  # type: ignore[misc]
    """A session that knows how long it has waited, and asks the server whether to go on."""

    dsn = ""
    pid = 0
    _watch: asyncio.TimerHandle | None = None
    _since = 0.0  # loop time at which that statement was sent
    _looking: asyncio.Task[None] | None = None
    _ended_for: str | None = None

    def __init__(self, protocol: Any, transport: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(_Watched(protocol, self._awaited), transport, *arguments, **options)
        _keep_alive(transport)

    async def begin(self) -> None:
        """Ask the server for the pid of this session: a proxy may have given another one."""
        self.pid = await self.fetchval("SELECT pg_backend_pid()")

    async def _awaited(self, answer: Awaitable[T]) -> T:
        loop = asyncio.get_running_loop()
        watch = loop.call_later(_PATIENCE_S, self._suspect)
        self._watch, self._since = watch, loop.time()
        try:
            return await answer
        except (asyncpg.ConnectionDoesNotExistError, ConnectionError, asyncpg.InterfaceError):
            if self._ended_for is not None:
                raise SessionEnded(self._ended_for) from None
            raise
        finally:
            watch.cancel()
            if self._watch is watch:
                self._watch = None

    def _suspect(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Ask about the statement repeatedly until it ends, then about the next ones."""
        loop = asyncio.get_running_loop()
        while (watch := self._watch) is not None and not self.is_closed():
            early_s = self._since + _PATIENCE_S - loop.time()
            if early_s > 0:
                await asyncio.sleep(early_s)
                continue
            try:
                async with asyncio.timeout(_ASK_S):
                    await self._ask(watch)
            except asyncpg.PostgresError:
                pass  # it answers, if only that it has no room: nothing is known
            except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                silent_s = _PATIENCE_S + _ASK_S
                self._end(watch, f"Postgres has not answered for {silent_s:g} s")
            except Exception as error:
                log.warning("cannot ask Postgres what a session does: %s", error)
            await asyncio.sleep(_PATIENCE_S)

    async def _ask(self, watch: asyncio.TimerHandle) -> None:
        other = await self._other()
        try:
            reason = await _judge(other, self.pid)
            if reason is not None and self._end(watch, reason):
                await other.fetchval("SELECT pg_terminate_backend($1)", self.pid)
        finally:
            other.terminate()

    def _end(self, watch: asyncio.TimerHandle, reason: str) -> bool:
        """End the session, unless the answer has come in the meantime."""
        if self._watch is not watch or self.is_closed():
            return False
        log.warning("a session with Postgres is ended: %s", reason)
        self._ended_for = reason
        self.terminate()
        return True

    async def _other(self) -> asyncpg.Connection:
        """Another session with the same one of the servers that the DSN names."""
        address = self._addr
        if isinstance(address, tuple):
            host, port = address
        else:
            host, _, port = str(address).rpartition("/.s.PGSQL.")
        settings = {"application_name": "gputel"}
        return await asyncpg.connect(
            self.dsn, host=host, port=int(port), timeout=_ASK_S, server_settings=settings
        )


def sessions_of(dsn: str) -> type[Session]:
    """The class of a pool's sessions, which can ask the server of the DSN."""
    return type("Session", (Session,), {"dsn": dsn})


async def begin(session: Session) -> None:
    """What a pool does with each new session."""
    await session.begin()


class SessionEnded(ConnectionError):
    """A session was ended by this process; the message says why."""


async def _judge(other: asyncpg.Connection, pid: int) -> str | None:
    row = await other.fetchrow(_STATE, pid)
    if row is None:
        return f"Postgres knows no session {pid} any more: its answer was lost on the way"
    if row["state"] not in _IDLE and row["wait_event"] != "ClientRead":
        if (
            row["wait_event_type"] == "Lock"
            and row["wait_event"] != "advisory"
            and row["since_s"] > _LOCK_S
        ):
            log.warning(
                "a statement has waited %.0f s for a lock of another session, and is tried anew; "
                "pg_blocking_pids(%d) names who holds it",
                row["since_s"],
                pid,
            )
            await other.fetchval("SELECT pg_cancel_backend($1)", pid)
        return None
    if row["since_s"] < _PATIENCE_S / 2:
        return None  # it has just answered
    return (
        f"what was sent, or its answer, was lost on the way: Postgres is idle ({row['state']}, "
        f"{row['wait_event']}) and has nothing to answer"
    )


class _Watched:
    """Asyncpg's protocol; a watch runs while it waits for an answer."""

    def __init__(self, protocol: Any, awaited: Callable[[Awaitable[Any]], Awaitable[Any]]) -> None:
        self._protocol = protocol
        for name in _AWAITED:
            setattr(self, name, _under(awaited, getattr(protocol, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)


def _under(
    awaited: Callable[[Awaitable[Any]], Awaitable[Any]], call: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    @wraps(call)
    def watched(*arguments: Any, **options: Any) -> Awaitable[Any]:
        return awaited(call(*arguments, **options))

    return watched


def _keep_alive(transport: Any) -> None:
    """Let the kernel check whether the other machine is still there."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _TCP_OPTIONS:
            if (option := getattr(socket, name, None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        if (option := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, _TCP_USER_TIMEOUT_MS)
