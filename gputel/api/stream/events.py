"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gputel.api.formats.text import NdjsonRecords
from gputel.api.stream.place import Place
from gputel.api.stream.subscriber import Delivery, Lag
from gputel.store.read.records import Records
from gputel.store.write.landing import LandingPosition

RETRY = b"retry: 2000\n\n"
"""How long a client that was cut off waits until it comes back, milliseconds."""

_AT_ONCE = 500  # records, as encoding them holds the event loop
_MOST_MET = 50_000


class RecordEvents:
    """Records as events; it remembers the encoded labels of series, for all clients."""

    def __init__(self) -> None:
        self._lines = NdjsonRecords()

    def of(self, delivery: Delivery) -> Iterator[bytes]:
        """An event a record, some at a time: its id, and the record as JSON."""
        places = delivery.places()
        records = delivery.records
        for start in range(0, len(records), _AT_ONCE):
            if self._lines.series_met > _MOST_MET:
                self._lines = NdjsonRecords()
            piece = Records(records.samples.take(slice(start, start + _AT_ONCE)), records.series)
            lines = self._lines.add(piece).splitlines()
            yield b"".join(
                b"id: %b\ndata: %b\n\n" % (str(place).encode(), line)
                for line, place in zip(lines, places, strict=False)
            )


def lag(event: Lag) -> bytes:
    """The client was too slow for so many records."""
    return _named("lag", {"dropped": event.dropped})


def heartbeat(position: LandingPosition | None) -> bytes:
    """Nothing that a client is told of, but perhaps for the id to come back with."""
    known = b"" if position is None else b"id: %b\n" % str(Place(position)).encode()
    return known + b": the stream is alive\n\n"


def _named(name: str, content: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(content))


GAP = _named(
    "gap",
    {
        "message": "some records may be missing here, as they were not kept: read those since the "
        "last one from /api/v1/telemetry"
    },
)
"""Some records are missing here."""
