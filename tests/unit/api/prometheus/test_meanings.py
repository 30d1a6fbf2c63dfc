from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel.api.prometheus.labels import LabelledSeries
from gputel.api.prometheus.meanings import joined, meaning_of, stored_matchers
from gputel.model.meanings import MEANINGS
from gputel.promql.syntax.nodes import Matcher, MatchOp
from gputel.promql.syntax.parse import parse_selector
from gputel.promql.values.labels import from_mapping

POWER = MEANINGS["gputel:gpu_power_watts"]
NEW, CLASSIC = POWER.scales
NAMES = ("instance", "job", "pod", "GPU_I_ID", "nvlink", "DCGM_FI_DRIVER_VERSION", "Hostname")
SERIES = st.lists(
    st.fixed_dictionaries({name: st.sampled_from(["", "a", "b"]) for name in ("UUID", *NAMES)}),
    max_size=20,
    unique_by=lambda labels: tuple(sorted(labels.items())),
)


def stored(*series: tuple[str, Mapping[str, str]]) -> LabelledSeries:
    return LabelledSeries(
        list(range(len(series))),
        [from_mapping({"__name__": metric, **labels}) for metric, labels in series],
        [(metric, labels.get("UUID", "")) for metric, labels in series],
    )


@given(SERIES)
def test_series_of_one_name_stay_apart_with_their_labels(series: list[dict[str, str]]) -> None:
    meant, shown = joined(POWER, stored(*[(CLASSIC, labels) for labels in series]))
    assert meant.one.tolist() == shown.series_ids == list(range(len(series)))
    assert shown.labels == [from_mapping({"__name__": POWER.name, **each}) for each in series]


@given(SERIES)
def test_each_series_goes_on_under_the_new_name(series: list[dict[str, str]]) -> None:
    """As a newer exporter sends them: with other names of labels, and the PCI address."""
    newer = [
        {
            "DCGM_FI_SYSTEM_DRIVER_VERSION": labels["DCGM_FI_DRIVER_VERSION"],
            "hostname": labels["Hostname"],
            "pci_bus_id": "00000000:8D:00.0",
            **{name: labels[name] for name in labels if name != "DCGM_FI_DRIVER_VERSION"},
        }
        for labels in series
    ]
    both = [(CLASSIC, each) for each in series] + [(NEW, each) for each in newer]
    meant, shown = joined(POWER, stored(*both))
    count = len(series)
    assert meant.one.tolist() == 2 * list(range(count, 2 * count))
    assert shown.labels == [
        from_mapping({"__name__": POWER.name, "pci_bus_id": "00000000:8D:00.0", **each})
        for each in series
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POWER.name, POWER),
        (f'{{__name__="{POWER.name}",gpu="0"}}', POWER),
        (f'{{__name__=~"{POWER.name}"}}', None),
        (f'{{__name__!="{POWER.name}",gpu="0"}}', None),
        ('{gpu="0"}', None),
        (CLASSIC, None),
    ],
)
def test_meaning_is_selected_by_its_name_only(text: str, expected: object) -> None:
    assert meaning_of(parse_selector(text).matchers) is expected


def test_matchers_of_a_meaning_are_those_of_its_stored_names() -> None:
    gpu = Matcher("gpu", MatchOp.EQUAL, "0")
    named = Matcher("__name__", MatchOp.EQUAL, POWER.name)
    assert stored_matchers([named, gpu], POWER) == [
        Matcher("__name__", MatchOp.RE, f"{NEW}|{CLASSIC}"),
        gpu,
    ]
    other = Matcher("__name__", MatchOp.NOT_RE, "gputel:.*")
    assert stored_matchers([named, other], POWER) == [Matcher("__name__", MatchOp.EQUAL, "")]
