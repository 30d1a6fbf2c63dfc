"""One page of an answer, and the way to the next."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from aiohttp import web

from gputel import times
from gputel.api.telemetry import cursor
from gputel.store.read.records import Records
from gputel.store.read.time_order import Position
from gputel.web.headers.links import next_page


class Page:
    """The first ``limit`` of ``pieces``, of which one record more has to be asked for.

    ``after`` is the position that the pieces come behind; ``of_groups`` says that their series are
    the labels of groups.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[Records, None],
        limit: int,
        after: Position | None,
        of_groups: bool = False,
    ) -> None:
        self._pieces = pieces
        self._of_groups = of_groups
        self._left = limit
        self._last = after
        self._more = False

    async def records(self) -> AsyncGenerator[Records, None]:
        """What ``pieces`` give, but for what is beyond the limit."""
        async with aclosing(self._pieces) as pieces:
            async for records in pieces:
                page = Records(records.samples.take(slice(self._left)), records.series)
                self._more = len(records) > len(page)
                if len(page):
                    self._left -= len(page)
                    self._last = self._place(page)
                    yield page
                if self._more:
                    return

    def _place(self, page: Records) -> Position:
        last = Position.of_last(page.samples, self._last)
        if self._of_groups:
            # Groups are numbered anew for each page.
            labels: Any = page.series[last.series_id]
            last = replace(last, group=labels)
        return last

    def link(self, request: web.Request, wanted: Mapping[str, Any]) -> dict[str, str]:
        """The Link header where records are left over, once all others have been read.

        Times relative to now become those that they were for this page.
        """
        if not self._more or self._last is None:
            return {}
        pinned = {
            name: times.rfc3339(wanted[name])
            for name in ("start_time", "end_time")
            if request.query.get(name, "").startswith("now")
        }
        return next_page(request, cursor=cursor.encode(self._last), **pinned)
