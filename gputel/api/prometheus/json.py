"""Answers in the JSON of Prometheus' HTTP API; samples are written in columns, by Arrow.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gputel.errors import ExpressionFailed
from gputel.promql.values.labels import Labels
from gputel.promql.values.samples import SeriesSamples
from gputel.promql.values.vector import Float64, Int64, Scalar, String, Value, Vector

_SAMPLES_AT_ONCE = 100_000
_ARROW_EXPONENT, _EXPONENT = 1e10, 1e21  # from where on Arrow and Prometheus write exponents
_EXACT = 2.0**53  # below it, a whole number has one text
# Made once: from a str, Arrow makes a new scalar each time, and looks for pandas then.
_OPENED, _BETWEEN, _QUOTED, _CLOSED, _NONE = map(pa.scalar, ("[", ',"', '"', '"],', ""))


def success(data: Any) -> bytes:
    """An answer without samples."""
    return msgspec.json.encode({"status": "success", "data": data})


def with_warnings(body: bytes, warnings: Sequence[str]) -> bytes:
    """An answer with what its reader should know."""
    return b'%s,"warnings":%s}' % (body[:-1], msgspec.json.encode(warnings)) if warnings else body


class ResultWriter:
    """Collects the pieces of an answer, up to ``max_bytes``.

    ``check`` is called for each piece and may raise an error to end the work.
    """

    def __init__(self, max_bytes: int, check: Callable[[], None]) -> None:
        self._max_bytes, self._check = max_bytes, check
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Add a piece. Raises ExpressionFailed if the answer gets too large."""
        self._check()
        self._size += len(part) + 1
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._parts.append(part)

    def result(self, kind: str) -> bytes:
        """The complete answer."""
        head = b'{"status":"success","data":{"resultType":"%s","result":[' % kind.encode()
        if not self._parts:
            return head + b"]}}"
        # Joined only once: a copy may have hundreds of megabytes.
        self._parts[0] = head + self._parts[0]
        self._parts[-1] += b"]}}"
        return b",".join(self._parts)


def too_large(max_bytes: int) -> ExpressionFailed:
    """The refusal of an answer of more than ``max_bytes``."""
    return ExpressionFailed(
        f"the answer is larger than {max_bytes} bytes, the limit (--query-max-bytes): narrow it by "
        "more matchers, a shorter time or longer steps"
    )


def error(kind: str, message: str) -> bytes:
    """A refusal."""
    return msgspec.json.encode({"status": "error", "errorType": kind, "error": message})


def instant(value: Value, at_us: int, answer: ResultWriter) -> bytes:
    """The answer to an instant query: a vector, a scalar or a string."""
    at = np.array([at_us], np.int64)
    if isinstance(value, String):
        text = msgspec.json.encode([at_us / 1e6, value.value])
        return _result("string", text)
    if isinstance(value, Scalar):
        return _result("scalar", b"[%s]" % _pairs(at, value.values)[0])
    rows = value.rows(np.flatnonzero(value.present[:, 0]))
    times = np.broadcast_to(at, (len(rows),))
    samples = _pairs(times, rows.values[:, 0])
    for labels, sample in zip(rows.labels, samples, strict=True):
        answer.add(b'{"metric":%s,"value":[%s]}' % (msgspec.json.encode(dict(labels)), sample))
    return answer.result("vector")


def matrix(value: Value, steps_us: Int64, answer: ResultWriter) -> bytes:
    """The answer to a range query, series sorted by their labels."""
    if isinstance(value, Scalar):
        there = np.ones((1, len(steps_us)), np.bool_)
        value = Vector([()], value.values[None, :], there)
    assert isinstance(value, Vector), "the caller refuses strings"
    order = sorted(range(len(value)), key=value.labels.__getitem__)
    at_once = max(1, _SAMPLES_AT_ONCE // len(steps_us))
    for first in range(0, len(order), at_once):
        for part in _series(value.rows(np.array(order[first : first + at_once])), steps_us):
            answer.add(part)
    return answer.result("matrix")


def raw(samples: SeriesSamples, answer: ResultWriter) -> bytes:
    """The answer with raw samples, written at least one series at a time."""
    first = 0
    while first < len(samples):
        most = int(samples.bounds[first]) + _SAMPLES_AT_ONCE
        end = max(first + 1, int(np.searchsorted(samples.bounds, most, side="right")) - 1)
        for part in _raw(samples.part(first, end)):
            answer.add(part)
        first = end
    return answer.result("matrix")


def _raw(samples: SeriesSamples) -> Iterable[bytes]:
    there = ~samples.stale
    joined = _joined(samples.ts[there], None, samples.values[there])
    bounds = np.concatenate([[0], np.cumsum(there)])[samples.bounds]
    return _parts(samples.labels, bounds, joined)


def _series(rows: Vector, steps_us: Int64) -> Iterable[bytes]:
    row, step = np.nonzero(rows.present)
    joined = _joined(steps_us, step, rows.values[row, step])
    return _parts(rows.labels, np.searchsorted(row, np.arange(len(rows) + 1)), joined)


def _parts(labels: Sequence[Labels], bounds: Int64, joined: pa.StringArray) -> Iterable[bytes]:
    """Each series with its samples. A series without samples is left out."""
    if not len(joined):
        return
    data, offsets = joined.buffers()[2], np.frombuffer(joined.buffers()[1], np.int32)
    for number, each in enumerate(labels):
        low, high = bounds[number], bounds[number + 1]
        if low < high:
            # The comma behind the last sample is left out.
            samples = bytes(memoryview(data)[offsets[low] : offsets[high] - 1])
            metric = msgspec.json.encode(dict(each))
            yield b'{"metric":%s,"values":[%s]}' % (metric, samples)


def _joined(times_us: Int64, step: Int64 | None, values: Float64) -> pa.StringArray:
    """``[time,"value"],`` of each sample, one after the other in one buffer."""
    heads = pc.binary_join_element_wise(_OPENED, _seconds(times_us), _BETWEEN, _NONE)
    if step is not None:
        heads = heads.take(pa.array(step))
    return pc.binary_join_element_wise(heads, _numbers(values), _CLOSED, _NONE)


def _pairs(times_us: Int64, values: Float64) -> list[bytes]:
    seconds, numbers = _seconds(times_us), _numbers(values)
    texts = pc.binary_join_element_wise(seconds, _BETWEEN, numbers, _QUOTED, _NONE)
    return [text.encode() for text in texts.to_pylist()]


def _seconds(times_us: Int64) -> pa.StringArray:
    return pc.cast(pa.array(times_us / 1e6), pa.string())


def _numbers(values: Float64) -> pa.StringArray:
    """Numbers in the fewest digits that are exact; NaN, +Inf and -Inf by name.

    As Prometheus, with an exponent only below 1e-6 and from 1e21 on.
    """
    texts = pc.cast(pa.array(values), pa.string())
    large = (np.abs(values) >= _ARROW_EXPONENT) & (np.abs(values) < _EXPONENT)
    if large.any():
        texts = pc.replace_with_mask(texts, pa.array(large), _positional(values[large]))
    finite = np.isfinite(values)
    if not finite.all():
        for odd, name in ((np.isnan(values), "NaN"), (values == np.inf, "+Inf")):
            texts = pc.if_else(pa.array(odd), name, texts)
        texts = pc.if_else(pa.array(values == -np.inf), "-Inf", texts)
    return texts


def _positional(values: Float64) -> pa.StringArray:
    """Large numbers without an exponent."""
    whole = (np.abs(values) < _EXACT) & (values == np.trunc(values))
    if whole.all():
        return pc.cast(pa.array(values.astype(np.int64)), pa.string())
    return pa.array([np.format_float_positional(value, trim="-") for value in values], pa.string())


def _result(kind: str, result: bytes) -> bytes:
    return b'{"status":"success","data":{"resultType":"%s","result":%s}}' % (kind.encode(), result)
