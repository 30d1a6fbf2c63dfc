"""A damaged journal: what can still be read is, and what cannot is told with file and offset."""

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gputel.mq.journal.files import segment_path, segments_in
from gputel.mq.journal.records import (
    HEADER_BYTES,
    RecordKind,
    StoredMessage,
    UnknownFormat,
    encode_body,
    encode_record,
)
from gputel.mq.journal.recovery import recover
from gputel.mq.journal.segment import read_segment
from tests.unit.mq.journal_bench import SMALL, ids_in, kept_in


async def filled(directory: Path, count: int = 10) -> list[str]:
    ids = [f"m{n}" for n in range(count)]
    async with kept_in(directory) as kept:
        for id_ in ids:
            await kept.publish(id_, payload=random.Random(id_).randbytes(60))
    return ids


def segment_of(directory: Path, number: int = 1) -> tuple[Path, bytes]:
    path = segment_path(directory, number)
    return path, path.read_bytes()


async def test_a_last_record_cut_at_any_byte_costs_only_itself(tmp_path: Path) -> None:
    ids = await filled(tmp_path)
    path, data = segment_of(tmp_path)
    last = read_segment(path, 1).records[-1]
    for cut in range(last.offset, last.end):
        path.write_bytes(data[:cut] + bytes(len(data) - cut))
        recovered = recover(tmp_path)
        found = [f.stored.id for f in recovered.in_order]
        assert recovered.damage == []
        if found == ids:  # nothing but padding was cut, or zeros at the end of the body
            assert data[cut : last.end].count(0) == last.end - cut
        else:
            assert found == ids[:-1]
            assert [torn.offset for torn in recovered.torn] == [last.offset] * (cut > last.offset)


async def test_a_file_cut_at_any_byte_of_its_last_record_is_read(tmp_path: Path) -> None:
    ids = await filled(tmp_path)
    path, data = segment_of(tmp_path)
    last = read_segment(path, 1).records[-1]
    for cut in range(last.offset, last.end - 8):
        path.write_bytes(data[:cut])
        assert ids_in(tmp_path) == ids[:-1]


async def test_a_torn_end_stays_no_damage_after_the_next_start(tmp_path: Path) -> None:
    ids = await filled(tmp_path)
    path, data = segment_of(tmp_path)
    last = read_segment(path, 1).records[-1]
    path.write_bytes(data[: last.end - 30] + bytes(len(data) - last.end + 30))
    for n in range(2):
        async with kept_in(tmp_path) as kept:
            assert len(kept.recovered.torn) == 1
            await kept.publish(f"later-{n}")
    assert recover(tmp_path).damage == []
    assert ids_in(tmp_path) == [*ids[:-1], "later-0", "later-1"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    import asyncio

    directory = tmp_path_factory.mktemp("sound")
    return directory, asyncio.run(filled(directory))


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_at_most_the_record_that_it_is_in(
    sound: tuple[Path, list[str]], tmp_path: Path, where: float, bit: int
) -> None:
    directory, ids = sound
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(directory, work)
    path, data = segment_of(work)
    records = read_segment(path, 1).records
    at = HEADER_BYTES + int(where * (records[-1].end - HEADER_BYTES))
    flipped = bytearray(data)
    flipped[at] ^= 1 << bit
    path.write_bytes(flipped)
    hit = next(n for n, record in enumerate(records) if record.offset <= at < record.end)
    recovered = recover(work)
    found = [f.stored.id for f in recovered.in_order]
    reported = [(d.path, d.offset) for d in [*recovered.damage, *recovered.torn]]
    if found == ids:
        # Padding is not checked: it means nothing. A flip there shows at the end of a file alone.
        assert at >= records[hit].offset + 24 + len(records[hit].body)
    else:
        assert found == ids[:hit] + ids[hit + 1 :]
        assert reported == [(path, records[hit].offset)]


@pytest.mark.parametrize("at", [0, 13, 20, 30, 39, 2048, 2060])
async def test_one_damaged_header_costs_nothing_and_is_told(tmp_path: Path, at: int) -> None:
    ids = await filled(tmp_path)
    path, data = segment_of(tmp_path)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    recovered = recover(tmp_path)
    assert [f.stored.id for f in recovered.in_order] == ids
    assert [(d.path, d.offset) for d in recovered.damage] == [(path, at // 2048 * 2048)]


async def test_two_damaged_headers_cost_the_segment_and_are_told(tmp_path: Path) -> None:
    await filled(tmp_path)
    path, data = segment_of(tmp_path)
    path.write_bytes(bytes(HEADER_BYTES) + data[HEADER_BYTES:])
    recovered = recover(tmp_path)
    assert not recovered.live
    assert "no readable segment header" in str(recovered.damage[0])


async def test_a_missing_segment_is_told_by_name(tmp_path: Path) -> None:
    async with kept_in(tmp_path) as kept:
        for n in range(3):
            await kept.publish(f"m{n}", payload=bytes(150_000))
    second = segments_in(tmp_path)[1]
    segment_path(tmp_path, second).unlink()
    recovered = recover(tmp_path)
    assert [f.stored.id for f in recovered.in_order] == ["m0", "m2"]
    assert [d.path for d in recovered.damage] == [segment_path(tmp_path, second)]
    async with kept_in(tmp_path) as kept:
        assert list(kept.entries) == ["m0", "m2"]


async def test_the_first_segment_missing_is_told_too(tmp_path: Path) -> None:
    for n in range(2):
        async with kept_in(tmp_path) as kept:
            await kept.publish(f"m{n}")
    segment_path(tmp_path, 1).unlink()
    assert [str(d.path) for d in recover(tmp_path).damage] == [str(segment_path(tmp_path, 1))]


async def test_a_payload_that_looks_like_a_record_is_never_read_as_one(tmp_path: Path) -> None:
    forged = encode_body(StoredMessage(99, 99, "", "forged", "", b"", b"\x80"))
    payload = b"".join(
        bytes(n) + encode_record(RecordKind.MESSAGES, 50, forged, 0) for n in range(8)
    )
    async with kept_in(tmp_path) as kept:
        await kept.publish("a")
        await kept.publish("b", payload=payload)
        await kept.publish("c")
    path, data = segment_of(tmp_path)
    second = next(r for r in read_segment(path, 1).records if b"forged" in r.body)
    flipped = bytearray(data)
    flipped[second.offset + 8] ^= 1
    path.write_bytes(flipped)
    assert ids_in(tmp_path) == ["a", "c"]


async def test_a_later_format_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    path, data = segment_of(tmp_path)
    path.write_bytes(data[:8] + b"\x02" + data[9:])
    with pytest.raises(UnknownFormat, match="format version 2"):
        recover(tmp_path)


async def test_damage_does_not_keep_a_journal_from_going_on(tmp_path: Path) -> None:
    ids = await filled(tmp_path)
    path, data = segment_of(tmp_path)
    third = read_segment(path, 1).records[2]
    flipped = bytearray(data)
    flipped[third.offset + 40] ^= 4
    path.write_bytes(flipped)
    async with kept_in(tmp_path) as kept:
        assert len(kept.recovered.damage) == 1
        await kept.publish("more")
        await kept.ack("m0")
    assert ids_in(tmp_path) == [*ids[1:2], *ids[3:], "more"]


async def test_segments_made_ahead_of_need_are_removed_at_the_next_start(tmp_path: Path) -> None:
    for _ in range(5):
        async with kept_in(tmp_path):
            pass
    assert len(segments_in(tmp_path)) <= 4
    assert SMALL.segment_bytes == segment_path(tmp_path, segments_in(tmp_path)[-1]).stat().st_size
