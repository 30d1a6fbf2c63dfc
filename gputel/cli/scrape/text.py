"""Lines of a report: what exporters say may be anything, and secrets are hidden."""

from __future__ import annotations

from gputel.cli.terminal import echo
from gputel.masking import mask
from gputel.printable import printable


def say(line: str) -> None:
    """Print one line, which stays one line whatever an exporter put into it."""
    echo(printable(mask(line)))


def count(number: int, noun: str) -> str:
    """A number with its noun: ``1 sample``, ``2 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
