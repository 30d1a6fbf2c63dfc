"""Every setting of every component: its name, type, default, limits and help line.

A field's name is its flag (``broker_port`` -> ``--broker-port``) and its environment variable
(``GPUTEL_BROKER_PORT``). ``docs/configuration.md`` is generated from this module.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from gputel.times import Duration

MIB = 1024 * 1024
_SYSTEM_DATA_DIR = Path("/var/lib/gputel")


@dataclass(frozen=True)
class Meta:
    """The description of a field beside its type and default."""

    help: str
    minimum: float | timedelta | None = None
    maximum: float | timedelta | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    repeatable: bool = False  # a flag that is given several times has its texts joined by commas


def _setting(default: Any, help_: str, **meta: Any) -> Any:
    metadata = {"gputel": Meta(help=help_, **meta)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_data_dir() -> Path:
    """The user data directory of the platform.

    For root, and for a user without a home, it is one that an unprivileged Postgres can reach.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        return _SYSTEM_DATA_DIR
    import platformdirs

    try:
        return Path(platformdirs.user_data_dir("gputel", appauthor=False))
    except RuntimeError:
        return _SYSTEM_DATA_DIR


@dataclass(frozen=True)
class CommonSettings:
    """The settings of every role."""

    data_dir: Path = _setting(
        default_data_dir, "Directory for the embedded Postgres and the sample data."
    )
    host: str = _setting(
        "127.0.0.1", "Address that the HTTP servers listen on; several with commas, * for all."
    )
    broker_url: str | None = _setting(
        None,
        "URL of the broker, or of several as URL,URL or dns+http://name:port. Default: the broker "
        "in this process, else http://127.0.0.1:<broker-port>.",
    )
    token: str | None = _setting(
        None,
        "Token for the broker. Set it in the environment: other users can see flags in the list of "
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
        20.0, "Seconds that a process may take to finish its work when it stops.", minimum=0
    )
    log_level: str = _setting(
        "info", "Lowest level of the log lines.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = _setting("text", "Format of log lines.", choices=("text", "json"))


@dataclass(frozen=True)
class PostgresSettings:
    """The database: your own server, or the embedded one."""

    postgres_dsn: str | None = _setting(
        None,
        "Postgres to use, as postgresql://user:password@host/db. Set it in the environment: other "
        "users can see flags in the list of processes. Default: the embedded server.",
        secret=True,
    )
    postgres_bin_dir: Path | None = _setting(
        None,
        "Directory of the postgres binaries for the embedded server. Default: gputel finds them.",
    )
    postgres_wait_s: float = _setting(
        60.0, "Seconds to wait for Postgres when a process starts.", minimum=0
    )
    postgres_pool_size: int = _setting(
        8, "Maximum number of connections of one process.", minimum=2, maximum=1000
    )


@dataclass(frozen=True)
class BrokerSettings:
    """The message queue and its HTTP server."""

    broker_port: int = _setting(
        8081, "Port of the broker; 0 picks a free one.", minimum=0, maximum=65535
    )
    queue_max_messages: int = _setting(100_000, "Maximum number of messages in a queue.", minimum=1)
    queue_max_bytes: int = _setting(
        256 * MIB,
        "Maximum bytes in a queue: payloads, metadata, and 512 for each message.",
        minimum=1,
    )
    broker_max_bytes: int | None = _setting(
        None,
        "Maximum bytes in all queues together. Default: twice --queue-max-bytes.",
        minimum=1,
    )
    queue_create: str = _setting(
        "auto",
        "auto: the first use of a queue creates it. declared: every queue must be declared.",
        choices=("auto", "declared"),
    )
    queues: str | None = _setting(
        None,
        "Queues to declare at the start, as NAME,NAME; NAME:ordered keeps the order of each key.",
    )
    max_queues: int = _setting(1000, "Maximum number of queues of a broker.", minimum=1)
    message_max_bytes: int = _setting(64 * MIB, "Maximum size of a request body.", minimum=1)
    requests_max_bytes: int = _setting(
        256 * MIB,
        "Maximum bytes of large request bodies in memory at once; more requests wait.",
        minimum=1,
    )
    receive_timeout_s: float = _setting(
        15.0,
        "Seconds that a request's body may wait for memory, and that it may then take to arrive. "
        "A large body, and a reply, must move at 64 KiB/s on average over this time.",
        minimum=0.05,
    )
    idle_timeout_s: float = _setting(
        650.0,
        "Seconds until a connection that is idle after a reply is closed; more than a load "
        "balancer before the broker keeps it.",
        minimum=0.05,
    )
    visibility_timeout_s: float = _setting(
        30.0, "Seconds until a leased message without an ack is delivered again.", minimum=0.05
    )
    max_attempts: int = _setting(
        16, "Deliveries of a message before it becomes a dead letter.", minimum=1
    )
    dead_letters_share: float = _setting(
        0.25,
        "Share of a queue's bounds, and of --broker-max-bytes, that dead letters keep. Beyond it, "
        "the oldest are dropped when a publish finds no room; 1 drops none.",
        minimum=0,
        maximum=1,
    )
    publish_wait_s: float = _setting(
        30.0, "Maximum seconds that a publish waits for room in a full queue.", minimum=0
    )
    plain_http: bool = _setting(
        False, "Answer every request with aiohttp, without the fast path for frequent ones."
    )
    journal: Path | None = _setting(
        None, "Directory of the journal, which keeps messages over a restart. Default: no journal."
    )
    journal_sync: str = _setting(
        "always",
        "When to sync the journal to disk: before each answer, at intervals, or never.",
        choices=("always", "interval", "off"),
    )
    journal_sync_interval_s: float = _setting(
        0.1, "Seconds between syncs under --journal-sync interval.", minimum=0.001, maximum=60
    )
    journal_segment_bytes: int = _setting(
        32 * MIB, "Size of one file of the journal.", minimum=256 * 1024, maximum=1024 * MIB
    )


def defaults_by_source(csv: Path | None, loop: bool | None) -> dict[str, Any]:
    """The defaults of a streamer that depend on its source, by the names of the fields.

    A file that a user names is read once, at full speed, with its own times. The sample, and a file
    with --loop, are looped over; their times repeat, so the records get times of processing.
    """
    looping = csv is None if loop is None else loop
    if looping:
        return {"loop": True, "timestamps": "processing", "rate": 250.0}
    return {"loop": False, "timestamps": "source", "rate": 0.0}


@dataclass(frozen=True)
class StreamerSettings:
    """The streamer and its source. Fields with the default None depend on the source."""

    csv: Path | None = _setting(
        None,
        "CSV of DCGM or nvidia-smi to stream: plain, .gz or .zst. Default: a simulated sample in "
        "--data-dir, in a loop, unless --scrape, --scrape-config or --nvml is given.",
    )
    csv_host: str | None = _setting(
        None,
        "Host of the GPUs in a CSV of nvidia-smi, which does not name it. Default: this machine.",
    )
    follow: bool = _setting(
        False, "Continue as the file of --csv grows and is rotated; it must be plain."
    )
    scrape: str | None = _setting(
        None,
        "Exporter to scrape, as HOST[:PORT] or a URL; repeat it for several. The default port is "
        "9400, that of dcgm-exporter.",
        repeatable=True,
    )
    scrape_config: Path | None = _setting(
        None,
        "YAML file of scrape jobs, in the words of Prometheus' scrape_configs. gputel reads it "
        "again when it changes.",
    )
    scrape_interval: Duration = _setting(
        Duration(seconds=10),
        "Time between two scrapes of the targets of --scrape.",
        minimum=Duration(seconds=1),
        maximum=Duration(days=1),
    )
    scrape_batch_s: float = _setting(
        5.0,
        "Seconds for which scraped samples may be collected for one message, at shorter intervals.",
        minimum=0,
        maximum=300,
    )
    nvml: bool = _setting(
        False,
        "Read the GPUs of this machine by NVML, the library of NVIDIA's driver. It needs "
        "pip install 'gputel[nvml]'.",
    )
    nvml_interval: Duration = _setting(
        Duration(seconds=1),
        "Time between two readings of --nvml.",
        minimum=Duration(seconds=1),
        maximum=Duration(days=1),
    )
    stream_id: str | None = _setting(
        None, "Name of the stream; streamers with one name share its rows. Default: from the file."
    )
    rate: float = _setting(
        None,
        "Rows per second that a streamer sends; 0 is no limit. Default: 250 for a loop, else 0.",
        minimum=0,
    )
    loop: bool = _setting(
        None,
        "Start again at the end of the file; the times of the records are then made up. "
        "Default: only without --csv.",
    )
    timestamps: str = _setting(
        None,
        "Timestamp of a record: the time of processing, or the one in the file. "
        "Default: processing for a loop, else source.",
        choices=("processing", "source"),
    )
    chunk_rows: int = _setting(
        131_072, "Maximum rows in one chunk, which is one message.", minimum=1, maximum=1_000_000
    )
    chunk_interval_s: float = _setting(
        0.5, "Target time between chunks when --rate limits the stream.", minimum=0.01
    )
    chunk_lease_s: float = _setting(
        30.0, "Seconds until a reserved chunk that has not landed is published again.", minimum=0.1
    )

    def __post_init__(self) -> None:
        """Set the defaults that depend on the source."""
        for name, value in defaults_by_source(self.csv, self.loop).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    @property
    def host_of_csv(self) -> str:
        """The host of the GPUs in a CSV that does not name it."""
        return self.csv_host or socket.gethostname()

    @property
    def scrapes(self) -> bool:
        """Whether exporters or NVML are read at fixed intervals."""
        return bool(self.scrape or self.scrape_config or self.nvml)

    @property
    def reads_rows(self) -> bool:
        """Whether a file or the sample is read."""
        return self.csv is not None or not self.scrapes


@dataclass(frozen=True)
class CollectorSettings:
    """The collector."""

    workers: int = _setting(
        2, "Number of workers that consume and commit in parallel.", minimum=1, maximum=64
    )
    commit_max_messages: int = _setting(64, "Maximum messages in one transaction.", minimum=1)
    commit_max_bytes: int = _setting(
        4 * MIB, "Payload bytes at which a transaction takes no more messages.", minimum=1
    )
    payload_max_unpacked_bytes: int = _setting(
        256 * MIB,
        "Maximum memory of one message when it is unpacked; a larger one becomes a dead letter.",
        minimum=MIB,
    )
    payload_max_rows: int = _setting(
        2_000_000, "Maximum rows in one message; one with more becomes a dead letter.", minimum=1
    )
    ledger_window_h: float = _setting(
        168.0,
        "Hours for which the ids of messages without a chunk lease are remembered.",
        minimum=0,
    )
    retention: Duration | None = _setting(
        None,
        "How long to keep samples, such as 30d or 12h; it drops complete days. Default: for ever.",
        minimum=Duration(minutes=1),
        maximum=Duration(days=36_500),
    )
    rollup_retention: Duration | None = _setting(
        None,
        "How long to keep rollups, at least as long as samples. Default: as long as samples.",
        minimum=Duration(minutes=1),
        maximum=Duration(days=36_500),
    )
    future_limit: Duration = _setting(
        Duration(days=1),
        "How far in the future a sample may be; a later one is rejected.",
        maximum=Duration(days=36_500),
    )
    impossible_values: str = _setting(
        "reject",
        "Values that a field of DCGM cannot have, such as 4294967295 %: reject them, or keep them.",
        choices=("reject", "keep"),
    )
    maintenance_interval_s: float = _setting(
        60.0, "Seconds between runs of the store's maintenance; 0 is never.", minimum=0
    )

    @property
    def keep_impossible(self) -> bool:
        """Whether values that their field cannot have land."""
        return self.impossible_values == "keep"


@dataclass(frozen=True)
class ApiSettings:
    """The REST API."""

    api_port: int = _setting(8080, "Port of the API; 0 picks a free one.", minimum=0, maximum=65535)
    api_idle_timeout_s: float = _setting(
        650.0,
        "Seconds until the API closes a connection that is idle after an answer; more than a load "
        "balancer before it keeps it (60 at Amazon's, 600 at Google's), or clients get a 502.",
        minimum=0.05,
    )
    base_path: str | None = _setting(
        None,
        "Path under which a reverse proxy shows the API, such as /gputel, if it tells none in "
        "X-Forwarded-Prefix or does not remove it. The API also answers without it.",
    )
    query_max_series: int = _setting(
        100_000, "Maximum series that one query reads; one that needs more is refused.", minimum=1
    )
    query_max_samples: int = _setting(
        20_000_000,
        "Maximum samples that one query reads, and maximum points that it evaluates.",
        minimum=1,
    )
    query_max_bytes: int = _setting(
        256 * MIB,
        "Maximum bytes of labels that one query reads, and of an answer of Prometheus' API.",
        minimum=MIB,
    )
    query_cache_max_bytes: int = _setting(
        384 * MIB, "Maximum bytes of labels of series that the API keeps in memory.", minimum=MIB
    )
    query_timeout_s: float = _setting(
        60.0, "Maximum seconds of a query until its answer begins.", minimum=0.1
    )
    head_window: Duration = _setting(
        Duration(hours=2),
        "The API holds the samples of this time before now in memory, from which it answers; 0s is "
        "none.",
        maximum=Duration(days=7),
    )
    head_max_bytes: int = _setting(
        512 * MIB,
        "Maximum bytes of these samples and their labels; a shorter time if need be.",
        minimum=MIB,
    )
    rate_limit: float = _setting(
        0.0,
        "Average requests per second that one token, or one address without tokens, may make; 0 is "
        "no limit.",
        minimum=0,
    )
    rate_burst: int = _setting(
        100, "Requests that it may make at once with --rate-limit.", minimum=1
    )
    concurrency_limit: int = _setting(
        0, "Maximum unanswered requests of one token or address; 0 is no limit.", minimum=0
    )
    cors_origins: str | None = _setting(
        None,
        "Allowed origins (CORS): sites whose web pages may read the API, as ORIGIN,ORIGIN, or *.",
    )
    stream_max_clients: int = _setting(
        100, "Maximum live streams that are open at once; more are refused.", minimum=0
    )
    stream_max_lag: int = _setting(
        100_000,
        "Maximum records that wait for a slow client of a live stream; older ones are dropped, and "
        "the client gets their number.",
        minimum=1,
    )
    stream_heartbeat_s: float = _setting(
        15.0, "Seconds without a record until a live stream sends a heartbeat.", minimum=0.05
    )
    stream_replay: Duration = _setting(
        Duration(minutes=10),
        "How long to keep new records for clients of live streams that reconnect.",
        minimum=Duration(minutes=1),
    )
    stream_replay_max_bytes: int = _setting(
        256 * MIB, "Approximate maximum bytes of such records in Postgres.", minimum=MIB
    )
    push_max_bytes: int = _setting(
        16 * MIB, "Maximum size of the body of a push, both as sent and unpacked.", minimum=1024
    )
    push_max_records: int = _setting(100_000, "Maximum records in one push.", minimum=1)
    push_max_days: int = _setting(
        100,
        "Maximum days (UTC) of the records in one push; each new day needs a table.",
        minimum=1,
    )
    push_requests_max_bytes: int = _setting(
        64 * MIB,
        "Maximum bytes of large bodies of pushes in memory at once; more pushes wait.",
        minimum=1,
    )


@dataclass(frozen=True)
class AccessSettings:
    """Which clients the broker, the API and the health port accept."""

    token_file: Path | None = _setting(
        None,
        "File of accepted tokens, with lines of NAME SCOPES TOKEN; SCOPES are read, write and "
        "admin, with commas. gputel reads it again when it changes. Default: no token is needed.",
    )
    tokens: str | None = _setting(
        None, "Lines as in --token-file, separated by semicolons.", secret=True
    )
    insecure: bool = _setting(
        False, "Listen without tokens even on an address that other machines can reach."
    )
    allowed_hosts: str | None = _setting(
        None,
        "More host names for the servers, as NAME,NAME; .DOMAIN is every name in it, * is any. "
        "Servers that need tokens accept any name.",
    )
    connections_max: int = _setting(
        16_384,
        "Maximum connections of all servers of a process, or fewer if it may open fewer files. "
        "When there are more, those that are idle for the longest time are closed.",
        minimum=1,
    )
    connections_of_client_max: int = _setting(
        0,
        "Maximum connections of one address, which may be a proxy for many clients; 0 is fifteen "
        "sixteenths of all.",
        minimum=0,
    )
    head_timeout_s: float = _setting(
        15.0,
        "Seconds for a TLS handshake, for a new connection to send the head of a request, and for "
        "any connection to complete a head that it began.",
        minimum=0.05,
    )
    access_log: bool = _setting(
        False,
        "Log each request of the broker, the API and the health port: client, method, path, "
        "status, bytes, seconds, name of the token, user agent. The broker then has no fast path.",
    )
    tls_cert: Path | None = _setting(
        None,
        "Certificate for HTTPS on every port, in PEM, followed by the certificates that signed it. "
        "gputel reads it and its key again when it changes. Default: plain HTTP.",
    )
    tls_key: Path | None = _setting(None, "Key of the certificate, in PEM, without a password.")


@dataclass(frozen=True)
class Settings:
    """The settings of all components."""

    common: CommonSettings = field(default_factory=CommonSettings)
    postgres: PostgresSettings = field(default_factory=PostgresSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    streamer: StreamerSettings = field(default_factory=StreamerSettings)
    collector: CollectorSettings = field(default_factory=CollectorSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    access: AccessSettings = field(default_factory=AccessSettings)

    @property
    def broker_url(self) -> str:
        """The URL of --broker-url, else of a broker on this machine."""
        return self.common.broker_url or f"http://127.0.0.1:{self.broker.broker_port}"
