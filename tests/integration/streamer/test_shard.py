"""The slots of one shard: which are scraped, what is in them, and what a bad answer costs."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pyarrow as pa
import pytest
from aiohttp import web

from gputel.streamer.scrape.fetch import Fetcher
from gputel.streamer.scrape.jobs import ScrapeJob, target_of
from gputel.streamer.scrape.shard import Shard
from gputel.streamer.scrape.shards import grid_of
from gputel.streamer.scrape.slots import ScrapedSlots
from tests.helpers.exporters import served
from tests.helpers.waiting import until

JOB = ScrapeJob("gpus", interval_s=0.2, timeout_s=30.0)
SECOND_US = 1_000_000
LINE = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 40\n'


class Clock:
    """The clock that streamers share, which a test sets ahead or back."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_us = round(ahead_s * SECOND_US)

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.ahead_us


@asynccontextmanager
async def scraping(
    text: Callable[[], str], clock: Clock, job: ScrapeJob = JOB, batch_s: float = 0.0
) -> AsyncIterator[list[ScrapedSlots]]:
    """What a shard scrapes of one exporter, until the context ends."""
    done: list[ScrapedSlots] = []

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text=text())

    async with served(handle) as address, Fetcher() as fetcher:
        shard = Shard(
            "gpus/1", job, fetcher, clock, done.append, batch_s=batch_s, keep_impossible=False
        )
        shard.targets = [target_of(job, address, {})]
        stopping = asyncio.Event()
        task = asyncio.create_task(shard.run(stopping))
        yield done
        stopping.set()
        await task


def samples(batch: pa.RecordBatch) -> dict[str, float]:
    return {row["metric_name"]: row["value"] for row in batch.to_pylist()}


async def one(text: str, job: ScrapeJob = JOB) -> ScrapedSlots:
    """The first slot of an exporter that answers so."""
    async with scraping(lambda: text, Clock(), job) as done:
        await until(lambda: bool(done), 60, "a slot")
    return done[0]


async def test_each_slot_has_its_time_and_the_samples_about_the_target() -> None:
    slots = await one(LINE)
    assert slots.starts == [0]
    assert {row["timestamp"].timestamp() for row in slots.batch.to_pylist()} == {
        slots.grid.begin_us(slots.first) / SECOND_US
    }
    found = samples(slots.batch)
    assert found.pop("scrape_duration_seconds") > 0
    assert found == {"DCGM_FI_DEV_GPU_TEMP": 40.0, "up": 1.0, "scrape_samples_scraped": 1.0}
    (result,) = slots.results
    assert (result.samples, result.refused, result.error) == (1, 0, "")


async def test_slots_of_a_batch_follow_one_another_and_can_be_cut() -> None:
    async with scraping(lambda: LINE, Clock(), batch_s=0.4) as done:
        await until(lambda: bool(done), 60, "a batch")
    slots = done[0]
    assert (slots.after - slots.first, slots.starts) == (2, [0, 4])
    late = slots.since(slots.first + 1)
    assert {row["timestamp"].timestamp() for row in late.to_pylist()} == {
        slots.grid.begin_us(slots.first + 1) / SECOND_US
    }


async def test_a_shard_that_stops_hands_over_the_slots_of_its_last_batch() -> None:
    asked: list[float] = []

    def text() -> str:
        asked.append(time.monotonic())
        return LINE

    async with scraping(text, Clock(), batch_s=300.0) as done:
        await until(lambda: bool(asked), 60, "a scrape")
    assert sum(len(slots.starts) for slots in done) == len(asked)


async def test_a_slot_that_has_passed_when_the_process_wakes_is_left_out() -> None:
    clock, asked_us = Clock(), list[int]()

    def text() -> str:
        asked_us.append(clock())
        return LINE

    async with scraping(text, clock) as done:
        await until(lambda: len(done) == 1, 60, "a slot")
        clock.ahead_us += 1000 * SECOND_US  # while it sleeps until the next slot
        await until(lambda: len(done) == 3, 60, "two more slots")
    for slots, at_us in zip(done[:3], asked_us[:3], strict=True):
        assert at_us - slots.grid.begin_us(slots.first) < 500 * SECOND_US


async def test_a_target_that_hangs_is_given_up_as_the_next_slot_begins() -> None:
    """Else each slot of its shard would begin a bit later than the one before."""
    job = dataclasses.replace(JOB, interval_s=10.0, timeout_s=10.0)
    begin_us = grid_of("gpus/1", job.interval_s).begin_us(7)
    now_us = 0
    shard = Shard(
        "gpus/1",
        job,
        Fetcher(),
        lambda: now_us,
        lambda _: None,
        batch_s=0.0,
        keep_impossible=False,
    )
    left: dict[float, float] = {}
    for late_s in (0.0, 0.5, 4.0, 9.0, 30.0):
        now_us = begin_us + round(late_s * SECOND_US)
        left[late_s] = shard._within_s(begin_us)
    assert left == {0.0: 10.0, 0.5: 9.5, 4.0: 6.0, 9.0: 5.0, 30.0: 5.0}


async def test_a_clock_that_is_set_back_does_not_stop_the_scrapes() -> None:
    clock, times = Clock(3600), 0

    def text() -> str:
        nonlocal times
        times += 1
        if times == 1:
            clock.ahead_us = 0
        return LINE

    async with scraping(text, clock) as done:
        await until(lambda: len(done) == 2, 60, "two slots")
    assert done[0].first - done[1].first > 3500


async def test_the_time_of_a_scrape_is_that_of_the_shared_clock() -> None:
    clock = Clock(3600)
    async with scraping(lambda: LINE, clock) as done:
        await until(lambda: bool(done), 60, "a slot")
    (result,) = done[0].results
    begin_s = done[0].grid.begin_us(done[0].first) / SECOND_US
    assert abs(result.scraped_at.timestamp() - begin_s) < 1800


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ""),
        ("it is\nno exporter\n", "no line of the answer can be read; line 1: "),
        ("<\x00>\n", "no line of the answer can be read; line 1: "),
    ],
)
async def test_an_answer_without_samples_is_up_only_if_nothing_of_it_is_wrong(
    text: str, error: str
) -> None:
    slots = await one(text)
    found = samples(slots.batch)
    assert (found["up"], found["scrape_samples_scraped"]) == (float(not error), 0.0)
    (result,) = slots.results
    assert result.error.startswith(error)
    assert "\x00" not in result.error


async def test_the_error_of_a_target_has_no_control_characters_of_the_answer() -> None:
    slots = await one('m{"\0a\x1b[31m"="v"x} 1\n')
    assert slots.results[0].error.startswith("no line of the answer can be read; line 1: ")
    assert slots.results[0].error.isprintable()


async def test_a_malformed_line_costs_itself_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = f'DCGM_FI_DEV_GPU_TEMP{{gpu="1" 40\n{LINE}DCGM_FI_DEV_GPU_UTIL{{UUID="GPU-1"}} 1e9\n'
    async with scraping(lambda: text, Clock()) as done:
        await until(lambda: len(done) == 2, 60, "two slots")
    assert [(slots.results[0].samples, slots.results[0].refused) for slots in done[:2]] == [
        (1, 2),
        (1, 2),
    ]
    assert samples(done[0].batch)["DCGM_FI_DEV_GPU_TEMP"] == 40.0
    assert caplog.text.count("lines are not stored") == 1


async def test_an_answer_over_sample_limit_is_refused_as_a_whole() -> None:
    text = "".join(f'DCGM_FI_DEV_GPU_TEMP{{gpu="{n}",UUID="GPU-{n}"}} 40\n' for n in range(3))
    whole = await one(text, dataclasses.replace(JOB, sample_limit=3))
    assert whole.results[0].samples == 3
    refused = await one(text, dataclasses.replace(JOB, sample_limit=2))
    assert refused.results[0].error == "the answer has over 2 samples, the sample_limit"
    assert set(samples(refused.batch)) == {
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
    }
