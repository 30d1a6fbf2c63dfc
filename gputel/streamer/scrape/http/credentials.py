"""What a client shows to a server, and whom it trusts: passwords, tokens and TLS.

The files are named here and read by ``loaded.py``, again when they change. Passwords and tokens
are never part of a ``repr``, and ``gputel.masking`` hides them in errors and log lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gputel.masking import remember


@dataclass(frozen=True)
class BasicAuth:
    """User and password; ``password_file`` takes the place of the password."""

    username: str
    password: str = field(default="", repr=False)
    password_file: Path | None = None

    def __post_init__(self) -> None:
        remember(self.password)


@dataclass(frozen=True)
class Authorization:
    """The header ``Authorization: TYPE CREDENTIALS``; the file takes the credentials' place."""

    type: str = "Bearer"
    credentials: str = field(default="", repr=False)
    credentials_file: Path | None = None

    def __post_init__(self) -> None:
        remember(self.credentials)


Auth = BasicAuth | Authorization


@dataclass(frozen=True)
class TlsConfig:
    """Which certificates to trust, and the client's own."""

    ca_file: Path | None = None  # None: the system's authorities
    cert_file: Path | None = None
    key_file: Path | None = None  # None: the key is in cert_file
    server_name: str | None = None  # that the certificate is for, if not the URL's host
    insecure_skip_verify: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are named."""
        named = (self.ca_file, self.cert_file, self.key_file)
        return tuple(path for path in named if path is not None)
