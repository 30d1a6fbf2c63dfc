"""The health port of a process without another server is guarded as the others are."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gputel import __version__
from gputel.config.settings import CommonSettings, Settings
from gputel.roles.process import BrokerAddress, Process, Services
from gputel.roles.registry import ROLES
from gputel.version import commit
from tests.helpers.processes import free_port
from tests.helpers.raw_http import Raw, raw_to, request


@asynccontextmanager
async def health_port() -> AsyncIterator[Raw]:
    port = free_port()
    process = Process(Settings(common=CommonSettings(health_port=port)))
    services = Services(BrokerAddress("http://127.0.0.1:1", None))
    start = ROLES["health"].start
    assert start is not None
    async with start(process, services), raw_to(port) as raw:
        yield raw


async def test_metrics_tell_which_gputel_runs() -> None:
    async with health_port() as raw:
        await raw.send(request("/metrics", method="GET"))
        lines = (await raw.reply()).body.decode().splitlines()
    labels = f'commit="{commit()}",python="{platform.python_version()}",version="{__version__}"'
    assert f"gputel_build_info{{{labels}}} 1.0" in lines


async def test_foreign_names_read_nothing_and_answers_are_not_sniffed() -> None:
    async with health_port() as raw:
        for host, status in (("localhost", 200), ("evil.example", 403), ("127.0.0.1", 200)):
            for path in ("/healthz", "/metrics"):
                data = request(path, method="GET").replace(b"localhost", host.encode())
                await raw.send(data)
                reply = await raw.reply()
                assert (reply.status, reply.fields["x-content-type-options"]) == (status, "nosniff")
