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

from gputel.model.entities import TARGET_FLAW, is_target
from gputel.model.names import LABELS, UUID
from gputel.sources.exposition.grammar import LineFlaw, Sample, parse_line, parse_rest
from gputel.sources.exposition.labels import NoGpu, record_labels
from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.exposition.target_rules import KEEP_ALL, TargetRules

Int64 = npt.NDArray[np.int64]

_EOF = b"# EOF"
_BLANKS = b" \t\r"
_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_DAY_US = 86_400_000_000
_MOST_LINES = 1_000_000
_MOST_BAD = 100_000
_MOST_FORGOTTEN = 1000  # remembered lines and series that the last answer did not have
# In place of a series: a line that is new, that the rules drop, that is of no GPU.
_NEW, _DROPPED, _FOREIGN = -1, -2, -3
_NO_GPU = NoGpu().reason
_UUID = LABELS.index(UUID)


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
    of the target leave out. If reading has ended early, ``surplus`` says of what there was too
    much.
    """

    series: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    dropped: int = 0
    surplus: str = ""
    present: set[int] = field(default_factory=set)  # series with a sample of the present
    seen: set[tuple[int, int]] = field(default_factory=set)  # series and time of the others

    @property
    def foreign(self) -> list[BadLine]:
        """The lines that are well formed, but of no GPU."""
        return [bad for bad in self.bad if bad.is_foreign]

    @property
    def malformed(self) -> list[BadLine]:
        """The other lines that gave no record."""
        return [bad for bad in self.bad if not bad.is_foreign]


class ExpositionReader:
    """Reads the answers of one target. ``attached`` are labels that each sample gets.

    Readers may share a ``table`` of series, so that one batch has the samples of several targets.
    ``most_samples``: an answer with more, or with far too many lines, is not read to its end.
    ``live``: the time of a line must be near the present.
    """

    def __init__(
        self,
        attached: Mapping[str, str] = _NO_LABELS,
        *,
        open_metrics: bool = False,
        rules: TargetRules = KEEP_ALL,
        table: SeriesTable | None = None,
        most_samples: int | None = None,
        live: bool = False,
    ) -> None:
        self._attached = dict(attached)
        self._most_samples = most_samples
        self._live_only = live
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
        """The series that the answer before had and this one lacks: they have ended.

        Without an answer, all have ended. Series whose lines have times of their own are left out,
        as Prometheus does. An answer without any sample, as of an exporter that begins, ends none.
        """
        if answer is not None and not answer.series:
            return set()
        live = answer.present if answer else set()
        gone, self._live = self._live - live, live
        return gone

    def parse(self, body: bytes, now_us: int) -> ParsedAnswer:
        """As ``read``, but the records are only in the table of series, not in a batch yet."""
        answer = ParsedAnswer()
        if self._most_samples is not None and body.count(b"\n") > _MOST_LINES:
            answer.surplus = f"over {_MOST_LINES:,} lines"
        else:
            self._read_lines(answer, body, now_us)
        return answer

    def _read_lines(self, answer: ParsedAnswer, body: bytes, now_us: int) -> None:
        texts = body.split(b"\n")
        last = texts.pop()
        ended = False
        heads, present = self._heads, answer.present
        for number, text in enumerate(texts):
            head, _, rest = text.rpartition(b"} ")
            series = heads.get(head, _NEW)
            if series >= 0 and series not in present and not ended and b"_" not in rest:
                try:
                    value = float(rest)
                except ValueError:  # a time follows, or it is no number
                    pass
                else:
                    present.add(series)
                    answer.series.append(series)
                    answer.values.append(value)
                    answer.times.append(now_us)
                    answer.lines.append(number)
                    continue
            if text.lstrip(_BLANKS)[:1] == b"#":
                ended = ended or (self._open_metrics and text.rstrip() == _EOF)
            elif text.strip(_BLANKS):
                if ended:
                    answer.bad.append(BadLine(number, "it comes after # EOF"))
                else:
                    self._add(answer, number, text, now_us)
                if self._is_over(answer):
                    break
        self._end(answer, len(texts), last, ended=ended)
        if len(heads) > 2 * len(texts) + _MOST_FORGOTTEN:
            self._heads = {}

    def _is_over(self, answer: ParsedAnswer) -> bool:
        """Note of what an answer has too much, before it takes more time and memory."""
        if self._most_samples is None:
            return False
        if len(answer.series) > self._most_samples:
            answer.surplus = f"over {self._most_samples} samples, the sample_limit"
        elif len(answer.bad) > _MOST_BAD:
            answer.surplus = f"over {_MOST_BAD:,} lines that are no samples of GPUs"
        return bool(answer.surplus)

    def _end(self, answer: ParsedAnswer, number: int, last: bytes, *, ended: bool) -> None:
        """Check what follows the last line feed."""
        if self._open_metrics and last.rstrip() == _EOF:
            return
        if last.strip(_BLANKS) and not last.lstrip(_BLANKS).startswith(b"#"):
            answer.bad.append(BadLine(number, "it has no line feed: it may be cut off"))
        if self._open_metrics and not ended:
            answer.bad.append(BadLine(number, "# EOF is missing: the text is cut off"))

    def _add(self, answer: ParsedAnswer, number: int, text: bytes, now_us: int) -> None:
        try:
            series, value, time_us = self._parse(text)
        except LineFlaw as flaw:
            answer.bad.append(BadLine(number, flaw.reason))
            return
        if series == _DROPPED:
            answer.dropped += 1
            return
        if series == _FOREIGN:
            answer.bad.append(BadLine(number, _NO_GPU, is_foreign=True))
            return
        if time_us is None or not self._rules.honor_timestamps:
            time_us = now_us
        if self._live_only and abs(time_us - now_us) > _DAY_US:
            answer.bad.append(BadLine(number, "its time is over a day from that of the scrape"))
            return
        known = series in answer.present if time_us == now_us else (series, time_us) in answer.seen
        if known:
            reason = "another line before it has the same labels and time"
            answer.bad.append(BadLine(number, reason))
            return
        if time_us == now_us:
            answer.present.add(series)
        else:
            answer.seen.add((series, time_us))
        answer.series.append(series)
        answer.values.append(value)
        answer.times.append(time_us)
        answer.lines.append(number)

    def _parse(self, text: bytes) -> tuple[int, float, int | None]:
        """The series, the value and the time of a line."""
        head, _, rest = text.rpartition(b"} ")
        series = self._heads.get(head)
        if series is not None:
            return series, *parse_rest(_decoded(rest), open_metrics=self._open_metrics)
        line = _decoded(text)
        sample = parse_line(line, open_metrics=self._open_metrics)
        series = self._series_of(sample)
        if line.startswith("} ", sample.head_end - 1):
            self._heads[line[: sample.head_end - 1].encode()] = series
        return series, sample.value, sample.time_us

    def _series_of(self, sample: Sample) -> int:
        labels = self._rules.apply(sample.name, sample.labels, self._attached)
        if labels is None:
            return _DROPPED
        try:
            record = record_labels(sample.name, labels)
        except NoGpu:
            return _FOREIGN
        if is_target(record[_UUID]):
            raise LineFlaw(TARGET_FLAW)
        return self._table.index_of(record)


def _decoded(text: bytes) -> str:
    try:
        return text.decode().rstrip("\r")
    except UnicodeDecodeError:
        raise LineFlaw("it is not UTF-8 text") from None
