"""Samples to blocks, and blocks to PostgreSQL's binary COPY format, without a loop over rows.

Format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4 and the binary send
format of arrays (``array_send``): dimensions, null flag, element type, then length and bound of
each dimension, then each element with its length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

DAY_US = 86_400_000_000
_PG_EPOCH_US = 946_684_800_000_000  # 2000-01-01, PostgreSQL's zero, in Unix microseconds

_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
_OID_TIMESTAMPTZ, _OID_FLOAT8 = 1184, 701

_ARRAY = [(n, ">i4") for n in ("size", "ndim", "nulls", "oid", "dim", "bound")]
_ROW_HEAD = np.dtype(
    [
        ("fields", ">i2"),
        *(("l1", ">i4"), ("series_id", ">i8")),
        *(("l2", ">i4"), ("first_ts", ">i8")),
        *(("l3", ">i4"), ("last_ts", ">i8")),
        ("array", _ARRAY),
    ]
)
_ARRAY_HEAD = np.dtype(_ARRAY)
_ELEMENT = np.dtype([("size", ">i4"), ("bits", ">i8")])
# Every piece has an even size, so the buffer is filled in units of two bytes.
_HEAD_UNITS = _ROW_HEAD.itemsize // 2
_ARRAY_UNITS = _ARRAY_HEAD.itemsize // 2
_ELEMENT_UNITS = _ELEMENT.itemsize // 2


@dataclass(frozen=True)
class Blocks:
    """Samples in order of series and time, and where each block begins.

    Block b holds the samples ``starts[b]`` to ``starts[b] + counts[b]``. Times are Unix
    microseconds. A block holds one series and one UTC day.
    """

    series_id: Int64
    ts: Int64
    value: Float64
    starts: Int64
    counts: Int64

    @property
    def days(self) -> Int64:
        """The days since 1970-01-01 UTC that the blocks fall on, each once."""
        return np.unique(self.ts[self.starts] // DAY_US)

    def oldest(self) -> tuple[Int64, Int64]:
        """Each series once, and the time of its oldest sample."""
        ids = self.series_id[self.starts]
        first = np.flatnonzero(np.diff(ids, prepend=-1))
        return ids[first], self.ts[self.starts[first]]


def make_blocks(series_id: Int64, ts: Int64, value: Float64) -> Blocks:
    """Sort samples by series and time (equal times keep their order) and cut them into blocks."""
    order = _order(series_id, ts)
    series_id, ts, value = series_id[order], ts[order], value[order]
    changes = np.diff(series_id) != 0
    changes |= np.diff(ts // DAY_US) != 0
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1)).astype(np.int64)
    starts = starts[: len(ts)]
    counts = np.diff(starts, append=len(ts))
    return Blocks(series_id, ts, value, starts, counts)


def _order(series_id: Int64, ts: Int64) -> Int64:
    """A stable order by (series, time); numpy sorts 16-bit keys by radix, in linear time."""
    by_time = None if np.all(ts[1:] >= ts[:-1]) else np.argsort(ts, kind="stable")
    keys = series_id if by_time is None else series_id[by_time]
    low = int(keys.min(initial=0))
    if len(keys) and int(keys.max()) - low < 2**16:
        keys = (keys - low).astype(np.uint16)
    by_series = np.argsort(keys, kind="stable")
    return by_series if by_time is None else by_time[by_series]


def copy_payload(blocks: Blocks) -> list[bytes | memoryview]:
    """The blocks as input for ``COPY sample_block (series_id, first_ts, last_ts, ts, value)``."""
    return [_COPY_HEADER, _copy_rows(blocks), _COPY_TRAILER]


def _copy_rows(blocks: Blocks) -> memoryview:
    counts, starts = blocks.counts, blocks.starts
    units = _HEAD_UNITS + _ARRAY_UNITS + 2 * _ELEMENT_UNITS * counts
    ends = np.cumsum(units)
    begins = ends - units
    out = np.empty(int(units.sum()), np.uint16)
    ts = blocks.ts - _PG_EPOCH_US
    _scatter(out, begins, _row_heads(blocks, ts))
    second = begins + _HEAD_UNITS + _ELEMENT_UNITS * counts
    _scatter(out, second, _array_heads(counts, _OID_FLOAT8))
    within = _ELEMENT_UNITS * (np.arange(len(ts)) - np.repeat(starts, counts))
    _scatter(out, np.repeat(begins + _HEAD_UNITS, counts) + within, _elements(ts))
    values = np.repeat(second + _ARRAY_UNITS, counts) + within
    _scatter(out, values, _elements(blocks.value.view(np.int64)))
    return out.data.cast("B")


def _scatter(out: npt.NDArray[np.uint16], places: Int64, rows: npt.NDArray[np.void]) -> None:
    pieces = rows.view(np.uint16).reshape(len(rows), rows.itemsize // 2)
    for unit in range(pieces.shape[1]):
        out[places + unit] = pieces[:, unit]


def _row_heads(blocks: Blocks, ts: Int64) -> npt.NDArray[np.void]:
    heads = np.zeros(len(blocks.starts), _ROW_HEAD)
    heads["fields"] = 5
    heads["l1"] = heads["l2"] = heads["l3"] = 8
    heads["series_id"] = blocks.series_id[blocks.starts]
    heads["first_ts"] = ts[blocks.starts]
    heads["last_ts"] = ts[blocks.starts + blocks.counts - 1]
    heads["array"] = _array_heads(blocks.counts, _OID_TIMESTAMPTZ)
    return heads


def _array_heads(counts: Int64, oid: int) -> npt.NDArray[np.void]:
    heads = np.zeros(len(counts), _ARRAY_HEAD)
    heads["size"] = 20 + _ELEMENT.itemsize * counts
    heads["ndim"] = heads["bound"] = 1
    heads["oid"] = oid
    heads["dim"] = counts
    return heads


def _elements(bits: Int64) -> npt.NDArray[np.void]:
    elements = np.empty(len(bits), _ELEMENT)
    elements["size"] = 8
    elements["bits"] = bits
    return elements
