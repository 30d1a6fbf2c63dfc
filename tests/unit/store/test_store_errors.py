from __future__ import annotations

import socket

import asyncpg
import pytest

from gputel.errors import BadRequest, StoreError, StoreUnavailable
from gputel.store.pool import store_errors, translated

TEMPORARY = [
    ConnectionRefusedError("refused"),
    ConnectionResetError("reset"),
    FileNotFoundError("no such socket"),
    TimeoutError(),
    socket.gaierror("unknown host"),
    asyncpg.AdminShutdownError("57P01"),
    asyncpg.CrashShutdownError("57P02"),
    asyncpg.CannotConnectNowError("57P03"),
    asyncpg.ConnectionDoesNotExistError("08003"),
    asyncpg.TooManyConnectionsError("53300"),
    asyncpg.DiskFullError("53100"),
    asyncpg.OutOfMemoryError("53200"),
    asyncpg.DeadlockDetectedError("40P01"),
    asyncpg.SerializationError("40001"),
    asyncpg.LockNotAvailableError("55P03"),
    asyncpg.QueryCanceledError("57014"),
    asyncpg.ReadOnlySQLTransactionError("25006"),
    asyncpg.InvalidCachedStatementError("schema changed"),
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InterfaceError("pool is closing"),
]
PERMANENT = [
    asyncpg.UndefinedTableError("42P01"),
    asyncpg.PostgresSyntaxError("42601"),
    asyncpg.UniqueViolationError("23505"),
    asyncpg.InvalidPasswordError("28P01"),
    asyncpg.InvalidCatalogNameError("3D000"),
    asyncpg.DataError("invalid input for query argument"),
    asyncpg.InterfaceError("another operation is in progress"),
]


def name(error: Exception) -> str:
    return f"{type(error).__name__}-{error}"


@pytest.mark.parametrize("error", TEMPORARY, ids=name)
def test_failure_that_can_pass_is_worth_another_try(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as raised, store_errors():
        raise error
    assert raised.value.retriable
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", PERMANENT, ids=name)
def test_failure_that_cannot_pass_is_not_tried_again(error: Exception) -> None:
    with pytest.raises(StoreError) as raised, store_errors():
        raise error
    assert not raised.value.retriable
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [BadRequest("bad"), KeyError("bug"), StoreUnavailable("gone")])
def test_what_no_database_call_raises_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, store_errors():
        raise error
    assert raised.value is error


async def test_asynchronous_block_is_translated_too() -> None:
    with pytest.raises(StoreUnavailable, match="refused"):
        async with store_errors():
            raise ConnectionRefusedError("refused")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (asyncpg.InternalClientError("cannot switch to state 12"), "the session has ended"),
        (asyncpg.InterfaceError("the underlying connection is closed"), "the session has ended"),
        (FileNotFoundError(2, "No such file or directory"), "nothing listens there"),
    ],
)
def test_errors_of_the_client_are_told_in_words(error: Exception, said: str) -> None:
    assert translated(error).message == f"Postgres is away for now: {said} ({error})"
