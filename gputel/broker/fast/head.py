"""The head of a request, parsed strictly: aiohttp handles every unusual head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

MAX_HEAD_BYTES = 1024
"""Longer heads are left to aiohttp."""

_LINE = re.compile(r"(GET|POST) (/[!$&-*,-~]*) HTTP/1\.1")  # no % + # in the target
_FIELD = re.compile(r"([A-Za-z-]+):[ \t]*([ -~]*?)[ \t]*")
_PLAIN = {"host", "accept", "accept-encoding", "content-type", "content-length", "user-agent"}
_PLAIN |= {"connection", "authorization"}
_LENGTH = re.compile(r"\d{1,10}", re.ASCII)
_DEFAULT_TYPE = "application/octet-stream"


class Head(NamedTuple):
    """One head with nothing unusual in it."""

    method: str  # GET or POST
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # with Accept alone
    content_type: str
    length: int
    authorization: str | None


@lru_cache(maxsize=2048)  # clients repeat the same few heads
def parse_head(data: bytes) -> Head | None:
    """Parse a head with its empty line; None when anything in it is unusual."""
    try:
        first, *lines = data.decode("ascii").split("\r\n")[:-2]
    except UnicodeDecodeError:
        return None
    line = _LINE.fullmatch(first)
    fields = _fields(lines)
    if line is None or fields is None or "host" not in fields:
        return None
    if fields.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    length = fields.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        return None
    path, _, query = line[2].partition("?")
    return Head(
        method=line[1],
        host=fields["host"],
        path=path,
        query=_query(query),
        headers={"Accept": fields["accept"]} if "accept" in fields else {},
        content_type=fields.get("content-type", _DEFAULT_TYPE).partition(";")[0].strip().lower(),
        length=int(length),
        authorization=fields.get("authorization"),
    )


def _fields(lines: list[str]) -> dict[str, str] | None:
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        name = match[1].lower() if match else ""
        if match is None or name not in _PLAIN or name in fields:
            return None
        fields[name] = match[2]
    return fields


def _query(text: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        if part:
            query.setdefault(name, value)
    return query
