"""``GET /api/v1/stream``: what lands, as it lands."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web

from gputel import metrics
from gputel.api.formats.streamed import break_off, write
from gputel.api.shared.access import check_token
from gputel.api.shared.documented import answer, errors, headers, operation, query
from gputel.api.shared.filters import SeriesFilters, selection
from gputel.api.stream import events
from gputel.api.stream.place import Place
from gputel.api.stream.subscriber import Delivery, Gap, Lag, Subscriber
from gputel.api.stream.tail import TAIL, Tail
from gputel.errors import GputelError
from gputel.store.read.selection import Selection
from gputel.store.write.landing import LandingPosition, LandingsGone
from gputel.web.request_metrics import note_begun

_LAST_EVENT_ID = "Last-Event-ID"
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # which keeps nginx from holding events back
}


class StreamQuery(SeriesFilters):
    """Which series."""

    class Meta(SeriesFilters.Meta):
        """Of marshmallow."""

        exclude = ("format",)


@operation(
    "stream_telemetry",
    "telemetry",
    "Follow what lands",
    "Server-sent events, one for each record that lands from now on, its `data` the record as "
    "JSON. A client that comes back with the `Last-Event-ID` that it saw, and the same filters, "
    "gets what it missed, each record once, if that landed within `--stream-replay`; else an event "
    "`gap` comes first. An event `lag` says how many records were `dropped` because the client "
    "took them too slowly. A comment comes every 15 seconds in which nothing else does.",
    produces="text/event-stream",
)
@query(StreamQuery)
@headers(
    {
        "in": "header",
        "name": _LAST_EVENT_ID,
        "description": "The id of the last event that came, to go on after it.",
        "schema": {"type": "string", "format": "gputel-event-id"},
    }
)
@answer({"type": "string"}, 200, "Events, until the client or the server ends it.")
@errors(400, 503)
async def stream_telemetry(request: web.Request) -> web.StreamResponse:
    """Send events until the client leaves or the server stops."""
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    last = request.headers.get(_LAST_EVENT_ID)
    place = Place.parse(last) if last else None
    selected, tail = selection(request["querystring"]), request.app[TAIL]
    async with tail.subscribe(selected) as subscriber:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        note_begun(request, response.status)
        client = _Client(request, response, tail)
        try:
            await client.send(events.RETRY)
            if place is not None:
                await client.replay(place, selected, subscriber.start)
            elif not subscriber.whole:
                await client.send(events.GAP)
            await client.send(events.heartbeat(subscriber.position))
            await client.follow(subscriber)
        except GputelError as error:
            break_off(request, error)
    return response


class _Client:
    """Sends what one client gets."""

    def __init__(self, request: web.Request, response: web.StreamResponse, tail: Tail) -> None:
        self._request = request
        self._response = response
        self._tail = tail

    async def send(self, data: bytes) -> None:
        """Write, and wait for the client to take it."""
        await write(self._response, data)

    async def replay(self, place: Place, selected: Selection, until: LandingPosition) -> None:
        """What landed after a place and up to a position; a gap where it is gone."""
        try:
            async with aclosing(self._tail.replay(place, selected, until)) as deliveries:
                async for delivery in deliveries:
                    await self._deliver(delivery)
        except LandingsGone:
            await self.send(events.GAP)

    async def follow(self, subscriber: Subscriber) -> None:
        """What lands, until the subscriber is closed.

        Raises Unauthorized or Forbidden once the client's token is no longer good for it.
        """
        while True:
            item = await subscriber.take(self._tail.heartbeat_s)
            check_token(self._request)
            match item:
                case Delivery():
                    await self._deliver(item)
                case Lag():
                    metrics.API_STREAM_DROPPED.inc(item.dropped)
                    await self.send(events.lag(item))
                case Gap():
                    await self.send(events.GAP)
                case None if subscriber.closed:
                    return
                case None:
                    await self.send(events.heartbeat(subscriber.position))

    async def _deliver(self, delivery: Delivery) -> None:
        for data in self._tail.events.of(delivery):
            await self.send(data)
        metrics.API_STREAM_RECORDS.inc(len(delivery.records))
