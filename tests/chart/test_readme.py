"""README.md of the chart has every value, with its default, as values.yaml has them now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from charts.readme import readme, values
from tests.chart.renders import CHART

TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")


def leaves(found: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in found.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


def test_it_is_the_one_that_make_docs_writes() -> None:
    assert (CHART / "README.md").read_text(encoding="utf-8") == readme(), "run `make docs`"


def test_every_value_is_in_it_with_what_it_is_for() -> None:
    listed = {value.path: value for value in values(TEXT)}
    flow = {path for path, value in listed.items() if (value.default or "").startswith("{")}
    for path in leaves(yaml.safe_load(TEXT)):
        assert path in listed or path[:-1] in flow, path
    assert [path for path, value in listed.items() if not value.text] == []


def test_defaults_are_those_of_the_chart() -> None:
    chart = yaml.safe_load(TEXT)
    for value in values(TEXT):
        found = chart
        for key in value.path:
            found = found[key]
        if value.default is not None:
            assert yaml.safe_load(value.default) == found, value.path


def test_its_table_has_three_cells_in_every_row() -> None:
    rows = [line for line in readme().splitlines() if line.startswith("|")]
    assert len(rows) > 200
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}
