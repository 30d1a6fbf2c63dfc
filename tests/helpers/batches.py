"""Record batches for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from gputel.model.columns import LABEL_TYPE, LABELS, SCHEMA

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def labels(uuid: str = "GPU-a", metric: str = "TEMP", **others: str) -> dict[str, str]:
    """The labels of one series; those not named are empty."""
    return dict.fromkeys(LABELS, "") | {"uuid": uuid, "metric_name": metric} | others


def batch(rows: Sequence[tuple[dict[str, str], datetime, float]]) -> pa.RecordBatch:
    """A record batch of (labels, time, value) rows."""
    columns = [pa.array([row[1] for row in rows], SCHEMA.field(0).type)]
    for name in LABELS:
        columns.append(pa.array([row[0][name] for row in rows], pa.string()).cast(LABEL_TYPE))
    columns.append(pa.array([row[2] for row in rows], pa.float64()))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def steady(count: int, uuid: str = "GPU-a", start: datetime = NOON) -> pa.RecordBatch:
    """One series, a sample a second, values 0, 1, 2 ..."""
    series = labels(uuid)
    return batch([(series, start + timedelta(seconds=i), float(i)) for i in range(count)])


def batch_of(*rows: dict[str, str], values: Sequence[float] = ()) -> pa.RecordBatch:
    """A record batch at noon of rows with these labels, and these values or zeros."""
    empty = dict.fromkeys(LABELS, "")
    return batch(
        [
            (empty | row, NOON, value)
            for row, value in zip(rows, values or [0.0] * len(rows), strict=True)
        ]
    )
