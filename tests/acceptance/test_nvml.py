"""``gputel run --nvml`` as on a workstation, with a library of the test as the driver."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import psutil
import pytest

from tests.helpers.fake_nvml import FakeDriver, fake_driver
from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.waiting import eventually

UTIL = "last_over_time(DCGM_FI_DEV_GPU_UTIL[10s])"
HOST = socket.gethostname()


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    return fake_driver(tmp_path / "driver")


class Workstation:
    """``gputel run --role all --nvml``."""

    def __init__(self, processes: Processes, driver: FakeDriver, dsn: str) -> None:
        self._api = free_port()
        ports = ("--api-port", str(self._api), "--broker-port", str(free_port()))
        arguments = ("run", "--role", "all", "--nvml", "--scrape-batch-s", "0", *ports)
        environment = {"GPUTEL_POSTGRES_DSN": dsn, **driver.environment}
        self.process: Gputel = processes.start(*arguments, **environment)

    async def get(self, path: str) -> Any:
        async with aiohttp.request("GET", f"http://127.0.0.1:{self._api}{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def target(self) -> Any:
        """The only target, once the streamer has reported it."""
        found: list[Any] = []

        async def check() -> bool:
            found[:] = (await self.get("/api/v1/targets"))["data"]["activeTargets"]
            return bool(found)

        await eventually(check)
        (target,) = found
        return target

    async def shows(self, query: str, *expected: tuple[str, float]) -> None:
        """Wait until the newest values are these: the label gpu and the value of each series."""

        async def check() -> bool:
            answer = await self.get(f"/prometheus/api/v1/query?query={quote(query)}")
            found = [
                (each["metric"].get("gpu", ""), float(each["value"][1]))
                for each in answer["data"]["result"]
            ]
            return sorted(found) == sorted(expected)

        await eventually(check)


async def test_gpus_of_this_machine_are_seen_through_loss_hang_and_return(
    processes: Processes, driver: FakeDriver, dsn: str
) -> None:
    driver.set(gpu0_util=37, gpu1_util=99)
    station = Workstation(processes, driver, dsn)
    await station.process.says("ready")
    await station.shows(UTIL, ("0", 37), ("1", 99))
    await station.shows('up{job="nvml"}', ("", 1))
    target = await station.target()
    assert (target["scrapePool"], target["scrapeUrl"]) == ("nvml", f"nvml://{HOST}")
    assert target["labels"] == {"instance": HOST, "job": "nvml"}
    hosts = {gpu["hostname"] for gpu in await station.get("/api/v1/gpus")}
    assert hosts == {HOST}

    driver.set(gpu1_lost=15, gpu0_util=38)
    await station.shows(UTIL, ("0", 38))
    await station.shows('up{job="nvml"}', ("", 1))

    driver.set(gpu1_lost=0, hang_nvmlDeviceGetTemperature=1)
    await station.shows('up{job="nvml"}', ("", 0))
    await station.process.says(f"target nvml://{HOST} is down: the NVIDIA driver does not answer")
    driver.set(hang_nvmlDeviceGetTemperature=0, gpu0_util=39)
    await station.shows(UTIL, ("0", 39), ("1", 99))
    await station.shows('up{job="nvml"}', ("", 1))

    children = psutil.Process(station.process.process.pid).children(recursive=True)
    assert [child for child in children if "gputel.streamer.nvml.child" in child.cmdline()]
    driver.set(hang_nvmlDeviceGetTemperature=1)
    assert await station.process.stop() == 0
    assert not [child for child in children if child.is_running()]


async def test_streamer_that_is_killed_leaves_nothing_that_hangs_in_the_driver(
    processes: Processes, driver: FakeDriver, dsn: str
) -> None:
    station = Workstation(processes, driver, dsn)
    await station.process.says("ready")
    await station.shows('up{job="nvml"}', ("", 1))
    children = psutil.Process(station.process.process.pid).children(recursive=True)
    (child,) = [each for each in children if "gputel.streamer.nvml.child" in each.cmdline()]
    driver.set(hang_nvmlDeviceGetTemperature=1)
    await station.shows('up{job="nvml"}', ("", 0))
    station.process.kill()

    async def is_gone() -> bool:
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    await eventually(is_gone)


async def test_without_a_gpu_it_says_so_and_does_not_start(
    processes: Processes, driver: FakeDriver, dsn: str
) -> None:
    driver.set(count=0)
    station = Workstation(processes, driver, dsn)
    assert await station.process.ended() == 1
    assert station.process.err == (
        "gputel: --nvml: the NVIDIA driver has no GPU that this process may use: see "
        "nvidia-smi -L\n"
    )


async def test_without_the_package_it_says_how_to_install_it(
    processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pynvml' else find(name)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    run = await processes.run("run", "--role", "streamer", "--nvml", PYTHONPATH=path)
    assert (run.process.returncode, run.err) == (
        1,
        "gputel: --nvml needs the package nvidia-ml-py: pip install 'gputel[nvml]'\n",
    )
