"""From selectors to stored series and their samples, within the limits of a query."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from gputel.api.prometheus_labels import COLUMN_OF, prometheus_labels
from gputel.errors import ExpressionFailed
from gputel.promql.labels import Labels
from gputel.promql.matching import matches
from gputel.promql.nodes import Matcher, MatchOp, Selector
from gputel.promql.reach import Reach
from gputel.promql.samples import SeriesSamples, collect
from gputel.store.reader import Connection, Reader
from gputel.store.records import SeriesLabels
from gputel.store.samples import Samples
from gputel.store.series_reader import samples_of, series_where
from gputel.threads import maybe_in_thread

_IN_THREAD_SERIES = 300  # fewer are looked at sooner than a thread is told to
_IN_THREAD_SAMPLES = 10_000
_LITERALS = re.compile(r"[\w :@/-]+(?:\|[\w :@/-]+)*", re.ASCII)


@dataclass(frozen=True)
class Found:
    """Stored series, in order of id, and the labels of each in Prometheus' terms."""

    series_ids: list[int] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)


class SeriesSource:
    """Answers selectors from the store, refusing what is over the limits."""

    def __init__(self, reader: Reader, max_series: int, max_samples: int) -> None:
        self._reader = reader
        self._max_series = max_series
        self._max_samples = max_samples

    async def samples(self, reaches: Sequence[Reach]) -> dict[Selector, SeriesSamples]:
        """What each selector of an expression reads. Raises ExpressionFailed over a limit."""
        read: dict[Selector, SeriesSamples] = {}
        count = self._counter()
        async with self._reader.snapshot() as connection:
            for reach in reaches:
                found = await self._found(connection, reach)
                samples = await samples_of(
                    connection, found.series_ids, reach.first_us, reach.last_us, count
                )
                many = len(samples) > _IN_THREAD_SAMPLES
                read[reach.selector] = await maybe_in_thread(many, _collect, found, samples)
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
        """The same at once, each once. Raises ExpressionFailed over the limit of series."""
        found: set[Labels] = set()
        async with aclosing(self.labels(selectors, first_us, last_us)) as pieces:
            async for piece in pieces:
                found.update(piece)
                self._check_series(len(found))
        return found

    async def _found(self, connection: Connection, reach: Reach) -> Found:
        found = Found()
        matchers = reach.selector.matchers
        pieces = self._each(connection, matchers, reach.first_us, reach.last_us)
        async with aclosing(pieces):
            async for piece in pieces:
                found.series_ids.extend(piece.series_ids)
                found.labels.extend(piece.labels)
                self._check_series(len(found.series_ids))
        return found

    async def _each(
        self, connection: Connection, matchers: Sequence[Matcher], first_us: int, last_us: int
    ) -> AsyncGenerator[Found, None]:
        """The series that all matchers take, some at a time, in order of id."""
        allowed, rest = _in_store(matchers)
        found = series_where(connection, self._reader.known, allowed, first_us, last_us)
        async with aclosing(found) as pieces:
            async for piece in pieces:
                yield await maybe_in_thread(len(piece) > _IN_THREAD_SERIES, _taken, rest, piece)

    def _check_series(self, count: int) -> None:
        if count > self._max_series:
            raise ExpressionFailed(
                f"the query selects more than {self._max_series} series, the limit "
                "(--query-max-series): narrow it by more matchers"
            )

    def _counter(self) -> Callable[[int], None]:
        total = 0

        def count(more: int) -> None:
            nonlocal total
            total += more
            if total > self._max_samples:
                raise ExpressionFailed(
                    "query processing would load too many samples into memory: more than "
                    f"{self._max_samples}, the limit (--query-max-samples): narrow it by more "
                    "matchers or a shorter time"
                )

        return count


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


def _taken(matchers: Sequence[Matcher], series: Sequence[SeriesLabels]) -> Found:
    labels = [prometheus_labels(each) for each in series]
    taken = np.ones(len(labels), np.bool_)
    values = [dict(each) for each in labels] if matchers else []
    for matcher in matchers:
        taken &= matches(matcher, [each.get(matcher.name, "") for each in values])
    places = np.flatnonzero(taken).tolist()
    return Found([series[place].series_id for place in places], [labels[place] for place in places])


def _collect(found: Found, samples: Samples) -> SeriesSamples:
    starts = np.searchsorted(samples.series_id, np.array(found.series_ids, np.int64))
    return collect(found.labels, np.append(starts, len(samples)), samples.ts, samples.value)
