"""The process that calls NVML: its protocol, lost GPUs that come back, and the last XIDs."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gputel.streamer.nvml.child import AGAIN_S, Reader, serve
from tests.helpers.stub_nvml import TIMEOUT, StubNvml
from tests.helpers.waiting import until


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def nvml() -> StubNvml:
    return StubNvml()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(nvml: StubNvml, clock: Clock) -> Reader:
    return Reader(nvml, "host-1", clock)


def served(reader: Reader, requests: int) -> list[tuple[dict[str, Any], bytes]]:
    """The answers, each a header and the text."""
    answers = io.BytesIO()
    serve(reader, io.BytesIO(b"read\n" * requests), answers)
    answers.seek(0)
    found = []
    while line := answers.readline():
        header = json.loads(line)
        found.append((header, answers.read(header.get("bytes", 0))))
    return found


def test_each_request_has_an_answer(reader: Reader, nvml: StubNvml) -> None:
    nvml.errors["nvmlDeviceGetPowerUsage"] = 999
    first, second = served(reader, 2)
    assert first == second
    assert first[0] == {"bytes": len(first[1]), "failed": {"999": 2}, "lost": []}
    assert first[1].endswith(b"\n")
    assert nvml.calls.count("nvmlInit") == 1


def test_it_ends_when_nvml_is_gone(reader: Reader, nvml: StubNvml) -> None:
    served(reader, 1)
    nvml.errors["nvmlDeviceGetPowerUsage"] = 18
    ((header, text),) = served(reader, 5)
    assert "restart the machine" in header["error"]
    assert text == b""


def test_a_lost_gpu_is_looked_for_again_after_a_minute(
    reader: Reader, nvml: StubNvml, clock: Clock
) -> None:
    nvml.errors["nvmlDeviceGetUtilizationRates", 1] = 15
    assert [len(reader.read().lost) for _ in range(3)] == [1, 1, 1]
    nvml.errors.clear()
    clock.now += AGAIN_S - 1
    reader.read()
    assert nvml.calls.count("nvmlInit") == 1
    clock.now += 1
    assert reader.read().lost == ()
    assert (nvml.calls.count("nvmlInit"), nvml.calls.count("nvmlShutdown")) == (2, 1)
    clock.now += 10 * AGAIN_S
    reader.read()
    assert nvml.calls.count("nvmlInit") == 2


class Events:
    """Events as NVML has them: a wait ends with one, or with a timeout."""

    def __init__(self, nvml: StubNvml) -> None:
        self._nvml = nvml
        self._told = threading.Event()
        self._event: Any = None
        self.error = TIMEOUT
        nvml.answers |= {
            "nvmlEventSetCreate": lambda: self,
            "nvmlEventSetFree": None,
            "nvmlDeviceGetSupportedEventTypes": lambda gpu: 8 if gpu == 1 else 1,
            "nvmlDeviceRegisterEvents": None,
            "nvmlEventSetWait_v2": self._wait,
        }

    def tell(self, gpu: int, xid: int) -> None:
        self._event = SimpleNamespace(device=gpu, eventType=8, eventData=xid)
        self._told.set()

    def _wait(self, _events: object, milliseconds: int) -> Any:
        if not self._told.wait(min(milliseconds, 20) / 1000):
            raise self._nvml.NVMLError(self.error)
        self._told.clear()
        return self._event


@pytest.fixture
def events(nvml: StubNvml, reader: Reader) -> Iterator[Events]:
    yield Events(nvml)
    reader.close()


def xids(reader: Reader) -> dict[str, int]:
    lines = [line for line in reader.read().text.splitlines() if "XID" in line]
    return {line.split('UUID="')[1][:5]: int(line.split()[-1]) for line in lines}


async def test_the_last_xid_stays_and_gpus_without_events_have_none(
    reader: Reader, events: Events, nvml: StubNvml, clock: Clock
) -> None:
    assert xids(reader) == {"GPU-1": 0}
    events.tell(1, 79)
    await until(lambda: xids(reader) == {"GPU-1": 79}, 60, "the XID")
    events.tell(1, 31)
    await until(lambda: xids(reader) == {"GPU-1": 31}, 60, "the next XID")
    nvml.errors["nvmlDeviceGetUtilizationRates", 0] = 15
    reader.read()
    nvml.errors.clear()
    clock.now += AGAIN_S
    assert xids(reader) == {"GPU-1": 31}
    assert nvml.calls.count("nvmlInit") == 2


async def test_xids_come_again_after_an_error_of_the_wait(
    reader: Reader, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputel.streamer.nvml.xids._PAUSE_S", 0.01)
    events.error = 15
    assert xids(reader) == {"GPU-1": 0}
    events.tell(1, 79)
    await until(lambda: xids(reader) == {"GPU-1": 79}, 60, "the XID")


def test_without_events_there_are_no_xids(reader: Reader, nvml: StubNvml) -> None:
    nvml.answers |= {"nvmlEventSetCreate": object, "nvmlDeviceGetSupportedEventTypes": 0}
    assert xids(reader) == {}
