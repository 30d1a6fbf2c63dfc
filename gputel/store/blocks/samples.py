"""Rows of ``sample_block`` to columns of samples, without a loop over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.blocks import Float64, Int64

# array_send: dimensions, null flag, element type, length and bound of the one dimension (20
# bytes), then each element with its length. An empty array has no dimension: 12 bytes.
HEADER_BYTES = 20
INTEGER = np.dtype([("size", ">i4"), ("bits", ">i8")])
NUMBER = np.dtype([("size", ">i4"), ("bits", ">f8")])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WHOLE_LIMIT = 2.0**53


@dataclass(frozen=True)
class Samples:
    """Columns of one length: the series of each sample, its Unix microseconds, its value."""

    series_id: Int64
    ts: Int64
    value: Float64

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, where: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> Samples:
        """The samples that a mask, an index or a slice selects."""
        return Samples(self.series_id[where], self.ts[where], self.value[where])


EMPTY = Samples(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def micros(moment: datetime) -> int:
    """Unix microseconds, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def decode_rows(rows: Sequence[Mapping[str, Any]]) -> Samples:
    """The samples of rows with series_id, first_ts, step_us, and array_send of off_us and value."""
    return decode_blocks(
        [row["series_id"] for row in rows],
        [micros(row["first_ts"]) for row in rows],
        [row["step_us"] for row in rows],
        [row["off_us"] for row in rows],
        [row["value"] for row in rows],
    )


def streams_of(rows: Sequence[Mapping[str, Any]]) -> Int64:
    """The stream of each of these samples; the rows have stream as well."""
    numbers = np.array([row["stream"] for row in rows], np.int64)
    return np.repeat(numbers, lengths([row["value"] for row in rows]))


def decode_blocks(
    series_ids: Sequence[int],
    first_us: Sequence[int] | Int64,
    step_us: Sequence[int],
    off_us: Sequence[bytes | None],
    value: Sequence[bytes],
) -> Samples:
    """The samples of whole blocks, from their columns; arrays in their binary form."""
    counts = lengths(value)
    starts = np.cumsum(counts) - counts
    steps = np.array(step_us, np.int64)
    # In place, because new memory of this size costs more than the work itself.
    ts = np.arange(int(counts.sum()))
    ts *= np.repeat(steps, counts)
    ts += np.repeat(np.array(first_us, np.int64) - starts * steps, counts)
    uneven = [raw is not None for raw in off_us]
    if any(uneven):
        offsets = elements([raw for raw in off_us if raw is not None], INTEGER)
        ts[np.repeat(uneven, counts)] += offsets
    ids = np.repeat(np.array(series_ids, np.int64), counts)
    return Samples(ids, ts, elements(value, NUMBER).astype(np.float64))


def lengths(arrays: Sequence[bytes]) -> Int64:
    """How many elements of 8 bytes each array has; arrays in their binary form."""
    sizes = np.fromiter(map(len, arrays), np.int64, len(arrays))
    return np.maximum(0, sizes - HEADER_BYTES) // NUMBER.itemsize


def elements(arrays: Sequence[bytes], element: npt.DTypeLike) -> npt.NDArray[Any]:
    """All elements of arrays in their binary form, as INTEGER or NUMBER says."""
    raw = b"".join([array[HEADER_BYTES:] for array in arrays])
    bits: npt.NDArray[Any] = np.frombuffer(raw, element)["bits"]
    return bits


def concatenate(pieces: Sequence[Samples]) -> Samples:
    """All samples of the pieces, one piece after another."""
    if len(pieces) <= 1:
        return pieces[0] if pieces else EMPTY
    return Samples(
        np.concatenate([piece.series_id for piece in pieces]),
        np.concatenate([piece.ts for piece in pieces]),
        np.concatenate([piece.value for piece in pieces]),
    )


def once(samples: Samples) -> Samples:
    """One sample for each series and instant: the largest value, and a number before NaN.

    Takes samples in which those of one series and instant are side by side. Which one counts does
    not depend on their order, so it is the same before and after blocks are merged.
    """
    where = counting(samples)
    return samples if isinstance(where, slice) else samples.take(where)


def counting(samples: Samples) -> Int64 | slice:
    """The places of those samples that ``once`` leaves; a slice of all if no instant repeats."""
    new = np.ones(len(samples), np.bool_)
    new[1:] = (np.diff(samples.ts) != 0) | (np.diff(samples.series_id) != 0)
    if new.all():
        return slice(None)
    starts = np.flatnonzero(new)
    number, is_number = np.cumsum(new), ~np.isnan(samples.value)
    ranked = np.lexsort((samples.value, is_number, number))
    places: Int64 = ranked[np.append(starts[1:], len(samples)) - 1]
    return places


def ordered(samples: Samples) -> Samples:
    """The samples in order of series and time, each series and instant once."""
    rising = np.diff(samples.series_id) > 0
    rising |= (np.diff(samples.series_id) == 0) & (np.diff(samples.ts) > 0)
    if rising.all():
        return samples
    return once(samples.take(np.lexsort((samples.ts, samples.series_id))))


def numbers(values: Float64) -> list[float]:
    """Python's numbers. A whole number that a float holds exactly is an int: 0, not 0.0."""
    result: list[float] = values.tolist()
    is_integer = (np.abs(values) <= _WHOLE_LIMIT) & (np.trunc(values) == values)
    for position in np.flatnonzero(is_integer).tolist():
        result[position] = int(result[position])
    return result
