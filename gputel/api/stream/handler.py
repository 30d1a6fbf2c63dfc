"""``GET /api/v1/stream``: records, as soon as they are stored."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web

from gputel import metrics
from gputel.api.formats.transfer import break_off, write
from gputel.api.shared.access import check_token
from gputel.api.shared.documented import answer, errors, headers, operation, query
from gputel.api.shared.filters import SeriesFilters, selection
from gputel.api.stream import events
from gputel.api.stream.position import StreamPosition
from gputel.api.stream.subscriber import ClientRecords, Gap, Lag, Subscriber
from gputel.api.stream.tail import TAIL, Tail
from gputel.errors import GputelError
from gputel.store.read.selection import Selection
from gputel.store.write.recent_landings import LandingPosition, LandingsGone
from gputel.web.request_metrics import note_begun

_LAST_EVENT_ID = "Last-Event-ID"
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx does not buffer events then
}


class StreamQuery(SeriesFilters):
    """Filters of series."""

    class Meta(SeriesFilters.Meta):
        """Options of marshmallow."""

        exclude = ("format",)


@operation(
    "stream_telemetry",
    "telemetry",
    "Follow new records",
    "Server-sent events, one for each record that is stored from now on. The `data` of an event is "
    "the record as JSON. A client that connects again with the same filters and the "
    "`Last-Event-ID` of the last event gets the records that it missed, each once, if they were "
    "stored within `--stream-replay`. If they were not, it gets an event `gap` first. An event "
    "`lag` says how many records were `dropped` because the client was too slow. If there is "
    "nothing to send for 15 seconds, a comment is sent.",
    produces="text/event-stream",
)
@query(StreamQuery)
@headers(
    {
        "in": "header",
        "name": _LAST_EVENT_ID,
        "description": "The id of the last event, to continue after it.",
        "schema": {"type": "string", "format": "gputel-event-id"},
    }
)
@answer({"type": "string"}, 200, "Events, until the client or the server closes the connection.")
@errors(400, 503)
async def stream_telemetry(request: web.Request) -> web.StreamResponse:
    """Send events until the client leaves or the server stops."""
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    last = request.headers.get(_LAST_EVENT_ID)
    position = StreamPosition.parse(last) if last else None
    series, tail = selection(request["querystring"]), request.app[TAIL]
    async with tail.subscribe(series) as subscriber:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        note_begun(request, response.status)
        sender = _EventSender(request, response, tail)
        try:
            await sender.send(events.RETRY)
            if position is not None:
                await sender.replay(position, series, subscriber.start)
            elif not subscriber.is_complete:
                await sender.send(events.GAP)
            await sender.send(events.heartbeat(subscriber.position))
            await sender.follow(subscriber)
        except GputelError as error:
            break_off(request, error)
    return response


class _EventSender:
    """Sends events to one client."""

    def __init__(self, request: web.Request, response: web.StreamResponse, tail: Tail) -> None:
        self._request = request
        self._response = response
        self._tail = tail

    async def send(self, data: bytes) -> None:
        """Write, and wait for the client to take it."""
        await write(self._response, data)

    async def replay(
        self, position: StreamPosition, series: Selection, until: LandingPosition
    ) -> None:
        """Send the records after ``position`` and up to ``until``; a gap if they are gone."""
        try:
            async with aclosing(self._tail.replay(position, series, until)) as deliveries:
                async for delivery in deliveries:
                    await self._deliver(delivery)
        except LandingsGone:
            await self.send(events.GAP)

    async def follow(self, subscriber: Subscriber) -> None:
        """Send new records until the subscriber is closed.

        Raises Unauthorized or Forbidden when the client's token is no longer valid.
        """
        while True:
            item = await subscriber.take(self._tail.heartbeat_s)
            check_token(self._request)
            match item:
                case ClientRecords():
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

    async def _deliver(self, delivery: ClientRecords) -> None:
        for data in self._tail.events.of(delivery):
            await self.send(data)
        metrics.API_STREAM_RECORDS.inc(len(delivery.records))
