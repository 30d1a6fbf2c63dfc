"""``gputel db``: the database behind gputel."""

from __future__ import annotations

import asyncio

import click

from gputel.cli.db.delete import delete_command
from gputel.cli.db.streams import streams_command
from gputel.cli.options import settings_options
from gputel.cli.terminal import echo
from gputel.config.resolve import resolve
from gputel.config.settings import Settings
from gputel.store.grants import grant
from gputel.store.migrations import migrate
from gputel.store.open import open_dsn, open_store
from gputel.store.pool import close_pool, open_pool, store_errors
from gputel.store.postgres.shared import running_dsn


@click.group()
def db() -> None:
    """The database: its DSN, its state, and its schema."""


@db.command()
@settings_options("data_dir", "postgres_dsn")
def url(**flags: str | None) -> None:
    """Print the DSN of the database, for psql: psql "$(gputel db url)"."""
    settings = resolve(flags).settings
    click.echo(settings.postgres.postgres_dsn or running_dsn(settings.common.data_dir))


@db.command("migrate")
@settings_options("data_dir", "postgres")
def migrate_command(**flags: str | None) -> None:
    """Bring the schema up to date, and print the migrations that it applied."""
    names = asyncio.run(_migrate(resolve(flags).settings))
    for name in names:
        echo(f"applied {name}")
    if not names:
        echo("the schema is up to date")


async def _migrate(settings: Settings) -> list[str]:
    async with open_dsn(settings) as dsn:
        pool = await open_pool(dsn, settings.postgres)
        try:
            async with store_errors(), pool.acquire() as connection:
                return await migrate(connection)
        finally:
            await close_pool(pool)


@db.command("grant")
@click.option("--role", required=True, metavar="NAME", help="The role, which must exist.")
@settings_options("data_dir", "postgres")
def grant_command(role: str, **flags: str | None) -> None:
    """Grant a Postgres role the rights that the api needs: it cannot change records that landed.

    Start the api with a DSN of this role. Grant the rights again after an upgrade of gputel.
    """
    for statement in asyncio.run(_grant(resolve(flags).settings, role)):
        click.echo(statement)


async def _grant(settings: Settings, role: str) -> list[str]:
    async with open_store(settings, make=False) as pool, pool.acquire() as connection:
        return await grant(connection, role)


@db.command()
@settings_options("data_dir", "postgres", "retention", "rollup_retention")
def maintain(**flags: str | None) -> None:
    """Make rollups, merge blocks, drop days older than --retention, and print what was done."""
    asyncio.run(_maintain(resolve(flags).settings))


async def _maintain(settings: Settings) -> None:
    from gputel.cli.db.status import print_work, say_waiting
    from gputel.store.upkeep.maintenance import Maintenance, sole_in_turn

    async with open_store(settings, make=False) as pool:
        limits = settings.collector.retention, settings.collector.rollup_retention
        async with sole_in_turn(pool, say_waiting) as connection:
            print_work(await Maintenance(pool, *limits).work(connection, everything=True))


@db.command()
@click.option("--format", "shape", type=click.Choice(("table", "json")), default="table")
@settings_options("data_dir", "postgres", "retention")
def status(shape: str, **flags: str | None) -> None:
    """Show the days of the store: their samples, their size, and the blocks still to merge."""
    asyncio.run(_status(resolve(flags).settings, shape))


async def _status(settings: Settings, shape: str) -> None:
    from gputel.cli.db.status import print_status
    from gputel.store.status import store_status

    async with open_store(settings, make=False) as pool:
        report = await store_status(pool, settings.collector.retention)
    print_status(report, shape)


db.add_command(streams_command)
db.add_command(delete_command)
