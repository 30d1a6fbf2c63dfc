"""The sections ``basic_auth``, ``authorization`` and ``tls_config`` of a configuration."""

from __future__ import annotations

import re
from pathlib import Path

from gputel.streamer.scrape.documents.fields import Fields
from gputel.streamer.scrape.http.credentials import Auth, Authorization, BasicAuth, TlsConfig

_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def auth_of(fields: Fields, folder: Path) -> Auth | None:
    """The credentials, of which a section may have one kind. Raises ConfigError."""
    basic, other = fields.section("basic_auth"), fields.section("authorization")
    if basic is not None and other is not None:
        raise fields.error("authorization", "there is basic_auth as well; leave one of them out")
    if basic is not None:
        return _basic(basic, folder)
    return None if other is None else _authorization(other, folder)


def _basic(fields: Fields, folder: Path) -> BasicAuth:
    username = fields.needed_text("username")
    if ":" in username:
        raise fields.error("username", "has a colon, which basic_auth cannot transmit")
    password, path = _secret(fields, "password", folder)
    fields.end("username, password and password_file")
    return BasicAuth(username, password, path)


def _authorization(fields: Fields, folder: Path) -> Authorization:
    kind = (fields.text("type") or "Bearer").strip()
    if kind.lower() == "basic" or not _TYPE.fullmatch(kind):
        raise fields.error("type", "must be one word, such as Bearer; for Basic use basic_auth")
    credentials, path = _secret(fields, "credentials", folder)
    fields.end("type, credentials and credentials_file")
    return Authorization(kind, credentials, path)


def _secret(fields: Fields, key: str, folder: Path) -> tuple[str, Path | None]:
    """The secret or its file; exactly one of them must be there."""
    text, path = fields.text(key), fields.path(f"{key}_file", folder)
    if (text is None) == (path is None):
        raise fields.error(key, f"give either {key} or {key}_file")
    if text is not None and not text.isprintable():
        raise fields.error(key, "has a line feed or another character that is not printable")
    return text or "", path


def tls_of(fields: Fields, folder: Path) -> TlsConfig | None:
    """The section tls_config. Raises ConfigError."""
    section = fields.section("tls_config")
    if section is None:
        return None
    tls = TlsConfig(
        section.path("ca_file", folder),
        section.path("cert_file", folder),
        section.path("key_file", folder),
        section.text("server_name"),
        section.truth("insecure_skip_verify", default=False),
    )
    section.end("ca_file, cert_file, key_file, server_name and insecure_skip_verify")
    if tls.key_file and not tls.cert_file:
        raise section.error("key_file", "is given without cert_file")
    return tls
