"""The kinds of discovery, as a job describes them, and the groups of targets that they yield."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gputel.streamer.scrape.http.credentials import Auth, TlsConfig

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and the certificate of the API server's authority."""


@dataclass(frozen=True)
class TargetGroup:
    """Targets, each ``host:port`` or a URL, that share labels."""

    targets: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StaticTargets:
    """Targets that the configuration lists."""

    groups: tuple[TargetGroup, ...]


@dataclass(frozen=True)
class FileDiscovery:
    """Files in JSON or YAML that list target groups; ``patterns`` may have ``*`` and ``?``."""

    patterns: tuple[Path, ...]
    refresh_s: float = 5.0


@dataclass(frozen=True)
class HttpDiscovery:
    """A URL that answers with target groups in JSON."""

    url: str
    refresh_s: float = 60.0
    auth: Auth | None = None
    tls: TlsConfig | None = None


class RecordType(Enum):
    """The type of DNS records."""

    A = socket.AF_INET  # IPv4 addresses
    AAAA = socket.AF_INET6  # IPv6 addresses


@dataclass(frozen=True)
class DnsDiscovery:
    """Names whose every address is a target with this port."""

    names: tuple[str, ...]
    port: int
    type: RecordType = RecordType.A
    refresh_s: float = 30.0


@dataclass(frozen=True)
class EndpointSlices:
    """The pods behind a Service of Kubernetes, which this pod's token may list."""

    namespace: str
    service: str
    port: int | str  # a number, or the name of a port of the Service
    refresh_s: float = 30.0
    service_account: Path = SERVICE_ACCOUNT


Discovery = StaticTargets | FileDiscovery | HttpDiscovery | DnsDiscovery | EndpointSlices
