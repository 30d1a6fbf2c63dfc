"""The flags of a command for the settings that it uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click

from gputel.config.resolve import SettingSpec, specs

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(
    *names: str, skip: Collection[str] = (), defaults: Mapping[str, Any] | None = None
) -> Callable[[Command], Command]:
    """Add a flag for each of some settings; the command gets its text, or None.

    ``names`` are of settings, or of components for all of their settings but those to ``skip``. The
    command passes the texts, by name, to ``resolve``, which alone parses settings. The help
    shows ``defaults``, which the command passes to ``resolve`` as well.
    """

    def decorate(command: Command) -> Command:
        for spec in reversed(specs()):
            if spec.name in names or (spec.component in names and spec.name not in skip):
                default = (defaults or {}).get(spec.name, spec.default)
                command = _option(spec, default)(command)
        return command

    return decorate


def _option(spec: SettingSpec, value: Any) -> Callable[[Command], Command]:
    text = spec.meta.help
    if value is not None:
        if spec.default is None:  # a default of the command's own replaces the one in the text
            text = text.partition(" Default: ")[0]
        text += f"  [default: {spec.masked(value)}]"
    if spec.type is bool:
        names = f"{spec.flag}/--no-{spec.name.replace('_', '-')}"
        return click.option(names, spec.name, default=None, help=text)
    metavar = "|".join(spec.meta.choices) or spec.type.__name__.upper()
    several: dict[str, Any] = {}
    if spec.meta.repeatable:
        several = {"multiple": True, "callback": _joined}
    return click.option(spec.flag, spec.name, default=None, metavar=metavar, help=text, **several)


def _joined(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> str | None:
    return ",".join(texts) or None
