"""The targets of scrapes, and how the last scrape of each went."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gputel.errors import QueryTooLarge
from gputel.store import queries
from gputel.store.limits import ANY, Limits
from gputel.store.read.reader import Reader
from gputel.store.read.selection import storable

SILENT_S = 15.0
"""A target without a report for so long is scraped by no streamer, unless its interval is long."""

SILENT_INTERVALS = 3.0
"""Likewise for so many of its intervals: both have to be over."""

_SQL = queries.load("targets")


class Target(msgspec.Struct, frozen=True, gc=False):
    """A target, and its last scrape. ``scraped_at`` is None if there was none yet.

    ``error`` says why the last scrape failed; it is empty if it did not. Its values, which should
    move, have all been the same from ``frozen_since`` on; None if they move. ``slots_lost`` counts
    the scrapes that were due and did not land. ``reported`` tells whether a live streamer reports
    it.
    """

    job: str
    url: str
    labels: dict[str, str]
    interval_s: float
    timeout_s: float
    owner: str
    scraped_at: datetime | None
    duration_s: float
    samples: int
    refused: int
    error: str
    frozen_since: datetime | None
    slots_lost: int
    reported_at: datetime
    reported: bool


async def targets(reader: Reader, job: str | None = None, limits: Limits = ANY) -> list[Target]:
    """The targets of all jobs, or of one, in order of job and instance.

    Raises QueryTooLarge if there are more targets than the limits allow series, or more bytes.
    """
    if job is not None and not storable(job):
        return []
    async with reader.session() as connection:
        rows = await connection.fetch(
            _SQL["targets"], job, limits.ask, limits.max_bytes, SILENT_S, SILENT_INTERVALS
        )
    if len(rows) > limits.max_series or (rows and rows[-1]["so_far"] > limits.max_bytes):
        raise QueryTooLarge(
            f"there are more targets than {limits.max_series}, or more bytes of them than "
            f"{limits.max_bytes}, the limits (--query-max-series, --query-max-bytes): ask for one "
            "job by scrapePool"
        )
    return [_target(*row[:-1]) for row in rows]


def _target(job: str, url: str, labels: str, *others: object) -> Target:
    texts = msgspec.json.decode(labels, type=dict[str, str])
    return Target(job, url, texts, *others)  # type: ignore[arg-type]
