"""The sections of a job that say where its targets are listed."""

from __future__ import annotations

import re
from glob import escape
from pathlib import Path

from gputel.masking import remember_url
from gputel.streamer.scrape.addresses import parse_url
from gputel.streamer.scrape.config_access import auth_of, tls_of
from gputel.streamer.scrape.discovery.groups import group_of
from gputel.streamer.scrape.discovery.kinds import (
    Discovery,
    DnsDiscovery,
    EndpointSlices,
    FileDiscovery,
    HttpDiscovery,
    RecordType,
    StaticTargets,
)
from gputel.streamer.scrape.documents.fields import Fields

SECTIONS = (
    "static_configs",
    "file_sd_configs",
    "http_sd_configs",
    "dns_sd_configs",
    "kubernetes_endpointslices",
)
_SUFFIXES = (".json", ".yml", ".yaml")
_LEAST_REFRESH_S, _MOST_REFRESH_S = 1.0, 86_400.0
_DNS_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def discoveries_of(fields: Fields, folder: Path) -> tuple[Discovery, ...]:
    """All discoveries of a job. Raises ConfigError."""
    if not any(fields.has(name) for name in SECTIONS):
        raise fields.error("static_configs", f"is missing; a job needs one of {_listed(SECTIONS)}")
    found: list[Discovery] = []
    if fields.has("static_configs"):
        found.append(_static(fields.sections("static_configs")))
    found += [_files(each, folder) for each in fields.sections("file_sd_configs")]
    found += [_http(each, folder) for each in fields.sections("http_sd_configs")]
    found += [_dns(each) for each in fields.sections("dns_sd_configs")]
    kubernetes = fields.section("kubernetes_endpointslices")
    if kubernetes is not None:
        found.append(_kubernetes(kubernetes))
    return tuple(found)


def _static(sections: list[Fields]) -> StaticTargets:
    return StaticTargets(tuple(group_of(each) for each in sections))


def _files(fields: Fields, folder: Path) -> FileDiscovery:
    files = fields.texts("files")
    if not files:
        raise fields.error("files", "is missing; write a list like [targets/*.yml]")
    for name in files:
        if not name.endswith(_SUFFIXES):
            raise fields.error("files", f"{name!r} must end in {_listed(_SUFFIXES)}")
    refresh_s = _refresh_s(fields, 5.0)
    fields.end("files and refresh_interval")
    return FileDiscovery(tuple(Path(escape(str(folder))) / name for name in files), refresh_s)


def _http(fields: Fields, folder: Path) -> HttpDiscovery:
    """A list over HTTP. Its credentials are its own: those of the job are for the exporters."""
    url = fields.needed_text("url")
    remember_url(url)
    try:
        parse_url(url)
    except ValueError as error:
        raise fields.error("url", str(error)) from None
    refresh_s = _refresh_s(fields, 60.0)
    auth, tls = auth_of(fields, folder), tls_of(fields, folder)
    fields.end("url, refresh_interval, basic_auth, authorization and tls_config")
    return HttpDiscovery(url, refresh_s, auth, tls)


def _dns(fields: Fields) -> DnsDiscovery:
    names = fields.texts("names")
    if not names:
        raise fields.error("names", "is missing; write a list like [exporters.example]")
    for name in names:
        if not _DNS_NAME.fullmatch(name):
            raise fields.error("names", f"{name!r} is not a name in DNS")
    kind = fields.text("type") or "SRV"
    if kind not in RecordType.__members__:
        raise fields.error(
            "type", f"{kind!r}: gputel looks up A and AAAA only; write type: A, and a port"
        )
    port = fields.whole("port", None, 1, 65_535)
    refresh_s = _refresh_s(fields, 30.0)
    fields.end("names, type, port and refresh_interval")
    return DnsDiscovery(names, port, RecordType[kind], refresh_s)


def _kubernetes(fields: Fields) -> EndpointSlices:
    namespace, service = _object_name(fields, "namespace"), _object_name(fields, "service")
    port = _port(fields)
    refresh_s = _refresh_s(fields, 30.0)
    fields.end("namespace, service, port and refresh_interval")
    return EndpointSlices(namespace, service, port, refresh_s)


def _port(fields: Fields) -> int | str:
    port = fields.take("port")
    if isinstance(port, str) and port:
        return port
    if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65_536:
        return port
    raise fields.error("port", "must be a number like 9400, or the name of a port")


def _object_name(fields: Fields, key: str) -> str:
    name = fields.needed_text(key)
    if not _KUBERNETES_NAME.fullmatch(name):
        raise fields.error(key, f"{name!r} is not a name in Kubernetes")
    return name


def _refresh_s(fields: Fields, default_s: float) -> float:
    return fields.seconds("refresh_interval", default_s, _LEAST_REFRESH_S, _MOST_REFRESH_S)


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
