"""The body of a push: which format it is in, and its bytes once they are unpacked."""

from __future__ import annotations

import zlib

import pyarrow as pa
from aiohttp import web

from gputel.api.formats.format import Format
from gputel.config.settings import ApiSettings
from gputel.errors import BadRequest, UnsupportedMediaType
from gputel.web.server.intake import Intake, Told

FORMATS = (Format.JSON, Format.NDJSON, Format.CSV, Format.ARROW)
"""In which records are taken."""

TOLD = Told("--push-max-bytes of the api", "--push-requests-max-bytes of the api", "15 s")

_RECEIVE_S = 15.0
_GZIP_WINDOW = 31  # 32 KiB, with the header of gzip
_STEP = 256 * 1024
_MOST_MEMBERS = 1000  # of gzip: each costs time, also if nothing is in it
_BY_MEDIA_TYPE = {each.media_type: each for each in FORMATS}


def make_intake(settings: ApiSettings) -> Intake:
    """Room for the bodies of pushes, as the settings say."""
    return Intake(settings.push_requests_max_bytes, _RECEIVE_S, TOLD)


def format_of(request: web.Request) -> Format:
    """The format that Content-Type names. Raises UnsupportedMediaType."""
    found = _BY_MEDIA_TYPE.get(request.content_type)
    if found is None or "Content-Type" not in request.headers:
        given = request.headers.get("Content-Type", "")[:100]
        raise UnsupportedMediaType(
            f"Content-Type: {given!r} is none of {', '.join(_BY_MEDIA_TYPE)}; name the one that "
            "the body is in"
        )
    return found


def coding_of(request: web.Request) -> str:
    """What the body is compressed with: gzip, zstd or identity. Raises UnsupportedMediaType."""
    coding = ",".join(request.headers.getall("Content-Encoding", [])).strip().lower()
    coding = {"": "identity", "x-gzip": "gzip"}.get(coding, coding)
    if coding not in ("identity", "gzip", "zstd"):
        raise UnsupportedMediaType(
            f"Content-Encoding: {coding[:100]!r} is neither gzip nor zstd; send the body as it is"
        )
    return coding


def unpack(body: bytes, coding: str, max_bytes: int) -> bytes:
    """The body unpacked, up to ``max_bytes`` of it; holds the CPU.

    Raises PayloadTooLarge for more, BadRequest for what is damaged.
    """
    if coding == "identity":
        return body
    try:
        return _gunzip(body, max_bytes) if coding == "gzip" else _unzstd(body, max_bytes)
    except (zlib.error, OSError, EOFError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadRequest(f"the body is not {coding}, as Content-Encoding says: {reason}") from None


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    out, packed = bytearray(), memoryview(body)
    for _ in range(_MOST_MEMBERS):
        packed = _member(packed, out, max_bytes)
        if not packed:
            return bytes(out)
    raise BadRequest(
        f"the body has over {_MOST_MEMBERS} members of gzip, one behind the other; compress it as "
        "one"
    )


def _member(packed: memoryview, out: bytearray, max_bytes: int) -> memoryview:
    """Unpack the first member of gzip; what is behind it."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    piece: bytes | memoryview = b""
    at = 0
    while not member.eof:
        # Some bytes at a time, as zlib copies all that it is given and has no use for yet.
        if not piece:
            piece = packed[at : at + _STEP]
            at += len(piece)
        data = member.decompress(piece, _STEP)
        if not data and not piece:
            raise EOFError("it ends in its middle")
        piece = member.unconsumed_tail
        out += data
        if len(out) > max_bytes:
            raise TOLD.too_large(max_bytes)
    return packed[at - len(member.unused_data) :]


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    out = bytearray()
    stream = pa.CompressedInputStream(pa.BufferReader(body), "zstd")
    while data := stream.read(_STEP):
        out += data
        if len(out) > max_bytes:
            raise TOLD.too_large(max_bytes)
    return bytes(out)
