"""Entity tags: a client that has the newest answer already is told so, with a 304."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from aiohttp import web

_BYTES = 16


def entity_tag(parts: Iterable[bytes | memoryview]) -> str:
    """A weak tag of an answer, from what determines it, whatever its encoding for transfer."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    for part in parts:
        digest.update(part)
    return f'W/"{digest.hexdigest()}"'


def is_known(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match has the tag (compared weakly, as it has to be) or is ``*``."""
    header = request.headers.getall("If-None-Match", [])
    known = {one.strip().removeprefix("W/") for one in ",".join(header).split(",")}
    return "*" in known or tag.removeprefix("W/") in known
