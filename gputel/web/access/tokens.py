"""Bearer tokens: who they belong to and what they allow, from a file that may change or a setting.

A line is ``NAME SCOPES TOKEN``, as in ``grafana read 7dK...``; SCOPES are ``read``, ``write`` and
``admin`` with commas between them. Empty lines and lines that begin with ``#`` do not count.
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
class Token:
    """One token, known by its digest alone."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, scopes: Sequence[Scope], text: str) -> Token:
        """The token of a text; admin allows everything."""
        allowed = frozenset(Scope) if Scope.ADMIN in scopes else frozenset(scopes)
        return cls(name, allowed, _digest(text))


Source = Callable[[], Sequence[Token]]
"""The tokens as they are now."""


def find(tokens: Sequence[Token], text: str) -> Token | None:
    """The token that the text is. Takes the same time whichever it is, or almost is."""
    digest, found = _digest(text), None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def parse(lines: Sequence[str], source: str) -> list[Token]:
    """The tokens in the lines. Raises ConfigError naming the line.

    Never what is in it: words in another order would show the token.
    """
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        place = f"{source}, line {number}"
        token = _token(line.split(), place)
        if token.name in tokens:
            raise ConfigError(
                f"{place}: {_shown(token.name)} is there twice; give each a name of its own"
            )
        if any(token.digest == other.digest for other in tokens.values()):
            raise ConfigError(
                f"{place}: {_shown(token.name)} has another's token; give it one of its own"
            )
        tokens[token.name] = token
    if not tokens:
        raise ConfigError(f"{source}: holds no token; write lines like: grafana read TOKEN")
    return list(tokens.values())


def _token(words: Sequence[str], place: str) -> Token:
    if len(words) != 3:
        raise ConfigError(
            f"{place}: has {len(words)} words, not three; write it like: grafana read TOKEN"
        )
    name, scopes, text = words
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{place}: a name has letters, digits, dots, dashes: 64 at most")
    unknown = [scope for scope in scopes.split(",") if scope not in set(Scope)]
    if unknown:
        raise ConfigError(
            f"{place}: {_shown(unknown[0])} is no scope; choose from {', '.join(Scope)}, with "
            "commas and no blanks between them"
        )
    if not _TOKEN.fullmatch(text):
        raise ConfigError(
            f"{place}: the token of {_shown(name)} must have {MIN_CHARACTERS} or more of "
            "A-Z a-z 0-9 . _ ~ + / -; `openssl rand -hex 32` makes a good one"
        )
    return Token.of(name, [Scope(scope) for scope in scopes.split(",")], text)


def _shown(word: str) -> str:
    """A word that is no token for certain, whatever the order of the words."""
    return repr(word) if len(word) < MIN_CHARACTERS else "what stands there"


def token_file(path: Path) -> Source:
    """The tokens of a file, read again when it changes. Raises ConfigError for a wrong one."""
    return Watched(
        [path],
        lambda: _read(path),
        "the tokens stay as they were",
        lambda tokens: f", {len(tokens)} tokens",
    )


def _read(path: Path) -> list[Token]:
    place = f"--token-file: {path}"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{place}: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        raise ConfigError(f"{place}: is over 1 MiB, so no file of tokens")
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: is no text in UTF-8") from None
    return parse(lines, place)
