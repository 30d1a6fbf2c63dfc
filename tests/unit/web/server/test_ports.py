"""Which addresses ``--host`` stands for, and what is bound for it."""

from __future__ import annotations

import socket

import pytest

from gputel.config.settings import AccessSettings, CommonSettings, Settings
from gputel.errors import ConfigError, UsageError
from gputel.roles.registry import ROLES, check_ports_of
from gputel.web.server.hosts import addresses_of, own_address
from gputel.web.server.listener import Listener
from gputel.web.server.ports import bound_sockets, check_ports

HAS_IPV6 = socket.has_ipv6 and bool(addresses_of("::1"))


async def bound_to(host: str) -> list[tuple[str, int]]:
    sockets = await bound_sockets(host, 0)
    names = [sock.getsockname()[:2] for sock in sockets]
    for sock in sockets:
        sock.close()
    return names


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "0", "127.0.0.1,*", "127.0.0.1, 0.0.0.0"])
async def test_every_way_to_say_all_networks_needs_tokens(host: str) -> None:
    settings = Settings(common=CommonSettings(host=host))
    with pytest.raises(ConfigError, match="--host: other machines can reach"):
        await check_ports_of([ROLES["broker"]], settings)
    await check_ports_of(
        [ROLES["broker"]],
        Settings(common=CommonSettings(host=host), access=AccessSettings(insecure=True)),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.1,127.0.0.2"])
async def test_this_machine_alone_needs_none(host: str) -> None:
    await check_ports_of([ROLES["broker"]], Settings(common=CommonSettings(host=host)))


async def test_several_addresses_share_one_port() -> None:
    names = await bound_to("127.0.0.1, 127.0.0.2")
    assert [host for host, _ in names] == ["127.0.0.1", "127.0.0.2"]
    assert len({port for _, port in names}) == 1


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
async def test_ipv4_and_ipv6_are_listened_on_together() -> None:
    for host, both in (("127.0.0.1,[::1]", {"127.0.0.1", "::1"}), ("*", {"0.0.0.0", "::"})):
        names = await bound_to(host)
        assert {name for name, _ in names} == both
        assert len({port for _, port in names}) == 1


@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1,nowhere.invalid", "", "192.0.2.1"])
async def test_what_is_no_address_of_this_machine_is_told(host: str) -> None:
    with pytest.raises(UsageError, match=r"--host: .* is no address of this machine"):
        await check_ports(host, {"--api-port": 0})


@pytest.mark.parametrize(
    ("host", "own", "url"),
    [
        ("*", "127.0.0.1", "http://127.0.0.1:1"),
        ("::", "::1", "http://[::1]:1"),
        ("[::1]", "::1", "http://[::1]:1"),
        ("10.0.0.1,127.0.0.1", "10.0.0.1", "http://10.0.0.1:1"),
        ("localhost", "localhost", "http://localhost:1"),
    ],
)
def test_a_client_of_this_machine_finds_it(host: str, own: str, url: str) -> None:
    assert own_address(host) == own
    assert Listener(host, 1).url == url
