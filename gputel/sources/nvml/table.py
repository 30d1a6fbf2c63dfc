"""Which call of NVML measures which field of DCGM.

The pairs are those of DCGM itself (https://github.com/NVIDIA/DCGM, DcgmCacheManager.cpp, 4.6.0).
Calls that cost much are not here: PCIe throughput blocks for 20 ms, and lists of processes take a
lock of the driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

MIB = 1 << 20
_MEMORY_V2 = 0x02000028  # nvmlMemory_v2: version 2 in the highest byte, and the size
_SM, _MEM, _VIDEO = 1, 2, 3  # NVML_CLOCK_*
_CORRECTED, _UNCORRECTED = 0, 1  # NVML_MEMORY_ERROR_TYPE_*
_VOLATILE, _AGGREGATE = 0, 1  # NVML_*_ECC: since the driver was loaded, and in the GPU's life
_GPU_SENSOR = 0  # NVML_TEMPERATURE_GPU

XID = "DCGM_FI_DEV_XID_ERRORS"
"""The field that events fill; no call reads it."""


class Part(NamedTuple):
    """One field in an answer: ``pick`` is an attribute or an index, None if it is all of it.

    The value in DCGM's unit is that of NVML divided by ``divisor``.
    """

    field: str
    pick: str | int | None = None
    divisor: int = 1


class Call(NamedTuple):
    """A function of the module pynvml, and its arguments after the handle of the GPU."""

    function: str
    arguments: tuple[int, ...] = ()


class Reading(NamedTuple):
    """One or more fields, by the first of these calls that the driver and the GPU answer."""

    calls: tuple[Call, ...]
    parts: tuple[Part, ...]


def _one(field: str, function: str, *arguments: int, pick: str | int | None = None) -> Reading:
    return Reading((Call(function, arguments),), (Part(field, pick),))


MEMORY = Reading(
    (
        Call("nvmlDeviceGetMemoryInfo", (_MEMORY_V2,)),
        Call("nvmlDeviceGetMemoryInfo"),  # drivers before 510; what is reserved counts as used
    ),
    (
        Part("DCGM_FI_DEV_FB_TOTAL", "total", MIB),
        Part("DCGM_FI_DEV_FB_FREE", "free", MIB),
        Part("DCGM_FI_DEV_FB_USED", "used", MIB),
        Part("DCGM_FI_DEV_FB_RESERVED", "reserved", MIB),
    ),
)
"""The fields that each MIG instance has for itself."""

READINGS: tuple[Reading, ...] = (
    Reading(
        (Call("nvmlDeviceGetUtilizationRates"),),
        (Part("DCGM_FI_DEV_GPU_UTIL", "gpu"), Part("DCGM_FI_DEV_MEM_COPY_UTIL", "memory")),
    ),
    _one("DCGM_FI_DEV_ENC_UTIL", "nvmlDeviceGetEncoderUtilization", pick=0),
    _one("DCGM_FI_DEV_DEC_UTIL", "nvmlDeviceGetDecoderUtilization", pick=0),
    Reading((Call("nvmlDeviceGetPowerUsage"),), (Part("DCGM_FI_DEV_POWER_USAGE", divisor=1000),)),
    _one("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "nvmlDeviceGetTotalEnergyConsumption"),
    _one("DCGM_FI_DEV_GPU_TEMP", "nvmlDeviceGetTemperature", _GPU_SENSOR),
    _one("DCGM_FI_DEV_SM_CLOCK", "nvmlDeviceGetClockInfo", _SM),
    _one("DCGM_FI_DEV_MEM_CLOCK", "nvmlDeviceGetClockInfo", _MEM),
    _one("DCGM_FI_DEV_VIDEO_CLOCK", "nvmlDeviceGetClockInfo", _VIDEO),
    Reading(
        (
            Call("nvmlDeviceGetCurrentClocksEventReasons"),
            Call("nvmlDeviceGetCurrentClocksThrottleReasons"),  # its name before driver 535
        ),
        (Part("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"),),
    ),
    _one("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "nvmlDeviceGetPcieReplayCounter"),
    Reading(
        (Call("nvmlDeviceGetRemappedRows"),),
        (
            Part("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", 0),
            Part("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", 1),
            Part("DCGM_FI_DEV_ROW_REMAP_FAILURE", 3),
        ),
    ),
    *(
        _one(f"DCGM_FI_DEV_ECC_{field}_TOTAL", "nvmlDeviceGetTotalEccErrors", error, counter)
        for field, error, counter in (
            ("SBE_VOL", _CORRECTED, _VOLATILE),
            ("DBE_VOL", _UNCORRECTED, _VOLATILE),
            ("SBE_AGG", _CORRECTED, _AGGREGATE),
            ("DBE_AGG", _UNCORRECTED, _AGGREGATE),
        )
    ),
    *(
        _one(
            f"DCGM_FI_DEV_{name}_VIOLATION",
            "nvmlDeviceGetViolationStatus",
            policy,
            pick="violationTime",
        )
        for policy, name in enumerate(  # NVML_PERF_POLICY_*, from 0 on
            ("POWER", "THERMAL", "SYNC_BOOST", "BOARD_LIMIT", "LOW_UTIL", "RELIABILITY")
        )
    ),
)
"""The fields of a GPU that have a call of their own, but for MEMORY."""

FIELD_VALUES: Mapping[int, str] = MappingProxyType({82: "DCGM_FI_DEV_MEMORY_TEMP"})
"""The fields that are read together, by the number of NVML's field (NVML_FI_DEV_*)."""

UNION_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""The member of a field's value for each type of it (NVML_VALUE_TYPE_*)."""

NOT_AVAILABLE = frozenset({2**32 - 1, 2**64 - 1})
"""NVML_VALUE_NOT_AVAILABLE, in both widths: there is no value."""
