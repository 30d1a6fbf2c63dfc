"""From a delivered message to an arrival for the store, or the reason why it can never be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gputel.errors import DecodeError
from gputel.model.record_batch import decode
from gputel.mq.protocol import Delivery
from gputel.store.writer import Arrival, Chunk


@dataclass(frozen=True)
class Undecodable:
    """A message that no retry can help."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True)
class Decoded:
    """A message that is ready to land."""

    delivery: Delivery
    arrival: Arrival


def decode_all(deliveries: Sequence[Delivery]) -> tuple[list[Decoded], list[Undecodable]]:
    """Decode payloads and check metadata; holds the CPU, run in a thread."""
    good, bad = [], []
    for delivery in deliveries:
        try:
            arrival = Arrival(delivery.id, _chunk(delivery.metadata), decode(delivery.payload))
            good.append(Decoded(delivery, arrival))
        except DecodeError as error:
            bad.append(Undecodable(delivery, error.message))
    return good, bad


def _chunk(metadata: dict[str, Any]) -> Chunk | None:
    """The chunk that the metadata names; None for a message that no streamer leased."""
    if "stream_id" not in metadata:
        return None
    stream_id, first_row = metadata["stream_id"], metadata.get("first_row")
    if not isinstance(stream_id, str) or type(first_row) is not int or not 0 <= first_row < 2**63:
        raise DecodeError("metadata: stream_id must be text, and first_row a whole number from 0")
    rejected = metadata.get("rejected", 0)
    if type(rejected) is not int or not 0 <= rejected < 2**31:
        raise DecodeError("metadata: rejected must be a whole number from 0")
    return Chunk(stream_id, first_row, rejected)
