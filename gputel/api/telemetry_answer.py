"""What all requests for telemetry share: from their parameters to an answer, whole or a page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from gputel.api.formats.answer import answer_records
from gputel.api.keys import READER
from gputel.api.paging import Page
from gputel.store.reader import EARLIEST, LATEST, Reader
from gputel.store.records import Records
from gputel.store.rollup import Aggregate
from gputel.store.rollup_reader import Steps, telemetry_by_step
from gputel.store.selection import Selection
from gputel.store.telemetry import Asked, telemetry
from gputel.store.time_order import Order


async def answer_telemetry(
    request: web.Request,
    selection: Selection,
    known: Callable[[], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """The records of the series selected, as the parameters of ``RecordsQuery`` ask for them.

    ``known`` is asked where there are none.
    """
    wanted = request["querystring"]
    limit, after = wanted.get("limit"), wanted.get("cursor")
    asked = Asked(
        selection,
        wanted.get("start_time", EARLIEST),
        wanted.get("end_time", LATEST),
        wanted.get("order", Order.NEWEST_FIRST),
        after,
        None if limit is None else limit + 1,
    )
    pieces = _pieces(request.app[READER], asked, wanted)
    if limit is None:
        return await answer_records(request, pieces, known=known)
    page = Page(pieces, limit, after)
    return await answer_records(
        request,
        page.records(),
        known=known,
        headers=lambda: page.link(request, wanted),
        held=limit,
    )


def _pieces(
    reader: Reader, asked: Asked, wanted: Mapping[str, Any]
) -> AsyncGenerator[Records, None]:
    if "step" not in wanted:
        return telemetry(reader, asked)
    steps = Steps(wanted["step"], wanted.get("agg", Aggregate.AVG))
    return telemetry_by_step(reader, asked, steps)
