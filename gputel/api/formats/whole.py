"""How a request wants its answer, and answers that are one body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from gputel.api.formats.compression import LEAST_BYTES, asked_coding, compress
from gputel.api.formats.media import Format, asked_format
from gputel.threads import READING
from gputel.web.headers.etag import entity_tag, is_known
from gputel.web.headers.timing import Timing

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]

_IN_THREAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Asked:
    """How a request wants its answer."""

    request: web.Request
    format: Format
    coding: str | None
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def by(cls, request: web.Request) -> Asked:
        """Raises NotAcceptable where no format fits."""
        chosen = asked_format(request)
        return cls(request, chosen, None if chosen.is_compressed else asked_coding(request))

    def headers(self, more: Headers) -> dict[str, str]:
        """Those of every answer."""
        return {
            "Content-Type": self.format.content_type,
            "Vary": "Accept, Accept-Encoding",
            "Server-Timing": self.timing.header(),
            **(more() if callable(more) else more),
        }


def not_modified(asked: Asked, tag: str, headers: Headers) -> web.Response:
    """That the client has this answer already."""
    kept = {**asked.headers(headers), "ETag": tag}
    del kept["Content-Type"]
    return web.Response(status=304, headers=kept)


async def whole_unless_known(
    asked: Asked,
    determining: Iterable[bytes | memoryview],
    headers: Headers,
    encode: Callable[[], Awaitable[bytes]],
) -> web.Response:
    """One body, made of what determines it only if the client has not got it already."""
    with asked.timing.phase("encode"):
        tag = entity_tag(determining)
        if is_known(asked.request, tag):
            return not_modified(asked, tag, headers)
        body = await encode()
    return await whole(asked, body, tag, headers)


async def whole(asked: Asked, body: bytes, tag: str, headers: Headers) -> web.Response:
    """One body, compressed where that gains something."""
    coding = asked.coding if len(body) >= LEAST_BYTES else None
    if coding is not None:
        with asked.timing.phase("compress"):
            body = await READING.run_if(len(body) > _IN_THREAD_BYTES, compress, coding, body)
    given = {**asked.headers(headers), "ETag": tag}
    if coding is not None:
        given["Content-Encoding"] = coding
    return web.Response(body=body, headers=given)
