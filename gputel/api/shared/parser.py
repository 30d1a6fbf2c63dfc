"""Turns the errors of a schema into a 400 whose message names the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from aiohttp import web
from marshmallow import Schema, ValidationError, fields
from webargs.aiohttpparser import AIOHTTPParser

from gputel.api.shared.schemas import UNKNOWN
from gputel.errors import BadRequest

_MANY = fields.List(fields.String)


class Parser(AIOHTTPParser):
    """The parser that ``aiohttp_apispec.validation_middleware`` uses; one for an application."""

    def pre_load(
        self, location_data: Mapping[str, Any], *, schema: Schema, req: web.Request, location: str
    ) -> Mapping[str, Any]:
        """Refuse a parameter that is repeated but may not be: it is unclear which value counts."""
        if location == "querystring":
            for name in req.query:
                field = schema.fields.get(name, _MANY)
                if not isinstance(field, fields.List) and len(req.query.getall(name)) > 1:
                    raise BadRequest(f"{name}: is given more than once; give it once")
        return location_data

    def handle_error(
        self, error: ValidationError, req: web.Request, schema: Schema, **_kwargs: Any
    ) -> NoReturn:
        """Raise BadRequest with the problems of all parameters."""
        messages: dict[str, dict[str, list[str]]] = error.messages_dict
        problems = []
        for location in messages.values():
            for name, texts in location.items():
                problems += [_describe(str(name), str(text), schema) for text in texts]
        raise BadRequest("; ".join(problems))


def _describe(name: str, text: str, schema: Schema) -> str:
    if text != UNKNOWN:
        return f"{name}: {text}"
    known = ", ".join(schema.fields)
    return f"unknown query parameter {name!r}; this path takes {known or 'none'}"
