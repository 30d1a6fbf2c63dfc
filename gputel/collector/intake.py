"""Decodes delivered messages to arrivals for the store, or to the reason why that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gputel import metrics
from gputel.errors import DecodeError
from gputel.model.bounds import id_flaw, name_flaw
from gputel.model.checksum import is_damaged
from gputel.model.entities import SCRAPES, TARGET_FLAW
from gputel.model.entity_uuids import target_rows
from gputel.model.record_batch import PayloadLimits, decode
from gputel.mq.wire.protocol import Delivery
from gputel.sources.json.payload import decode_json, is_json
from gputel.store.write.writer import Arrival, Chunk


@dataclass(frozen=True)
class UndecodableMessage:
    """A message that can never be decoded."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True)
class DecodedMessage:
    """A message that is ready to land."""

    delivery: Delivery
    arrival: Arrival


@dataclass(frozen=True)
class FailedMessage:
    """A message whose decoding failed for a reason that may lie outside the message."""

    delivery: Delivery
    error: Exception


@dataclass
class DecodeResult:
    """The results of decoding; ``left`` has the deliveries for which there was no memory left."""

    good: list[DecodedMessage] = field(default_factory=list)
    bad: list[UndecodableMessage] = field(default_factory=list)
    damaged: list[Delivery] = field(default_factory=list)
    failed: list[FailedMessage] = field(default_factory=list)
    left: list[Delivery] = field(default_factory=list)


def decode_some(deliveries: Sequence[Delivery], limits: PayloadLimits) -> DecodeResult:
    """Decode payloads and check metadata. Uses the CPU for long: run it in a thread.

    Stops when the decoded messages use more memory than one message may.
    """
    intake = DecodeResult()
    taken = 0
    for index, delivery in enumerate(deliveries):
        if taken >= limits.max_bytes:
            intake.left = list(deliveries[index:])
            break
        if is_damaged(delivery.id, delivery.payload, delivery.metadata):
            intake.damaged.append(delivery)
            continue
        try:
            arrival = _arrival(delivery, limits)
        except DecodeError as error:
            intake.bad.append(UndecodableMessage(delivery, error.message))
        except Exception as error:
            intake.failed.append(FailedMessage(delivery, error))
        else:
            taken += arrival.batch.nbytes
            intake.good.append(DecodedMessage(delivery, arrival))
    return intake


def is_chunk(delivery: Delivery) -> bool:
    """Whether the message is a streamer's chunk, which is sent again if it does not land.

    Id and metadata must agree, so that damage to one of them cannot make it look like a chunk.
    """
    metadata = delivery.metadata
    return delivery.id == f"{metadata.get('stream_id')}/{metadata.get('first_row')}"


def _arrival(delivery: Delivery, limits: PayloadLimits) -> Arrival:
    if flaw := id_flaw(delivery.id):
        raise DecodeError(f"the message's id {flaw}")
    chunk = _chunk(delivery.metadata)
    if not is_json(delivery.payload):
        batch = decode(delivery.payload, limits)
        is_scrape = chunk is not None and chunk.stream_id.startswith(SCRAPES)
        if not is_scrape and target_rows(batch) is not None:
            raise DecodeError(f"the record batch has a record whose {TARGET_FLAW}")
        return Arrival(delivery.id, chunk, batch)
    batch, left_out = decode_json(delivery.payload, limits)
    metrics.COLLECTOR_ROWS_REJECTED.labels(reason="no_reading").inc(left_out)
    return Arrival(delivery.id, chunk, batch)


def _chunk(metadata: dict[str, Any]) -> Chunk | None:
    """The chunk that the metadata names; None for a message that no streamer leased."""
    if "stream_id" not in metadata:
        return None
    stream_id, first_row = metadata["stream_id"], metadata.get("first_row")
    if not isinstance(stream_id, str) or type(first_row) is not int or not 0 <= first_row < 2**63:
        raise DecodeError("metadata: stream_id must be text, and first_row a whole number from 0")
    if flaw := name_flaw(stream_id):
        raise DecodeError(f"metadata: stream_id {flaw}")
    return Chunk(stream_id, first_row, _count(metadata, "rejected"), _count(metadata, "skipped"))


def _count(metadata: dict[str, Any], name: str) -> int:
    count = metadata.get(name, 0)
    if type(count) is not int or not 0 <= count < 2**30:
        raise DecodeError(f"metadata: {name} must be a whole number from 0 to 1,073,741,823")
    return count
