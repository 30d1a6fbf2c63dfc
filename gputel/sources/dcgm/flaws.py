"""Finds flaws in columns: rows that are well formed but are no valid reading."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gputel.model.bounds import blank_entries, label_flaws
from gputel.model.columns import LABELS, NEWEST_US, OLDEST_US, SCHEMA, TIMESTAMP, VALUE
from gputel.model.entities import TARGET_FLAW
from gputel.model.entity_uuids import name_entities, target_rows
from gputel.model.meanings import MEANINGS
from gputel.model.names import LABEL_COLUMNS, METRIC, UUID
from gputel.model.possible import (
    FIRST_SENTINEL,
    SENTINELS,
    are_sentinels,
    impossible_rows,
    why_impossible,
)
from gputel.sources.dcgm.times import OUTSIDE

Flaw = tuple[str, str]
"""A column, by gputel's name, and what is wrong with its value."""

_MEANINGS = pa.array(sorted(MEANINGS), pa.string())
_NEVER_BLANK = [column.name for column in LABEL_COLUMNS if column.required]


def checked(
    batch: pa.RecordBatch, *, keep_impossible: bool = False
) -> tuple[pa.RecordBatch, dict[int, Flaw]]:
    """A parsed batch with names for NVSwitches and CPUs, and the flaws of its rows.

    It is for all sources but scrapes: a record about a target of scrapes is a flaw.
    """
    batch = name_entities(batch)
    flaws = find_flaws(batch, keep_impossible=keep_impossible)
    if (rows := target_rows(batch)) is not None:
        _note(flaws, UUID, rows, TARGET_FLAW)
    return batch, flaws


def without_rows(
    batch: pa.RecordBatch, rows: Collection[int]
) -> tuple[pa.RecordBatch, npt.NDArray[np.bool_]]:
    """The batch without these rows, and for each of its rows whether it stays."""
    keep = np.ones(batch.num_rows, np.bool_)
    keep[list(rows)] = False
    good = batch.filter(pa.array(keep))
    return pa.RecordBatch.from_arrays(good.columns, schema=SCHEMA), keep


def find_flaws(batch: pa.RecordBatch, *, keep_impossible: bool = False) -> dict[int, Flaw]:
    """The rows of a parsed batch that are no reading, each with its first flaw from the left.

    A value that its field cannot have is a flaw unless ``keep_impossible`` is set.
    """
    flaws: dict[int, Flaw] = {}
    times = _numbers(batch.column(TIMESTAMP).view(pa.int64()), flaws, TIMESTAMP, OLDEST_US)
    if len(times) and not OLDEST_US <= times.min() <= times.max() <= NEWEST_US:
        outside = (times < OLDEST_US) | (times > NEWEST_US)
        _note(flaws, TIMESTAMP, outside, f"timestamp {OUTSIDE}")
    for name in _NEVER_BLANK:
        column = batch.column(name)
        blank = blank_entries(column.dictionary)
        if blank:
            _note(flaws, name, np.isin(column.indices.to_numpy(), blank), f"{name} is blank")
    _note_meanings(flaws, batch.column(METRIC))
    for name in LABELS:
        _note_labels(flaws, name, batch.column(name))
    values = _numbers(batch.column(VALUE), flaws, VALUE, 0).astype(np.float64, copy=False)
    if len(values) and not -np.inf < values.min() <= values.max() < FIRST_SENTINEL:
        _note_values(flaws, values)
    if not keep_impossible:
        _note_impossible(flaws, batch)
    return flaws


def _note_meanings(flaws: dict[int, Flaw], metrics: pa.DictionaryArray) -> None:
    """A record under the name of a meaning would be hidden by it from all queries but patterns."""
    names = pc.is_in(metrics.dictionary, _MEANINGS).to_numpy(zero_copy_only=False)
    if names.any():
        of_row = names[metrics.indices.to_numpy()]
        _note(flaws, METRIC, of_row, f"{METRIC} is the name of a meaning, which only queries have")


def _note_labels(flaws: dict[int, Flaw], name: str, column: pa.DictionaryArray) -> None:
    bad = label_flaws(name, column.dictionary)
    if not bad:
        return
    codes = column.indices.to_numpy()
    for row in np.flatnonzero(np.isin(codes, list(bad))):
        flaws.setdefault(int(row), (name, f"{name} {bad[int(codes[row])]}"))


def _note_values(flaws: dict[int, Flaw], values: npt.NDArray[np.float64]) -> None:
    _note(flaws, VALUE, ~np.isfinite(values), "value is not finite")
    for row in np.flatnonzero(are_sentinels(values)):
        text = SENTINELS[float(values[row])]
        flaws.setdefault(int(row), (VALUE, f"value is DCGM's blank sentinel ({text})"))


def _note_impossible(flaws: dict[int, Flaw], batch: pa.RecordBatch) -> None:
    impossible = impossible_rows(batch)
    if impossible is None:
        return
    metrics = batch.column(METRIC)
    for row in np.flatnonzero(impossible):
        flaws.setdefault(int(row), (VALUE, why_impossible(metrics[int(row)].as_py())))


def _numbers(
    column: pa.Array, flaws: dict[int, Flaw], name: str, instead: float
) -> npt.NDArray[np.number]:
    """The numbers of a column. A blank is a flaw, and becomes ``instead``."""
    if column.null_count:
        _note(flaws, name, column.is_null().to_numpy(zero_copy_only=False), f"{name} is blank")
        column = column.fill_null(instead)
    numbers: npt.NDArray[np.number] = column.to_numpy()
    return numbers


def _note(flaws: dict[int, Flaw], name: str, rows: npt.NDArray[np.bool_], reason: str) -> None:
    for row in np.flatnonzero(rows):
        flaws.setdefault(int(row), (name, reason))
