"""A query from its text to the bytes of its answer, within the limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gputel.api import prometheus_json
from gputel.api.prometheus_params import Steps
from gputel.api.prometheus_series import SeriesSource
from gputel.errors import BadExpression, ExpressionFailed
from gputel.promql.evaluate import evaluate
from gputel.promql.nodes import Node, Selector, Text
from gputel.promql.parse import parse
from gputel.promql.reach import reaches, resolved
from gputel.promql.samples import SeriesSamples
from gputel.promql.vector import Int64

_AT_ONCE = 4


@dataclass(frozen=True)
class _Work:
    """An expression, its steps, and whether the answer is still wanted."""

    node: Node
    steps_us: Int64
    stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise TimeoutError where the answer is of no use any more."""
        if self.stop.is_set():
            raise TimeoutError


class Engine:
    """Evaluates expressions over the store; a few at a time, so that memory stays bounded."""

    def __init__(self, source: SeriesSource, max_samples: int) -> None:
        self._source = source
        self._max_samples = max_samples
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def instant(self, text: str, at_us: int) -> bytes:
        """The answer at one instant; raw samples, where the expression is a range vector."""
        node = resolved(parse(text), at_us, at_us)
        work = _Work(node, np.array([at_us], np.int64))
        return await self._answer(work, _instant)

    async def range(self, text: str, steps: Steps) -> bytes:
        """The answer at each of the steps."""
        node = parse(text)
        if isinstance(node, Text) or (isinstance(node, Selector) and node.range_us is not None):
            kind = "string" if isinstance(node, Text) else "range vector"
            raise BadExpression(
                f'invalid parameter "query": invalid expression type "{kind}" for range query, '
                "must be Scalar or instant Vector"
            )
        node = resolved(node, steps.start_us, steps.end_us)
        work = _Work(node, steps.moments)
        return await self._answer(work, _range)

    async def _answer(
        self, work: _Work, answer: Callable[[_Work, Mapping[Selector, SeriesSamples]], bytes]
    ) -> bytes:
        try:
            async with self._turns:
                samples = await self._source.samples(reaches(work.node, work.steps_us))
                points = len(work.steps_us) * sum(map(len, samples.values()))
                if points > self._max_samples:
                    raise ExpressionFailed(
                        f"the query evaluates {points} points, series times steps, over the limit "
                        f"of {self._max_samples} (--query-max-samples): take longer steps, or "
                        "narrow it by more matchers"
                    )
                return await asyncio.to_thread(answer, work, samples)
        finally:
            # The thread may go on, when the client has left or the time is up: it looks here.
            work.stop.set()


def _instant(work: _Work, samples: Mapping[Selector, SeriesSamples]) -> bytes:
    if isinstance(work.node, Selector) and work.node.range_us is not None:
        return prometheus_json.raw(samples[work.node])
    value = evaluate(work.node, work.steps_us, samples, work.check)
    return prometheus_json.instant(value, int(work.steps_us[0]))


def _range(work: _Work, samples: Mapping[Selector, SeriesSamples]) -> bytes:
    value = evaluate(work.node, work.steps_us, samples, work.check)
    work.check()
    return prometheus_json.matrix(value, work.steps_us)
