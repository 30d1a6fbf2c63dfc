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


def require_usable(parsed: ParsedAnswer) -> None:
    """Raise ScrapeFailed if the answer is not one of an exporter, or has too much in it."""
    if parsed.surplus:
        raise ScrapeFailed(f"the answer has {parsed.surplus}")
    malformed = [bad for bad in parsed.bad if not bad.is_foreign]
    if malformed and not parsed.series:
        number, reason = malformed[0].line + 1, malformed[0].reason
        text = printable(reason)  # it quotes the line
        raise ScrapeFailed(f"no line of the answer can be read; line {number}: {text}")
