"""A broker, streamers and collectors in one loop, on a real socket and a real Postgres."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gputel.broker.server import serve
from gputel.collector.collector import collect
from gputel.config.settings import BrokerSettings, CollectorSettings, StreamerSettings
from gputel.mq.client import QueueClient
from gputel.outage import Outage
from gputel.store.upkeep.maintenance import Maintenance
from gputel.store.write.streams import Streams
from gputel.store.write.writer import Writer
from gputel.streamer.open_source import csv_options, open_source
from gputel.streamer.streamer import Streamer
from gputel.web.health import Health
from tests.integration.pipeline.pushing import Api, api_of


class Pipeline:
    """Starts roles for a test and stops them with it."""

    def __init__(self, pool: asyncpg.Pool, stack: AsyncExitStack, directory: Path) -> None:
        self.pool = pool
        self.directory = directory
        self.url = ""
        self._stack = stack

    @asynccontextmanager
    async def broker(self, port: int = 0, **settings: Any) -> AsyncIterator[int]:
        """A broker of its own; yields its port."""
        chosen = BrokerSettings(broker_port=port, **settings)
        async with serve(chosen, "127.0.0.1", Health(), drain_deadline_s=0.1) as listener:
            self.url = listener.url
            yield listener.port

    async def client(self) -> QueueClient:
        """A client of the broker."""
        return await self._stack.enter_async_context(QueueClient(self.url))

    async def streamer(
        self, csv: Path, observer: Any = None, owner: str = "me", **settings: Any
    ) -> Streamer:
        """A streamer of a file, one-shot unless told otherwise."""
        given = {"csv": csv, "rate": 0.0, "loop": False, "timestamps": "source", "chunk_rows": 50}
        chosen = StreamerSettings(**{**given, **settings})
        opened = await asyncio.to_thread(open_source, chosen, self.directory, csv_options(chosen))
        streams = Streams(self.pool, chosen.stream_id or "test", owner)
        await streams.register(opened.fingerprint, str(csv), looping=chosen.loop)
        return Streamer(chosen, await self.client(), streams, opened.source, observer)

    async def start_collector(
        self,
        pool: asyncpg.Pool | None = None,
        visibility_timeout_s: float = 30,
        outage: Outage | None = None,
        **settings: Any,
    ) -> Callable[[], Any]:
        """Collect in the background; the function that is returned stops it and waits."""
        stopping = asyncio.Event()
        writer = Writer(pool or self.pool)
        task = asyncio.create_task(
            collect(
                dataclasses.replace(CollectorSettings(), **settings),
                visibility_timeout_s,
                await self.client(),
                writer,
                Maintenance(self.pool),
                stopping,
                outage,
            )
        )

        async def stop() -> None:
            stopping.set()
            await task

        self._stack.push_async_callback(stop)
        return stop

    async def landed(self) -> int:
        """All rows that have landed."""
        return await self.pool.fetchval("SELECT count(*) FROM telemetry")


@pytest.fixture
async def pipeline(pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[Pipeline]:
    """A pipeline on the test's own database."""
    async with AsyncExitStack() as stack:
        yield Pipeline(pool, stack, tmp_path)


@pytest.fixture
async def api(pipeline: Pipeline) -> AsyncIterator[Api]:
    """An API that takes records, with a collector that lands them."""
    async with pipeline.broker():
        await pipeline.start_collector()
        async with api_of(pipeline) as api:
            yield api


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """1,000 rows of 10 GPUs, whose values are their row numbers."""
    lines = ["timestamp,metric_name,gpu_id,device,uuid,modelName,Hostname,container,pod,namespace,"
             "value,labels_raw"]  # fmt: skip
    for row in range(1000):
        time = f"2026-03-01T12:{row // 10 // 60:02}:{row // 10 % 60:02}Z"
        lines.append(f'{time},TEMP,{row % 10},nvidia{row % 10},GPU-{row % 10},H100,h,,,,{row},"x"')
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
