"""The newest sample of each series of meanings: under old and new names, each GPU once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import starmap
from typing import Any

import msgspec
import numpy as np

from gputel.model.dcgm_fields import DOUBTFUL, SINCE_4_7
from gputel.model.meanings import MEANING_OF, MEANINGS
from gputel.model.names import METRIC, UUID
from gputel.model.raw_labels import LANE_LABELS, read_raw
from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.limits import ANY, Limits
from gputel.store.read.endings import READING_US, Bools
from gputel.store.read.known_series import OrderedSeries, in_order
from gputel.store.read.latest import Newest, latest
from gputel.store.read.meanings import EVER, NEVER, MeantSeries, exporter_of, in_unit, numbered
from gputel.store.read.records import SeriesLabels
from gputel.store.read.selection import EVERY, Comparison, LabelCondition, Selection
from gputel.store.read.view import Views
from gputel.threads import READING

_REMEMBERED = 4  # lists of series
_IN_THREAD_SERIES = 300  # naming fewer takes less time than starting a thread

Sender = tuple[str, ...]
"""A GPU, and the MIG instance, instance and job of the exporter that sent a series of it."""


async def latest_of_meanings(
    views: Views,
    meanings: Sequence[str],
    selection: Selection = EVERY,
    seen_since: datetime | None = None,
    limits: Limits = ANY,
) -> Newest:
    """As ``latest``, for the series of meanings: ``selection`` has no condition on metrics.

    Of what an exporter sends of a GPU under several names, the name with the newest reading counts,
    and the newest name if both are of one reading. A value whose unit is unknown is NaN.
    """
    stored = [metric for name in meanings for metric in MEANINGS[name].scales]
    selected = selection.and_(_is(METRIC, stored))
    newest = await latest(views, selected, seen_since, limits)
    named = await READING.run_if(len(newest) > _IN_THREAD_SERIES, _named, newest.of)
    place = named.position
    ts, age_s, sent = newest.ts[place], newest.age_s[place], newest.value[place]
    kept = _current(named, ts)
    is_ratio = np.zeros(len(kept), np.bool_)
    if (kept & named.doubtful & (sent == 1)).any():
        is_ratio = await _proven(views, named, seen_since, limits)
    value, known = _in_units(named, ts, sent, is_ratio)
    found = Newest(named.of, ts, age_s, np.where(known, value, np.nan))
    return found if kept.all() else _only(found, kept)


@dataclass(frozen=True, eq=False)
class _Named:
    """Series under the names of their meanings, in order; ``position`` is where each was before.

    ``lane`` numbers what may be sent under several names. ``parts`` has the positions of the series
    of each meaning.
    """

    of: OrderedSeries
    position: Int64
    metric_name: tuple[str, ...]
    doubtful: Bools
    rank: Int64
    lane: Int64
    parts: tuple[tuple[Int64, MeantSeries], ...]
    senders: tuple[Sender, ...]


@lru_cache(_REMEMBERED)
def _named(of: OrderedSeries) -> _Named:
    rows: list[Any] = list(of.series)  # structs, which mypy does not see
    renamed: list[SeriesLabels] = [
        msgspec.structs.replace(row, metric_name=MEANING_OF[row.metric_name].name) for row in rows
    ]
    order = in_order(renamed)
    series = tuple(renamed[place] for place in order)
    names = tuple(of.series[place].metric_name for place in order)
    senders = tuple(map(_sender, series))
    pairs = list(zip(series, senders, strict=True))
    position = np.array(order, np.int64)
    ordered = OrderedSeries(series, of.series_id[position], of.place[position])
    return _Named(
        ordered,
        position,
        names,
        np.array([name in DOUBTFUL for name in names], np.bool_),
        np.array([MEANING_OF[name].ranks[name] for name in names], np.int64),
        numbered([(labels.metric_name, *sender) for labels, sender in pairs]),
        tuple(_parts(ordered, names, numbered(starmap(_exporter, pairs)))),
        senders,
    )


def _parts(
    of: OrderedSeries, names: Sequence[str], exporter: Int64
) -> Iterator[tuple[Int64, MeantSeries]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, labels in enumerate(of.series):
        places[labels.metric_name].append(place)
    for each in places.values():
        at = np.array(each, np.int64)
        ids, never = of.series_id[at], (np.full(len(at), time) for time in NEVER)
        yield at, MeantSeries(ids, [names[place] for place in each], ids, exporter[at], *never)


def _sender(labels: SeriesLabels) -> Sender:
    raw = read_raw(labels.labels_raw).labels
    return labels.uuid, *(raw.get(name, "") for name in LANE_LABELS)


def _exporter(labels: SeriesLabels, sender: Sender) -> tuple[str, ...]:
    uuid, _, instance, job = sender
    return exporter_of(uuid, labels.hostname, instance, job)


def _current(named: _Named, ts: Int64) -> Bools:
    """Which series have the name that counts in their lane."""
    lanes = int(named.lane.max(initial=-1)) + 1
    newest = np.full(lanes, np.iinfo(np.int64).min)
    np.maximum.at(newest, named.lane, ts)
    best = np.full(lanes, len(MEANING_OF))
    of_reading = ts >= newest[named.lane] - READING_US
    np.minimum.at(best, named.lane[of_reading], named.rank[of_reading])
    kept: Bools = named.rank == best[named.lane]
    return kept


def _in_units(named: _Named, ts: Int64, value: Float64, is_ratio: Bools) -> tuple[Float64, Bools]:
    """The values in the units of their meanings, and which of them are known."""
    scaled, known = value.copy(), np.ones(len(value), np.bool_)
    for at, part in named.parts:
        ratio_from, ratio_to = (
            np.where(is_ratio[at], *times) for times in zip(EVER, NEVER, strict=True)
        )
        series = replace(part, ratio_from=ratio_from, ratio_to=ratio_to)
        meaning, row = MEANING_OF[part.metric_name[0]], np.arange(len(at))
        scaled[at], known[at] = in_unit(meaning, series, row, ts[at], value[at])
    return scaled, known


async def _proven(
    views: Views, named: _Named, seen_since: datetime | None, limits: Limits
) -> Bools:
    """The series whose exporter also sends names that only exporters of ratios have."""
    doubtful = [named.of.series[place].uuid for place in np.flatnonzero(named.doubtful)]
    proof = Selection((_is(METRIC, sorted(SINCE_4_7)), _is(UUID, sorted({*doubtful}))))
    found = await latest(views, proof, seen_since, limits)
    senders = {(each[0], *each[2:]) for each in map(_sender, found.of.series)}
    return np.array([(each[0], *each[2:]) in senders for each in named.senders], np.bool_)


def _is(label: str, values: Sequence[str]) -> LabelCondition:
    return LabelCondition(label, Comparison.IS, tuple(values))


def _only(newest: Newest, kept: Bools) -> Newest:
    places = np.flatnonzero(kept)
    of = OrderedSeries(
        tuple(newest.of.series[place] for place in places.tolist()),
        newest.of.series_id[places],
        newest.of.place[places],
    )
    return replace(
        newest, of=of, ts=newest.ts[kept], age_s=newest.age_s[kept], value=newest.value[kept]
    )
