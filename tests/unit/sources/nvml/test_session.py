"""A reading of all GPUs: fields, units and labels, and what each error costs."""

from __future__ import annotations

import pytest

from gputel.model.columns import SCHEMA
from gputel.model.dcgm_fields import FIELDS
from gputel.sources.dcgm.flaws import find_flaws
from gputel.sources.exposition.reader import ExpositionReader
from gputel.sources.nvml.calls import NvmlGone
from gputel.sources.nvml.session import NvmlReading, NvmlSession
from gputel.sources.nvml.table import FIELD_VALUES, MEMORY, READINGS, XID
from tests.helpers.stub_nvml import StubNvml, field

EVERY = {part.field for reading in (*READINGS, MEMORY) for part in reading.parts}
EVERY |= {*FIELD_VALUES.values(), XID}
AT_US = 1_800_000_000_000_000
XIDS = {"GPU-0": 0, "GPU-1": 79}


@pytest.fixture
def nvml() -> StubNvml:
    return StubNvml()


def read(nvml: StubNvml) -> NvmlReading:
    return NvmlSession(nvml, "host-1").read(XIDS)


def values(text: str, gpu: int = 0) -> dict[str, float]:
    """The values of a GPU by field; of one with MIG, those of the GPU itself."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{")
        labels, _, value = rest.rpartition("} ")
        if f'gpu="{gpu}"' in labels and "GPU_I_ID" not in labels:
            assert name not in found
            found[name] = float(value)
    return found


def test_every_field_is_one_of_dcgm() -> None:
    assert set(FIELDS) >= EVERY


def test_values_have_the_units_of_dcgm(nvml: StubNvml) -> None:
    found = values(read(nvml).text)
    assert set(found) == EVERY
    assert found["DCGM_FI_DEV_GPU_UTIL"] == 37
    assert found["DCGM_FI_DEV_MEM_COPY_UTIL"] == 5
    assert found["DCGM_FI_DEV_ENC_UTIL"] == 1
    assert found["DCGM_FI_DEV_POWER_USAGE"] == 123.456
    assert found["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"] == 9_000_000_001
    assert found["DCGM_FI_DEV_GPU_TEMP"] == 40
    assert found["DCGM_FI_DEV_MEMORY_TEMP"] == 55
    assert found["DCGM_FI_DEV_SM_CLOCK"] == 1001
    assert found["DCGM_FI_DEV_VIDEO_CLOCK"] == 1003
    assert found["DCGM_FI_DEV_FB_USED"] == 512
    assert found["DCGM_FI_DEV_FB_RESERVED"] == 512
    assert found["DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"] == 2
    assert found["DCGM_FI_DEV_ROW_REMAP_FAILURE"] == 0
    assert found["DCGM_FI_DEV_ECC_DBE_AGG_TOTAL"] == 11
    assert found["DCGM_FI_DEV_RELIABILITY_VIOLATION"] == 6


def test_the_text_is_read_as_that_of_an_exporter(nvml: StubNvml) -> None:
    nvml.answers["nvmlDeviceGetName"] = 'A "big"\\one'
    read_back = ExpositionReader().read(read(nvml).text.encode(), AT_US)
    assert read_back.bad == []
    assert read_back.batch.schema == SCHEMA
    assert find_flaws(read_back.batch) == {}
    record = read_back.batch.slice(0, 1).to_pylist()[0]
    assert record["uuid"] == "GPU-0"
    assert record["gpu_id"] == "0"
    assert record["device"] == "nvidia0"
    assert record["hostname"] == "host-1"
    assert record["model_name"] == 'A "big"\\one'
    assert 'pci_bus_id="00000000:00:00.0"' in record["labels_raw"]
    assert 'DCGM_FI_DRIVER_VERSION="580.65.06"' in record["labels_raw"]


def test_the_last_xid_of_each_gpu_is_a_value(nvml: StubNvml) -> None:
    text = read(nvml).text
    assert (values(text, 0)[XID], values(text, 1)[XID]) == (0, 79)
    assert XID not in NvmlSession(nvml, "host-1").read({}).text


@pytest.mark.parametrize("code", [2, 3, 4, 6, 13, 25])
def test_what_a_gpu_does_not_have_is_absent(nvml: StubNvml, code: int) -> None:
    nvml.errors["nvmlDeviceGetPowerUsage", 0] = code
    reading = read(nvml)
    assert set(values(reading.text, 0)) == EVERY - {"DCGM_FI_DEV_POWER_USAGE"}
    assert set(values(reading.text, 1)) == EVERY
    assert (reading.failed, reading.lost) == ({}, ())


@pytest.mark.parametrize("code", [7, 11, 17, 20, 999])
def test_an_odd_error_costs_its_field_and_is_counted(nvml: StubNvml, code: int) -> None:
    nvml.errors["nvmlDeviceGetPowerUsage"] = code
    session = NvmlSession(nvml, "host-1")
    for _ in range(2):
        reading = session.read(XIDS)
        assert set(values(reading.text)) == EVERY - {"DCGM_FI_DEV_POWER_USAGE"}
        assert reading.failed == {code: 2}


@pytest.mark.parametrize("code", [15, 16])
def test_a_lost_gpu_is_left_out_and_the_others_stay(nvml: StubNvml, code: int) -> None:
    nvml.errors["nvmlDeviceGetTemperature", 1] = code
    reading = read(nvml)
    assert set(values(reading.text, 0)) == EVERY
    assert values(reading.text, 1) == {}
    assert reading.lost == (f"GPU 1 (GPU-1): Error {code} ({code})",)


@pytest.mark.parametrize("code", [11, 15, 999])
def test_a_gpu_that_cannot_be_opened_is_left_out(nvml: StubNvml, code: int) -> None:
    nvml.errors["nvmlDeviceGetHandleByIndex", 0] = code
    reading = read(nvml)
    assert (values(reading.text, 0), set(values(reading.text, 1))) == ({}, EVERY)
    assert reading.lost == (f"GPU 0: Error {code} ({code})",)


def test_a_gpu_of_others_is_left_out_silently(nvml: StubNvml) -> None:
    nvml.errors["nvmlDeviceGetHandleByIndex", 0] = 4
    reading = read(nvml)
    assert (values(reading.text, 0), reading.lost) == ({}, ())


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "NVML cannot be used"),
        (9, "modprobe nvidia"),
        (12, "install the NVIDIA driver"),
        (18, "restart the machine"),
    ],
)
def test_an_error_of_the_driver_ends_the_reading(nvml: StubNvml, code: int, text: str) -> None:
    session = NvmlSession(nvml, "host-1")
    nvml.errors["nvmlDeviceGetPowerUsage", 1] = code
    with pytest.raises(NvmlGone, match=text):
        session.read(XIDS)
    nvml.errors = {"nvmlInit": code}
    with pytest.raises(NvmlGone, match=text):
        read(nvml)


@pytest.mark.parametrize(("code", "text"), [(4, "/dev/nvidia"), (13, "too old"), (999, "999")])
def test_a_driver_that_cannot_be_used_says_why(nvml: StubNvml, code: int, text: str) -> None:
    nvml.errors["nvmlInit"] = code
    with pytest.raises(NvmlGone, match=text):
        read(nvml)


def test_without_a_gpu_there_is_no_reading(nvml: StubNvml) -> None:
    nvml.answers["nvmlDeviceGetCount"] = 0
    with pytest.raises(NvmlGone, match="has no GPU"):
        read(nvml)
    assert nvml.calls[-1] == "nvmlShutdown"


def test_when_all_gpus_are_lost_there_is_no_reading(nvml: StubNvml) -> None:
    session = NvmlSession(nvml, "host-1")
    nvml.errors["nvmlDeviceGetUtilizationRates"] = 15
    with pytest.raises(NvmlGone, match=r"no GPU can be read: GPU 0 .*; GPU 1 "):
        session.read(XIDS)


def test_an_old_driver_counts_what_is_reserved_as_used(nvml: StubNvml) -> None:
    def old(gpu: int, version: int = 0) -> object:
        if version:
            raise nvml.NVMLError(13)
        return new(gpu)

    new = nvml.answers["nvmlDeviceGetMemoryInfo"]
    nvml.answers["nvmlDeviceGetMemoryInfo"] = old
    del nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"]
    nvml.answers["nvmlDeviceGetCurrentClocksThrottleReasons"] = 8
    found = values(read(nvml).text)
    assert set(found) == EVERY - {"DCGM_FI_DEV_FB_RESERVED"}
    assert found["DCGM_FI_DEV_FB_USED"] == 1024
    assert found["DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"] == 8


@pytest.mark.parametrize("blank", [2**32 - 1, 2**64 - 1])
def test_a_value_that_is_not_available_is_absent(nvml: StubNvml, blank: int) -> None:
    nvml.answers["nvmlDeviceGetPowerUsage"] = blank
    assert "POWER_USAGE" not in read(nvml).text


@pytest.mark.parametrize("kind", range(7))
def test_a_field_value_may_have_any_type(nvml: StubNvml, kind: int) -> None:
    nvml.answers["nvmlDeviceGetFieldValues"] = lambda _gpu, _numbers: [field(61, kind)]
    assert values(read(nvml).text)["DCGM_FI_DEV_MEMORY_TEMP"] == 61


@pytest.mark.parametrize(("code", "failed"), [(3, {}), (999, {999: 2})])
def test_a_field_value_has_an_error_of_its_own(
    nvml: StubNvml, code: int, failed: dict[int, int]
) -> None:
    nvml.answers["nvmlDeviceGetFieldValues"] = lambda _gpu, _numbers: [field(0, code=code)]
    reading = read(nvml)
    assert set(values(reading.text)) == EVERY - {"DCGM_FI_DEV_MEMORY_TEMP"}
    assert reading.failed == failed


def test_mig_instances_have_their_own_memory(nvml: StubNvml) -> None:
    handles = {0: "one", 1: "same-gpu-instance", 3: "two"}

    def by_index(_gpu: int, index: int) -> str:
        if index not in handles:
            raise nvml.NVMLError(6)
        return handles[index]

    nvml.answers |= {
        "nvmlDeviceGetMigMode": lambda gpu: [int(gpu == 1), 1],
        "nvmlDeviceGetMaxMigDeviceCount": 7,
        "nvmlDeviceGetMigDeviceHandleByIndex": by_index,
        "nvmlDeviceGetGpuInstanceId": lambda handle: 9 if handle == "two" else 7,
        "nvmlDeviceGetName": lambda handle: (
            "NVIDIA H100" if isinstance(handle, int) else "NVIDIA H100 MIG 1g.10gb"
        ),
    }
    nvml.errors["nvmlDeviceGetUtilizationRates", 1] = 3
    text = read(nvml).text
    of_instances = [line for line in text.splitlines() if "GPU_I_ID" in line]
    memory = {part.field for part in MEMORY.parts}
    assert len(of_instances) == 2 * len(memory)
    assert all('UUID="GPU-1"' in line for line in of_instances)
    assert sum('GPU_I_ID="9",GPU_I_PROFILE="1g.10gb"' in line for line in of_instances) == 4
    utilization = {"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_MEM_COPY_UTIL"}
    assert set(values(text, 1)) == EVERY - memory - utilization
    assert set(values(text, 0)) == EVERY


def test_calls_that_cost_much_are_never_made(nvml: StubNvml) -> None:
    read(nvml)
    assert not [name for name in nvml.calls if "Throughput" in name or "Processes" in name]
