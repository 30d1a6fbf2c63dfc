"""A client may ask so often, and so much at once; others are not counted with it."""

from __future__ import annotations

import pytest

from gputel.errors import TooManyRequests
from gputel.web.access import throttle as module
from gputel.web.access.throttle import Throttle


def test_a_burst_is_let_in_and_then_the_rate() -> None:
    throttle = Throttle(rate=2, burst=3)
    left = [throttle.enter("a", 0.0)["RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    with pytest.raises(TooManyRequests, match="a sends more than 2 requests per second") as raised:
        throttle.enter("a", 0.0)
    assert raised.value.headers == {
        "Retry-After": "1",
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "2",
    }
    for at in (0.5, 1.0, 1.5):
        throttle.enter("a", at)
        with pytest.raises(TooManyRequests):
            throttle.enter("a", at)
    assert throttle.enter("a", 1000.0)["RateLimit-Remaining"] == "2", (
        "no more than a burst is saved"
    )


def test_a_slow_rate_tells_how_long_to_wait() -> None:
    throttle = Throttle(rate=0.1, burst=1)
    throttle.enter("a", 0.0)
    with pytest.raises(TooManyRequests) as raised:
        throttle.enter("a", 1.0)
    assert raised.value.headers["Retry-After"] == "9"
    throttle.enter("a", 10.0)


def test_clients_do_not_take_from_each_other() -> None:
    throttle = Throttle(rate=1, burst=2, at_once=1)
    throttle.enter("a", 0.0)
    with pytest.raises(TooManyRequests, match="a has 1 requests without an answer"):
        throttle.enter("a", 0.0)
    assert throttle.enter("b", 0.0)["RateLimit-Remaining"] == "1"
    throttle.leave("b")
    with pytest.raises(TooManyRequests, match="a has 1 requests without an answer"):
        throttle.enter("a", 0.0)
    throttle.leave("a")
    assert throttle.enter("a", 0.0)["RateLimit-Remaining"] == "0"


def test_only_so_many_are_unanswered() -> None:
    throttle = Throttle(at_once=2)
    assert throttle.enter("a", 0.0) == {}
    throttle.enter("a", 0.0)
    with pytest.raises(TooManyRequests, match="2 requests without an answer") as raised:
        throttle.enter("a", 0.0)
    assert raised.value.headers == {"Retry-After": "1"}
    throttle.leave("a")
    throttle.enter("a", 0.0)


def test_what_is_refused_is_not_counted() -> None:
    throttle = Throttle(rate=1, burst=5, at_once=1)
    throttle.enter("a", 0.0)
    for _ in range(10):
        with pytest.raises(TooManyRequests):
            throttle.enter("a", 0.0)
    throttle.leave("a")
    assert throttle.enter("a", 0.0)["RateLimit-Remaining"] == "3"


def test_clients_are_forgotten_but_not_those_that_wait_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_CLIENTS", 3)
    throttle = Throttle(at_once=1)
    throttle.enter("waits", 0.0)
    for number in range(10):
        throttle.enter(str(number), 0.0)
        throttle.leave(str(number))
    assert len(throttle._clients) == 3
    with pytest.raises(TooManyRequests):
        throttle.enter("waits", 0.0)
