"""The lines that are refused, with their reasons, but not too many of one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from gputel.cli.scrape.text import count
from gputel.printable import shortened
from gputel.streamer.scrape.check import CheckedLine

SHOWN_CHARACTERS = 60
"""Of a line."""
_MOST_OF_A_REASON = 20
_MOST_REASONS = 10


def refused_lines(refused: Iterable[CheckedLine]) -> Iterator[str]:
    """Two lines of text for each: where and why, and how it begins."""
    shown: Counter[str] = Counter()
    others: Counter[str] = Counter()
    beyond = 0
    for line in refused:
        kind = line.reason.partition(": ")[0]
        if kind not in shown and len(shown) == _MOST_REASONS:
            beyond += 1
        elif shown[kind] == _MOST_OF_A_REASON:
            others[kind] += 1
        else:
            shown[kind] += 1
            where = f"line {line.line}: "
            yield f"{where}{line.reason}"
            yield " " * len(where) + beginning(line.text)
    for kind, number in others.items():
        yield f"and {count(number, 'more line')}: {kind}"
    if beyond:
        yield f"and {count(beyond, 'more line')} for other reasons; --every-line shows all"


def beginning(text: str) -> str:
    """The first characters of a line."""
    return shortened(text, SHOWN_CHARACTERS)
