"""What becomes of each line of an answer, in the order of the lines."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from gputel.cli.ask.table import cell
from gputel.cli.scrape.refused import beginning
from gputel.model.names import METRIC, SHOWN_COLUMNS
from gputel.streamer.scrape.check import CheckedAnswer, CheckedLine, CheckedSample

_LABELS = [column for column in SHOWN_COLUMNS if column.name != METRIC]


def lines_of(answer: CheckedAnswer) -> Iterator[str]:
    """A line of text for each line that is not blank and no comment."""
    stored = ((each.line, _stored(each)) for each in answer.samples)
    others = (
        _numbered("refused", answer.refused),
        _numbered("no GPU", answer.foreign),
        _numbered("dropped", answer.dropped),
    )
    for number, text in heapq.merge(stored, *others):
        yield f"line {number}: {text}"


def _stored(sample: CheckedSample) -> str:
    labels = sample.labels
    texts = [f"{each.title}={labels[each.name]}" for each in _LABELS if each.name in labels]
    return f"stored   {labels[METRIC]} {cell(sample.value)}  {' '.join(texts)}"


def _numbered(state: str, lines: Iterable[CheckedLine]) -> Iterator[tuple[int, str]]:
    for each in lines:
        reason = f"{each.reason}: " if state == "refused" else ""
        yield each.line, f"{state:8} {reason}{beginning(each.text)}"
