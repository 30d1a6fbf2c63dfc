"""Access to a server: bearer tokens with scopes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cached_property

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.config.settings import AccessSettings
from gputel.errors import Forbidden, Unauthorized
from gputel.web.access.own_names import OwnNames
from gputel.web.access.tokens import AccessToken, Scope, TokenSource, find, parse, token_file
from gputel.web.errors import Handler
from gputel.web.headers.added import SHOWN
from gputel.web.server.open_connections import OpenConnections
from gputel.web.server.tls import Certificate

ScopeOf = Callable[[web.Request], Scope | None]
"""The scope that a request needs; None if it needs no token."""

HEALTH = frozenset({"/healthz", "/readyz"})
"""Paths that orchestrators call without a token. They show no telemetry."""

_SAFE = {"GET", "HEAD", "OPTIONS"}


class Access:
    """The tokens, the limit of connections and the TLS certificate of the servers of a process.

    Without a source of tokens, every client has access.
    """

    def __init__(
        self,
        source: TokenSource | None = None,
        certificate: Certificate | None = None,
        allowed_hosts: str = "",
        open_connections: OpenConnections | None = None,
        log_requests: bool = False,
    ) -> None:
        self._source = source
        self.certificate = certificate
        self.open_connections = open_connections or OpenConnections()
        self._allowed_hosts = allowed_hosts
        self.log_requests = log_requests

    @classmethod
    def of(cls, settings: AccessSettings, kept_files: int = 0) -> Access:
        """The access that the settings define. ``kept_files`` files are not for connections.

        Raises ConfigError if a file of tokens or a certificate is wrong.
        """
        certificate = Certificate.of(settings)
        sources: list[TokenSource] = []
        if settings.token_file is not None:
            sources.append(token_file(settings.token_file))
        if settings.tokens is not None:
            named_tokens = parse(settings.tokens.replace(";", "\n").splitlines(), "--tokens")
            sources.append(lambda: named_tokens)
        tokens = (lambda: [token for source in sources for token in source()]) if sources else None
        counted = OpenConnections.of(settings, kept_files)
        names = settings.allowed_hosts or ""
        return cls(tokens, certificate, names, counted, settings.access_log)

    @property
    def guarded(self) -> bool:
        """Whether requests need a token."""
        return self._source is not None

    def names(self, bound: str) -> OwnNames:
        """The names of a server that listens on the address ``bound``."""
        return OwnNames(bound, self._allowed_hosts, self.guarded)

    @cached_property
    def own_token(self) -> str:
        """The secret token with which this process uses its own servers."""
        return secrets.token_urlsafe(32)

    @cached_property
    def _own(self) -> AccessToken:
        return AccessToken.of("this process", [Scope.READ, Scope.WRITE], self.own_token)

    def check(self, authorization: str | None, scope: Scope) -> AccessToken | None:
        """The token in an ``Authorization`` header; None if the server needs no token.

        Raises Unauthorized if the token is missing or unknown, Forbidden if it lacks the scope.
        """
        if self._source is None:
            return None
        if authorization is None:
            raise Unauthorized(
                "a token is needed: send it as `Authorization: Bearer TOKEN`; gputel's commands "
                "and roles take it from GPUTEL_TOKEN"
            )
        kind, _, text = authorization.partition(" ")
        token = find([*self._source(), self._own], text.strip())
        if kind.lower() != "bearer" or token is None:
            raise Unauthorized(
                "the token is unknown: send `Authorization: Bearer TOKEN` with one of the "
                "server's --token-file; gputel's commands and roles take it from GPUTEL_TOKEN"
            )
        if scope not in token.scopes:
            raise Forbidden(f"the token {token.name!r} does not allow this: it needs {scope}")
        return token


ACCESS = web.AppKey("access", Access)
"""The access to an application."""


def scope_by_method(request: web.Request) -> Scope:
    """The default scope of a request: read, or admin if it may change something."""
    return Scope.READ if request.method in _SAFE else Scope.ADMIN


def scope_of_health(request: web.Request) -> Scope | None:
    """The scope that a request needs on a server that has only health and metrics."""
    return None if request.path in HEALTH else scope_by_method(request)


def access_middleware(access: Access, scope_of: ScopeOf) -> Middleware:
    """A middleware that checks the token of a request. Put it after the error middleware."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        scope = scope_of(request)
        if scope is not None:
            request[SHOWN] = access.check(request.headers.get("Authorization"), scope)
        return await handler(request)

    return middleware
