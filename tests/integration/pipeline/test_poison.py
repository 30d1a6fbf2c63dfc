"""What can never land keeps nothing from landing, and what can land is never given up."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gputel.config.settings import PostgresSettings
from gputel.model.checksum import sealed
from gputel.model.record_batch import encode
from gputel.mq.client import OutgoingMessage, QueueClient
from gputel.outage import Outage
from gputel.store import clock, sessions
from gputel.store.pool import close_pool, open_pool
from gputel.store.write.admission import Admission
from gputel.store.write.writer import Arrival, Writer
from tests.helpers.batches import NOON, batch, labels, steady
from tests.helpers.waiting import eventually
from tests.helpers.wire import wire_to, wire_to_port
from tests.integration.pipeline.conftest import Pipeline

GOOD = 5


def bad(**given: str) -> bytes:
    return encode(batch([(labels(**given), NOON, 1.0)]))


async def publish(client: QueueClient, **payloads: bytes) -> None:
    """These messages among good ones of three rows each."""
    messages = [
        OutgoingMessage(id=f"good{i}", payload=encode(steady(3, f"GPU-{i}"))) for i in range(GOOD)
    ]
    named = [OutgoingMessage(id=name, payload=payload) for name, payload in payloads.items()]
    await client.publish([*messages[:2], *named, *messages[2:]])


async def dead_letters(pipeline: Pipeline, client: QueueClient, count: int) -> dict[str, str]:
    """The reason of each, once there are so many and nothing else is held."""

    async def settled() -> bool:
        stats = await client.stats()
        return bool(stats["dead"] == count and stats["acked"] == GOOD)

    await eventually(settled, 40)
    page = await get(pipeline, "/dead-letters")
    return {each["id"]: each["reason"] for each in page["dead_letters"]}


async def get(pipeline: Pipeline, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(pipeline.url + path) as response:
        return await response.json()


async def test_labels_over_the_bounds_are_dead_letters_with_their_reason(
    pipeline: Pipeline,
) -> None:
    async with pipeline.broker():
        client = await pipeline.client()
        await publish(
            client,
            long=bad(uuid="x" * 6000),
            raw=bad(labels_raw="é" * 2049),
            nul=bad(pod="a\0"),
        )
        await pipeline.start_collector()
        reasons = await dead_letters(pipeline, client, 3)
        assert "uuid is over 256 characters" in reasons["long"]
        assert "labels_raw is over 4096 bytes" in reasons["raw"]
        assert "pod has a line break or a NUL" in reasons["nul"]
        assert await pipeline.landed() == 3 * GOOD


@pytest.mark.parametrize("code", ["54000", "22003", "23514"])
async def test_what_postgres_refuses_for_its_data_is_taken_apart_whatever_the_class(
    pipeline: Pipeline, code: str
) -> None:
    await curse(pipeline, code)
    async with pipeline.broker():
        await land_all_but_the_cursed(pipeline, code)


@pytest.mark.parametrize("code", ["P0001", "XX000", "0A000"])
async def test_what_postgres_refuses_for_no_clear_reason_is_tried_often_and_then_given_up(
    pipeline: Pipeline, code: str
) -> None:
    await curse(pipeline, code)
    async with pipeline.broker(max_attempts=2):
        await land_all_but_the_cursed(pipeline, code)
        letter = await get(pipeline, "/dead-letters/cursed")
        assert [each["attempt"] for each in letter["history"]] == [1, 2]


async def land_all_but_the_cursed(pipeline: Pipeline, code: str) -> None:
    client = await pipeline.client()
    await publish(client, cursed=bad(uuid="GPU-cursed"))
    await pipeline.start_collector()
    reasons = await dead_letters(pipeline, client, 1)
    assert f"cursed for {code}" in reasons["cursed"]
    assert await pipeline.landed() == 3 * GOOD


async def curse(pipeline: Pipeline, code: str) -> None:
    """Have Postgres refuse the series of one GPU."""
    await pipeline.pool.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.uuid = 'GPU-cursed' THEN
                RAISE 'cursed for {code}' USING ERRCODE = '{code}', CONSTRAINT = 'curse';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON series FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )


@pytest.mark.parametrize(
    ("damage", "repair", "told"),
    [
        (
            "ALTER TABLE message_ledger RENAME TO away",
            "ALTER TABLE away RENAME TO message_ledger",
            'relation "message_ledger" does not exist',
        ),
        (
            "ALTER TABLE sample_block ADD CONSTRAINT checked CHECK (step_us >= 0) NOT VALID",
            "ALTER TABLE sample_block DROP CONSTRAINT checked",
            'child table is missing constraint "checked"',
        ),
    ],
    ids=["a table is missing", "a day cannot be attached"],
)
async def test_what_somebody_must_repair_is_told_once_and_tried_on_until_it_is(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, damage: str, repair: str, told: str
) -> None:
    outage = Outage(logging.getLogger("gputel.collector"), "the database")
    await pipeline.pool.execute(damage)
    async with pipeline.broker(max_attempts=2):
        client = await pipeline.client()
        await publish(client)
        await pipeline.start_collector(outage=outage)
        await eventually(outage.check)
        assert told in (await outage.check() or "")
        await asyncio.sleep(0.5)  # some tries more
        await pipeline.pool.execute(repair)
        assert await dead_letters(pipeline, client, 0) == {}
        assert await pipeline.landed() == 3 * GOOD
        assert await outage.check() is None
    assert caplog.text.count(told) == 1


async def test_a_day_that_was_detached_keeps_no_other_day_from_landing(
    pipeline: Pipeline,
) -> None:
    day = datetime(2024, 2, 29, tzinfo=UTC)
    await pipeline.pool.execute("SELECT ensure_sample_block_day($1)", day.date())
    await pipeline.pool.execute("ALTER TABLE sample_block DETACH PARTITION sample_block_20240229")
    async with pipeline.broker(max_attempts=2):
        client = await pipeline.client()
        await publish(client, old=encode(batch([(labels(), day, 1.0)])))
        await pipeline.start_collector()
        reasons = await dead_letters(pipeline, client, 1)
        assert "sample_block_20240229 that is no partition" in reasons["old"]
        assert await pipeline.landed() == 3 * GOOD


async def test_a_bit_that_flips_on_the_way_costs_a_redelivery_and_nothing_else(
    pipeline: Pipeline,
) -> None:
    async with pipeline.broker() as port, wire_to_port(port) as wire:
        client = await pipeline.client()
        payload = encode(steady(20_000))
        for at in range(3):
            name = f"good{at}"
            metadata = sealed(name, payload, {})
            await client.publish([OutgoingMessage(id=name, payload=payload, metadata=metadata)])
        pipeline.url = wire.url
        wire.damage(3)
        await pipeline.start_collector(visibility_timeout_s=2)

        async def settled() -> bool:
            return bool((await client.stats())["acked"] == 3)

        await eventually(settled, 40)
        stats = await client.stats()
        assert stats["dead"] == 0
        assert stats["redelivered"] > 0
        # The three are of the same samples, so what differs would be there beside them.
        values = await pipeline.pool.fetch("SELECT DISTINCT value FROM telemetry ORDER BY 1")
        assert [row["value"] for row in values] == list(range(20_000))


async def test_a_message_that_was_damaged_for_good_is_given_up_with_the_reason(
    pipeline: Pipeline,
) -> None:
    async with pipeline.broker(max_attempts=3):
        client = await pipeline.client()
        metadata = sealed("cursed", b"another payload", {})
        await publish(client)
        payload = encode(steady(3))
        await client.publish([OutgoingMessage(id="cursed", payload=payload, metadata=metadata)])
        await pipeline.start_collector()
        reasons = await dead_letters(pipeline, client, 1)
        assert "damaged on the way" in reasons["cursed"]
        assert await pipeline.landed() == 3 * GOOD


async def test_a_chunk_whose_copy_at_the_broker_is_damaged_is_read_and_sent_again(
    pipeline: Pipeline, csv: Path
) -> None:
    async with pipeline.broker() as port, wire_to_port(port) as wire:
        direct, pipeline.url = pipeline.url, wire.url
        streamer = await pipeline.streamer(csv, chunk_rows=250, chunk_lease_s=1)
        wire.damage(1)
        pipeline.url = direct
        await pipeline.start_collector()
        await asyncio.wait_for(streamer.run(asyncio.Event()), 40)
    values = await pipeline.pool.fetch("SELECT value FROM telemetry ORDER BY 1")
    assert [row["value"] for row in values] == list(range(1000))


async def test_a_postgres_that_goes_silent_under_a_collector_costs_no_row(
    pipeline: Pipeline, csv: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_PATIENCE_S", 0.3)
    outage = Outage(logging.getLogger("gputel.collector"), "the database")
    async with wire_to(dsn) as wire, pipeline.broker():
        pool = await open_pool(wire.dsn, PostgresSettings())
        stop = await pipeline.start_collector(pool, outage=outage)
        streamer = await pipeline.streamer(csv, rate=1000, chunk_interval_s=0.05)
        task = asyncio.create_task(streamer.run(asyncio.Event()))

        async def some() -> int:
            return await pipeline.landed()

        await eventually(some)
        wire.mute()
        await asyncio.wait_for(task, 40)
        assert await pipeline.landed() == 1000
        assert await outage.check() is None
        await stop()
        await close_pool(pool)


@pytest.mark.parametrize(("attempts", "transactions"), [(0, 2), (1, 2), (2, GOOD)])
async def test_a_message_that_was_delivered_often_is_worked_on_alone(
    pipeline: Pipeline, attempts: int, transactions: int
) -> None:
    """The first one always is: what ended the process before may be next."""
    async with pipeline.broker():
        client = await pipeline.client()
        await publish(client)
        for _ in range(attempts):
            deliveries = await client.consume(100)
            await client.nack([(each.id, each.lease) for each in deliveries])
        await pipeline.start_collector(workers=1)
        await dead_letters(pipeline, client, 0)
        seen = await pipeline.pool.fetchval("SELECT count(DISTINCT xmin::text) FROM message_ledger")
        assert seen == transactions


class Moved:
    """The module ``time``, of a machine whose clock is wrong by so many days."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, days: int) -> None:
        self._off_ns = days * 86_400 * 10**9

    def time_ns(self) -> int:
        return time.time_ns() + self._off_ns


@pytest.mark.parametrize("days", [-400, -40, 0, 40, 400])
async def test_a_wrong_clock_of_this_machine_rejects_nothing(
    pipeline: Pipeline, days: int, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clock, "time", Moved(days))
    writer = Writer(pipeline.pool, Admission(timedelta(days=30), timedelta(days=1)))
    now = datetime.now(UTC)
    moments = [now, now - timedelta(days=500), now + timedelta(days=500)]
    records = batch([(labels(), moment, 1.0) for moment in moments])
    assert await writer.land([Arrival("1", None, records)]) == [True]
    landed = await pipeline.pool.fetch("SELECT timestamp FROM telemetry")
    assert [row["timestamp"] for row in landed] == [now]
    assert ("the clock of this machine is" in caplog.text) == bool(days)
