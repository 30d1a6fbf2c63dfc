"""Text in, the value of a setting out; and what a URL, a token or a DSN must look like."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gputel.errors import ConfigError
from gputel.masking import HOSTS, mask
from gputel.times import Duration

_BROKER_SCHEMES = ("http", "https", "dns+http")
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def _parse_int(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _parse_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _parse_bool(text: str) -> bool:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _parse_str(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _parse_path(text: str) -> Path:
    try:
        return Path(_parse_str(text)).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{text!r}: there is no such home directory; write the whole path"
        ) from None


PARSERS: dict[Any, Callable[[str], Any]] = {
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    str: _parse_str,
    Path: _parse_path,
    Duration: Duration.parse,
}
"""By the type of a setting. Each raises ValueError, which says what is wrong."""


def check_plain_url(url: str, called: str) -> None:
    """Raise ConfigError for a URL with what nothing would use or hide: a user, a query."""
    if "@" in url:
        raise ConfigError(
            f"{called}: has a user or password before an @, which is not used: leave it out, and "
            "give a token in GPUTEL_TOKEN"
        )
    if "?" in url or "#" in url:
        raise ConfigError(
            f"{called}: has something behind a ? or #, which is not used: leave it out, and give a "
            "token in GPUTEL_TOKEN"
        )


def check_broker_url(urls: str, called: str = "--broker-url") -> None:
    """Raise ConfigError for what is no address of a broker, or of several with commas between.

    Each is http://HOST:PORT, https://..., or dns+http://... for all addresses of a name.
    """
    check_plain_url(urls, called)
    for url in (part.strip() for part in urls.split(",")):
        try:
            parts = urlsplit(url)
            wrong = parts.scheme not in _BROKER_SCHEMES or not parts.hostname
            _ = parts.port  # raises for what is no port
        except ValueError:
            wrong = True
        if wrong:
            raise ConfigError(f"{called}: {mask(url)!r} must look like http://127.0.0.1:8081")


def check_token(token: str, called: str) -> str:
    """The token without white space at its ends. Raises ConfigError, which does not show it."""
    token = token.strip()
    for place, character in enumerate(token, 1):
        if not "!" <= character <= "~":
            raise ConfigError(
                f"{called}: character {place} of the token is none that a token has: a blank, a "
                "line feed, or not ASCII; see whether all of it, and nothing else, was copied"
            )
    return token


def check_dsn(dsn: str) -> None:
    """Raise ConfigError, which shows nothing of it, for a DSN that libraries take otherwise."""
    scheme, _, rest = dsn.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    userinfo, _, hosts = authority.rpartition("@")
    readable = (
        scheme in ("postgresql", "postgres")
        and dsn.isprintable()
        and HOSTS.fullmatch(hosts)
        and "@" not in userinfo + path
        and "#" not in rest
        and all("=" in item for item in filter(None, query.split("&")))
    )
    if not readable:
        raise ConfigError(
            "--postgres-dsn: must look like postgresql://user:password@host:5432/database; in a "
            "user or password write / as %2F, ? as %3F, # as %23, @ as %40, a blank as %20"
        )
