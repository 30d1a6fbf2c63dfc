"""What an answer by step is read from: rollups where they are valid, else samples.

|<-samples->|<-minutes->|<------hours------>|<-samples of a stale hour->|<-minutes->|<-samples->|
start   next minute   next hour                                     last hour   last minute   end
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from gputel.store.blocks.blocks import DAY_US
from gputel.store.rollup.buckets import HOUR_US, MINUTE_US


class SpanSource(Enum):
    """What a span is read from. The value is its step in microseconds, and 0 for samples."""

    SAMPLES = 0
    MINUTES = MINUTE_US
    HOURS = HOUR_US


@dataclass(frozen=True)
class Span:
    """From ``start_us`` to before ``end_us``, Unix microseconds; whole steps of its source."""

    source: SpanSource
    start_us: int
    end_us: int


def plan(start_us: int, end_us: int, step_us: int, stale: Sequence[int]) -> list[Span]:
    """As ``cover``, but a span of samples does not cross midnight UTC."""
    return [piece for span in cover(start_us, end_us, step_us, stale) for piece in _by_day(span)]


def cover(start_us: int, end_us: int, step_us: int, stale: Sequence[int]) -> list[Span]:
    """Spans that cover the range without overlap, in order of time.

    ``stale`` has the start of each hour whose rollups may not be used, in order.
    """
    coarse = [s for s in (SpanSource.HOURS, SpanSource.MINUTES) if step_us % s.value == 0]
    spans: list[Span] = []
    done = start_us
    for hour in stale if coarse else ():
        begin, end = max(hour, done), min(hour + HOUR_US, end_us)
        if begin < end:
            spans += _cover(done, begin, coarse)
            spans.append(Span(SpanSource.SAMPLES, begin, end))
            done = end
    spans += _cover(done, end_us, coarse)
    return _joined(spans)


def _cover(start_us: int, end_us: int, coarse: Sequence[SpanSource]) -> Iterator[Span]:
    """The coarsest source for the middle, finer ones for both ends."""
    if start_us >= end_us:
        return
    if not coarse:
        yield Span(SpanSource.SAMPLES, start_us, end_us)
        return
    source, finer = coarse[0], coarse[1:]
    first = -(-start_us // source.value) * source.value
    last = end_us // source.value * source.value
    if first >= last:
        yield from _cover(start_us, end_us, finer)
        return
    yield from _cover(start_us, first, finer)
    yield Span(source, first, last)
    yield from _cover(last, end_us, finer)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Join neighbours that have the same source."""
    joined: list[Span] = []
    for span in spans:
        if joined and (joined[-1].source, joined[-1].end_us) == (span.source, span.start_us):
            joined[-1] = Span(span.source, joined[-1].start_us, span.end_us)
        else:
            joined.append(span)
    return joined


def _by_day(span: Span) -> Iterator[Span]:
    if span.source is not SpanSource.SAMPLES:
        yield span
        return
    start_us = span.start_us
    while start_us < span.end_us:
        end_us = min(start_us // DAY_US * DAY_US + DAY_US, span.end_us)
        yield Span(span.source, start_us, end_us)
        start_us = end_us
