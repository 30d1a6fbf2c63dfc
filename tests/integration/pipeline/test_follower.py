"""A streamer that follows a name, when the database or the user interrupts it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gputel.config.settings import StreamerSettings
from gputel.errors import StoreUnavailable
from gputel.store.write.streams import Streams
from gputel.streamer.follower import Follower
from gputel.streamer.open_source import csv_options
from tests.helpers.waiting import eventually
from tests.integration.pipeline.conftest import Pipeline


class Away(Streams):
    """Streams of a database that is away for the first requests."""

    refusals = 0
    on_refusal = staticmethod(lambda: None)

    async def ended_of(self, source: str) -> dict[str, int]:
        if Away.refusals:
            Away.refusals -= 1
            Away.on_refusal()
            raise StoreUnavailable("it restarts")
        return await super().ended_of(source)


async def following(pipeline: Pipeline, csv: Path) -> Follower:
    def streams_of(stream_id: str) -> Streams:
        return Away(pipeline.pool, stream_id, "me")

    settings = StreamerSettings(csv=csv, follow=True)
    client = await pipeline.client()
    return Follower(csv, settings, client, streams_of, csv_options(settings))


async def test_it_waits_for_a_database_that_is_away_when_a_file_begins(
    pipeline: Pipeline, csv: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Away, "refusals", 2)
    stopping = asyncio.Event()
    async with pipeline.broker():
        await pipeline.start_collector()
        task = asyncio.create_task((await following(pipeline, csv)).run(stopping))

        async def all_there() -> bool:
            return await pipeline.landed() == 1000

        await eventually(all_there)
        stopping.set()
        await asyncio.wait_for(task, 60)
    assert "the database is away, trying again until it is back: it restarts" in caplog.text


async def test_it_ends_when_it_is_stopped_before_the_database_is_back(
    pipeline: Pipeline, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = asyncio.Event()
    monkeypatch.setattr(Away, "refusals", 1_000_000)
    monkeypatch.setattr(Away, "on_refusal", staticmethod(stopping.set))
    async with pipeline.broker():
        follower = await following(pipeline, csv)
        await asyncio.wait_for(follower.run(stopping), 60)
    assert await pipeline.pool.fetchval("SELECT count(*) FROM stream_progress") == 0
