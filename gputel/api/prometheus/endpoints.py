"""The endpoints of Prometheus' API, from parameters to the bytes of the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence

from aiohttp import web

from gputel.api.prometheus import json as answers
from gputel.api.prometheus.engine import Engine
from gputel.api.prometheus.meanings import fits
from gputel.api.prometheus.params import EVER_US, Parameters, now_us, steps
from gputel.api.prometheus.series import SeriesSource, cache_bytes
from gputel.config.settings import ApiSettings
from gputel.errors import BadExpression
from gputel.model.meanings import MEANING_OF, MEANINGS, about
from gputel.promql.syntax.nodes import Selector
from gputel.promql.syntax.parse import may_be_slow, parse_selector
from gputel.promql.values.labels import NAME, Labels
from gputel.store.limits import limits_of
from gputel.store.read.reader import Reader
from gputel.store.read.view import Views
from gputel.threads import READING
from gputel.version import full_version

_SPEAKS = "2.42.0"
"""The release of Prometheus whose answers these are."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
MOST_SELECTORS = 100
"""The most selectors in ``match[]`` of one request."""

Endpoint = Callable[["Prometheus", Parameters, web.Request], Awaitable[bytes]]


class Prometheus:
    """The objects that the endpoints share."""

    def __init__(self, reader: Reader, settings: ApiSettings, views: Views) -> None:
        self.reader = reader
        self.limits = limits = limits_of(settings)
        self.source = SeriesSource(views, limits, cache_bytes(settings))
        self.engine = Engine(self.source, limits)
        self.most_s = settings.query_timeout_s

    def timeout_s(self, parameters: Parameters) -> float:
        """The time limit of a query: its parameter ``timeout``, but at most the setting."""
        requested_us = parameters.span("timeout")
        return min(self.most_s, requested_us / 1e6) if requested_us else self.most_s


async def query(prometheus: Prometheus, parameters: Parameters, _request: web.Request) -> bytes:
    """The value of the expression at one time."""
    at = parameters.moment("time", now_us() // 1000 * 1000)
    return await prometheus.engine.instant(parameters.text("query"), at)


async def query_range(
    prometheus: Prometheus, parameters: Parameters, _request: web.Request
) -> bytes:
    """The values of the expression at each step of a range of time."""
    return await prometheus.engine.range(parameters.text("query"), steps(parameters))


async def series(prometheus: Prometheus, parameters: Parameters, _request: web.Request) -> bytes:
    """The labels of the matching series."""
    selectors, first, last = await _matching(parameters)
    if not selectors:
        raise BadExpression("no match[] parameter provided")
    distinct = await prometheus.source.distinct(selectors, first, last)
    return answers.success([dict(labels) for labels in sorted(distinct)])


async def labels(prometheus: Prometheus, parameters: Parameters, _request: web.Request) -> bytes:
    """The names of all labels."""
    selectors, first, last = await _matching(parameters)
    names = await prometheus.source.texts(selectors or [_EVERYTHING], first, last, _names)
    return answers.success(names)


async def label_values(
    prometheus: Prometheus, parameters: Parameters, request: web.Request
) -> bytes:
    """The values of one label."""
    label = request.match_info["name"]
    if not _LABEL_NAME.fullmatch(label):
        raise BadExpression(f'invalid label name: "{label}"')

    def values(labels: Labels) -> Iterator[str]:
        return (value for name, value in labels if name == label)

    selectors, first, last = await _matching(parameters)
    selectors = selectors or [_EVERYTHING]
    texts = await prometheus.source.texts(selectors, first, last, values)
    if label == NAME:
        texts = sorted({*texts, *await _meanings(prometheus, selectors, first, last)})
    return answers.success(texts)


async def _meanings(
    prometheus: Prometheus, selectors: Sequence[Selector], first_us: int, last_us: int
) -> set[str]:
    """The meanings whose names fit a selector, and whose stored series fit its other matchers.

    Queries read a meaning by its name only. A list of names is what people complete names from.
    """
    found: set[str] = set()
    for selector in selectors:
        others = Selector(tuple(each for each in selector.matchers if each.name != NAME))
        if fitting := [name for name in MEANINGS if fits(selector.matchers, name)]:
            names = {*await prometheus.source.texts([others], first_us, last_us, _metrics)}
            found.update(name for name in fitting if names & MEANINGS[name].scales.keys())
    return found


def _names(labels: Labels) -> Iterator[str]:
    return (name for name, _ in labels)


def _metrics(labels: Labels) -> Iterator[str]:
    return (value for name, value in labels if name == NAME)


_EVERYTHING = Selector(())


async def _matching(parameters: Parameters) -> tuple[list[Selector], int, int]:
    """The selectors of ``match[]``, and the range of time of their series."""
    texts = parameters.texts("match[]")
    if len(texts) > MOST_SELECTORS:
        raise BadExpression(
            f'invalid parameter "match[]": there are more than {MOST_SELECTORS} of them; send '
            "another request for the others"
        )
    slow = any(map(may_be_slow, texts))
    selectors = await READING.run_if(slow, lambda: [parse_selector(text) for text in texts])
    first, last = parameters.moment("start", -EVER_US), parameters.moment("end", EVER_US)
    if last < first:
        raise BadExpression('invalid parameter "end": end timestamp must not be before start time')
    return selectors, first, last


async def metadata(prometheus: Prometheus, parameters: Parameters, _request: web.Request) -> bytes:
    """The type, help and unit of each metric."""
    limit = parameters.integer("limit")
    stored = await prometheus.source.texts([_EVERYTHING], -EVER_US, EVER_US, _metrics)
    names = sorted({*stored, *(MEANING_OF[name].name for name in stored if name in MEANING_OF)})
    metrics = parameters.texts("metric")
    chosen = sorted({*names} & {*metrics}) if metrics and metrics[0] else names
    chosen = chosen[: None if limit is None or limit < 0 else limit]
    known = {name: about(name) for name in chosen}
    return answers.success(
        {
            name: [{"type": field.kind, "help": field.help, "unit": field.unit}]
            for name, field in known.items()
        }
    )


async def buildinfo(
    _prometheus: Prometheus, _parameters: Parameters, _request: web.Request
) -> bytes:
    """The release of Prometheus whose answers these are, and that of gputel."""
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
