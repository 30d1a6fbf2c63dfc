"""Pushes with a key, which may be repeated."""

from __future__ import annotations

import asyncio
import json

from gputel.config.settings import PostgresSettings
from gputel.store.pool import close_pool, open_pool
from tests.helpers.waiting import eventually
from tests.helpers.wire import wire_to
from tests.integration.pipeline.conftest import Pipeline
from tests.integration.pipeline.pushing import CSV, NDJSON, api_of, record

LATER = "2026-03-01T12:00:01Z"
BODY = json.dumps([record(1), record(2, timestamp=LATER), record("x")])


async def test_a_push_that_is_repeated_lands_once(pipeline: Pipeline) -> None:
    async with pipeline.broker(), api_of(pipeline) as api:
        answers = [await api.pushed(BODY, Idempotency_Key="k") for _ in range(2)]
        await pipeline.start_collector()

        async def landed() -> bool:
            return await pipeline.landed() > 0

        await eventually(landed)
        # Also when the first has landed and the queue has forgotten it.
        answers.append(await api.pushed(BODY, Idempotency_Key="k"))
        await api.pushed(json.dumps(record(3, "GPU-b")), Idempotency_Key="other")

        async def other() -> bool:
            return await pipeline.landed() > 2

        await eventually(other)
        assert answers[0] == answers[1] == answers[2]
        assert [read["value"] for read in await api.read("GPU-a")] == [1, 2]


async def test_pushes_without_a_key_are_pushes_of_their_own(pipeline: Pipeline) -> None:
    async with pipeline.broker(), api_of(pipeline) as api:
        await pipeline.start_collector()
        for _ in range(2):
            await api.pushed(BODY)

        async def landed() -> bool:
            noted = await pipeline.pool.fetchval("SELECT count(*) FROM message_ledger")
            return bool(noted == 2)

        await eventually(landed)
        # Two commits at once may both have stored the samples; they count once.
        assert [read["value"] for read in await api.read("GPU-a")] == [1, 2]


async def test_pushes_of_one_key_at_once_land_once(pipeline: Pipeline) -> None:
    async with pipeline.broker(), api_of(pipeline) as one, api_of(pipeline) as other:
        pushes = [api.pushed(BODY, Idempotency_Key="k") for api in (one, other) for _ in range(5)]
        ids = {answer["message_id"] for answer in await asyncio.gather(*pushes)}
        assert len(ids) == 1
        await pipeline.start_collector()
        await one.pushed(json.dumps(record(3, "GPU-b")))

        async def landed() -> bool:
            return await pipeline.landed() >= 3

        await eventually(landed)
        assert await pipeline.landed() == 3


async def test_a_key_with_another_body_is_refused(pipeline: Pipeline) -> None:
    async with pipeline.broker(), api_of(pipeline) as api:
        await api.pushed(json.dumps(record(1)), Idempotency_Key="k")
        for body, kind in (
            (json.dumps(record(2)), "application/json"),
            (json.dumps(record(1)), NDJSON),
        ):
            status, answer = await api.push(body, kind, Idempotency_Key="k")
            assert (status, answer["code"]) == (422, "idempotency_key_reused")
        async with api_of(pipeline) as other:
            status, _ = await other.push(json.dumps(record(2)), Idempotency_Key="k")
            assert status == 422


async def test_a_key_of_a_push_that_failed_can_be_used_again(pipeline: Pipeline) -> None:
    async with pipeline.broker() as port:
        pass
    async with api_of(pipeline) as api:
        status, _ = await api.push(BODY, Idempotency_Key="k")
        assert status == 503
        async with pipeline.broker(port):
            assert (await api.pushed(BODY, Idempotency_Key="k"))["accepted"] == 2


async def test_what_a_broker_lost_lands_when_it_is_pushed_again(pipeline: Pipeline) -> None:
    async with pipeline.broker() as port, api_of(pipeline) as api:
        await api.pushed(BODY, Idempotency_Key="k")
    async with pipeline.broker(port), api_of(pipeline) as api:
        await pipeline.start_collector()
        await api.pushed(BODY, Idempotency_Key="k")

        async def landed() -> bool:
            return await pipeline.landed() == 2

        await eventually(landed)


async def test_a_wrong_key_is_a_bad_request(pipeline: Pipeline) -> None:
    async with pipeline.broker(), api_of(pipeline) as api:
        for key in ("", "a b", "ü", "x" * 256):
            status, answer = await api.push(BODY, Idempotency_Key=key)
            assert (status, answer["code"]) == (400, "bad_request"), key
            assert answer["message"].startswith("Idempotency-Key: ")


async def test_while_postgres_is_away_pushes_with_a_key_are_refused(
    pipeline: Pipeline, dsn: str
) -> None:
    async with wire_to(dsn) as wire:
        real, pool = pipeline.pool, await open_pool(wire.dsn, PostgresSettings())
        pipeline.pool = pool
        async with pipeline.broker(), api_of(pipeline) as api:
            await wire.cut()
            status, answer = await api.push(BODY, Idempotency_Key="k")
            assert (status, answer["code"]) == (503, "store_unavailable")
            assert (await api.pushed(BODY))["accepted"] == 2
            await wire.mend()
        await close_pool(pool)
        pipeline.pool = real


async def test_keys_are_forgotten_with_the_ledger(pipeline: Pipeline) -> None:
    from gputel.store.write.writer import Writer

    async with pipeline.broker(), api_of(pipeline) as api:
        await api.pushed(BODY, Idempotency_Key="k")
        await Writer(pipeline.pool).prune_ledger(3600)
        assert await pipeline.pool.fetchval("SELECT count(*) FROM push_key") == 1
        await Writer(pipeline.pool).prune_ledger(0)
        assert await pipeline.pool.fetchval("SELECT count(*) FROM push_key") == 0
        csv = "timestamp,metric_name,uuid,value\n2026-03-01T12:00:00Z,M,GPU-a,1\n"
        await api.pushed(csv, CSV, Idempotency_Key="k")
