"""A query from its text to the bytes of its answer, within the limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gputel.api.prometheus import json as prometheus_json
from gputel.api.prometheus.params import RangeSteps
from gputel.api.prometheus.series import SeriesSource
from gputel.errors import BadExpression
from gputel.promql.evaluate import evaluate, range_samples
from gputel.promql.reach import reaches, resolved
from gputel.promql.syntax.nodes import Node, Selector, Subquery, Text, is_range, unwrapped
from gputel.promql.syntax.parse import may_be_slow, parse
from gputel.promql.values.bounds import EvaluationBounds
from gputel.promql.values.samples import SeriesSamples
from gputel.promql.values.vector import Int64, Value
from gputel.store.limits import Limits
from gputel.threads import EVALUATION, READING


@dataclass(frozen=True)
class _Work:
    """An expression, its steps, its limits, and whether it has to stop."""

    node: Node
    steps_us: Int64
    limits: Limits
    stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise TimeoutError if the request has ended."""
        if self.stop.is_set():
            raise TimeoutError

    @property
    def answer(self) -> prometheus_json.ResultWriter:
        """A new answer, with no pieces yet."""
        return prometheus_json.ResultWriter(self.limits.max_bytes, self.check)

    def value(self, samples: Mapping[Selector, SeriesSamples]) -> Value:
        """The value of the expression."""
        return evaluate(self.node, self.steps_us, samples, self._bounds)

    def samples(
        self, node: Selector | Subquery, samples: Mapping[Selector, SeriesSamples]
    ) -> SeriesSamples:
        """The samples if the complete expression is a range vector."""
        return range_samples(node, self.steps_us, samples, self._bounds)

    @property
    def _bounds(self) -> EvaluationBounds:
        return EvaluationBounds(self.check, self.limits.max_samples, self.limits.max_series)


class Engine:
    """Evaluates expressions over the store. Only a few run at a time, to bound memory."""

    def __init__(self, source: SeriesSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._turns = asyncio.Semaphore(EVALUATION.most)

    async def instant(self, text: str, at_us: int) -> bytes:
        """The answer at one instant; raw samples if the expression is a range vector."""
        node = resolved(await READING.run_if(may_be_slow(text), parse, text), at_us, at_us)
        work = _Work(node, np.array([at_us], np.int64), self._limits)
        return await self._answer(work, _instant)

    async def range(self, text: str, steps: RangeSteps) -> bytes:
        """The answer at each of the steps."""
        node = await READING.run_if(may_be_slow(text), parse, text)
        inside = unwrapped(node)
        if isinstance(inside, Text) or is_range(inside):
            kind = "string" if isinstance(inside, Text) else "range vector"
            raise BadExpression(
                f'invalid parameter "query": invalid expression type "{kind}" for range query, '
                "must be Scalar or instant Vector"
            )
        node = resolved(node, steps.start_us, steps.end_us)
        work = _Work(node, steps.moments, self._limits)
        return await self._answer(work, _range)

    async def _answer(
        self, work: _Work, answer: Callable[[_Work, Mapping[Selector, SeriesSamples]], bytes]
    ) -> bytes:
        await self._turns.acquire()
        thread: asyncio.Future[bytes] | None = None
        try:
            ranges = reaches(work.node, work.steps_us, self._limits.max_samples)
            samples = await self._source.samples(ranges)
            thread = EVALUATION.start(answer, work, samples.of)
            # A thread cannot be cancelled: it ends at its next call of ``check``.
            body = await asyncio.shield(thread)
            return prometheus_json.with_warnings(body, samples.warnings)
        finally:
            work.stop.set()
            if thread is None or thread.done():
                self._turns.release()
            else:
                thread.add_done_callback(self._release)

    def _release(self, thread: asyncio.Future[bytes]) -> None:
        """Let the next query run: the thread has ended, and its memory is free."""
        self._turns.release()
        if not thread.cancelled():
            thread.exception()  # without this, asyncio logs an error that was never retrieved


def _instant(work: _Work, samples: Mapping[Selector, SeriesSamples]) -> bytes:
    node = unwrapped(work.node)
    if is_range(node):
        return prometheus_json.raw(work.samples(node, samples), work.answer)
    value = work.value(samples)
    return prometheus_json.instant(value, int(work.steps_us[0]), work.answer)


def _range(work: _Work, samples: Mapping[Selector, SeriesSamples]) -> bytes:
    return prometheus_json.matrix(work.value(samples), work.steps_us, work.answer)
