"""Check a configuration of scrape jobs: its targets, and what they answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gputel.cli.scrape.answer import SubjectCheck, fetch_one
from gputel.cli.scrape.jobs import named_job
from gputel.cli.scrape.outcome import Outcome
from gputel.streamer.scrape.fetch import Fetcher
from gputel.streamer.scrape.jobs import ScrapeJob, Target
from gputel.streamer.scrape.targets import TargetList

_WAIT_S = 10.0  # for the first answers of discoveries
_AT_ONCE = 64


@dataclass(frozen=True)
class JobCheck:
    """A job, its targets, what is wrong with their list, and how the fetches went, by URL."""

    job: ScrapeJob
    targets: Sequence[Target]
    problems: Sequence[str]
    fetched: Mapping[str, SubjectCheck] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """That of the worst target."""
        listed = Outcome.FAILED if self.problems else Outcome.GOOD
        return max([listed, *(check.outcome for check in self.fetched.values())])


def check_configuration(
    path: Path, job_name: str | None, *, fetch: bool, keep_impossible: bool
) -> list[JobCheck]:
    """Check each job, or only one. Raises ConfigError."""
    if job_name is not None:
        named_job(path, job_name)
    logging.getLogger("gputel").addHandler(logging.NullHandler())  # the report has the problems
    return asyncio.run(_check(path, job_name, fetch=fetch, keep_impossible=keep_impossible))


async def _check(
    path: Path, job_name: str | None, *, fetch: bool, keep_impossible: bool
) -> list[JobCheck]:
    listed = await _list_targets(path)
    problems = listed.problems()
    checks = [
        JobCheck(job, targets, problems.get(name, []))
        for name, (job, targets) in listed.jobs().items()
        if job_name in (None, name)
    ]
    return await _fetch_all(checks, keep_impossible) if fetch else checks


async def _list_targets(path: Path) -> TargetList:
    """The targets, as soon as each discovery has answered, or after some seconds."""
    listed = TargetList(path=path)
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listed.run(stopping))
        await listed.first(_WAIT_S)
        stopping.set()
    return listed


async def _fetch_all(checks: Sequence[JobCheck], keep_impossible: bool) -> list[JobCheck]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def fetch(job: ScrapeJob, target: Target) -> SubjectCheck:
        async with limit:
            return await fetch_one(fetcher, job, target, keep_impossible=keep_impossible)

    async def of_job(check: JobCheck) -> JobCheck:
        fetched = await asyncio.gather(*(fetch(check.job, each) for each in check.targets))
        by_url = {each.name: each for each in fetched}
        return JobCheck(check.job, check.targets, check.problems, by_url)

    async with Fetcher() as fetcher:
        return await asyncio.gather(*map(of_job, checks))
