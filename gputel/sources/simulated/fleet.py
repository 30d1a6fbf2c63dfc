"""A simulated fleet: its hosts and GPUs, and the text around the value in each CSV line.

Everything comes from hashes of the seed, so it is the same on every machine and with every
version of the libraries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gputel.model.names import AFTER_VALUE, BEFORE_VALUE, CSV_NAMES, LABEL_COLUMNS, RAW

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

HEADER = (",".join(CSV_NAMES.values()) + "\n").encode()
METRICS = (
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_MEM_COPY_UTIL",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_DEC_UTIL",
    "DCGM_FI_DEV_ENC_UTIL",
    "DCGM_FI_DEV_SM_CLOCK",
    "DCGM_FI_DEV_MEM_CLOCK",
)
_MODEL = "NVIDIA H100 80GB HBM3"
_DRIVER = "535.129.03"
_WORKLOADS = (("train", "llm-pretrain"), ("serve", "vllm"), ("notebooks", "jupyter"))
_MASK = 2**64 - 1


@dataclass(frozen=True)
class SimulatedGpu:
    """One GPU of the fleet, by its labels."""

    index: int
    host: str
    uuid: str
    container: str = ""
    pod: str = ""
    namespace: str = ""


def draw(seed: int, lane: int, units: Int64, moment: Int64 | int = 0) -> UInt64:
    """A 64-bit hash for each unit at a moment: splitmix64's finalizer, twice.

    https://prng.di.unimi.it/splitmix64.c
    """
    start = np.uint64((seed * 0x9E3779B97F4A7C15 + lane * 0xD1342543DE82EF95) & _MASK)
    return _mix(_mix(units.astype(np.uint64) ^ start) + np.asarray(moment).astype(np.uint64))


def _mix(state: UInt64) -> UInt64:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64 = state ^ (state >> np.uint64(31))
    return mixed


def make_gpus(hosts: int, gpus: int, seed: int, *, pods: bool) -> list[SimulatedGpu]:
    """All GPUs, host by host. With ``pods``, about half of them belong to a Kubernetes pod."""
    units = np.arange(hosts * gpus, dtype=np.int64)
    high, low, owner_draw = (draw(seed, lane, units).tolist() for lane in (1, 2, 3))
    fleet = []
    for unit in units.tolist():
        host = f"dgx-{unit // gpus + 1:03d}"
        hex_ = f"{high[unit]:016x}{low[unit]:016x}"
        uuid = f"GPU-{hex_[:8]}-{hex_[8:12]}-{hex_[12:16]}-{hex_[16:20]}-{hex_[20:]}"
        owner: tuple[str, ...] = ("", "", "")
        if pods and owner_draw[unit] % 2:
            namespace, container = _WORKLOADS[owner_draw[unit] // 2 % len(_WORKLOADS)]
            owner = (container, f"{container}-{owner_draw[unit] >> 40:06x}", namespace)
        fleet.append(SimulatedGpu(unit % gpus, host, uuid, *owner))
    return fleet


def around_value(gpu: SimulatedGpu, metric: str) -> tuple[bytes, bytes]:
    """The text of a line between timestamp and value, and after the value with its line feed."""
    texts = {
        "metric_name": metric,
        "gpu_id": str(gpu.index),
        "device": f"nvidia{gpu.index}",
        "uuid": gpu.uuid,
        "model_name": _MODEL,
        "hostname": gpu.host,
        "container": gpu.container,
        "pod": gpu.pod,
        "namespace": gpu.namespace,
    }
    exported = {
        "DCGM_FI_DRIVER_VERSION": _DRIVER,
        "instance": f"{gpu.host}:9400",
        "job": "dgx_dcgm_exporter",
    }
    for column in LABEL_COLUMNS:
        if column.prometheus and texts.get(column.name):
            exported[column.prometheus] = texts[column.name]
    texts[RAW] = ",".join(f'{name}=""{text}""' for name, text in sorted(exported.items()))
    before, after = (
        '","'.join(texts.get(column.name, "") for column in columns)
        for columns in (BEFORE_VALUE, AFTER_VALUE)
    )
    return f'","{before}","'.encode(), f'","{after}"\n'.encode()
