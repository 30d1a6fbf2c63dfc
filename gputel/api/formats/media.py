"""The formats of an answer, and which of them a request asks for."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from gputel.errors import NotAcceptable
from gputel.web.headers import accept


class Format(StrEnum):
    """How a list of records is written; the value is that of ``format=``."""

    JSON = "json"
    NDJSON = "ndjson"  # one JSON object a line
    CSV = "csv"  # with the columns of a DCGM export
    ARROW = "arrow"  # Arrow's IPC stream
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """What Content-Type and Accept call it."""
        return MEDIA_TYPES[self]

    @property
    def content_type(self) -> str:
        """The whole Content-Type header."""
        text = self in (Format.JSON, Format.NDJSON, Format.CSV)
        return f"{self.media_type}; charset=utf-8" if text else self.media_type

    @property
    def is_compressed(self) -> bool:
        """Whether compressing it again would gain nothing."""
        return self is Format.PARQUET


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.NDJSON: "application/x-ndjson",
    Format.CSV: "text/csv",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.PARQUET: "application/vnd.apache.parquet",
}
_BY_MEDIA_TYPE = {media_type: chosen for chosen, media_type in MEDIA_TYPES.items()}


def asked_format(request: web.Request) -> Format:
    """The format that ``format=`` names, else the one that Accept likes best.

    Raises NotAcceptable where Accept takes none of them.
    """
    named = request.get("querystring", {}).get("format")
    if named is not None:
        return Format(named)
    header = request.headers.getall("Accept", [])
    found = accept.media_type(header, list(_BY_MEDIA_TYPE))
    if found is None:
        raise NotAcceptable(
            f"Accept: {', '.join(header)[:200]!r} takes none of {', '.join(_BY_MEDIA_TYPE)}; "
            "ask for one of them, or add format=json to the query"
        )
    return _BY_MEDIA_TYPE[found]
