"""The form of a request to Prometheus' API, read as Prometheus reads it: always as UTF-8.

It may be ``application/x-www-form-urlencoded`` or ``multipart/form-data``.
"""

from __future__ import annotations

import asyncio
import email.policy
from email.parser import BytesParser
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict

from gputel.errors import BadExpression, TooSlow

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_MOST_FIELDS = 1000
_FORM_S = 15.0


async def form(request: web.Request) -> MultiDict[str]:
    """The fields of the form; none if the body is no form.

    Raises BadExpression if the form is compressed, is not UTF-8 or has too many fields, and
    TooSlow if it does not come in time.
    """
    fields: MultiDict[str] = MultiDict()
    if request.method != "POST" or request.content_type not in (FORM, MULTIPART):
        return fields
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadExpression("Content-Encoding: a form must not be compressed; send it uncompressed")
    try:
        async with asyncio.timeout(_FORM_S):
            body = await request.read()
    except TimeoutError:
        raise TooSlow(f"the form did not come within {_FORM_S:g} s: send it faster") from None
    if request.content_type == FORM:
        pairs = _url_encoded(body)
    else:
        pairs = _multipart(body, request.headers["Content-Type"])
    for name, value in pairs:
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            shown = name.encode(errors="replace").decode()
            raise BadExpression(f'invalid parameter "{shown}": it is not UTF-8') from None
        fields.add(name, value)
    return fields


def _url_encoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode(errors="surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise BadExpression(f"the form has more than {_MOST_FIELDS} fields") from None


def _multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: list[tuple[str, str]] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        # A file is not a field.
        if isinstance(name, str) and isinstance(content, bytes) and part.get_filename() is None:
            fields.append((name, content.decode(errors="surrogateescape")))
        if len(fields) > _MOST_FIELDS:
            raise BadExpression(f"the form has more than {_MOST_FIELDS} fields")
    return fields
