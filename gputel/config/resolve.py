"""Settings from flags, the environment and defaults, in this order.

An empty environment variable counts as not set.
"""

from __future__ import annotations

import dataclasses
import functools
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
from gputel.config.values import BASE_PATH, PARSERS, check_broker_url, check_dsn, check_token
from gputel.errors import ConfigError
from gputel.masking import mask, mask_url, remember, remember_url

ENV_PREFIX = "GPUTEL_"
_UNITS = {"_s": " of seconds", "_h": " of hours"}  # of numbers, by the end of the name
_HOST_NAME = re.compile(r"(\*?\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:]+")


class Origin(StrEnum):
    """Where the value of a setting comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True)
class SettingSpec:
    """One setting: its names, type, default and description.

    The default is None if there is none, or if it depends on other settings.
    """

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
        """The value of a text. Raises ConfigError that names ``source``, a flag or a variable."""
        try:
            value = PARSERS[self.type](text.strip())
        except ValueError as error:
            unit = _UNITS.get(self.name[-2:], "") if self.type is float else ""
            raise ConfigError(f"{source}: {error}{unit}{self._allowed()}") from None
        return self.check(value, source)

    def _allowed(self) -> str:
        least, most = self.meta.minimum, self.meta.maximum
        if least is None:
            return "" if most is None else f"; {most:g} or less is allowed"
        return f"; {least:g} {'or more' if most is None else f'to {most:g}'} is allowed"

    def check(self, value: Any, source: str) -> Any:
        """The value. Raises ConfigError if it is outside its limits."""
        meta = self.meta
        if meta.choices and value not in meta.choices:
            raise ConfigError(f"{source}: {value!r} is not one of {', '.join(meta.choices)}")
        if meta.minimum is not None and value < meta.minimum:
            raise ConfigError(f"{source}: {value} is less than the least allowed, {meta.minimum:g}")
        if meta.maximum is not None and value > meta.maximum:
            raise ConfigError(f"{source}: {value} is more than the most allowed, {meta.maximum:g}")
        return value

    def masked(self, value: Any) -> str:
        """The value as text, without the password of a secret."""
        if value is None:
            return ""
        return mask_url(str(value)) if self.meta.secret else mask(str(value))


@functools.cache
def _hints_of(settings_type: type) -> dict[str, Any]:
    """The types of the fields, whose texts take long to evaluate."""
    return typing.get_type_hints(settings_type)


def specs() -> list[SettingSpec]:
    """Every setting of every component, in the order of declaration."""
    hints = _hints_of(Settings)
    return [
        spec
        for component, settings_type in hints.items()
        for spec in _specs_of(component, cast(Any, settings_type))
    ]


def _specs_of(component: str, settings_type: Any) -> list[SettingSpec]:
    hints = _hints_of(settings_type)
    result = []
    for item in dataclasses.fields(settings_type):
        hint, optional = hints[item.name], False
        if isinstance(hint, types.UnionType):
            hint, optional = typing.get_args(hint)[0], True
        made = item.default_factory
        default = item.default if made is dataclasses.MISSING else made()
        meta = item.metadata["gputel"]
        result.append(SettingSpec(component, item.name, hint, optional, default, meta))
    return result


@dataclass(frozen=True)
class Resolved:
    """Settings, and where the value of each comes from."""

    settings: Settings
    origins: Mapping[str, Origin]


def resolve(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Resolved:
    """Settings from flags (by field name; None is no flag), the environment and defaults.

    ``defaults`` are the command's own, by field name.

    Raises ConfigError that names the flag or the variable that is wrong. A ``GPUTEL_`` variable
    that is not a setting is an error too, so that a misspelt one is noticed, unless it is a
    service link of Kubernetes.
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
    hints = _hints_of(Settings)
    settings = Settings(**{name: hints[name](**fields) for name, fields in values.items()})
    _check_urls(settings)
    return Resolved(settings, origins)


def _resolve_one(
    spec: SettingSpec,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    defaults: Mapping[str, Any],
) -> tuple[Any, Origin]:
    flag = flags.get(spec.name)
    if flag is not None:
        value = spec.parse(flag, spec.flag) if isinstance(flag, str) else flag
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
    """The service links that have the name of a setting, as ``NAME=VALUE``, sorted."""
    names = {spec.env for spec in specs()}
    return [
        f"{name}={text}"
        for name, text in sorted(environ.items())
        if name in names and is_service_link(name, text)
    ]


def from_environment(name: str, environ: Mapping[str, str] | None = None) -> Any:
    """The value of one setting, by its field name, from the environment, else its default.

    Raises ConfigError that names the variable if its value is wrong.
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
                f"--cors-origins: {mask(origin)!r} is not an origin: write it like "
                "https://grafana.example, without a path, or * for all"
            )
    base_path = (settings.api.base_path or "").rstrip("/")
    if base_path and not BASE_PATH.fullmatch(base_path):
        raise ConfigError(
            f"--base-path: {base_path!r} is not such a path: write it like /gputel, of letters, "
            "digits and . _ ~ -"
        )
    for name in filter(None, map(str.strip, (settings.access.allowed_hosts or "").split(","))):
        if name != "*" and not _HOST_NAME.fullmatch(name):
            raise ConfigError(
                f"--allowed-hosts: {name!r} is not a host name: write it like gpus.example, "
                "without scheme and port, .example for all names in it, or * for any"
            )
    if settings.postgres.postgres_dsn is not None:
        check_dsn(settings.postgres.postgres_dsn)
        remember_url(settings.postgres.postgres_dsn)
