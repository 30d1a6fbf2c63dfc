"""What Prometheus' API is asked, from parameters to the bytes of the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web

from gputel.api.prometheus import json as answers
from gputel.api.prometheus.engine import Engine
from gputel.api.prometheus.params import EVER_US, Parameters, now_us, steps
from gputel.api.prometheus.series import SeriesSource, cache_bytes
from gputel.config.settings import ApiSettings
from gputel.errors import BadExpression
from gputel.model.dcgm_fields import field
from gputel.promql.syntax.nodes import Selector
from gputel.promql.syntax.parse import may_be_slow, parse_selector
from gputel.promql.values.labels import NAME, Labels
from gputel.store.limits import limits_of
from gputel.store.read.reader import Reader
from gputel.threads import READING
from gputel.version import full_version

_SPEAKS = "2.42.0"
"""The release whose answers these are."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
MOST_SELECTORS = 100
"""Selectors that one request may give by ``match[]``."""

Ask = Callable[["Prometheus", Parameters, web.Request], Awaitable[bytes]]


class Prometheus:
    """What the handlers share."""

    def __init__(self, reader: Reader, settings: ApiSettings) -> None:
        self.limits = limits = limits_of(settings)
        self.source = SeriesSource(reader, limits, cache_bytes(settings))
        self.engine = Engine(self.source, limits)
        self.most_s = settings.query_timeout_s

    def timeout_s(self, given: Parameters) -> float:
        """How long a query may take: as long as it asks for, and no longer than the setting."""
        wanted = given.span("timeout")
        return self.most_s if not wanted else min(self.most_s, wanted / 1e6)


async def query(prometheus: Prometheus, given: Parameters, _request: web.Request) -> bytes:
    """The expression at one time."""
    at = given.moment("time", now_us() // 1000 * 1000)
    return await prometheus.engine.instant(given.text("query"), at)


async def query_range(prometheus: Prometheus, given: Parameters, _request: web.Request) -> bytes:
    """The expression at each step from one time to another."""
    return await prometheus.engine.range(given.text("query"), steps(given))


async def series(prometheus: Prometheus, given: Parameters, _request: web.Request) -> bytes:
    """The labels of the series that match."""
    selectors, first, last = await _which(given)
    if not selectors:
        raise BadExpression("no match[] parameter provided")
    found = await prometheus.source.distinct(selectors, first, last)
    return answers.success([dict(labels) for labels in sorted(found)])


async def labels(prometheus: Prometheus, given: Parameters, _request: web.Request) -> bytes:
    """The names of labels that there are."""
    selectors, first, last = await _which(given)
    names = await prometheus.source.texts(selectors or [_EVERYTHING], first, last, _names)
    return answers.success(names)


async def label_values(prometheus: Prometheus, given: Parameters, request: web.Request) -> bytes:
    """The values of one label."""
    wanted = request.match_info["name"]
    if not _LABEL_NAME.fullmatch(wanted):
        raise BadExpression(f'invalid label name: "{wanted}"')

    def values(labels: Labels) -> Iterator[str]:
        return (value for name, value in labels if name == wanted)

    selectors, first, last = await _which(given)
    found = await prometheus.source.texts(selectors or [_EVERYTHING], first, last, values)
    return answers.success(found)


def _names(labels: Labels) -> Iterator[str]:
    return (name for name, _ in labels)


def _metrics(labels: Labels) -> Iterator[str]:
    return (value for name, value in labels if name == NAME)


_EVERYTHING = Selector(())


async def _which(given: Parameters) -> tuple[list[Selector], int, int]:
    """The selectors of ``match[]``, and the time in which their series are wanted."""
    texts = given.texts("match[]")
    if len(texts) > MOST_SELECTORS:
        raise BadExpression(
            f'invalid parameter "match[]": there are more than {MOST_SELECTORS} of them; ask again '
            "for the others"
        )
    slow = any(map(may_be_slow, texts))
    selectors = await READING.run_if(slow, lambda: [parse_selector(text) for text in texts])
    first, last = given.moment("start", -EVER_US), given.moment("end", EVER_US)
    if last < first:
        raise BadExpression('invalid parameter "end": end timestamp must not be before start time')
    return selectors, first, last


async def metadata(prometheus: Prometheus, given: Parameters, _request: web.Request) -> bytes:
    """What is known of each metric."""
    limit = given.whole("limit")
    names = await prometheus.source.texts([_EVERYTHING], -EVER_US, EVER_US, _metrics)
    wanted = given.texts("metric")
    chosen = sorted({*names} & {*wanted}) if wanted and wanted[0] else names
    chosen = chosen[: None if limit is None or limit < 0 else limit]
    known = {name: field(name) for name in chosen}
    return answers.success(
        {
            name: [{"type": about.kind, "help": about.help, "unit": about.unit}]
            for name, about in known.items()
        }
    )


async def buildinfo(_prometheus: Prometheus, _given: Parameters, _request: web.Request) -> bytes:
    """Which release of Prometheus the answers are those of."""
    version = await asyncio.to_thread(full_version)
    return answers.success(
        {
            "version": _SPEAKS,
            "revision": f"gputel-{version}",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
    )


PROMETHEUS = web.AppKey("prometheus", Prometheus)
