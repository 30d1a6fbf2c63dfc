"""Who may ask a server what: bearer tokens with scopes, and no open door by accident."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cached_property

from aiohttp import web
from aiohttp.typedefs import Middleware

from gputel.config.settings import AccessSettings
from gputel.errors import Forbidden, Unauthorized
from gputel.web.access.own_names import OwnNames
from gputel.web.access.tokens import Scope, Source, Token, find, parse, token_file
from gputel.web.errors import Handler
from gputel.web.headers.added import SHOWN
from gputel.web.server.open_connections import OpenConnections
from gputel.web.server.tls import Certificate

ScopeOf = Callable[[web.Request], Scope | None]
"""What a request needs; None where everyone may ask."""

HEALTH = frozenset({"/healthz", "/readyz"})
"""Paths that orchestrators ask, who have no token; they tell nothing of what is measured."""

_SAFE = {"GET", "HEAD", "OPTIONS"}


class Access:
    """Whom the servers of a process let in, and how many at once; their certificate for TLS.

    Without a source of tokens everyone is.
    """

    def __init__(
        self,
        source: Source | None = None,
        certificate: Certificate | None = None,
        allowed_hosts: str = "",
        open_connections: OpenConnections | None = None,
    ) -> None:
        self._source = source
        self.certificate = certificate
        self.open_connections = open_connections or OpenConnections()
        self._allowed_hosts = allowed_hosts

    @classmethod
    def of(cls, settings: AccessSettings, kept_files: int = 0) -> Access:
        """As the settings have it, with so many files kept from connections.

        Raises ConfigError for files that are wrong.
        """
        certificate = Certificate.of(settings)
        sources: list[Source] = []
        if settings.token_file is not None:
            sources.append(token_file(settings.token_file))
        if settings.tokens is not None:
            given = parse(settings.tokens.replace(";", "\n").splitlines(), "--tokens")
            sources.append(lambda: given)
        tokens = (lambda: [token for source in sources for token in source()]) if sources else None
        counted = OpenConnections.of(settings, kept_files)
        return cls(tokens, certificate, settings.allowed_hosts or "", counted)

    @property
    def guarded(self) -> bool:
        """Whether a token is asked for."""
        return self._source is not None

    def names(self, bound: str) -> OwnNames:
        """By which names a server that listens on an address may be called."""
        return OwnNames(bound, self._allowed_hosts, self.guarded)

    @cached_property
    def own_token(self) -> str:
        """A token of this process, with which it uses its own servers; known to nobody else."""
        return secrets.token_urlsafe(32)

    @cached_property
    def _own(self) -> Token:
        return Token.of("this process", [Scope.READ, Scope.WRITE], self.own_token)

    def check(self, authorization: str | None, scope: Scope) -> Token | None:
        """The token of an ``Authorization`` header, if it allows the scope; None where all may.

        Raises Unauthorized without a token that is known, Forbidden when it does not allow that.
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
                "the token is not known here: send `Authorization: Bearer TOKEN` with one of the "
                "server's --token-file"
            )
        if scope not in token.scopes:
            raise Forbidden(f"the token {token.name!r} does not allow this: it needs {scope}")
        return token


ACCESS = web.AppKey("access", Access)
"""Whom an application lets in."""


def scope_by_method(request: web.Request) -> Scope:
    """What a request needs where nothing else is said: to read, or to change things."""
    return Scope.READ if request.method in _SAFE else Scope.ADMIN


def scope_of_health(request: web.Request) -> Scope | None:
    """What a request needs of a server that tells of the process alone."""
    return None if request.path in HEALTH else scope_by_method(request)


def access_middleware(access: Access, scope_of: ScopeOf) -> Middleware:
    """A middleware that lets requests through as ``access`` says; put it inside the errors."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        scope = scope_of(request)
        if scope is not None:
            request[SHOWN] = access.check(request.headers.get("Authorization"), scope)
        return await handler(request)

    return middleware
