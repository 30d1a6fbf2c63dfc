"""From the text of an exporter to a record batch.

The lines of a target repeat exactly from one answer to the next, but for their values. So the bytes
before the value are looked up first, and only lines that are new are parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.sources.exposition.grammar import LineFlaw, Sample, parse_line, parse_rest
from gputel.sources.exposition.labels import NoGpu, record_labels
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.exposition.target_rules import KEEP_ALL, TargetRules

Int64 = npt.NDArray[np.int64]

_EOF = b"# EOF"
_BLANKS = b" \t\r"
_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_MOST_FORGOTTEN = 1000  # remembered lines and series that the last answer did not have
_DROPPED, _FOREIGN = -1, -2  # in place of a series: a line that the rules drop, one of no GPU
_NO_GPU = NoGpu().reason


@dataclass(frozen=True)
class BadLine:
    """A line that gave no record: its number from 0, and the reason."""

    line: int
    reason: str
    is_foreign: bool = False  # whether it is well formed, but of no GPU


@dataclass(frozen=True)
class ReadExposition:
    """The records of one answer. ``lines`` has the number of the line, from 0, for each row.

    ``batch`` has SCHEMA. Values and times are as they came: the caller looks for flaws in them.
    """

    batch: pa.RecordBatch
    lines: Int64
    bad: list[BadLine]


@dataclass
class ParsedAnswer:
    """The parsed lines of an answer: for each record its series in the table, value and time.

    ``lines`` has the number of each record's line, from 0, and ``dropped`` how many lines the rules
    of the target leave out.
    """

    series: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    dropped: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)
    heads: dict[bytes, int] = field(default_factory=dict)


class ExpositionReader:
    """Reads the answers of one target. ``attached`` are labels that each sample gets.

    Readers may share a ``table`` of series, so that one batch has the samples of several targets.
    """

    def __init__(
        self,
        attached: Mapping[str, str] = _NO_LABELS,
        *,
        open_metrics: bool = False,
        rules: TargetRules = KEEP_ALL,
        table: SeriesTable | None = None,
    ) -> None:
        self._attached = dict(attached)
        self._open_metrics = open_metrics
        self._rules = rules
        self._table = SeriesTable() if table is None else table
        self._heads: dict[bytes, int] = {}
        self._live: set[int] = set()

    def read(self, body: bytes, now_us: int) -> ReadExposition:
        """The records of an answer. A line without a time gets ``now_us``, in Unix microseconds.

        If the same series comes twice for one time, the first counts, and the second is bad. The
        last line must have a line feed; in OpenMetrics the last line must be ``# EOF``.
        """
        answer = self.parse(body, now_us)
        batch = self._table.batch(answer.series, answer.values, answer.times)
        if len(self._table) > 2 * len(answer.series) + _MOST_FORGOTTEN:
            self.forget(SeriesTable())
        return ReadExposition(batch, np.array(answer.lines, np.int64), answer.bad)

    def forget(self, table: SeriesTable) -> None:
        """Forget all lines; their series go into another table from now on."""
        self._heads, self._table, self._live = {}, table, set()

    def gone(self, answer: ParsedAnswer | None, now_us: int) -> set[int]:
        """The series that the answer before had, and this one has not: they have ended.

        Without an answer all have. Series whose lines have times of their own are left out, as
        Prometheus does. An answer without any sample, as of an exporter that begins, ends none.
        """
        if answer is not None and not answer.series:
            return set()
        times = zip(answer.series, answer.times, strict=True) if answer else ()
        live = {series for series, time_us in times if time_us == now_us}
        gone, self._live = self._live - live, live
        return gone

    def parse(self, body: bytes, now_us: int) -> ParsedAnswer:
        """As ``read``, but the records are only in the table of series, not in a batch yet."""
        answer = ParsedAnswer()
        texts = body.split(b"\n")
        last = len(texts) - 1
        ended = not self._open_metrics
        for number, text in enumerate(texts):
            if text.lstrip(_BLANKS)[:1] == b"#":
                ended = ended or text.rstrip() == _EOF
            elif text.strip(_BLANKS):
                if number == last:
                    answer.bad.append(BadLine(number, "it has no line feed: it may be cut off"))
                elif ended and self._open_metrics:
                    answer.bad.append(BadLine(number, "it comes after # EOF"))
                else:
                    self._add(answer, number, text, now_us)
        if not ended:
            answer.bad.append(BadLine(last, "# EOF is missing: the text is cut off"))
        if len(self._heads) > 2 * len(answer.heads) + _MOST_FORGOTTEN:
            self._heads = answer.heads
        else:
            self._heads |= answer.heads
        return answer

    def _add(self, answer: ParsedAnswer, number: int, text: bytes, now_us: int) -> None:
        try:
            head, series, value, time_us = self._parse(text)
        except LineFlaw as flaw:
            answer.bad.append(BadLine(number, flaw.reason))
            return
        answer.heads[head] = series
        if series == _DROPPED:
            answer.dropped += 1
            return
        if series == _FOREIGN:
            answer.bad.append(BadLine(number, _NO_GPU, is_foreign=True))
            return
        if time_us is None or not self._rules.honor_timestamps:
            time_us = now_us
        if (series, time_us) in answer.seen:
            reason = "another line before it has the same labels and time"
            answer.bad.append(BadLine(number, reason))
            return
        answer.seen.add((series, time_us))
        answer.series.append(series)
        answer.values.append(value)
        answer.times.append(time_us)
        answer.lines.append(number)

    def _parse(self, text: bytes) -> tuple[bytes, int, float, int | None]:
        """The bytes before the value, the series, the value and the time of a line."""
        head, brace, rest = text.rpartition(b"} ")
        head = head + brace
        series = self._heads.get(head) if brace else None
        if series is not None:
            try:
                if b"_" not in rest:  # which Python takes in a number
                    return head, series, float(rest), None
            except ValueError:
                pass  # a time follows, or it is no number
            value, time_us = parse_rest(_decoded(rest), open_metrics=self._open_metrics)
            return head, series, value, time_us
        line = _decoded(text)
        sample = parse_line(line, open_metrics=self._open_metrics)
        head = line[: sample.head_end].encode() + b" "
        return head, self._series_of(sample), sample.value, sample.time_us

    def _series_of(self, sample: Sample) -> int:
        labels = self._rules.apply(sample.name, sample.labels, self._attached)
        if labels is None:
            return _DROPPED
        try:
            return self._table.index_of(record_labels(sample.name, labels))
        except NoGpu:
            return _FOREIGN


def _decoded(text: bytes) -> str:
    try:
        return text.decode().rstrip("\r")
    except UnicodeDecodeError:
        raise LineFlaw("it is not UTF-8 text") from None
