"""The metadata of a message: any object within bounds, stored as MessagePack.

Its bytes are checked before they are decoded, with the same bounds in both encodings. So every
consumer can decode what was accepted, in any thread and with little memory.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gputel.broker.requests.structure import StructureLimits, TooComplex, check_json, check_msgpack
from gputel.mq.wire.protocol import (
    JSON,
    MAX_METADATA_BYTES,
    MAX_METADATA_ENTRIES,
    MAX_METADATA_LEVELS,
    MSGPACK,
    UNREADABLE,
)

NONE = b"\x80"
"""Empty metadata, as it is stored."""

_BOUNDS = StructureLimits(MAX_METADATA_LEVELS, MAX_METADATA_ENTRIES)
_NULL = {JSON: b"null", MSGPACK: b"\xc0"}
_MOST_BYTES = {JSON: 6 * MAX_METADATA_BYTES, MSGPACK: MAX_METADATA_BYTES}
_CHECK = {JSON: check_json, MSGPACK: check_msgpack}

Plain = dict[str, bool | int | float | str | None]


def _refuse_extension(code: int, _data: memoryview) -> None:
    raise msgspec.DecodeError(f"MessagePack extension type {code} is not understood")


_PLAIN: dict[str, Any] = {
    JSON: msgspec.json.Decoder(Plain),
    MSGPACK: msgspec.msgpack.Decoder(Plain),
}
_ANY: dict[str, Any] = {
    JSON: msgspec.json.Decoder(dict[str, Any]),
    MSGPACK: msgspec.msgpack.Decoder(dict[str, Any], ext_hook=_refuse_extension),
}
_pack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode


def packed(raw: msgspec.Raw, content_type: str) -> bytes:
    """The stored form of metadata that came in a request.

    Raises ValueError or an error of a decoder; its text says what is wrong with the metadata.
    """
    data = bytes(raw)
    _check_size(data, _MOST_BYTES[content_type])
    try:
        plain = _PLAIN[content_type].decode(data)  # fails at the first nested list or object
        kept = _pack(plain)
    except UNREADABLE:
        return _packed_nested(data, content_type)
    _BOUNDS.check(1, len(plain))
    return _check_size(kept, MAX_METADATA_BYTES)


def _packed_nested(data: bytes, content_type: str) -> bytes:
    if data == _NULL[content_type]:  # as some languages write an object that was never made
        return NONE
    _CHECK[content_type](data, _BOUNDS)
    value = _ANY[content_type].decode(data)
    _to_json(value)  # a consumer may read it in JSON
    return _check_size(_pack(value), MAX_METADATA_BYTES)


def _check_size(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise TooComplex(f"is over {MAX_METADATA_BYTES} bytes")
    return data


def is_sound(kept: bytes) -> bool:
    """Whether stored metadata is within the bounds; an earlier gputel may have stored more."""
    return kept == NONE or _json_of(kept) is not None


def as_json(kept: bytes) -> msgspec.Raw:
    """Stored metadata as JSON text; ``null`` when it is not sound."""
    return _NO_JSON if kept == NONE else msgspec.Raw(_json_of(kept) or b"null")


def as_msgpack(kept: bytes) -> msgspec.Raw:
    """Stored metadata as MessagePack; nil when it is not sound."""
    return msgspec.Raw(kept if is_sound(kept) else b"\xc0")


def _json_of(kept: bytes) -> bytes | None:
    try:
        return _to_json(_PLAIN[MSGPACK].decode(kept))
    except UNREADABLE:
        pass  # it is nested, or not sound
    try:
        check_msgpack(kept, _BOUNDS)
        return _to_json(_ANY[MSGPACK].decode(kept))
    except UNREADABLE:
        return None


_NO_JSON = msgspec.Raw(b"{}")
