from __future__ import annotations

import csv

from gputel.model.dcgm_fields import FIELDS, UNKNOWN, field
from tests.helpers.captures import ROOT


def test_every_metric_of_a_capture_is_known() -> None:
    with (ROOT / "fixtures" / "dcgm_small.csv").open(newline="") as file:
        names = {row["metric_name"] for row in csv.DictReader(file)}
    assert names
    assert names <= FIELDS.keys()


def test_a_field_has_a_kind_of_prometheus_and_a_line_of_help() -> None:
    for name, known in FIELDS.items():
        assert name.startswith("DCGM_FI_"), name
        assert known.kind in ("gauge", "counter"), name
        assert known.help.endswith("."), name
    assert field("DCGM_FI_DEV_POWER_USAGE").unit == "W"
    assert field("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION")[:2] == ("counter", "mJ")
    assert field("TEMP") is UNKNOWN


def test_names_of_newer_exporters_are_known_with_their_units() -> None:
    assert field("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL")[:2] == ("counter", "J")
    for name, unit in {
        "SM_CLOCK_HERTZ": "Hz",
        "GPU_TEMP_CELSIUS": "C",
        "BOARD_POWER_WATTS": "W",
        "GPU_ENERGY_JOULES_TOTAL": "J",
    }.items():
        known = field(f"DCGM_FI_DEV_{name}")
        assert (known.unit, known.is_of_board) == (unit, True), name
    assert field("DCGM_FI_DEV_FB_USED_BYTES")[:2] == ("gauge", "B")
    assert not field("DCGM_FI_DEV_FB_USED_BYTES").is_of_board
    assert field("DCGM_FI_PROF_DRAM_UTIL_RATIO").unit == "ratio"


def test_name_that_may_be_per_cent_or_a_ratio_has_no_unit() -> None:
    known = field("DCGM_FI_DEV_GPU_UTIL_RATIO")
    assert (known.unit, known.most) == ("", 100.0)
