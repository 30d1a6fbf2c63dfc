"""Which column of nvidia-smi is which field of DCGM, and which is which label.

The names are those of ``nvidia-smi --help-query-gpu`` (driver 590), as its header has them, and
older ones. Fields that NVML reads too have the same names and units as in ``sources/nvml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

_DCGM = "DCGM_FI_DEV_"

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        column: _DCGM + field
        for column, field in (
            ("utilization.gpu", "GPU_UTIL"),
            ("utilization.memory", "MEM_COPY_UTIL"),
            ("utilization.encoder", "ENC_UTIL"),
            ("utilization.decoder", "DEC_UTIL"),
            ("memory.total", "FB_TOTAL"),
            ("memory.free", "FB_FREE"),
            ("memory.used", "FB_USED"),
            ("memory.reserved", "FB_RESERVED"),
            ("power.draw", "POWER_USAGE"),
            ("power.draw.average", "POWER_USAGE"),
            ("power.draw.instant", "POWER_USAGE_INSTANT"),
            ("power.limit", "POWER_MGMT_LIMIT"),
            ("enforced.power.limit", "ENFORCED_POWER_LIMIT"),
            ("temperature.gpu", "GPU_TEMP"),
            ("temperature.memory", "MEMORY_TEMP"),
            ("clocks.current.sm", "SM_CLOCK"),
            ("clocks.sm", "SM_CLOCK"),
            ("clocks.current.memory", "MEM_CLOCK"),
            ("clocks.mem", "MEM_CLOCK"),
            ("clocks.current.video", "VIDEO_CLOCK"),
            ("clocks.video", "VIDEO_CLOCK"),
            ("clocks.applications.graphics", "APP_SM_CLOCK"),
            ("clocks.applications.gr", "APP_SM_CLOCK"),
            ("clocks.applications.memory", "APP_MEM_CLOCK"),
            ("clocks.applications.mem", "APP_MEM_CLOCK"),
            ("clocks.max.sm", "MAX_SM_CLOCK"),
            ("clocks.max.memory", "MAX_MEM_CLOCK"),
            ("clocks.max.mem", "MAX_MEM_CLOCK"),
            ("clocks_event_reasons.active", "CLOCK_THROTTLE_REASONS"),
            ("clocks_throttle_reasons.active", "CLOCK_THROTTLE_REASONS"),
            ("pstate", "PSTATE"),
            ("fan.speed", "FAN_SPEED"),
            ("pcie.link.gen.gpucurrent", "PCIE_LINK_GEN"),
            ("pcie.link.gen.current", "PCIE_LINK_GEN"),
            ("pcie.link.width.current", "PCIE_LINK_WIDTH"),
            ("ecc.errors.corrected.volatile.total", "ECC_SBE_VOL_TOTAL"),
            ("ecc.errors.uncorrected.volatile.total", "ECC_DBE_VOL_TOTAL"),
            ("ecc.errors.corrected.aggregate.total", "ECC_SBE_AGG_TOTAL"),
            ("ecc.errors.uncorrected.aggregate.total", "ECC_DBE_AGG_TOTAL"),
            ("retired_pages.single_bit_ecc.count", "RETIRED_SBE"),
            ("retired_pages.sbe", "RETIRED_SBE"),
            ("retired_pages.double_bit.count", "RETIRED_DBE"),
            ("retired_pages.dbe", "RETIRED_DBE"),
            ("retired_pages.pending", "RETIRED_PENDING"),
            ("remapped_rows.correctable", "CORRECTABLE_REMAPPED_ROWS"),
            ("remapped_rows.uncorrectable", "UNCORRECTABLE_REMAPPED_ROWS"),
            ("remapped_rows.failure", "ROW_REMAP_FAILURE"),
        )
    }
)
"""The field of a column. If columns of a file have the same, it is that of the first one here."""

NUMBERS = (
    "clocks_event_reasons.",
    "clocks_throttle_reasons.",
    "ecc.errors.",
    "encoder.stats.",
    "pcie.link.",
    "remapped_rows.",
    "retired_pages.",
    "temperature.",
)
"""What the other columns begin with that have numbers, or yes and no, without a unit."""


WORDY = (
    "clocks_event_reasons.",
    "clocks_throttle_reasons.",
    "ecc.errors.",
    "remapped_rows.",
    "retired_pages.",
)
"""What the columns begin with that may have WORDS."""

MASKS = ("clocks_event_reasons.", "clocks_throttle_reasons.")
"""What the columns begin with that may have masks of bits, as hexadecimal numbers."""

STATE = "pstate"
"""The column with states: P0 to P15."""


class Unit(NamedTuple):
    """The end of a metric's name for a unit, and what a value is multiplied by."""

    ending: str
    factor: Decimal


UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        "": Unit("", Decimal(1)),
        "%": Unit("_ratio", Decimal("0.01")),
        "W": Unit("_watts", Decimal(1)),
        "MHz": Unit("_clock_hz", Decimal(1_000_000)),
        "MiB": Unit("_bytes", Decimal(1 << 20)),
        "us": Unit("_seconds", Decimal("0.000001")),
        "ms": Unit("_seconds", Decimal("0.001")),
    }
)
"""Columns without a field have the names and units of
https://github.com/utkuozdemir/nvidia_gpu_exporter."""

PREFIX = "nvidia_smi_"

TIME = "timestamp"
UUID, INDEX, BUS_ID, NAME, HOST = "uuid", "index", "pci.bus_id", "name", "hostname"
IDENTITIES = (UUID, BUS_ID, INDEX)
LABELS: Mapping[str, str] = MappingProxyType(
    {
        INDEX: "gpu",
        UUID: "UUID",
        BUS_ID: "pci_bus_id",
        NAME: "modelName",
        HOST: "Hostname",
        "driver_version": "DCGM_FI_DRIVER_VERSION",
        "serial": "DCGM_FI_DEV_SERIAL",
        "vbios_version": "DCGM_FI_DEV_VBIOS_VERSION",
    }
)
"""The columns that are labels, and dcgm-exporter's names for these."""

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {"gpu_uuid": UUID, "gpu_bus_id": BUS_ID, "gpu_name": NAME, "gpu_serial": "serial"}
)
"""Other names of labels."""

WORDS: Mapping[str, str] = MappingProxyType(
    {"Active": "1", "Not Active": "0", "Yes": "1", "No": "0"}
)
"""The numbers of words."""
