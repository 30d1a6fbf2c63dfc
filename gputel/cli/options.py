"""Flags of a command, derived from the settings that it uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click

from gputel.config.resolve import SettingSpec, specs

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(
    *components: str, skip: Collection[str] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[Command], Command]:
    """Add a flag for every setting of the named components; values arrive as text, or None.

    ``defaults`` are those that the command gives to ``resolve``, for the help.

    The command passes them, by name, to ``resolve``, which is the only parser of settings.
    """

    def decorate(command: Command) -> Command:
        for spec in reversed(specs()):
            if spec.component in components and spec.name not in skip:
                default = (defaults or {}).get(spec.name, spec.default)
                command = _option(spec, default)(command)
        return command

    return decorate


def _option(spec: SettingSpec, value: Any) -> Callable[[Command], Command]:
    default = "" if value is None else f"  [default: {spec.masked(value)}]"
    if spec.type is bool:
        names = f"{spec.flag}/--no-{spec.name.replace('_', '-')}"
        return click.option(names, spec.name, default=None, help=spec.meta.help + default)
    metavar = "|".join(spec.meta.choices) or spec.type.__name__.upper()
    return click.option(
        spec.flag, spec.name, default=None, metavar=metavar, help=spec.meta.help + default
    )
