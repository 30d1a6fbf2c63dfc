"""Settings from flags, the environment and defaults, in this order.

An empty environment variable counts as not set.
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from gputel.config.service_links import is_service_link, without_service_links
from gputel.config.settings import Meta, Settings
from gputel.config.values import PARSERS, check_broker_url, check_dsn, check_token
from gputel.errors import ConfigError
from gputel.masking import mask, mask_url, remember, remember_url

ENV_PREFIX = "GPUTEL_"
_HOST_NAME = re.compile(r"(\*?\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:]+")


class Origin(StrEnum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True)
class SettingSpec:
    """One setting as flags, environment and documentation see it."""

    component: str
    name: str
    type: Any
    optional: bool
    default: Any
    meta: Meta

    @property
    def flag(self) -> str:
        """The command-line flag, ``--broker-port``."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """The environment variable, ``GPUTEL_BROKER_PORT``."""
        return ENV_PREFIX + self.name.upper()

    def parse(self, text: str, source: str) -> Any:
        """Turn text into the setting's type, or raise a ConfigError naming ``source``."""
        try:
            value = PARSERS[self.type](text.strip())
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from None
        return self.check(value, source)

    def check(self, value: Any, source: str) -> Any:
        """Return the value if it is within its bounds, else raise a ConfigError."""
        meta = self.meta
        if meta.choices and value not in meta.choices:
            raise ConfigError(f"{source}: {value!r} is not one of {', '.join(meta.choices)}")
        if meta.minimum is not None and value < meta.minimum:
            raise ConfigError(f"{source}: {value} is less than the least allowed, {meta.minimum:g}")
        if meta.maximum is not None and value > meta.maximum:
            raise ConfigError(f"{source}: {value} is more than the most allowed, {meta.maximum:g}")
        return value

    def masked(self, value: Any) -> str:
        """The value as it may be shown: a secret's password is hidden."""
        if value is None:
            return ""
        return mask_url(str(value)) if self.meta.secret else mask(str(value))


def specs() -> list[SettingSpec]:
    """Every setting of every component, in the order of declaration."""
    found = []
    hints = typing.get_type_hints(Settings)
    for component, settings_type in hints.items():
        found += _specs_of(component, cast(Any, settings_type))
    return found


def _specs_of(component: str, settings_type: Any) -> list[SettingSpec]:
    hints = typing.get_type_hints(settings_type)
    defaults = settings_type()
    found = []
    for item in dataclasses.fields(settings_type):
        hint, optional = hints[item.name], False
        if isinstance(hint, types.UnionType):
            hint, optional = typing.get_args(hint)[0], True
        default = getattr(defaults, item.name)
        meta = item.metadata["gputel"]
        found.append(SettingSpec(component, item.name, hint, optional, default, meta))
    return found


@dataclass(frozen=True)
class Resolved:
    """Settings, and where each came from."""

    settings: Settings
    origins: Mapping[str, Origin]


def resolve(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Resolved:
    """Settings from flags (by field name; None means not given), environment and defaults.

    A command whose purpose asks for other defaults gives them by field name.

    Raises ConfigError naming the flag or the variable that is wrong, and for a ``GPUTEL_``
    variable that no setting has, so that a typing error does not pass in silence. Kubernetes'
    service links are passed over.
    """
    environ = without_service_links(os.environ if environ is None else environ)
    flags, defaults = flags or {}, defaults or {}
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, Origin] = {}
    for spec in specs():
        value, origin = _resolve_one(spec, flags, environ, defaults)
        values.setdefault(spec.component, {})[spec.name] = value
        origins[spec.name] = origin
    _refuse_unknown(environ)
    hints = typing.get_type_hints(Settings)
    settings = Settings(**{name: hints[name](**given) for name, given in values.items()})
    _check_urls(settings)
    return Resolved(settings, origins)


def _resolve_one(
    spec: SettingSpec,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    defaults: Mapping[str, Any],
) -> tuple[Any, Origin]:
    given = flags.get(spec.name)
    if given is not None:
        value = spec.parse(given, spec.flag) if isinstance(given, str) else given
        return spec.check(value, spec.flag), Origin.FLAG
    text = environ.get(spec.env, "")
    if text:
        return spec.parse(text, spec.env), Origin.ENVIRONMENT
    return defaults.get(spec.name, spec.default), Origin.DEFAULT


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """Refuse misspelt variables."""
    known = {spec.env for spec in specs()} | {"GPUTEL_ROLE", "GPUTEL_API_URL"}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in known:
            continue
        raise ConfigError(f"{name}: no such setting; `gputel config` lists them")


def mistaken_service_links(environ: Mapping[str, str]) -> list[str]:
    """The service links that have the name of a setting, as ``NAME=VALUE``, in order."""
    names = {spec.env for spec in specs()}
    return [
        f"{name}={text}"
        for name, text in sorted(environ.items())
        if name in names and is_service_link(name, text)
    ]


def from_environment(name: str, environ: Mapping[str, str] | None = None) -> Any:
    """One setting, by its field name, from the environment, else its default.

    Raises ConfigError that names the variable when its value is not possible.
    """
    (spec,) = [spec for spec in specs() if spec.name == name]
    environ = without_service_links(os.environ if environ is None else environ)
    return _resolve_one(spec, {}, environ, {})[0]


def _check_urls(settings: Settings) -> None:
    if settings.common.broker_url:
        check_broker_url(settings.common.broker_url)
    if settings.common.token:
        check_token(settings.common.token, "--token")
        remember(settings.common.token)
    for origin in filter(None, map(str.strip, (settings.api.cors_origins or "").split(","))):
        scheme, _, host = origin.partition("://")
        if origin != "*" and (scheme not in ("http", "https") or not host or "/" in host):
            raise ConfigError(
                f"--cors-origins: {mask(origin)!r} is no origin: write it like "
                "https://grafana.example, without a path, or * for all"
            )
    for name in filter(None, map(str.strip, (settings.access.allowed_hosts or "").split(","))):
        if name != "*" and not _HOST_NAME.fullmatch(name):
            raise ConfigError(
                f"--allowed-hosts: {name!r} is no name: write it like gpus.example, without scheme "
                "and port, .example for all names in it, or * for any"
            )
    if settings.postgres.postgres_dsn is not None:
        check_dsn(settings.postgres.postgres_dsn)
        remember_url(settings.postgres.postgres_dsn)
