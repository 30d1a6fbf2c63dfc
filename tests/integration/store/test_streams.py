"""Chunk leases: every row is somebody's, once, and what nobody finished is taken over."""

import asyncio

import pytest

from gputel.errors import ConfigError, StreamConflict
from gputel.store.write.streams import ChunkLease, Streams


async def stream(pool, owner="me", name="s", looping=False):
    streams = Streams(pool, name, owner)
    await streams.register("abc", "a.csv", looping=looping)
    return streams


async def settle(pool, first_row):
    await pool.execute("DELETE FROM stream_lease WHERE first_row = $1", first_row)


async def test_chunks_follow_one_another_without_gap_or_overlap(pool):
    owners = [await stream(pool, f"o{i}") for i in range(6)]

    async def reserve(streams):
        return [await streams.reserve(7, 60) for _ in range(20)]

    taken = await asyncio.gather(*map(reserve, owners))
    starts = sorted(lease.first_row for leases in taken for lease in leases)
    assert starts == list(range(0, 7 * 120, 7))
    assert (await owners[0].progress()).next_row == 7 * 120


async def test_expired_lease_is_taken_over_before_new_rows_are_reserved(pool):
    dead, living = await stream(pool, "dead"), await stream(pool, "living")
    await dead.reserve(10, 60)
    await dead.reserve(5, 60)
    await dead.release([0])
    assert await living.reserve(10, 60) == ChunkLease(0, 10, taken_over=True)
    assert await living.reserve(10, 60) == ChunkLease(15, 10, taken_over=False)


async def test_expired_lease_is_taken_over_by_one_streamer_only(pool):
    await (await stream(pool, "dead")).reserve(10, 0)
    owners = [await stream(pool, f"o{i}") for i in range(8)]
    leases = await asyncio.gather(*(owner.reserve(10, 60) for owner in owners))
    assert sorted(lease.first_row for lease in leases) == list(range(0, 80, 10))
    assert sum(lease.taken_over for lease in leases) == 1


async def test_lease_that_was_handed_back_is_taken_over_at_once(pool):
    leaving, staying = await stream(pool, "leaving"), await stream(pool, "staying")
    lease = await leaving.reserve(10, 600)
    await leaving.release([lease.first_row])
    assert (await staying.reserve(10, 60)).taken_over


async def test_streamer_cannot_hand_back_the_lease_of_another(pool):
    mine, other = await stream(pool, "mine"), await stream(pool, "other")
    lease = await mine.reserve(10, 60)
    await other.release([lease.first_row])
    assert not (await other.reserve(10, 60)).taken_over


async def test_end_of_a_one_shot_source_trims_the_last_lease_and_drops_those_beyond(pool):
    streams = await stream(pool)
    leases = [await streams.reserve(10, 60) for _ in range(3)]
    await streams.finish(13)
    rows = await pool.fetch("SELECT first_row, row_count FROM stream_lease ORDER BY 1")
    assert [tuple(row) for row in rows] == [(0, 10), (10, 3)]
    assert await streams.reserve(10, 60) is None
    assert not (await streams.progress()).complete
    for lease in leases:
        await settle(pool, lease.first_row)
    progress = await streams.progress()
    assert progress.complete
    assert progress.landed_rows == 13


async def test_chunk_never_reaches_beyond_an_end_that_is_known(pool):
    streams = await stream(pool)
    await streams.reserve(10, 60)
    await pool.execute("UPDATE stream_progress SET row_count = 15")
    assert await streams.reserve(10, 60) == ChunkLease(10, 5, taken_over=False)
    assert await streams.reserve(10, 60) is None


async def test_unsettled_names_the_chunks_that_have_not_landed(pool):
    streams = await stream(pool)
    for _ in range(3):
        await streams.reserve(10, 60)
    await settle(pool, 10)
    assert await streams.unsettled([0, 10, 20, 999]) == {0, 20}


async def test_one_stream_fed_from_two_sources_is_an_error_that_names_both(pool):
    await stream(pool)
    with pytest.raises(StreamConflict, match=r"a\.csv.*b\.csv"):
        await Streams(pool, "s", "me").register("other", "b.csv", looping=False)


async def test_one_stream_cannot_loop_and_be_one_shot(pool):
    await stream(pool)
    with pytest.raises(StreamConflict, match="one-shot"):
        await Streams(pool, "s", "me").register("abc", "a.csv", looping=True)


@pytest.mark.parametrize("name", ["x" * 257, "a\0b", "a\nb", "\udcff", ""])
async def test_a_name_that_no_stream_can_have_is_a_wrong_setting(pool, name):
    with pytest.raises(ConfigError, match=r"^stream_id: .*choose another name with --stream-id"):
        await stream(pool, name=name)
    assert await pool.fetchval("SELECT count(*) FROM stream_progress") == 0


async def test_longest_name_of_a_stream_fits_its_indexes(pool):
    streams = await stream(pool, name="".join(chr(0x10000 + 97 * at) for at in range(256)))
    assert await streams.reserve(10, 60) == ChunkLease(0, 10, taken_over=False)


async def test_a_file_whose_name_is_not_utf_8_can_be_a_source(pool):
    streams = Streams(pool, "s", "me")
    await streams.register("abc", "/tmp/caf\udce9.csv", looping=False)
    assert await pool.fetchval("SELECT source FROM stream_progress") == "/tmp/caf\\udce9.csv"
