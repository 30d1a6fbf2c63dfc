"""Fields of messages of protocol buffers.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10


class WireFlaw(ValueError):
    """The body is no such message. The text says what is wrong."""


class FieldBudget:
    """Reads at most ``most`` fields, since each takes time, also one of two bytes."""

    def __init__(self, most: int) -> None:
        self._left = most

    def fields(self, body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """As ``fields``. Raises WireFlaw, also if there are too many."""
        for field in fields(body, at, end):
            self._left -= 1
            if self._left < 0:
                raise WireFlaw("it has mostly empty fields")
            yield field


def fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number of each field of a message, and the start and end of its content.

    The message is ``body[at:end]``. Raises WireFlaw.
    """
    while at < end:
        tag, at = varint(body, at, end)
        kind = tag & 7
        start = at
        if kind == _BYTES:
            size, start = varint(body, at, end)
            at = start + size
        elif kind == _VARINT:
            _, at = varint(body, at, end)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        else:
            raise WireFlaw(f"a field has the unknown wire type {kind}")
        if at > end:
            raise WireFlaw("a field is longer than its message: the body is cut off or damaged")
        yield tag >> 3, start, at


def varints(body: bytes, at: int, end: int) -> Iterator[int]:
    """The numbers of a packed field. Raises WireFlaw."""
    while at < end:
        number, at = varint(body, at, end)
        yield number


def varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and the index after it. Raises WireFlaw."""
    number = shift = 0
    for index in range(at, min(end, at + _MOST_VARINT_BYTES)):
        byte = body[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, index + 1
        shift += 7
    raise WireFlaw("a number has no end: the body is cut off or damaged")


def signed(number: int) -> int:
    """The int64 that a number stands for. Bits over the 64th do not count, as in other readers."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def text_of(body: bytes, start: int, end: int) -> str:
    """A field of text. Raises WireFlaw."""
    try:
        return body[start:end].decode()
    except UnicodeDecodeError:
        raise WireFlaw("a text is not UTF-8") from None
