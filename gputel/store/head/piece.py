"""Samples of many series in memory, packed, and how they are read and merged without a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import EMPTY, Samples, once

_NO_STEPS = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples in order of series and time, each instant of a series once.

    The series ``series_id[i]``, which are in order, has the samples ``starts[i]`` to
    ``starts[i + 1]``. Sample k of it, counted from 0, is of the time ``ts[starts[i] + k]``, or, if
    ``ts`` is None, ``first_us[i] + k * step_us[i]``. Times are Unix microseconds.
    """

    series_id: Int64
    starts: Int64
    value: Float64
    ts: Int64 | None
    first_us: Int64
    step_us: Int64

    def __len__(self) -> int:
        return len(self.value)

    @property
    def nbytes(self) -> int:
        """Bytes of its columns."""
        columns = self.series_id, self.starts, self.value, self.first_us, self.step_us
        return sum(each.nbytes for each in columns) + (0 if self.ts is None else self.ts.nbytes)

    @cached_property
    def span_us(self) -> tuple[int, int]:
        """The times of its oldest and of its newest sample."""
        if self.ts is not None:
            return int(self.ts.min()), int(self.ts.max())
        last = self.first_us + (np.diff(self.starts) - 1) * self.step_us
        return int(self.first_us.min()), int(last.max())


@dataclass(frozen=True, eq=False)
class _Part:
    """What is wanted of a piece: of the series in ``row``, ``count`` samples from ``begin`` on."""

    piece: Piece
    row: Int64
    place: Int64
    begin: Int64
    count: Int64


def piece_of(samples: Samples) -> Piece:
    """A piece of at least one sample. They are in order, each instant of a series once."""
    begins = np.flatnonzero(np.diff(samples.series_id, prepend=-1))
    starts = np.append(begins, len(samples))
    return Piece(samples.series_id[begins], starts, samples.value, samples.ts, _NO_STEPS, _NO_STEPS)


def packed(samples: Samples) -> list[Piece]:
    """The same in at most two pieces: series that come at a steady beat need no times."""
    whole = piece_of(samples)
    counts = np.diff(whole.starts)
    begins = whole.starts[:-1]
    step = samples.ts[begins + (counts > 1)] - samples.ts[begins]
    off = np.diff(samples.ts) != np.repeat(step, counts)[1:]
    off[begins[1:] - 1] = False
    uneven = np.logical_or.reduceat(np.append(False, off), begins)
    pieces = []
    if not uneven.all():
        even = samples if not uneven.any() else samples.take(np.repeat(~uneven, counts))
        first, beat = samples.ts[begins][~uneven], step[~uneven]
        steady = piece_of(even)
        pieces.append(Piece(steady.series_id, steady.starts, even.value.copy(), None, first, beat))
    if uneven.any():
        pieces.append(piece_of(samples.take(np.repeat(uneven, counts))))
    return pieces


def count_in(pieces: Sequence[Piece], wanted: Int64, first_us: int, last_us: int) -> Int64:
    """How many samples each of the wanted series, which are in order, has from first to last.

    An instant that several pieces have counts several times.
    """
    counts = np.zeros(len(wanted), np.int64)
    for part in _parts(pieces, wanted, first_us, last_us):
        counts[part.row] += part.count
    return counts


def samples_in(pieces: Sequence[Piece], wanted: Int64, first_us: int, last_us: int) -> Samples:
    """The samples of the wanted series, which are in order, from first to last, both inclusive.

    They are in order of series and time, each instant of a series once.
    """
    parts = _parts(pieces, wanted, first_us, last_us)
    if not parts:
        return EMPTY
    counts = np.zeros(len(wanted), np.int64)
    for part in parts:
        counts[part.row] += part.count
    ts = np.empty(int(counts.sum()), np.int64)
    value = np.empty(len(ts), np.float64)
    target = np.cumsum(counts) - counts
    for part in parts:
        _put(part, target[part.row], ts, value)
        target[part.row] += part.count
    return _in_order(Samples(np.repeat(wanted, counts), ts, value))


def merged(pieces: Sequence[Piece]) -> Samples:
    """All samples of the pieces."""
    wanted = series_of(pieces)
    if all(_is_even(piece, wanted) for piece in pieces):
        return _side_by_side(sorted(pieces, key=lambda piece: piece.span_us), wanted)
    firsts, lasts = zip(*(piece.span_us for piece in pieces), strict=True)
    return samples_in(pieces, wanted, min(firsts), max(lasts))


def _is_even(piece: Piece, wanted: Int64) -> bool:
    """Whether the piece has these series, and each of them as many samples."""
    each = len(piece) // len(wanted)
    return len(piece.series_id) == len(wanted) and bool(np.all(np.diff(piece.starts) == each))


def _side_by_side(pieces: Sequence[Piece], wanted: Int64) -> Samples:
    """The samples of pieces of a fleet of which all series came each time: rows of a table."""
    rows = len(wanted)
    value = np.concatenate([piece.value.reshape(rows, -1) for piece in pieces], axis=1)
    ts = np.concatenate([_times(piece).reshape(rows, -1) for piece in pieces], axis=1)
    return _in_order(Samples(np.repeat(wanted, ts.shape[1]), ts.ravel(), value.ravel()))


def _times(piece: Piece) -> Int64:
    """The time of each sample of a piece in which each series has as many."""
    if piece.ts is not None:
        return piece.ts
    number = np.arange(len(piece) // len(piece.series_id))
    return (piece.first_us[:, None] + piece.step_us[:, None] * number).ravel()


def series_of(pieces: Sequence[Piece]) -> Int64:
    """The ids of all series of the pieces, in order."""
    first, *others = (piece.series_id for piece in pieces)
    others = [each for each in others if not np.array_equal(each, first)]
    if not others:
        return first
    ids = np.sort(np.concatenate([first, *others]))
    return ids[np.flatnonzero(np.diff(ids, prepend=-1))]


def _parts(pieces: Sequence[Piece], wanted: Int64, first_us: int, last_us: int) -> list[_Part]:
    if not len(wanted):
        return []
    # In order of time, so that the samples of a series mostly are in order when they come together.
    oldest_first = sorted(pieces, key=lambda piece: piece.span_us)
    parts = (_part(piece, wanted, first_us, last_us) for piece in oldest_first)
    return [part for part in parts if part is not None]


def _part(piece: Piece, wanted: Int64, first_us: int, last_us: int) -> _Part | None:
    oldest, newest = piece.span_us
    if oldest > last_us or newest < first_us:
        return None
    place = np.searchsorted(piece.series_id, wanted)
    place[place == len(piece.series_id)] = 0
    row = np.flatnonzero(piece.series_id[place] == wanted)
    if not len(row):
        return None
    place = place[row]
    begin = piece.starts[place]
    count = piece.starts[place + 1] - begin
    part = _Part(piece, row, place, begin, count)
    return part if oldest >= first_us and newest <= last_us else _cut(part, first_us, last_us)


def _cut(part: _Part, first_us: int, last_us: int) -> _Part | None:
    """The part without what is outside of the time."""
    piece, count = part.piece, part.count
    if piece.ts is None:
        first, step = piece.first_us[part.place], np.maximum(piece.step_us[part.place], 1)
        low = np.clip(-((first - first_us) // step), 0, count)
        high = np.clip((last_us - first) // step + 1, low, count)
    else:
        ts, begins = piece.ts[_positions(part.begin, count)], np.cumsum(count) - count
        low = np.add.reduceat((ts < first_us).astype(np.int64), begins)
        high = np.add.reduceat((ts <= last_us).astype(np.int64), begins)
    kept = high > low
    if not kept.any():
        return None
    return _Part(
        piece, part.row[kept], part.place[kept], (part.begin + low)[kept], (high - low)[kept]
    )


def _put(part: _Part, target: Int64, ts: Int64, value: Float64) -> None:
    """Write the part's samples; those of its series i from ``target[i]`` on."""
    piece = part.piece
    source = _positions(part.begin, part.count)
    where = source + np.repeat(target - part.begin, part.count)
    value[where] = piece.value[source]
    if piece.ts is not None:
        ts[where] = piece.ts[source]
        return
    step = piece.step_us[part.place]
    zero = piece.first_us[part.place] - piece.starts[part.place] * step
    ts[where] = np.repeat(zero, part.count) + np.repeat(step, part.count) * source


def _positions(begin: Int64, count: Int64) -> Int64:
    """The positions ``begin[i]`` to ``begin[i] + count[i]`` of each i, one after another."""
    return np.arange(int(count.sum())) + np.repeat(begin - np.cumsum(count) + count, count)


def _in_order(samples: Samples) -> Samples:
    """Samples that are in order of series: those of a series in order of time, each instant once.

    Few series are out of order, if any: only they are sorted.
    """
    late = (np.diff(samples.ts) <= 0) & (np.diff(samples.series_id) == 0)
    if not late.any():
        return samples
    tangled = np.unique(samples.series_id[1:][late])
    where = np.flatnonzero(np.isin(samples.series_id, tangled))
    some = samples.take(where)
    some = some.take(np.lexsort((some.ts, some.series_id)))
    samples.ts[where], samples.value[where] = some.ts, some.value
    return once(samples)
