"""Every Prometheus metric that gputel exports, declared once; ``docs/metrics.md`` lists them.

Names follow ``gputel_<role>_<what>_<unit>``; counters end in ``_total``.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase

REGISTRY = CollectorRegistry(auto_describe=True)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=_SECONDS)


BROKER_PUBLISHED = _counter("gputel_broker_published", "Messages accepted by the queue.")
BROKER_DUPLICATES = _counter("gputel_broker_duplicates", "Publishes of an id already held.")
BROKER_DELIVERED = _counter("gputel_broker_delivered", "Messages leased to consumers.")
BROKER_REDELIVERED = _counter("gputel_broker_redelivered", "Deliveries after the first one.")
BROKER_ACKED = _counter("gputel_broker_acked", "Messages acknowledged.")
BROKER_DEAD = _counter("gputel_broker_dead_lettered", "Messages moved to the dead letters.")
BROKER_READY = _gauge("gputel_broker_ready_messages", "Messages waiting for a consumer.")
BROKER_IN_FLIGHT = _gauge("gputel_broker_in_flight_messages", "Messages leased and not yet acked.")
BROKER_DEAD_LETTERS = _gauge("gputel_broker_dead_letters", "Dead letters held.")
BROKER_BYTES = _gauge("gputel_broker_held_bytes", "Bytes of all messages held.")
BROKER_WAITING = _gauge(
    "gputel_broker_waiting_requests", "Requests waiting for room or for a message.", "kind"
)
BROKER_JOURNAL_SECONDS = _histogram(
    "gputel_broker_journal_commit_seconds", "Time of one write to the journal and its sync."
)

STREAMER_ROWS_READ = _counter("gputel_streamer_rows_read", "Source rows read.")
STREAMER_ROWS_REJECTED = _counter("gputel_streamer_rows_rejected", "Source rows rejected.")
STREAMER_CHUNKS = _counter("gputel_streamer_chunks_published", "Chunks published.", "result")
STREAMER_TAKEOVERS = _counter("gputel_streamer_takeovers", "Expired chunk leases taken over.")

COLLECTOR_ROWS_LANDED = _counter("gputel_collector_rows_landed", "Rows committed to Postgres.")
COLLECTOR_DUPLICATES = _counter(
    "gputel_collector_duplicates_dropped", "Messages dropped because they had landed before."
)
COLLECTOR_DEAD = _counter("gputel_collector_dead_lettered", "Messages that can never land.")
COLLECTOR_RETRIES = _counter(
    "gputel_collector_retries", "Commits or requests tried again.", "reason"
)
COLLECTOR_COMMIT_SECONDS = _histogram(
    "gputel_collector_commit_seconds", "Time from claim to commit of one transaction."
)
COLLECTOR_SERIES = _gauge("gputel_collector_series_known", "Series held in the series index.")

HTTP_REQUESTS = _counter(
    "gputel_http_requests", "HTTP requests answered.", "role", "route", "status"
)
HTTP_SECONDS = _histogram("gputel_http_request_seconds", "HTTP request duration.", "role", "route")


DECLARED = [found for found in list(globals().values()) if isinstance(found, MetricWrapperBase)]
"""Every metric above, in its order."""


def render() -> bytes:
    """The text exposition of every metric, for ``GET /metrics``."""
    return generate_latest(REGISTRY)
