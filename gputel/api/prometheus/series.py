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

_IN_THREAD_SERIES = 300  # checking fewer takes less time than starting a thread
_IN_THREAD_SAMPLES = 10_000
_LITERALS = re.compile(r"[\w :@/-]+(?:\|[\w :@/-]+)*", re.ASCII)


def cache_bytes(settings: ApiSettings) -> int:
    """Bytes of each of the caches that share ``--query-cache-max-bytes``."""
    return settings.query_cache_max_bytes // _CACHES


@dataclass(frozen=True)
class LabelledSeries:
    """Stored series in order of id, each with its labels by the names of Prometheus."""

    series_ids: list[int] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    labels_bytes: int = 0


class SeriesSource:
    """Reads the series and samples of selectors, within the limits."""

    def __init__(self, reader: Reader, limits: Limits, cache_bytes: int) -> None:
        self._reader = reader
        self._limits = limits
        self._known: ByteCache[int, Labels] = ByteCache(cache_bytes, CACHED_LABELS_BYTES)

    async def samples(self, reaches: Sequence[Reach]) -> dict[Selector, SeriesSamples]:
        """The samples of each selector of an expression. Raises ExpressionFailed over a limit."""
        read: dict[Selector, SeriesSamples] = {}
        tally = _Tally(self._limits)
        async with self._reader.snapshot() as connection:
            for reach in reaches:
                series = await self._matching(connection, reach, tally)
                samples = await samples_of(
                    connection, series.series_ids, reach.first_us, reach.last_us, tally.add_samples
                )
                many = len(samples) > _IN_THREAD_SAMPLES
                read[reach.selector] = await READING.run_if(many, _collect, series, samples)
        return read

    async def labels(
        self, selectors: Iterable[Selector], first_us: int, last_us: int
    ) -> AsyncGenerator[list[Labels], None]:
        """The labels of the series that match any of the selectors, some at a time."""
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
        """The distinct labels of the same series. Raises ExpressionFailed over a limit."""
        distinct: set[Labels] = set()
        tally = _Tally(self._limits)
        async with aclosing(self.labels(selectors, first_us, last_us)) as pieces:
            async for piece in pieces:
                fresh = {*piece} - distinct
                tally.add_series(len(fresh), sum(map(labels_bytes, fresh)))
                distinct |= fresh
        return distinct

    async def texts(
        self,
        selectors: Iterable[Selector],
        first_us: int,
        last_us: int,
        pick: Callable[[Labels], Iterable[str]],
    ) -> list[str]:
        """The distinct texts that ``pick`` takes from the labels of the series, sorted.

        Raises ExpressionFailed over the limit of bytes.
        """
        texts: set[str] = set()
        tally = _Tally(self._limits)
        async with aclosing(self.labels(selectors, first_us, last_us)) as pieces:
            async for piece in pieces:
                fresh = {text for labels in piece for text in pick(labels)} - texts
                tally.add_bytes(sum(map(getsizeof, fresh)))
                texts |= fresh
        return sorted(texts)

    async def pairs(self) -> tuple[int, Counter[tuple[str, str]]]:
        """The number of series, and how many of them have each pair of label and value.

        Raises ExpressionFailed over the limit of bytes.
        """
        count, pairs = 0, Counter[tuple[str, str]]()
        tally = _Tally(self._limits)
        async with aclosing(self.labels([Selector(())], -EVER_US, EVER_US)) as pieces:
            async for piece in pieces:
                count += len(piece)
                known = len(pairs)
                await READING.run(pairs.update, chain.from_iterable(piece))
                tally.add_bytes(sum(getsizeof(pair[1]) for pair in islice(pairs, known, None)))
        return count, pairs

    async def _matching(
        self, connection: Connection, reach: Reach, tally: _Tally
    ) -> LabelledSeries:
        series = LabelledSeries()
        matchers = reach.selector.matchers
        pieces = self._each(connection, matchers, reach.first_us, reach.last_us)
        async with aclosing(pieces):
            async for piece in pieces:
                tally.add_series(len(piece.labels), piece.labels_bytes)
                series.series_ids.extend(piece.series_ids)
                series.labels.extend(piece.labels)
        return series

    async def _each(
        self, connection: Connection, matchers: Sequence[Matcher], first_us: int, last_us: int
    ) -> AsyncGenerator[LabelledSeries, None]:
        """The series that match all matchers, some at a time, in order of id."""
        allowed, rest = _in_store(matchers)
        stop = Event()
        stored = series_where(connection, self._reader.known, allowed, first_us, last_us)
        try:
            async with aclosing(stored) as pieces:
                async for piece in pieces:
                    many = len(piece) > _IN_THREAD_SERIES or any(each.is_regex for each in rest)
                    yield await READING.run_if(many, self._taken, rest, piece, stop)
        finally:
            stop.set()

    def _taken(
        self, matchers: Sequence[Matcher], series: Sequence[SeriesLabels], stop: Event
    ) -> LabelledSeries:
        sized = [self._labels(each) for each in series]
        labels = [each for each, _ in sized]
        taken = np.ones(len(labels), np.bool_)
        values = [dict(each) for each in labels] if matchers else []
        for matcher in matchers:
            texts = [each.get(matcher.name, "") for each in values]
            taken &= matches(matcher, texts, stop.is_set)
        positions = np.flatnonzero(taken).tolist()
        return LabelledSeries(
            [series[position].series_id for position in positions],
            [labels[position] for position in positions],
            sum(sized[position][1] for position in positions),
        )

    def _labels(self, series: SeriesLabels) -> tuple[Labels, int]:
        known = self._known.sized(series.series_id)
        if known is None:
            labels = prometheus_labels(series)
            known = labels, labels_bytes(labels)
            self._known.put(series.series_id, *known)
        return known


class _Tally:
    """Counts what one query has read. Its methods raise ExpressionFailed over a limit."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._series = self._samples = self._bytes = 0

    def add_series(self, count: int, size: int) -> None:
        """Count series whose labels have ``size`` bytes."""
        self._series += count
        if self._series > self._limits.max_series:
            raise ExpressionFailed(
                f"the query selects more than {self._limits.max_series} series, the limit "
                "(--query-max-series): narrow it by more matchers"
            )
        self.add_bytes(size)

    def add_samples(self, count: int) -> None:
        """Count samples."""
        self._samples += count
        if self._samples > self._limits.max_samples:
            raise ExpressionFailed(
                "query processing would load too many samples into memory: more than "
                f"{self._limits.max_samples}, the limit (--query-max-samples): narrow it by more "
                "matchers or a shorter time"
            )

    def add_bytes(self, count: int) -> None:
        """Count bytes of labels."""
        self._bytes += count
        if self._bytes > self._limits.max_bytes:
            raise ExpressionFailed(
                f"the labels of the series have more than {self._limits.max_bytes} bytes, the "
                "limit (--query-max-bytes): narrow it by more matchers or a shorter time"
            )


def _in_store(matchers: Sequence[Matcher]) -> tuple[dict[str, list[str]], list[Matcher]]:
    """The values by column that Postgres can search for, and the other matchers."""
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
    """The values that it matches, if it lists them, as ``a|b`` does; else None."""
    if matcher.op is MatchOp.EQUAL:
        return [matcher.value]
    if matcher.op is MatchOp.RE and _LITERALS.fullmatch(matcher.value):
        return matcher.value.split("|")
    return None


def _collect(series: LabelledSeries, samples: Samples) -> SeriesSamples:
    starts = np.searchsorted(samples.series_id, np.array(series.series_ids, np.int64))
    return collect(series.labels, np.append(starts, len(samples)), samples.ts, samples.value)
