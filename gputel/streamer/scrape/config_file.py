"""The file of ``--scrape-config``: scrape jobs in YAML, in Prometheus' words.

    global: {scrape_interval: 10s, scrape_timeout: 5s}
    scrape_configs:
      - job_name: dcgm
        static_configs:
          - targets: [gpu1:9400, gpu2:9400]
            labels: {rack: r7}

What gputel does not support is an error and never ignored, since the jobs would mean something
else. File names are relative to the directory of this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gputel.errors import ConfigError
from gputel.masking import mask
from gputel.printable import printable
from gputel.streamer.scrape.addresses import PORTS
from gputel.streamer.scrape.config_access import auth_of, tls_of
from gputel.streamer.scrape.config_discoveries import SECTIONS, discoveries_of
from gputel.streamer.scrape.discovery.kinds import StaticTargets
from gputel.streamer.scrape.documents.fields import Fields
from gputel.streamer.scrape.documents.files import read_limited
from gputel.streamer.scrape.documents.parse import MOST_YAML_BYTES, parse_yaml
from gputel.streamer.scrape.jobs import MIB, ScrapeJob, target_of

LEAST_INTERVAL_S, MOST_INTERVAL_S = 0.1, 86_400.0
_MOST_BODY, _MOST_SAMPLES = 1024 * MIB, 10_000_000
_JOB_CHARACTERS = 100
_RELABEL = (
    "is not supported; metrics_keep, metrics_drop and drop_labels choose what is stored, and "
    "labels in static_configs add to it"
)
_REFUSED = {
    "relabel_configs": _RELABEL,
    "metric_relabel_configs": _RELABEL,
    "external_labels": "is not supported; write labels in static_configs",
    "proxy_url": "is not supported; gputel talks to exporters directly",
    "bearer_token": "is not supported; write authorization: {credentials: ...}",
    "bearer_token_file": "is not supported; write authorization: {credentials_file: ...}",
    "kubernetes_sd_configs": "is not supported; use kubernetes_endpointslices",
}
_JOB_KEYS = (
    "job_name, scrape_interval, scrape_timeout, metrics_path, scheme, params, honor_labels, "
    "honor_timestamps, body_size_limit, sample_limit, basic_auth, authorization, tls_config, "
    "metrics_keep, metrics_drop, drop_labels, " + ", ".join(SECTIONS)
)


@dataclass(frozen=True)
class _Defaults:
    """What the section ``global`` sets for all jobs."""

    interval_s: float = 10.0
    timeout_s: float = 10.0
    body_size_limit: int = 16 * MIB
    sample_limit: int = 50_000


def read_jobs(path: Path) -> tuple[ScrapeJob, ...]:
    """The jobs of the file. Raises ConfigError, which names the file, the job and the key."""
    try:
        document = parse_yaml(read_limited(path, MOST_YAML_BYTES))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if document is None:
        raise ConfigError(f"{path}: is empty; it must have scrape_configs")
    fields = Fields(document, str(path))
    _refuse(fields)
    defaults = _defaults(fields.section("global"))
    jobs: dict[str, ScrapeJob] = {}
    for section in fields.sections("scrape_configs"):
        job = _job(section, path.parent, defaults)
        if job.name in jobs:
            raise section.error("job_name", "another job has this name; give each its own")
        jobs[job.name] = job
    fields.end("global and scrape_configs")
    if not jobs:
        raise ConfigError(f"{path}: scrape_configs: has no job")
    return tuple(jobs.values())


def _refuse(fields: Fields) -> None:
    """Raise ConfigError for keys of Prometheus that gputel does not support."""
    for key, reason in _REFUSED.items():
        if fields.has(key):
            raise fields.error(key, reason)


def _defaults(fields: Fields | None) -> _Defaults:
    if fields is None:
        return _Defaults()
    _refuse(fields)
    interval_s = _interval_s(fields, _Defaults.interval_s)
    defaults = _Defaults(
        interval_s,
        _timeout_s(fields, _Defaults.timeout_s, interval_s),
        _body_size_limit(fields, _Defaults.body_size_limit),
        _sample_limit(fields, _Defaults.sample_limit),
    )
    fields.end("scrape_interval, scrape_timeout, body_size_limit and sample_limit")
    return defaults


def _job(fields: Fields, folder: Path, defaults: _Defaults) -> ScrapeJob:
    name = fields.needed_text("job_name")
    fields.where = f"{fields.where} (job {printable(name[:_JOB_CHARACTERS])!r})"
    if len(name) > _JOB_CHARACTERS or name != printable(name):
        raise fields.error("job_name", f"must be printable, {_JOB_CHARACTERS} characters at most")
    _refuse(fields)
    interval_s = _interval_s(fields, defaults.interval_s)
    job = ScrapeJob(
        name,
        interval_s,
        _timeout_s(fields, defaults.timeout_s, interval_s),
        scheme=_scheme(fields),
        metrics_path=_metrics_path(fields),
        params=_params(fields),
        honor_labels=fields.truth("honor_labels", default=True),
        honor_timestamps=fields.truth("honor_timestamps", default=True),
        body_size_limit=_body_size_limit(fields, defaults.body_size_limit),
        sample_limit=_sample_limit(fields, defaults.sample_limit),
        auth=auth_of(fields, folder),
        tls=tls_of(fields, folder),
        discoveries=discoveries_of(fields, folder),
        metrics_keep=fields.pattern("metrics_keep"),
        metrics_drop=fields.pattern("metrics_drop"),
        drop_labels=_drop_labels(fields),
    )
    fields.end(_JOB_KEYS)
    _check_static(fields, job)
    return job


def _interval_s(fields: Fields, default_s: float) -> float:
    return fields.seconds("scrape_interval", default_s, LEAST_INTERVAL_S, MOST_INTERVAL_S)


def _timeout_s(fields: Fields, default_s: float, interval_s: float) -> float:
    """The timeout; as a default, never longer than the interval."""
    least_s = LEAST_INTERVAL_S / 10
    timeout_s = fields.seconds(
        "scrape_timeout", min(default_s, interval_s), least_s, MOST_INTERVAL_S
    )
    if timeout_s > interval_s:
        raise fields.error(
            "scrape_timeout",
            f"is {timeout_s:g} s, longer than scrape_interval, {interval_s:g} s",
        )
    return timeout_s


def _body_size_limit(fields: Fields, default: int) -> int:
    return fields.size("body_size_limit", default, 1, _MOST_BODY)


def _sample_limit(fields: Fields, default: int) -> int:
    return fields.whole("sample_limit", default, 1, _MOST_SAMPLES)


def _scheme(fields: Fields) -> str:
    scheme = fields.text("scheme") or "http"
    if scheme not in PORTS:
        raise fields.error("scheme", f"{scheme!r} is neither http nor https")
    return scheme


def _metrics_path(fields: Fields) -> str:
    path = fields.text("metrics_path") or "/metrics"
    if not path.startswith("/"):
        raise fields.error("metrics_path", "must begin with a slash")
    if "?" in path or "#" in path:
        raise fields.error("metrics_path", "has a ? or #; parameters belong into params")
    return path


def _params(fields: Fields) -> dict[str, list[str]]:
    section = fields.take("params")
    if section is None:
        return {}
    valid = isinstance(section, dict) and all(
        isinstance(name, str)
        and isinstance(values, list)
        and all(isinstance(value, str) for value in values)
        for name, values in section.items()
    )
    if not valid or not isinstance(section, dict):
        raise fields.error(
            "params", "must be names with lists of texts, as in {'collect[]': [gpu]}"
        )
    return {name: list(values) for name, values in section.items()}


def _drop_labels(fields: Fields) -> frozenset[str]:
    if not fields.has("drop_labels"):
        return ScrapeJob.drop_labels
    return frozenset(fields.texts("drop_labels"))


def _check_static(fields: Fields, job: ScrapeJob) -> None:
    """Raise ConfigError for a target of static_configs that cannot be used."""
    groups = [
        (at, group)
        for discovery in job.discoveries
        if isinstance(discovery, StaticTargets)
        for at, group in enumerate(discovery.groups, 1)
    ]
    for at, group in groups:
        for text in group.targets:
            try:
                target_of(job, text, group.labels)
            except ValueError as error:
                where = f"static_configs[{at}]: targets"
                raise fields.error(where, f"{mask(text)!r}: {error}") from None
