"""The job by whose rules an answer is checked: one of a configuration, or that of ``--scrape``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from gputel.config.settings import StreamerSettings
from gputel.errors import ConfigError, UsageError
from gputel.masking import mask, remember_url
from gputel.streamer.scrape.config_file import read_jobs
from gputel.streamer.scrape.discovery.kinds import StaticTargets
from gputel.streamer.scrape.jobs import ScrapeJob, Target, from_flags, target_of
from gputel.streamer.scrape.targets import TargetList

_ARGUMENT = "TARGET"


@dataclass(frozen=True)
class ChosenJob:
    """The job of a configuration, or None for a target as of ``--scrape``."""

    job: ScrapeJob | None
    interval_s: float  # of --scrape

    @classmethod
    def of(cls, settings: StreamerSettings, name: str | None) -> ChosenJob:
        """The job with this name in ``--scrape-config``. Raises ConfigError and UsageError."""
        interval_s = settings.scrape_interval.total_seconds()
        if name is None:
            return cls(None, interval_s)
        if settings.scrape_config is None:
            raise UsageError("--job: name the configuration that has it with --scrape-config")
        return cls(named_job(settings.scrape_config, name), interval_s)

    def rules(self) -> ScrapeJob:
        """The job for an answer that comes from no target."""
        return self.job or from_flags((), self.interval_s)

    def target(self, text: str) -> tuple[ScrapeJob, Target]:
        """The target that the argument means, and its job. Raises ConfigError."""
        if self.job is None:
            job = from_flags((text,), self.interval_s, flag=_ARGUMENT)
            (target,) = TargetList([job]).jobs()[job.name][1]
            return job, target
        remember_url(text)
        try:
            return self.job, target_of(self.job, text, _static_labels(self.job, text))
        except ValueError as error:
            raise ConfigError(f"{_ARGUMENT}: {mask(text)!r}: {error}") from None


def named_job(path: Path, name: str) -> ScrapeJob:
    """The job of a configuration. Raises ConfigError, which names the jobs that there are."""
    jobs = {job.name: job for job in read_jobs(path)}
    if name not in jobs:
        names = ", ".join(map(repr, jobs))
        raise ConfigError(f"--job: {path} has no job {name!r}; it has {names}")
    return jobs[name]


def _static_labels(job: ScrapeJob, text: str) -> dict[str, str]:
    """The labels of a target that the job lists in its static_configs."""
    for discovery in job.discoveries:
        if isinstance(discovery, StaticTargets):
            for group in discovery.groups:
                if text in group.targets:
                    return dict(group.labels)
    return {}


def job_names(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """The jobs of ``--scrape-config``, for the shell; none that it would take for an option."""
    path = context.params.get("scrape_config") or os.environ.get("GPUTEL_SCRAPE_CONFIG", "")
    try:
        names = [job.name for job in read_jobs(Path(path))]
    except ConfigError:
        return []
    return [name for name in names if name.startswith(typed) and not name.startswith("-")]
