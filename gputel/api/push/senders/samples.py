"""Bodies of samples from senders that send again after an error: remote write and OTLP."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from gputel import metrics
from gputel.api.push.pusher import Pusher
from gputel.api.push.records import ParsedPush, RejectedRecord, too_many
from gputel.errors import Busy, JournalFull, PayloadTooLarge, TooSlow
from gputel.model import record_batch
from gputel.model.columns import with_ends
from gputel.sources.exposition.read_samples import (
    MOST_LABEL_CHARACTERS,
    LargeLabels,
    ReadSamples,
    TooManySamples,
)
from gputel.threads import PUSHES

Read = Callable[[bytes, int], ReadSamples]
"""Reads an unpacked body of at most so many samples. Raises BadRequest, TooManySamples
and LargeLabels."""


@dataclass(frozen=True)
class TakenSamples:
    """What became of the samples of a body. ``ends``: those that only end their series.

    ``left_out`` has the number of samples that are no records, by reason.
    """

    accepted: int
    ends: int
    rejects: list[RejectedRecord]
    left_out: Mapping[str, int]


async def take_samples(
    pusher: Pusher, request: web.Request, coding: str, kind: str, read: Read
) -> TakenSamples:
    """Publish the samples of a body in one message, whose id is ``kind`` and a hash of the body.

    A sender sends the same body again after an error, so it is stored once. Raises BadRequest and
    PayloadTooLarge if the body is wrong; and Busy and other errors with the status 503, after which
    a sender tries again. After other statuses it would drop the samples.
    """
    try:
        packed = await pusher.receive(request)
    except TooSlow as error:
        raise Busy(error.message) from None
    digest, payload, taken = await PUSHES.run(_prepare, pusher, packed, coding, read)
    if payload:
        try:
            await pusher.publish(f"{kind}/{digest}", payload, taken.accepted)
        except JournalFull as error:
            raise Busy(error.message) from None
    counts = {"rejected": len(taken.rejects), "stale": taken.ends, **taken.left_out}
    for result, count in counts.items():
        if count:
            metrics.API_PUSHED_RECORDS.labels(result=result).inc(count)
    return taken


def _prepare(
    pusher: Pusher, packed: bytes, coding: str, read: Read
) -> tuple[str, bytes, TakenSamples]:
    """The hash of the body, the payload of its message, which may be empty, and what is in it."""
    body = pusher.unpack(packed, coding)
    try:
        samples = read(body, pusher.most_records)
    except TooManySamples:
        raise too_many(pusher.most_records) from None
    except LargeLabels:
        raise PayloadTooLarge(
            f"the labels of the series in the body have over {MOST_LABEL_CHARACTERS} characters "
            "together: send fewer series at once"
        ) from None
    indices = np.arange(samples.batch.num_rows)
    checked = pusher.check(ParsedPush(samples.batch, indices, []))
    ends = samples.ends[checked.indices]
    batch = with_ends(checked.batch, ends)
    payload = record_batch.encode(batch) if batch.num_rows else b""
    count = int(ends.sum())
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    taken = TakenSamples(batch.num_rows - count, count, checked.rejects, samples.left_out)
    return digest, payload, taken
