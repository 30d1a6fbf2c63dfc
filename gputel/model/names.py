"""The columns of a record: their names in DCGM's CSV, and inside gputel.

A record is one DCGM reading: when, which metric of which GPU with which labels, and the value.
Everything but time and value makes up the record's series.
"""

from __future__ import annotations

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
