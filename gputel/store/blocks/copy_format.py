"""Blocks to PostgreSQL's binary COPY format, without a loop over rows.

Format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4 and the binary send
format of arrays (``array_send``): dimensions, null flag, element type, then length and bound of
each dimension, then each element with its length.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.blocks import (
    PG_EPOCH_US,
    Blocks,
    Float64,
    Int64,
    make_blocks,
    positions,
)
from gputel.store.blocks.frames import Frames
from gputel.store.blocks.samples import Samples

COLUMNS = ("series_id", "first_ts", "last_ts", "step_us", "samples", "stream", "off_us", "value")
"""The columns of ``sample_block`` in the order of ``copy_payload``, whatever theirs is there."""
FRAME_COLUMNS = ("list_id", "first_ts", "last_ts", "step_us", "samples", "value")
"""The columns of ``sample_frame``, in the order of ``frame_payload``."""

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER = b"\xff\xff"
_OID_INT8, _OID_FLOAT8 = 20, 701

_ROW_HEAD = np.dtype(
    [
        ("fields", ">i2"),
        *(("l1", ">i4"), ("id", ">i8")),
        *(("l2", ">i4"), ("first_ts", ">i8")),
        *(("l3", ">i4"), ("last_ts", ">i8")),
        *(("l4", ">i4"), ("step_us", ">i8")),
        *(("l5", ">i4"), ("samples", ">i4")),
    ]
)
_BLOCK_HEAD = np.dtype([*_ROW_HEAD.descr, ("l6", ">i4"), ("stream", ">i4")])
_NULL = np.dtype(">i4")  # a size of -1
_ARRAY_HEAD = np.dtype([(n, ">i4") for n in ("size", "ndim", "nulls", "oid", "dim", "bound")])
_ELEMENT = np.dtype([("size", ">i4"), ("bits", ">i8")])
# Every piece has an even size, so the buffer is filled in units of two bytes.
_NULL_UNITS = _NULL.itemsize // 2
_ARRAY_UNITS = _ARRAY_HEAD.itemsize // 2
_ELEMENT_UNITS = _ELEMENT.itemsize // 2
_COPY_UNITS = 2 * 1024 * 1024  # of one COPY, and at most a row more


def copy_payload(blocks: Blocks, stream: int = 0) -> list[memoryview]:
    """The blocks as rows for ``copy_in``, of ``sample_block``; ``stream`` brought all of them."""
    arrays = (Arrays(blocks.off_us, blocks.uneven), Arrays(blocks.value))
    heads = _row_heads(
        _BLOCK_HEAD, blocks.series_id[blocks.starts], blocks, np.arange(len(blocks.starts))
    )
    heads["fields"], heads["l6"], heads["stream"] = len(COLUMNS), 4, stream
    return copy_rows(heads, blocks.starts, blocks.counts, arrays)


def payload_by_stream(samples: Samples, stream: Int64) -> tuple[int, list[memoryview]]:
    """Samples as blocks for ``copy_in``, and how many; ``stream`` has the stream of each sample."""
    count, payload = 0, []
    for number in np.unique(stream).tolist():
        of = samples.take(stream == number)
        blocks = make_blocks(of.series_id, of.ts, of.value)
        count += len(blocks.starts)
        payload += copy_payload(blocks, number)
    return count, payload


def frame_payload(blocks: Blocks, frames: Frames) -> list[memoryview]:
    """The frames of some of these blocks as rows for ``copy_in``, of ``sample_frame``."""
    samples = blocks.counts[frames.blocks]
    ends = np.cumsum(samples)
    place = np.repeat(blocks.starts[frames.blocks], samples) + positions(ends - samples, samples)
    first = frames.blocks[np.cumsum(frames.counts) - frames.counts]
    counts = frames.counts * blocks.counts[first]
    heads = _row_heads(_ROW_HEAD, frames.list_ids, blocks, first)
    heads["fields"] = len(FRAME_COLUMNS)
    return copy_rows(heads, np.cumsum(counts) - counts, counts, (Arrays(blocks.value[place]),))


@dataclass(frozen=True)
class Arrays:
    """One column of arrays, bigint[] or float8[]: the elements of all arrays, one after another."""

    elements: Int64 | Float64
    present: npt.NDArray[np.bool_] | None = None
    """For each row, whether it has an array; else the column is null. None: all rows have one."""


def copy_rows(
    heads: npt.NDArray[np.void], starts: Int64, counts: Int64, columns: Sequence[Arrays]
) -> list[memoryview]:
    """Rows for ``copy_in``: each is its head as bytes, then its arrays, all of one length.

    Row r has the elements ``starts[r]`` to ``starts[r] + counts[r]`` of each column.
    """
    array_units = _ARRAY_UNITS + _ELEMENT_UNITS * counts
    sizes = [
        array_units if c.present is None else np.where(c.present, array_units, _NULL_UNITS)
        for c in columns
    ]
    units = sum(sizes, np.full(len(heads), heads.itemsize // 2))
    ends = np.cumsum(units)
    places = ends - units
    out = np.empty(int(units.sum()), np.uint16)
    _scatter(out, places, heads)
    within = _ELEMENT_UNITS * positions(starts, counts)
    places = places + heads.itemsize // 2
    for column, size in zip(columns, sizes, strict=True):
        _scatter_column(out, places, counts, within, column)
        places = places + size
    return _in_statements(out, ends)


def _in_statements(out: npt.NDArray[np.uint16], ends: Int64) -> list[memoryview]:
    """The rows in pieces for one COPY each. ``ends`` has the unit at which each row ends."""
    full = np.arange(_COPY_UNITS, len(out), _COPY_UNITS)
    cuts = np.unique(np.concatenate(([0], ends[np.searchsorted(ends, full)], [len(out)])))
    return [out[begin:end].data.cast("B") for begin, end in itertools.pairwise(cuts.tolist())]


def _scatter_column(
    out: npt.NDArray[np.uint16], places: Int64, counts: Int64, within: Int64, column: Arrays
) -> None:
    oid = _OID_FLOAT8 if column.elements.dtype == np.float64 else _OID_INT8
    bits, there = column.elements.view(np.int64), column.present
    if there is None:
        _scatter_arrays(out, places, counts, within, bits, oid)
        return
    _scatter(out, places[~there], np.full(int((~there).sum()), -1, _NULL))
    if there.any():
        inside = np.repeat(there, counts)
        _scatter_arrays(out, places[there], counts[there], within[inside], bits[inside], oid)


def _scatter_arrays(
    out: npt.NDArray[np.uint16],
    places: Int64,
    counts: Int64,
    within: Int64,
    bits: Int64,
    oid: int,
) -> None:
    """Write one array a block: its head, then its elements ``within`` units from the first."""
    heads = np.zeros(len(counts), _ARRAY_HEAD)
    heads["size"] = 20 + _ELEMENT.itemsize * counts
    heads["ndim"] = heads["bound"] = 1
    heads["oid"] = oid
    heads["dim"] = counts
    _scatter(out, places, heads)
    elements = np.empty(len(bits), _ELEMENT)
    elements["size"] = 8
    elements["bits"] = bits
    _scatter(out, np.repeat(places + _ARRAY_UNITS, counts) + within, elements)


def _scatter(out: npt.NDArray[np.uint16], places: Int64, rows: npt.NDArray[np.void]) -> None:
    pieces = rows.view(np.uint16).reshape(len(rows), rows.itemsize // 2)
    for unit in range(pieces.shape[1]):
        out[places + unit] = pieces[:, unit]


def _row_heads(
    head: np.dtype[np.void], ids: Int64, blocks: Blocks, numbers: Int64
) -> npt.NDArray[np.void]:
    """Heads of rows with these ids, and with the times of the blocks of these numbers."""
    starts, counts = blocks.starts[numbers], blocks.counts[numbers]
    heads = np.zeros(len(ids), head)
    heads["l1"] = heads["l2"] = heads["l3"] = heads["l4"] = 8
    heads["l5"] = 4
    heads["id"] = ids
    heads["first_ts"] = blocks.ts[starts] - PG_EPOCH_US
    heads["last_ts"] = blocks.ts[starts + counts - 1] - PG_EPOCH_US
    heads["step_us"] = blocks.step_us[numbers]
    heads["samples"] = counts
    return heads
