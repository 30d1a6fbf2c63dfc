"""What is in memory at one position of the landings, by spans of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gputel.store.blocks.samples import EMPTY, Samples, concatenate
from gputel.store.head.newest import with_newer
from gputel.store.head.piece import Piece, merged, packed, piece_of

SEGMENT_US = 600_000_000
"""The time of a segment: memory is freed in segments."""

_FAN = 4
"""So many pieces of about one size become one: each sample is merged a few times at most."""


@dataclass(frozen=True, eq=False)
class Segment:
    """The samples of one span of time, and when series ended in it."""

    pieces: tuple[Piece, ...] = ()
    ends: Samples = EMPTY
    is_packed: bool = False

    @cached_property
    def nbytes(self) -> int:
        """Bytes of its columns."""
        return sum(piece.nbytes for piece in self.pieces) + 24 * len(self.ends)

    def with_samples(self, samples: Samples) -> Segment:
        """With more samples, which are in order of series and time."""
        return replace(self, pieces=(*self.pieces, piece_of(samples)), is_packed=False)

    def loose(self) -> tuple[Piece, ...]:
        """The pieces that should become one now: the newest few of about one size, if any."""
        count, size = 0, 0
        for piece in reversed(self.pieces):
            if count >= _FAN - 1 and len(piece) > size:
                break
            count, size = count + 1, size + len(piece)
        return self.pieces[-count:] if count >= _FAN else ()


@dataclass(frozen=True, eq=False)
class HeadState:
    """All samples of the store from ``floor_us`` on, at one position of the landings."""

    floor_us: int
    segments: Mapping[int, Segment] = field(default_factory=dict)
    newest: Samples = EMPTY
    """The newest sample of each series, in order of series."""

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        newest = 24 * len(self.newest)
        return newest + sum(segment.nbytes for segment in self.segments.values())

    @property
    def samples(self) -> int:
        """How many samples it has; an instant may count more than once."""
        return sum(sum(map(len, each.pieces)) for each in self.segments.values())

    def pieces_in(self, first_us: int, last_us: int) -> list[Piece]:
        """The pieces that may have samples of that time, the oldest first."""
        return [
            piece
            for number in sorted(self.segments)
            if first_us // SEGMENT_US <= number <= last_us // SEGMENT_US
            for piece in self.segments[number].pieces
        ]

    def ends_in(self, first_us: int, last_us: int) -> Samples:
        """When series ended in that time, in no set order."""
        ends = concatenate(
            [
                segment.ends
                for number, segment in self.segments.items()
                if first_us // SEGMENT_US <= number <= last_us // SEGMENT_US and len(segment.ends)
            ]
        )
        return ends.take((ends.ts >= first_us) & (ends.ts <= last_us))

    def with_landed(self, samples: Samples, ends: Samples = EMPTY) -> HeadState:
        """With what has landed: samples in order of series and time, and ends of series."""
        segments, newest = dict(self.segments), self.newest
        for number, some in _by_segment(samples, self.floor_us):
            segments[number] = segments.get(number, Segment()).with_samples(some)
            newest = with_newer(newest, some)
        for number, some in _by_segment(ends, self.floor_us):
            old = segments.get(number, Segment())
            segments[number] = replace(old, ends=concatenate([old.ends, some]))
        return replace(self, segments=segments, newest=newest)

    def raised(self, floor_us: int) -> HeadState:
        """Without what is older than a later floor, as far as whole segments are."""
        if floor_us <= self.floor_us:
            return self
        first = floor_us // SEGMENT_US
        kept = {number: each for number, each in self.segments.items() if number >= first}
        if len(kept) == len(self.segments):
            return replace(self, floor_us=floor_us)
        newest = self.newest.take(self.newest.ts >= first * SEGMENT_US)
        return replace(self, floor_us=floor_us, segments=kept, newest=newest)

    def bounded(self, max_bytes: int) -> HeadState:
        """Without its oldest segments, so that the others have at most so many bytes."""
        state = self
        while state.segments and state.nbytes > max_bytes:
            state = state.raised((min(state.segments) + 1) * SEGMENT_US)
        return state

    def replaced(
        self, number: int, old: Sequence[Piece], new: Sequence[Piece], *, packed: bool
    ) -> HeadState:
        """With new pieces of a segment for old ones; the same if an old one has gone meanwhile."""
        segment = self.segments.get(number)
        if segment is None or not {*old} <= {*segment.pieces}:
            return self
        others = tuple(piece for piece in segment.pieces if piece not in old)
        segment = replace(segment, pieces=(*new, *others), is_packed=packed and not others)
        return replace(self, segments={**self.segments, number: segment})


def merge(pieces: Sequence[Piece], *, pack: bool) -> list[Piece]:
    """The same samples in fewer pieces; with ``pack``, times are left out where they can be."""
    samples = merged(pieces)
    return packed(samples) if pack else [piece_of(samples)]


def _by_segment(samples: Samples, floor_us: int) -> list[tuple[int, Samples]]:
    """The samples from a floor on, by number of segment, in the same order."""
    if not len(samples):
        return []
    numbers = samples.ts // SEGMENT_US
    found = []
    for number in np.unique(numbers[samples.ts >= floor_us]).tolist():
        where = (numbers == number) & (samples.ts >= floor_us)
        found.append((number, samples if where.all() else samples.take(where)))
    return found
