"""Schemas of requests and answers, with their documentation.

The schemas check requests. They only describe answers, which msgspec encodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, missing, validate

from gputel import times
from gputel.api.formats.format import Format
from gputel.model.names import AFTER_VALUE, BEFORE_VALUE, GPU_COLUMNS, UUID, RecordColumn

UNKNOWN = "is unknown"
"""The message of a schema about a parameter that it does not have."""

_UUID_EXAMPLE = next(column.example for column in GPU_COLUMNS if column.name == UUID)


def described(description: str, example: object = None, **more: Any) -> dict[str, Any]:
    """The metadata of a field for the OpenAPI document."""
    examples = {} if example is None else {"example": example}
    return {"description": description, **examples, **more}


def label_fields(columns: Iterable[RecordColumn]) -> dict[str, fields.String]:
    """The fields of labels in an answer. A class body adds them to its names by ``locals()``."""
    return {
        column.api: fields.String(
            required=True,
            metadata=described(
                column.about if column.required else f"{column.about} Empty if there is none.",
                column.example,
            ),
        )
        for column in columns
    }


class TimeField(fields.DateTime):
    """A time, RFC 3339 or relative to now, rounded down to a microsecond or up."""

    def __init__(self, *, round_up: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._round_up = round_up

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The time; ``start_time=`` without one is as if it were not there."""
        return super().deserialize(value or missing, attr, data, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        try:
            return times.moment(value, round_up=self._round_up)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class QuerySchema(Schema):
    """Query parameters; unknown ones are refused."""

    error_messages = {"unknown": UNKNOWN}  # noqa: RUF012, marshmallow's own declaration

    class Meta:
        """Options of marshmallow."""

        unknown = RAISE


class NoQuery(QuerySchema):
    """A path that takes no query parameters."""


class FormatQuery(QuerySchema):
    """The format of an answer that is a list."""

    format = fields.String(
        validate=validate.OneOf(list(Format), error=f"{{input!r}} is none of {', '.join(Format)}"),
        metadata=described(
            "The format of the list; it overrides `Accept`. Default: the format that `Accept` "
            "prefers, else json.",
            "json",
        ),
    )


class GpuPath(Schema):
    """The GPU in the path."""

    uuid = fields.String(
        required=True,
        metadata=described("The GPU's uuid, as `/api/v1/gpus` lists it.", _UUID_EXAMPLE),
    )


class GpuSchema(Schema):
    """One GPU, with the labels of the time when it was last seen."""

    locals().update(label_fields(GPU_COLUMNS))
    first_seen = fields.DateTime(
        required=True,
        metadata=described("The time of its oldest record.", "2025-07-18T20:42:34Z"),
    )
    last_seen = fields.DateTime(
        required=True, metadata=described("The time of its newest record.", "2025-07-18T20:42:36Z")
    )


class RecordSchema(Schema):
    """One reading of one metric of one GPU."""

    timestamp = fields.DateTime(
        required=True,
        metadata=described(
            "The time of the reading, UTC; with a fraction only if it is not zero.",
            "2025-07-18T20:42:34Z",
        ),
    )
    locals().update(label_fields(BEFORE_VALUE))
    value = fields.Float(
        required=True,
        allow_nan=True,
        allow_none=True,
        metadata=described("The reading; null if it was not a finite number.", 97),
    )
    locals().update(label_fields(AFTER_VALUE))


class ErrorSchema(Schema):
    """Why a request was refused."""

    code = fields.String(
        required=True,
        metadata=described("The kind of error, for programs. It does not change.", "not_found"),
    )
    message = fields.String(
        required=True, metadata=described("A line for people: what is wrong, and what to do.")
    )


class HealthSchema(Schema):
    """That the process runs."""

    status = fields.String(required=True, metadata=described("Always `ok`.", "ok"))


class ReadinessSchema(Schema):
    """Whether the process is ready for work."""

    status = fields.String(required=True, metadata=described("`ready` or `not ready`.", "ready"))
    problems = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata=described("The problems by part of the process; absent if there are none."),
    )
