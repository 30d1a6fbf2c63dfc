"""What requests may say and what answers look like: marshmallow schemas with their documentation.

Requests are checked by these schemas; answers are described by them and encoded by msgspec.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from gputel.api import times
from gputel.api.formats.media import Format
from gputel.config import Duration
from gputel.store.rollup import Aggregate

UNKNOWN = "is unknown"
"""What a schema says of a parameter that it does not have."""

_UUID = "GPU-5fd4f087-86f3-7a43-b711-4771313afc50"
_METRIC = "DCGM_FI_DEV_GPU_UTIL"
_COUNT = re.compile(r"\d{1,18}", re.ASCII)


def described(description: str, example: object = None, **more: Any) -> dict[str, Any]:
    """The metadata of a field for the document."""
    given = {} if example is None else {"example": example}
    return {"description": description, **given, **more}


class Moment(fields.DateTime):
    """An RFC 3339 time; a start rounds up to the next microsecond, an end down."""

    def __init__(self, *, round_up: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._round_up = round_up

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        try:
            return times.parse(value, round_up=self._round_up)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class Count(fields.Integer):
    """A whole number from 1 on."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        if not _COUNT.fullmatch(value) or int(value) < 1:
            raise ValidationError(
                f"{value!r} is not a whole number from 1 on; write it like 100, or leave it out"
            )
        return int(value)


class Step(fields.Field[int]):
    """A time span; deserialised to microseconds."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        try:
            step = Duration.parse(value)
        except ValueError:
            step = Duration()
        if not step:
            raise ValidationError(
                f"{value!r} is no time span of a second or more; write it like 30s, 5m, 1h or 1d"
            )
        return step // timedelta(microseconds=1)


class Agg(fields.Field[Aggregate]):
    """The name of an aggregate."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Aggregate:
        try:
            return Aggregate(value)
        except ValueError:
            raise ValidationError(f"{value!r} is none of {', '.join(Aggregate)}") from None


class Text(fields.String):
    """Text of at least one character."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if not value:
            raise ValidationError(
                f"is empty; write it like {self.metadata['example']}, or leave it out"
            )
        return str(value)


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


class TelemetryQuery(FormatQuery):
    """Which records of a GPU."""

    start_time = Moment(
        round_up=True,
        metadata=described(
            "Oldest time wanted, inclusive, RFC 3339. Default: from the beginning.",
            "2025-07-18T20:42:34Z",
        ),
    )
    end_time = Moment(
        metadata=described(
            "Newest time wanted, inclusive, RFC 3339. Default: up to now and beyond.",
            "2099-12-31T23:59:59Z",
        )
    )
    metric = Text(metadata=described("Only records of this metric.", _METRIC, minLength=1))
    limit = Count(
        metadata=described(
            "Only this many records, the newest. Default: all of them.",
            100,
            minimum=1,
            maximum=10**18 - 1,
        )
    )

    step = Step(
        metadata=described(
            "Instead of records, one for each series and span of this length that has some: a "
            "number with s, m, h or d. Spans begin at multiples of it since 1970-01-01 UTC.",
            "5m",
            type="string",
            pattern="^[1-9][0-9]{0,7}[dhms]$",
        )
    )
    agg = Agg(
        metadata=described(
            "What `value` is of the records in a span: their average, smallest, largest, newest, "
            "sum or number. Default: avg. Only together with `step`.",
            "avg",
            type="string",
            enum=[*Aggregate],
        )
    )

    @validates_schema
    def _agg_of_step(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if "agg" in data and "step" not in data:
            raise ValidationError("is told of steps; add step=5m, or leave it out", "agg")

    @validates_schema
    def _in_order(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        start, end = data.get("start_time"), data.get("end_time")
        if start is not None and end is not None and start > end:
            raise ValidationError("is after end_time; swap the two", "start_time")


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
