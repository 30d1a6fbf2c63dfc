"""The columns of a record: their names in DCGM's CSV, inside gputel, and in Arrow.

A record is one DCGM reading: when, which metric of which GPU with which labels, and the value.
Everything but time and value makes up the record's series.
"""

from __future__ import annotations

import pyarrow as pa

TIMESTAMP = "timestamp"
VALUE = "value"

LABELS: tuple[str, ...] = (
    "metric_name",
    "gpu_id",
    "device",
    "uuid",
    "model_name",
    "hostname",
    "container",
    "pod",
    "namespace",
    "labels_raw",
)
"""The labels of a series, in the order in which its digest and its table hold them."""

CSV_NAMES: dict[str, str] = {
    "timestamp": "timestamp",
    "metric_name": "metric_name",
    "gpu_id": "gpu_id",
    "device": "device",
    "uuid": "uuid",
    "model_name": "modelName",
    "hostname": "Hostname",
    "container": "container",
    "pod": "pod",
    "namespace": "namespace",
    "value": "value",
    "labels_raw": "labels_raw",
}
"""gputel's name -> the column's name in a DCGM CSV, in the CSV's order."""

OLDEST_US, NEWEST_US = 946_684_800_000_000, 4_102_444_799_999_999
"""Timestamps that are taken, in Unix microseconds: the years 2000 to 2099, UTC."""

TIMESTAMP_TYPE = pa.timestamp("us", tz="UTC")
LABEL_TYPE = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [pa.field(TIMESTAMP, TIMESTAMP_TYPE, nullable=False)]
    + [pa.field(name, LABEL_TYPE, nullable=False) for name in LABELS]
    + [pa.field(VALUE, pa.float64(), nullable=False)]
)
"""A record batch: timestamp in microseconds UTC, ten dictionary-encoded labels, a float64 value."""
