"""A stream keeps its rate; time is given, nothing sleeps."""

import pytest

from gputel.streamer.pacer import Pacer


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_rows_are_spread_at_the_rate():
    clock = Clock()
    pacer = Pacer(100, clock)
    assert pacer.delay_after(50) == pytest.approx(0.5)
    clock.now += 0.5
    assert pacer.delay_after(50) == pytest.approx(0.5)


def test_work_that_took_time_shortens_the_wait():
    clock = Clock()
    pacer = Pacer(100, clock)
    clock.now += 0.2
    assert pacer.delay_after(50) == pytest.approx(0.3)


def test_a_long_stall_is_not_made_up_in_one_burst():
    clock = Clock()
    pacer = Pacer(100, clock)
    clock.now += 60
    delays = [pacer.delay_after(50) for _ in range(4)]
    assert delays == pytest.approx([0, 0, 0.5, 1.0])


def test_no_rate_is_no_wait():
    assert Pacer(0, Clock()).delay_after(10**9) == 0


@pytest.mark.parametrize(("rate", "rows"), [(0, 32768), (100, 50), (0.1, 1), (10**9, 32768)])
def test_chunks_come_about_an_interval_apart_and_have_at_least_one_row(rate, rows):
    assert Pacer(rate, Clock()).chunk_rows(32768, 0.5) == rows
