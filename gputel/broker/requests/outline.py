"""Checks a large publish before it is decoded: the number of messages, and the length of texts.

A decoder makes all objects of a list, and a complete text, before it checks their number or its
length. So a small body could take much memory.
"""

from __future__ import annotations

import threading
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from gputel.mq.wire.protocol import ABSENT, JSON, MAX_LIST, MAX_TEXT_LENGTH, MSGPACK

LARGE_BYTES = 1024 * 1024
"""A smaller body is decoded at once: it cannot take much memory."""

_MAX_TEXT_BYTES = 12 * MAX_TEXT_LENGTH + 16  # JSON may write a character in 12 bytes


class _MessageCount(threading.local):
    left = 0


_count = _MessageCount()


class _Outline(Struct, forbid_unknown_fields=True):
    id: Raw = ABSENT
    key: Raw = ABSENT
    payload: Raw = ABSENT
    encoding: Raw = ABSENT
    metadata: Raw = ABSENT
    delay_s: Raw = ABSENT
    ttl_s: Raw = ABSENT

    def __post_init__(self) -> None:
        _count.left -= 1
        if _count.left < 0:
            raise ValueError(f"Expected `array` of length <= {MAX_LIST}")
        for name, text in (("id", self.id), ("key", self.key), ("encoding", self.encoding)):
            if text is not ABSENT and memoryview(text).nbytes > _MAX_TEXT_BYTES:
                raise ValueError(f"Expected `str` of length <= {MAX_TEXT_LENGTH} - at `$.{name}`")


_FORM: Any = _Outline | Annotated[list[_Outline], Meta(max_length=MAX_LIST)]
_DECODERS: dict[str, Any] = {
    JSON: msgspec.json.Decoder(_FORM),
    MSGPACK: msgspec.msgpack.Decoder(_FORM),
}


def check_outline(body: bytes, content_type: str) -> None:
    """Raise a decoder's error for a publish with too many messages or too long texts."""
    if len(body) >= LARGE_BYTES:
        _count.left = MAX_LIST
        _DECODERS[content_type].decode(body)
