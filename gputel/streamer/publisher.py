"""Publishes chunks, each as one message, and tries again until the broker has them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
_NONE: Mapping[str, int] = MappingProxyType({})


class ReadChunk(Protocol):
    """A chunk of rows that was read from a source."""

    batch: pa.RecordBatch
    first_row: int
    row_count: int
    rejects: Sequence[Any]
    at_end: bool

    @property
    def skipped(self) -> int:
        """How many of its lines are no rows."""
        ...


def message_id(stream_id: str, first_row: int) -> str:
    """The id of a chunk's message: publishing a chunk twice sends the same message twice."""
    return f"{stream_id}/{first_row}"


async def make_message(stream_id: str, chunk: ReadChunk, *, looping: bool) -> OutgoingMessage:
    """The message of one chunk; encoding uses the CPU and runs in a thread.

    It has no key: chunks need no order, and several brokers share the chunks of a stream. The
    rejects and skipped lines of a loop are not counted, because every pass has the same ones.
    """
    left_out = {}
    if chunk.rejects and not looping:
        left_out["rejected"] = len(chunk.rejects)
    if chunk.skipped and not looping:
        left_out["skipped"] = chunk.skipped
    return await message_of(stream_id, chunk.first_row, chunk.row_count, chunk.batch, left_out)


async def message_of(
    stream_id: str,
    first_row: int,
    row_count: int,
    batch: pa.RecordBatch,
    left_out: Mapping[str, int] = _NONE,
) -> OutgoingMessage:
    """The message of some rows of a stream; ``left_out`` counts those that it does not have."""
    payload = await asyncio.to_thread(record_batch.encode, batch)
    metadata = {"stream_id": stream_id, "first_row": first_row, "row_count": row_count, **left_out}
    name = message_id(stream_id, first_row)
    return OutgoingMessage(id=name, payload=payload, metadata=sealed(name, payload, metadata))


async def publish(
    client: QueueClient,
    messages: Sequence[OutgoingMessage],
    outage: Outage,
    stopping: asyncio.Event,
) -> list[PublishResult] | None:
    """Publish until the broker has all messages; None if ``stopping`` was set before it had.

    It waits while the queue or journal is full, or the broker is away. Raises errors that cannot
    pass: a message over the broker's limit, a closed queue.
    """
    backoff, refusals = Backoff(), 0
    while True:
        try:
            results = await client.publish(messages)
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
            for result in results:
                metrics.STREAMER_CHUNKS.labels(result=result.state).inc()
            return results
        if await backoff.wait(stopping):
            return None
