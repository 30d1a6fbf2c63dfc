"""``POST /api/v1/write``: Prometheus' remote write, 1.0 and 2.0."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import web

from gputel import metrics
from gputel.api.push.pusher import PUSHER, Pusher
from gputel.api.push.records import ParsedPush, RejectedRecord, too_many
from gputel.api.shared.documented import answer, body, errors, operation, query
from gputel.api.shared.schemas import ErrorSchema, NoQuery
from gputel.errors import BadRequest, BrokerUnavailable, Busy, TooSlow, UnsupportedMediaType
from gputel.model import record_batch
from gputel.model.columns import with_ends
from gputel.sources.remote_write.reader import ReadWrite, RemoteWriteReader
from gputel.sources.remote_write.wire import TooManySamples, WireFlaw
from gputel.threads import PUSHES

_MEDIA_TYPE = "application/x-protobuf"
_VERSIONS = {"prometheus.WriteRequest": 1, "io.prometheus.write.v2.Request": 2}
_WRITTEN = "X-Prometheus-Remote-Write-{}-Written"

BODY: dict[str, Any] = {
    "required": True,
    "description": "A `WriteRequest` of remote write 1.0, or a `Request` of 2.0 if the parameter "
    "`proto` of Content-Type says so. The body is a block of snappy.",
    "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}
"""The request body, for the OpenAPI document."""


@dataclass(frozen=True)
class _PreparedWrite:
    payload: bytes
    accepted: int  # samples
    ends: int  # of series
    rejects: list[RejectedRecord]
    read: ReadWrite


class RemoteWrites:
    """Takes remote writes. An API has one."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher
        self._reader = RemoteWriteReader()

    async def write(self, request: web.Request) -> web.Response:
        """Publish the samples of a body in one message, whose id is a hash of the body.

        A sender sends the same bytes again after an error, so they are stored once. Raises
        UnsupportedMediaType; BadRequest if the body is damaged or if samples were rejected; and
        Busy and other errors with a status of 500 or more, after which a sender tries again.
        """
        version = _version_of(request)
        try:
            packed = await self._pusher.receive(request)
        except TooSlow as error:  # after a 408 a sender would drop the samples
            raise Busy(error.message) from None
        prepared = await PUSHES.run(self._prepare, packed, version)
        accepted, rejects, read = prepared.accepted, prepared.rejects, prepared.read
        if prepared.payload:
            digest = hashlib.blake2b(packed, digest_size=16).hexdigest()
            await self._pusher.publish(f"write/{digest}", prepared.payload, accepted)
        _count(read, prepared.ends, len(rejects))
        if rejects:
            raise BadRequest(
                f"{len(rejects)} of {accepted + len(rejects)} samples of GPUs were not stored, the "
                f"others were; the first of them: {rejects[0].reason}"
            )
        return web.Response(status=204, headers=_written(version, accepted + prepared.ends, read))

    def _prepare(self, packed: bytes, version: int) -> _PreparedWrite:
        try:
            body = self._pusher.unpack(packed, "snappy")
            read = self._reader.read(body, version, self._pusher.most_records)
        except TooManySamples:
            raise too_many(self._pusher.most_records) from None
        except WireFlaw as flaw:
            raise BadRequest(f"the body is no message of remote write: {flaw}") from None
        indices = np.arange(read.batch.num_rows)
        checked = self._pusher.check(ParsedPush(read.batch, indices, []))
        ends = read.ends[checked.indices]
        batch = with_ends(checked.batch, ends)
        payload = record_batch.encode(batch) if batch.num_rows else b""
        count = int(ends.sum())
        return _PreparedWrite(payload, batch.num_rows - count, count, checked.rejects, read)


REMOTE_WRITES = web.AppKey("remote_writes", RemoteWrites)


@operation(
    "remote_write",
    "telemetry",
    "Take Prometheus' remote write",
    "Takes what a Prometheus, an agent or vmagent sends with `remote_write`. Samples whose labels "
    "name no GPU are dropped and counted in `gputel_api_pushed_records_total`; the answer is the "
    "same. Stale markers end their series, as in Prometheus. Under pressure the answer is 503, "
    "after which a sender tries again.",
)
@query(NoQuery)
@body(BODY)
@answer({}, 204, "Everything was accepted, or dropped on purpose.")
@answer(
    ErrorSchema(), 400, "The body is damaged, or some samples were not accepted; the others were."
)
@answer(ErrorSchema(), 413, "The body is over a limit. The message names the setting.")
@answer(ErrorSchema(), 415, "Content-Type or Content-Encoding is not that of remote write.")
@answer(ErrorSchema(), 503, "The queue is full, or the broker is not available: send it again.")
@errors()
async def remote_write(request: web.Request) -> web.Response:
    """Publish the samples of GPUs."""
    if PUSHER not in request.app:
        raise BrokerUnavailable("this API has no queue to put records into")
    return await request.app[REMOTE_WRITES].write(request)


def _version_of(request: web.Request) -> int:
    """1 or 2, as Content-Type says. Raises UnsupportedMediaType."""
    proto = _parameters(request).get("proto", "prometheus.WriteRequest")
    if request.content_type != _MEDIA_TYPE or proto not in _VERSIONS:
        content_type = request.headers.get("Content-Type", "")[:100]
        raise UnsupportedMediaType(
            f"Content-Type: {content_type!r} is not {_MEDIA_TYPE} with a proto of remote write "
            f"({' or '.join(_VERSIONS)})"
        )
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "snappy"):  # some senders of 1.0 leave it out, and Prometheus takes that
        raise UnsupportedMediaType(
            f"Content-Encoding: {coding[:100]!r} is not snappy, which remote write uses"
        )
    return _VERSIONS[proto]


def _parameters(request: web.Request) -> dict[str, str]:
    _, *parts = request.headers.get("Content-Type", "").split(";")
    pairs = (part.partition("=") for part in parts)
    return {name.strip().lower(): text.strip().strip('"') for name, _, text in pairs}


def _count(read: ReadWrite, ends: int, rejected: int) -> None:
    counts = {
        "rejected": rejected,
        "no_gpu": read.no_gpu,
        "stale": ends,
        "histogram": read.histograms,
        "exemplar": read.exemplars,
    }
    for result, count in counts.items():
        if count:
            metrics.API_PUSHED_RECORDS.labels(result=result).inc(count)


def _written(version: int, taken: int, read: ReadWrite) -> dict[str, str]:
    """What was taken, for a sender of 2.0. Dropped samples count, else it would send them again."""
    if version == 1:
        return {}
    counts = {"Samples": taken + read.no_gpu, "Histograms": 0, "Exemplars": 0}
    return {_WRITTEN.format(kind): str(count) for kind, count in counts.items()}
