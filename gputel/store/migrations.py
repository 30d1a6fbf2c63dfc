"""The schema, brought up to date by numbered SQL files, each applied once and in order."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources

import asyncpg

from gputel.errors import SchemaTooNew, StoreError
from gputel.store.pool import SESSION_SETTINGS, describe, store_errors, translated

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_LOCK_KEY = int.from_bytes(b"gputel", "big")  # of the advisory lock that one migrator holds
_CREATE_TABLE = """
CREATE TABLE schema_migration (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,  -- SHA-256 of the file
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True)
class Migration:
    """One SQL file: ``0001_schema.sql`` has version 1 and the name ``0001_schema``."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex; the same whatever a checkout does to line ends."""
        return hashlib.sha256(self.sql.replace("\r\n", "\n").encode()).hexdigest()


@cache
def known_migrations() -> tuple[Migration, ...]:
    """The migrations that come with this gputel, in order."""
    folder = resources.files("gputel.store") / "sql" / "migrations"
    migrations = []
    for file in folder.iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            name = file.name.removesuffix(".sql")
            migrations.append(Migration(int(match[1]), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(migrations, key=lambda migration: migration.version))


async def migrate(
    target: str | asyncpg.Connection, known: Sequence[Migration] | None = None
) -> list[str]:
    """Apply the missing migrations to a database (a DSN or a connection); return their names.

    Each file is one transaction, and any number of processes may call this at once: one works, the
    others wait for it. Raises SchemaTooNew for a database ahead of this gputel, StoreError for one
    whose applied files differ from ours, and StoreUnavailable when the connection is lost.
    """
    async with store_errors(), _connection(target) as connection, _sole_migrator(connection):
        try:
            return await _apply_missing(connection, known_migrations() if known is None else known)
        except asyncpg.InsufficientPrivilegeError as error:
            raise StoreError(
                f"this Postgres role may not bring the schema up to date: {describe(error)}; run "
                "gputel db migrate with the DSN of the role that owns the schema, then gputel db "
                "grant if this is a role for the api alone"
            ) from error


async def _apply_missing(connection: asyncpg.Connection, known: Sequence[Migration]) -> list[str]:
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        await connection.execute(_CREATE_TABLE)
    rows = await connection.fetch("SELECT version, name, checksum FROM schema_migration")
    applied = {row["version"]: row for row in rows}
    _refuse_unknown(applied, known)
    names = []
    for migration in known:
        if row := applied.get(migration.version):
            _refuse_changed(row, migration)
        else:
            await _apply(connection, migration)
            names.append(migration.name)
    return names


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)",
                migration.version,
                migration.name,
                migration.checksum,
            )
    except asyncpg.InsufficientPrivilegeError:
        raise
    except asyncpg.PostgresError as error:
        failure = translated(error)
        raise type(failure)(f"migration {migration.name}: {failure.message}") from error


def _refuse_unknown(applied: Mapping[int, Mapping[str, str]], known: Sequence[Migration]) -> None:
    unknown = sorted(set(applied) - {migration.version for migration in known})
    if unknown:
        names = ", ".join(applied[version]["name"] for version in unknown)
        raise SchemaTooNew(
            f"the database has migrations that this gputel does not know: {names}; "
            "install the gputel that made them, or a newer one"
        )


def _refuse_changed(row: Mapping[str, str], migration: Migration) -> None:
    if (row["name"], row["checksum"]) != (migration.name, migration.checksum):
        raise StoreError(
            f"migration {migration.name} differs from the {row['name']} that was applied to this "
            "database (another checksum); install the gputel that made the database, or use "
            "another database"
        )


@asynccontextmanager
async def _connection(target: str | asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    if not isinstance(target, str):
        yield target
        return
    connection = await asyncpg.connect(target, server_settings=SESSION_SETTINGS)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _sole_migrator(connection: asyncpg.Connection) -> AsyncIterator[None]:
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
    try:
        yield
    finally:
        # A lost connection has lost its locks as well.
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)
