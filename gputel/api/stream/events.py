"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gputel.api.formats.text import NdjsonRecords
from gputel.api.stream.position import StreamPosition
from gputel.api.stream.subscriber import ClientRecords, Lag
from gputel.store.read.records import Records
from gputel.store.write.recent_landings import LandingPosition

RETRY = b"retry: 2000\n\n"
"""Milliseconds that a client waits before it connects again."""

_AT_ONCE = 500  # records encoded in one go, as encoding blocks the event loop
_MOST_SERIES = 50_000


class RecordEvents:
    """Encodes records as events. Keeps the encoded labels of series, for all clients."""

    def __init__(self) -> None:
        self._lines = NdjsonRecords()

    def of(self, delivery: ClientRecords) -> Iterator[bytes]:
        """One event for each record, some at a time. It has an id, and the record as JSON."""
        positions = delivery.positions()
        records = delivery.records
        for start in range(0, len(records), _AT_ONCE):
            if self._lines.series_met > _MOST_SERIES:
                self._lines = NdjsonRecords()
            piece = Records(records.samples.take(slice(start, start + _AT_ONCE)), records.series)
            lines = self._lines.add(piece).splitlines()
            yield b"".join(
                b"id: %b\ndata: %b\n\n" % (str(position).encode(), line)
                for line, position in zip(lines, positions, strict=False)
            )


def lag(event: Lag) -> bytes:
    """An event that says how many records the client lost because it was too slow."""
    return _named("lag", {"dropped": event.dropped})


def heartbeat(position: LandingPosition | None) -> bytes:
    """Bytes that keep the connection alive, and that a client shows to nobody.

    With a position they also set the id that the client sends when it connects again.
    """
    event_id = b"" if position is None else b"id: %b\n" % str(StreamPosition(position)).encode()
    return event_id + b": the stream is alive\n\n"


def _named(name: str, content: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(content))


GAP = _named(
    "gap",
    {
        "message": "some records may be missing here, as they were not kept: read those since the "
        "last one from /api/v1/telemetry"
    },
)
"""An event that says that records may be missing at this point."""
