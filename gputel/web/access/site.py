"""Pages of other sites, open in a browser beside the server: what they may ask, and what not.

A browser sends a page's request wherever the page likes, and keeps only the answer from it, so
that what changes something must be refused here. A client that is no browser sends neither
``Origin`` nor ``Sec-Fetch-Site``, and is let through. Format: https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.errors import BadRequest, Busy, CrossSite, UnsupportedMediaType
from gputel.web.access.own_names import OwnNames
from gputel.web.errors import Handler

Welcome = Callable[[web.Request, str], bool]
"""Whether pages of an origin may send a request, although they are of another site."""

NAMES = web.AppKey("names", OwnNames)
"""The names of the server that an application is of."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_TOLD_TO_ALL = frozenset({"/healthz", "/readyz", "/metrics"})
_OWN = frozenset({"same-origin", "none"})
# What a browser sends to any site without asking that first.
_SIMPLE = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
_OF_BROWSERS = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
_SHOWN = 100


def nobody(_request: web.Request, _origin: str) -> bool:
    """No page of another site is welcome."""
    return False


def site_middleware(
    names: OwnNames, welcome: Welcome = nobody, *, typed: bool = False
) -> Middleware:
    """A middleware that refuses foreign names, and changes by pages of other sites.

    And all but health, where the server has too many connections.

    ``typed``: bodies that a browser sends must be told to be JSON or MessagePack.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        crowded = getattr(request.protocol, "crowded", None)
        if crowded and request.path not in _TOLD_TO_ALL:
            raise Busy(crowded)
        _check_host(request, names)
        if request.method not in _READING:
            _check_site(request, names, welcome)
            if typed:
                _check_type(request)
        return await handler(request)

    return middleware


def _check_host(request: web.Request, names: OwnNames) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1:
        raise BadRequest("Host: is there more than once")
    if hosts:  # only HTTP/1.0 has none, and no browser speaks that
        names.check(hosts[0])


def _check_site(request: web.Request, names: OwnNames, welcome: Welcome) -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site is None and origin is None:
        return
    if site in _OWN or (site is None and _is_own(origin or "", request, names)):
        return
    if origin is not None and (welcome(request, origin) or _is_named(origin, names)):
        return
    raise CrossSite(
        f"{request.method} {request.path[:_SHOWN]} was sent by a web page of another site"
        f"{f' ({origin[:_SHOWN]})' if origin else ''}: pages may change nothing here unless they "
        "are this server's own, or their origin is in --cors-origins of the api or its name in "
        "--allowed-hosts"
    )


def _is_own(origin: str, request: web.Request, names: OwnNames) -> bool:
    """Whether an origin is this server's, as a browser sends it that tells nothing else."""
    scheme, place = _parts(origin)
    port = {"http": ":80", "https": ":443"}.get(scheme)
    host = request.headers.get("Host", "").lower()
    return port is not None and place.removesuffix(port) == host.removesuffix(port)


def _is_named(origin: str, names: OwnNames) -> bool:
    return names.names(_parts(origin)[1])


def _parts(origin: str) -> tuple[str, str]:
    """Scheme and host of an origin; empty for one that is hidden (``null``) or malformed."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc.lower()


def _check_type(request: web.Request) -> None:
    headers = request.headers
    if not any(name in headers for name in _OF_BROWSERS) or not request.body_exists:
        return
    if "Content-Type" not in headers or request.content_type in _SIMPLE:
        given = headers.get("Content-Type", "")[:_SHOWN]
        raise UnsupportedMediaType(
            f"Content-Type: {given!r} is nothing that a web page may send here; send "
            "application/json or application/msgpack"
        )
