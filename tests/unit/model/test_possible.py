"""What a field of DCGM cannot have is told from what it can."""

from __future__ import annotations

import pytest

from gputel.model.possible import impossible_rows, why_impossible
from tests.helpers.batches import batch_of

UTIL, SM, TEMP = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_DEV_GPU_TEMP"


def is_possible(metric: str, value: float) -> bool:
    return impossible_rows(batch_of({"metric_name": metric}, values=[value])) is None


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (UTIL, 4294967295),
        (UTIL, 101),
        (UTIL, 200_000),
        (UTIL, -1),
        (SM, 1.40737488355328e16),
        (TEMP, 644245923),
        (TEMP, 345),
        (TEMP, -273),
        ("DCGM_FI_DEV_POWER_USAGE", 2147483.647),
        ("DCGM_FI_DEV_POWER_USAGE", -1),
        ("DCGM_FI_DEV_SM_CLOCK", 4294967295),
        ("DCGM_FI_DEV_FB_USED", 17592186044415),
        ("DCGM_FI_DEV_PSTATE", 32),
        ("DCGM_FI_DEV_XID_ERRORS", 4294967295),
        ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", 4294967295),
        ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", 18446744073709551615.0),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", -5),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 18446744073709551615.0),
        ("DCGM_FI_PROF_PCIE_TX_BYTES", 9.3e18),
        ("DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT", 2147483647),
        ("DCGM_FI_DEV_CPU_UTIL_TOTAL", 4294967295),
    ],
)
def test_value_that_its_field_cannot_have_is_told(metric: str, value: float) -> None:
    assert not is_possible(metric, value)
    assert metric in why_impossible(metric)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (UTIL, 0),
        (UTIL, 100),
        (SM, 1.0003),
        (SM, 6.9),
        (TEMP, -5),
        (TEMP, 120),
        ("DCGM_FI_DEV_FAN_SPEED", 130),
        ("DCGM_FI_DEV_MEM_CLOCK", 14001),
        ("DCGM_FI_DEV_FB_TOTAL", 2_000_000),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 4294967295),
        ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", 4294967295),
        ("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", 9e18),
        ("DCGM_FI_DEV_POWER_VIOLATION", 3e17),
        ("SOME_OTHER", 4294967295),
        ("SOME_OTHER", -1e300),
        (UTIL, float("nan")),
    ],
)
def test_value_that_its_field_can_have_is_left(metric: str, value: float) -> None:
    assert is_possible(metric, value)


def test_rows_are_told_apart_by_their_own_field() -> None:
    batch = batch_of(
        *({"metric_name": name} for name in ("X", UTIL, TEMP, UTIL)), values=[1e9, 1e9, 50, 50]
    )
    impossible = impossible_rows(batch)
    assert impossible is not None
    assert impossible.tolist() == [False, True, False, False]
