"""TLS with a certificate and a key in files, which are read again when they change."""

from __future__ import annotations

import ssl
from pathlib import Path

from gputel.config.settings import AccessSettings
from gputel.errors import ConfigError
from gputel.web.server.watched import Watched


class Certificate:
    """A certificate with its chain, and its key. Raises ConfigError if the files are wrong."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client.check_hostname = False
        self._client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        kept = "the certificate stays as it was"
        self._latest = Watched([cert, key], self._load, kept, lambda _context: "")

    @classmethod
    def of(cls, settings: AccessSettings) -> Certificate | None:
        """The certificate in the settings; None without TLS."""
        cert, key = settings.tls_cert, settings.tls_key
        if cert is None or key is None:
            if cert is not key:
                missing = "--tls-key" if key is None else "--tls-cert"
                raise ConfigError(f"{missing}: a certificate and its key go together; give both")
            return None
        return cls(cert, key)

    def server_context(self) -> ssl.SSLContext:
        """A context for a listener. Each new connection uses the current certificate."""
        context = self._latest()
        context.sni_callback = self._use_latest
        return context

    def client_context(self) -> ssl.SSLContext:
        """A context for a client in this process, which trusts exactly this certificate."""
        return self._client

    def _use_latest(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._latest()

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
            self._client.load_verify_locations(self._cert)  # earlier certificates stay trusted
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).lower().replace("_", " ")
            raise ConfigError(
                f"--tls-cert {self._cert}, --tls-key {self._key}: are no certificate and its key "
                f"in PEM ({reason})"
            ) from None
        return context


def _no_password() -> str:
    raise ConfigError("--tls-key: needs a password; give a key that is not encrypted")
