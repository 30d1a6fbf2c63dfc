"""Samples of several names as those of one meaning: in one unit, each reading once.

A name that is a percentage in one release and a ratio in another is judged by its samples. The
percentage is a whole number, so a value over 1 is percent, one between 0 and 1 is a ratio, and 0 is
0. A value of 1 is what the others of its exporter are; if these do not tell, it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gputel.model.columns import STALE_BITS
from gputel.model.meanings import Meaning
from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import Samples, ordered
from gputel.store.read.endings import READING_US, Bools

_PERCENT = 100.0
_FAR = 2**62
EVER = (-_FAR, _FAR)
NEVER = (_FAR, -_FAR)
"""Spans of time, for ``ratio_from`` and ``ratio_to``."""


@dataclass(frozen=True)
class MeantSeries:
    """Stored series of one meaning, in order of id: columns of one length.

    ``one`` has the id of the series that each is a part of. ``exporter`` numbers the exporters that
    sent them. From ``ratio_from`` to ``ratio_to`` something else proves that it sends ratios.
    """

    series_id: Int64
    metric_name: Sequence[str]
    one: Int64
    exporter: Int64
    ratio_from: Int64
    ratio_to: Int64


def of_meaning(
    meaning: Meaning, series: MeantSeries, samples: Samples
) -> tuple[Samples, dict[str, int]]:
    """The samples in the unit of the meaning, each reading once, in order of series and time.

    Their series are those in ``one``. Where a series has samples of several names at one reading,
    the newest name counts. Also returns how many samples of each name are left out because their
    unit is unknown.
    """
    row = np.searchsorted(series.series_id, samples.series_id)
    value, known = in_unit(meaning, series, row, samples.ts, samples.value)
    left_out = np.bincount(row[~known], minlength=len(series.series_id))
    unknown: dict[str, int] = {}
    for number in np.flatnonzero(left_out).tolist():
        name = series.metric_name[number]
        unknown[name] = unknown.get(name, 0) + int(left_out[number])
    row, found = row[known], Samples(series.one[row], samples.ts, value).take(known)
    rank = np.array([meaning.ranks[name] for name in series.metric_name], np.int64)
    if len(np.unique(series.one)) < len(series.one):
        found = _each_reading_once(found, row, rank)
    return ordered(found), unknown


def in_unit(
    meaning: Meaning, series: MeantSeries, row: Int64, ts: Int64, value: Float64
) -> tuple[Float64, Bools]:
    """The values in the unit of the meaning, and which are known; ``row`` has their series."""
    scales = [meaning.scales[name] for name in series.metric_name]
    times = np.array([1.0 if scale is None else scale.times for scale in scales])
    per = np.array([1.0 if scale is None else scale.per for scale in scales])
    doubtful = np.array([scale is None for scale in scales], np.bool_)[row]
    real = value.view(np.int64) != STALE_BITS  # arithmetic would change the bits of the mark
    scaled = value.copy()
    with np.errstate(over="ignore"):
        np.multiply(scaled, times[row], out=scaled, where=real)
    np.divide(scaled, per[row], out=scaled, where=real)
    known = np.ones(len(value), np.bool_)
    if doubtful.any():
        at = np.flatnonzero(doubtful & real)
        rows = row[at]
        is_ratio = (series.ratio_from[rows] <= ts[at]) & (ts[at] <= series.ratio_to[rows])
        scaled[at], known[at] = _percentages(value[at], series.exporter[rows], is_ratio)
    return scaled, known


def numbered(keys: Iterable[tuple[str, ...]]) -> Int64:
    """A number for each key, the same for equal ones, from 0 on."""
    numbers: dict[tuple[str, ...], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def exporter_of(uuid: str, host: str, instance: str, job: str) -> tuple[str, ...]:
    """What tells an exporter from others; the GPU alone if labels name no exporter."""
    return (host, instance, job) if host or instance else (uuid,)


def ambiguous(meaning: Meaning, series: MeantSeries, samples: Samples) -> Bools:
    """The series with samples whose unit they do not tell by themselves: 1 under a doubtful name.

    Other samples of the exporter are no sure proof, since it may have been upgraded between them.
    """
    row = np.searchsorted(series.series_id, samples.series_id)
    doubtful = np.array([meaning.scales[name] is None for name in series.metric_name], np.bool_)
    ones = doubtful[row] & (samples.value == 1)
    return np.bincount(row[ones], minlength=len(series.series_id)) > 0


def _percentages(value: Float64, exporter: Int64, is_ratio: Bools) -> tuple[Float64, Bools]:
    """Percentages or ratios as percentages, and which of them are known.

    What an exporter sends while it is proved to send ratios says nothing of what it sends at other
    times, as before an upgrade, nor the other way around.
    """
    exporter = 2 * exporter + is_ratio
    percent, ratio = value > 1, (value > 0) & (value < 1)
    exporters = int(exporter.max(initial=-1)) + 1
    sends_percent, sends_ratio = np.zeros(exporters, np.bool_), np.zeros(exporters, np.bool_)
    sends_percent[exporter[percent]] = True
    sends_ratio[exporter[ratio | is_ratio]] = True
    one = value == 1
    known = ~one | (sends_percent != sends_ratio)[exporter]
    return np.where(ratio | one & sends_ratio[exporter], value * _PERCENT, value), known


def _each_reading_once(samples: Samples, row: Int64, rank: Int64) -> Samples:
    """Without what an older name has where a newer one has a sample, and without false ends.

    An end is false if another name or series goes on.
    """
    order = np.lexsort((samples.ts, samples.series_id))
    samples, row = samples.take(order), row[order]
    rank = rank[row]
    stale = samples.value.view(np.int64) == STALE_BITS
    reading_us = _reading_us(samples, row)
    kept = ~stale
    for older in range(1, int(rank.max(initial=0)) + 1):
        near = _distance_us(samples, kept & (rank < older)) <= reading_us
        kept &= (rank != older) | ~near
    ends = stale & (_distance_us(samples, kept) > reading_us)
    return samples.take(kept | ends)


def _reading_us(samples: Samples, row: Int64) -> Int64:
    """For each sample, how far from it others of its reading may be: half a step of its series."""
    one, number = np.unique(samples.series_id, return_inverse=True)
    by_row = np.lexsort((samples.ts, row))
    same = np.diff(row[by_row]) == 0
    shortest = np.full(len(one), _FAR)
    np.minimum.at(shortest, number[by_row][1:][same], np.diff(samples.ts[by_row])[same])
    half = np.where(shortest == _FAR, 0, shortest // 2)
    reading_us: Int64 = np.maximum(half, READING_US)[number]
    return reading_us


def _distance_us(samples: Samples, marked: Bools) -> Int64:
    """How far each sample is from the nearest marked one of its series; samples are in order."""
    place = np.arange(len(samples))
    before = np.maximum.accumulate(np.where(marked, place, -1))
    after = np.minimum.accumulate(np.where(marked, place, len(samples))[::-1])[::-1]
    nearest: Int64 = np.full(len(samples), _FAR)
    for other in (before, after):
        there = (other >= 0) & (other < len(samples))
        other = np.where(there, other, place)
        there &= samples.series_id[other] == samples.series_id
        distance = np.where(there, np.abs(samples.ts - samples.ts[other]), _FAR)
        nearest = np.minimum(nearest, distance)
    return nearest
