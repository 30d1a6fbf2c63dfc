"""The NetworkPolicies let those talk who have to, and nobody else."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.chart.conftest import RenderOf
from tests.chart.policies import allowed, may_leave
from tests.chart.renders import Render

PORTS = {"broker": 8081, "streamer": 8082, "collector": 8082, "api": 8080, "postgres": 5432}
CLIENTS = ("streamer", "collector", "api")
WANTED = {*product(CLIENTS, ("broker", "postgres")), ("test", "api")}
"""The API lets everyone in, but of the release's own pods only one has a way out to it."""


def ways(render: Render) -> set[tuple[str, str]]:
    components = [component for component, _ in render.workloads()]
    return {
        (source, target)
        for source, target in product(components, PORTS)
        if source != target
        and target in components
        and allowed(render, source, target, PORTS[target])
    }


def test_only_the_right_roles_talk(render_of: RenderOf) -> None:
    assert ways(render_of()) == WANTED


def test_every_policy_selects_pods_and_names_pods_that_there_are(rendered: Render) -> None:
    labels = [template["metadata"]["labels"] for _, template in rendered.workloads()]

    def exists(selector: dict[str, Any]) -> bool:
        return any(selector["matchLabels"].items() <= each.items() for each in labels)

    for policy in rendered.kind("NetworkPolicy"):
        spec = policy["spec"]
        assert exists(spec["podSelector"])
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        for rule in spec["ingress"] + spec["egress"]:
            for peer in rule.get("from", []) + rule.get("to", []):
                assert "podSelector" not in peer or exists(peer["podSelector"])


def test_policies_name_ports_that_their_pods_have(render_of: RenderOf) -> None:
    render = render_of("knobs")
    ports = {
        component: [p["containerPort"] for p in template["spec"]["containers"][0].get("ports", [])]
        for component, template in render.workloads()
    }
    assert ports["postgres"] == [6543]
    for role in CLIENTS:
        assert allowed(render, role, "postgres", 6543)
        assert not allowed(render, role, "postgres", 5432)


@pytest.mark.parametrize("component", ["streamer", "collector", "api", "test"])
def test_names_can_be_looked_up(render_of: RenderOf, component: str) -> None:
    (policy,) = [
        d for d in render_of().kind("NetworkPolicy") if d["metadata"]["name"].endswith(component)
    ]
    dns = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
    assert {(p["port"], p["protocol"]) for p in dns[0]["ports"]} == {
        *product((53, 5353), ("UDP", "TCP"))  # where OpenShift's name servers listen
    }


def test_a_database_outside_is_reached_at_its_networks_and_port_only(render_of: RenderOf) -> None:
    render = render_of("external-database")
    for role in CLIENTS:
        assert may_leave(render, role, 6432)
        assert not may_leave(render, role, 5432)
    assert not may_leave(render, "broker", 6432)


@pytest.mark.parametrize("option", ["monitoring", "keda"])
def test_scrapers_are_let_in_only_when_there_are_some(render_of: RenderOf, option: str) -> None:
    for role in ("broker", *CLIENTS):
        assert allowed(render_of(option), "namespace/monitoring", role, PORTS[role])
        assert allowed(render_of(option), "namespace/keda", role, PORTS[role])
        assert role == "api" or not allowed(render_of(option), "namespace/x", role, PORTS[role])
        assert role == "api" or not allowed(render_of(), "namespace/keda", role, PORTS[role])
    assert not allowed(render_of(option), "namespace/monitoring", "postgres", 5432)


def test_producers_of_ones_own_and_chosen_networks_are_let_in(render_of: RenderOf) -> None:
    render = render_of("knobs")
    assert allowed(render, "namespace/producers", "broker", 8081)
    assert allowed(render, "namespace/producers", "api", 8080)
    assert not allowed(render, "namespace/others", "broker", 8081)
    assert not allowed(render, "namespace/others", "api", 8080)
    assert allowed(render, "test", "api", 8080)
    assert not allowed(render, "namespace/producers", "postgres", 6543)


def test_the_backup_reaches_the_database_and_nothing_else(render_of: RenderOf) -> None:
    assert ways(render_of("backup")) == WANTED | {("backup", "postgres")}


def test_policies_can_be_left_out(render_of: RenderOf) -> None:
    assert not render_of("minimal").kind("NetworkPolicy")
