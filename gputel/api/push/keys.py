"""The header Idempotency-Key, which names a push."""

from __future__ import annotations

import re

from aiohttp import web

from gputel.errors import BadRequest

KEY_LENGTH = 255
_KEY = re.compile(rf"[!-~]{{1,{KEY_LENGTH}}}")


def key_of(request: web.Request) -> str | None:
    """The Idempotency-Key, or None. Raises BadRequest if it is not valid."""
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0].strip()):
        raise BadRequest(
            f"Idempotency-Key: give one, of 1 to {KEY_LENGTH} visible ASCII characters, such as a "
            "UUID"
        )
    return keys[0].strip()
