"""The parsers of settings, and the checks of URLs, tokens and DSNs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gputel.errors import ConfigError
from gputel.masking import HOSTS, mask
from gputel.times import Duration

_BROKER_SCHEMES = ("http", "https", "dns+http")
BASE_PATH = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)+")
"""A path such as ``/gputel``, without a slash at its end."""
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
    try:
        _filled(text).encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text") from None
    return text


def _filled(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _parse_path(text: str) -> Path:
    try:
        return Path(_filled(text)).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{text!r}: there is no such home directory; write the full path"
        ) from None


PARSERS: dict[Any, Callable[[str], Any]] = {
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    str: _parse_str,
    Path: _parse_path,
    Duration: Duration.parse,
}
"""The parser for each type of setting. It raises ValueError, which says what is wrong."""


def check_plain_url(url: str, setting: str) -> None:
    """Raise ConfigError for a URL with a user or a query: nothing would use or mask them."""
    if "@" in url:
        raise ConfigError(
            f"{setting}: has a user or password before an @, which gputel does not use: leave it "
            "out, and put a token into GPUTEL_TOKEN"
        )
    if "?" in url or "#" in url:
        raise ConfigError(
            f"{setting}: has something behind a ? or #, which gputel does not use: leave it out, "
            "and put a token into GPUTEL_TOKEN"
        )


def is_server_url(url: str, schemes: Collection[str]) -> bool:
    """Whether it is a URL of one of the schemes, with a host that can be looked up."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a port
        host = (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return parts.scheme in schemes and host != b"" and parts.path.isascii()


def check_broker_url(urls: str, setting: str = "--broker-url") -> None:
    """Raise ConfigError for a text that is not the URL of a broker, or of several with commas.

    Each is http://HOST:PORT, https://..., or dns+http://... for all addresses of a name.
    """
    check_plain_url(urls, setting)
    for url in (part.strip() for part in urls.split(",")):
        if not is_server_url(url, _BROKER_SCHEMES):
            raise ConfigError(f"{setting}: {mask(url)!r} must look like http://127.0.0.1:8081")


def check_token(token: str, setting: str) -> str:
    """The token without white space at its ends. Raises ConfigError, without the token in it."""
    token = token.strip()
    for position, character in enumerate(token, 1):
        if not "!" <= character <= "~":
            raise ConfigError(
                f"{setting}: character {position} of the token is a blank, a line feed or not "
                "ASCII: check that you copied the complete token and nothing else"
            )
    return token


def check_dsn(dsn: str) -> None:
    """Raise ConfigError, without the DSN in it, for a DSN that libraries could misread."""
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
