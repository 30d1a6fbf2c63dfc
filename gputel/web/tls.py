"""TLS from files of a certificate and its key, which are read again when they are renewed."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path

from gputel.config import AccessSettings
from gputel.errors import ConfigError

log = logging.getLogger("gputel.web")

_LOOK_S = 1.0  # between two looks at whether the files have changed


class Certificate:
    """A certificate with those that signed it, and its key. Raises ConfigError for wrong files."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._seen = self._state()
        self._context = self._load()
        self._look_at = time.monotonic() + _LOOK_S

    @classmethod
    def of(cls, settings: AccessSettings) -> Certificate | None:
        """As the settings have it; None without TLS."""
        cert, key = settings.tls_cert, settings.tls_key
        if cert is None or key is None:
            if cert is not key:
                missing = "--tls-key" if key is None else "--tls-cert"
                raise ConfigError(f"{missing}: a certificate and its key go together; give both")
            return None
        return cls(cert, key)

    def server_context(self) -> ssl.SSLContext:
        """For a listener: each connection gets the certificate as it is then."""
        context = self._load()
        context.sni_callback = self._latest
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client in this process, which knows its own server by the certificate itself."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self._cert)
        return context

    def _latest(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look()
        connection.context = self._context

    def _look(self) -> None:
        seen = self._state()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._context = self._load()
        except ConfigError as error:
            log.warning("%s; the certificate stays as it was", error.message)
        else:
            log.info("%s: read anew", self._cert)

    def _state(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = []
        for path in (self._cert, self._key):
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_ino, status.st_mtime_ns))
        return found

    def _load(self) -> ssl.SSLContext:
        for flag, path in (("--tls-cert", self._cert), ("--tls-key", self._key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigError(f"{flag}: {path}: {error.strerror}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).lower().replace("_", " ")
            raise ConfigError(
                f"--tls-cert {self._cert}, --tls-key {self._key}: are no certificate and its key "
                f"in PEM ({reason})"
            ) from None
        return context


def _no_password() -> str:
    raise ConfigError("--tls-key: needs a password; give one that is not encrypted")
