"""What all requests for telemetry share: from their parameters to an answer, whole or a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from gputel.api.formats.answer import answer_records
from gputel.api.formats.shape import RECORD, grouped
from gputel.api.shared.keys import LIMITS, READER
from gputel.api.telemetry.paging import Page
from gputel.api.telemetry.schemas import LABEL_COLUMNS
from gputel.errors import BadRequest
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.selection import Selection
from gputel.store.read.telemetry import TelemetryQuery, telemetry
from gputel.store.read.time_order import Order
from gputel.store.rollup.buckets import Aggregate
from gputel.store.rollup.reader import StepQuery
from gputel.store.steps.steps import telemetry_by_step


async def answer_telemetry(
    request: web.Request,
    selection: Selection,
    known: Callable[[], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """The records of the series selected, as the parameters of ``RecordsQuery`` ask for them.

    ``known`` is asked where there are none.
    """
    wanted = request["querystring"]
    limit, after, steps = wanted.get("limit"), wanted.get("cursor"), _steps(wanted)
    groups = wanted.get("group_by")
    if after is not None and len(after.group) != (0 if groups is None else 1 + len(groups)):
        raise BadRequest("cursor: is of a request with another group_by; leave it out")
    asked = TelemetryQuery(
        selection,
        wanted.get("start_time", EARLIEST),
        wanted.get("end_time", LATEST),
        wanted.get("order", Order.NEWEST_FIRST),
        after,
        None if limit is None else limit + 1,
    )
    reader, limits = request.app[READER], request.app[LIMITS]
    if steps is None:
        pieces = telemetry(reader, asked, limits)
    else:
        pieces = telemetry_by_step(reader, asked, steps, limits)
    shape = RECORD if groups is None else grouped(["metric_name", *groups])
    if limit is None:
        return await answer_records(request, pieces, shape=shape, known=known)
    page = Page(pieces, limit, after, groups is not None)
    return await answer_records(
        request,
        page.records(),
        shape=shape,
        known=known,
        headers=lambda: page.link(request, wanted),
        held=limit,
    )


def _steps(wanted: Mapping[str, Any]) -> StepQuery | None:
    if "step" not in wanted:
        return None
    groups = wanted.get("group_by")
    columns = None if groups is None else tuple(LABEL_COLUMNS[name] for name in groups)
    aggregate, fill = wanted.get("agg", Aggregate.AVG), "fill" in wanted
    return StepQuery(wanted["step"], aggregate, group_by=columns, fill=fill)
