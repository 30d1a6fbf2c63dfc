"""A full disk, on a real file system that is really full."""

import asyncio
from itertools import count
from pathlib import Path

from gputel.errors import JournalFull
from gputel.mq.journal.commits import JournalOptions
from gputel.mq.journal.recovery import recover
from tests.unit.mq.journal_bench import Kept, ids_in, kept_in

OPTIONS = JournalOptions(segment_bytes=256 * 1024)


async def fill(kept: Kept, name: str) -> list[str]:
    """Publish until the journal refuses; what it confirmed."""
    confirmed: list[str] = []
    while True:
        id_ = f"{name}-{len(confirmed)}"
        try:
            await kept.publish(id_, payload=b"p" * 2000)
        except JournalFull:
            kept.entries.pop(id_, None)
            return confirmed
        confirmed.append(id_)


async def fill_once_there_is_room(kept: Kept, name: str, more_than: int) -> list[str]:
    """Publish again and again until so many were confirmed; those that were."""
    confirmed: list[str] = []
    async with asyncio.timeout(60):
        for turn in count():
            confirmed += await fill(kept, f"{name}-{turn}")
            if len(confirmed) > more_than:
                break
            await asyncio.sleep(0.05)
    return confirmed


async def test_a_full_disk_refuses_publishes_and_loses_nothing_confirmed(small_disk: Path) -> None:
    async with kept_in(small_disk, OPTIONS) as kept:
        confirmed = await fill(kept, "a")
        assert len(confirmed) > 300
    assert ids_in(small_disk) == confirmed
    assert recover(small_disk).damage == []


async def test_every_message_can_be_acked_on_a_full_disk_one_by_one(small_disk: Path) -> None:
    async with kept_in(small_disk, OPTIONS) as kept:
        confirmed = await fill(kept, "a")
        for id_ in confirmed:
            await kept.ack(id_)
    assert ids_in(small_disk) == []
    assert recover(small_disk).damage == []


async def test_publishing_goes_on_by_itself_once_acks_made_room(small_disk: Path) -> None:
    async with kept_in(small_disk, OPTIONS) as kept:
        confirmed = await fill(kept, "a")
        await kept.ack(*confirmed[: len(confirmed) * 3 // 4])
        await fill_once_there_is_room(kept, "b", 100)
        expected = list(kept.entries)
    assert sorted(ids_in(small_disk)) == sorted(expected)


async def test_publishing_goes_on_once_somebody_freed_the_disk(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    async with kept_in(small_disk, OPTIONS) as kept:
        first = await fill(kept, "a")
        ballast.unlink()
        second = await fill_once_there_is_room(kept, "b", 200)
    assert ids_in(small_disk) == first + second


async def test_a_journal_on_a_full_disk_can_be_opened_and_emptied(small_disk: Path) -> None:
    async with kept_in(small_disk, OPTIONS) as kept:
        confirmed = await fill(kept, "a")
    async with kept_in(small_disk, OPTIONS) as kept:
        assert list(kept.entries) == confirmed
        for id_ in confirmed:
            await kept.ack(id_)
        await fill_once_there_is_room(kept, "b", 200)
