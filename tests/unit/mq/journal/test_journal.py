"""What was confirmed is there after a start; disk use stays bounded; failures are told."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from gputel.errors import JournalBroken, JournalFull
from gputel.mq.journal.commits import JournalOptions
from gputel.mq.journal.files import JournalFiles, JournalInUse
from gputel.mq.journal.recovery import recover
from tests.unit.mq.journal_bench import SMALL, ids_in, kept_in


@pytest.mark.parametrize("sync", ["always", "interval", "off"])
async def test_messages_come_back_in_their_order(tmp_path: Path, sync: str) -> None:
    options = JournalOptions(sync, 0.01, 256 * 1024)
    async with kept_in(tmp_path, options) as kept:
        await kept.publish("a", "b", "c", "d")
        await kept.ack("b")
        await asyncio.sleep(0.03)
    async with kept_in(tmp_path, options) as kept:
        assert list(kept.entries) == ["a", "c", "d"]
        assert not kept.recovered.damage
        assert not kept.recovered.torn
        await kept.ack("a")
    assert ids_in(tmp_path) == ["c", "d"]


async def test_attempts_dead_letters_and_replays_survive(tmp_path: Path) -> None:
    async with kept_in(tmp_path) as kept:
        await kept.publish("a", "b", "c")
        kept.deliver("a", 3)
        await kept.die("b", "cannot be decoded")
        await kept.die("c", "no")
        await kept.replay("c")
        await kept.publish("d")
    for _ in range(3):
        async with kept_in(tmp_path) as kept:
            stored = {id_: entry.message for id_, entry in kept.entries.items()}
            assert list(stored) == ["a", "b", "c", "d"]
            assert stored["a"].attempts == 3
            assert stored["b"].dead
            assert stored["b"].history[0].reason == "cannot be decoded"
            assert not stored["c"].dead


async def test_a_replayed_message_comes_back_behind_the_older_ones(tmp_path: Path) -> None:
    async with kept_in(tmp_path) as kept:
        await kept.publish("a", "b")
        await kept.die("a", "no")
        await kept.replay("a")
    assert ids_in(tmp_path) == ["b", "a"]


async def test_a_directory_belongs_to_one_broker(tmp_path: Path) -> None:
    async with kept_in(tmp_path):
        with pytest.raises(JournalInUse, match=str(tmp_path)):
            async with kept_in(tmp_path):
                pass


async def test_disk_use_stays_bounded_while_one_old_message_lives(tmp_path: Path) -> None:
    async with kept_in(tmp_path) as kept:
        await kept.publish("old", payload=b"o" * 1000)
        for round_ in range(60):
            ids = [f"{round_}-{n}" for n in range(20)]
            await kept.publish(*ids, payload=b"p" * 2000)
            await kept.ack(*ids)
        assert kept.journal.rewritten_bytes < 60 * 20 * 2000 / 10
    files = list(tmp_path.glob("*.journal"))
    assert len(files) <= 5
    assert ids_in(tmp_path) == ["old"]
    assert recover(tmp_path).damage == []


async def test_what_is_rewritten_stays_below_twice_what_is_published(tmp_path: Path) -> None:
    """The worst case for the oldest-first rule: every second message lives on."""
    published = 0
    async with kept_in(tmp_path) as kept:
        for round_ in range(40):
            ids = [f"{round_}-{n}" for n in range(40)]
            await kept.publish(*ids, payload=b"p" * 1000)
            published += 40 * 1000
            await kept.ack(*ids[::2])
        for round_ in range(40):
            await kept.ack(*[f"{round_}-{n}" for n in range(1, 40, 4)])
        assert kept.journal.rewritten_bytes < 2 * published
        space = kept.journal.space
        assert space.disk_bytes <= 2 * space.live_bytes + 4 * SMALL.segment_bytes
        expected = sorted(kept.entries)
    assert sorted(ids_in(tmp_path)) == expected


async def test_a_message_larger_than_a_segment_gets_a_segment_of_its_size(tmp_path: Path) -> None:
    async with kept_in(tmp_path) as kept:
        await kept.publish("small")
        await kept.publish("large", payload=b"l" * 3_000_000)
        await kept.publish("after")
    assert ids_in(tmp_path) == ["small", "large", "after"]
    assert recover(tmp_path).damage == []


class Counting(JournalFiles):
    syncs = 0

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        super().fdatasync(fd)


async def test_concurrent_publishes_share_one_sync(tmp_path: Path) -> None:
    files = Counting(tmp_path)
    async with kept_in(tmp_path, files=files) as kept:
        before = files.syncs
        await asyncio.gather(*(kept.publish(str(n)) for n in range(100)))
        assert files.syncs - before <= 3


class Failing(JournalFiles):
    """A disk that fails on demand, which a real one does not do in a test."""

    no_space = False
    broken = False
    syncs_after_error = 0

    def allocate(self, fd: int, size: int) -> None:
        if self.no_space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(fd, size)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        if self.no_space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pwrite(fd, data[: max(1, len(data) // 2)], offset)

    def fdatasync(self, fd: int) -> None:
        if self.broken:
            self.syncs_after_error += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().fdatasync(fd)


async def test_after_an_fsync_error_nothing_is_confirmed_and_no_sync_tried_again(
    tmp_path: Path,
) -> None:
    files = Failing(tmp_path)
    async with kept_in(tmp_path, files=files) as kept:
        await kept.publish("safe")
        files.broken = True
        results = await asyncio.gather(
            *(kept.publish(f"lost-{n}") for n in range(5)), return_exceptions=True
        )
        assert all(isinstance(result, JournalBroken) for result in results)
        files.broken = False
        with pytest.raises(JournalBroken, match=str(tmp_path)):
            await kept.publish("more")
        with pytest.raises(JournalBroken):
            await kept.ack("safe")
        assert files.syncs_after_error == 1
    assert "safe" in ids_in(tmp_path)


async def test_a_write_into_a_full_disk_waits_and_is_confirmed_once_there_is_space(
    tmp_path: Path,
) -> None:
    """A file system that copies on write can refuse a write into reserved blocks."""
    files = Failing(tmp_path)
    async with kept_in(tmp_path, files=files) as kept:
        await kept.publish("a")
        files.no_space = True
        waiting = asyncio.ensure_future(kept.publish("b"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        with pytest.raises(JournalFull):
            await kept.publish("c")
        files.no_space = False
        await waiting
        await kept.publish("d")
    assert ids_in(tmp_path) == ["a", "b", "d"]
