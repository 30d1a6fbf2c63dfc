"""``gputel query targets``: a table for people, and the targets as JSON or CSV for programs."""

from __future__ import annotations

import csv
import json
import re

import asyncpg
import pytest

from gputel.web.server.listener import Listener
from tests.helpers.query_command import gputel, on_a_terminal
from tests.helpers.scrape_targets import ScrapeTarget, add_target

TARGETS = (
    ScrapeTarget("gpu1:9400"),
    ScrapeTarget("gpu2:9400", error="connection refused: is it running?", samples=0, slots_lost=7),
    ScrapeTarget("gpu3:9400", scraped=False, duration_s=0, samples=0),
    ScrapeTarget("=1+1:80", "node", owner="streamer-2", refused=4),
)


@pytest.fixture
async def scraped(pool: asyncpg.Pool) -> None:
    for target in TARGETS:
        await add_target(pool, target)


async def table_of(api: Listener, *options: str) -> list[str]:
    ended = await gputel(api, "query", "targets", "--format", "table", *options)
    assert (ended.code, ended.err) == (0, "")
    return ended.out.splitlines()


async def test_the_table_shows_how_the_last_scrape_of_each_went(
    api: Listener, scraped: None
) -> None:
    shown = await table_of(api, "--job", "dcgm")
    above, head, first, second, third, _, error, _, count = shown
    assert above.split() == ["job", "dcgm", "owner", "streamer-1"]
    assert head.split() == ["target", "health", "last", "took", "samples", "lost"]
    assert re.fullmatch(r"gpu1:9400 +up +\d+ (s|min) +12 ms +200 *", first)
    assert re.fullmatch(r"gpu2:9400 +down .* 0 +7 *", second)
    assert error == "gpu2:9400: connection refused: is it running?"
    assert re.fullmatch(r"gpu3:9400 +unknown +never +0 *", third)
    assert count == "3 targets, 1 up, 1 not scraped yet"


async def test_hints_stand_below_the_table_and_in_csv(api: Listener, pool: asyncpg.Pool) -> None:
    await add_target(pool, ScrapeTarget("gpu1:9400", samples=0))
    *_, hint, _, count = await table_of(api)
    assert hint.startswith("gpu1:9400: its answer has no sample of a GPU that is stored: ")
    assert count == "1 target, 1 up"
    ended = await gputel(api, "query", "targets", "--format", "csv")
    (row,) = csv.DictReader(ended.out.splitlines())
    assert f"gpu1:9400: {row['hint']}" == hint


async def test_down_leaves_those_that_are_not_up(api: Listener, scraped: None) -> None:
    assert (await table_of(api, "--down"))[-1] == "2 targets, 0 up, 1 not scraped yet"
    assert await table_of(api, "--job", "node", "--down") == ["no target is down: 1 is up"]
    assert await table_of(api, "--job", "x") == ["no target is of this job: leave --job out"]


async def test_without_targets_it_says_how_to_add_one(api: Listener) -> None:
    assert await table_of(api) == [
        "no target is scraped yet: `gputel run --scrape HOST:9400` adds one"
    ]


async def test_json_is_the_list_of_targets(api: Listener, scraped: None) -> None:
    ended = await gputel(api, "query", "targets", "--down")
    found = json.loads(ended.out)
    assert [each["labels"]["instance"] for each in found] == ["gpu2:9400", "gpu3:9400"]
    assert found[0]["slotsLost"] == 7


async def test_csv_has_a_line_for_each_target(api: Listener, scraped: None) -> None:
    ended = await gputel(api, "query", "targets", "--job", "node", "--format", "csv")
    (row,) = csv.DictReader(ended.out.splitlines())
    assert (row["instance"], row["health"], row["refused"]) == ("=1+1:80", "up", "4")
    assert json.loads(row["labels"]) == {"instance": "=1+1:80", "job": "node"}
    ended = await gputel(api, "query", "targets", "--job", "node", "--format", "csv", "--csv-safe")
    assert "'=1+1:80" in ended.out


async def test_a_terminal_of_80_columns_has_room_for_the_table(
    api: Listener, scraped: None
) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", await on_a_terminal(api, "targets"))
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "gpu2:9400: connection refused: is it running?" in shown


async def test_a_format_that_the_list_has_not_is_refused(api: Listener) -> None:
    ended = await gputel(api, "query", "targets", "--format", "parquet")
    assert ended.code == 2
    assert "'table', 'json', 'csv'" in ended.err
