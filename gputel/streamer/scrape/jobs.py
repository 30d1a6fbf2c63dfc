"""Scrape jobs, and the targets that their discoveries yield, as in Prometheus.

A target is ``host[:port]``, which the job's scheme, path and parameters make a URL, or a URL of its
own. Labels with two underscores in front are for gputel: ``__address__``, ``__scheme__``,
``__metrics_path__`` and ``__param_NAME`` change the URL, and none of them is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from gputel.errors import ConfigError
from gputel.masking import mask, remember_url
from gputel.printable import printable
from gputel.streamer.scrape.addresses import (
    PORTS,
    instance_of,
    is_url,
    parse_address,
    parse_url,
)
from gputel.streamer.scrape.discovery.kinds import Discovery, StaticTargets, TargetGroup
from gputel.streamer.scrape.http.credentials import Auth, TlsConfig

MIB = 1 << 20
FLAG_JOB = "dcgm"
"""The job of ``--scrape``."""
NVML_JOB = "nvml"
"""The job of ``--nvml``."""
EXPORTER_PORT = 9400
"""The port of dcgm-exporter, for an address of ``--scrape`` without a port."""
_TIMEOUT_S = 10.0  # of a scrape, but at most its interval
_PARAM = "__param_"
_KEY_BYTES = 2048  # of job, URL and instance, which are a key in the store
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class ScrapeJob:
    """One job: what to scrape, how often, and what to keep of the answers."""

    name: str
    interval_s: float = 10.0
    timeout_s: float = 10.0  # for connect, headers and body together
    scheme: str = "http"
    metrics_path: str = "/metrics"
    params: Mapping[str, list[str]] = field(default_factory=dict)
    honor_labels: bool = True  # a label of the exporter wins over one of the target
    honor_timestamps: bool = True
    body_size_limit: int = 16 * MIB  # bytes, decompressed
    sample_limit: int = 50_000
    auth: Auth | None = None
    tls: TlsConfig | None = None
    discoveries: tuple[Discovery, ...] = ()
    metrics_keep: re.Pattern[str] | None = None  # must match the complete name
    metrics_drop: re.Pattern[str] | None = None
    drop_labels: frozenset[str] = frozenset({"err_msg"})
    nvml_host: str = ""  # the targets are the GPUs of this host, which only it can read


@dataclass(frozen=True)
class Target:
    """One exporter; its URL is unique in its job. The labels have ``instance`` and ``job``."""

    job: str
    url: str
    labels: Mapping[str, str]


def target_of(job: ScrapeJob, text: str, labels: Mapping[str, str]) -> Target:
    """The target that a discovery lists as ``text``. Raises ValueError, which says what is wrong.

    An empty label is no label.
    """
    if job.nvml_host:
        return Target(job.name, text, {"instance": job.nvml_host, "job": job.name})
    text = labels.get("__address__", text)
    kept = {name: value for name, value in labels.items() if value and not name.startswith("__")}
    url, instance = _whole(job, text) if is_url(text) else _composed(job, text, labels)
    target = Target(job.name, url, {"instance": instance, "job": job.name, **kept})
    _check(target)
    return target


def _check(target: Target) -> None:
    """Check that the store can keep the target. Raises ValueError."""
    for name, value in target.labels.items():
        if _NO_TEXT.search(name + value):
            raise ValueError(
                f"the label {printable(name)} has a NUL character or half of a surrogate pair"
            )
    if len("".join((target.job, target.url, target.labels["instance"])).encode()) > _KEY_BYTES:
        raise ValueError(f"its URL and instance have over {_KEY_BYTES} bytes")


def _whole(job: ScrapeJob, text: str) -> tuple[str, str]:
    """URL and instance of a target that is a URL; one without a path gets the job's."""
    address = parse_url(text)
    scheme, _, rest = text.partition("://")
    location = re.split(r"(?=[/?])", rest, maxsplit=1)[1:]
    tail = location[0] if location else job.metrics_path
    return f"{scheme}://{address.text()}{tail}", instance_of(address, scheme)


def _composed(job: ScrapeJob, text: str, labels: Mapping[str, str]) -> tuple[str, str]:
    """URL and instance of a target that is ``host[:port]``."""
    scheme = labels.get("__scheme__", job.scheme)
    if scheme not in PORTS:
        raise ValueError(f"__scheme__ is {scheme!r}, neither http nor https")
    address = parse_address(text)
    path = labels.get("__metrics_path__", job.metrics_path)
    path = quote(path if path.startswith("/") else f"/{path}", safe="/%:@!$&'()*+,;=~-._")
    query = urlencode(_params(job, labels), doseq=True)
    url = f"{scheme}://{address.text()}{path}" + (f"?{query}" if query else "")
    return url, instance_of(address, scheme)


def _params(job: ScrapeJob, labels: Mapping[str, str]) -> dict[str, list[str]]:
    """The parameters; ``__param_x`` replaces the first value of x."""
    params = {name: list(values) for name, values in job.params.items()}
    for label, value in labels.items():
        if label.startswith(_PARAM):
            name = label.removeprefix(_PARAM)
            params[name] = [value, *params.get(name, [])[1:]]
    return params


def from_flags(texts: Sequence[str], interval_s: float, *, flag: str = "--scrape") -> ScrapeJob:
    """The job of ``--scrape``, which has the texts as targets.

    Raises ConfigError, which names ``flag``.
    """
    targets = tuple(_flag_target(text.strip(), flag) for text in texts)
    static = StaticTargets((TargetGroup(targets),))
    return ScrapeJob(FLAG_JOB, interval_s, _timeout_s(interval_s), discoveries=(static,))


def from_nvml(hostname: str, interval_s: float) -> ScrapeJob:
    """The job of ``--nvml``, whose target is this host."""
    static = StaticTargets((TargetGroup((f"nvml://{hostname}",)),))
    timeout_s = _timeout_s(interval_s)
    return ScrapeJob(NVML_JOB, interval_s, timeout_s, discoveries=(static,), nvml_host=hostname)


def _timeout_s(interval_s: float) -> float:
    return min(interval_s, _TIMEOUT_S)


def _flag_target(text: str, flag: str) -> str:
    try:
        if is_url(text):
            remember_url(text)
            parse_url(text)
            return text
        return parse_address(text).text(EXPORTER_PORT)
    except ValueError as error:
        raise ConfigError(
            f"{flag}: {mask(text)!r}: {error}; write it like gpu1:9400 or http://gpu1:9400/metrics"
        ) from None
