"""Shards: who scrapes what, and when."""

from __future__ import annotations

import pytest

from gputel.streamer.scrape.jobs import ScrapeJob, Target
from gputel.streamer.scrape.shards import SHARDS, grid_of, shards_of, targets_by_shard

JOB = ScrapeJob("dcgm")
NAMES = [f"dcgm/{number}.0123abcd" for number in range(SHARDS)]


def targets(count: int, instance: str = "") -> list[Target]:
    return [
        Target("dcgm", f"http://gpu{i}:9400/metrics",
               {"instance": instance or f"gpu{i}:9400", "job": "dcgm"})
        for i in range(count)
    ]  # fmt: skip


def test_every_target_is_in_one_shard() -> None:
    shards = targets_by_shard({"dcgm": (JOB, targets(500))})
    urls = [target.url for _, some in shards.values() for target in some]
    assert sorted(urls) == sorted(target.url for target in targets(500))
    assert len(shards) <= SHARDS
    assert max(len(some) for _, some in shards.values()) < 30


def number_of(shard: str) -> str:
    return shard.rpartition(".")[0]


def test_number_of_a_target_does_not_depend_on_the_others() -> None:
    few, many = (targets_by_shard({"dcgm": (JOB, targets(n))}) for n in (10, 300))
    numbers = {number_of(name): some for name, (_, some) in many.items()}
    for name, (_, some) in few.items():
        assert {each.url for each in some} <= {each.url for each in numbers[number_of(name)]}


def test_name_of_a_shard_tells_its_targets_apart_but_not_their_order() -> None:
    some = targets(300)
    names = set(targets_by_shard({"dcgm": (JOB, some)}))
    assert names == set(targets_by_shard({"dcgm": (JOB, some[::-1])}))
    changed = names ^ set(targets_by_shard({"dcgm": (JOB, some[:-1])}))
    assert len({number_of(name) for name in changed}) == 1


def test_streamers_that_list_other_targets_scrape_their_own() -> None:
    """As with a streamer on each host that scrapes the exporter of its host."""
    shards = {
        f"node{i}": set(targets_by_shard({"dcgm": (JOB, targets(1, f"node{i}:9400"))}))
        for i in range(100)
    }
    for name, known in shards.items():
        assert shards_of(name, known, shards) == known


def test_slots_of_a_shard_do_not_depend_on_its_targets() -> None:
    assert grid_of("dcgm/7.0123abcd", 10.0) == grid_of("dcgm/7.ffffffff", 10.0)


@pytest.mark.parametrize("streamers", [1, 2, 5])
def test_each_shard_has_one_streamer(streamers: int) -> None:
    alive = {f"s{number}": NAMES for number in range(streamers)}
    owned = [shards_of(name, NAMES, alive) for name in alive]
    assert sorted(name for some in owned for name in some) == sorted(NAMES)
    assert min(map(len, owned)) >= SHARDS // streamers // 3


def test_when_a_streamer_goes_only_its_shards_move() -> None:
    alive = dict.fromkeys(("a", "b", "c"), NAMES)
    before = {name: shards_of(name, NAMES, alive) for name in alive}
    del alive["c"]
    for name in alive:
        after = shards_of(name, NAMES, alive)
        assert before[name] <= after <= before[name] | before["c"]


def test_only_who_knows_a_shard_can_have_it() -> None:
    alive = {"a": ["x/1", "y/1"], "b": ["x/1"], "c": []}
    assert "y/1" in shards_of("a", ["x/1", "y/1"], alive)
    assert shards_of("c", [], alive) == set()
    have_x = [name for name in alive if "x/1" in shards_of(name, alive[name], alive)]
    assert len(have_x) == 1


def test_streamer_that_is_not_listed_yet_counts_itself() -> None:
    assert shards_of("new", ["x/1"], {}) == {"x/1"}


@pytest.mark.parametrize("interval_s", [0.1, 1, 10, 60, 3600])
def test_slots_follow_each_other_without_gaps(interval_s: float) -> None:
    grid = grid_of("dcgm/7.0123abcd", interval_s)
    for now_us in (1_770_000_000_000_000, 1_770_000_000_123_456):
        slot = grid.slot_at(now_us)
        assert grid.begin_us(slot) <= now_us < grid.begin_us(slot + 1)
        assert grid.begin_us(slot + 1) - grid.begin_us(slot) == round(interval_s * 1_000_000)
        assert grid.begin_us(slot) % 1000 == 0


def test_shards_begin_at_different_times() -> None:
    offsets = {grid_of(name, 10.0).offset_us for name in NAMES}
    assert len(offsets) > SHARDS // 2
    assert all(0 <= offset < 10_000_000 for offset in offsets)
