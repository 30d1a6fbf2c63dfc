"""Bodies of Prometheus' remote write, written field by field."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


@dataclass
class Written:
    """A series: its labels with ``__name__``, and samples as value and time in ms."""

    labels: dict[str, str]
    samples: Sequence[tuple[float, int]]
    histograms: int = 0
    exemplars: int = field(default=0)


def write_request(series: Iterable[Written], *, leave_out_zeros: bool = True) -> bytes:
    """A WriteRequest of 1.0, as Prometheus writes it: it leaves out values and times of zero."""
    out = b""
    for each in series:
        inner = b"".join(
            block(1, block(1, name.encode()) + block(2, text.encode()))
            for name, text in each.labels.items()
        )
        inner += b"".join(block(2, sample(*at, leave_out_zeros)) for at in each.samples)
        inner += block(3, b"") * each.exemplars + block(4, b"") * each.histograms
        out += block(1, inner)
    return out + block(3, b"\x08\x01")  # metadata


def request_2(series: Iterable[Written]) -> bytes:
    """A Request of 2.0."""
    symbols = [""]
    out = b""
    for each in series:
        refs = b""
        for text in (text for pair in each.labels.items() for text in pair):
            if text not in symbols:
                symbols.append(text)
            refs += varint(symbols.index(text))
        inner = block(1, refs) + b"".join(block(2, sample(*at, True)) for at in each.samples)
        inner += block(3, b"") * each.histograms + block(4, b"") * each.exemplars
        out += block(5, inner + block(5, b"\x08\x01"))
    return b"".join(block(4, text.encode()) for text in symbols) + out


def snappy(body: bytes) -> bytes:
    """The body as a block of snappy."""
    packed: bytes = pa.Codec("snappy").compress(body, asbytes=True)
    return packed


def sample(value: float, time_ms: int, leave_out_zeros: bool) -> bytes:
    """A Sample."""
    bits = struct.pack("<d", value)
    out = b"" if leave_out_zeros and not any(bits) else b"\x09" + bits
    return out if leave_out_zeros and not time_ms else out + b"\x10" + varint(time_ms)


def block(number: int, content: bytes) -> bytes:
    """A field with content."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A number; negative ones have ten bytes."""
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])
