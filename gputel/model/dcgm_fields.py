"""What the fields of DCGM measure: kind, unit, and a line of help each.

The kinds are those of dcgm-exporter, even if a field's name suggests another
(https://github.com/NVIDIA/dcgm-exporter, etc/default-counters.csv and dcp-metrics-included.csv).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Field(NamedTuple):
    """One field. ``kind`` is gauge or counter, as Prometheus says; ``unit`` may be ''.

    ``most`` is the largest value that it can have, if that does not follow from its unit.
    """

    kind: str
    unit: str
    help: str
    most: float | None = None

    @property
    def is_counter(self) -> bool:
        """Whether it only grows, so that its newest value counts, not its average."""
        return self.kind == _COUNTER

    @property
    def is_of_board(self) -> bool:
        """Whether a GPU has one value of it, which each of its MIG instances repeats."""
        return self.unit in _BOARD_UNITS


MOST = 9.2e18
"""The largest value of any field: below DCGM's blank of 64 bits, 2^63 - 16."""

_GAUGE, _COUNTER = "gauge", "counter"
_BOARD_UNITS = ("W", "mJ", "J", "C", "MHz", "Hz")

_CLASSIC: Mapping[str, Field] = MappingProxyType(
    {
        "DCGM_FI_DEV_SM_CLOCK": Field(_GAUGE, "MHz", "Clock of the streaming multiprocessors."),
        "DCGM_FI_DEV_MEM_CLOCK": Field(_GAUGE, "MHz", "Clock of the memory."),
        "DCGM_FI_DEV_VIDEO_CLOCK": Field(_GAUGE, "MHz", "Clock of the video encoder and decoder."),
        "DCGM_FI_DEV_APP_SM_CLOCK": Field(
            _GAUGE, "MHz", "Clock of the streaming multiprocessors set for applications."
        ),
        "DCGM_FI_DEV_APP_MEM_CLOCK": Field(
            _GAUGE, "MHz", "Clock of the memory set for applications."
        ),
        "DCGM_FI_DEV_MAX_SM_CLOCK": Field(
            _GAUGE, "MHz", "Highest clock of the streaming multiprocessors."
        ),
        "DCGM_FI_DEV_MAX_MEM_CLOCK": Field(_GAUGE, "MHz", "Highest clock of the memory."),
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": Field(
            _GAUGE, "", "Bits of the reasons why clocks are held down.", most=MOST
        ),
        "DCGM_FI_DEV_PSTATE": Field(_GAUGE, "", "Performance state, 0 (highest) to 15.", most=15),
        "DCGM_FI_DEV_FAN_SPEED": Field(_GAUGE, "%", "Speed of the fan, of its highest.", most=1000),
        "DCGM_FI_DEV_GPU_TEMP": Field(_GAUGE, "C", "Temperature of the GPU."),
        "DCGM_FI_DEV_MEMORY_TEMP": Field(_GAUGE, "C", "Temperature of the memory."),
        "DCGM_FI_DEV_SLOWDOWN_TEMP": Field(_GAUGE, "C", "Temperature at which the GPU slows down."),
        "DCGM_FI_DEV_SHUTDOWN_TEMP": Field(_GAUGE, "C", "Temperature at which the GPU shuts down."),
        "DCGM_FI_DEV_POWER_USAGE": Field(_GAUGE, "W", "Power drawn."),
        "DCGM_FI_DEV_POWER_USAGE_INSTANT": Field(_GAUGE, "W", "Power drawn at this moment."),
        "DCGM_FI_DEV_POWER_MGMT_LIMIT": Field(_GAUGE, "W", "Power that the GPU may draw."),
        "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": Field(
            _GAUGE, "W", "Power limit in force, of all that are set."
        ),
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": Field(
            _COUNTER, "mJ", "Energy used since the driver was loaded."
        ),
        "DCGM_FI_DEV_PCIE_TX_THROUGHPUT": Field(
            _COUNTER, "KB", "Data sent over PCIe, as NVML counts it."
        ),
        "DCGM_FI_DEV_PCIE_RX_THROUGHPUT": Field(
            _COUNTER, "KB", "Data received over PCIe, as NVML counts it."
        ),
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": Field(_COUNTER, "", "PCIe packets sent again."),
        "DCGM_FI_DEV_PCIE_LINK_GEN": Field(
            _GAUGE, "", "Generation of the PCIe link in use.", most=32
        ),
        "DCGM_FI_DEV_PCIE_LINK_WIDTH": Field(_GAUGE, "", "Lanes of the PCIe link in use.", most=64),
        "DCGM_FI_DEV_GPU_UTIL": Field(_GAUGE, "%", "Part of the time in which a kernel ran."),
        "DCGM_FI_DEV_MEM_COPY_UTIL": Field(
            _GAUGE, "%", "Part of the time in which memory was read or written."
        ),
        "DCGM_FI_DEV_ENC_UTIL": Field(_GAUGE, "%", "Use of the video encoder."),
        "DCGM_FI_DEV_DEC_UTIL": Field(_GAUGE, "%", "Use of the video decoder."),
        "DCGM_FI_DEV_XID_ERRORS": Field(_GAUGE, "", "Number of the last XID error.", most=65_535),
        "DCGM_FI_DEV_POWER_VIOLATION": Field(
            _COUNTER, "ns", "Time slowed down by the power limit."
        ),
        "DCGM_FI_DEV_THERMAL_VIOLATION": Field(_COUNTER, "ns", "Time slowed down by heat."),
        "DCGM_FI_DEV_SYNC_BOOST_VIOLATION": Field(
            _COUNTER, "ns", "Time slowed down to keep step with other GPUs."
        ),
        "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION": Field(
            _COUNTER, "ns", "Time slowed down by limits of the board."
        ),
        "DCGM_FI_DEV_LOW_UTIL_VIOLATION": Field(
            _COUNTER, "ns", "Time slowed down for want of work."
        ),
        "DCGM_FI_DEV_RELIABILITY_VIOLATION": Field(
            _COUNTER, "ns", "Time slowed down by the limit of reliable voltage."
        ),
        "DCGM_FI_DEV_FB_TOTAL": Field(_GAUGE, "MiB", "Frame buffer memory."),
        "DCGM_FI_DEV_FB_FREE": Field(_GAUGE, "MiB", "Frame buffer memory that is free."),
        "DCGM_FI_DEV_FB_USED": Field(_GAUGE, "MiB", "Frame buffer memory in use."),
        "DCGM_FI_DEV_FB_RESERVED": Field(_GAUGE, "MiB", "Frame buffer memory kept for the system."),
        "DCGM_FI_DEV_FB_USED_PERCENT": Field(
            _GAUGE, "ratio", "Part of the frame buffer memory in use, 0 to 1."
        ),
        "DCGM_FI_DEV_BAR1_TOTAL": Field(_GAUGE, "MiB", "BAR1 memory."),
        "DCGM_FI_DEV_BAR1_USED": Field(_GAUGE, "MiB", "BAR1 memory in use."),
        "DCGM_FI_DEV_BAR1_FREE": Field(_GAUGE, "MiB", "BAR1 memory that is free."),
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": Field(
            _COUNTER, "", "Single-bit memory errors corrected since the driver was loaded."
        ),
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": Field(
            _COUNTER, "", "Double-bit memory errors since the driver was loaded."
        ),
        "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL": Field(
            _COUNTER, "", "Single-bit memory errors corrected in the GPU's life."
        ),
        "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL": Field(
            _COUNTER, "", "Double-bit memory errors in the GPU's life."
        ),
        "DCGM_FI_DEV_RETIRED_SBE": Field(
            _COUNTER, "", "Memory pages retired for single-bit errors."
        ),
        "DCGM_FI_DEV_RETIRED_DBE": Field(
            _COUNTER, "", "Memory pages retired for double-bit errors."
        ),
        "DCGM_FI_DEV_RETIRED_PENDING": Field(
            _COUNTER, "", "Memory pages to be retired at the next reset."
        ),
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": Field(
            _COUNTER, "", "Memory rows remapped for errors that could not be corrected."
        ),
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": Field(
            _COUNTER, "", "Memory rows remapped for errors that were corrected."
        ),
        "DCGM_FI_DEV_ROW_REMAP_FAILURE": Field(
            _GAUGE, "", "1 where memory rows could not be remapped.", most=1
        ),
        "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL": Field(
            _COUNTER, "", "Checksum errors of NVLink flow control, all links."
        ),
        "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL": Field(
            _COUNTER, "", "Checksum errors of NVLink data, all links."
        ),
        "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL": Field(
            _COUNTER, "", "NVLink packets sent again, all links."
        ),
        "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL": Field(
            _COUNTER, "", "Recoveries of NVLink, all links."
        ),
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": Field(
            _COUNTER, "", "NVLink's bandwidth counters, all links together.", most=MOST
        ),
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_L0": Field(
            _COUNTER, "", "NVLink's bandwidth counter of link 0.", most=MOST
        ),
        "DCGM_FI_DEV_VGPU_LICENSE_STATUS": Field(
            _GAUGE, "", "1 where the vGPU has its licence.", most=255
        ),
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE": Field(
            _GAUGE,
            "ratio",
            "Part of the time in which the graphics or compute engine was active, 0 to 1.",
        ),
        "DCGM_FI_PROF_SM_ACTIVE": Field(
            _GAUGE, "ratio", "Part of the cycles in which a multiprocessor had a warp, 0 to 1."
        ),
        "DCGM_FI_PROF_SM_OCCUPANCY": Field(
            _GAUGE, "ratio", "Warps resident, of the most that multiprocessors hold, 0 to 1."
        ),
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": Field(
            _GAUGE, "ratio", "Part of the cycles in which the tensor pipe was active, 0 to 1."
        ),
        "DCGM_FI_PROF_PIPE_FP64_ACTIVE": Field(
            _GAUGE, "ratio", "Part of the cycles in which the FP64 pipe was active, 0 to 1."
        ),
        "DCGM_FI_PROF_PIPE_FP32_ACTIVE": Field(
            _GAUGE, "ratio", "Part of the cycles in which the FP32 pipe was active, 0 to 1."
        ),
        "DCGM_FI_PROF_PIPE_FP16_ACTIVE": Field(
            _GAUGE, "ratio", "Part of the cycles in which the FP16 pipe was active, 0 to 1."
        ),
        "DCGM_FI_PROF_DRAM_ACTIVE": Field(
            _GAUGE, "ratio", "Part of the cycles in which memory sent or received data, 0 to 1."
        ),
        "DCGM_FI_PROF_PCIE_TX_BYTES": Field(
            _GAUGE, "B/s", "Rate of data sent over PCIe, headers included."
        ),
        "DCGM_FI_PROF_PCIE_RX_BYTES": Field(
            _GAUGE, "B/s", "Rate of data received over PCIe, headers included."
        ),
        "DCGM_FI_PROF_NVLINK_TX_BYTES": Field(
            _GAUGE, "B/s", "Rate of data sent over NVLink, headers not included."
        ),
        "DCGM_FI_PROF_NVLINK_RX_BYTES": Field(
            _GAUGE, "B/s", "Rate of data received over NVLink, headers not included."
        ),
        "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT": Field(
            _GAUGE, "C", "Temperature of the NVSwitch."
        ),
        "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_LIMIT_SLOWDOWN": Field(
            _GAUGE, "C", "Temperature at which the NVSwitch slows down."
        ),
        "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_LIMIT_SHUTDOWN": Field(
            _GAUGE, "C", "Temperature at which the NVSwitch shuts down."
        ),
        "DCGM_FI_DEV_CPU_UTIL_TOTAL": Field(
            _GAUGE, "ratio", "Part of the time in which the CPU worked, 0 to 1."
        ),
        "DCGM_FI_DEV_CPU_UTIL_USER": Field(
            _GAUGE, "ratio", "Part of the time in which the CPU ran programs, 0 to 1."
        ),
        "DCGM_FI_DEV_CPU_UTIL_SYS": Field(
            _GAUGE, "ratio", "Part of the time in which the CPU ran the system, 0 to 1."
        ),
        "DCGM_FI_DEV_CPU_TEMP_CURRENT": Field(_GAUGE, "C", "Temperature of the CPU."),
        "DCGM_FI_DEV_CPU_TEMP_WARNING": Field(_GAUGE, "C", "Temperature at which the CPU warns."),
        "DCGM_FI_DEV_CPU_TEMP_CRITICAL": Field(
            _GAUGE, "C", "Temperature that is critical for the CPU."
        ),
        "DCGM_FI_DEV_CPU_CLOCK_CURRENT": Field(_GAUGE, "", "Clock of the CPU core."),
        "DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT": Field(_GAUGE, "W", "Power drawn by the CPU."),
        "DCGM_FI_DEV_CPU_POWER_LIMIT": Field(_GAUGE, "W", "Power that the CPU may draw."),
    }
)
"""The fields by their names up to dcgm-exporter 4.8."""

# dcgm-exporter 4.9 has other names for these, some in another unit:
# https://github.com/NVIDIA/DCGM, dcgmlib/dcgm_fields.h
_RENAMED = {
    "DEV_SM_CLOCK_HERTZ": ("DEV_SM_CLOCK", "Hz"),
    "DEV_MEMORY_CLOCK_HERTZ": ("DEV_MEM_CLOCK", "Hz"),
    "DEV_VIDEO_CLOCK_HERTZ": ("DEV_VIDEO_CLOCK", "Hz"),
    "DEV_SM_MAX_CLOCK_HERTZ": ("DEV_MAX_SM_CLOCK", "Hz"),
    "DEV_MEMORY_MAX_CLOCK_HERTZ": ("DEV_MAX_MEM_CLOCK", "Hz"),
    "DEV_FAN_SPEED_RATIO": ("DEV_FAN_SPEED", "ratio"),
    "DEV_GPU_TEMP_CELSIUS": ("DEV_GPU_TEMP", "C"),
    "DEV_MEMORY_TEMP_CELSIUS": ("DEV_MEMORY_TEMP", "C"),
    "DEV_GPU_TEMP_SLOWDOWN_CELSIUS": ("DEV_SLOWDOWN_TEMP", "C"),
    "DEV_GPU_TEMP_SHUTDOWN_CELSIUS": ("DEV_SHUTDOWN_TEMP", "C"),
    "DEV_BOARD_POWER_WATTS": ("DEV_POWER_USAGE", "W"),
    "DEV_BOARD_POWER_RAW_WATTS": ("DEV_POWER_USAGE_INSTANT", "W"),
    "DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS": ("DEV_POWER_MGMT_LIMIT", "W"),
    "DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS": ("DEV_ENFORCED_POWER_LIMIT", "W"),
    "DEV_GPU_ENERGY_JOULES_TOTAL": ("DEV_TOTAL_ENERGY_CONSUMPTION", "J"),
    "DEV_FB_CAPACITY_BYTES": ("DEV_FB_TOTAL", "B"),
    "DEV_FB_FREE_BYTES": ("DEV_FB_FREE", "B"),
    "DEV_FB_USED_BYTES": ("DEV_FB_USED", "B"),
    "DEV_FB_RESERVED_BYTES": ("DEV_FB_RESERVED", "B"),
    "DEV_FB_USED_RATIO": ("DEV_FB_USED_PERCENT", "ratio"),
    "DEV_GPU_PSTATE": ("DEV_PSTATE", ""),
    "DEV_PCIE_REPLAY_TOTAL": ("DEV_PCIE_REPLAY_COUNTER", ""),
    "DEV_XID_ERROR": ("DEV_XID_ERRORS", ""),
    "DEV_PAGE_RETIRED_SBE_TOTAL": ("DEV_RETIRED_SBE", ""),
    "DEV_PAGE_RETIRED_DBE_TOTAL": ("DEV_RETIRED_DBE", ""),
    "DEV_PAGE_RETIRED_PENDING": ("DEV_RETIRED_PENDING", ""),
    "DEV_ROW_REMAP_UNCORRECTABLE_TOTAL": ("DEV_UNCORRECTABLE_REMAPPED_ROWS", ""),
    "DEV_ROW_REMAP_CORRECTABLE_TOTAL": ("DEV_CORRECTABLE_REMAPPED_ROWS", ""),
    "DEV_ROW_REMAP_FAILED": ("DEV_ROW_REMAP_FAILURE", ""),
    "PROF_GR_ENGINE_UTIL_RATIO": ("PROF_GR_ENGINE_ACTIVE", "ratio"),
    "PROF_SM_UTIL_RATIO": ("PROF_SM_ACTIVE", "ratio"),
    "PROF_SM_OCCUPANCY_RATIO": ("PROF_SM_OCCUPANCY", "ratio"),
    "PROF_TENSOR_UTIL_RATIO": ("PROF_PIPE_TENSOR_ACTIVE", "ratio"),
    "PROF_DRAM_UTIL_RATIO": ("PROF_DRAM_ACTIVE", "ratio"),
    "PROF_FP64_UTIL_RATIO": ("PROF_PIPE_FP64_ACTIVE", "ratio"),
    "PROF_FP32_UTIL_RATIO": ("PROF_PIPE_FP32_ACTIVE", "ratio"),
    "PROF_FP16_UTIL_RATIO": ("PROF_PIPE_FP16_ACTIVE", "ratio"),
}
_PREFIX = "DCGM_FI_"


def _in_unit(classic: Field, unit: str) -> Field:
    """The field in this unit; ``most`` is of the unit that it has now."""
    return classic if unit == classic.unit else classic._replace(unit=unit, most=None)


_PERCENT_OR_RATIO = {
    "DEV_GPU_UTIL_RATIO": "DEV_GPU_UTIL",
    "DEV_MEMORY_UTIL_RATIO": "DEV_MEM_COPY_UTIL",
    "DEV_ENC_UTIL_RATIO": "DEV_ENC_UTIL",
    "DEV_DEC_UTIL_RATIO": "DEV_DEC_UTIL",
}

DOUBTFUL = frozenset(_PREFIX + name for name in _PERCENT_OR_RATIO)
"""Names whose unit is in doubt: percent in DCGM 4.6, a ratio of 0 to 1 from DCGM 4.7 on."""

SINCE_4_7 = frozenset(
    _PREFIX + new for new, (old, unit) in _RENAMED.items() if unit != _CLASSIC[_PREFIX + old].unit
)
"""Names that only DCGM 4.7 and later have: those of fields in another unit than before."""

CLASSIC_OF: Mapping[str, str] = MappingProxyType(
    {
        **{_PREFIX + new: _PREFIX + old for new, (old, _) in _RENAMED.items()},
        **{_PREFIX + new: _PREFIX + old for new, old in _PERCENT_OR_RATIO.items()},
    }
)
"""The older name of each field that has been renamed."""

FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        **_CLASSIC,
        **{
            _PREFIX + new: _in_unit(_CLASSIC[_PREFIX + old], unit)
            for new, (old, unit) in _RENAMED.items()
        },
        **{
            _PREFIX + new: _CLASSIC[_PREFIX + old]._replace(unit="", most=100.0)
            for new, old in _PERCENT_OR_RATIO.items()
        },
    }
)
"""The fields by the name of a record's metric."""

UNKNOWN = Field("unknown", "", "")
"""The field of a metric that is not in FIELDS."""


def field(metric_name: str) -> Field:
    """What a metric measures; UNKNOWN for one that is not in FIELDS."""
    return FIELDS.get(metric_name, UNKNOWN)
