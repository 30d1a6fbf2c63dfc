"""The queue's counters, brought to the metrics of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from gputel import metrics
from gputel.mq.queue import Counters

if TYPE_CHECKING:
    from gputel.broker.waiting_queue import WaitingQueue

_COUNTERS = {
    "published": metrics.BROKER_PUBLISHED,
    "duplicates": metrics.BROKER_DUPLICATES,
    "delivered": metrics.BROKER_DELIVERED,
    "redelivered": metrics.BROKER_REDELIVERED,
    "acked": metrics.BROKER_ACKED,
    "dead_lettered": metrics.BROKER_DEAD,
}


class QueueMetrics:
    """Adds what one queue counted since the last update to the counters of the process."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._seen = dict.fromkeys(_COUNTERS, 0)

    def update(self) -> None:
        """Bring the metrics up to date. Cheap when nothing happened."""
        for name, seen in self._seen.items():
            value = getattr(self._counters, name)
            if value != seen:
                _COUNTERS[name].inc(value - seen)
                self._seen[name] = value


@contextmanager
def gauges_of(queues: Iterable[WaitingQueue]) -> Iterator[None]:
    """Let the gauges sum over the queues whenever they are scraped; afterwards they read 0."""

    def total(read: Callable[[WaitingQueue], int]) -> Callable[[], float]:
        return lambda: sum(map(read, queues))

    gauges: dict[Gauge, Callable[[], float]] = {
        metrics.BROKER_READY: total(lambda w: w.queue.ready + w.queue.delayed),
        metrics.BROKER_IN_FLIGHT: total(lambda w: w.queue.in_flight),
        metrics.BROKER_DEAD_LETTERS: total(lambda w: len(w.queue.dead_letters)),
        metrics.BROKER_BYTES: total(lambda w: w.queue.held_bytes),
        metrics.BROKER_WAITING.labels("publish"): total(lambda w: w.waiting_publishers),
        metrics.BROKER_WAITING.labels("consume"): total(lambda w: w.waiting_consumers),
    }
    for gauge, read in gauges.items():
        gauge.set_function(read)
    try:
        yield
    finally:
        for gauge in gauges:
            gauge.set_function(lambda: 0.0)
