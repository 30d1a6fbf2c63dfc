"""A broker with a journal is killed under load, again and again: what it confirmed holds."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gputel.errors import GputelError
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.mq.journal.recovery import recover
from tests.chaos.fleet import ROUNDS
from tests.helpers.processes import Processes, free_port


@dataclass
class Account:
    """What clients were told, and what they cannot know."""

    confirmed: set[str] = field(default_factory=set)
    asked_to_ack: set[str] = field(default_factory=set)
    acked: set[str] = field(default_factory=set)
    delivered: dict[str, int] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    resurrected: list[str] = field(default_factory=list)
    forgotten_attempts: list[str] = field(default_factory=list)


async def produce(url: str, account: Account) -> None:
    async with QueueClient(url) as client:
        while True:
            ids = [f"m{next(account.numbers)}" for _ in range(random.randint(1, 20))]
            batch = [OutgoingMessage(id=id_, payload=id_.encode() * 20) for id_ in ids]
            results = await client.publish(batch, wait_s=1)
            account.confirmed |= {result.id for result in results if result.state == "accepted"}


async def consume(url: str, account: Account) -> None:
    async with QueueClient(url) as client:
        while True:
            got = await client.consume(10, wait_s=1)
            for delivery in got:
                if delivery.id in account.acked:
                    account.resurrected.append(delivery.id)
                if delivery.attempts < account.delivered.get(delivery.id, 0):
                    account.forgotten_attempts.append(delivery.id)
                account.delivered[delivery.id] = delivery.attempts
            chosen = [(d.id, d.lease) for d in got if random.random() < 0.5]
            account.asked_to_ack |= {id_ for id_, _ in chosen}
            results = await client.ack(chosen)
            account.acked |= {result.id for result in results if result.ok}


async def until_broken(work: asyncio.Task[None]) -> None:
    try:
        await work
    except (GputelError, asyncio.CancelledError):
        return


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_what_was_confirmed_survives_kill_9(processes: Processes, tmp_path: Path) -> None:
    journal, port = tmp_path / "journal", free_port()
    url, account = f"http://127.0.0.1:{port}", Account()
    for _ in range(2 * ROUNDS):
        broker = processes.start(
            *("run", "--role", "broker", "--broker-port", str(port), "--journal", str(journal)),
            *("--journal-segment-bytes", str(512 * 1024), "--max-attempts", "1000"),
        )
        async with QueueClient(url) as client:

            async def answers(client: QueueClient = client) -> bool:
                return await client.check() is None

            while not await answers():
                assert broker.running, broker.err
                await asyncio.sleep(0.05)
        work = [asyncio.ensure_future(produce(url, account)) for _ in range(4)]
        work += [asyncio.ensure_future(consume(url, account)) for _ in range(2)]
        confirmed, acked = len(account.confirmed) + 100, len(account.acked) + 10
        while len(account.confirmed) < confirmed or len(account.acked) < acked:
            assert not any(task.done() for task in work), broker.err
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.uniform(0, 0.5))
        broker.kill()
        await asyncio.wait(work, timeout=10)
        for task in work:
            task.cancel()
            await until_broken(task)

    recovered = recover(journal)
    assert recovered.damage == []
    live = {found.stored.id: found.stored for found in recovered.live.values()}
    missing = account.confirmed - account.asked_to_ack - set(live)
    assert not missing, f"{len(missing)} of {len(account.confirmed)} confirmed are lost"
    assert not account.acked & set(live)
    assert not account.resurrected
    assert not account.forgotten_attempts
    # The kill may come between an answer and the write of its attempts; leases outlast a round.
    assert all(live[id_].attempts >= n - 1 for id_, n in account.delivered.items() if id_ in live)
