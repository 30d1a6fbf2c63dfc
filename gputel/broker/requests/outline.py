"""A look at a large publish before it is decoded: how many messages, and how long their texts are.

A decoder makes the objects of a list, and a whole text, before it finds that there are too many of
them or that it is too long; so few bytes could take much memory.
"""

from __future__ import annotations

import threading
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from gputel.mq.wire.protocol import ABSENT, JSON, MAX_LIST, MAX_TEXT_LENGTH, MSGPACK

LARGE_BYTES = 1024 * 1024
"""A body below this is decoded at once: it cannot take much memory."""

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
    """Raise what a decoder raises for a publish with too many messages or too long texts."""
    if len(body) >= LARGE_BYTES:
        _count.left = MAX_LIST
        _DECODERS[content_type].decode(body)
