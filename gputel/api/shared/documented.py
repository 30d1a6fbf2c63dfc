"""Decorators that document a handler, on top of aiohttp-apispec's.

The parameters that ``query`` and ``path`` document are also checked, by the middleware in
``api/app.py``, before the handler is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp_apispec import docs, match_info_schema, querystring_schema, response_schema
from marshmallow import Schema

from gputel.api.shared.schemas import ErrorSchema, NoQuery, QuerySchema

Handler = TypeVar("Handler", bound=Callable[..., Any])

LISTS = "lists"
"""The mark of a handler that answers a list in any format."""

_ERROR = ErrorSchema()  # a schema takes long to make, and each API that starts documents dozens
_ERRORS = {
    400: "A parameter is unknown or wrong. The message names it and shows a valid one.",
    404: "There is no record of what the path names. The message says where to look.",
    406: "`Accept` allows none of the formats. The message lists them.",
    503: "Postgres is unavailable or busy: try again after `Retry-After` seconds. With the code "
    "`timeout`, the answer took too long to begin: ask for less.",
}


def operation(
    operation_id: str,
    tag: str,
    summary: str,
    description: str,
    *,
    produces: str | list[str] = "application/json",
) -> Callable[[Handler], Handler]:
    """Name and describe the operation that a handler answers.

    If it ``produces`` several media types, its refusals have them too.
    """
    decorate: Callable[[Handler], Handler] = docs(
        operationId=operation_id,
        tags=[tag],
        summary=summary,
        description=description,
        produces=[produces] if isinstance(produces, str) else produces,
    )
    return decorate


def query(schema: type[QuerySchema] = NoQuery) -> Callable[[Handler], Handler]:
    """Check the query parameters; the handler finds them in ``request["querystring"]``."""
    decorate: Callable[[Handler], Handler] = querystring_schema(schema)
    return decorate


def path(schema: type[Schema]) -> Callable[[Handler], Handler]:
    """Describe the parameters in the path; the handler finds them in ``request["match_info"]``."""
    decorate: Callable[[Handler], Handler] = match_info_schema(schema)
    return decorate


def answer(
    schema: Schema | dict[str, Any], status: int | str, description: str
) -> Callable[[Handler], Handler]:
    """Describe an answer of the handler by a schema of marshmallow or of OpenAPI."""
    decorate: Callable[[Handler], Handler] = response_schema(
        schema, status, description=description
    )
    return decorate


def body(described: dict[str, Any]) -> Callable[[Handler], Handler]:
    """Describe the body that the handler reads."""
    decorate: Callable[[Handler], Handler] = docs(requestBody=described)
    return decorate


def headers(*described: dict[str, Any]) -> Callable[[Handler], Handler]:
    """Describe headers that the handler reads."""
    decorate: Callable[[Handler], Handler] = docs(parameters=list(described))
    return decorate


def listed(schema: type[Schema], description: str) -> Callable[[Handler], Handler]:
    """Describe an answer that is a list of ``schema`` in the requested format."""

    def decorate(handler: Handler) -> Handler:
        answer(schema(many=True), 200, description)(handler)
        answer({}, 304, "`If-None-Match` has the `ETag` of this answer.")(handler)
        handler.__apispec__[LISTS] = True  # type: ignore[attr-defined]
        return handler

    return decorate


def errors(*statuses: int) -> Callable[[Handler], Handler]:
    """Document refusals of these statuses, and the one for any other error."""

    def decorate(handler: Handler) -> Handler:
        for status in statuses:
            answer(_ERROR, status, _ERRORS[status])(handler)
        response_schema(_ERROR, "default", description="Any other refusal.")(handler)
        return handler

    return decorate
