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

from gputel.api.prometheus.labels import LANE, labels_bytes, prometheus_labels, searched_column
from gputel.api.prometheus.params import EVER_US
from gputel.config.settings import ApiSettings
from gputel.errors import ExpressionFailed
from gputel.promql.reach import Reach
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Matcher, MatchOp, Selector
from gputel.promql.values.endings import only, with_endings
from gputel.promql.values.labels import Labels, keep
from gputel.promql.values.samples import SeriesSamples, collect
from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import Samples, concatenate, ordered
from gputel.store.byte_cache import ByteCache
from gputel.store.limits import Limits
from gputel.store.read.endings import READING_US
from gputel.store.read.known_series import CACHED_LABELS_BYTES
from gputel.store.read.reader import Connection, Reader
from gputel.store.read.records import SeriesLabels
from gputel.store.read.series_reader import (
    ends_of,
    labels_of,
    others_of,
    sampled,
    samples_of,
    series_where,
)
from gputel.threads import READING

_FEW_SERIES = 5_000  # their labels are read at once, without a look at which have samples

_OF_LANE = {*LANE, "gpu", "device", "modelName", "Hostname"}
"""Matchers of these labels select all series of a lane or none, unless the GPU itself changes."""

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
    readings_of: list[tuple[str, str]] = field(default_factory=list)
    """The metric and GPU of each."""
    labels_bytes: int = 0

    def extend(self, more: LabelledSeries) -> None:
        """Add series, but not their bytes."""
        self.series_ids.extend(more.series_ids)
        self.labels.extend(more.labels)
        self.readings_of.extend(more.readings_of)


class SeriesSource:
    """Reads the series and samples of selectors, within the limits."""

    def __init__(self, reader: Reader, limits: Limits, cache_bytes: int) -> None:
        self._reader = reader
        self._limits = limits
        self._known: ByteCache[int, Labels] = ByteCache(cache_bytes, CACHED_LABELS_BYTES)

    async def samples(self, reaches: Sequence[Reach]) -> dict[Selector, SeriesSamples]:
        """The samples of each selector of an expression. Raises ExpressionFailed over a limit.

        A series counts where it has samples in the time that the selector reads.
        """
        read: dict[Selector, SeriesSamples] = {}
        tally = _Tally(self._limits)
        async with self._reader.snapshot() as connection:
            for reach in reaches:
                read[reach.selector] = await self._selected(connection, reach, tally)
        return read

    async def labels(
        self, selectors: Iterable[Selector], first_us: int, last_us: int
    ) -> AsyncGenerator[list[Labels], None]:
        """The labels of the series with samples that match any of the selectors, some at a time."""
        async with self._reader.snapshot() as connection:
            for selector in selectors:
                allowed, rest = _in_store(selector.matchers)
                found = await series_where(connection, allowed, first_us, last_us)
                found = await sampled(connection, found, first_us, last_us)
                async with aclosing(self._each(connection, found, rest)) as pieces:
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

    async def _selected(self, connection: Connection, reach: Reach, tally: _Tally) -> SeriesSamples:
        """The samples of a selector, with marks where a series ends if it reads single samples."""
        found = await self._matching(connection, reach)
        span = reach.first_us, reach.last_us
        tally.begin_selector()
        samples = await samples_of(connection, found.tolist(), *span, tally.add_samples)
        series = await self._labelled(connection, samples, tally)
        many = len(samples) > _IN_THREAD_SAMPLES
        if reach.selector.range_us is not None:
            return await READING.run_if(many, _collect, series, samples)
        samples = await _with_ends(connection, samples, *span)
        selected = len(series.labels)
        if selected and not {each.name for each in reach.selector.matchers} <= _OF_LANE:
            others = await others_of(connection, series.series_ids)
            more = await samples_of(connection, others, *span, tally.add_others)
            series.extend(await self._labelled(connection, more, tally))
            samples = concatenate([samples, await _with_ends(connection, more, *span)])
        if len(set(series.readings_of)) == len(series.readings_of):
            return await READING.run_if(many, _collect, series, samples)
        return await READING.run_if(many, _ended, series, samples, selected)

    async def _matching(self, connection: Connection, reach: Reach) -> Int64:
        """The ids of the series that match, in order; some may have no samples in the time."""
        first, last = reach.first_us, reach.last_us
        allowed, rest = _in_store(reach.selector.matchers)
        found = await series_where(connection, allowed, first, last)
        if not rest:
            return found
        if len(found) > _FEW_SERIES:
            found = await sampled(connection, found, first, last)
        matching: list[int] = []
        async with aclosing(self._each(connection, found, rest)) as pieces:
            async for piece in pieces:
                matching += piece.series_ids
        return np.array(matching, np.int64)

    async def _labelled(
        self, connection: Connection, samples: Samples, tally: _Tally
    ) -> LabelledSeries:
        """The series of these samples, which are in order of series."""
        series = LabelledSeries()
        found = samples.series_id[np.flatnonzero(np.diff(samples.series_id, prepend=-1))]
        async with aclosing(self._each(connection, found, ())) as pieces:
            async for piece in pieces:
                tally.add_bytes(piece.labels_bytes)
                series.extend(piece)
        return series

    async def _each(
        self, connection: Connection, series_ids: Int64, matchers: Sequence[Matcher]
    ) -> AsyncGenerator[LabelledSeries, None]:
        """Those of the series that match all matchers, some at a time."""
        stop = Event()
        stored = labels_of(connection, self._reader.known, series_ids)
        try:
            async with aclosing(stored) as pieces:
                async for piece in pieces:
                    many = len(piece) > _IN_THREAD_SERIES or any(each.is_regex for each in matchers)
                    yield await READING.run_if(many, self._taken, matchers, piece, stop)
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
            [(series[position].metric_name, series[position].uuid) for position in positions],
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
        self._last = -1  # the series of the sample that was counted last

    def add_series(self, count: int, size: int) -> None:
        """Count series whose labels have ``size`` bytes."""
        self._series += count
        if self._series > self._limits.max_series:
            raise ExpressionFailed(
                f"the query selects more than {self._limits.max_series} series, the limit "
                "(--query-max-series): narrow it by more matchers"
            )
        self.add_bytes(size)

    def begin_selector(self) -> None:
        """What is counted next is another selector's, even if it is of the same series."""
        self._last = -1

    def add_samples(self, samples: Samples) -> None:
        """Count samples, which come in order of series, and their series."""
        ids = samples.series_id
        if not len(ids):
            return
        self.add_series(int(np.count_nonzero(np.diff(ids, prepend=self._last))), 0)
        self._last = int(ids[-1])
        self.add_others(samples)

    def add_others(self, samples: Samples) -> None:
        """Count samples, but not their series, which the query does not select."""
        self._samples += len(samples)
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
        values = _literals(matcher)
        column = None if values is None else searched_column(matcher.name, values)
        if values is not None and column is not None and column not in allowed:
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


async def _with_ends(
    connection: Connection, samples: Samples, first_us: int, last_us: int
) -> Samples:
    """The samples, and a stale marker where the source of a series said that it has ended."""
    ids = samples.series_id[np.flatnonzero(np.diff(samples.series_id, prepend=-1))]
    ends = await ends_of(connection, ids, first_us, last_us)
    return ordered(concatenate([samples, ends])) if len(ends) else samples


def _collect(series: LabelledSeries, samples: Samples) -> SeriesSamples:
    starts = np.flatnonzero(np.diff(samples.series_id, prepend=-1))
    return collect(series.labels, np.append(starts, len(samples)), samples.ts, samples.value)


def _ended(series: LabelledSeries, samples: Samples, selected: int) -> SeriesSamples:
    """The samples of the first series, with marks where one ends as any other begins."""
    found = _collect(series, samples)
    found = with_endings(found, [keep(labels, LANE) for labels in found.labels], READING_US)
    taken = {*series.labels[:selected]}
    return only(found, np.array([labels in taken for labels in found.labels], np.bool_))
