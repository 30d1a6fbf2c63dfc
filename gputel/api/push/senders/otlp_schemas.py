"""Schemas of an export of metrics and of its answers."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from gputel.api.push.senders.otlp_answers import JSON, PROTOBUF
from gputel.api.shared.schemas import described

_PROTO = "https://github.com/open-telemetry/opentelemetry-proto"
_UUID = {"key": "uuid", "value": {"stringValue": "GPU-5fd4f087-86f3-7a43-b711-4771313afc50"}}
_POINT = {"timeUnixNano": "1752871354000000000", "asDouble": 64, "attributes": [_UUID]}
_GAUGE = {"name": "DCGM_FI_DEV_GPU_TEMP", "gauge": {"dataPoints": [_POINT]}}

BODY: dict[str, Any] = {
    "required": True,
    "description": "An `ExportMetricsServiceRequest` of OTLP. Content-Encoding may be gzip or "
    "zstd. In JSON, unknown fields are left out of account, and numbers of 64 bits may be texts.",
    "content": {
        JSON: {
            "schema": {"type": "object", "externalDocs": {"url": _PROTO}},
            "example": {"resourceMetrics": [{"scopeMetrics": [{"metrics": [_GAUGE]}]}]},
        },
        PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
    },
}
"""The request body, for the OpenAPI document."""


class PartialSuccessSchema(Schema):
    """That some points were refused."""

    rejectedDataPoints = fields.String(
        required=True, metadata=described("How many points were refused.", "2")
    )
    errorMessage = fields.String(
        required=True,
        metadata=described("Why, in words.", "histograms are not stored (2 points)"),
    )


class ExportedSchema(Schema):
    """An `ExportMetricsServiceResponse`: `partialSuccess` is absent if no point was refused."""

    partialSuccess = fields.Nested(PartialSuccessSchema)


class StatusSchema(Schema):
    """Why an export was refused: a `google.rpc.Status`."""

    code = fields.Integer(
        required=True, metadata=described("The kind of error, a code of gRPC.", 3)
    )
    message = fields.String(
        required=True, metadata=described("A line for people: what is wrong, and what to do.")
    )
