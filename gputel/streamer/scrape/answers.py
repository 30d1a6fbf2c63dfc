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
    if parsed.malformed and not parsed.series:
        first = parsed.malformed[0]
        reason = printable(first.reason)  # it quotes the line
        raise ScrapeFailed(f"no line of the answer can be read; line {first.line + 1}: {reason}")
