"""The rights of a role for the api alone: it reads, and writes keys and demands of streams."""

from __future__ import annotations

import asyncpg

from gputel.errors import StoreError
from gputel.store.pool import store_errors

_READ = "SELECT"
_NOTE = "SELECT, INSERT, UPDATE"
_FOLLOW = "SELECT, INSERT, UPDATE, DELETE"
RIGHTS = {
    "schema_migration": _READ,
    "series": _READ,
    "series_end": _READ,
    "gpu": _READ,
    "sample_block": _READ,
    "sample_block_part": _READ,
    "sample_frame": _READ,
    "series_list_member": _READ,
    "stored_block": _READ,
    "rollup": _READ,
    "rollup_part": _READ,
    "rollup_stale": _READ,
    "telemetry": _READ,
    "scrape_target": _READ,
    "push_key": _NOTE,
    "landing": _FOLLOW,
    "landing_demand": _FOLLOW,
    "landing_horizon": _FOLLOW,
}
"""What the api does with each table and view. Nothing of it changes or deletes landed samples:
``landing`` is a copy of the newest ones for live streams."""

_ROLE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
_GRANT = """
SELECT format('GRANT %s ON %I.%I TO %I', rights, current_schema(), name, $1::text)
FROM unnest($2::text[], $3::text[]) AS wanted (name, rights)
UNION ALL SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), $1::text)
UNION ALL SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1::text)
"""
_MISSING = """
SELECT each || ' on ' || name
FROM unnest($1::text[], $2::text[]) AS wanted (name, rights),
     unnest(string_to_array(rights, ', ')) AS each
WHERE NOT has_table_privilege(name, each)
"""


async def grant(connection: asyncpg.Connection, role: str) -> list[str]:
    """Grant a role the rights that the api needs; return them. The schema must be up to date.

    Raises StoreError if the role does not exist, or the connection's role may not grant.
    """
    async with store_errors(), connection.transaction():
        if not await connection.fetchval(_ROLE, role):
            raise StoreError(
                f"Postgres has no role {role!r}: make it first, as by "
                "CREATE ROLE ... LOGIN PASSWORD ..."
            )
        rows = await connection.fetch(_GRANT, role, list(RIGHTS), list(RIGHTS.values()))
        for (statement,) in rows:
            await connection.execute(statement)
    return [statement for (statement,) in rows]


async def check_rights(pool: asyncpg.Pool) -> None:
    """Raise StoreError if the role of the pool's sessions lacks a right that the api needs."""
    async with store_errors():
        rows = await pool.fetch(_MISSING, list(RIGHTS), list(RIGHTS.values()))
        role = await pool.fetchval("SELECT current_user")
    if rows:
        missing = ", ".join(row[0] for row in rows)
        raise StoreError(
            f"the role {role!r} of --postgres-dsn lacks rights that the api needs: {missing}; "
            f"run gputel db grant --role {role}, with the DSN of the role that owns the schema"
        )
