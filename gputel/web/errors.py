"""Errors as JSON: every refusal is ``{"code": ..., "message": ...}`` with its HTTP status."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from gputel.errors import GputelError

log = logging.getLogger("gputel.web")

_LONG_WORD = re.compile(r"(\S{200})\S{100,}?(['\"]?\S?)(?=\s|$)")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """One refusal, with a shortened message. A 503 asks the client to try again in a second."""
    headers = {"Retry-After": "1"} if status == 503 else headers
    body = msgspec.json.encode({"code": code, "message": shortened(message)})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def shortened(message: str) -> str:
    """The message with very long words cut off: they are values that a client sent."""
    return _LONG_WORD.sub(r"\1…\2", message)


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors as JSON. An unexpected one is logged with its traceback and answered as 500."""
    try:
        return await handler(request)
    except Exception as error:
        return refusal(request, error)


def refusal(request: web.Request, error: Exception) -> web.Response:
    """The answer to an error that a handler raised. A redirect is raised again."""
    if isinstance(error, GputelError):
        return error_response(error.status, error.code, error.message, error.headers)
    if isinstance(error, web.HTTPException):
        if error.status < 400:
            raise error
        return http_refusal(request, error)
    log.error(
        "unexpected error while answering %s %s", request.method, request.path, exc_info=error
    )
    return error_response(
        500, "internal", "unexpected error; the log of the server has the details"
    )


def http_refusal(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """A refusal by aiohttp, in the form of all errors."""
    code = (error.reason or "error").lower().replace(" ", "_")
    response = error_response(error.status, code, http_message(request, error))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def http_message(request: web.BaseRequest, error: web.HTTPException) -> str:
    """A message for a refusal by aiohttp."""
    if error.status == 404:
        return f"there is nothing at {request.path}"
    if error.status == 405:
        taken = error.headers["Allow"].replace(",", ", ")
        return f"{request.path} does not take {request.method}, only {taken}"
    return error.text or error.reason or "refused"
