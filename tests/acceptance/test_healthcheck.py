"""``gputel healthcheck``, as a container runtime asks it."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.processes import Processes, free_port


async def test_it_is_well_while_gputel_runs_and_not_after(
    processes: Processes, dsn: str, tmp_path: Path
) -> None:
    port = str(free_port())
    ports = ("--api-port", port, "--broker-port", str(free_port()))
    api = processes.start("run", "--role", "api", *ports, GPUTEL_POSTGRES_DSN=dsn)
    await api.says("ready")
    well = await processes.run("healthcheck", *ports)
    assert (well.process.returncode, well.out) == (0, "ok\n")
    ready = await processes.run("healthcheck", "--ready", GPUTEL_API_PORT=port)
    assert (ready.process.returncode, ready.out) == (0, "ready\n")
    assert await api.stop() == 0
    gone = await processes.run("healthcheck", *ports)
    assert gone.process.returncode == 1
    assert f"ports {port}" in gone.err


async def test_a_process_that_cannot_do_its_work_lives_but_is_not_ready(
    processes: Processes, dsn: str
) -> None:
    health, nobody = str(free_port()), f"http://127.0.0.1:{free_port()}"
    ports = ("--api-port", str(free_port()), "--broker-port", str(free_port()),
             "--health-port", health)  # fmt: skip
    command = ("run", "--role", "collector", "--broker-url", nobody, "--health-port", health)
    await processes.start(*command, GPUTEL_POSTGRES_DSN=dsn).says("health listens")
    assert (await processes.run("healthcheck", *ports)).process.returncode == 0
    ready = await processes.run("healthcheck", "--ready", *ports)
    assert ready.process.returncode == 1
    assert f":{health}/readyz answers 503" in ready.err
