"""The protocol buffers of remote write, read field by field.

Messages: https://prometheus.io/docs/specs/prw/remote_write_spec/ (1.0: ``WriteRequest``) and
https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/ (2.0: ``Request``). Unknown fields are
skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Hashable, Iterator
from itertools import islice
from typing import NamedTuple

from gputel.sources.exposition.read_samples import TooManySamples
from gputel.sources.protobuf.reading import WireFlaw, fields, signed, text_of, varint, varints

_DOUBLE = struct.Struct("<d")
_NO_VALUE = bytes(8)
_MOST_SYMBOLS = 500_000
_MOST_LABELS = 512

# Field numbers. WriteRequest, TimeSeries, Label and Sample of 1.0; Request and TimeSeries of 2.0.
_TIMESERIES, _LABELS, _SAMPLES, _EXEMPLARS, _HISTOGRAMS = 1, 1, 2, 3, 4
_NAME, _TEXT = 1, 2
_VALUE, _TIMESTAMP = 1, 2
_SYMBOLS_2, _TIMESERIES_2, _HISTOGRAMS_2, _EXEMPLARS_2 = 4, 5, 3, 4


class Series(NamedTuple):
    """One series of a request. ``samples`` has the value as 8 bytes, and the time in ms, of each.

    ``labels`` are the bytes of its labels in 1.0, which ``labels_of`` reads, and the labels
    themselves in 2.0.
    """

    labels: bytes | dict[str, str]
    samples: list[tuple[bytes, int]]
    histograms: int
    exemplars: int


def series_1(body: bytes, most: int, known: Container[Hashable] = ()) -> Iterator[Series]:
    """The series of a WriteRequest, each with at most ``most`` samples.

    ``known`` has the ``labels`` of series that were read before: they are not read again.
    Raises WireFlaw and TooManySamples.
    """
    for number, start, end in fields(body, 0, len(body)):
        if number == _TIMESERIES:
            yield _known_series(body, start, end, known) or _series_1(body, start, end, most)


def series_2(body: bytes, most: int) -> Iterator[Series]:
    """The series of a Request of version 2.0, each with at most ``most`` samples.

    Raises WireFlaw and TooManySamples.
    """
    symbols: list[str] = []
    for number, start, end in fields(body, 0, len(body)):
        if number == _SYMBOLS_2:
            symbols.append(text_of(body, start, end))
            if len(symbols) > _MOST_SYMBOLS:
                raise WireFlaw(f"it has over {_MOST_SYMBOLS} symbols: send less at once")
    for number, start, end in fields(body, 0, len(body)):
        if number == _TIMESERIES_2:
            yield _series_2(body, start, end, symbols, most)


def labels_of(packed: bytes) -> dict[str, str]:
    """The labels of a series of 1.0, with ``__name__``. Raises WireFlaw."""
    labels: dict[str, str] = {}
    for _, start, end in fields(packed, 0, len(packed)):
        name = text = ""
        for part, begin, stop in fields(packed, start, end):
            if part == _NAME:
                name = text_of(packed, begin, stop)
            elif part == _TEXT:
                text = text_of(packed, begin, stop)
        _add(labels, name, text)
    return labels


def _known_series(body: bytes, start: int, end: int, known: Container[Hashable]) -> Series | None:
    """A known series with one sample of 16 bytes, as nearly all are; None for anything else."""
    at = end - 18
    if at < start or body[at : at + 3] != b"\x12\x10\x09" or body[at + 11] != 0x10:
        return None
    time_ms, stop = varint(body, at + 12, end)
    if stop != end:
        return None
    labels = body[start:at]
    return Series(labels, [(body[at + 3 : at + 11], time_ms)], 0, 0) if labels in known else None


def _series_1(body: bytes, start: int, end: int, most: int) -> Series:
    labels = bytearray()

    def take(tag: int, _begin: int, stop: int) -> None:
        labels.extend(body[tag:stop])

    samples, others = _parts(body, start, end, most, take)
    return Series(bytes(labels), samples, others[_HISTOGRAMS], others[_EXEMPLARS])


def _series_2(body: bytes, start: int, end: int, symbols: list[str], most: int) -> Series:
    labels: dict[str, str] = {}

    def take(_tag: int, begin: int, stop: int) -> None:
        refs = list(islice(varints(body, begin, stop), 2 * _MOST_LABELS + 1))
        if len(refs) > 2 * _MOST_LABELS:
            raise WireFlaw(f"a series has over {_MOST_LABELS} labels")
        if len(refs) % 2 or (refs and max(refs) >= len(symbols)):
            raise WireFlaw("a series refers to symbols that are not there")
        for name, text in zip(refs[::2], refs[1::2], strict=True):
            _add(labels, symbols[name], symbols[text])

    samples, others = _parts(body, start, end, most, take)
    return Series(labels, samples, others[_HISTOGRAMS_2], others[_EXEMPLARS_2])


def _parts(
    body: bytes, start: int, end: int, most: int, take_labels: Callable[[int, int, int], None]
) -> tuple[list[tuple[bytes, int]], dict[int, int]]:
    """The samples of a series of either version, and how many exemplars and histograms it has.

    ``take_labels`` is called with the indices at which each field of labels begins, its content
    begins, and it ends.
    """
    samples: list[tuple[bytes, int]] = []
    others = {_EXEMPLARS: 0, _HISTOGRAMS: 0}  # in 2.0 the two numbers are swapped
    tag = start
    for number, begin, stop in fields(body, start, end):
        if number == _LABELS:
            take_labels(tag, begin, stop)
        elif number == _SAMPLES:
            samples.append(_sample(body, begin, stop))
            if len(samples) > most:
                raise TooManySamples
        elif number in others:
            others[number] += 1
        tag = stop
    return samples, others


def _add(labels: dict[str, str], name: str, text: str) -> None:
    if not name or name in labels:
        raise WireFlaw(f"a series has a label {'twice' if name else 'without a name'}")
    if text:
        labels[name] = text


def _sample(body: bytes, start: int, end: int) -> tuple[bytes, int]:
    value, time_ms = _NO_VALUE, 0
    for number, begin, stop in fields(body, start, end):
        if number == _VALUE:
            value = body[begin:stop]
        elif number == _TIMESTAMP:
            time_ms, _ = varint(body, begin, stop)
    if len(value) != _DOUBLE.size:
        raise WireFlaw("the value of a sample has not 8 bytes")
    return value, signed(time_ms)
