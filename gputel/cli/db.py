"""``gputel db``: the database behind gputel."""

from __future__ import annotations

import asyncio

import click

from gputel import config
from gputel.cli.options import settings_options
from gputel.config import Settings
from gputel.store.embedded import running_dsn
from gputel.store.migrations import migrate
from gputel.store.open import open_dsn
from gputel.store.pool import close_pool, open_pool, store_errors


@click.group()
def db() -> None:
    """The database: where it is, and its schema."""


@db.command()
@settings_options("common", "postgres")
def url(**flags: str | None) -> None:
    """Print the DSN of the database, for psql: psql "$(gputel db url)"."""
    settings = config.resolve(flags).settings
    click.echo(settings.postgres.postgres_dsn or running_dsn(settings.common.data_dir))


@db.command("migrate")
@settings_options("common", "postgres")
def migrate_command(**flags: str | None) -> None:
    """Bring the schema up to date, and print what was applied."""
    names = asyncio.run(_migrate(config.resolve(flags).settings))
    for name in names:
        click.echo(f"applied {name}")
    if not names:
        click.echo("the schema is up to date")


async def _migrate(settings: Settings) -> list[str]:
    async with open_dsn(settings) as dsn:
        pool = await open_pool(dsn, settings.postgres)
        try:
            async with store_errors(), pool.acquire() as connection:
                return await migrate(connection)
        finally:
            await close_pool(pool)
