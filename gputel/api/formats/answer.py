"""Answers that are lists: in the format asked for, compressed if asked, whole or streamed.

A list that ends soon is one body with its length and an entity tag. A longer one is sent while it
is read, in memory that does not grow with it. What fails before the status line is refused as any
request; what fails after it breaks the transfer off, so that a part is never taken for the whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any

from aiohttp import web
from marshmallow import Schema

from gputel.api.formats.encoder import ENCODERS, Encoder
from gputel.api.formats.media import Format
from gputel.api.formats.rows import encode_rows
from gputel.api.formats.shape import RECORD, Shape
from gputel.api.formats.streamed import streamed
from gputel.api.formats.whole import Asked, Headers, not_modified, whole, whole_unless_known
from gputel.store.read.records import Records
from gputel.threads import READING
from gputel.web.headers.etag import entity_tag, is_known

HELD_RECORDS = 10_000
"""Up to so many records are held until it is known whether more come; then they are one body."""

_IN_THREAD_RECORDS = 1_000  # fewer are encoded sooner than a thread is told to

Pieces = AsyncGenerator[Records, None]


async def answer_rows(
    request: web.Request,
    rows: Coroutine[Any, Any, Sequence[Any]],
    schema: type[Schema],
    headers: Headers = {},  # noqa: B006, it is read only
) -> web.Response:
    """A small list of rows, which are dicts or structs with the fields of ``schema``."""
    with closing(rows):  # a request that is refused reads none
        asked = Asked.by(request)
        with asked.timing.phase("store"):
            found = await rows
    with asked.timing.phase("encode"):
        body = await READING.run_if(
            len(found) > _IN_THREAD_RECORDS, encode_rows, found, schema, asked.format
        )
        tag = entity_tag([body])
        if is_known(request, tag):
            return not_modified(asked, tag, headers)
    return await whole(asked, body, tag, headers)


async def answer_records(
    request: web.Request,
    pieces: Pieces,
    *,
    shape: Shape = RECORD,
    known: Callable[[], Awaitable[None]] | None = None,
    headers: Headers = {},  # noqa: B006, it is read only
    held: int = HELD_RECORDS,
) -> web.StreamResponse:
    """All records of ``pieces``, which is closed at the end in any case.

    ``known`` raises where there can be none, as of an unknown GPU: it is asked when none come. At
    least ``held`` records are read before the headers are asked for, if so many there are: a
    ``headers`` that is called then can know what comes next. HEAD reads none.
    """
    async with aclosing(pieces):
        asked = Asked.by(request)
        if request.method == "HEAD":
            if known is not None:
                await known()
            return web.Response(headers=asked.headers(headers))
        with asked.timing.phase("store"):
            first, ended = await _gather(pieces, held)
            if not first and known is not None:
                await known()
        if ended and sum(map(len, first)) <= HELD_RECORDS:
            return await _whole_records(asked, first, shape, headers)
        encoder = ENCODERS[asked.format](shape)
        return await streamed(asked, encoder, first, pieces, headers)


async def _gather(pieces: Pieces, held: int) -> tuple[list[Records], bool]:
    """The first pieces, and whether they are all."""
    found, count = [], 0
    async for records in pieces:
        found.append(records)
        count += len(records)
        if count > held:
            return found, False
    return found, True


async def _whole_records(
    asked: Asked, found: Sequence[Records], shape: Shape, headers: Headers
) -> web.Response:
    async def encode() -> bytes:
        many = sum(map(len, found)) > _IN_THREAD_RECORDS
        return await READING.run_if(many, _encoded, ENCODERS[asked.format](shape), found)

    return await whole_unless_known(
        asked, _determining(asked.format, found, shape), headers, encode
    )


def _determining(chosen: Format, found: Sequence[Records], shape: Shape) -> Iterator[bytes]:
    """All that the bytes of the records depend on."""
    yield f"{chosen} {shape.names}".encode()
    for records in found:
        samples = records.samples
        for column in (samples.series_id, samples.ts, samples.value):
            yield column.tobytes()
        if not shape.ids_last:
            for series_id in dict.fromkeys(samples.series_id.tolist()):
                yield repr(tuple(shape.labels(records.series[series_id]))).encode()


def _encoded(encoder: Encoder, found: Sequence[Records]) -> bytes:
    return b"".join([encoder.start(), *map(encoder.add, found), encoder.end()])
