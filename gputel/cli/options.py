"""Flags of a command, derived from the settings that it uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gputel import config

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(*components: str, skip: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add a flag for every setting of the named components; values arrive as text, or None.

    The command passes them, by name, to ``config.resolve``, which is the only parser of settings.
    """

    def decorate(command: Command) -> Command:
        for spec in reversed(config.specs()):
            if spec.component in components and spec.name not in skip:
                command = _option(spec)(command)
        return command

    return decorate


def _option(spec: config.SettingSpec) -> Callable[[Command], Command]:
    default = "" if spec.default is None else f"  [default: {spec.masked(spec.default)}]"
    if spec.type is bool:
        names = f"{spec.flag}/--no-{spec.name.replace('_', '-')}"
        return click.option(names, spec.name, default=None, help=spec.meta.help + default)
    metavar = "|".join(spec.meta.choices) or spec.type.__name__.upper()
    return click.option(
        spec.flag, spec.name, default=None, metavar=metavar, help=spec.meta.help + default
    )
