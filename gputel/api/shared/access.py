"""What a request to the API needs of a token."""

from __future__ import annotations

from aiohttp import web

from gputel.api.shared.paths import DOCUMENT_PATH, PAGES, PROMETHEUS_PATH
from gputel.web.access.access import ACCESS, HEALTH
from gputel.web.access.tokens import Scope
from gputel.web.static_files import STATIC

_OPEN = HEALTH | {*PAGES, DOCUMENT_PATH}
"""What a browser loads before somebody can give it a token; nothing of it was measured."""


def scope_of(method: str, path: str) -> Scope | None:
    """What it needs; None where everyone may ask. A PromQL query is read, also where it is sent."""
    if path in _OPEN or path.startswith(STATIC):
        return None
    asks = method in ("GET", "HEAD", "OPTIONS") or path.startswith(PROMETHEUS_PATH)
    return Scope.READ if asks else Scope.WRITE


def scope_of_request(request: web.Request) -> Scope | None:
    """The same of a request."""
    return scope_of(request.method, request.path)


def check_token(request: web.Request) -> None:
    """Whether a request that is being answered still may be. Raises Unauthorized or Forbidden."""
    scope = scope_of_request(request)
    if scope is not None:
        request.app[ACCESS].check(request.headers.get("Authorization"), scope)
