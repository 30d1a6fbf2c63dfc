"""The registry orders roles: what is needed first, and all is only a list of needs."""

import pytest

from gputel.errors import UsageError
from gputel.roles.registry import ROLES, in_start_order, parse_roles


def names(roles):
    return [role.name for role in in_start_order(roles) if role.start]


def test_all_starts_store_broker_collector_streamer_api_in_this_order():
    order = [name for name in names(["all"]) if name != "health"]
    assert order == ["store", "broker", "collector", "streamer", "api"]


def test_broker_alone_needs_no_database():
    assert names(["broker"]) == ["broker"]


def test_after_orders_roles_but_does_not_start_them():
    assert set(names(["streamer"])) == {"store", "health", "streamer"}
    assert names(["api", "broker"]) == ["store", "broker", "api"]


def test_all_is_a_role_without_code():
    assert ROLES["all"].start is None


def test_every_need_and_order_names_a_known_role():
    for role in ROLES.values():
        assert (role.needs | role.after) <= set(ROLES)


def test_roles_are_given_repeated_or_comma_separated():
    assert parse_roles(["broker, collector", "api", "broker"]) == ["broker", "collector", "api"]


@pytest.mark.parametrize("given", [["nope"], ["broker,nope"], [], [","], ["store"]])
def test_wrong_or_missing_role_is_refused_with_the_list_of_roles(given):
    with pytest.raises(UsageError, match="broker, streamer, collector, api, all"):
        parse_roles(given)
