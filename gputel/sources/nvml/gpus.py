"""The GPUs of this machine and their MIG instances, with the labels of dcgm-exporter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gputel.sources.nvml.calls import Calls, GpuLost

_PROFILE = " MIG "  # in the name of an instance: "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True)
class Gpu:
    """A GPU: its handle, and its labels in Prometheus' text format, without braces."""

    handle: Any
    index: int
    uuid: str
    labels: str


def list_gpus(calls: Calls, hostname: str) -> tuple[list[Gpu], list[str]]:
    """The GPUs in the order of their index, and why others are left out. Raises NvmlGone."""
    common = {
        "Hostname": hostname,
        "DCGM_FI_DRIVER_VERSION": _text(calls.get("nvmlSystemGetDriverVersion")),
    }
    gpus, lost = [], []
    for index in range(calls.need("nvmlDeviceGetCount")):
        try:
            gpu = _gpu(calls, index, common)
        except GpuLost as reason:
            lost.append(f"GPU {index}: {reason}")
            continue
        if gpu:
            gpus.append(gpu)
    return gpus, lost


def _gpu(calls: Calls, index: int, common: Mapping[str, str]) -> Gpu | None:
    """The GPU of this index; None if this process may not use it. Raises GpuLost and NvmlGone."""
    handle = calls.device(index)
    if handle is None:
        return None
    pci = calls.get("nvmlDeviceGetPciInfo", handle)
    uuid = _text(calls.get("nvmlDeviceGetUUID", handle))
    labels = {
        "gpu": str(index),
        "UUID": uuid,
        "pci_bus_id": _text(pci and pci.busId),
        "device": f"nvidia{index}",  # as DCGM has it: it is not the minor number
        "modelName": _text(calls.get("nvmlDeviceGetName", handle)),
        **common,
    }
    return Gpu(handle, index, uuid or str(index), labels_text(labels))


def mig_instances(calls: Calls, gpu: Gpu) -> Iterator[tuple[Any, str]]:
    """Handle and labels of each MIG instance, while MIG is on. Raises GpuLost and NvmlGone."""
    mode = calls.get("nvmlDeviceGetMigMode", gpu.handle)
    if not mode or not mode[0]:
        return
    seen = set()
    for number in range(calls.get("nvmlDeviceGetMaxMigDeviceCount", gpu.handle) or 0):
        handle = calls.get("nvmlDeviceGetMigDeviceHandleByIndex", gpu.handle, number)
        if handle is None:
            continue
        instance = calls.get("nvmlDeviceGetGpuInstanceId", handle)
        if instance is None or instance in seen:  # compute instances share the memory of theirs
            continue
        seen.add(instance)
        profile = _text(calls.get("nvmlDeviceGetName", handle)).partition(_PROFILE)[2]
        own = labels_text({"GPU_I_ID": str(instance), "GPU_I_PROFILE": profile})
        yield handle, f"{gpu.labels},{own}"


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels in Prometheus' text format; empty ones are left out."""
    return ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items() if text)


def _text(answer: str | bytes | None) -> str:
    if isinstance(answer, bytes):
        return answer.decode(errors="replace")
    return answer or ""
