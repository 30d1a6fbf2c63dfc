"""The module pynvml as far as gputel calls it, with answers in a table."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

MIB = 1 << 20
TIMEOUT = 10


class StubNvml:
    """Two GPUs, whose handles are their indexes. ``errors`` has codes by function, or also by GPU.

    ``calls`` has the name of each call that was made.
    """

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            super().__init__(value)
            self.value = value

        def __str__(self) -> str:
            return f"Error {self.value}"

    def __init__(self) -> None:
        self.errors: dict[str | tuple[str, Any], int] = {}
        self.calls: list[str] = []
        self.answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 2,
            "nvmlSystemGetDriverVersion": "580.65.06",
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetPciInfo": lambda gpu: SimpleNamespace(busId=b"00000000:0%d:00.0" % gpu),
            "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}",
            "nvmlDeviceGetName": "NVIDIA H100",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=37, memory=5),
            "nvmlDeviceGetEncoderUtilization": [1, 167_000],
            "nvmlDeviceGetDecoderUtilization": [2, 167_000],
            "nvmlDeviceGetPowerUsage": 123_456,
            "nvmlDeviceGetTotalEnergyConsumption": 9_000_000_001,
            "nvmlDeviceGetTemperature": lambda _gpu, sensor: 40 + sensor,
            "nvmlDeviceGetClockInfo": lambda _gpu, clock: 1000 + clock,
            "nvmlDeviceGetMemoryInfo": memory,
            "nvmlDeviceGetCurrentClocksEventReasons": 4,
            "nvmlDeviceGetPcieReplayCounter": 3,
            "nvmlDeviceGetRemappedRows": (1, 2, 1, 0),
            "nvmlDeviceGetTotalEccErrors": lambda _gpu, error, counter: 10 * error + counter,
            "nvmlDeviceGetViolationStatus": lambda _gpu, policy: SimpleNamespace(
                violationTime=policy + 1, referenceTime=99
            ),
            "nvmlDeviceGetFieldValues": lambda _gpu, numbers: [field(55) for _ in numbers],
            "nvmlDeviceGetMigMode": [0, 0],
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            code = self.errors.get(name) or self.errors.get((name, *arguments[:1]))
            if code or name not in self.answers:
                raise self.NVMLError(code or 13)
            answer = self.answers[name]
            return answer(*arguments) if callable(answer) else answer

        return call


def memory(_gpu: Any, version: int = 0) -> SimpleNamespace:
    """What is used is 1 GiB; the old call counts what is reserved with it."""
    if version:
        return SimpleNamespace(
            total=80_000 * MIB, free=78_976 * MIB, used=512 * MIB, reserved=512 * MIB
        )
    return SimpleNamespace(total=80_000 * MIB, free=78_976 * MIB, used=1024 * MIB)


def field(number: float, kind: int = 1, code: int = 0) -> SimpleNamespace:
    """A value of nvmlDeviceGetFieldValues, of a type of NVML."""
    member = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")[kind]
    return SimpleNamespace(
        nvmlReturn=code, valueType=kind, value=SimpleNamespace(**{member: number})
    )
