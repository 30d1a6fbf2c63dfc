"""Every setting of every component: its name, type, default, bounds and help line.

A field's name is its flag (``broker_port`` -> ``--broker-port``) and its environment variable
(``GPUTEL_BROKER_PORT``). ``docs/configuration.md`` is generated from this module.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import platformdirs

from gputel.times import Duration

MIB = 1024 * 1024
_SYSTEM_DATA_DIR = Path("/var/lib/gputel")


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
