"""Answers to exports of OTLP, in the encoding of the request.

Formats: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from gputel.api.shared.paths import OTLP_PATHS
from gputel.sources.protobuf.writing import bytes_field, number_field
from gputel.web.errors import Handler, refusal

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_INVALID_ARGUMENT, _UNKNOWN = 3, 2
_CODES = {401: 16, 403: 7, 404: 5, 405: 12, 500: 13, 503: 14}
"""Codes of gRPC (google.rpc.Code) by the status of HTTP."""


def exported(request: web.Request, rejected: int = 0, message: str = "") -> web.Response:
    """An ExportMetricsServiceResponse, with the number of rejected points and the reasons."""
    if request.content_type == PROTOBUF:
        partial = number_field(1, rejected) + bytes_field(2, message.encode()) if rejected else b""
        body = bytes_field(1, partial) if partial else b""
        return web.Response(body=body, content_type=PROTOBUF)
    told = {"rejectedDataPoints": str(rejected), "errorMessage": message}
    body = msgspec.json.encode({"partialSuccess": told} if rejected else {})
    return web.Response(body=body, content_type=JSON)


@web.middleware
async def otlp_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of exports as google.rpc.Status. Put it before all that may refuse them."""
    if request.path not in OTLP_PATHS:
        return await handler(request)
    try:
        return await handler(request)
    except Exception as error:
        return _as_status(request, refusal(request, error))


def _as_status(request: web.Request, refused: web.Response) -> web.Response:
    assert isinstance(refused.body, bytes)
    message = msgspec.json.decode(refused.body)["message"]
    default = _INVALID_ARGUMENT if refused.status < 500 else _UNKNOWN
    code = _CODES.get(refused.status, default)
    if request.content_type == PROTOBUF:
        refused.body = number_field(1, code) + bytes_field(2, message.encode())
        refused.content_type = PROTOBUF
    else:
        refused.body = msgspec.json.encode({"code": code, "message": message})
    return refused
