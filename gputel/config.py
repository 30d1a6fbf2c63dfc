"""Settings: one frozen dataclass per component, resolved from defaults, environment and flags.

A field's name is its flag (``broker_port`` -> ``--broker-port``) and its environment variable
(``GPUTEL_BROKER_PORT``). Flags win over the environment, the environment over defaults. An empty
environment variable counts as not set. ``docs/configuration.md`` is generated from this module.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import platformdirs

from gputel.errors import ConfigError
from gputel.masking import PLACES, mask, mask_url, remember, remember_url
from gputel.service_links import is_service_link, without_service_links

ENV_PREFIX = "GPUTEL_"
MIB = 1024 * 1024
_BROKER_SCHEMES = ("http", "https", "dns+http")
_HOST_NAME = re.compile(r"(\*?\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:]+")
_SYSTEM_DATA_DIR = Path("/var/lib/gputel")
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


class Duration(timedelta):
    """A time span as people write it: ``30d``, ``12h``, ``90m``, ``45s``."""

    _UNITS = types.MappingProxyType({"d": 86_400, "h": 3_600, "m": 60, "s": 1})

    @classmethod
    def parse(cls, text: str) -> Duration:
        """The span that the text names. Raises ValueError, saying what it should look like."""
        match = re.fullmatch(r"([0-9]{1,8})([dhms])", text)
        if not match:
            raise ValueError(f"{text!r} is not a time span like 30d, 12h, 90m or 45s")
        return cls(seconds=int(match[1]) * cls._UNITS[match[2]])

    def __str__(self) -> str:
        seconds = int(self.total_seconds())
        unit = next(unit for unit, size in self._UNITS.items() if seconds % size == 0)
        return f"{seconds // self._UNITS[unit]}{unit}"

    def __format__(self, _spec: str) -> str:
        return str(self)


class Origin(StrEnum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True)
class Meta:
    """What a field says of itself beside its type and default."""

    help: str
    minimum: float | timedelta | None = None
    maximum: float | timedelta | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False


def _setting(default: Any, help_: str, **meta: Any) -> Any:
    metadata = {"gputel": Meta(help=help_, **meta)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_data_dir() -> Path:
    """The platform's user data directory.

    For root it is one that an unprivileged Postgres can reach, and so for a user without a home.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return _SYSTEM_DATA_DIR
    try:
        return Path(platformdirs.user_data_dir("gputel", appauthor=False))
    except RuntimeError:
        return _SYSTEM_DATA_DIR


@dataclass(frozen=True)
class CommonSettings:
    """What every role shares."""

    data_dir: Path = _setting(
        default_data_dir, "Directory for the embedded Postgres and the sample data."
    )
    host: str = _setting("127.0.0.1", "Address that the HTTP servers listen on.")
    broker_url: str | None = _setting(
        None,
        "Broker to use, or several as URL,URL or dns+http://name:port. Default: the one in this "
        "process, else http://127.0.0.1:<broker-port>.",
    )
    token: str | None = _setting(
        None,
        "Token to show to brokers that ask for one; the environment keeps it from the list of "
        "processes.",
        secret=True,
    )
    health_port: int | None = _setting(
        None,
        "Port for /healthz, /readyz and /metrics of a process that runs neither broker nor api.",
        minimum=0,
        maximum=65535,
    )
    drain_deadline_s: float = _setting(
        20.0, "Seconds that a stopping process may take to finish or hand back its work.", minimum=0
    )
    log_level: str = _setting(
        "info", "Least severe log line shown.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = _setting("text", "Shape of log lines.", choices=("text", "json"))


@dataclass(frozen=True)
class PostgresSettings:
    """The database: a server of your own, or the embedded one."""

    postgres_dsn: str | None = _setting(
        None,
        "Postgres to use, as postgresql://user:password@host/db; the environment keeps it from the "
        "list of processes. Default: embedded.",
        secret=True,
    )
    postgres_bin_dir: Path | None = _setting(
        None, "Directory of the postgres binaries for the embedded server. Default: found."
    )
    postgres_wait_s: float = _setting(
        60.0, "Seconds to wait for Postgres when a process starts.", minimum=0
    )
    postgres_pool_size: int = _setting(
        8, "Most connections that one process opens.", minimum=2, maximum=1000
    )


@dataclass(frozen=True)
class BrokerSettings:
    """The message queue and its HTTP server."""

    broker_port: int = _setting(
        8081, "Port of the broker; 0 picks a free one.", minimum=0, maximum=65535
    )
    queue_max_messages: int = _setting(100_000, "Most messages that the queue holds.", minimum=1)
    queue_max_bytes: int = _setting(
        256 * MIB,
        "Most bytes that the queue holds: payloads, metadata and 512 a message.",
        minimum=1,
    )
    broker_max_bytes: int | None = _setting(
        None,
        "Most bytes that all queues hold together. Default: twice --queue-max-bytes.",
        minimum=1,
    )
    queue_create: str = _setting(
        "auto",
        "Whether the first use of a queue makes it, or every queue must be declared.",
        choices=("auto", "declared"),
    )
    queues: str | None = _setting(
        None,
        "Queues declared from the start, as NAME,NAME; NAME:ordered keeps the order of each key.",
    )
    max_queues: int = _setting(1000, "Most queues that the broker has.", minimum=1)
    message_max_bytes: int = _setting(64 * MIB, "Largest request body that is taken.", minimum=1)
    requests_max_bytes: int = _setting(
        256 * MIB, "Most bytes of larger request bodies held at once; others wait.", minimum=1
    )
    receive_timeout_s: float = _setting(
        15.0,
        "Seconds in which a request's body is let in, then has come; a larger one, and a reply, "
        "must move by 64 KiB a second over as long.",
        minimum=0.05,
    )
    idle_timeout_s: float = _setting(
        75.0,
        "Seconds until a connection is closed that is idle after a reply.",
        minimum=0.05,
    )
    visibility_timeout_s: float = _setting(
        30.0, "Seconds until a leased message that was not acked is delivered again.", minimum=0.05
    )
    max_attempts: int = _setting(
        16, "Deliveries of one message before it goes to the dead letters.", minimum=1
    )
    publish_wait_s: float = _setting(
        30.0, "Longest that a publish waits for room in a full queue.", minimum=0
    )
    plain_http: bool = _setting(
        False, "Answer every request through aiohttp, without the fast path for the hot ones."
    )
    journal: Path | None = _setting(
        None, "Directory of the journal that lets messages outlive the broker. Default: none."
    )
    journal_sync: str = _setting(
        "always",
        "When the journal is synced: before each answer, at intervals, or never.",
        choices=("always", "interval", "off"),
    )
    journal_sync_interval_s: float = _setting(
        0.1, "Seconds between syncs under --journal-sync interval.", minimum=0.001, maximum=60
    )
    journal_segment_bytes: int = _setting(
        32 * MIB, "Size of the journal's files.", minimum=256 * 1024, maximum=1024 * MIB
    )


@dataclass(frozen=True)
class StreamerSettings:
    """The streamer and its source."""

    csv: Path | None = _setting(
        None, "DCGM CSV to stream: plain, .gz or .zst. Default: a simulated sample in --data-dir."
    )
    stream_id: str | None = _setting(
        None, "Name of the stream; streamers of one name share its rows. Default: from the file."
    )
    rate: float = _setting(
        250.0, "Rows per second that a streamer sends; 0 is no limit.", minimum=0
    )
    loop: bool = _setting(True, "Start over at the end of the file.")
    timestamps: str = _setting(
        "processing",
        "Timestamp of a record: when it was processed, or the file's own.",
        choices=("processing", "source"),
    )
    chunk_rows: int = _setting(
        131_072, "Most rows in one chunk, which is one message.", minimum=1, maximum=1_000_000
    )
    chunk_interval_s: float = _setting(
        0.5, "Target time between chunks when --rate limits the stream.", minimum=0.01
    )
    chunk_lease_s: float = _setting(
        30.0, "Seconds until a reserved chunk that has not landed is published again.", minimum=0.1
    )


@dataclass(frozen=True)
class CollectorSettings:
    """The collector."""

    workers: int = _setting(
        2, "Workers that consume and commit side by side.", minimum=1, maximum=64
    )
    commit_max_messages: int = _setting(64, "Most messages in one transaction.", minimum=1)
    commit_max_bytes: int = _setting(
        4 * MIB, "Payload bytes after which a transaction takes no further message.", minimum=1
    )
    payload_max_unpacked_bytes: int = _setting(
        256 * MIB,
        "Most memory that one message may take unpacked; a dead letter else.",
        minimum=MIB,
    )
    payload_max_rows: int = _setting(
        2_000_000, "Most rows in one message; one with more becomes a dead letter.", minimum=1
    )
    ledger_window_h: float = _setting(
        168.0, "Hours that the ids of messages without a chunk lease are remembered.", minimum=0
    )
    retention: Duration | None = _setting(
        None,
        "How long samples are kept, like 30d or 12h; whole days are dropped. Default: for ever.",
        minimum=Duration(minutes=1),
        maximum=Duration(days=36_500),
    )
    rollup_retention: Duration | None = _setting(
        None,
        "How long rollups are kept, and never shorter than samples. Default: as long as samples.",
        minimum=Duration(minutes=1),
        maximum=Duration(days=36_500),
    )
    future_limit: Duration = _setting(
        Duration(days=1),
        "How far ahead of the clock a sample may be; others are rejected.",
        maximum=Duration(days=36_500),
    )
    maintenance_interval_s: float = _setting(
        60.0, "Seconds between passes of the store's maintenance; 0 leaves it to others.", minimum=0
    )


@dataclass(frozen=True)
class ApiSettings:
    """The REST API."""

    api_port: int = _setting(8080, "Port of the API; 0 picks a free one.", minimum=0, maximum=65535)
    query_max_series: int = _setting(
        100_000, "Most series that one query reads; one that would read more is refused.", minimum=1
    )
    query_max_samples: int = _setting(
        20_000_000,
        "Most samples that one query reads, and most points that it evaluates.",
        minimum=1,
    )
    query_max_bytes: int = _setting(
        256 * MIB,
        "Most bytes of labels that one query reads, and of an answer of Prometheus' API.",
        minimum=MIB,
    )
    query_cache_max_bytes: int = _setting(
        384 * MIB, "Most bytes of labels of series that the API keeps in memory.", minimum=MIB
    )
    query_timeout_s: float = _setting(
        60.0, "Longest that one query may take until its answer begins, seconds.", minimum=0.1
    )
    rate_limit: float = _setting(
        0.0,
        "Requests a second that one token, or one address without tokens, may make on average; 0 "
        "is no limit.",
        minimum=0,
    )
    rate_burst: int = _setting(
        100, "Requests that it may make at once under --rate-limit.", minimum=1
    )
    concurrency_limit: int = _setting(
        0, "Most requests of one token or address that are unanswered; 0 is no limit.", minimum=0
    )
    cors_origins: str | None = _setting(
        None, "Origins whose web pages may read the API, as ORIGIN,ORIGIN, or * for all."
    )
    stream_max_clients: int = _setting(
        100, "Most live streams that are open at once; more are refused.", minimum=0
    )
    stream_max_lag: int = _setting(
        100_000,
        "Most records that wait for a slow client of a live stream; older ones are dropped, and it "
        "is told how many.",
        minimum=1,
    )
    stream_heartbeat_s: float = _setting(
        15.0, "Seconds of silence after which a live stream says that it lives.", minimum=0.05
    )
    stream_replay: Duration = _setting(
        Duration(minutes=10),
        "How long what lands is kept for clients of live streams that come back.",
        minimum=Duration(minutes=1),
    )
    stream_replay_max_bytes: int = _setting(
        256 * MIB, "Most bytes of it that are kept in Postgres, about.", minimum=MIB
    )
    push_max_bytes: int = _setting(
        16 * MIB, "Largest body of a push of records, as sent and unpacked.", minimum=1024
    )
    push_max_records: int = _setting(100_000, "Most records in one push.", minimum=1)
    push_max_days: int = _setting(
        100,
        "Most days (UTC) that the records of one push are of; each new day is a table.",
        minimum=1,
    )
    push_requests_max_bytes: int = _setting(
        64 * MIB, "Most bytes of larger bodies of pushes held at once; others wait.", minimum=1
    )


@dataclass(frozen=True)
class AccessSettings:
    """Whom broker, API and health port let in."""

    token_file: Path | None = _setting(
        None,
        "File of the tokens that are let in, lines of NAME SCOPES TOKEN; SCOPES are read, write, "
        "admin, with commas. Read again when it changes. Default: none is asked for.",
    )
    tokens: str | None = _setting(
        None, "Such lines as text, a semicolon between each two.", secret=True
    )
    insecure: bool = _setting(
        False, "Listen without tokens on an address that other machines reach."
    )
    allowed_hosts: str | None = _setting(
        None,
        "Names by which the servers may be called beside their own, as NAME,NAME; .DOMAIN for all "
        "names in it, * for any. Servers that ask for tokens answer to any name.",
    )
    connections_max: int = _setting(
        16_384,
        "Most connections that the servers of a process hold; fewer where it may open fewer files. "
        "When there are more, the longest idle ones are closed.",
        minimum=1,
    )
    connections_of_client_max: int = _setting(
        0,
        "Most of them of one address, which is that of a proxy for all behind it; 0 leaves a "
        "sixteenth to others.",
        minimum=0,
    )
    head_timeout_s: float = _setting(
        15.0,
        "Seconds for a TLS handshake, for a new connection to send the head of a request, and for "
        "any to send the rest of one that it began.",
        minimum=0.05,
    )
    tls_cert: Path | None = _setting(
        None,
        "Certificate for HTTPS on every port, in PEM, with those that signed it behind it. Read "
        "again when it changes, with its key. Default: plain HTTP.",
    )
    tls_key: Path | None = _setting(None, "Key of the certificate, in PEM, without a password.")


@dataclass(frozen=True)
class Settings:
    """All components' settings, resolved."""

    common: CommonSettings = field(default_factory=CommonSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    streamer: StreamerSettings = field(default_factory=StreamerSettings)
    collector: CollectorSettings = field(default_factory=CollectorSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    access: AccessSettings = field(default_factory=AccessSettings)

    @property
    def broker_url(self) -> str:
        """The broker to talk to: the one that was set, else this machine's."""
        return self.common.broker_url or f"http://127.0.0.1:{self.broker.broker_port}"


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
            value = _PARSERS[self.type](text.strip())
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


def _parse_int(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _parse_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _parse_bool(text: str) -> bool:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _parse_str(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _parse_path(text: str) -> Path:
    try:
        return Path(_parse_str(text)).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{text!r}: there is no such home directory; write the whole path"
        ) from None


_PARSERS: dict[Any, Callable[[str], Any]] = {
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    str: _parse_str,
    Path: _parse_path,
    Duration: Duration.parse,
}


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


def check_plain_url(url: str, called: str) -> None:
    """Raise ConfigError for a URL with what nothing would use or hide: a user, a query."""
    if "@" in url:
        raise ConfigError(
            f"{called}: has a user or password before an @, which is not used: leave it out, and "
            "give a token in GPUTEL_TOKEN"
        )
    if "?" in url or "#" in url:
        raise ConfigError(
            f"{called}: has something behind a ? or #, which is not used: leave it out, and give a "
            "token in GPUTEL_TOKEN"
        )


def check_broker_url(urls: str, called: str = "--broker-url") -> None:
    """Raise ConfigError for what is no address of a broker, or of several with commas between.

    Each is http://HOST:PORT, https://..., or dns+http://... for all addresses of a name.
    """
    check_plain_url(urls, called)
    for url in (part.strip() for part in urls.split(",")):
        try:
            parts = urlsplit(url)
            wrong = parts.scheme not in _BROKER_SCHEMES or not parts.hostname
            _ = parts.port  # raises for what is no port
        except ValueError:
            wrong = True
        if wrong:
            raise ConfigError(f"{called}: {mask(url)!r} must look like http://127.0.0.1:8081")


def check_token(token: str, called: str) -> str:
    """The token without white space at its ends. Raises ConfigError, which does not show it."""
    token = token.strip()
    for place, character in enumerate(token, 1):
        if not "!" <= character <= "~":
            raise ConfigError(
                f"{called}: character {place} of the token is none that a token has: a blank, a "
                "line feed, or not ASCII; see whether all of it, and nothing else, was copied"
            )
    return token


def check_dsn(dsn: str) -> None:
    """Raise ConfigError, which shows nothing of it, for a DSN that libraries take otherwise."""
    scheme, _, rest = dsn.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    userinfo, _, places = authority.rpartition("@")
    readable = (
        scheme in ("postgresql", "postgres")
        and dsn.isprintable()
        and PLACES.fullmatch(places)
        and "@" not in userinfo + path
        and "#" not in rest
        and all("=" in item for item in filter(None, query.split("&")))
    )
    if not readable:
        raise ConfigError(
            "--postgres-dsn: must look like postgresql://user:password@host:5432/database; in a "
            "user or password write / as %2F, ? as %3F, # as %23, @ as %40, a blank as %20"
        )


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
