"""Alerts on the pipeline's own health ask for metrics that there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from gputel.promql.syntax.parse import parse
from tests.chart.conftest import RenderOf
from tests.chart.metric_names import exported
from tests.chart.renders import CHART, Render

RULES: list[dict[str, Any]] = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
OF_OTHERS = {"up", "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_promql_of_metrics_that_there_are(rule: dict[str, Any]) -> None:
    parse(rule["expr"])
    names = set(re.findall(r"\b(\w+)\{", rule["expr"]))
    assert names
    assert names <= exported() | OF_OTHERS
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert {"summary", "description"} == set(rule["annotations"])


@pytest.fixture
def rendered_rules(render_of: RenderOf) -> dict[str, dict[str, Any]]:
    (document,) = render_of("tls").kind("PrometheusRule")
    (group,) = document["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_they_look_at_what_the_service_monitor_has_scraped(
    render_of: RenderOf, rendered_rules: dict[str, dict[str, Any]]
) -> None:
    service = render_of("tls").one("Service", "metrics")["metadata"]
    for rule in rendered_rules.values():
        if rule["alert"] not in ("Own", "GputelDatabaseDiskFilling"):
            selected = f'job="{service["name"]}",namespace="{service["namespace"]}"'
            assert selected in rule["expr"]


def test_the_disk_is_the_database_s(
    render_of: RenderOf, rendered_rules: dict[str, dict[str, Any]]
) -> None:
    stateful = render_of("tls").one("StatefulSet", "postgres")
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    name = f"{claim['metadata']['name']}-{stateful['metadata']['name']}-0"
    assert f'persistentvolumeclaim="{name}"' in rendered_rules["GputelDatabaseDiskFilling"]["expr"]


def test_they_follow_the_values(rendered_rules: dict[str, dict[str, Any]]) -> None:
    names = {rule["alert"] for rule in RULES}
    assert set(rendered_rules) == names - {"GputelRowsRejected"} | {"Own"}
    assert all(r["labels"]["team"] == "gpu" for n, r in rendered_rules.items() if n != "Own")


def test_prometheus_s_own_templates_are_left_to_it(
    rendered_rules: dict[str, dict[str, Any]],
) -> None:
    assert "{{ $labels.pod }}" in rendered_rules["GputelRoleDown"]["annotations"]["summary"]


def test_there_are_none_unless_they_are_asked_for(render_of: RenderOf) -> None:
    assert isinstance(render_of(), Render)
    assert not render_of("monitoring").kind("PrometheusRule")
