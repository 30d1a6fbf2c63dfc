"""Where the next page begins, as the opaque text of ``cursor=``: base64url of MessagePack.

It names a place in the order of the records, not their number: records that land meanwhile shift
no page.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from typing import Annotated

import msgspec

from gputel.store.blocks.samples import micros
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.time_order import Position

_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    ts_us: Annotated[int, msgspec.Meta(ge=micros(EARLIEST), le=micros(LATEST))]
    series_id: _Whole
    value: float
    nth: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    group: tuple[str, ...]


def encode(position: Position) -> str:
    """The text that stands for a position."""
    cursor = _Cursor(*(getattr(position, name) for name in _Cursor.__struct_fields__))
    return urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode(text: str) -> Position:
    """The position. Raises ValueError saying what to do where the text is not one of ours."""
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        found = msgspec.msgpack.decode(raw, type=_Cursor)
    except (ValueError, msgspec.MsgspecError):
        raise ValueError(
            f"{text!r} is none that a Link header gave; take it from there as it is, or leave it "
            "out to begin with the first page"
        ) from None
    return Position(*msgspec.structs.astuple(found))
