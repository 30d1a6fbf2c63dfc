"""Whatever bit of a message changes between producer and collector, it is seen."""

from __future__ import annotations

from typing import Any

import pytest

from gputel.model.checksum import KEY, is_damaged, sealed

PAYLOAD = bytes(range(256)) * 8
METADATA = {"stream_id": "s", "first_row": 50, "row_count": 100}
SEALED = sealed("s/50", PAYLOAD, METADATA)


def test_a_message_as_it_was_sealed_is_not_damaged() -> None:
    assert METADATA | {KEY: SEALED[KEY]} == SEALED
    assert not is_damaged("s/50", PAYLOAD, SEALED)
    assert not is_damaged("s/50", PAYLOAD, dict(reversed(SEALED.items())))


def test_a_message_of_another_producer_has_no_checksum_and_is_taken() -> None:
    assert not is_damaged("s/50", PAYLOAD, METADATA)
    assert not is_damaged("1", b"", {"anything": [b"x", object()]})


@pytest.mark.parametrize("at", [0, 1000, len(PAYLOAD) - 1])
@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_the_payload_counts(at: int, bit: int) -> None:
    flipped = bytearray(PAYLOAD)
    flipped[at] ^= 1 << bit
    assert is_damaged("s/50", bytes(flipped), SEALED)


@pytest.mark.parametrize(
    ("message_id", "metadata"),
    [
        ("s/51", SEALED),
        ("s/50", SEALED | {"first_row": 51}),
        ("s/50", SEALED | {"stream_id": "t"}),
        ("s/50", {key.replace("stream_id", "stream_iD"): each for key, each in SEALED.items()}),
        ("s/50", SEALED | {KEY: "x"}),
        ("s/50", SEALED | {KEY: None}),
        ("s/50", SEALED | {"more": b"\xff"}),
    ],
)
def test_id_and_metadata_count_as_well(message_id: str, metadata: dict[str, Any]) -> None:
    assert is_damaged(message_id, PAYLOAD, metadata)
