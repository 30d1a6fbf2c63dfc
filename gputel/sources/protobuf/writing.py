"""Fields of messages of protocol buffers, for answers.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations


def number_field(number: int, content: int) -> bytes:
    """A field with a number that is not negative."""
    return _varint(number << 3) + _varint(content)


def bytes_field(number: int, content: bytes) -> bytes:
    """A field with a text in UTF-8, or with a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
