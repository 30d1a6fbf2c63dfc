"""The body of a push: its format, and its unpacked bytes."""

from __future__ import annotations

import zlib

import pyarrow as pa
from aiohttp import web

from gputel.api.push.formats import FORMATS, PROMETHEUS, PushFormat
from gputel.config.settings import ApiSettings
from gputel.errors import BadRequest, UnsupportedMediaType
from gputel.web.server.intake import BodyIntake, BoundNames

BOUNDS = BoundNames("--push-max-bytes of the api", "--push-requests-max-bytes of the api", "15 s")

_RECEIVE_S = 15.0
_GZIP_WINDOW = 31  # 32 KiB, with the header of gzip
_STEP = 256 * 1024
_MOST_MEMBERS = 1000  # members of gzip: each takes time, even an empty one
_BY_MEDIA_TYPE = {each.media_type: each for each in FORMATS}
_FORM = "application/x-www-form-urlencoded"  # what curl --data-binary says of any body


def make_intake(settings: ApiSettings) -> BodyIntake:
    """The room for the bodies of pushes that the settings give."""
    return BodyIntake(settings.push_requests_max_bytes, _RECEIVE_S, BOUNDS)


def format_of(request: web.Request) -> PushFormat:
    """The format that Content-Type names. Raises UnsupportedMediaType."""
    chosen = _BY_MEDIA_TYPE.get(request.content_type)
    if request.content_type == _FORM:
        chosen = PROMETHEUS
    if chosen is None or "Content-Type" not in request.headers:
        raise wrong_type(
            request, f"none of {', '.join(_BY_MEDIA_TYPE)}; name the one that the body is in"
        )
    return chosen


def wrong_type(request: web.Request, what: str) -> UnsupportedMediaType:
    """The refusal of a Content-Type; ``what`` says what it is, and should be."""
    content_type = request.headers.get("Content-Type", "")[:100]
    return UnsupportedMediaType(f"Content-Type: {content_type!r} is {what}")


def coding_of(request: web.Request) -> str:
    """The compression of the body: gzip, zstd or identity. Raises UnsupportedMediaType."""
    coding = ",".join(request.headers.getall("Content-Encoding", [])).strip().lower()
    coding = {"": "identity", "x-gzip": "gzip"}.get(coding, coding)
    if coding not in ("identity", "gzip", "zstd"):
        raise UnsupportedMediaType(
            f"Content-Encoding: {coding[:100]!r} is neither gzip nor zstd; send the body as it is"
        )
    return coding


def unpack(body: bytes, coding: str, max_bytes: int) -> bytes:
    """The unpacked body. Uses the CPU and blocks.

    Raises PayloadTooLarge if it has over ``max_bytes``, BadRequest if it is damaged.
    """
    if coding == "identity":
        return body
    try:
        return _UNPACK[coding](body, max_bytes)
    except (zlib.error, OSError, EOFError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadRequest(f"the body is not {coding}, as Content-Encoding says: {reason}") from None


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    out, packed = bytearray(), memoryview(body)
    for _ in range(_MOST_MEMBERS):
        packed = _member(packed, out, max_bytes)
        if not packed:
            return bytes(out)
    raise BadRequest(f"the body has over {_MOST_MEMBERS} members of gzip; compress it as one")


def _member(packed: memoryview, out: bytearray, max_bytes: int) -> memoryview:
    """Unpack the first member of gzip, and return the rest behind it."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    piece: bytes | memoryview = b""
    at = 0
    while not member.eof:
        # Only some bytes at a time, as zlib copies all input that it does not use yet.
        if not piece:
            piece = packed[at : at + _STEP]
            at += len(piece)
        data = member.decompress(piece, _STEP)
        if not data and not piece:
            raise EOFError("it is cut off")
        piece = member.unconsumed_tail
        out += data
        if len(out) > max_bytes:
            raise BOUNDS.too_large(max_bytes)
    return packed[at - len(member.unused_data) :]


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    out = bytearray()
    stream = pa.CompressedInputStream(pa.BufferReader(body), "zstd")
    while data := stream.read(_STEP):
        out += data
        if len(out) > max_bytes:
            raise BOUNDS.too_large(max_bytes)
    return bytes(out)


def _unsnappy(body: bytes, max_bytes: int) -> bytes:
    """A block of snappy, which begins with its unpacked size as a varint."""
    size = 0
    for index, byte in enumerate(body[:5]):
        size |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            break
    if size > max_bytes:
        raise BOUNDS.too_large(max_bytes)
    unpacked: bytes = pa.Codec("snappy").decompress(body, decompressed_size=size, asbytes=True)
    return unpacked


_UNPACK = {"gzip": _gunzip, "zstd": _unzstd, "snappy": _unsnappy}
