"""What counts of the answer of a target: the rules of its job, and what makes a scrape fail."""

from __future__ import annotations

from gputel.errors import ScrapeFailed
from gputel.printable import printable
from gputel.sources.exposition.reader import ParsedAnswer
from gputel.sources.exposition.target_rules import TargetRules
from gputel.streamer.scrape.jobs import ScrapeJob


def rules_of(job: ScrapeJob) -> TargetRules:
    """Which samples the job keeps, with which labels."""
    return TargetRules(
        job.honor_labels,
        job.honor_timestamps,
        job.metrics_keep,
        job.metrics_drop,
        job.drop_labels,
    )


def require_usable(parsed: ParsedAnswer, job: ScrapeJob) -> None:
    """Raise ScrapeFailed if the answer is not one of an exporter, or has too many samples."""
    if len(parsed.series) > job.sample_limit:
        raise ScrapeFailed(
            f"{len(parsed.series)} samples are over sample_limit, {job.sample_limit}"
        )
    malformed = [bad for bad in parsed.bad if not bad.is_foreign]
    if malformed and not parsed.series:
        number, reason = malformed[0].line + 1, malformed[0].reason
        text = printable(reason)  # it quotes the line
        raise ScrapeFailed(f"no line of the answer can be read; line {number}: {text}")
