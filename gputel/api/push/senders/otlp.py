"""``POST /v1/metrics``: metrics of OpenTelemetry, by OTLP over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from gputel.api.push.bodies import coding_of, wrong_type
from gputel.api.push.pusher import Pusher, taker
from gputel.api.push.senders.otlp_answers import JSON, PROTOBUF, exported
from gputel.api.push.senders.otlp_schemas import BODY, ExportedSchema, StatusSchema
from gputel.api.push.senders.samples import TakenSamples, take_samples
from gputel.api.shared.documented import answer, body, operation, query
from gputel.api.shared.paths import OTLP_PATH
from gputel.api.shared.schemas import NoQuery
from gputel.errors import BadRequest
from gputel.sources.exposition.read_samples import ReadSamples
from gputel.sources.otlp.json import JsonFlaw
from gputel.sources.otlp.points import REFUSALS
from gputel.sources.otlp.reader import OtlpReader
from gputel.sources.protobuf.reading import WireFlaw

_MOST_REASONS = 5


class OtlpExports:
    """Takes exports of metrics. An API has one."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher
        self._reader = OtlpReader()

    async def export(self, request: web.Request) -> web.Response:
        """Publish the points of a body. Raises as ``take_samples`` and UnsupportedMediaType."""
        if request.content_type not in (PROTOBUF, JSON):
            raise wrong_type(request, f"neither {PROTOBUF} nor {JSON}")
        read = partial(self._read, is_json=request.content_type == JSON)
        taken = await take_samples(self._pusher, request, coding_of(request), "otlp", read)
        return exported(request, *_refused(taken))

    def _read(self, body: bytes, most: int, *, is_json: bool) -> ReadSamples:
        read = self._reader.read_json if is_json else self._reader.read_protobuf
        try:
            return read(body, most)
        except (JsonFlaw, WireFlaw) as flaw:
            encoding = "JSON" if is_json else "protobuf"
            raise BadRequest(f"the body is no export of metrics in {encoding}: {flaw}") from None


OTLP_EXPORTS = web.AppKey("otlp_exports", OtlpExports)


def _refused(taken: TakenSamples) -> tuple[int, str]:
    """How many points were refused, and why in words. Points without a GPU do not count."""
    reasons = Counter(each.reason for each in taken.rejects)
    reasons.update({words: taken.left_out.get(reason, 0) for reason, words in REFUSALS.items()})
    shown = reasons.most_common(_MOST_REASONS)
    told = [f"{words} ({count} point{'s' if count > 1 else ''})" for words, count in shown if count]
    if others := reasons.total() - sum(count for _, count in shown):
        told.append(f"other reasons ({others})")
    return reasons.total(), "; ".join(told)


def export_metrics(path: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler at a path of OTLP."""

    @operation(
        "export_metrics" if path == OTLP_PATH else "export_metrics_as_to_prometheus",
        "telemetry",
        "Take metrics of OpenTelemetry",
        "Takes what a collector or an SDK sends by OTLP over HTTP, in protobuf or JSON. Gauges and "
        "cumulative sums are stored. Other points are refused: the answer is 200, and "
        "`partialSuccess` says how many and why. Points whose attributes name no GPU are dropped "
        "without a word; both are counted in `gputel_api_pushed_records_total`. The answer has the "
        "encoding of the request. Under pressure it is 503, after which a sender tries again.",
        produces=[JSON, PROTOBUF],
    )
    @query(NoQuery)
    @body(BODY)
    @answer(ExportedSchema(), 200, "Which points were refused; empty if none were.")
    @answer(StatusSchema(), 400, "The body cannot be decoded, or has records of too many days.")
    @answer(StatusSchema(), 413, "The body is over a limit. The message names the setting.")
    @answer(StatusSchema(), 415, "Content-Type or Content-Encoding is not supported.")
    @answer(StatusSchema(), 503, "The queue is full, or the broker is not available: send again.")
    @answer(StatusSchema(), "default", "Any other refusal.")
    async def export(request: web.Request) -> web.Response:
        return await taker(request, OTLP_EXPORTS).export(request)

    return export
