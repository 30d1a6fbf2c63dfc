"""Meanings: one name and one unit for what exporters of different releases call differently.

dcgm-exporter 4.9 has other names for its metrics, some in another unit. A meaning stands for both:
``gputel:gpu_power_watts`` is DCGM_FI_DEV_BOARD_POWER_WATTS and DCGM_FI_DEV_POWER_USAGE.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from gputel.model import dcgm_fields
from gputel.model.dcgm_fields import DOUBTFUL, FIELDS, Field


class Scale(NamedTuple):
    """How a value gets into the unit of the meaning: times ``times``, divided by ``per``."""

    times: float = 1.0
    per: float = 1.0


class Meaning(NamedTuple):
    """One meaning.

    ``scales`` has the names that exporters send, the newest one first, with the scale of each; None
    if the name does not tell the unit, which is then percent or a ratio.
    """

    name: str
    about: Field
    scales: Mapping[str, Scale | None]

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each name that exporters send: 0 for the newest one."""
        return {metric: rank for rank, metric in enumerate(self.scales)}


PREFIX = "gputel:"
"""All names of meanings begin with it; no exporter sends such names."""

_FIELD = "DCGM_FI_"
_SCALES = {
    ("MHz", "Hz"): Scale(times=1e6),
    ("mJ", "J"): Scale(per=1e3),
    ("MiB", "B"): Scale(times=2.0**20),
    ("ratio", "%"): Scale(times=1e2),
}
_NAMES = {
    "gpu_utilization_percent": ("%", "DEV_GPU_UTIL_RATIO", "DEV_GPU_UTIL"),
    "gpu_memory_copy_utilization_percent": ("%", "DEV_MEMORY_UTIL_RATIO", "DEV_MEM_COPY_UTIL"),
    "gpu_encoder_utilization_percent": ("%", "DEV_ENC_UTIL_RATIO", "DEV_ENC_UTIL"),
    "gpu_decoder_utilization_percent": ("%", "DEV_DEC_UTIL_RATIO", "DEV_DEC_UTIL"),
    "gpu_power_watts": ("W", "DEV_BOARD_POWER_WATTS", "DEV_POWER_USAGE"),
    "gpu_power_limit_watts": ("W", "DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS", "DEV_POWER_MGMT_LIMIT"),
    "gpu_enforced_power_limit_watts":
        ("W", "DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS", "DEV_ENFORCED_POWER_LIMIT"),
    "gpu_energy_joules_total": ("J", "DEV_GPU_ENERGY_JOULES_TOTAL", "DEV_TOTAL_ENERGY_CONSUMPTION"),
    "gpu_temperature_celsius": ("C", "DEV_GPU_TEMP_CELSIUS", "DEV_GPU_TEMP"),
    "gpu_memory_temperature_celsius": ("C", "DEV_MEMORY_TEMP_CELSIUS", "DEV_MEMORY_TEMP"),
    "gpu_slowdown_temperature_celsius": ("C", "DEV_GPU_TEMP_SLOWDOWN_CELSIUS", "DEV_SLOWDOWN_TEMP"),
    "gpu_shutdown_temperature_celsius": ("C", "DEV_GPU_TEMP_SHUTDOWN_CELSIUS", "DEV_SHUTDOWN_TEMP"),
    "gpu_sm_clock_hertz": ("Hz", "DEV_SM_CLOCK_HERTZ", "DEV_SM_CLOCK"),
    "gpu_memory_clock_hertz": ("Hz", "DEV_MEMORY_CLOCK_HERTZ", "DEV_MEM_CLOCK"),
    "gpu_video_clock_hertz": ("Hz", "DEV_VIDEO_CLOCK_HERTZ", "DEV_VIDEO_CLOCK"),
    "gpu_max_sm_clock_hertz": ("Hz", "DEV_SM_MAX_CLOCK_HERTZ", "DEV_MAX_SM_CLOCK"),
    "gpu_max_memory_clock_hertz": ("Hz", "DEV_MEMORY_MAX_CLOCK_HERTZ", "DEV_MAX_MEM_CLOCK"),
    "gpu_fan_speed_percent": ("%", "DEV_FAN_SPEED_RATIO", "DEV_FAN_SPEED"),
    "gpu_performance_state": ("", "DEV_GPU_PSTATE", "DEV_PSTATE"),
    "gpu_memory_total_bytes": ("B", "DEV_FB_CAPACITY_BYTES", "DEV_FB_TOTAL"),
    "gpu_memory_free_bytes": ("B", "DEV_FB_FREE_BYTES", "DEV_FB_FREE"),
    "gpu_memory_used_bytes": ("B", "DEV_FB_USED_BYTES", "DEV_FB_USED"),
    "gpu_memory_reserved_bytes": ("B", "DEV_FB_RESERVED_BYTES", "DEV_FB_RESERVED"),
    "gpu_memory_used_ratio": ("ratio", "DEV_FB_USED_RATIO", "DEV_FB_USED_PERCENT"),
    "gpu_pcie_replays_total": ("", "DEV_PCIE_REPLAY_TOTAL", "DEV_PCIE_REPLAY_COUNTER"),
    "gpu_last_xid": ("", "DEV_XID_ERROR", "DEV_XID_ERRORS"),
    "gpu_uncorrectable_remapped_rows_total":
        ("", "DEV_ROW_REMAP_UNCORRECTABLE_TOTAL", "DEV_UNCORRECTABLE_REMAPPED_ROWS"),
    "gpu_correctable_remapped_rows_total":
        ("", "DEV_ROW_REMAP_CORRECTABLE_TOTAL", "DEV_CORRECTABLE_REMAPPED_ROWS"),
    "gpu_row_remap_failed": ("", "DEV_ROW_REMAP_FAILED", "DEV_ROW_REMAP_FAILURE"),
    "gpu_single_bit_retired_pages_total": ("", "DEV_PAGE_RETIRED_SBE_TOTAL", "DEV_RETIRED_SBE"),
    "gpu_double_bit_retired_pages_total": ("", "DEV_PAGE_RETIRED_DBE_TOTAL", "DEV_RETIRED_DBE"),
    "gpu_pending_retired_pages": ("", "DEV_PAGE_RETIRED_PENDING", "DEV_RETIRED_PENDING"),
    "gpu_graphics_engine_active_ratio":
        ("ratio", "PROF_GR_ENGINE_UTIL_RATIO", "PROF_GR_ENGINE_ACTIVE"),
    "gpu_sm_active_ratio": ("ratio", "PROF_SM_UTIL_RATIO", "PROF_SM_ACTIVE"),
    "gpu_sm_occupancy_ratio": ("ratio", "PROF_SM_OCCUPANCY_RATIO", "PROF_SM_OCCUPANCY"),
    "gpu_tensor_active_ratio": ("ratio", "PROF_TENSOR_UTIL_RATIO", "PROF_PIPE_TENSOR_ACTIVE"),
    "gpu_memory_active_ratio": ("ratio", "PROF_DRAM_UTIL_RATIO", "PROF_DRAM_ACTIVE"),
    "gpu_fp64_active_ratio": ("ratio", "PROF_FP64_UTIL_RATIO", "PROF_PIPE_FP64_ACTIVE"),
    "gpu_fp32_active_ratio": ("ratio", "PROF_FP32_UTIL_RATIO", "PROF_PIPE_FP32_ACTIVE"),
    "gpu_fp16_active_ratio": ("ratio", "PROF_FP16_UTIL_RATIO", "PROF_PIPE_FP16_ACTIVE"),
}  # fmt: skip
"""Each meaning: its unit, and the fields of DCGM that have it, the newest release first."""


def _meaning(name: str, unit: str, *fields: str) -> Meaning:
    metrics = [_FIELD + field for field in fields]
    scales = {metric: _scale(metric, unit) for metric in metrics}
    about = FIELDS[metrics[-1]]
    return Meaning(name, about._replace(unit=unit), MappingProxyType(scales))


def _scale(metric: str, unit: str) -> Scale | None:
    own = FIELDS[metric].unit
    if metric in DOUBTFUL:
        return None
    return Scale() if own == unit else _SCALES[own, unit]


MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {PREFIX + name: _meaning(PREFIX + name, *row) for name, row in _NAMES.items()}
)
"""The meanings by name."""

MEANING_OF: Mapping[str, Meaning] = MappingProxyType(
    {metric: meaning for meaning in MEANINGS.values() for metric in meaning.scales}
)
"""The meaning of a metric that exporters send, if it has one."""


def about(name: str) -> Field:
    """What a metric or a meaning measures; UNKNOWN if the name is neither."""
    meaning = MEANINGS.get(name)
    return dcgm_fields.field(name) if meaning is None else meaning.about
