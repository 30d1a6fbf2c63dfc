"""Check one answer: of a target that is fetched once, or of a file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gputel.cli.scrape.jobs import ChosenJob
from gputel.cli.scrape.outcome import Outcome, outcome_of
from gputel.cli.scrape.subject import read_text
from gputel.errors import ScrapeFailed
from gputel.streamer.scrape.check import CheckedAnswer, check_answer, check_target
from gputel.streamer.scrape.fetch import FetchedAnswer, Fetcher
from gputel.streamer.scrape.jobs import ScrapeJob, Target

_EOF = b"# EOF"
_FILE_TARGET = "target"
"""The instance of what a file has: nobody knows which exporter answered it."""


@dataclass(frozen=True)
class SubjectCheck:
    """A target or a file. Without an ``answer``, ``error`` says why a target cannot be fetched.

    ``duration_s`` is the time that the fetch took; None for a file.
    """

    name: str
    job: str
    duration_s: float | None = None
    answer: CheckedAnswer | None = None
    error: str = ""

    @property
    def outcome(self) -> Outcome:
        """How the check went."""
        return outcome_of(self.answer) if self.answer else Outcome.FAILED


def check_url(text: str, chosen: ChosenJob, *, keep_impossible: bool) -> SubjectCheck:
    """Fetch once from the target that the text means. Raises ConfigError."""
    job, target = chosen.target(text)
    return asyncio.run(_fetch(job, target, keep_impossible))


async def _fetch(job: ScrapeJob, target: Target, keep_impossible: bool) -> SubjectCheck:
    async with Fetcher() as fetcher:
        return await fetch_one(fetcher, job, target, keep_impossible=keep_impossible)


async def fetch_one(
    fetcher: Fetcher, job: ScrapeJob, target: Target, *, keep_impossible: bool
) -> SubjectCheck:
    """Fetch once from a target."""
    try:
        duration_s, answer = await check_target(
            fetcher, job, target, keep_impossible=keep_impossible
        )
    except ScrapeFailed as failure:
        return SubjectCheck(target.url, job.name, error=failure.message)
    return SubjectCheck(target.url, job.name, duration_s, answer, answer.error)


def check_text(subject: str, chosen: ChosenJob, *, keep_impossible: bool) -> SubjectCheck:
    """Read what a file, or standard input, has. Raises ConfigError and SourceError."""
    job = chosen.rules()
    body = read_text(subject, job.body_size_limit)
    labels = {"instance": _FILE_TARGET, "job": job.name}
    fetched = FetchedAnswer(body, _is_open_metrics(body))
    answer = check_answer(job, labels, fetched, keep_impossible=keep_impossible, saved=True)
    return SubjectCheck(subject, job.name, None, answer, answer.error)


def _is_open_metrics(body: bytes) -> bool:
    """Whether the last line says so, since a file has no Content-Type."""
    return body.rstrip().rpartition(b"\n")[2] == _EOF
