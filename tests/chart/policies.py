"""Who may talk to whom under a render's NetworkPolicies, as Kubernetes defines them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.chart.renders import Document, Render

_NO_SELECTOR: dict[str, Any] = {}


def allowed(render: Render, source: str, target: str, port: int) -> bool:
    """Whether a pod of one component may open a connection to one of another.

    ``source`` may also be ``namespace/NAME``: any pod of another namespace.
    """
    return _permits(render, "Ingress", target, source, port) and (
        source.startswith("namespace/") or _permits(render, "Egress", source, target, port)
    )


def may_leave(render: Render, component: str, port: int) -> bool:
    """Whether a pod may open a connection to some address outside of the cluster."""
    return _permits(render, "Egress", component, "outside", port)


def _permits(render: Render, way: str, component: str, peer: str, port: int) -> bool:
    """A pod that no policy selects is open; else some rule of those that do must let it."""
    policies = [policy for policy in _selecting(render, component) if way in policy["policyTypes"]]
    rules = [rule for policy in policies for rule in policy.get(way.lower(), [])]
    return not policies or any(_rule_lets(render, rule, way, peer, port) for rule in rules)


def _selecting(render: Render, component: str) -> Iterator[Document]:
    labels = labels_of(render, component)
    for policy in render.kind("NetworkPolicy"):
        if _matches(policy["spec"]["podSelector"], labels):
            yield policy["spec"]


def _rule_lets(render: Render, rule: Document, way: str, peer: str, port: int) -> bool:
    ports = rule.get("ports")
    if ports is not None and port not in [each["port"] for each in ports]:
        return False
    peers = rule.get("from" if way == "Ingress" else "to")
    return not peers or any(_is_peer(render, each, peer) for each in peers)


def _is_peer(render: Render, described: Document, peer: str) -> bool:
    if peer == "outside":
        return "ipBlock" in described
    if peer.startswith("namespace/"):
        name = {"kubernetes.io/metadata.name": peer.partition("/")[2]}
        selector = described.get("namespaceSelector")
        return selector is not None and _matches(selector, name)
    selector = described.get("podSelector")
    return (
        "namespaceSelector" not in described
        and selector is not None
        and _matches(selector, labels_of(render, peer))
    )


def _matches(selector: Document, labels: Document) -> bool:
    wanted = selector.get("matchLabels", _NO_SELECTOR)
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return wanted.items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def labels_of(render: Render, component: str) -> Document:
    """The labels of a component's pods."""
    labels: Document = dict(render.workloads())[component]["metadata"]["labels"]
    return labels
