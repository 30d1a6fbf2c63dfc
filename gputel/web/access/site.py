"""Cross-site requests: requests that web pages of other sites send from a browser.

A browser sends a request of a page to any server, and only hides the answer from the page. So the
server has to refuse requests that change something. A client that is no browser sends neither
``Origin`` nor ``Sec-Fetch-Site``, and is not refused. Format: https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.errors import BadRequest, Busy, CrossSite, UnsupportedMediaType
from gputel.web.access.own_names import OwnNames
from gputel.web.errors import Handler

IsAllowedOrigin = Callable[[web.Request, str], bool]
"""Whether pages of an origin on another site may send a request."""

NAMES = web.AppKey("names", OwnNames)
"""The names of the server of an application."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ALWAYS_SERVED = frozenset({"/healthz", "/readyz", "/metrics"})
_OWN = frozenset({"same-origin", "none"})
# Types that a browser sends to any site without a preflight.
_SIMPLE = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
_OF_BROWSERS = ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
_SHOWN = 100


def no_origin(_request: web.Request, _origin: str) -> bool:
    """Allow no page of another site."""
    return False


def site_middleware(
    names: OwnNames, is_allowed: IsAllowedOrigin = no_origin, *, typed: bool = False
) -> Middleware:
    """A middleware that refuses wrong names in Host, and changes by pages of other sites.

    If the server has too many connections, it also refuses all requests except health. With
    ``typed``, bodies from a browser need a Content-Type that a browser sends only after a
    preflight, such as JSON or MessagePack.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        crowded = getattr(request.protocol, "crowded", None)
        if crowded and request.path not in _ALWAYS_SERVED:
            raise Busy(crowded)
        _check_host(request, names)
        if request.method not in _READING:
            _check_site(request, names, is_allowed)
            if typed:
                _check_type(request)
        return await handler(request)

    return middleware


def _check_host(request: web.Request, names: OwnNames) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1:
        raise BadRequest("Host: is given more than once")
    if hosts:  # only HTTP/1.0 has none, and no browser uses that
        names.check(hosts[0])


def _check_site(request: web.Request, names: OwnNames, is_allowed: IsAllowedOrigin) -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site is None and origin is None:
        return
    if site in _OWN or (site is None and _is_own(origin or "", request, names)):
        return
    if origin is not None and (is_allowed(request, origin) or _is_allowed_host(origin, names)):
        return
    raise CrossSite(
        f"{request.method} {request.path[:_SHOWN]} was sent by a web page of another site"
        f"{f' ({origin[:_SHOWN]})' if origin else ''}: a page may change something here only if "
        "it is of this server, or its origin is in --cors-origins of the api, or its host is in "
        "--allowed-hosts"
    )


def _is_own(origin: str, request: web.Request, names: OwnNames) -> bool:
    """Whether an origin is that of this server; for browsers without ``Sec-Fetch-Site``."""
    scheme, netloc = _parts(origin)
    port = {"http": ":80", "https": ":443"}.get(scheme)
    host = request.headers.get("Host", "").lower()
    return port is not None and netloc.removesuffix(port) == host.removesuffix(port)


def _is_allowed_host(origin: str, names: OwnNames) -> bool:
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
        content_type = headers.get("Content-Type", "")[:_SHOWN]
        raise UnsupportedMediaType(
            f"Content-Type: {content_type!r} is not allowed from a web page; send "
            "application/json or application/msgpack"
        )
