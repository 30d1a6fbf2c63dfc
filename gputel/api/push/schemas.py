"""Schemas of a push and of its answer."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from gputel.api.formats.format import Format
from gputel.api.push.formats import OPENMETRICS, PROMETHEUS
from gputel.api.shared.schemas import ErrorSchema, described
from gputel.model.bounds import LABEL_CHARACTERS, RAW_BYTES
from gputel.model.names import LABEL_COLUMNS, RAW, RecordColumn

KEY_LENGTH = 255
"""The most characters of an Idempotency-Key."""

MOST_REPORTED = 1000
"""The most rejected records that an answer lists. ``rejected_count`` counts all of them."""

_UUID = "GPU-5fd4f087-86f3-7a43-b711-4771313afc50"
_METRIC = "DCGM_FI_DEV_GPU_UTIL"
_NUMBER_OR_TEXT = [{"type": "number"}, {"type": "string"}]
_ONE_LINE = r"^[^\u0000\r\n]*$"
_NOT_BLANK = r"^[^\u0000\r\n]*[^\u0000\r\n\s][^\u0000\r\n]*$"


def _required(column: RecordColumn) -> fields.String:
    return fields.String(
        required=True,
        validate=validate.Length(min=1, max=LABEL_CHARACTERS),
        metadata=described(f"{column.about} Not blank.", column.example, pattern=_NOT_BLANK),
    )


def _optional(column: RecordColumn) -> fields.String:
    about, most = column.about, LABEL_CHARACTERS
    if column.name == RAW:
        about, most = f"{about} {RAW_BYTES:,} bytes of UTF-8 at most.", RAW_BYTES
    return fields.String(
        validate=validate.Length(max=most),
        metadata=described(f"{about} Default: ''.", column.example, pattern=_ONE_LINE),
    )


def _csv_alias(column: RecordColumn) -> fields.String:
    return fields.String(
        validate=validate.Length(max=LABEL_CHARACTERS),
        metadata=described(
            f"The same as {column.api}, as DCGM calls it; one of the two is enough.",
            pattern=_ONE_LINE,
        ),
    )


class PushedRecordSchema(Schema):
    """A record to push. A record that ``GET`` answers may be pushed again."""

    class Meta:
        """Options of marshmallow."""

        unknown = RAISE

    locals().update(  # a class body's names are the fields of the schema
        {column.api: _required(column) for column in LABEL_COLUMNS if column.required}
    )
    value = fields.Raw(
        required=True,
        metadata=described("The reading, a finite number, or its text.", 97, oneOf=_NUMBER_OR_TEXT),
    )
    timestamp = fields.Raw(
        allow_none=True,
        metadata=described(
            "The time of the reading, in the years 2000 to 2099: RFC 3339 or alike, or Unix time "
            "in seconds, milli-, micro- or nanoseconds. Default: the time of the push.",
            "2025-07-18T20:42:34Z",
            oneOf=_NUMBER_OR_TEXT,
        ),
    )
    locals().update(
        {column.api: _optional(column) for column in LABEL_COLUMNS if not column.required}
        | {column.csv: _csv_alias(column) for column in LABEL_COLUMNS if column.csv != column.api}
    )


class RejectSchema(Schema):
    """A record that was not accepted."""

    index = fields.Integer(
        required=True,
        metadata=described(
            "Its index in the body, from 0; in CSV from the line after the header.", 1
        ),
    )
    reason = fields.String(
        required=True, metadata=described("What is wrong with the record.", "uuid is missing")
    )


class PushedSchema(Schema):
    """The result of a push."""

    accepted = fields.Integer(
        required=True, metadata=described("The number of records that are in the queue now.", 2)
    )
    rejected_count = fields.Integer(
        required=True, metadata=described("The number of rejected records.", 1)
    )
    rejected = fields.List(
        fields.Nested(RejectSchema),
        required=True,
        metadata=described(f"The rejected records and the reasons; at most {MOST_REPORTED}."),
    )
    message_id = fields.String(
        metadata=described("The message with the accepted records; absent if there are none.")
    )


class PushRefusedSchema(ErrorSchema):
    """Why nothing was accepted; with the rejected records if the code is ``all_rejected``."""

    rejected_count = fields.Integer(metadata=described("The number of rejected records."))
    rejected = fields.List(
        fields.Nested(RejectSchema),
        metadata=described(f"The rejected records and the reasons; at most {MOST_REPORTED}."),
    )


_RECORD = {"metric_name": _METRIC, "uuid": _UUID, "value": 97, "hostname": "host-1"}
_CSV = f"timestamp,metric_name,uuid,value\n2026-03-01T12:00:00Z,{_METRIC},{_UUID},97\n"
_EXPOSITION = f'{_METRIC}{{UUID="{_UUID}",gpu="0",Hostname="host-1"}} 97\n'

BODY: dict[str, Any] = {
    "required": True,
    "description": "Records in the format of Content-Type; Content-Encoding may be gzip or zstd.",
    "content": {
        Format.JSON.media_type: {
            "schema": {
                "type": "array",
                "items": PushedRecordSchema,
                "description": "Records. A single record may also be sent without the list.",
            },
            "example": [_RECORD],
        },
        Format.NDJSON.media_type: {
            "schema": {
                "type": "string",
                "format": "ndjson",
                "description": "One object on each line.",
            },
            "example": '{"metric_name": "M", "uuid": "GPU-1", "value": 1}\n',
        },
        Format.CSV.media_type: {
            "schema": {
                "type": "string",
                "format": "csv",
                "description": "A header, and one record on each line, as in `gputel ingest`. "
                "`metric_name`, `uuid` and `value` are required.",
            },
            "example": _CSV,
        },
        PROMETHEUS.media_type: {
            "schema": {
                "type": "string",
                "format": "prometheus",
                "description": "Prometheus' text format, as an exporter answers it. A sample "
                "without a time gets that of the push. `UUID` or another label must name a GPU. "
                "`application/x-www-form-urlencoded`, which curl sends by itself, means the same.",
            },
            "example": _EXPOSITION,
        },
        OPENMETRICS.media_type: {
            "schema": {
                "type": "string",
                "format": "openmetrics",
                "description": "OpenMetrics 1.0: times are in seconds, and the end is `# EOF`.",
            },
            "example": f"{_EXPOSITION}# EOF\n",
        },
        Format.ARROW.media_type: {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "An IPC stream: text or dictionaries of text, a timestamp, and "
                "a number for `value`.",
            }
        },
    },
}
"""The request body, for the OpenAPI document."""

KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name for this push, in visible ASCII. A push that is repeated with the same "
    "key and body is stored once. The same key with another body is refused with 422.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_LENGTH,
        "pattern": "^[!-~]+$",
        "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    },
}
"""The header that makes a push safe to repeat, for the OpenAPI document."""
