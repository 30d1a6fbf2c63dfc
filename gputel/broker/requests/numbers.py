"""The numbers of queues and of the journal, for ``GET /stats`` and ``GET /metrics``."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import fields
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from gputel import metrics
from gputel.mq.core.counters import Counters, Latency

if TYPE_CHECKING:
    from gputel.broker.queues.queues import Queues
    from gputel.broker.queues.total import Total
    from gputel.broker.queues.waiting import WaitingQueue
    from gputel.mq.journal.journal import Journal

_COUNTED = [field.name for field in fields(Counters)]
_BOUNDS = [*map(floatToGoString, Latency.BOUNDS), "+Inf"]


def queue_numbers(waiting: WaitingQueue) -> dict[str, int | float]:
    """What a queue holds now, its bounds, and its counters."""
    queue = waiting.queue
    oldest = queue.oldest_ready()
    return {
        "ready": queue.ready,
        "blocked": queue.blocked,
        "delayed": queue.delayed,
        "in_flight": queue.in_flight,
        "dead": len(queue.dead_letters),
        "dead_bytes": queue.dead_letters.bytes,
        "bytes": queue.held_bytes,
        "max_messages": queue.limits.max_messages,
        "max_bytes": queue.limits.max_bytes,
        "oldest_ready_s": round(waiting.now() - oldest.since, 6) if oldest else 0.0,
        "waiting_publishers": waiting.waiting_publishers,
        "waiting_consumers": waiting.waiting_consumers,
        **{name: getattr(queue.counters, name) for name in _COUNTED},
    }


def latencies(waiting: WaitingQueue) -> dict[str, Latency]:
    """How long messages of a queue waited, and how long consumers worked on them."""
    return {"wait_s": waiting.queue.waits, "work_s": waiting.queue.work}


def latency_summary(latency: Latency) -> dict[str, int | float]:
    """A summary of a latency in seconds; the quantiles are as exact as its buckets."""
    count = latency.count
    return {
        "count": count,
        "mean": round(latency.total_s / count, 6) if count else 0.0,
        "p50": round(latency.quantile(0.5), 6),
        "p99": round(latency.quantile(0.99), 6),
    }


def total_numbers(total: Total) -> dict[str, int]:
    """The bytes of all queues together, and those that wait for room."""
    return {
        "bytes": total.used,
        "max_bytes": total.max_bytes,
        "waiting_bytes": total.waiting,
    }


def journal_numbers(journal: Journal) -> dict[str, int]:
    """The size of the journal and of its live messages."""
    space = journal.space
    segments = [*space.sealed, *space.spares, *([space.current] if space.current else [])]
    return {
        "segments": len(segments),
        "bytes": sum(segment.size for segment in segments),
        "live_bytes": space.live_bytes,
        "broken": int(bool(journal.broken)),
    }


def metrics_of(queues: Queues) -> AbstractContextManager[None]:
    """Let ``GET /metrics`` read these queues and their journal while the context lasts."""
    return metrics.BROKER.read_from(lambda: _read(queues))


def _read(queues: Queues) -> metrics.Write:
    numbers = [(name, queue_numbers(waiting)) for name, waiting in queues.items()]
    timed = [
        (name, {of: latency.copy() for of, latency in latencies(waiting).items()})
        for name, waiting in queues.items()
    ]
    journal = journal_numbers(queues.journal) if queues.journal is not None else {}
    return partial(_write, numbers, timed, total_numbers(queues.total), journal)


def _write(
    numbers: list[tuple[str, dict[str, int | float]]],
    timed: list[tuple[str, dict[str, Latency]]],
    total: dict[str, int],
    journal: dict[str, int],
) -> Iterable[Metric]:
    for number, family in metrics.BROKER_QUEUE.items():
        built = metrics.empty(family)
        if isinstance(built, HistogramMetricFamily):
            for queue, latencies_of in timed:
                _add_latency(built, queue, latencies_of[number])
        else:
            for queue, values in numbers:
                built.add_metric([queue], values[number])
        yield built
    for families, values_of in ((metrics.BROKER_TOTAL, total), (metrics.BROKER_JOURNAL, journal)):
        for number, value in values_of.items():
            gauge = metrics.empty(families[number])
            gauge.add_metric([], value)
            yield gauge


def _add_latency(family: HistogramMetricFamily, queue: str, latency: Latency) -> None:
    if latency.count:  # an empty histogram would only make the reply longer
        buckets = zip(_BOUNDS, accumulate(latency.counts), strict=True)
        family.add_metric([queue], list(buckets), latency.total_s)
