"""``gputel run``, ``gputel roles`` and ``gputel config``."""

from __future__ import annotations

import socket
from typing import Any

import click

from gputel.cli.logs import configure_logs
from gputel.cli.no_effect import refuse_without_effect
from gputel.cli.options import settings_options
from gputel.cli.terminal import console
from gputel.config.resolve import resolve, specs
from gputel.config.settings import StreamerSettings
from gputel.errors import ConfigError
from gputel.memory import keep_memory_in_one_place
from gputel.roles.registry import ROLES, in_start_order, parse_roles
from gputel.runtime import run_loop, run_until_stopped

COMPONENTS = ("common", "postgres", "broker", "streamer", "collector", "api", "access")


@click.command("run")
@click.option(
    "--role",
    "roles",
    multiple=True,
    envvar="GPUTEL_ROLE",
    metavar="ROLE[,ROLE...]",
    help="broker, streamer, collector, api or all; repeat it, or use commas, for several.",
)
@settings_options(*COMPONENTS)
def run_command(roles: tuple[str, ...], **flags: Any) -> None:
    """Run one or more roles until SIGTERM or Ctrl-C, then finish pending work and stop."""
    names = parse_roles(roles)
    resolved, running = resolve(flags), [role.name for role in in_start_order(names)]
    settings = resolved.settings
    refuse_without_effect(resolved, running)
    configure_logs(settings.common)
    if names != ["api"]:  # its exports are encoded in several threads at once
        keep_memory_in_one_place()
    if "streamer" in running:
        _check_sources(settings.streamer)
    run_loop(run_until_stopped(names, settings))


def _check_sources(settings: StreamerSettings) -> None:
    """Refuse contradicting settings, a file that cannot be streamed, wrong scrapes, and no GPU.

    Raises ConfigError, UsageError or SourceError, before anything starts.
    """
    if settings.follow and settings.csv is None:
        raise ConfigError("--follow: needs --csv FILE, the file that grows")
    if settings.reads_rows:
        _check_file(settings)
    if settings.scrapes:
        from gputel.streamer.scrape.targets import TargetList

        TargetList.of(settings)
    if settings.nvml:
        from gputel.streamer.nvml.client import check_nvml

        run_loop(check_nvml(socket.gethostname()))


def _check_file(settings: StreamerSettings) -> None:
    from gputel.sources.csv.file import CsvFile
    from gputel.sources.csv.growing import check_followed, open_growing

    if settings.follow and settings.loop:
        raise ConfigError(
            "--follow and --loop contradict each other: one waits for more rows at the end of the "
            "file, the other starts again there; leave one out"
        )
    if settings.loop and settings.timestamps == "source":
        raise ConfigError(
            "--loop and --timestamps source contradict each other: the times in the file would "
            "come again and again; leave one out (without --csv, --no-loop ends the loop)"
        )
    if settings.csv and settings.follow:
        check_followed(settings.csv)
        open_growing(settings.csv)
    elif settings.csv:
        CsvFile.open(settings.csv)


@click.command("roles")
def roles_command() -> None:
    """Show the roles: what each does, which roles it needs, and which start before it."""
    from rich.table import Table

    table = Table("role", "what it does", "needs", "comes after", box=None, pad_edge=False)
    for role in ROLES.values():
        name = f"({role.name})" if role.internal else role.name
        table.add_row(name, role.summary, _names(role.needs), _names(role.after))
    order = " -> ".join(role.name for role in in_start_order(["all"]) if role.start)
    screen = console()
    screen.print(table)
    screen.print(f"\nall starts: {order}; it stops in reverse. (name): starts when needed.")


def _names(names: frozenset[str]) -> str:
    return ", ".join(name for name in ROLES if name in names)


@click.command("config")
@settings_options(*COMPONENTS)
def config_command(**flags: Any) -> None:
    """Show every setting, its value, and where the value comes from; secrets are masked."""
    from rich.table import Table

    resolved = resolve(flags)
    table = Table("setting", "value", "from", "environment", box=None, pad_edge=False)
    for spec in specs():
        value = getattr(getattr(resolved.settings, spec.component), spec.name)
        table.add_row(spec.flag, spec.masked(value), resolved.origins[spec.name].value, spec.env)
    console(width=None if console().is_terminal else 160).print(table)
