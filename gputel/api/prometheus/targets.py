"""The targets of scrapes in the form of Prometheus' API, with some fields of gputel's own.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/#targets
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gputel.api.prometheus import json as answers
from gputel.api.prometheus.endpoints import Prometheus
from gputel.api.prometheus.params import Parameters
from gputel.store.limits import Limits
from gputel.store.read.reader import Reader
from gputel.store.read.targets import Target
from gputel.store.read.targets import targets as stored_targets
from gputel.times import format_duration, rfc3339

_NEVER = datetime.min.replace(tzinfo=UTC)
"""The time of the last scrape of a target that was never scraped, as Prometheus answers it."""

_ACTIVE = ("", "any", "active")
"""The values of ``state`` that ask for active targets. There are no others in gputel."""


async def targets(prometheus: Prometheus, parameters: Parameters, _request: web.Request) -> bytes:
    """The active targets; those that relabelling dropped are not known."""
    state, job = ((parameters.texts(name) or [""])[0] for name in ("state", "scrapePool"))
    return await targets_answer(prometheus.reader, prometheus.limits, state, job)


async def scrape_pools(
    prometheus: Prometheus, _parameters: Parameters, _request: web.Request
) -> bytes:
    """The names of the jobs that have targets."""
    found = await stored_targets(prometheus.reader, limits=prometheus.limits)
    return answers.success({"scrapePools": list(dict.fromkeys(each.job for each in found))})


async def targets_answer(reader: Reader, limits: Limits, state: str, job: str) -> bytes:
    """The answer for a state of targets, and for a job or, if it is empty, all jobs.

    Raises QueryTooLarge over the limits.
    """
    active: list[dict[str, Any]] = []
    if state.lower() in _ACTIVE:
        active = [_shown(each) for each in await stored_targets(reader, job or None, limits)]
    return answers.success({"activeTargets": active, "droppedTargets": []})


def _shown(target: Target) -> dict[str, Any]:
    return {
        "discoveredLabels": {},
        "labels": target.labels,
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": _error(target),
        "lastScrape": rfc3339(target.scraped_at or _NEVER),
        "lastScrapeDuration": target.duration_s,
        "health": _health(target),
        "scrapeInterval": _duration(target.interval_s),
        "scrapeTimeout": _duration(target.timeout_s),
        "samples": target.samples,
        "refused": target.refused,
        "owner": target.owner,
        "slotsLost": target.slots_lost,
        "hint": _hint(target),
        "lastReport": rfc3339(target.reported_at),
    }


def _health(target: Target) -> str:
    if not target.reported or target.scraped_at is None:
        return "unknown"
    return "down" if target.error else "up"


def _hint(target: Target) -> str:
    """What may be wrong with a target that is up; empty if nothing looks wrong."""
    if _health(target) != "up":
        return ""
    if target.frozen_since is not None:
        return (
            f"all its values are the same since {rfc3339(target.frozen_since)}: if its GPUs work, "
            "restart the exporter"
        )
    if not target.samples:
        return (
            "its answer has no sample of a GPU that is stored: the exporter may have started "
            "without the driver"
        )
    return ""


def _error(target: Target) -> str:
    if target.reported:
        return target.error
    return f"no streamer scrapes it since {rfc3339(target.reported_at.replace(microsecond=0))}"


def _duration(seconds: float) -> str:
    return format_duration(round(seconds * 1000) * 1000)
