"""What the streamer would make of an answer, line by line, without storing anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from gputel.errors import ScrapeFailed
from gputel.model.names import LABELS, PARSED_COLUMNS, RAW, VALUE
from gputel.model.raw_labels import parsed_labels
from gputel.sources.dcgm.flaws import find_flaws
from gputel.sources.exposition.reader import BadLine, ExpositionReader, ParsedAnswer
from gputel.sources.exposition.series_table import SeriesTable
from gputel.streamer.scrape.answers import require_usable, rules_of
from gputel.streamer.scrape.fetch import FetchedAnswer, Fetcher
from gputel.streamer.scrape.jobs import ScrapeJob, Target

_BLANKS = b" \t\r"
_SHOWN_BYTES = 400  # of a line that is not stored


@dataclass(frozen=True)
class CheckedSample:
    """A line that would be stored: its number from 1, its labels, its value.

    ``labels`` has those of SERIES_LABELS that are not empty.
    """

    line: int
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class CheckedLine:
    """A line that would not be stored: its number from 1, the reason, and the line's beginning."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class CheckedAnswer:
    """What becomes of each line of an answer. ``bytes`` is its size, unpacked.

    ``refused`` are lines that are wrong, ``foreign`` lines of no GPU, and ``dropped`` those that
    the rules of the job leave out. ``scraped`` are the samples before values are looked at. If the
    scrape would count as failed, ``error`` says why, and none of the ``samples`` would be stored.
    """

    bytes: int
    open_metrics: bool
    samples: Sequence[CheckedSample]
    refused: Sequence[CheckedLine]
    foreign: Sequence[CheckedLine]
    dropped: Sequence[CheckedLine]
    scraped: int
    error: str

    @property
    def stored(self) -> int:
        """The number of samples that would be stored."""
        return 0 if self.error else len(self.samples)


async def check_target(
    fetcher: Fetcher, job: ScrapeJob, target: Target, *, keep_impossible: bool
) -> tuple[float, CheckedAnswer]:
    """Fetch once: the seconds that it took, and what becomes of the answer. Raises ScrapeFailed."""
    began = time.monotonic()
    answer = await fetcher.get(job, target)
    duration_s = time.monotonic() - began
    checked = await asyncio.to_thread(  # other fetches go on meanwhile
        check_answer, job, target.labels, answer, keep_impossible=keep_impossible
    )
    return duration_s, checked


def check_answer(
    job: ScrapeJob,
    labels: Mapping[str, str],
    answer: FetchedAnswer,
    *,
    keep_impossible: bool,
    saved: bool = False,
) -> CheckedAnswer:
    """What becomes of an answer of a target that has these labels. A saved one may be old."""
    table = SeriesTable()
    reader = ExpositionReader(
        labels,
        open_metrics=answer.open_metrics,
        rules=rules_of(job),
        table=table,
        most_samples=job.sample_limit,
        live=not saved,
    )
    parsed = reader.parse(answer.body, time.time_ns() // 1000)
    batch = table.batch(parsed.series, parsed.values, parsed.times)
    flaws = find_flaws(batch, keep_impossible=keep_impossible)
    of_flaws = [BadLine(parsed.lines[row], reason) for row, (_, reason) in flaws.items()]
    texts = answer.body.split(b"\n")
    return CheckedAnswer(
        len(answer.body),
        answer.open_metrics,
        _samples(batch, parsed.lines, flaws),
        _lines(texts, parsed.malformed + of_flaws),
        _lines(texts, parsed.foreign),
        _lines(texts, _dropped(texts, parsed)),
        len(parsed.series),
        _error(parsed),
    )


def _samples(
    batch: pa.RecordBatch, lines: Sequence[int], flaws: Collection[int]
) -> list[CheckedSample]:
    """The rows without a flaw; ``lines`` has the number of each row's line, from 0."""
    texts = zip(*(batch.column(name).to_pylist() for name in LABELS), strict=True)
    values = batch.column(VALUE).to_pylist()
    return [
        CheckedSample(line + 1, _labels(of_row), value)
        for row, (line, of_row, value) in enumerate(zip(lines, texts, values, strict=True))
        if row not in flaws
    ]


def _labels(texts: Iterable[str]) -> dict[str, str]:
    labels = dict(zip(LABELS, texts, strict=True))
    parsed = parsed_labels(labels[RAW])
    labels |= {column.name: parsed[column.api] for column in PARSED_COLUMNS}
    return {name: text for name, text in labels.items() if text}


def _lines(texts: Sequence[bytes], bad: Iterable[BadLine]) -> list[CheckedLine]:
    """The lines in their order, each with its beginning."""
    return [
        CheckedLine(each.line + 1, each.reason, _beginning(texts[each.line]))
        for each in sorted(bad, key=lambda each: each.line)
    ]


def _beginning(text: bytes) -> str:
    return text[:_SHOWN_BYTES].decode(errors="backslashreplace").strip()


def _dropped(texts: Sequence[bytes], parsed: ParsedAnswer) -> Iterator[BadLine]:
    """The samples that are neither records nor bad: the rules leave them out."""
    known = {*parsed.lines, *(bad.line for bad in parsed.bad)}
    for number, text in enumerate(texts):
        bare = text.strip(_BLANKS)
        if bare and not bare.startswith(b"#") and number not in known:
            yield BadLine(number, "metrics_keep or metrics_drop leaves it out")


def _error(parsed: ParsedAnswer) -> str:
    try:
        require_usable(parsed)
    except ScrapeFailed as failure:
        return failure.message
    return ""
