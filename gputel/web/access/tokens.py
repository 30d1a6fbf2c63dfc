"""Bearer tokens with their names and scopes, from a file, which may change, or from a setting.

A line is ``NAME SCOPES TOKEN``, for example ``grafana read 7dK...``. SCOPES are ``read``, ``write``
and ``admin``, separated by commas. Empty lines and lines that begin with ``#`` are ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gputel.errors import ConfigError
from gputel.web.server.watched import Watched

MIN_CHARACTERS = 16
_MAX_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/-]{{{MIN_CHARACTERS},}}=*")  # RFC 6750


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class AccessToken:
    """One token, of which only the digest is kept."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, scopes: Sequence[Scope], text: str) -> AccessToken:
        """The token with this text. The scope admin includes all scopes."""
        allowed = frozenset(Scope) if Scope.ADMIN in scopes else frozenset(scopes)
        return cls(name, allowed, _digest(text))


TokenSource = Callable[[], Sequence[AccessToken]]
"""Returns the current tokens."""


def find(tokens: Sequence[AccessToken], text: str) -> AccessToken | None:
    """The token with this text. Takes the same time for all texts, right or almost right."""
    digest, match = _digest(text), None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            match = token
    return match


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def parse(lines: Sequence[str], source: str) -> list[AccessToken]:
    """The tokens in the lines. Raises ConfigError with the number of the line.

    The error never shows the line: if its words are in the wrong order, that would show the token.
    """
    tokens: dict[str, AccessToken] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{source}, line {number}"
        token = _token(line.split(), where)
        if token.name in tokens:
            raise ConfigError(
                f"{where}: {_shown(token.name)} is given twice; give each token a name of its own"
            )
        if any(token.digest == other.digest for other in tokens.values()):
            raise ConfigError(
                f"{where}: {_shown(token.name)} has the token of another name; give each its own"
            )
        tokens[token.name] = token
    if not tokens:
        raise ConfigError(f"{source}: has no token; write lines like: grafana read TOKEN")
    return list(tokens.values())


def _token(words: Sequence[str], where: str) -> AccessToken:
    if len(words) != 3:
        raise ConfigError(
            f"{where}: has {len(words)} words, not three; write it like: grafana read TOKEN"
        )
    name, scopes, text = words
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a name has letters, digits, dots, dashes: 64 at most")
    unknown = [scope for scope in scopes.split(",") if scope not in set(Scope)]
    if unknown:
        raise ConfigError(
            f"{where}: {_shown(unknown[0])} is no scope; choose from {', '.join(Scope)}, with "
            "commas and no blanks between them"
        )
    if not _TOKEN.fullmatch(text):
        raise ConfigError(
            f"{where}: the token of {_shown(name)} must have {MIN_CHARACTERS} or more of "
            "A-Z a-z 0-9 . _ ~ + / -; `openssl rand -hex 32` makes a good one"
        )
    return AccessToken.of(name, [Scope(scope) for scope in scopes.split(",")], text)


def _shown(word: str) -> str:
    """The word, if it is too short to be a token in the wrong position."""
    return repr(word) if len(word) < MIN_CHARACTERS else "what stands there"


def token_file(path: Path) -> TokenSource:
    """The tokens of a file, which is read again when it changes. Raises ConfigError."""
    return Watched(
        [path],
        lambda: _read(path),
        "the tokens stay as they were",
        lambda tokens: f", {len(tokens)} tokens",
    )


def _read(path: Path) -> list[AccessToken]:
    where = f"--token-file: {path}"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"{where}: is over 1 MiB, too large for a file of tokens")
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: is not text in UTF-8") from None
    return parse(lines, where)
