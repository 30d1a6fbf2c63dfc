"""The columns of a record in Arrow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.names import CSV_NAMES, LABELS, TIMESTAMP, VALUE

__all__ = ["CSV_NAMES", "LABELS", "TIMESTAMP", "VALUE"]
__all__ += ["LABEL_TYPE", "NEWEST_US", "OLDEST_US", "SCHEMA", "STALE_BITS", "TIMESTAMP_TYPE"]
__all__ += ["make_batch", "times_of", "with_ends"]

OLDEST_US, NEWEST_US = 946_684_800_000_000, 4_102_444_799_999_999
"""Timestamps that are taken, in Unix microseconds: the years 2000 to 2099, UTC."""

STALE_BITS = 0x7FF0000000000002
"""The NaN that says that a series has ended, not a reading: the stale marker of Prometheus.
https://prometheus.io/docs/specs/prw/remote_write_spec"""

TIMESTAMP_TYPE = pa.timestamp("us", tz="UTC")
LABEL_TYPE = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [pa.field(TIMESTAMP, TIMESTAMP_TYPE, nullable=False)]
    + [pa.field(name, LABEL_TYPE, nullable=False) for name in LABELS]
    + [pa.field(VALUE, pa.float64(), nullable=False)]
)
"""A record batch: timestamp in microseconds UTC, the labels dictionary-encoded, a float64 value."""


def make_batch(columns: Mapping[str, pa.Array], rows: int) -> pa.RecordBatch:
    """A batch with SCHEMA. Missing labels are empty."""
    empty = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([""]))
    labels = [columns.get(name, empty) for name in LABELS]
    return pa.RecordBatch.from_arrays([columns[TIMESTAMP], *labels, columns[VALUE]], schema=SCHEMA)


def times_of(times_us: object) -> pa.Array:
    """Unix microseconds as timestamps."""
    return pa.array(times_us, pa.int64()).cast(TIMESTAMP_TYPE)


def with_ends(batch: pa.RecordBatch, ended: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """The batch with the stale marker as the value of some rows: their series have ended."""
    if not ended.any():
        return batch
    values = batch.column(VALUE).to_numpy().copy()
    values.view(np.int64)[ended] = STALE_BITS
    place = SCHEMA.get_field_index(VALUE)
    return batch.set_column(place, SCHEMA.field(place), pa.array(values))
