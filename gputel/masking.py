"""Hide secrets in text for people, wherever they stand and however they are written.

Nothing here needs a URL that can be parsed: a password may contain ``/ ? # @`` unescaped. ``mask``
is for any text, such as errors and log lines; ``mask_url`` is for a setting that is a URL.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

HIDDEN = "***"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = r"(?:\[[0-9A-Fa-f:.%]*\]|[^\s:/?#\[\]@,]*)(?::[0-9]*)?"
HOSTS = re.compile(rf"{_HOST}(?:,{_HOST})*")
"""``host:port``, or several with commas between them."""
_SHOWN_ITEMS = {"host", "hostaddr", "port", "dbname", "database", "user", "application_name"}
_SHOWN_ITEMS |= {"connect_timeout", "sslmode", "sslrootcert", "target_session_attrs"}
_HIDDEN_NAME = r"[\w.-]*(?:pass|pwd|secret|token|api_?key|signature|credential)[\w.-]*"
_ITEM = re.compile(rf"(?i)\b({_HIDDEN_NAME}\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&;,'\"`)]+)")
_USERINFO = re.compile(r"://[^\s<>]*@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?!TOKEN\b)[^\s'\"`,;]+")
_LEAST_CHARACTERS = 7  # of a secret that is hidden anywhere: a shorter one may also be a word
_WORDS = {"gputel", "postgres", "postgresql", "password", "localhost"}
_secrets: set[str] = set()


def remember(secret: str) -> None:
    """Make ``mask`` hide this secret, and each part that a URL parser may cut out of it."""
    plain = unquote(secret)
    texts = {secret, plain, quote(plain, safe=""), secret.strip()}
    texts |= set(re.split(r"[/?#@:&=\s%]+", secret)) | set(re.split(r"[/?#@:&=\s]+", plain))
    _secrets.update(
        text for text in texts if len(text) >= _LEAST_CHARACTERS and text.lower() not in _WORDS
    )


def remember_url(url: str) -> None:
    """Make ``mask`` hide the password and the secret parameters of a URL."""
    userinfo = url.partition("://")[2].rpartition("@")[0]
    remember(userinfo.partition(":")[2])
    for item in re.split(r"[?&]", url)[1:]:
        name, _, value = item.partition("=")
        if name not in _SHOWN_ITEMS:
            remember(value)


def mask(text: str) -> str:
    """The text without passwords and tokens."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _USERINFO.sub(f"://{HIDDEN}@", text)
    text = _ITEM.sub(rf"\g<1>{HIDDEN}", text)
    return _BEARER.sub(rf"\g<1>{HIDDEN}", text)


def mask_url(url: str) -> str:
    """The URL without user, password and secret parameters; ``***`` for a text that is no URL."""
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        return HIDDEN
    userinfo, at, location = rest.rpartition("@")
    address, mark, query = location.partition("?")
    address, fragment, _ = address.partition("#")
    host, slash, path = address.partition("/")
    if _ITEM.search(userinfo) or not HOSTS.fullmatch(host):
        return f"{scheme}://{HIDDEN}"
    shown = f"{scheme}://{HIDDEN + at if at else ''}{host}{slash}{path}"
    if fragment:
        return f"{shown}#{HIDDEN}"
    return shown + mark + "&".join(map(_masked_item, query.split("&"))) if mark else shown


def _masked_item(item: str) -> str:
    name, equals, value = item.partition("=")
    if name in _SHOWN_ITEMS and "#" not in value:
        return item
    return f"{name}={HIDDEN}" if equals and name.isidentifier() else HIDDEN
