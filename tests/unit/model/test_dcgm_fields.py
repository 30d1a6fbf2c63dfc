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
