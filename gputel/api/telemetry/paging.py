"""Pages of an answer: where one ends, and how the request for the next one names that place.

The name is the text of ``cursor=``: MessagePack in base64url, which clients pass on as it is. It
stands for a position in the order of the records, not for a number of records. So records that
land between two requests shift no page.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from aiohttp import web

from gputel import times
from gputel.api.formats.answer import FirstRecords
from gputel.store.blocks.samples import micros
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.records import Records
from gputel.store.read.time_order import Position
from gputel.web.base_path import base_path_of

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    ts_us: Annotated[int, msgspec.Meta(ge=micros(EARLIEST), le=micros(LATEST))]
    series_id: _Integer
    value: float
    nth: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    group: tuple[str, ...]


def encode_cursor(position: Position) -> str:
    """The text that stands for a position."""
    cursor = _Cursor(*(getattr(position, name) for name in _Cursor.__struct_fields__))
    return urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str) -> Position:
    """The position. Raises ValueError with advice if the text is not one of ours."""
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        cursor = msgspec.msgpack.decode(raw, type=_Cursor)
    except (ValueError, msgspec.MsgspecError):
        raise ValueError(
            f"{text!r} does not come from a Link header; take it from there as it is, or leave it "
            "out to begin with the first page"
        ) from None
    return Position(*msgspec.structs.astuple(cursor))


def cut_page(
    records: FirstRecords, limit: int, after: Position | None, of_groups: bool
) -> tuple[FirstRecords, Position | None]:
    """The first ``limit`` of the records, and where they end; None instead if they are all.

    ``after`` is the position behind which the records begin. ``of_groups`` says that the labels
    of their series are those of groups.
    """
    if len(records) <= limit:
        return records, None
    page: list[Records] = []
    left = limit
    for piece in records.pieces:
        cut = Records(piece.samples.take(slice(left)), piece.series)
        if len(cut):
            page.append(cut)
            left -= len(cut)
    return FirstRecords(page), _end_of(page, after, of_groups)


def _end_of(page: Sequence[Records], position: Position | None, of_groups: bool) -> Position | None:
    for records in page:
        position = Position.of_last(records.samples, position)
        if of_groups:
            # The numbers of groups differ from page to page, their labels do not.
            labels: Any = records.series[position.series_id]
            position = replace(position, group=labels)
    return position


def next_page(request: web.Request, end: Position) -> dict[str, str]:
    """The Link header with the address of the page that begins behind ``end``.

    The address has no host, so it is right behind any proxy, but it has the path under which a
    proxy shows the API. Times relative to now become the times that they were for this page.
    """
    parameters = request["querystring"]
    pinned = {
        name: times.rfc3339(parameters[name])
        for name in ("start_time", "end_time")
        if request.query.get(name, "").startswith("now")
    }
    url = request.rel_url.update_query(cursor=encode_cursor(end), **pinned)
    return {"Link": f'<{base_path_of(request)}{url.raw_path_qs}>; rel="next"'}
