"""Readings by the process that calls NVML: the real nvidia-ml-py on a library of the test."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gputel import metrics
from gputel.backoff import Backoff
from gputel.errors import ScrapeFailed, SourceError
from gputel.sources.nvml.table import FIELD_VALUES, MEMORY, READINGS, XID
from gputel.streamer.nvml import client as client_module
from gputel.streamer.nvml.client import NvmlClient, check_nvml
from gputel.streamer.nvml.process import NvmlProcess
from tests.helpers.fake_nvml import FakeDriver, fake_driver

LONG_S = 60.0
SHORT_S = 0.05
EVERY = {part.field for reading in (*READINGS, MEMORY) for part in reading.parts}
EVERY |= {*FIELD_VALUES.values(), XID}


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    return used(fake_driver(tmp_path / "driver"), monkeypatch)


def used(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """Make new processes find it, and be started again soon."""
    for name, text in driver.environment.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(client_module, "Backoff", lambda **_: Backoff(0.01, 0.02))
    return driver


@pytest.fixture
async def client(driver: FakeDriver) -> AsyncIterator[NvmlClient]:
    client = NvmlClient("host-1", hang_s=0.5)
    yield client
    await client.close()


async def reading(client: NvmlClient) -> dict[str, dict[str, float]]:
    """The values by GPU and field."""
    found: dict[str, dict[str, float]] = {}
    for line in (await client.get(LONG_S)).decode().splitlines():
        head, _, value = line.rpartition("} ")
        name, _, labels = head.partition("{")
        gpu = labels.partition(",")[0].removeprefix('gpu="')[:-1]
        found.setdefault(gpu, {})[name] = float(value)
    return found


async def reads(client: NvmlClient, check: Callable[[dict[str, dict[str, float]]], bool]) -> None:
    """Wait until a reading is as the check wants it; failures before it do not count."""
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                if check(await reading(client)):
                    return
            except ScrapeFailed:
                pass
            await asyncio.sleep(0.01)


async def failure(client: NvmlClient, timeout_s: float = LONG_S) -> str:
    with pytest.raises(ScrapeFailed) as raised:
        await client.get(timeout_s)
    return raised.value.message


async def fails(client: NvmlClient, text: str) -> None:
    """Wait until a reading fails for this reason."""
    async with asyncio.timeout(LONG_S):
        while text not in await failure(client, SHORT_S):
            await asyncio.sleep(0.01)


def pid_of(client: NvmlClient) -> int:
    assert client._process
    return client._process.pid


async def test_all_fields_come_from_the_library(client: NvmlClient, driver: FakeDriver) -> None:
    driver.set(gpu0_util=37, gpu1_util=99)
    found = await reading(client)
    assert [set(fields) for fields in found.values()] == [EVERY, EVERY]
    assert found["0"]["DCGM_FI_DEV_GPU_UTIL"] == 37
    assert found["1"]["DCGM_FI_DEV_GPU_UTIL"] == 99
    assert found["0"]["DCGM_FI_DEV_POWER_USAGE"] == 123.456
    assert found["0"]["DCGM_FI_DEV_FB_USED"] == 512
    assert found["0"]["DCGM_FI_DEV_MEMORY_TEMP"] == 55
    text = (await client.get(LONG_S)).decode()
    assert 'UUID="GPU-00000000-0000-0000-0000-000000000001",pci_bus_id="00000000:1C:00.0"' in text
    assert r'modelName="NVIDIA Fake \"1\"",Hostname="host-1"' in text


async def test_an_old_driver_gives_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(fake_driver(tmp_path / "old", old=True), monkeypatch)
    client = NvmlClient("host-1")
    found = (await reading(client))["0"]
    assert EVERY - set(found) == {
        "DCGM_FI_DEV_FB_RESERVED",
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    }
    assert found["DCGM_FI_DEV_FB_USED"] == 10 * 1024
    await client.close()


async def test_mig_instances_come_with_their_labels(client: NvmlClient, driver: FakeDriver) -> None:
    driver.set(gpu1_mig=2, error_nvmlDeviceGetUtilizationRates=3)
    lines = (await client.get(LONG_S)).decode().splitlines()
    instances = [line for line in lines if 'GPU_I_ID="8",GPU_I_PROFILE="1g.10gb"' in line]
    assert len(instances) == 4
    assert all('gpu="1"' in line for line in instances)
    assert [line for line in instances if line.endswith(" 10240")]
    assert not [line for line in lines if "GPU_UTIL" in line]


@pytest.mark.parametrize("code", [3, 4, 11, 13, 999])
@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetPowerUsage", "DCGM_FI_DEV_POWER_USAGE"),
        ("nvmlDeviceGetFieldValues", "DCGM_FI_DEV_MEMORY_TEMP"),
        ("nvmlDeviceGetPcieReplayCounter", "DCGM_FI_DEV_PCIE_REPLAY_COUNTER"),
    ],
)
async def test_an_error_of_a_call_costs_its_field(
    client: NvmlClient, driver: FakeDriver, code: int, function: str, field: str
) -> None:
    counted = ("gputel_nvml_calls_failed_total", {"error": str(code)})
    before = metrics.REGISTRY.get_sample_value(*counted) or 0
    driver.set(**{f"error_{function}": code})
    found = await reading(client)
    assert [set(fields) for fields in found.values()] == [EVERY - {field}] * 2
    more = (metrics.REGISTRY.get_sample_value(*counted) or 0) - before
    assert more == (2 if code in (11, 999) else 0)


async def test_the_last_xid_of_a_gpu_stays(client: NvmlClient, driver: FakeDriver) -> None:
    assert (await reading(client))["0"][XID] == 0
    driver.set(gpu0_xid=79)
    await reads(client, lambda found: found["0"][XID] == 79)
    driver.set(gpu0_xid=31)
    await reads(client, lambda found: (found["0"][XID], found["1"][XID]) == (31, 0))


async def test_a_lost_gpu_is_left_out_and_named_in_the_log_once(
    client: NvmlClient, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert set(await reading(client)) == {"0", "1"}
    driver.set(gpu1_lost=15)
    for _ in range(3):
        assert set(await reading(client)) == {"0"}
    driver.set(gpu1_lost=0)
    assert set(await reading(client)) == {"0", "1"}
    assert [record.message for record in caplog.records if "gputel" in record.name] == [
        "left out: GPU 1 (GPU-00000000-0000-0000-0000-000000000001): GPU is lost (15); NVML looks "
        "for it again each 60 s",
        "all GPUs are read again",
    ]


async def test_a_hang_fails_readings_and_a_new_process_follows(
    client: NvmlClient, driver: FakeDriver
) -> None:
    await reading(client)
    before = pid_of(client)
    driver.set(hang_nvmlDeviceGetTemperature=1)
    assert await failure(client, SHORT_S) == "the NVIDIA driver does not answer"
    while client._process:
        assert await failure(client, SHORT_S) == "the NVIDIA driver does not answer"
    driver.set(hang_nvmlDeviceGetTemperature=0, gpu0_util=50)
    await reads(client, lambda found: found["0"]["DCGM_FI_DEV_GPU_UTIL"] == 50)
    assert pid_of(client) != before


async def test_an_answer_that_comes_too_late_is_thrown_away(driver: FakeDriver) -> None:
    client = NvmlClient("host-1", hang_s=LONG_S)
    await reading(client)
    before = pid_of(client)
    driver.set(gpu0_util=1, hang_nvmlDeviceGetTemperature=1)
    await failure(client, SHORT_S)
    driver.set(gpu0_util=2, hang_nvmlDeviceGetTemperature=0)
    assert (await reading(client))["0"]["DCGM_FI_DEV_GPU_UTIL"] == 2
    assert pid_of(client) == before
    await client.close()


async def test_a_slow_start_is_told_as_one(driver: FakeDriver) -> None:
    driver.set(hang_nvmlInitWithFlags=1)
    client = NvmlClient("host-1", hang_s=0)
    for _ in range(3):
        assert await failure(client, SHORT_S) == "NVML is being initialised"
    driver.set(hang_nvmlInitWithFlags=0)
    await reading(client)
    await client.close()


async def test_processes_that_cannot_be_killed_are_few(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging: list[NvmlProcess] = []
    kill = NvmlProcess.kill
    monkeypatch.setattr(NvmlProcess, "kill", lambda process: hanging.append(process))
    driver.set(hang_nvmlDeviceGetTemperature=1)
    client = NvmlClient("host-1", start_s=0)
    await fails(client, "the NVIDIA driver does not answer: 3 processes hang in it")
    assert len(hanging) == 3
    for process in hanging:
        kill(process)
    driver.set(hang_nvmlDeviceGetTemperature=0)
    await reads(client, lambda found: set(found) == {"0", "1"})
    monkeypatch.undo()
    await client.close()


async def test_a_process_that_dies_is_replaced(client: NvmlClient) -> None:
    await reading(client)
    os.kill(pid_of(client), signal.SIGKILL)
    assert await failure(client) == "the process that calls NVML has ended"
    await reads(client, lambda found: set(found) == {"0", "1"})


@pytest.mark.parametrize(("code", "text"), [(18, "was upgraded"), (9, "modprobe nvidia")])
async def test_a_driver_that_goes_is_found_when_it_is_back(
    client: NvmlClient, driver: FakeDriver, code: int, text: str
) -> None:
    await reading(client)
    before = pid_of(client)
    driver.set(error_all=code)
    assert text in await failure(client)
    assert text in await failure(client)
    driver.set(error_all=0)
    await reads(client, lambda found: set(found) == {"0", "1"})
    assert pid_of(client) != before


async def test_no_process_is_left_after_the_end(client: NvmlClient, driver: FakeDriver) -> None:
    await reading(client)
    pids = [pid_of(client)]
    driver.set(hang_nvmlDeviceGetTemperature=1)
    await failure(client, SHORT_S)
    await client.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def refusal(wait_s: float = LONG_S) -> str:
    with pytest.raises(SourceError) as raised:
        await check_nvml("host-1", wait_s)
    return raised.value.message


async def test_the_check_at_the_start_says_what_is_missing(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_nvml("host-1")
    driver.set(count=0)
    assert await refusal() == (
        "--nvml: the NVIDIA driver has no GPU that this process may use: see nvidia-smi -L"
    )
    driver.set(count=2, init=9)
    assert "modprobe nvidia" in await refusal()
    driver.set(init=0, hang_nvmlInitWithFlags=1)
    assert await refusal(SHORT_S) == "--nvml: the NVIDIA driver does not answer within 0.05 s"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert "libnvidia-ml.so.1 is not here" in await refusal()
    monkeypatch.setattr(client_module, "MODULE", "no_such_module")
    assert await refusal() == ("--nvml needs the package nvidia-ml-py: pip install 'gputel[nvml]'")
