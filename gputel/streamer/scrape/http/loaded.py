"""The header and the TLS context that one set of credentials makes.

Files are read again when they change, since tokens and certificates are rotated.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

from gputel.config.file_state import FileState, state_of
from gputel.errors import ScrapeFailed
from gputel.masking import remember
from gputel.streamer.scrape.documents.files import read_limited
from gputel.streamer.scrape.http.credentials import Auth, BasicAuth, TlsConfig

_MOST_SECRET_BYTES = 1 << 16


class LoadedCredentials:
    """What is shown to a server and required of it. Raises ScrapeFailed if a file is wrong."""

    def __init__(self, auth: Auth | None, tls: TlsConfig | None) -> None:
        self._auth = auth
        self._tls = tls or TlsConfig()
        self._secret = _Secret(auth)
        self._states: list[FileState] | None = None
        self._contexts: dict[bool, ssl.SSLContext] = {}

    @property
    def server_name(self) -> str | None:
        """The name that the server's certificate must be for; None: the URL's host."""
        return self._tls.server_name

    def headers(self) -> dict[str, str]:
        """The header Authorization, if there are credentials."""
        if self._auth is None:
            return {}
        secret = self._secret.text()
        if isinstance(self._auth, BasicAuth):
            pair = f"{self._auth.username}:{secret}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {"Authorization": f"{self._auth.type} {secret}"}

    def context(self, *, own: bool) -> ssl.SSLContext:
        """The context for the job's own server, or for another to which that one redirects.

        The other server is not shown the client's certificate.
        """
        states = [state_of(path) for path in self._tls.files]
        if states != self._states:
            self._states, self._contexts = states, {}
        if own not in self._contexts:
            self._contexts[own] = _context(self._tls, own)
        return self._contexts[own]


class _Secret:
    """A password or token, from the configuration or a file."""

    def __init__(self, auth: Auth | None) -> None:
        self._text, self._path, self._key = _origin(auth)
        self._state: FileState = None

    def text(self) -> str:
        """The present secret."""
        if self._path is not None:
            state = state_of(self._path)
            if state is None or state != self._state:
                self._text = self._read(self._path)
                self._state = state
        return self._text

    def _read(self, path: Path) -> str:
        where = f"{self._key} {path}"
        try:
            text = read_limited(path, _MOST_SECRET_BYTES).decode().strip()
        except UnicodeDecodeError:
            raise ScrapeFailed(f"{where}: is not text in UTF-8") from None
        except ValueError as error:
            raise ScrapeFailed(f"{where}: {error}") from None
        if not text or not text.isprintable():
            raise ScrapeFailed(f"{where}: must have one line, the secret")
        remember(text)
        return text


def _origin(auth: Auth | None) -> tuple[str, Path | None, str]:
    """The secret of the configuration, or its file and the key that names the file."""
    if auth is None:
        return "", None, ""
    if isinstance(auth, BasicAuth):
        return auth.password, auth.password_file, "password_file"
    return auth.credentials, auth.credentials_file, "credentials_file"


def _context(tls: TlsConfig, own: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ValueError) as error:
        raise ScrapeFailed(f"ca_file {tls.ca_file}: {_reason(error)}") from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if own and tls.cert_file:
        try:  # without the callback, OpenSSL asks at the terminal for the password of a key
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        except (OSError, ValueError) as error:
            files = f"cert_file {tls.cert_file}" + (
                f", key_file {tls.key_file}" if tls.key_file else ""
            )
            raise ScrapeFailed(f"{files}: {_reason(error)}") from None
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no PEM data").replace("_", " ").lower()
        return f"is not usable ({reason})"
    return getattr(error, "strerror", None) or "is not usable"
