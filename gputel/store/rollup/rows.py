"""Buckets to rows of ``rollup`` and back, without a loop over buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from gputel.store.blocks.blocks import DAY_US, PG_EPOCH_US, Int64, positions
from gputel.store.blocks.copy_format import Arrays, copy_rows
from gputel.store.blocks.samples import INTEGER, NUMBER, elements, lengths, micros
from gputel.store.read.series_reader import moment
from gputel.store.rollup.buckets import COLUMNS, HOUR_US, MINUTE_US, Buckets
from gputel.store.rollup.plan import Span

ROW_COLUMNS = ("series_id", "step_s", "start", "place", "min", "max", "sum", "last", "count")
"""The columns of ``rollup``, in the order of ``rollup_payload``."""

ROW_US = {MINUTE_US: HOUR_US, HOUR_US: DAY_US}
"""How much time the buckets of one row span, by their step."""

_SECOND_US = 1_000_000
_HEAD = np.dtype(
    [
        ("fields", ">i2"),
        *(("l1", ">i4"), ("series_id", ">i8")),
        *(("l2", ">i4"), ("step_s", ">i4")),
        *(("l3", ">i4"), ("start", ">i8")),
    ]
)


def rows_of(span: Span) -> tuple[int, datetime, datetime]:
    """The rows that hold the buckets of a span: their step in seconds, first start and end."""
    step_us = span.source.value
    row_us = ROW_US[step_us]
    first, end = moment(span.start_us // row_us * row_us), moment(span.end_us)
    return step_us // _SECOND_US, first, end


def rollup_payload(buckets: Buckets, step_us: int) -> list[memoryview]:
    """Buckets of one step, a minute or an hour, as rows for ``copy_in``, of ``rollup``."""
    row_us = buckets.start_us // ROW_US[step_us] * ROW_US[step_us]
    changes = np.diff(buckets.series_id, prepend=-1) != 0
    changes |= np.diff(row_us, prepend=0) != 0
    starts = np.flatnonzero(changes)
    counts = np.diff(starts, append=len(buckets))
    place = (buckets.start_us - row_us) // step_us
    gaps = np.logical_or.reduceat(place != positions(starts, counts), starts) if len(starts) else ()
    numbers = [Arrays(getattr(buckets, name)) for name in ROW_COLUMNS[4:]]
    heads = _heads(buckets.series_id[starts], row_us[starts], step_us)
    return copy_rows(heads, starts, counts, [Arrays(place, np.array(gaps, bool)), *numbers])


def decode_rollups(rows: Sequence[Mapping[str, Any]]) -> Buckets:
    """The buckets of rows, which have series_id, start, step_s, and array_send of the rest.

    The buckets are in the order of the rows.
    """
    counts = lengths([row["count"] for row in rows])
    starts = np.cumsum(counts) - counts
    place = positions(starts, counts)
    gaps = np.repeat(np.array([row["place"] is not None for row in rows], bool), counts)
    if gaps.any():
        place[gaps] = elements([row["place"] for row in rows if row["place"] is not None], INTEGER)
    begin = np.repeat(np.array([micros(row["start"]) for row in rows], np.int64), counts)
    step_us = np.repeat(np.array([row["step_s"] * _SECOND_US for row in rows], np.int64), counts)
    return Buckets(
        np.repeat(np.array([row["series_id"] for row in rows], np.int64), counts),
        begin + place * step_us,
        *(_numbers(rows, name) for name in COLUMNS[2:]),
    )


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[Any]:
    is_count = name == "count"
    column = elements([row[name] for row in rows], INTEGER if is_count else NUMBER)
    return column.astype(np.int64 if is_count else np.float64)


def _heads(series_id: Int64, start_us: Int64, step_us: int) -> npt.NDArray[np.void]:
    heads = np.zeros(len(series_id), _HEAD)
    heads["fields"] = len(ROW_COLUMNS)
    heads["l1"] = heads["l3"] = 8
    heads["l2"] = 4
    heads["series_id"] = series_id
    heads["step_s"] = step_us // _SECOND_US
    heads["start"] = start_us - PG_EPOCH_US
    return heads
