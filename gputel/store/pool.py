"""Connections to Postgres, and its failures as gputel's errors; ``failures`` sorts causes."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import TypeAlias

import asyncpg

from gputel.backoff import Backoff
from gputel.config.settings import PostgresSettings
from gputel.errors import ConfigError, DataRefused, StoreError, StoreUnavailable
from gputel.failures import Cause, cause_of
from gputel.masking import mask, mask_url
from gputel.store.sessions import SessionEnded, begin, sessions_of

log = logging.getLogger("gputel.store")

_TEMPORARY_TYPES = (
    OSError,  # refused, reset, no such socket, unknown host, and TimeoutError
    asyncpg.InvalidCachedStatementError,
    # The client's state is wrong, as when a server's farewell came while a session was idle
    # (asyncpg issue 784: "another operation (2) is in progress"); a new session's is not.
    asyncpg.InternalClientError,
)
DATABASE_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
SESSION_SETTINGS = {"application_name": "gputel", "timezone": "UTC"}
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_CONNECT_TIMEOUT_S = 10.0
_LOG_EVERY_S = 5.0
_CLOSE_TIMEOUT_S = 5.0


def is_passing(error: BaseException) -> bool:
    """Whether trying the same again later can succeed."""
    if isinstance(error, _TEMPORARY_TYPES):
        return True
    if isinstance(error, asyncpg.PostgresError):
        return cause_of(error) is Cause.TEMPORARY
    # asyncpg has no class of its own for the use of a connection or pool that has gone away.
    return isinstance(error, asyncpg.InterfaceError) and (
        "closed" in str(error) or "closing" in str(error) or "released" in str(error)
    )


class store_errors:
    """Turn a failure of the database calls inside into StoreUnavailable or StoreError.

    For ``with`` and ``async with``. Wrap database calls only: every OSError inside counts as a lost
    connection. Errors of gputel's own, and those that no database call raises, pass through.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DATABASE_ERRORS):
            raise translated(_first(error)) from error

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)


def _first(error: BaseException) -> BaseException:
    """The SessionEnded that led to the error, if there is one, else the error itself."""
    earlier: BaseException | None = error
    while earlier is not None:
        if isinstance(earlier, SessionEnded):
            return earlier
        earlier = earlier.__context__
    return error


def translated(error: BaseException) -> StoreError:
    """The StoreUnavailable, DataRefused or other StoreError that stands for ``error``."""
    if is_passing(error):
        return StoreUnavailable(f"Postgres is away for now: {describe(error)}")
    if isinstance(error, asyncpg.PostgresError) and cause_of(error) is Cause.PERMANENT:
        return DataRefused(f"Postgres takes no such data: {describe(error)}")
    return StoreError(f"Postgres refused: {describe(error)}")


def describe(error: BaseException) -> str:
    """The error in one line, with its SQLSTATE, detail and hint where it has them."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return f"nothing listens there ({text})"
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return f"the session has ended ({text})" if is_passing(error) else text
    if not isinstance(error, asyncpg.PostgresError):
        return text
    # str() of asyncpg's server errors brings DETAIL and HINT along already.
    return f"{text} (SQLSTATE {error.sqlstate})" if error.sqlstate else text


Pool: TypeAlias = asyncpg.Pool
"""Connections to Postgres that a process shares."""


async def open_pool(dsn: str, settings: PostgresSettings) -> Pool:
    """A pool of at most ``postgres_pool_size`` sessions in UTC, once the server takes connections.

    Waits up to ``postgres_wait_s`` for a server that is away or starting. Raises ConfigError for a
    DSN that cannot be read, StoreError at once for what waiting cannot cure (a wrong password, an
    unknown database) and StoreUnavailable when the time is up.
    """
    started = time.monotonic()
    backoff, logged = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S), started
    while True:
        try:
            return await _create_pool(dsn, settings.postgres_pool_size)
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise ConfigError(
                f"postgres_dsn: {mask_url(dsn)} cannot be read: {mask(describe(error))}; "
                "it must look like postgresql://user:password@host:5432/database"
            ) from None
        except DATABASE_ERRORS as error:
            now, pause_s = time.monotonic(), backoff.next_s()
            if not is_passing(error) or isinstance(error, ssl.SSLCertVerificationError):
                raise StoreError(_refusal(dsn, error)) from error
            if now + pause_s > started + settings.postgres_wait_s:
                raise StoreUnavailable(_gone(dsn, settings.postgres_wait_s, error)) from error
            if now - logged >= _LOG_EVERY_S:
                logged = now
                log.warning("waiting for Postgres at %s: %s", mask_url(dsn), describe(error))
        await asyncio.sleep(pause_s)


async def _create_pool(dsn: str, size: int) -> Pool:
    return await asyncpg.create_pool(
        dsn,
        min_size=0,  # else asyncpg logs a traceback for each try while the server is away
        init_size=1,
        max_size=size,
        timeout=_CONNECT_TIMEOUT_S,
        server_settings=SESSION_SETTINGS,
        connection_class=sessions_of(dsn),
        init=begin,
    )


async def problem_of(pool: Pool) -> str | None:
    """None when Postgres answers, else what is wrong: a readiness check."""
    try:
        async with store_errors():
            await pool.fetchval("SELECT 1")
    except Exception as error:
        return str(error)
    return None


async def close_pool(pool: Pool) -> None:
    """Close the pool; after a few seconds, sessions that are still in use are cut off."""
    try:
        await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)
    except (TimeoutError, *DATABASE_ERRORS):
        pool.terminate()


def _refusal(dsn: str, error: BaseException) -> str:
    advice = "check --postgres-dsn"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        advice = "create the database, or name another in --postgres-dsn"
    elif isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        advice = "check the user and password in --postgres-dsn, and the server's pg_hba.conf"
    elif isinstance(error, ssl.SSLCertVerificationError):
        advice = (
            "its certificate is not trusted: check the host name in --postgres-dsn, and name the "
            "file of its authority with sslrootcert=FILE there"
        )
    return f"Postgres at {mask_url(dsn)} refused: {mask(describe(error))}; {advice}"


def _gone(dsn: str, wait_s: float, error: BaseException) -> str:
    return (
        f"Postgres at {mask_url(dsn)} did not answer within {wait_s:g} s: {mask(describe(error))}; "
        "start it, or correct --postgres-dsn (--postgres-wait-s sets how long to wait)"
    )
