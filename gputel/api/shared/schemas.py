"""What requests may say and what answers look like: marshmallow schemas with their documentation.

Requests are checked by these schemas; answers are described by them and encoded by msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from gputel import times
from gputel.api.formats.media import Format

UNKNOWN = "is unknown"
"""What a schema says of a parameter that it does not have."""

_UUID = "GPU-5fd4f087-86f3-7a43-b711-4771313afc50"
_METRIC = "DCGM_FI_DEV_GPU_UTIL"


def described(description: str, example: object = None, **more: Any) -> dict[str, Any]:
    """The metadata of a field for the document."""
    given = {} if example is None else {"example": example}
    return {"description": description, **given, **more}


class Moment(fields.DateTime):
    """A time, RFC 3339 or relative to now; a start rounds up to a microsecond, an end down."""

    def __init__(self, *, round_up: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._round_up = round_up

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        try:
            return times.moment(value, round_up=self._round_up)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class QuerySchema(Schema):
    """A query that refuses what it does not know."""

    error_messages = {"unknown": UNKNOWN}  # noqa: RUF012, marshmallow's own declaration

    class Meta:
        """Of marshmallow."""

        unknown = RAISE


class NoQuery(QuerySchema):
    """A path that takes no query parameters."""


class FormatQuery(QuerySchema):
    """The format of an answer that is a list."""

    format = fields.String(
        validate=validate.OneOf(list(Format), error=f"{{input!r}} is none of {', '.join(Format)}"),
        metadata=described(
            "How the list is written, whatever `Accept` says. Default: what `Accept` likes best, "
            "else json.",
            "json",
        ),
    )


class GpuPath(Schema):
    """The GPU that a path names."""

    uuid = fields.String(
        required=True, metadata=described("The GPU's uuid, as `/api/v1/gpus` lists it.", _UUID)
    )


class GpuSchema(Schema):
    """One GPU, with the labels that it had when it was last seen."""

    uuid = fields.String(required=True, metadata=described("What identifies the GPU.", _UUID))
    device = fields.String(required=True, metadata=described("Its device on the host.", "nvidia0"))
    modelName = fields.String(
        required=True, metadata=described("Its model.", "NVIDIA H100 80GB HBM3")
    )
    hostname = fields.String(required=True, metadata=described("Its host.", "mtv5-dgx1-hgpu-031"))
    gpu_id = fields.String(
        required=True, metadata=described("Its index on the host; repeats across hosts.", "0")
    )
    first_seen = fields.DateTime(
        required=True,
        metadata=described("Time of its oldest record landed.", "2025-07-18T20:42:34Z"),
    )
    last_seen = fields.DateTime(
        required=True, metadata=described("Time of its newest record.", "2025-07-18T20:42:36Z")
    )


class RecordSchema(Schema):
    """One reading of one metric of one GPU."""

    timestamp = fields.DateTime(
        required=True,
        metadata=described("When, UTC; microseconds only where not zero.", "2025-07-18T20:42:34Z"),
    )
    metric_name = fields.String(required=True, metadata=described("What was read.", _METRIC))
    gpu_id = fields.String(required=True, metadata=described("The GPU's index on its host.", "0"))
    device = fields.String(required=True, metadata=described("Its device.", "nvidia0"))
    uuid = fields.String(required=True, metadata=described("What identifies the GPU.", _UUID))
    modelName = fields.String(
        required=True, metadata=described("Its model.", "NVIDIA H100 80GB HBM3")
    )
    hostname = fields.String(required=True, metadata=described("Its host.", "mtv5-dgx1-hgpu-031"))
    container = fields.String(required=True, metadata=described("Container that used it, or ''."))
    pod = fields.String(required=True, metadata=described("Pod that used it, or ''."))
    namespace = fields.String(required=True, metadata=described("Namespace of the pod, or ''."))
    value = fields.Float(
        required=True,
        allow_nan=True,
        allow_none=True,
        metadata=described("The reading; null where it was not a finite number.", 97),
    )
    labels_raw = fields.String(
        required=True,
        metadata=described("All labels as DCGM's exporter gave them.", 'gpu="0",device="nvidia0"'),
    )


class ErrorSchema(Schema):
    """Why a request was refused."""

    code = fields.String(
        required=True, metadata=described("A word for programs; it does not change.", "not_found")
    )
    message = fields.String(
        required=True, metadata=described("A line for people: what is wrong and what to do.")
    )


class HealthSchema(Schema):
    """That the process lives."""

    status = fields.String(required=True, metadata=described("Always `ok`.", "ok"))


class ReadinessSchema(Schema):
    """Whether the process can do its work."""

    status = fields.String(required=True, metadata=described("`ready` or `not ready`.", "ready"))
    problems = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata=described("What is wrong, by part; only where something is."),
    )
