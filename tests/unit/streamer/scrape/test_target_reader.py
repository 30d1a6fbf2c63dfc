from __future__ import annotations

from collections.abc import Mapping

from gputel.sources.exposition.series_table import SeriesTable
from gputel.sources.exposition.target_rules import KEEP_ALL
from gputel.streamer.scrape.fetch import FetchedAnswer
from gputel.streamer.scrape.jobs import Target
from gputel.streamer.scrape.target_reader import FROZEN_US, TargetReader

ENERGY, MEMORY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_FB_USED"
MINUTE_US = 60_000_000


class Scraped:
    """A target that is read once a minute."""

    def __init__(self) -> None:
        target = Target("dcgm", "http://n1:9400/metrics", {"instance": "n1:9400", "job": "dcgm"})
        self.reader = TargetReader(target, KEEP_ALL, SeriesTable(), 1000)
        self.at_us = 0

    def minutes(self, count: int, values: Mapping[str, float]) -> int | None:
        """Read the same values for so many minutes; since when they are frozen, in minutes."""
        body = "".join(f'{name}{{UUID="GPU-0"}} {value}\n' for name, value in values.items())
        since = None
        for _ in range(count):
            self.at_us += MINUTE_US
            parsed = self.reader.parse(FetchedAnswer(body.encode(), False), self.at_us)
            since = self.reader.frozen_since_us(parsed, self.at_us)
        return None if since is None else since // MINUTE_US


def test_values_that_should_move_are_frozen_after_ten_minutes_until_one_moves() -> None:
    assert FROZEN_US == 10 * MINUTE_US
    scraped = Scraped()
    assert scraped.minutes(10, {ENERGY: 5, MEMORY: 7}) is None
    assert scraped.minutes(1, {ENERGY: 5, MEMORY: 7}) == 1
    assert scraped.minutes(30, {ENERGY: 5, MEMORY: 7}) == 1
    assert scraped.minutes(1, {ENERGY: 6, MEMORY: 7}) is None
    assert scraped.minutes(10, {ENERGY: 6, MEMORY: 7}) == 42


def test_values_that_need_not_move_are_not_frozen() -> None:
    assert Scraped().minutes(100, {MEMORY: 7}) is None
    assert Scraped().minutes(100, {}) is None


def test_another_table_of_series_does_not_count_as_movement() -> None:
    scraped = Scraped()
    scraped.minutes(9, {ENERGY: 5})
    scraped.reader.forget(SeriesTable())
    assert scraped.minutes(2, {ENERGY: 5}) == 1
