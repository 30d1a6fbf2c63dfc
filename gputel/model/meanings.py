"""Meanings: one name and one unit for what exporters of different releases call differently.

dcgm-exporter 4.9 has other names for its metrics, some in another unit. A meaning stands for both:
``gputel:gpu_power_watts`` is DCGM_FI_DEV_BOARD_POWER_WATTS and DCGM_FI_DEV_POWER_USAGE.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from gputel.model import dcgm_fields
from gputel.model.dcgm_fields import CLASSIC_OF, DOUBTFUL, FIELDS, Field


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
_NEWEST = {
    "gpu_utilization_percent": "DEV_GPU_UTIL_RATIO",
    "gpu_memory_copy_utilization_percent": "DEV_MEMORY_UTIL_RATIO",
    "gpu_encoder_utilization_percent": "DEV_ENC_UTIL_RATIO",
    "gpu_decoder_utilization_percent": "DEV_DEC_UTIL_RATIO",
    "gpu_power_watts": "DEV_BOARD_POWER_WATTS",
    "gpu_power_limit_watts": "DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS",
    "gpu_enforced_power_limit_watts": "DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS",
    "gpu_energy_joules_total": "DEV_GPU_ENERGY_JOULES_TOTAL",
    "gpu_temperature_celsius": "DEV_GPU_TEMP_CELSIUS",
    "gpu_memory_temperature_celsius": "DEV_MEMORY_TEMP_CELSIUS",
    "gpu_slowdown_temperature_celsius": "DEV_GPU_TEMP_SLOWDOWN_CELSIUS",
    "gpu_shutdown_temperature_celsius": "DEV_GPU_TEMP_SHUTDOWN_CELSIUS",
    "gpu_sm_clock_hertz": "DEV_SM_CLOCK_HERTZ",
    "gpu_memory_clock_hertz": "DEV_MEMORY_CLOCK_HERTZ",
    "gpu_video_clock_hertz": "DEV_VIDEO_CLOCK_HERTZ",
    "gpu_max_sm_clock_hertz": "DEV_SM_MAX_CLOCK_HERTZ",
    "gpu_max_memory_clock_hertz": "DEV_MEMORY_MAX_CLOCK_HERTZ",
    "gpu_fan_speed_percent": "DEV_FAN_SPEED_RATIO",
    "gpu_performance_state": "DEV_GPU_PSTATE",
    "gpu_memory_total_bytes": "DEV_FB_CAPACITY_BYTES",
    "gpu_memory_free_bytes": "DEV_FB_FREE_BYTES",
    "gpu_memory_used_bytes": "DEV_FB_USED_BYTES",
    "gpu_memory_reserved_bytes": "DEV_FB_RESERVED_BYTES",
    "gpu_memory_used_ratio": "DEV_FB_USED_RATIO",
    "gpu_pcie_replays_total": "DEV_PCIE_REPLAY_TOTAL",
    "gpu_last_xid": "DEV_XID_ERROR",
    "gpu_uncorrectable_remapped_rows_total": "DEV_ROW_REMAP_UNCORRECTABLE_TOTAL",
    "gpu_correctable_remapped_rows_total": "DEV_ROW_REMAP_CORRECTABLE_TOTAL",
    "gpu_row_remap_failed": "DEV_ROW_REMAP_FAILED",
    "gpu_single_bit_retired_pages_total": "DEV_PAGE_RETIRED_SBE_TOTAL",
    "gpu_double_bit_retired_pages_total": "DEV_PAGE_RETIRED_DBE_TOTAL",
    "gpu_pending_retired_pages": "DEV_PAGE_RETIRED_PENDING",
    "gpu_graphics_engine_active_ratio": "PROF_GR_ENGINE_UTIL_RATIO",
    "gpu_sm_active_ratio": "PROF_SM_UTIL_RATIO",
    "gpu_sm_occupancy_ratio": "PROF_SM_OCCUPANCY_RATIO",
    "gpu_tensor_active_ratio": "PROF_TENSOR_UTIL_RATIO",
    "gpu_memory_active_ratio": "PROF_DRAM_UTIL_RATIO",
    "gpu_fp64_active_ratio": "PROF_FP64_UTIL_RATIO",
    "gpu_fp32_active_ratio": "PROF_FP32_UTIL_RATIO",
    "gpu_fp16_active_ratio": "PROF_FP16_UTIL_RATIO",
}
"""Each meaning, and the newest name of its field. Its unit is that of the name, or percent."""


def _meaning(name: str, newest: str) -> Meaning:
    unit = "%" if name.endswith("_percent") else FIELDS[newest].unit
    classic = CLASSIC_OF[newest]
    scales = {metric: _scale(metric, unit) for metric in (newest, classic)}
    return Meaning(name, FIELDS[classic]._replace(unit=unit), MappingProxyType(scales))


def _scale(metric: str, unit: str) -> Scale | None:
    own = FIELDS[metric].unit
    if metric in DOUBTFUL:
        return None
    return Scale() if own == unit else _SCALES[own, unit]


MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {PREFIX + name: _meaning(PREFIX + name, _FIELD + field) for name, field in _NEWEST.items()}
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
