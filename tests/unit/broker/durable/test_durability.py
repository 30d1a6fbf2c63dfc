"""Queues on a journal: whatever is published, acked and rewritten, a restart finds what lives."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gputel.broker.durable.durability import durability
from gputel.broker.queues.queues import Queues
from gputel.broker.queues.waiting import WaitingQueue
from gputel.config.settings import BrokerSettings
from gputel.mq.core.message import LeasedMessage, QueuedMessage
from gputel.mq.journal.journal import Journal
from gputel.mq.journal.recovery import recover

SEGMENT = 256 * 1024


@asynccontextmanager
async def queue_in(
    directory: Path, *, max_attempts: int = 16
) -> AsyncIterator[tuple[WaitingQueue, Journal]]:
    """The default queue of a broker with a journal of the smallest segments."""
    settings = BrokerSettings(
        journal=directory, journal_segment_bytes=SEGMENT, max_attempts=max_attempts
    )
    async with durability(settings) as durable:
        queues = Queues(settings, durable)
        await durable.restore(queues.restored)
        yield queues.default, durable.journal
        queues.stop()


def message(id_: str, size: int = 10) -> QueuedMessage:
    return QueuedMessage(id_, "", random.Random(id_).randbytes(size), b"\x80")


async def consume(waiting: WaitingQueue, most: int) -> list[LeasedMessage]:
    return await waiting.consume(most, None, 0)


async def ack(waiting: WaitingQueue, deliveries: list[LeasedMessage]) -> None:
    errors = waiting.each(lambda d, now: waiting.queue.ack(d.message.id, d.lease, now), deliveries)
    assert errors == [None] * len(deliveries)
    assert waiting.confirm is not None
    await waiting.confirm()


def kept(directory: Path) -> list[tuple[str, bytes]]:
    """Ids and payloads in a journal, in the order of delivery; the journal is sound."""
    recovered = recover(directory)
    assert recovered.damage == []
    return [(found.stored.id, found.stored.payload) for found in recovered.in_order]


@pytest.mark.parametrize(
    ("count", "size", "id_bytes"),
    [(150, 16_500, 8), (20_000, 0, 8), (300, 0, 4000), (40, 70_000, 8)],
)
async def test_publish_that_fills_many_segments_is_kept_whole(
    tmp_path: Path, count: int, size: int, id_bytes: int
) -> None:
    messages = [message(f"{n:0{id_bytes}d}", size) for n in range(count)]
    async with queue_in(tmp_path) as (waiting, journal):
        assert await waiting.publish(messages, 0) == [None] * count
        assert not journal.broken
    assert kept(tmp_path) == [(m.id, m.payload) for m in messages]


@pytest.mark.parametrize("live", ["large", "small"])
async def test_batches_of_unlike_messages_acked_in_part_are_compacted_within_bounds(
    tmp_path: Path, live: str
) -> None:
    def stays(m: QueuedMessage) -> bool:
        return (len(m.payload) > 1000) == (live == "large")

    published: list[QueuedMessage] = []
    async with queue_in(tmp_path) as (waiting, journal):
        for round_ in range(40):
            batch = [message(f"{round_}-{n}", 50_000 if n == 50 else 20) for n in range(100)]
            await waiting.publish(batch, 0)
            published += batch
            deliveries = await consume(waiting, 100)
            await ack(waiting, [d for d in deliveries if not stays(d.message)])
        space = journal.space
        async with asyncio.timeout(60):
            while space.disk_bytes > 2 * space.live_bytes + 4 * SEGMENT:
                assert not journal.broken
                await asyncio.sleep(0.01)
        living = sum(len(m.payload) for m in published if stays(m))
        if live == "large":
            assert 0.8 * living < space.live_bytes < 1.2 * living
        else:
            assert living < space.live_bytes < 300 * 99 * 40
        assert journal.rewritten_bytes < 2 * sum(len(m.payload) + 300 for m in published)
        before = space.live_bytes
    async with queue_in(tmp_path) as (_, journal):
        assert before * 0.9 < journal.space.live_bytes < before * 1.1
    assert kept(tmp_path) == [(m.id, m.payload) for m in published if stays(m)]


async def test_dead_letters_with_long_histories_are_rewritten_into_the_room_there_is(
    tmp_path: Path,
) -> None:
    async with queue_in(tmp_path) as (waiting, journal):
        await waiting.publish([message(f"m{n}") for n in range(600)], 0)
        for attempt in range(9):
            for d in await consume(waiting, 600):
                reason = f"{attempt}" + "\u20ac" * 300
                waiting.queue.nack(
                    d.message.id, d.lease, waiting.now(), reason=reason, dead=attempt == 8
                )
            await journal.confirm()
        for n in range(40):
            await waiting.publish([message(f"x{n}", 200_000)], 0)
            await ack(waiting, await consume(waiting, 1))
        assert not journal.broken
        assert len(waiting.queue.dead_letters) == 600
        assert journal.rewritten_bytes > 0
    async with queue_in(tmp_path) as (waiting, _):
        letters = waiting.queue.dead_letters.page(0, 600)
        assert [len(letter.history) for letter in letters] == [8] * 600


async def test_delivery_that_never_left_costs_no_attempt_after_a_restart_either(
    tmp_path: Path,
) -> None:
    async with queue_in(tmp_path, max_attempts=1) as (waiting, _):
        await waiting.publish([message("a")], 0)
        waiting.give_back(await consume(waiting, 1))
    async with queue_in(tmp_path, max_attempts=1) as (waiting, _):
        assert (waiting.queue.ready, len(waiting.queue.dead_letters)) == (1, 0)


async def test_queue_is_deleted_whole_though_the_client_leaves_meanwhile(tmp_path: Path) -> None:
    settings = BrokerSettings(journal=tmp_path)
    async with durability(settings) as durable:
        queues = Queues(settings, durable)
        await queues.named("jobs").publish([message(f"m{n}") for n in range(7000)], 0)
        deleting = asyncio.create_task(queues.delete("jobs", force=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not deleting.done()
        deleting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deleting
        while queues._dropping:
            await asyncio.sleep(0)
    assert kept(tmp_path) == []


class Workload:
    """Random requests, and what must come of them: ids by order, and those that are dead."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.line: list[str] = []
        self.dead: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.leased: dict[str, LeasedMessage] = {}
        self.count = 0

    async def step(self, waiting: WaitingQueue) -> None:
        act = self.random.choice([self.publish, self.consume, self.consume, self.end, self.letter])
        await act(waiting)
        assert waiting.confirm is not None
        await waiting.confirm()

    async def publish(self, waiting: WaitingQueue) -> None:
        top = self.random.choice([10, 300, 30_000])
        sizes = [self.random.randrange(top) for _ in range(self.random.randrange(1, 30))]
        batch = [message(f"m{self.count + n}", size) for n, size in enumerate(sizes)]
        self.count += len(batch)
        assert await waiting.publish(batch, 0) == [None] * len(batch)
        self.line += [m.id for m in batch]
        self.attempts |= {m.id: 0 for m in batch}

    async def consume(self, waiting: WaitingQueue) -> None:
        for delivery in await consume(waiting, self.random.randrange(1, 40)):
            self.leased[delivery.message.id] = delivery
            self.attempts[delivery.message.id] += 1

    async def end(self, waiting: WaitingQueue) -> None:
        some = [id_ for id_ in self.leased if self.random.random() < 0.7]
        for id_ in some:
            lease, now = self.leased.pop(id_).lease, waiting.now()
            how = self.random.choice(["ack", "ack", "ack", "nack", "dead"])
            if how == "ack":
                waiting.queue.ack(id_, lease, now)
                self.line.remove(id_)
            else:
                waiting.queue.nack(id_, lease, now, dead=how == "dead")
                self.dead |= {id_} if how == "dead" else set()

    async def letter(self, waiting: WaitingQueue) -> None:
        for id_ in [id_ for id_ in sorted(self.dead) if self.random.random() < 0.3]:
            self.dead.remove(id_)
            self.line.remove(id_)
            if self.random.random() < 0.5:
                waiting.queue.replay(id_)
                self.line.append(id_)
                self.attempts[id_] = 0
            else:
                waiting.queue.purge(id_)

    def check(self, directory: Path) -> None:
        recovered = recover(directory)
        assert recovered.damage == []
        stored = [found.stored for found in recovered.in_order]
        assert [s.id for s in stored] == self.line
        assert {s.id for s in stored if s.dead} == self.dead
        for s in stored:
            assert s.payload == message(s.id, len(s.payload)).payload


@pytest.mark.parametrize("seed", range(4))
async def test_any_workload_is_found_again_after_kills_and_restarts(
    tmp_path: Path, seed: int
) -> None:
    workload = Workload(seed)
    journals = tmp_path / "journal"
    for restart in range(6):
        async with queue_in(journals) as (waiting, journal):
            for _ in range(60):
                await workload.step(waiting)
            assert not journal.broken
            killed = tmp_path / f"killed-{restart}"
            killed.mkdir()
            for segment in sorted(journals.glob("*.journal")):
                with suppress(FileNotFoundError):  # a later one tells that it is not needed
                    shutil.copy(segment, killed)
            workload.check(killed)
            shutil.rmtree(killed)
        workload.leased.clear()
        workload.check(journals)
        stored = recover(journals).in_order
        assert {s.stored.id: s.stored.attempts for s in stored if not s.stored.dead} == {
            id_: workload.attempts[id_] for id_ in workload.line if id_ not in workload.dead
        }
