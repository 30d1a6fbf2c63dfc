"""NVML from its initialisation on: a reading of all GPUs in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gputel.sources.nvml.calls import Calls, GpuLost, NvmlGone
from gputel.sources.nvml.gpus import Gpu, list_gpus, mig_instances
from gputel.sources.nvml.table import (
    FIELD_VALUES,
    MEMORY,
    NOT_AVAILABLE,
    READINGS,
    UNION_MEMBERS,
    XID,
    Part,
    Reading,
)


@dataclass(frozen=True)
class NvmlReading:
    """All GPUs at one moment, in Prometheus' text format.

    ``failed`` has the number of calls that failed oddly, by NVML's code; ``lost`` says which GPUs
    are left out, and why.
    """

    text: str
    failed: Mapping[int, int] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


class NvmlSession:
    """Initialises ``nvml``, the module pynvml, and reads its GPUs until ``close``. Calls block.

    Raises NvmlGone if there is no driver or no GPU.
    """

    def __init__(self, nvml: Any, hostname: str) -> None:
        self._nvml = nvml
        self._calls = Calls(nvml)
        self._calls.need("nvmlInit")
        self.gpus, self._missing = list_gpus(self._calls, hostname)
        if not self.gpus:
            self.close()
            raise NvmlGone(_no_gpu(self._missing))

    def read(self, xids: Mapping[str, int]) -> NvmlReading:
        """Read all GPUs; ``xids`` has the last XID of those whose events are known, by UUID.

        Raises NvmlGone if no GPU can be read.
        """
        lines: list[str] = []
        lost = list(self._missing)
        for gpu in self.gpus:
            try:
                lines += list(self._lines(gpu, xids))
            except GpuLost as reason:
                lost.append(f"GPU {gpu.index} ({gpu.uuid}): {reason}")
        failed = dict(self._calls.failed)
        self._calls.failed.clear()
        if not lines:
            raise NvmlGone(_no_gpu(lost))
        return NvmlReading("\n".join([*lines, ""]), failed, tuple(lost))

    def close(self) -> None:
        """End the use of NVML."""
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _lines(self, gpu: Gpu, xids: Mapping[str, int]) -> Iterator[str]:
        for reading in READINGS:
            yield from self._fields(reading, gpu.handle, gpu.labels)
        yield from self._field_values(gpu)
        instances = list(mig_instances(self._calls, gpu))
        for handle, labels in instances or [(gpu.handle, gpu.labels)]:
            yield from self._fields(MEMORY, handle, labels)
        if gpu.uuid in xids:
            yield f"{XID}{{{gpu.labels}}} {xids[gpu.uuid]}"

    def _fields(self, reading: Reading, handle: Any, labels: str) -> Iterator[str]:
        for call in reading.calls:
            answer = self._calls.get(call.function, handle, *call.arguments)
            if answer is None:
                continue
            for part in reading.parts:
                value = _picked(answer, part)
                if value is not None and value not in NOT_AVAILABLE:
                    yield f"{part.field}{{{labels}}} {_number(value, part.divisor)}"
            return

    def _field_values(self, gpu: Gpu) -> Iterator[str]:
        """Fields that one call reads together, each with an error of its own."""
        numbers = list(FIELD_VALUES)
        values = self._calls.get("nvmlDeviceGetFieldValues", gpu.handle, numbers)
        for number, value in zip(numbers, values or (), strict=False):
            if value.nvmlReturn:
                self._calls.note(value.nvmlReturn)
            elif value.valueType < len(UNION_MEMBERS):
                found = getattr(value.value, UNION_MEMBERS[value.valueType])
                yield f"{FIELD_VALUES[number]}{{{gpu.labels}}} {found}"


def _picked(answer: Any, part: Part) -> int | None:
    """The part of an answer; None in an answer of an older form that does not have it."""
    picked: int | None = answer
    if isinstance(part.pick, int):
        picked = answer[part.pick]
    elif part.pick:
        picked = getattr(answer, part.pick, None)
    return picked


def _number(value: int, divisor: int) -> str:
    return repr(value / divisor) if value % divisor else str(value // divisor)


def _no_gpu(lost: list[str]) -> str:
    if lost:
        return f"no GPU can be read: {'; '.join(lost)}"
    return "the NVIDIA driver has no GPU that this process may use: see nvidia-smi -L"
