"""``POST /api/v1/write``: Prometheus' remote write, 1.0 and 2.0."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from gputel.api.push.bodies import wrong_type
from gputel.api.push.pusher import Pusher, taker
from gputel.api.push.senders.samples import take_samples
from gputel.api.shared.documented import answer, body, errors, operation, query
from gputel.api.shared.schemas import ErrorSchema, NoQuery
from gputel.errors import BadRequest, UnsupportedMediaType
from gputel.sources.exposition.read_samples import ReadSamples
from gputel.sources.protobuf.reading import WireFlaw
from gputel.sources.remote_write.reader import RemoteWriteReader

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


class RemoteWrites:
    """Takes remote writes. An API has one."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher
        self._reader = RemoteWriteReader()

    async def write(self, request: web.Request) -> web.Response:
        """Publish the samples of a body. Raises as ``take_samples`` and UnsupportedMediaType.

        Raises BadRequest also if samples were rejected; then the others are published.
        """
        version = _version_of(request)
        read = partial(self._read, version)
        taken = await take_samples(self._pusher, request, "snappy", f"write{version}", read)
        accepted, rejects = taken.accepted, taken.rejects
        if rejects:
            raise BadRequest(
                f"{len(rejects)} of {accepted + len(rejects)} samples of GPUs were not stored, the "
                f"others were; the first of them: {rejects[0].reason}"
            )
        # Samples without a GPU count as written, else a sender of 2.0 would send them again.
        written = accepted + taken.ends + taken.left_out["no_gpu"]
        return web.Response(status=204, headers=_written(version, written))

    def _read(self, version: int, body: bytes, most: int) -> ReadSamples:
        try:
            return self._reader.read(body, version, most)
        except WireFlaw as flaw:
            raise BadRequest(f"the body is no message of remote write: {flaw}") from None


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
    return await taker(request, REMOTE_WRITES).write(request)


def _version_of(request: web.Request) -> int:
    """1 or 2, as Content-Type says. Raises UnsupportedMediaType."""
    proto = _parameters(request).get("proto", "prometheus.WriteRequest")
    if request.content_type != _MEDIA_TYPE or proto not in _VERSIONS:
        protos = " or ".join(_VERSIONS)
        raise wrong_type(request, f"not {_MEDIA_TYPE} with a proto of remote write ({protos})")
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


def _written(version: int, samples: int) -> dict[str, str]:
    """What was taken, for a sender of 2.0."""
    if version == 1:
        return {}
    counts = {"Samples": samples, "Histograms": 0, "Exemplars": 0}
    return {_WRITTEN.format(kind): str(count) for kind, count in counts.items()}
