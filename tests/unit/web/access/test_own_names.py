"""By which names a server may be called."""

import socket

import pytest

from gputel.config.resolve import resolve
from gputel.errors import ConfigError
from gputel.web.access.own_names import OwnNames

MACHINE = socket.gethostname()
FOREIGN = ["evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example"]
FOREIGN += ["", ":8081", "a b", "user@localhost", "[::1", "localhost/", "x" * 5000, "é"]


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "192.0.2.1"])
def test_names_that_anybody_can_point_at_this_machine_are_foreign(bound, host) -> None:
    assert not OwnNames(bound).includes(host)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8081", "LocalHost.", "a.localhost", "127.0.0.1:8081"),
        *("127.8.9.1", "[::1]:8081", "0.0.0.0:8081", MACHINE, f"{MACHINE}:1"),
    ],
)
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
def test_loopback_and_the_machine_itself_are_own_names(bound, host) -> None:
    assert OwnNames(bound).includes(host)


@pytest.mark.parametrize(
    "host",
    [
        *("10.1.2.3:8081", "[2001:db8::7]:8080", "[fe80::1%25eth0]", "gputel-broker:8081"),
        *("gputel-broker.gpus.svc:8081", "gputel-api.gpus.svc.cluster.local"),
        "host.docker.internal",
    ],
)
def test_services_and_addresses_of_pods_are_names_of_a_server_on_a_network_alone(host) -> None:
    assert OwnNames("0.0.0.0").includes(host)
    assert OwnNames("::").includes(host)
    assert not OwnNames("127.0.0.1").includes(host)


def test_names_of_the_setting_are_own_names() -> None:
    names = OwnNames("127.0.0.1", "gpus.example, .corp.example")
    for host in ("gpus.example", "GPUS.example:443", "corp.example", "a.b.corp.example:80"):
        assert names.includes(host)
    for host in ("a.gpus.example", "notcorp.example", "corp.example.evil"):
        assert not names.includes(host)


def test_any_name_will_do_where_tokens_are_asked_for_or_the_setting_says_so() -> None:
    assert OwnNames("127.0.0.1", guarded=True).includes("evil.example")
    assert OwnNames("127.0.0.1", "*").includes("evil.example")


def test_what_is_remembered_of_names_is_bounded() -> None:
    names = OwnNames("127.0.0.1")
    for n in range(2000):
        assert names.includes(f"{n}.localhost")
    assert len(names._known) == 1000


@pytest.mark.parametrize("wrong", ["https://gpus.example", "gpus.example:80", "a b", "a/b", "."])
def test_a_wrong_name_in_the_setting_is_refused_with_how_to_write_it(wrong) -> None:
    with pytest.raises(ConfigError, match=r"--allowed-hosts: .* is not a host name: write it like"):
        resolve({"allowed_hosts": wrong}, {})
