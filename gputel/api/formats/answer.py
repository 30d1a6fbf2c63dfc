"""Answers that are lists: from the preferences of the request to bytes.

1. ``Preferences.of`` reads which format and which compression the request prefers.
2. ``FirstRecords.read`` reads the first records of the list.
3. ``answer_records`` sends a list that has ended by then as one body, which has a length and an
   entity tag. It streams a longer list while it is read, in memory that does not grow with it.

A failure before the status line is refused like that of any request. A failure after it breaks the
connection off, so that a client never takes a part for the complete list.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ETag, web
from marshmallow import Schema

from gputel.api.formats.compression import CODINGS, LEAST_BYTES, CompressedEncoder, compress
from gputel.api.formats.format import Encoder, Format
from gputel.api.formats.shape import RECORD, Shape
from gputel.api.formats.transfer import break_off, write
from gputel.errors import GputelError, NotAcceptable
from gputel.store.read.records import Records
from gputel.threads import READING
from gputel.web.headers import accept
from gputel.web.headers.timing import Timing

HELD_RECORDS = 10_000
"""The most records of an answer that is one body."""

NO_HEADERS: Mapping[str, str] = {}

_TAG_BYTES = 16
_ENCODED_FIRST = 2  # pieces that are encoded together before the headers are sent
# Less work than this takes less time than starting a thread.
_IN_THREAD_RECORDS = 1_000
_IN_THREAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Preferences:
    """How a request wants its answer, and how long the phases of the answer take."""

    request: web.Request
    format: Format
    coding: str | None
    """The compression; None for bytes as they are."""
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def of(cls, request: web.Request) -> Preferences:
        """Raises NotAcceptable if Accept allows no format."""
        chosen = _preferred_format(request)
        if chosen.is_compressed:
            return cls(request, chosen, None)
        encodings = request.headers.getall("Accept-Encoding", [])
        return cls(request, chosen, accept.coding(encodings, CODINGS))

    def headers(self, more: Mapping[str, str] = NO_HEADERS) -> dict[str, str]:
        """The headers of the answer."""
        return {
            "Content-Type": self.format.content_type,
            "Vary": "Accept, Accept-Encoding",
            "Server-Timing": self.timing.header(),
            **more,
        }

    def not_modified(
        self, tag: ETag, headers: Mapping[str, str] = NO_HEADERS
    ) -> web.Response | None:
        """A 304 if the client has the answer with this tag already, else None."""
        if not any(known.value in (tag.value, "*") for known in self.request.if_none_match or ()):
            return None
        response = web.Response(status=304, headers=self.headers(headers))
        del response.headers["Content-Type"]
        response.etag = tag
        return response

    async def complete(
        self, body: bytes, tag: ETag, headers: Mapping[str, str] = NO_HEADERS
    ) -> web.Response:
        """The answer in one body, compressed if that gains something."""
        coding = self.coding if len(body) >= LEAST_BYTES else None
        if coding is not None:
            with self.timing.phase("compress"):
                body = await READING.run_if(len(body) > _IN_THREAD_BYTES, compress, coding, body)
        response = web.Response(body=body, headers=self.headers(headers))
        response.etag = tag
        if coding is not None:
            response.headers["Content-Encoding"] = coding
        return response


@dataclass(frozen=True)
class FirstRecords:
    """The first records of a list."""

    pieces: Sequence[Records] = ()
    ended: bool = True
    """Whether they are all records of the list."""

    @classmethod
    async def read(cls, pieces: AsyncGenerator[Records, None], count: int) -> FirstRecords:
        """Read until there are more than ``count`` records, or no more come."""
        first: list[Records] = []
        async for records in pieces:
            first.append(records)
            if sum(map(len, first)) > count:
                return cls(first, ended=False)
        return cls(first)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


async def answer_rows(
    request: web.Request, rows: Coroutine[Any, Any, Sequence[Any]], schema: type[Schema]
) -> web.Response:
    """A small list of rows, which are dicts or structs with the fields of ``schema``."""
    with closing(rows):  # nothing is read for a request that is refused
        preferences = Preferences.of(request)
        with preferences.timing.phase("store"):
            complete = await rows
    with preferences.timing.phase("encode"):
        body = await READING.run_if(
            len(complete) > _IN_THREAD_RECORDS, preferences.format.encode_rows, complete, schema
        )
        tag = entity_tag([body])
        if response := preferences.not_modified(tag):
            return response
    return await preferences.complete(body, tag)


async def answer_records(
    preferences: Preferences,
    first: FirstRecords,
    rest: AsyncGenerator[Records, None],
    shape: Shape = RECORD,
    headers: Mapping[str, str] = NO_HEADERS,
) -> web.StreamResponse:
    """The first records, and those of ``rest`` if the first are not all."""
    if first.ended and len(first) <= HELD_RECORDS:
        return await _complete(preferences, first, shape, headers)
    return await _stream(preferences, first, rest, shape, headers)


async def _complete(
    preferences: Preferences, records: FirstRecords, shape: Shape, headers: Mapping[str, str]
) -> web.Response:
    with preferences.timing.phase("encode"):
        tag = entity_tag(_determining(preferences.format, records.pieces, shape))
        if response := preferences.not_modified(tag, headers):
            return response
        encoder = preferences.format.new_encoder(shape)
        large = len(records) > _IN_THREAD_RECORDS
        body = await READING.run_if(large, _encode, encoder, records.pieces)
    return await preferences.complete(body, tag, headers)


async def _stream(
    preferences: Preferences,
    first: FirstRecords,
    rest: AsyncGenerator[Records, None],
    shape: Shape,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    encoder = preferences.format.new_encoder(shape)
    if preferences.coding is not None:
        encoder = CompressedEncoder(encoder, preferences.coding)
        headers = {**headers, "Content-Encoding": preferences.coding}
    with preferences.timing.phase("encode"):
        data = await READING.run(_begin, encoder, first.pieces[:_ENCODED_FIRST])
    response = web.StreamResponse(headers=preferences.headers(headers))
    await response.prepare(preferences.request)
    try:
        await write(response, data)
        for records in first.pieces[_ENCODED_FIRST:]:
            await write(response, await READING.run(encoder.add, records))
        if not first.ended:
            async for records in rest:
                await write(response, await READING.run(encoder.add, records))
        await write(response, await READING.run(encoder.end))
    except GputelError as error:
        break_off(preferences.request, error)
    return response


def _preferred_format(request: web.Request) -> Format:
    """The format that ``format=`` names, else the one that Accept prefers."""
    named = request.get("querystring", {}).get("format")
    if named is not None:
        return Format(named)
    header = request.headers.getall("Accept", [])
    by_media_type = {each.media_type: each for each in Format}
    media_type = accept.media_type(header, list(by_media_type))
    if media_type is None:
        raise NotAcceptable(
            f"Accept: {', '.join(header)[:200]!r} takes none of {', '.join(by_media_type)}; "
            "ask for one of them, or add format=json to the query"
        )
    return by_media_type[media_type]


def entity_tag(parts: Iterable[bytes | memoryview]) -> ETag:
    """A weak tag of an answer, from all that its bytes depend on before they are compressed."""
    digest = hashlib.blake2b(digest_size=_TAG_BYTES)
    for part in parts:
        digest.update(part)
    return ETag(digest.hexdigest(), is_weak=True)


def _determining(chosen: Format, pieces: Sequence[Records], shape: Shape) -> Iterator[bytes]:
    """All that the bytes of the records depend on."""
    yield f"{chosen} {shape.names}".encode()
    for records in pieces:
        samples = records.samples
        for column in (samples.series_id, samples.ts, samples.value):
            yield column.tobytes()
        if not shape.ids_last:
            for series_id in dict.fromkeys(samples.series_id.tolist()):
                yield repr(tuple(shape.labels(records.series[series_id]))).encode()


def _begin(encoder: Encoder, pieces: Sequence[Records]) -> bytes:
    return b"".join([encoder.start(), *map(encoder.add, pieces)])


def _encode(encoder: Encoder, pieces: Sequence[Records]) -> bytes:
    return _begin(encoder, pieces) + encoder.end()
