"""Which scope the token of a request needs."""

from __future__ import annotations

from aiohttp import web

from gputel.api.shared.paths import DOCUMENT_PATH, PAGES, PROMETHEUS_PATH
from gputel.web.access.access import ACCESS, HEALTH
from gputel.web.access.tokens import Scope
from gputel.web.base_path import BASE_PATH
from gputel.web.static_files import STATIC

_OPEN = HEALTH | {*PAGES, DOCUMENT_PATH}
"""Paths that a browser loads before it can have a token. They show no telemetry."""


def scope_of(method: str, path: str) -> Scope | None:
    """The scope that a request needs; None if it needs no token.

    A PromQL query reads, even if it comes in a POST.
    """
    if path in _OPEN or path.startswith(STATIC):
        return None
    asks = method in ("GET", "HEAD", "OPTIONS") or path.startswith(PROMETHEUS_PATH)
    return Scope.READ if asks else Scope.WRITE


def scope_of_request(request: web.Request) -> Scope | None:
    """The scope that this request needs; None if it needs no token."""
    path = "/" if request.path == request.app[BASE_PATH] else request.path
    return scope_of(request.method, path)


def check_token(request: web.Request) -> None:
    """Check the token again while an answer is sent. Raises Unauthorized or Forbidden."""
    scope = scope_of_request(request)
    if scope is not None:
        request.app[ACCESS].check(request.headers.get("Authorization"), scope)
