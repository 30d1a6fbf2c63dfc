"""Who of several brokers gets what, and where they are."""

from collections import Counter

import pytest

from gputel.mq.client import QueueClient
from gputel.mq.fleet.members import Member, member_for
from gputel.mq.wire import addresses


def members(count: int) -> list[Member]:
    urls = [f"http://broker-{n}:8081" for n in range(count)]
    return [Member(n, url, QueueClient(url)) for n, url in enumerate(urls)]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_keys_are_spread_evenly(count: int) -> None:
    shares = Counter(member_for(members(count), f"stream/{n * 1000}").number for n in range(10_000))
    assert len(shares) == count
    assert max(shares.values()) < 1.1 * 10_000 / count


def test_member_that_comes_or_goes_moves_only_what_it_gets_or_had() -> None:
    three, two = members(3), members(2)
    for n in range(1000):
        before, after = member_for(three, str(n)).number, member_for(two, str(n)).number
        assert after == before or before == 2


def test_choice_is_the_same_in_any_order_and_any_process() -> None:
    three = members(3)
    assert member_for(three, "a").number == member_for(three[::-1], "a").number
    assert [member_for(three, key).number for key in "abcdef"] == [1, 2, 0, 1, 2, 1]


@pytest.mark.parametrize(
    ("given", "several"),
    [
        ("http://a:8081", False),
        ("http://a:8081/, http://a:8081", False),
        ("http://a:8081,http://b:8081", True),
        (["http://a:8081", "http://b:8081"], True),
        ("dns+http://brokers:8081", True),
    ],
)
def test_list_or_dns_name_is_several(given: str | list[str], several: bool) -> None:
    assert addresses.are_several(given) is several


async def test_name_stands_for_all_its_addresses() -> None:
    assert "http://127.0.0.1:8081" in await addresses.resolve("dns+http://localhost:8081")
    assert await addresses.resolve("http://localhost:8081") == ["http://localhost:8081"]
