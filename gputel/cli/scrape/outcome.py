"""How a check went, and its exit code."""

from __future__ import annotations

from enum import IntEnum

from gputel.streamer.scrape.check import CheckedAnswer


class Outcome(IntEnum):
    """From good to bad."""

    GOOD = 0
    REFUSED = 1  # lines were refused, others would be stored
    FAILED = 2  # nothing would be stored

    @property
    def exit_code(self) -> int:
        """As of ``gputel ingest``."""
        return {Outcome.GOOD: 0, Outcome.REFUSED: 3, Outcome.FAILED: 1}[self]


def outcome_of(answer: CheckedAnswer) -> Outcome:
    """How the check of an answer went."""
    if not answer.stored:
        return Outcome.FAILED
    return Outcome.REFUSED if answer.refused else Outcome.GOOD
