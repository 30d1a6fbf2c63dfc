"""The health port of a process without another server is guarded as the others are."""

from __future__ import annotations

from gputel.config.settings import CommonSettings, Settings
from gputel.roles.process import BrokerAddress, Process, Services
from gputel.roles.registry import ROLES
from tests.processes import free_port
from tests.raw_http import raw_to, request


async def test_foreign_names_read_nothing_and_answers_are_not_sniffed() -> None:
    port = free_port()
    process = Process(Settings(common=CommonSettings(health_port=port)))
    services = Services(BrokerAddress("http://127.0.0.1:1", None))
    start = ROLES["health"].start
    assert start is not None
    async with start(process, services), raw_to(port) as raw:
        for host, status in (("localhost", 200), ("evil.example", 403), ("127.0.0.1", 200)):
            for path in ("/healthz", "/metrics"):
                data = request(path, method="GET").replace(b"localhost", host.encode())
                await raw.send(data)
                reply = await raw.reply()
                assert (reply.status, reply.fields["x-content-type-options"]) == (status, "nosniff")
