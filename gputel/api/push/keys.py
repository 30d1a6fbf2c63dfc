"""The header that names a push."""

from __future__ import annotations

import re

from aiohttp import web

from gputel.errors import BadRequest

KEY_LENGTH = 255
_KEY = re.compile(rf"[!-~]{{1,{KEY_LENGTH}}}")


def key_of(request: web.Request) -> str | None:
    """The Idempotency-Key, None without one. Raises BadRequest for one that is none."""
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0].strip()):
        raise BadRequest(
            f"Idempotency-Key: give one, of 1 to {KEY_LENGTH} visible ASCII characters, such as a "
            "UUID"
        )
    return given[0].strip()
