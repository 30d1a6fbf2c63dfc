"""The formats of a push. A format is registered here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gputel.api.formats.format import Format
from gputel.api.push.arrow import parse_arrow
from gputel.api.push.csv import parse_csv
from gputel.api.push.exposition import parse_openmetrics, parse_prometheus
from gputel.api.push.json import parse_json, parse_ndjson
from gputel.api.push.records import ParsedPush

Parse = Callable[[bytes, int, int], ParsedPush]
"""Parses a body of at most so many records; those without a time get that one (microseconds)."""


@dataclass(frozen=True)
class PushFormat:
    """A format: its name, its media type in Content-Type, and its parser."""

    name: str
    media_type: str
    parse: Parse


PROMETHEUS = PushFormat("prometheus", "text/plain", parse_prometheus)
OPENMETRICS = PushFormat("openmetrics", "application/openmetrics-text", parse_openmetrics)

FORMATS = (
    PushFormat(Format.JSON.value, Format.JSON.media_type, parse_json),
    PushFormat(Format.NDJSON.value, Format.NDJSON.media_type, parse_ndjson),
    PushFormat(Format.CSV.value, Format.CSV.media_type, parse_csv),
    PushFormat(Format.ARROW.value, Format.ARROW.media_type, parse_arrow),
    PROMETHEUS,
    OPENMETRICS,
)
