"""Answers about what there is: a GPU, hosts and metrics."""

from __future__ import annotations

from marshmallow import Schema, fields

from gputel.api.shared.schemas import GpuSchema, described

_METRIC = "DCGM_FI_DEV_GPU_TEMP"
_TIME = "2025-07-18T20:42:36Z"


class NewestSchema(Schema):
    """The newest value of a metric."""

    metric_name = fields.String(required=True, metadata=described("What was read.", _METRIC))
    value = fields.Float(
        required=True,
        allow_nan=True,
        allow_none=True,
        metadata=described("The reading; null where it was not a finite number.", 41),
    )
    timestamp = fields.DateTime(required=True, metadata=described("When, UTC.", _TIME))
    age_s = fields.Float(
        required=True,
        metadata=described("How long ago that was, seconds; below 0 if its clock is ahead.", 4.217),
    )
    unit = fields.String(
        required=True, metadata=described("Of the value; '' if it has none or is unknown.", "C")
    )


class GpuDetailSchema(GpuSchema):
    """One GPU with its labels and newest values."""

    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described(
            "All labels of its newest record but the metric's name, as dcgm-exporter names them.",
            {"UUID": "GPU-5fd4f087-86f3-7a43-b711-4771313afc50", "gpu": "0"},
        ),
    )
    metrics = fields.List(
        fields.Nested(NewestSchema),
        required=True,
        metadata=described("The newest record of each metric in the last day of the GPU."),
    )


class HostPath(Schema):
    """The host that a path names."""

    hostname = fields.String(
        required=True,
        metadata=described("The host, as `/api/v1/hosts` lists it.", "mtv5-dgx1-hgpu-031"),
    )


class HostSchema(Schema):
    """A host, by the GPUs that were last seen on it."""

    hostname = fields.String(required=True, metadata=described("Its name.", "mtv5-dgx1-hgpu-031"))
    gpus = fields.Integer(required=True, metadata=described("How many GPUs it has.", 8))
    models = fields.List(
        fields.String(),
        required=True,
        metadata=described("Their models, each once.", ["NVIDIA H100 80GB HBM3"]),
    )
    first_seen = fields.DateTime(
        required=True, metadata=described("Time of the oldest record of its GPUs.", _TIME)
    )
    last_seen = fields.DateTime(
        required=True, metadata=described("Time of the newest record of its GPUs.", _TIME)
    )


class MetricSchema(Schema):
    """A metric, what it measures, and what is kept of it."""

    metric_name = fields.String(required=True, metadata=described("Its name.", _METRIC))
    unit = fields.String(
        required=True, metadata=described("Of its values; '' if it has none or is unknown.", "C")
    )
    help = fields.String(
        required=True,
        metadata=described("What it measures; '' if unknown.", "Temperature of the GPU."),
    )
    type = fields.String(
        required=True,
        metadata=described("How values behave.", "gauge", enum=["gauge", "counter", "unknown"]),
    )
    series = fields.Integer(
        required=True, metadata=described("How many series have records of it.", 247)
    )
    samples = fields.Integer(required=True, metadata=described("How many records of it.", 988000))
    first_seen = fields.DateTime(
        required=True, metadata=described("Time of the oldest block of records.", _TIME)
    )
    last_seen = fields.DateTime(required=True, metadata=described("Time of the newest.", _TIME))
    min = fields.Float(
        required=True,
        allow_none=True,
        metadata=described(
            "Smallest value in the newest 7 days of hourly rollups; null before there are any.", 21
        ),
    )
    max = fields.Float(
        required=True, allow_none=True, metadata=described("Likewise the largest.", 89)
    )
