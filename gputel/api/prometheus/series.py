"""From selectors to stored series and their samples, within the limits of a query."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import chain, islice
from sys import getsizeof
from threading import Event

import numpy as np

from gputel.api.prometheus.labels import COLUMN_OF, labels_bytes, prometheus_labels
from gputel.api.prometheus.params import EVER_US
from gputel.config.settings import ApiSettings
from gputel.errors import ExpressionFailed
from gputel.promql.reach import Reach
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Matcher, MatchOp, Selector
from gputel.promql.values.labels import Labels
from gputel.promql.values.samples import SeriesSamples, collect
from gputel.store.blocks.samples import Samples
from gputel.store.byte_cache import ByteCache
from gputel.store.limits import Limits
from gputel.store.read.known_series import CACHED_LABELS_BYTES
from gputel.store.read.reader import Connection, Reader
from gputel.store.read.records import SeriesLabels
from gputel.store.read.series_reader import samples_of, series_where
from gputel.threads import READING

_CACHES = 3  # stored labels, orders of them, Prometheus' labels

_IN_THREAD_SERIES = 300  # fewer are looked at sooner than a thread is told to
_IN_THREAD_SAMPLES = 10_000
_LITERALS = re.compile(r"[\w :@/-]+(?:\|[\w :@/-]+)*", re.ASCII)


def cache_bytes(settings: ApiSettings) -> int:
    """Bytes of each of the caches that share ``--query-cache-max-bytes``."""
    return settings.query_cache_max_bytes // _CACHES


@dataclass(frozen=True)
class Found:
    """Stored series, in order of id, and the labels of each in Prometheus' terms."""

    series_ids: list[int] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    labels_bytes: int = 0


class SeriesSource:
    """Answers selectors from the store, refusing what is over the limits."""

    def __init__(self, reader: Reader, limits: Limits, cache_bytes: int) -> None:
        self._reader = reader
        self._limits = limits
        self._known: ByteCache[int, Labels] = ByteCache(cache_bytes, CACHED_LABELS_BYTES)

    async def samples(self, reaches: Sequence[Reach]) -> dict[Selector, SeriesSamples]:
        """What each selector of an expression reads. Raises ExpressionFailed over a limit."""
        read: dict[Selector, SeriesSamples] = {}
        tally = _Tally(self._limits)
        async with self._reader.snapshot() as connection:
            for reach in reaches:
                found = await self._found(connection, reach, tally)
                samples = await samples_of(
                    connection, found.series_ids, reach.first_us, reach.last_us, tally.add_samples
                )
                many = len(samples) > _IN_THREAD_SAMPLES
                read[reach.selector] = await READING.run_if(many, _collect, found, samples)
        return read

    async def labels(
        self, selectors: Iterable[Selector], first_us: int, last_us: int
    ) -> AsyncGenerator[list[Labels], None]:
        """The labels of the series that any of the selectors takes, some at a time."""
        async with self._reader.snapshot() as connection:
            for selector in selectors:
                async with aclosing(
                    self._each(connection, selector.matchers, first_us, last_us)
                ) as pieces:
                    async for piece in pieces:
                        yield piece.labels

    async def distinct(
        self, selectors: Iterable[Selector], first_us: int, last_us: int
    ) -> set[Labels]:
        """The same at once, each once. Raises ExpressionFailed over a limit."""
        found: set[Labels] = set()
        tally = _Tally(self._limits)
        async with aclosing(self.labels(selectors, first_us, last_us)) as pieces:
            async for piece in pieces:
                fresh = {*piece} - found
                tally.add_series(len(fresh), sum(map(labels_bytes, fresh)))
                found |= fresh
        return found

    async def texts(
        self,
        selectors: Iterable[Selector],
        first_us: int,
        last_us: int,
        pick: Callable[[Labels], Iterable[str]],
    ) -> list[str]:
        """What ``pick`` takes of the labels of each series, each text once, sorted.

        Raises ExpressionFailed over the limit of bytes.
        """
        found: set[str] = set()
        tally = _Tally(self._limits)
        async with aclosing(self.labels(selectors, first_us, last_us)) as pieces:
            async for piece in pieces:
                fresh = {text for labels in piece for text in pick(labels)} - found
                tally.add_bytes(sum(map(getsizeof, fresh)))
                found |= fresh
        return sorted(found)

    async def pairs(self) -> tuple[int, Counter[tuple[str, str]]]:
        """How many series there are, and how many of them have each pair of label and value.

        Raises ExpressionFailed over the limit of bytes.
        """
        count, found = 0, Counter[tuple[str, str]]()
        tally = _Tally(self._limits)
        async with aclosing(self.labels([Selector(())], -EVER_US, EVER_US)) as pieces:
            async for piece in pieces:
                count += len(piece)
                known = len(found)
                await READING.run(found.update, chain.from_iterable(piece))
                tally.add_bytes(sum(getsizeof(pair[1]) for pair in islice(found, known, None)))
        return count, found

    async def _found(self, connection: Connection, reach: Reach, tally: _Tally) -> Found:
        found = Found()
        matchers = reach.selector.matchers
        pieces = self._each(connection, matchers, reach.first_us, reach.last_us)
        async with aclosing(pieces):
            async for piece in pieces:
                tally.add_series(len(piece.labels), piece.labels_bytes)
                found.series_ids.extend(piece.series_ids)
                found.labels.extend(piece.labels)
        return found

    async def _each(
        self, connection: Connection, matchers: Sequence[Matcher], first_us: int, last_us: int
    ) -> AsyncGenerator[Found, None]:
        """The series that all matchers take, some at a time, in order of id."""
        allowed, rest = _in_store(matchers)
        stop = Event()
        found = series_where(connection, self._reader.known, allowed, first_us, last_us)
        try:
            async with aclosing(found) as pieces:
                async for piece in pieces:
                    many = len(piece) > _IN_THREAD_SERIES or any(each.is_regex for each in rest)
                    yield await READING.run_if(many, self._taken, rest, piece, stop)
        finally:
            stop.set()

    def _taken(
        self, matchers: Sequence[Matcher], series: Sequence[SeriesLabels], stop: Event
    ) -> Found:
        sized = [self._labels(each) for each in series]
        labels = [each for each, _ in sized]
        taken = np.ones(len(labels), np.bool_)
        values = [dict(each) for each in labels] if matchers else []
        for matcher in matchers:
            texts = [each.get(matcher.name, "") for each in values]
            taken &= matches(matcher, texts, stop.is_set)
        places = np.flatnonzero(taken).tolist()
        return Found(
            [series[place].series_id for place in places],
            [labels[place] for place in places],
            sum(sized[place][1] for place in places),
        )

    def _labels(self, series: SeriesLabels) -> tuple[Labels, int]:
        known = self._known.sized(series.series_id)
        if known is None:
            labels = prometheus_labels(series)
            known = labels, labels_bytes(labels)
            self._known.put(series.series_id, *known)
        return known


class _Tally:
    """What one query has read so far. Raises ExpressionFailed over a limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._series = self._samples = self._bytes = 0

    def add_series(self, count: int, size: int) -> None:
        """More series, whose labels have so many bytes."""
        self._series += count
        if self._series > self._limits.max_series:
            raise ExpressionFailed(
                f"the query selects more than {self._limits.max_series} series, the limit "
                "(--query-max-series): narrow it by more matchers"
            )
        self.add_bytes(size)

    def add_samples(self, count: int) -> None:
        """More samples."""
        self._samples += count
        if self._samples > self._limits.max_samples:
            raise ExpressionFailed(
                "query processing would load too many samples into memory: more than "
                f"{self._limits.max_samples}, the limit (--query-max-samples): narrow it by more "
                "matchers or a shorter time"
            )

    def add_bytes(self, count: int) -> None:
        """More bytes of labels."""
        self._bytes += count
        if self._bytes > self._limits.max_bytes:
            raise ExpressionFailed(
                f"the labels of the series have more than {self._limits.max_bytes} bytes, the "
                "limit (--query-max-bytes): narrow it by more matchers or a shorter time"
            )


def _in_store(matchers: Sequence[Matcher]) -> tuple[dict[str, list[str]], list[Matcher]]:
    """Values by column that Postgres can look for, and the matchers that are left."""
    allowed: dict[str, list[str]] = {}
    rest: list[Matcher] = []
    for matcher in matchers:
        column, values = COLUMN_OF.get(matcher.name), _literals(matcher)
        if column is not None and values is not None and column not in allowed:
            allowed[column] = values
        else:
            rest.append(matcher)
    return allowed, rest


def _literals(matcher: Matcher) -> list[str] | None:
    """The values that it takes, where they can be told, as of ``a|b``."""
    if matcher.op is MatchOp.EQUAL:
        return [matcher.value]
    if matcher.op is MatchOp.RE and _LITERALS.fullmatch(matcher.value):
        return matcher.value.split("|")
    return None


def _collect(found: Found, samples: Samples) -> SeriesSamples:
    starts = np.searchsorted(samples.series_id, np.array(found.series_ids, np.int64))
    return collect(found.labels, np.append(starts, len(samples)), samples.ts, samples.value)
