"""From exporters to the table: scrapers share the targets, and each slot lands once."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web

from gputel.config.settings import PostgresSettings
from gputel.store.pool import open_pool
from gputel.store.write.scrapes import Scrapes
from gputel.streamer.scrape import scraper as scrapers
from gputel.streamer.scrape.scraper import Scraper
from gputel.streamer.scrape.shards import grid_of, shards_of, targets_by_shard
from gputel.streamer.scrape.targets import TargetList
from tests.helpers.exporters import served
from tests.helpers.processes import free_port
from tests.helpers.waiting import eventually
from tests.integration.pipeline.conftest import Pipeline

INTERVAL_S = 0.25
BEAT_S, LEASE_S = 0.1, 1.0

Check = Callable[[], Awaitable[object]]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapers that need not be waited for."""
    monkeypatch.setattr(scrapers, "_BEAT_S", BEAT_S)
    monkeypatch.setattr(scrapers, "_LEASE_S", LEASE_S)
    monkeypatch.setattr(scrapers, "_SETTLE_S", BEAT_S)


@dataclass
class Exporter:
    """An exporter of one GPU, whose sample is the number of the answer."""

    number: int
    address: str = ""
    asked: int = 0

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=f'ASKED{{gpu="0",UUID="GPU-{self.number}"}} {self.asked}\n')


@asynccontextmanager
async def exporters(count: int) -> AsyncIterator[list[Exporter]]:
    """So many exporters, each on a port of its own."""
    async with AsyncExitStack() as stack:
        made = [Exporter(number) for number in range(count)]
        for each in made:
            each.address = await stack.enter_async_context(served(each.handle))
        yield made


def write_config(path: Path, addresses: Sequence[str], interval_s: float = INTERVAL_S) -> Path:
    """A file of one job, with these targets; the file is replaced at once."""
    job = {
        "job_name": "gpus",
        "scrape_interval": f"{round(interval_s * 1000)}ms",
        "scrape_timeout": f"{round(interval_s * 1000)}ms",
        "static_configs": [{"targets": addresses, "labels": {"rack": "r1"}}],
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"scrape_configs": [job]}))
    return new.rename(path)


class Scraping:
    """A scraper that runs, with a pool of its own."""

    def __init__(self, pool: asyncpg.Pool, scraper: Scraper) -> None:
        self._pool = pool
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(scraper.run(self._stopping))

    @classmethod
    async def start(
        cls, pipeline: Pipeline, dsn: str, config: Path, owner: str, batch_s: float = 0.0
    ) -> Scraping:
        pool = await open_pool(dsn, PostgresSettings(postgres_pool_size=2))
        scraper = Scraper(
            TargetList((), config, look_s=BEAT_S),
            await pipeline.client(),
            Scrapes(pool, owner),
            owner,
            batch_s=batch_s,
            keep_impossible=False,
        )
        return cls(pool, scraper)

    async def stop(self) -> None:
        """Let it publish what it has scraped, and leave."""
        self._stopping.set()
        await self._task
        await self._pool.close()

    async def die(self) -> None:
        """End it at once, so that it cannot say that it leaves."""
        self._pool.terminate()
        self._task.cancel()
        await asyncio.wait([self._task])


async def targets(pipeline: Pipeline) -> dict[str, asyncpg.Record]:
    """The rows about the targets, by ``host:port`` of their URLs."""
    rows = await pipeline.pool.fetch("SELECT * FROM scrape_target")
    return {row["url"].split("/")[2]: row for row in rows}


async def slots(pipeline: Pipeline, uuid: str, metric: str = "ASKED") -> dict[int, float]:
    """What has landed of a metric, by its time in microseconds; no time is there twice."""
    rows = await pipeline.pool.fetch(
        "SELECT (extract(epoch FROM timestamp) * 1000000)::bigint AS at, value "
        "FROM telemetry WHERE uuid = $1 AND metric_name = $2",
        uuid,
        metric,
    )
    found = {row["at"]: row["value"] for row in rows}
    assert len(found) == len(rows)
    return found


def lands(pipeline: Pipeline, exporter: Exporter, more: int = 3) -> Check:
    """A check: so many answers from now on have landed."""
    asked = exporter.asked

    async def check() -> bool:
        landed = await slots(pipeline, f"GPU-{exporter.number}")
        return sum(value > asked for value in landed.values()) >= more

    return check


async def all_land(pipeline: Pipeline, of: Sequence[Exporter]) -> None:
    for check in [lands(pipeline, each) for each in of]:
        await eventually(check)


async def nothing_leased(pipeline: Pipeline) -> bool:
    return await pipeline.pool.fetchval("SELECT NOT EXISTS (SELECT FROM stream_lease)")


async def check_slots(pipeline: Pipeline, of: Sequence[Exporter]) -> None:
    """Check that all is there once or counted, when all that was scraped has landed."""
    await eventually(lambda: nothing_leased(pipeline))
    known, interval_us = await targets(pipeline), round(INTERVAL_S * 1_000_000)
    for exporter in of:
        target = known[exporter.address]
        landed = await slots(pipeline, f"GPU-{exporter.number}")
        assert len(set(landed.values())) == len(landed), "an answer landed in two slots"
        up = await slots(pipeline, f"target@{target['instance']}", "up")
        assert {at for at, value in up.items() if value} == set(landed)
        grid = grid_of(target["shard"], INTERVAL_S)
        assert {grid.begin_us(grid.slot_at(at)) for at in up} == set(up)
        missing = (max(up) - min(up)) // interval_us + 1 - len(up)
        assert missing == target["slots_lost"]


async def test_samples_land_with_the_slots_time_and_the_targets_labels(
    pipeline: Pipeline, dsn: str, tmp_path: Path
) -> None:
    async with exporters(1) as (exporter,), pipeline.broker():
        await pipeline.start_collector()
        config = write_config(tmp_path / "scrape.yml", [exporter.address])
        scraping = await Scraping.start(pipeline, dsn, config, "me")
        await all_land(pipeline, [exporter])
        await scraping.stop()
        await check_slots(pipeline, [exporter])
    target = (await targets(pipeline))[exporter.address]
    assert (target["job"], target["owner"], target["samples"], target["error"]) == (
        "gpus",
        "me",
        1,
        "",
    )
    raw = await pipeline.pool.fetch(
        "SELECT DISTINCT labels_raw FROM telemetry WHERE metric_name = 'ASKED'"
    )
    instance = target["instance"]
    assert [row["labels_raw"] for row in raw] == [
        f'UUID="GPU-0",gpu="0",instance="{instance}",job="gpus",rack="r1"'
    ]
    assert await pipeline.pool.fetchval("SELECT count(*) FROM scraper") == 0


async def test_scrapers_share_the_targets_and_take_over_from_one_that_leaves(
    pipeline: Pipeline, dsn: str, tmp_path: Path
) -> None:
    async with exporters(8) as all_, pipeline.broker():
        await pipeline.start_collector()
        config = write_config(tmp_path / "scrape.yml", [each.address for each in all_])
        one, two = names_that_share(config)
        first = await Scraping.start(pipeline, dsn, config, one, batch_s=3 * INTERVAL_S)
        await all_land(pipeline, all_)
        second = await Scraping.start(pipeline, dsn, config, two, batch_s=2 * INTERVAL_S)

        async def owned_by(*owners: str) -> bool:
            return {row["owner"] for row in (await targets(pipeline)).values()} == set(owners)

        await eventually(lambda: owned_by(one, two))
        await all_land(pipeline, all_)
        await first.stop()
        await eventually(lambda: owned_by(two))
        await all_land(pipeline, all_)
        await second.stop()
        await check_slots(pipeline, all_)


def names_that_share(config: Path) -> tuple[str, str]:
    """Two owners, each of which gets some of the shards."""
    shards = targets_by_shard(TargetList((), config).jobs())
    for number in itertools.count():
        names = (f"{number}-one", f"{number}-two")
        alive = {name: list(shards) for name in names}
        if len(shards) == 1 or all(shards_of(name, shards, alive) for name in names):
            return names
    raise AssertionError


async def test_the_targets_of_a_scraper_that_dies_are_taken_over_after_its_lease(
    pipeline: Pipeline, dsn: str, tmp_path: Path
) -> None:
    async with exporters(4) as all_, pipeline.broker():
        await pipeline.start_collector()
        config = write_config(tmp_path / "scrape.yml", [each.address for each in all_])
        dying = await Scraping.start(pipeline, dsn, config, "dying")
        await all_land(pipeline, all_)
        await dying.die()
        assert await pipeline.pool.fetchval("SELECT owner FROM scraper") == "dying"
        heir = await Scraping.start(pipeline, dsn, config, "heir")
        await all_land(pipeline, all_)
        await pipeline.pool.execute(
            "UPDATE stream_lease SET expires_at = now() WHERE owner = 'dying'"
        )

        async def settled() -> bool:
            return await pipeline.pool.fetchval(
                "SELECT NOT EXISTS (SELECT FROM stream_lease WHERE owner = 'dying')"
            )

        await eventually(settled)
        await heir.stop()
        assert {row["owner"] for row in (await targets(pipeline)).values()} == {"heir"}
        await check_slots(pipeline, all_)


async def test_a_target_that_is_down_has_samples_that_tell_so(
    pipeline: Pipeline, dsn: str, tmp_path: Path
) -> None:
    async with exporters(1) as (exporter,), pipeline.broker():
        await pipeline.start_collector()
        down = f"127.0.0.1:{free_port()}"
        config = write_config(tmp_path / "scrape.yml", [exporter.address, down])
        scraping = await Scraping.start(pipeline, dsn, config, "me")
        await all_land(pipeline, [exporter])

        async def is_reported() -> bool:
            target = (await targets(pipeline)).get(down)
            return bool(target and target["error"])

        await eventually(is_reported)
        await scraping.stop()
        await check_slots(pipeline, [exporter])
    target = (await targets(pipeline))[down]
    assert (target["samples"], target["error"], target["slots_lost"]) == (
        0,
        "connection refused",
        0,
    )
    up = await slots(pipeline, f"target@{target['instance']}", "up")
    assert set(up.values()) == {0.0}


async def test_targets_that_are_listed_later_are_scraped_and_those_removed_are_forgotten(
    pipeline: Pipeline, dsn: str, tmp_path: Path
) -> None:
    async with exporters(3) as (stays, goes, comes), pipeline.broker():
        await pipeline.start_collector()
        path = tmp_path / "scrape.yml"
        write_config(path, [stays.address, goes.address])
        scraping = await Scraping.start(pipeline, dsn, path, "me", batch_s=8 * INTERVAL_S)
        await all_land(pipeline, [stays, goes])
        write_config(path, [stays.address, comes.address])

        async def is_forgotten() -> bool:
            return set(await targets(pipeline)) == {stays.address, comes.address}

        await eventually(is_forgotten)
        await all_land(pipeline, [comes, stays])  # by now, the last batch with the old one too
        await scraping.stop()
        await check_slots(pipeline, [stays, comes])
        await eventually(lambda: nothing_leased(pipeline))
    assert set(await targets(pipeline)) == {stays.address, comes.address}
    ended = await pipeline.pool.fetch(
        "SELECT DISTINCT labels_raw FROM series_end JOIN series USING (series_id)"
    )
    assert ended
    assert all(goes.address.rpartition(":")[2] in row["labels_raw"] for row in ended)
    alive = "SELECT count(*) FROM series WHERE labels_raw LIKE $1 AND ended_at IS NULL"
    port = goes.address.rpartition(":")[2]
    assert await pipeline.pool.fetchval(alive, f"%:{port}%") == 0


async def test_a_changed_interval_makes_other_slots(
    pipeline: Pipeline, dsn: str, tmp_path: Path
) -> None:
    async with exporters(1) as (exporter,), pipeline.broker():
        await pipeline.start_collector()
        path = tmp_path / "scrape.yml"
        write_config(path, [exporter.address])
        scraping = await Scraping.start(pipeline, dsn, path, "me")
        await all_land(pipeline, [exporter])
        write_config(path, [exporter.address], 2 * INTERVAL_S)

        async def has_changed() -> bool:
            return (await targets(pipeline))[exporter.address]["interval_s"] == 2 * INTERVAL_S

        await eventually(has_changed)
        await all_land(pipeline, [exporter])
        await scraping.stop()
        await eventually(lambda: nothing_leased(pipeline))
    landed = await slots(pipeline, "GPU-0")
    assert len(set(landed.values())) == len(landed)
    *_, before, last = sorted(landed)
    assert (last - before) % round(2 * INTERVAL_S * 1_000_000) == 0
    streams = await pipeline.pool.fetch("SELECT stream_id FROM stream_progress ORDER BY 1")
    assert {row["stream_id"].split("/")[2] for row in streams} == {"250", "500"}
