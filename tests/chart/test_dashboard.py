"""The Grafana dashboard asks for metrics that there are, and its panels have room."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from gputel.promql.syntax.parse import parse
from tests.chart.conftest import RenderOf
from tests.chart.metric_names import exported
from tests.chart.renders import CHART

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_promql_of_metrics_that_gputel_exports(query: str) -> None:
    parse(query.replace("$__rate_interval", "5m"))
    names = set(re.findall(r"\bgputel_\w+", query))
    assert names
    assert names <= exported()


def test_panels_have_places_of_their_own() -> None:
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_sidecar_gets_the_dashboard_whole(render_of: RenderOf) -> None:
    document = render_of("monitoring").one("ConfigMap", "dashboard")
    assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = document["data"].values()
    assert json.loads(text) == DASHBOARD
