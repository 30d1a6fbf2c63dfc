"""Publish one chunk as one message, for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from gputel import metrics
from gputel.backoff import Backoff
from gputel.errors import GputelError, PayloadTooLarge, QueueClosed, QueueFull
from gputel.model import record_batch
from gputel.model.checksum import sealed
from gputel.mq.client import MOST_REFUSALS, OutgoingMessage, PublishResult, QueueClient
from gputel.outage import Outage

_FINAL = (QueueClosed, PayloadTooLarge)


class ReadChunk(Protocol):
    """What the publisher needs of a chunk that was read."""

    batch: pa.RecordBatch
    first_row: int
    row_count: int
    rejects: Sequence[Any]


def message_id(stream_id: str, first_row: int) -> str:
    """The id of a chunk's message: a chunk published twice is the same message twice."""
    return f"{stream_id}/{first_row}"


async def make_message(stream_id: str, chunk: ReadChunk, *, looping: bool) -> OutgoingMessage:
    """One message of one chunk; encoding holds the CPU and runs in a thread.

    It has no key: a chunk lands by itself, and several brokers share the chunks of a stream.
    The rejects of a loop are not worth remembering: it meets the same ones in every pass.
    """
    payload = await asyncio.to_thread(record_batch.encode, chunk.batch)
    metadata = {
        "stream_id": stream_id,
        "first_row": chunk.first_row,
        "row_count": chunk.row_count,
    }
    if chunk.rejects and not looping:
        metadata["rejected"] = len(chunk.rejects)
    name = message_id(stream_id, chunk.first_row)
    return OutgoingMessage(id=name, payload=payload, metadata=sealed(name, payload, metadata))


async def publish(
    client: QueueClient, message: OutgoingMessage, outage: Outage, stopping: asyncio.Event
) -> PublishResult | None:
    """Publish until the broker has the message; None if ``stopping`` was set before it had.

    A full queue or journal and a broker that is away are waited for. Raises what cannot pass: a
    message over the broker's limit, a queue that was closed.
    """
    backoff, refusals = Backoff(), 0
    while True:
        try:
            results = await client.publish([message])
        except QueueFull:
            outage.ends()
            backoff.reset()
        except GputelError as error:
            refusals += not error.retriable
            if isinstance(error, _FINAL) or refusals > MOST_REFUSALS:
                raise
            outage.begins(error)
        else:
            outage.ends()
            metrics.STREAMER_CHUNKS.labels(result=results[0].state).inc()
            return results[0]
        if await backoff.wait(stopping):
            return None
