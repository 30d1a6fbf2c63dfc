"""Samples in Prometheus' text format or in OpenMetrics, as exporters answer them."""

from __future__ import annotations

from gputel.api.push.records import ParsedPush, RejectedRecord, too_many
from gputel.errors import BadRequest
from gputel.sources.exposition.reader import ExpositionReader


def parse_prometheus(body: bytes, most: int, now_us: int) -> ParsedPush:
    """One sample on each line. A line without a time gets the time ``now_us``.

    Comments and blank lines are ignored, but counted in the indices. Raises BadRequest for JSON,
    PayloadTooLarge if there are more than ``most`` samples.
    """
    return _parse(body, most, now_us, open_metrics=False)


def parse_openmetrics(body: bytes, most: int, now_us: int) -> ParsedPush:
    """The same for OpenMetrics 1.0, which ends with ``# EOF``."""
    return _parse(body, most, now_us, open_metrics=True)


def _parse(body: bytes, most: int, now_us: int, *, open_metrics: bool) -> ParsedPush:
    start = body[:200].lstrip()
    if start.startswith(b"[") or (start.startswith(b"{") and b'":' in start):
        raise BadRequest(
            "the body is JSON, but Content-Type says that it is Prometheus' text format: send "
            "Content-Type: application/json"
        )
    if body.count(b"\n") - body.count(b"\n#") > most:
        raise too_many(most)
    answer = ExpositionReader(open_metrics=open_metrics).read(body, now_us)
    rejects = [RejectedRecord(bad.line, bad.reason) for bad in answer.bad]
    return ParsedPush(answer.batch, answer.lines, rejects)
