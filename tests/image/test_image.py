"""The image as people run it: what is in it, the pipeline in one container, and in four."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.helpers.processes import free_port
from tests.helpers.wire import PostgresWire, wire_to
from tests.image.podman import REVISION, Container, Podman

pytestmark = pytest.mark.timeout(900)  # the first one builds the image
DRAIN_S = 120  # far more than the default deadline: the machine may have much else to do
SAMPLE = "/usr/share/gputel/dcgm_sample.csv"
SAMPLE_ROWS, SAMPLE_GPUS = 640, 32
STOPPED_WELL = {"broker": 0, "collector": 0, "streamer": 0, "api": 0}


async def answer(url: str) -> Any:
    """What the URL answers, as soon as it does."""

    def get() -> Any:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)

    for _ in range(300):
        try:
            return await asyncio.to_thread(get)
        except OSError:
            await asyncio.sleep(0.2)
    raise AssertionError(f"no answer from {url}")


async def until(check: Callable[[Any], bool], url: str) -> Any:
    """The first answer that passes the check."""
    for _ in range(300):
        if check(found := await answer(url)):
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"{url} still answers {found!r}"[:1000])


def test_it_runs_as_an_ordinary_user_with_gputel_as_its_program(podman: Podman) -> None:
    config = podman.inspect()["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["gputel"]
    assert set(config["Volumes"]) == {"/data"}
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    status, said = podman.run("--version")
    assert status == 0
    assert said.endswith("+g0e01f97\n")
    assert config["Labels"]["org.opencontainers.image.revision"] == REVISION


def test_any_uid_runs_it_with_its_embedded_postgres(podman: Podman) -> None:
    """docker and podman give a uid that /etc/passwd lacks the group 0, and so does OpenShift."""
    ports = ("--api-port", str(free_port()), "--broker-port", str(free_port()))
    container = podman.start("run", "--role", "all", *ports, options=("--user=123456:0",))
    container.says("ready")
    assert container.execute("id", "-u") == "123456"
    assert container.stop(DRAIN_S) == 0


def test_nothing_that_compiles_or_installs_is_left_in_it(podman: Podman) -> None:
    container = podman.start("run", "--role", "broker", "--broker-port", str(free_port()))
    container.says("ready")
    look = "command -v gcc cc make npm node; ls /opt/gputel/bin; find /opt/gputel -name '*.[ch]'"
    found = container.execute("sh", "-c", look, check=False).split()
    assert not {Path(path).name for path in found} & {"gcc", "cc", "make", "npm", "node", "pip"}
    assert not [path for path in found if path.endswith((".c", ".h"))]
    container.stop(DRAIN_S)


async def test_the_whole_pipeline_runs_in_one_container_with_a_read_only_root(
    podman: Podman,
) -> None:
    api, broker, health = free_port(), free_port(), free_port()
    ports = ("--api-port", str(api), "--broker-port", str(broker), "--health-port", str(health))
    container = podman.start(
        "run", "--role", "all", *ports, "--csv", SAMPLE, "--rate", "0", "--no-loop"
    )
    await asyncio.to_thread(container.says, "ready")
    url = f"http://127.0.0.1:{api}"
    gpus = await until(lambda found: len(found) == SAMPLE_GPUS, f"{url}/api/v1/gpus")
    records = await answer(f"{url}/api/v1/gpus/{gpus[0]['uuid']}/telemetry")
    assert len(records) == SAMPLE_ROWS // SAMPLE_GPUS
    assert await answer(f"{url}/readyz") == {"status": "ready"}
    assert container.execute("gputel", "healthcheck", "--ready", *ports) == "ready"
    assert "Read-only" in container.execute("sh", "-c", "touch /usr/x 2>&1", check=False)
    assert await asyncio.to_thread(container.stop, DRAIN_S) == 0
    assert container.log().endswith("stopped\n")


async def test_the_roles_run_in_a_container_each_with_a_database_outside(
    podman: Podman, dsn: str, pool: asyncpg.Pool
) -> None:
    async with wire_to(dsn) as wire:
        containers, api = await asyncio.to_thread(start_roles, podman, wire)
        for container in containers.values():
            await asyncio.to_thread(container.says, "ready")
        await until(lambda gpus: len(gpus) == SAMPLE_GPUS, f"{api}/api/v1/gpus")
        for _ in range(300):
            landed = await pool.fetchval("SELECT count(*) FROM telemetry")
            if landed >= SAMPLE_ROWS:
                break
            await asyncio.sleep(0.2)
        assert landed == SAMPLE_ROWS
        ended = {}
        for role in reversed(containers):
            ended[role] = await asyncio.to_thread(containers[role].stop, DRAIN_S)
        assert ended == STOPPED_WELL


def start_roles(podman: Podman, wire: PostgresWire) -> tuple[dict[str, Container], str]:
    """A container a role; the address of the api."""
    broker, api = free_port(), free_port()
    settings = {
        "broker": ("--broker-port", str(broker)),
        "collector": ("--broker-url", f"http://127.0.0.1:{broker}"),
        "streamer": ("--broker-url", f"http://127.0.0.1:{broker}", "--csv", SAMPLE,
                     "--no-loop", "--rate", "0"),
        "api": ("--broker-url", f"http://127.0.0.1:{broker}", "--api-port", str(api)),
    }  # fmt: skip
    containers = {}
    for role, flags in settings.items():
        environment = {"GPUTEL_POSTGRES_DSN": wire.dsn, "GPUTEL_HEALTH_PORT": str(free_port())}
        options = [f"--env={name}={value}" for name, value in environment.items()]
        containers[role] = podman.start("run", "--role", role, *flags, options=tuple(options))
    return containers, f"http://127.0.0.1:{api}"


def test_an_address_that_others_reach_needs_tokens_or_insecure(podman: Podman) -> None:
    status, said = podman.run("run", "--role", "broker", "--host", "0.0.0.0")
    assert status == 2
    assert said.count("\n") <= 1
    assert "--token-file" in said
    assert "--insecure" in said


def test_an_address_that_is_not_there_is_one_line(podman: Podman) -> None:
    status, said = podman.run("run", "--role", "broker", "--host", "192.0.2.1", "--insecure")
    assert status == 2
    assert said.count("\n") <= 1
    assert "--host: 192.0.2.1 is no address of this machine" in said
