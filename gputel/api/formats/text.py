"""Records as JSON, NDJSON and CSV, column by column: labels of a series are encoded once."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gputel.api.formats.shape import RECORD, Shape
from gputel.store.blocks.blocks import Float64, Int64
from gputel.store.blocks.samples import numbers
from gputel.store.read.records import Records

_ENCODER = msgspec.json.Encoder()
_NOT_FINITE = {"nan": b"nan", "inf": b"inf", "-inf": b"-inf"}


class _Cut(NamedTuple):
    """The parts of a record that are the same in all records of a series."""

    before_value: bytes
    after_value: bytes


class TextRecords:
    """The part that the text formats share: a record is its time, labels, value and other labels.

    It keeps the encoded labels of each series. Make one for each answer.
    """

    opening = b""  # the beginning of the answer
    separator = b""  # between records
    closing = b""  # the end of the answer
    begin = b""  # the beginning of a record

    def __init__(self, shape: Shape = RECORD) -> None:
        self._shape = shape
        self._before: dict[int, bytes] = {}
        self._after: dict[int, bytes] = {}
        self._any = False

    @property
    def series_met(self) -> int:
        """The number of series whose labels it keeps."""
        return len(self._before)

    def start(self) -> bytes:
        """The beginning of the answer."""
        return self.opening

    def add(self, records: Records) -> bytes:
        """Encode more records, at least one."""
        samples = records.samples
        ids = samples.series_id.tolist()
        for series_id in set(ids).difference(self._before):
            cut = self._cut(self._shape.labels(records.series[series_id]))
            self._before[series_id] = cut.before_value
            self._after[series_id] = cut.after_value + self.separator + self.begin
        # The columns are interleaved. The end of a record includes the beginning of the next.
        parts = [b""] * (4 * len(ids))
        parts[0::4] = times(samples.ts)
        parts[1::4] = map(self._before.__getitem__, ids)
        parts[2::4] = self._values(samples.value)
        parts[3::4] = map(self._after.__getitem__, ids)
        parts[0] = (self.separator if self._any else b"") + self.begin + parts[0]
        parts[-1] = parts[-1][: len(parts[-1]) - len(self.separator + self.begin)]
        self._any = True
        return b"".join(parts)

    def end(self) -> bytes:
        """The end of the answer."""
        return self.closing

    def _cut(self, labels: Sequence[str]) -> _Cut:
        raise NotImplementedError

    def _values(self, values: Float64) -> list[bytes]:
        return json_values(values)


class JsonRecords(TextRecords):
    """One array: the same bytes as msgspec gives for the records one by one."""

    opening, separator, closing = b"[", b",", b"]\n"
    begin = b'{"timestamp":"'

    def _cut(self, labels: Sequence[str]) -> _Cut:
        count = len(self._shape.before_value)
        before = members(self._shape.before_value, labels[:count])
        after = members(self._shape.after_value, labels[count:])
        return _Cut(b'Z"' + before + b',"value":', after + b"}")


class NdjsonRecords(JsonRecords):
    """One object on each line."""

    opening = separator = closing = b""

    def _cut(self, labels: Sequence[str]) -> _Cut:
        before, after = super()._cut(labels)
        return _Cut(before, after + b"\n")


class CsvRecords(TextRecords):
    """A line of names, then one line for each record, as RFC 4180 says.

    A value that is not finite is nan, inf or -inf.
    """

    def start(self) -> bytes:
        """The line of names."""
        return csv_line(self._shape.csv_header)

    def _cut(self, labels: Sequence[str]) -> _Cut:
        count = len(self._shape.before_value)
        before = csv_line(["", *labels[:count], ""]).removesuffix(b"\r\n")
        after = csv_line(["", *labels[count:]]) if self._shape.after_value else b"\r\n"
        return _Cut(b"Z" + before, after)

    def _values(self, values: Float64) -> list[bytes]:
        texts = json_values(values)
        for position in np.flatnonzero(~np.isfinite(values)).tolist():
            texts[position] = _NOT_FINITE[str(values[position])]
        return texts


def times(ts: Int64) -> list[bytes]:
    """Unix microseconds as RFC 3339 without the Z. Equal times in a row are encoded once."""
    first = np.empty(len(ts), np.bool_)
    first[:1] = True
    np.not_equal(ts[1:], ts[:-1], out=first[1:])
    moments: list[datetime] = ts[first].view("M8[us]").tolist()
    texts = _ENCODER.encode(moments)[2:-2].split(b'","')
    if len(texts) == len(ts):
        return texts
    counts = np.diff(np.append(np.flatnonzero(first), len(ts))).tolist()
    return list(chain.from_iterable(map(repeat, texts, counts)))


def json_values(values: Float64) -> list[bytes]:
    """Numbers as JSON: integers without a fraction, null for a value that is not finite."""
    return _ENCODER.encode(numbers(values))[1:-1].split(b",")


def csv_line(fields: Sequence[Any]) -> bytes:
    """One line of CSV, with its end."""
    line = io.StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue().encode()


def members(names: Sequence[str], labels: Sequence[str]) -> bytes:
    """The labels as members of a JSON object: ``,"name":"label"`` for each."""
    return b"".join(
        b"," + _ENCODER.encode(name) + b":" + _ENCODER.encode(label)
        for name, label in zip(names, labels, strict=True)
    )
