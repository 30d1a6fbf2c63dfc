"""From selectors to stored series and their samples, within the limits of a query."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import chain, islice
from sys import getsizeof
from threading import Event

import numpy as np

from gputel.api.prometheus import meanings
from gputel.api.prometheus.labels import (
    LANE,
    LabelledSeries,
    labels_bytes,
    prometheus_labels,
)
from gputel.api.prometheus.params import EVER_US
from gputel.api.prometheus.search import Search
from gputel.api.prometheus.tally import Tally
from gputel.config.settings import ApiSettings
from gputel.model.dcgm_fields import SINCE_4_7
from gputel.model.meanings import Meaning
from gputel.promql.reach import Reach
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Selector
from gputel.promql.values.endings import only, with_endings
from gputel.promql.values.labels import Labels, keep
from gputel.promql.values.samples import SeriesSamples, collect
from gputel.store.blocks.blocks import Int64
from gputel.store.blocks.samples import Samples, concatenate, ordered
from gputel.store.byte_cache import ByteCache
from gputel.store.limits import Limits
from gputel.store.read.endings import READING_US
from gputel.store.read.known_series import CACHED_LABELS_BYTES
from gputel.store.read.meanings import NEVER, MeantSeries, ambiguous, of_meaning
from gputel.store.read.records import SeriesLabels
from gputel.store.read.view import SeriesView, Views
from gputel.threads import READING

_FEW_SERIES = 5_000  # their labels are read at once, without a look at which have samples

_OF_LANE = {*LANE, "gpu", "device", "modelName", "Hostname"}
"""Matchers of these labels select all series of a lane or none, unless the GPU itself changes."""

_CACHES = 3  # stored labels, orders of them, Prometheus' labels

_IN_THREAD_SERIES = 300  # checking fewer takes less time than starting a thread
_IN_THREAD_SAMPLES = 10_000


def cache_bytes(settings: ApiSettings) -> int:
    """Bytes of each of the caches that share ``--query-cache-max-bytes``."""
    return settings.query_cache_max_bytes // _CACHES


@dataclass(frozen=True)
class QuerySamples:
    """The samples of each selector of a query, and what the reader of its answer should know."""

    of: dict[Selector, SeriesSamples]
    warnings: list[str]


class SeriesSource:
    """Reads the series and samples of selectors, within the limits."""

    def __init__(self, views: Views, limits: Limits, cache_bytes: int) -> None:
        self._views = views
        self._limits = limits
        self._known: ByteCache[int, Labels] = ByteCache(cache_bytes, CACHED_LABELS_BYTES)

    async def samples(self, reaches: Sequence[Reach]) -> QuerySamples:
        """The samples of each selector of an expression. Raises ExpressionFailed over a limit.

        A series counts where it has samples in the time that the selector reads.
        """
        read: dict[Selector, SeriesSamples] = {}
        tally = Tally(self._limits)
        first = min((reach.first_us for reach in reaches), default=0)
        last = max((reach.last_us for reach in reaches), default=0)
        async with self._views.view(first, last) as view:
            for reach in reaches:
                found = read[reach.selector] = await self._selected(view, reach, tally)
                if not len(found):
                    tally.warn_of_nothing(reach.selector)
        return QuerySamples(read, sorted(tally.warnings))

    async def labels(
        self, selectors: Iterable[Selector], first_us: int, last_us: int
    ) -> AsyncGenerator[list[Labels], None]:
        """The labels of the series with samples that match any of the selectors, some at a time."""
        async with self._views.view(first_us, last_us) as view:
            for selector in selectors:
                search = Search.of(selector.matchers)
                found = await view.where(search.allowed, first_us, last_us)
                found = await view.sampled(found, first_us, last_us)
                stored = LabelledSeries()
                async with aclosing(self._each(view, found, search)) as pieces:
                    async for piece in pieces:
                        if search.meaning is None:
                            yield piece.labels
                        else:
                            stored.extend(piece)
                if search.meaning is not None:
                    many = len(stored.labels) > _IN_THREAD_SERIES
                    _, shown = await READING.run_if(many, meanings.joined, search.meaning, stored)
                    yield shown.labels

    async def distinct(
        self, selectors: Iterable[Selector], first_us: int, last_us: int
    ) -> set[Labels]:
        """The distinct labels of the same series. Raises ExpressionFailed over a limit."""
        distinct: set[Labels] = set()
        tally = Tally(self._limits)
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
        tally = Tally(self._limits)
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
        tally = Tally(self._limits)
        async with aclosing(self.labels([Selector(())], -EVER_US, EVER_US)) as pieces:
            async for piece in pieces:
                count += len(piece)
                known = len(pairs)
                await READING.run(pairs.update, chain.from_iterable(piece))
                tally.add_bytes(sum(getsizeof(pair[1]) for pair in islice(pairs, known, None)))
        return count, pairs

    async def _selected(self, view: SeriesView, reach: Reach, tally: Tally) -> SeriesSamples:
        """The samples of a selector, with marks where a series ends if it reads single samples."""
        search = Search.of(reach.selector.matchers)
        found = await self._matching(view, reach, search)
        tally.begin_selector()
        reading = _Reading(view, reach, search.meaning, tally)
        series, samples = await self._read(reading, found.tolist(), tally.add_samples)
        many = len(samples) > _IN_THREAD_SAMPLES
        if reading.is_of_ranges:
            return await READING.run_if(many, _collect, series, samples)
        selected = len(series.labels)
        if selected and not {each.name for each in reach.selector.matchers} <= _OF_LANE:
            others = await _others(reading, found, series)
            more, more_samples = await self._read(reading, others, tally.add_others)
            series.extend(more)
            samples = concatenate([samples, more_samples])
        if len(set(series.readings_of)) == len(series.readings_of):
            return await READING.run_if(many, _collect, series, samples)
        return await READING.run_if(many, _ended, series, samples, selected)

    async def _matching(self, view: SeriesView, reach: Reach, search: Search) -> Int64:
        """The ids of the series that match, in order; some may have no samples in the time."""
        first, last = reach.first_us, reach.last_us
        found = await view.where(search.allowed, first, last)
        if not search.rest:
            return found
        if len(found) > _FEW_SERIES:
            found = await view.sampled(found, first, last)
        matching: list[int] = []
        async with aclosing(self._each(view, found, search)) as pieces:
            async for piece in pieces:
                matching += piece.series_ids
        return np.array(matching, np.int64)

    async def _read(
        self, reading: _Reading, series_ids: Sequence[int], count: Callable[[Samples], None]
    ) -> tuple[LabelledSeries, Samples]:
        """The series with samples, in order of id, and their samples.

        They have marks where a source said that a series has ended, if single samples are read.
        Those of a meaning are series of the meaning.
        """
        view, span = reading.view, reading.span
        samples = await view.samples_of(series_ids, *span, count)
        series = await self._labelled(view, samples, reading.tally)
        if not reading.is_of_ranges:
            samples = await _with_ends(view, samples, *span)
        if reading.meaning is None:
            return series, samples
        many = len(samples) > _IN_THREAD_SAMPLES or len(series.labels) > _IN_THREAD_SERIES
        meant, shown = await READING.run_if(many, meanings.joined, reading.meaning, series)
        meant = await self._judged(reading, series, meant, samples)
        samples, unknown = await READING.run_if(many, of_meaning, reading.meaning, meant, samples)
        reading.tally.warn_of(reading.meaning, unknown)
        return meanings.only(shown, np.isin(shown.series_ids, samples.series_id)), samples

    async def _judged(
        self, reading: _Reading, stored: LabelledSeries, meant: MeantSeries, samples: Samples
    ) -> MeantSeries:
        """The series, with the times in which other names prove that the exporter sends ratios."""
        assert reading.meaning is not None
        if None not in reading.meaning.scales.values():
            return meant
        doubtful = np.flatnonzero(ambiguous(reading.meaning, meant, samples)).tolist()
        if not doubtful:
            return meant
        uuids = sorted({stored.readings_of[position][1] for position in doubtful})
        allowed = {"metric_name": sorted(SINCE_4_7), "uuid": uuids}
        found = await reading.view.where(allowed, *reading.span)
        found = await reading.view.sampled(found, *reading.span)
        proofs = LabelledSeries()
        async with aclosing(self._each(reading.view, found)) as pieces:
            async for piece in pieces:
                proofs.extend(piece)
        proved = meanings.one_reading_each(proofs)
        count = reading.tally.add_others
        proof = await reading.view.samples_of(sorted(proved), *reading.span, count)
        times: dict[meanings.Exporter, tuple[int, int]] = {}
        for series_id, (first, last) in _spans(proof).items():
            before = times.get(proved[series_id], NEVER)
            times[proved[series_id]] = min(first, before[0]), max(last, before[1])
        spans = [times.get(each, NEVER) for each in meanings.exporters_of(stored)]
        ratio_from, ratio_to = np.array(spans, np.int64).T
        return replace(meant, ratio_from=ratio_from - READING_US, ratio_to=ratio_to + READING_US)

    async def _labelled(self, view: SeriesView, samples: Samples, tally: Tally) -> LabelledSeries:
        """The series of these samples, which are in order of series."""
        series = LabelledSeries()
        found = samples.series_id[np.flatnonzero(np.diff(samples.series_id, prepend=-1))]
        async with aclosing(self._each(view, found)) as pieces:
            async for piece in pieces:
                tally.add_bytes(piece.labels_bytes)
                series.extend(piece)
        return series

    async def _each(
        self, view: SeriesView, series_ids: Int64, search: Search | None = None
    ) -> AsyncGenerator[LabelledSeries, None]:
        """Those of the series that match the rest of the search, some at a time."""
        stop = Event()
        search = search or Search()
        stored = view.labels_of(series_ids)
        try:
            async with aclosing(stored) as pieces:
                async for piece in pieces:
                    many = len(piece) > _IN_THREAD_SERIES or search.is_slow
                    yield await READING.run_if(many, self._taken, search, piece, stop)
        finally:
            stop.set()

    def _taken(self, search: Search, series: Sequence[SeriesLabels], stop: Event) -> LabelledSeries:
        sized = [self._labels(each) for each in series]
        labels = [each for each, _ in sized]
        taken = np.ones(len(labels), np.bool_)
        values = [dict(search.named(each)) for each in labels] if search.rest else []
        for matcher in search.rest:
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


@dataclass(frozen=True)
class _Reading:
    """What a selector reads, and where."""

    view: SeriesView
    reach: Reach
    meaning: Meaning | None
    tally: Tally

    @property
    def span(self) -> tuple[int, int]:
        """The first and last instant."""
        return self.reach.first_us, self.reach.last_us

    @property
    def is_of_ranges(self) -> bool:
        """Whether all samples of ranges are read, not single ones."""
        return self.reach.selector.range_us is not None


async def _others(reading: _Reading, selected: Int64, series: LabelledSeries) -> list[int]:
    """The ids of the other series of the same metrics, or meaning, and GPUs."""
    if reading.meaning is None:
        return await reading.view.others_of(series.series_ids)
    uuids = sorted({uuid for _, uuid in series.readings_of})
    allowed = {"metric_name": [*reading.meaning.scales], "uuid": uuids}
    found = await reading.view.where(allowed, *reading.span)
    others: list[int] = np.setdiff1d(found, selected).tolist()
    return others


def _spans(samples: Samples) -> dict[int, tuple[int, int]]:
    """The times of the first and the last sample of each series."""
    starts = np.flatnonzero(np.diff(samples.series_id, prepend=-1))
    ends = np.append(starts, len(samples))[1:] - 1
    times = zip(samples.ts[starts].tolist(), samples.ts[ends].tolist(), strict=True)
    return dict(zip(samples.series_id[starts].tolist(), times, strict=True))


async def _with_ends(view: SeriesView, samples: Samples, first_us: int, last_us: int) -> Samples:
    """The samples, and a stale marker where the source of a series said that it has ended."""
    ids = samples.series_id[np.flatnonzero(np.diff(samples.series_id, prepend=-1))]
    ends = await view.ends_of(ids, first_us, last_us)
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
