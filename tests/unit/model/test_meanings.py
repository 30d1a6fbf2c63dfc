from __future__ import annotations

import re

import pytest

from gputel.model.dcgm_fields import DOUBTFUL, FIELDS, SINCE_4_7, UNKNOWN
from gputel.model.meanings import MEANING_OF, MEANINGS, Scale, about

WORDS = {"%": "percent", "ratio": "ratio", "W": "watts", "J": "joules", "C": "celsius"}
WORDS |= {"Hz": "hertz", "B": "bytes"}


def test_name_of_a_meaning_is_one_of_prometheus_and_ends_with_its_unit() -> None:
    for name, meaning in MEANINGS.items():
        assert re.fullmatch(r"gputel:[a-z0-9_]+", name)
        assert meaning.name == name
        end = name.removesuffix("_total").rpartition("_")[2]
        assert end == WORDS.get(meaning.about.unit, end), name
        assert end in WORDS.values() or not meaning.about.unit, name
        assert name.endswith("_total") <= meaning.about.is_counter, name


def test_each_field_has_one_meaning_and_the_new_name_comes_first() -> None:
    for name, meaning in MEANINGS.items():
        new, classic = meaning.scales
        assert {new, classic} <= FIELDS.keys()
        assert MEANING_OF[new] is MEANING_OF[classic] is meaning
        assert (meaning.ranks[new], meaning.ranks[classic]) == (0, 1)
        assert FIELDS[new].kind == FIELDS[classic].kind == meaning.about.kind, name
    assert len(MEANING_OF) == 2 * len(MEANINGS)
    assert MEANING_OF.keys() >= SINCE_4_7


def test_scale_of_a_field_leads_to_the_unit_of_its_meaning() -> None:
    def scale(metric: str) -> Scale | None:
        return MEANING_OF[metric].scales[metric]

    assert scale("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION") == (1, 1000)
    assert scale("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL") == (1, 1)
    assert scale("DCGM_FI_DEV_SM_CLOCK") == (1e6, 1)
    assert scale("DCGM_FI_DEV_FB_USED") == (1048576, 1)
    assert scale("DCGM_FI_DEV_FAN_SPEED_RATIO") == (100, 1)
    assert {metric for metric in MEANING_OF if scale(metric) is None} == DOUBTFUL


@pytest.mark.parametrize(
    ("name", "unit"),
    [("gputel:gpu_sm_clock_hertz", "Hz"), ("DCGM_FI_DEV_SM_CLOCK", "MHz"), ("no_such_metric", "")],
)
def test_about_knows_meanings_and_fields(name: str, unit: str) -> None:
    assert about(name).unit == unit
    assert (about(name) is UNKNOWN) == (name == "no_such_metric")
