"""Every Prometheus metric that gputel exports; ``docs/metrics.md`` lists them.

Names follow ``gputel_<role>_<what>_<unit>``; counters end in ``_total``.
"""

from __future__ import annotations

import asyncio
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gputel import __version__
from gputel.version import commit

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
F = TypeVar("F", bound=Family)

REGISTRY = CollectorRegistry(auto_describe=True)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=_SECONDS)


def _of_queue(name: str, text: str, kind: type[Family] = GaugeMetricFamily) -> Family:
    return kind(f"gputel_broker_{name}", text, labels=["queue"])


def _of_broker(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"gputel_broker_{name}", text, labels=[])


def _of_journal(name: str, text: str) -> GaugeMetricFamily:
    return _of_broker(f"journal_{name}", text)


Write = Callable[[], Iterable[Metric]]
"""Returns families with values that were read before the call; any thread may call it."""


class Scraped(Collector):
    """Metrics whose values are read from a source at each scrape, not counted here."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = list(families)
        self._sources: list[Callable[[], Write]] = []

    @contextmanager
    def read_from(self, source: Callable[[], Write]) -> Iterator[None]:
        """Make scrapes call ``source`` until the context ends; the latest of several."""
        self._sources.append(source)
        try:
            yield
        finally:
            self._sources.remove(source)

    def read(self) -> Write:
        """Read the present values; there are none without a source."""
        return self._sources[-1]() if self._sources else list

    def collect(self) -> Iterable[Metric]:
        """The families with their values."""
        return self.read()()


def empty(family: F) -> F:
    """A copy of the family without values, for one scrape."""
    return type(family)(family.name, family.documentation, labels=family._labelnames)


class RequestCounters(Collector):
    """Counts and times of HTTP requests in plain numbers: a broker has thousands a second."""

    _ANSWERED = CounterMetricFamily(
        "gputel_http_requests", "HTTP requests answered.", labels=["role", "route", "status"]
    )
    _SECONDS = HistogramMetricFamily(
        "gputel_http_request_seconds",
        "HTTP request duration; of a live stream, until its response begins.",
        labels=["role", "route"],
    )

    def __init__(self) -> None:
        self.families: list[Family] = [self._ANSWERED, self._SECONDS]
        self._answered: dict[tuple[str, str, int], int] = {}
        self._times: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        REGISTRY.register(self)

    def note(self, role: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        answered, key = self._answered, (role, route, status)
        answered[key] = answered.get(key, 0) + 1
        times = self._times.get((role, route))
        if times is None:
            times = self._times[role, route] = [0] * (len(_SECONDS) + 1), [0.0]
        times[0][bisect_left(_SECONDS, seconds)] += 1
        times[1][0] += seconds

    def describe(self) -> Iterable[Metric]:
        """The families without values."""
        return self.families

    def collect(self) -> Iterable[Metric]:
        """The families with their values."""
        answered, seconds = empty(self._ANSWERED), empty(self._SECONDS)
        for (role, route, status), count in list(self._answered.items()):
            answered.add_metric([role, route, str(status)], count)
        for (role, route), (counts, (total,)) in list(self._times.items()):
            bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            seconds.add_metric([role, route], buckets, total)
        return [answered, seconds]


class Build(Collector):
    """Which gputel this process is; the commit is looked up by the first scrape."""

    _INFO = GaugeMetricFamily(
        "gputel_build_info",
        "Always 1; the labels tell the release, the commit and the Python of the process.",
        labels=["version", "commit", "python"],
    )

    def __init__(self) -> None:
        self.families: list[Family] = [self._INFO]
        REGISTRY.register(self)

    def describe(self) -> Iterable[Metric]:
        """The family without its value."""
        return self.families

    def collect(self) -> Iterable[Metric]:
        """The family with its value."""
        family = empty(self._INFO)
        family.add_metric([__version__, commit(), platform.python_version()], 1)
        return [family]


class ProcessNumbers(Collector):
    """What the system tells of this process, under the names that all Prometheus clients use."""

    def __init__(self) -> None:
        self.families: list[Family] = [
            CounterMetricFamily(
                "process_cpu_seconds", "Total user and system CPU time spent in seconds."
            ),
            GaugeMetricFamily("process_resident_memory_bytes", "Resident memory size in bytes."),
            GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory size in bytes."),
            GaugeMetricFamily(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            ),
            GaugeMetricFamily("process_open_fds", "Number of open file descriptors."),
            GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors."),
        ]
        self._read = ProcessCollector(registry=None)
        REGISTRY.register(self)

    def describe(self) -> Iterable[Metric]:
        """The families without values."""
        return self.families

    def collect(self) -> Iterable[Metric]:
        """The families with their values; none where there is no /proc."""
        return self._read.collect()


BROKER_QUEUE: dict[str, Family] = {
    "ready": _of_queue(
        "ready_messages", "Messages that wait for a consumer, including blocked ones."
    ),
    "blocked": _of_queue(
        "blocked_messages", "Ready messages that wait behind another message with their key."
    ),
    "delayed": _of_queue("delayed_messages", "Messages whose delay has not ended."),
    "in_flight": _of_queue("in_flight_messages", "Messages leased and not yet acked."),
    "dead": _of_queue("dead_letters", "Dead letters in the queue."),
    "dead_bytes": _of_queue("dead_letter_bytes", "Bytes of the dead letters in the queue."),
    "bytes": _of_queue("held_bytes", "Bytes of all messages in the queue."),
    "max_messages": _of_queue("max_messages", "Maximum messages of the queue."),
    "max_bytes": _of_queue("max_bytes", "Maximum bytes of the queue."),
    "oldest_ready_s": _of_queue(
        "oldest_ready_seconds", "Time since the next message was published; 0 without one."
    ),
    "waiting_publishers": _of_queue("waiting_publishers", "Publishes that wait for room."),
    "waiting_consumers": _of_queue("waiting_consumers", "Consumes that wait for a message."),
    "published": _of_queue("published", "Messages accepted by the queue.", CounterMetricFamily),
    "duplicates": _of_queue(
        "duplicates", "Publishes of an id that the queue has already.", CounterMetricFamily
    ),
    "delivered": _of_queue("delivered", "Messages leased to consumers.", CounterMetricFamily),
    "redelivered": _of_queue("redelivered", "Deliveries after the first one.", CounterMetricFamily),
    "acked": _of_queue("acked", "Messages acknowledged.", CounterMetricFamily),
    "nacked": _of_queue("nacked", "Messages that consumers gave back.", CounterMetricFamily),
    "lease_timeouts": _of_queue("lease_timeouts", "Leases that expired.", CounterMetricFamily),
    "expired": _of_queue("expired", "Messages whose time to live ended.", CounterMetricFamily),
    "dead_lettered": _of_queue(
        "dead_lettered", "Messages moved to the dead letters.", CounterMetricFamily
    ),
    "replayed": _of_queue("replayed", "Dead letters made ready again.", CounterMetricFamily),
    "purged": _of_queue("purged", "Messages dropped on request.", CounterMetricFamily),
    "dead_dropped": _of_queue(
        "dead_letters_dropped",
        "Dead letters dropped because new messages needed their room.",
        CounterMetricFamily,
    ),
    "wait_s": _of_queue(
        "wait_seconds",
        "Time from the publish, or the end of its delay, to the first delivery.",
        HistogramMetricFamily,
    ),
    "work_s": _of_queue("work_seconds", "Time from a delivery to its ack.", HistogramMetricFamily),
}
"""By the name in ``GET /stats``. The values of a queue are gone when the queue is deleted."""

BROKER_JOURNAL: dict[str, GaugeMetricFamily] = {
    "segments": _of_journal("segments", "Segment files of the journal."),
    "bytes": _of_journal("bytes", "Bytes of the journal on disk."),
    "live_bytes": _of_journal("live_bytes", "Bytes of the records of present messages."),
    "broken": _of_journal(
        "broken", "1 when the journal failed and the broker confirms nothing, else 0."
    ),
}
"""As ``journal`` in ``GET /stats``; absent without a journal."""

BROKER_TOTAL: dict[str, GaugeMetricFamily] = {
    "bytes": _of_broker("all_held_bytes", "Bytes of all messages in all queues."),
    "max_bytes": _of_broker("all_max_bytes", "Maximum bytes of all queues together."),
    "waiting_bytes": _of_broker("waiting_bytes", "Bytes of publishes that wait for room."),
}
"""As ``broker`` in ``GET /stats``."""

BROKER = Scraped([*BROKER_QUEUE.values(), *BROKER_TOTAL.values(), *BROKER_JOURNAL.values()])
BROKER_JOURNAL_SECONDS = _histogram(
    "gputel_broker_journal_commit_seconds",
    "Time of one write to the journal, including its sync if it has one.",
)
BROKER_JOURNAL_SYNC_SECONDS = _histogram(
    "gputel_broker_journal_sync_seconds", "Time to sync one write to disk (fdatasync)."
)

STREAMER_ROWS_READ = _counter("gputel_streamer_rows_read", "Source rows read.")
STREAMER_ROWS_REJECTED = _counter("gputel_streamer_rows_rejected", "Source rows rejected.")
STREAMER_CHUNKS = _counter("gputel_streamer_chunks_published", "Chunks published.", "result")
STREAMER_TAKEOVERS = _counter("gputel_streamer_takeovers", "Expired chunk leases taken over.")
SCRAPE_DISCOVERY_FAILURES = _counter(
    "gputel_scrape_discovery_failures",
    "Looks for the targets of a job that failed, or that found targets which cannot be used.",
    "job",
)

SCRAPES = _counter("gputel_scrape_scrapes", "Scrapes of targets.", "job", "result")
SCRAPE_SECONDS = _histogram("gputel_scrape_seconds", "Duration of a scrape.")
SCRAPE_SAMPLES = _counter("gputel_scrape_samples", "Samples scraped.", "job")
SCRAPE_LINES_REFUSED = _counter(
    "gputel_scrape_lines_refused", "Lines of answers of targets that are not stored.", "reason"
)
SCRAPE_TARGETS = _gauge("gputel_scrape_targets", "Targets that this streamer scrapes.", "state")
SCRAPE_SHARDS = _gauge("gputel_scrape_shards", "Shards of targets that this streamer scrapes.")
SCRAPE_ROWS_WAITING = _gauge("gputel_scrape_rows_waiting", "Scraped rows not published yet.")
SCRAPE_SLOTS_LOST = _counter(
    "gputel_scrape_slots_lost", "Slots of shards that were due and never landed.", "reason"
)
SCRAPE_SLOTS_TAKEN = _counter(
    "gputel_scrape_slots_taken", "Scraped slots left out: another streamer had them."
)
NVML_CALLS_FAILED = _counter(
    "gputel_nvml_calls_failed",
    "Calls of NVML with an error that says neither that a GPU lacks something nor that it is lost.",
    "error",
)

COLLECTOR_ROWS_LANDED = _counter("gputel_collector_rows_landed", "Rows committed to Postgres.")
COLLECTOR_ROWS_REPEATED = _counter(
    "gputel_collector_rows_repeated",
    "Rows whose series and time the store has already; they are not in rows_landed.",
)
COLLECTOR_ROWS_REJECTED = _counter(
    "gputel_collector_rows_rejected",
    "Rows not landed: too old, too far in the future, impossible for their field, or no reading.",
    "reason",
)
API_STREAM_CLIENTS = _gauge("gputel_api_stream_clients", "Open live streams.")
API_STREAM_RECORDS = _counter("gputel_api_stream_records", "Records sent to live streams.")
API_STREAM_DROPPED = _counter(
    "gputel_api_stream_dropped_records",
    "Records dropped because clients of live streams were too slow.",
)
API_LABELS_UNREAD = _counter(
    "gputel_api_labels_unread",
    "Series whose labels_raw could not be read as a whole, each time that they were read.",
)
API_HEAD_SAMPLES = _gauge("gputel_api_head_samples", "Samples of the head, in memory.")
API_HEAD_SERIES = _gauge("gputel_api_head_series", "Series of the head.")
API_HEAD_BYTES = _gauge("gputel_api_head_bytes", "Bytes of the samples of the head, and labels.")
API_HEAD_WINDOW = _gauge(
    "gputel_api_head_window_seconds",
    "Time before now that the head holds; 0 while it is filled, and Postgres answers.",
)
API_HEAD_FILLS = _counter(
    "gputel_api_head_fills", "Times that the head was filled from Postgres, whole."
)
API_HEAD_READS = _counter(
    "gputel_api_head_reads",
    "Queries, by where their samples were read: head, postgres, both.",
    "source",
)
API_PUSHED_RECORDS = _counter(
    "gputel_api_pushed_records", "Records of pushes, by result.", "result"
)
COLLECTOR_DUPLICATES = _counter(
    "gputel_collector_duplicates_dropped", "Messages dropped because they had landed before."
)
COLLECTOR_DEAD = _counter(
    "gputel_collector_dead_lettered", "Messages that can never land, by reason.", "reason"
)
COLLECTOR_RETURNED = _counter(
    "gputel_collector_returned", "Messages given back to the broker for another try.", "reason"
)
COLLECTOR_RETRIES = _counter(
    "gputel_collector_retries", "Commits and requests that were tried again.", "reason"
)
COLLECTOR_COMMIT_SECONDS = _histogram(
    "gputel_collector_commit_seconds", "Time from claim to commit of one transaction."
)
COLLECTOR_BLOCKS_MERGED = _counter(
    "gputel_collector_blocks_merged", "Blocks of the store merged into larger ones."
)
COLLECTOR_HOURS_ROLLED_UP = _counter(
    "gputel_collector_hours_rolled_up", "Hours whose rollups were made or made again."
)
COLLECTOR_DAYS_DROPPED = _counter(
    "gputel_collector_days_dropped", "Days dropped because they were older than the retention."
)
COLLECTOR_CLOCK_DIFFERENCE = _gauge(
    "gputel_collector_clock_difference_seconds", "This machine's clock minus the clock of Postgres."
)
COLLECTOR_SERIES = _gauge("gputel_collector_series_known", "Series in the series index.")

STORE_BYTES = GaugeMetricFamily(
    "gputel_store_bytes", "Bytes of the samples and their rollups in Postgres.", labels=[]
)
STORE_NEWEST_AGE = GaugeMetricFamily(
    "gputel_store_newest_sample_age_seconds",
    "Time since the newest sample, by the clock of Postgres; those about targets of scrapes do not "
    "count; absent without samples.",
    labels=[],
)
STORE_ROWS_LEFT = GaugeMetricFamily(
    "gputel_store_stream_rows_left",
    "Rows of a stream that streamers have taken on and that have not landed; absent if all have.",
    labels=["stream"],
)
STORE = Scraped([STORE_BYTES, STORE_NEWEST_AGE, STORE_ROWS_LEFT])
"""Each collector exports the same values: use max() over several."""


def of_store(size: int, age_s: float | None, rows_left: Mapping[str, int]) -> Write:
    """The values of STORE: bytes, the age of the newest sample if there is one, rows by stream."""
    sizes, ages, left = map(empty, (STORE_BYTES, STORE_NEWEST_AGE, STORE_ROWS_LEFT))
    sizes.add_metric([], size)
    if age_s is not None:
        ages.add_metric([], age_s)
    for stream, rows in rows_left.items():
        left.add_metric([stream], rows)
    return lambda: [sizes, ages, left]


HTTP_CONNECTIONS = _gauge("gputel_http_connections", "Connections to the process's servers.")
HTTP_CONNECTIONS_CLOSED = _counter(
    "gputel_http_connections_closed",
    "Connections that the server closed: idle when there were too many, refused because there "
    "were too many, late with the head of a request, or stuck while reading a reply.",
    "reason",
)
HTTP = RequestCounters()
BUILD = Build()
PROCESS = ProcessNumbers()


def _declared() -> Iterator[tuple[Metric, Iterable[str]]]:
    for value in list(globals().values()):
        if isinstance(value, (Build, ProcessNumbers, Scraped, RequestCounters)):
            yield from ((family, family._labelnames) for family in value.families)
        elif isinstance(value, MetricWrapperBase):
            yield from ((metric, value._labelnames) for metric in value.describe())


DECLARED = list(_declared())
"""Every metric above with the names of its labels."""


_OF_ROLES = {
    "broker": ("gputel_broker_",),
    "streamer": ("gputel_streamer_", "gputel_scrape_", "gputel_nvml_"),
    "collector": ("gputel_collector_",),
    "api": ("gputel_api_",),
}
_absent: tuple[str, ...] = ()


@contextmanager
def only_of(roles: Iterable[str]) -> Iterator[None]:
    """Leave out the metrics of all other roles, whose zeros would say nothing, meanwhile."""
    global _absent
    running = set(roles)
    others = [prefixes for role, prefixes in _OF_ROLES.items() if role not in running]
    before, _absent = _absent, tuple(prefix for prefixes in others for prefix in prefixes)
    try:
        yield
    finally:
        _absent = before


class _Scrape(Collector):
    """All metrics; a scraped one has its values from the time when this is made."""

    def __init__(self) -> None:
        self._writes = BROKER.read(), STORE.read()
        self._absent = _absent

    def collect(self) -> Iterable[Metric]:
        for write in self._writes:
            yield from write()
        yield from (each for each in REGISTRY.collect() if not each.name.startswith(self._absent))


async def render() -> bytes:
    """Every metric in Prometheus' text format, for ``GET /metrics``.

    A thread writes it, because that takes long with hundreds of queues.
    """
    return await asyncio.to_thread(generate_latest, _Scrape())
