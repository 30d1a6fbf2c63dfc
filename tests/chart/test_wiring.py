"""How the documents of a render hang together: selectors, ports, references, names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.conftest import RenderOf
from tests.chart.renders import LONG, Document, Render

ROLES = ("broker", "streamer", "collector", "api")
OUTSIDE = {"my-database", "my-tokens", "my-postgres", "my-object", "registry", "gputel-tls"}


def pods(render: Render) -> dict[str, Document]:
    return dict(render.workloads())


def selected(render: Render, labels: dict[str, str]) -> set[str]:
    """The components whose pods have the labels."""
    return {
        component
        for component, template in render.workloads()
        if labels.items() <= template["metadata"]["labels"].items()
    }


def nodes(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, anywhere within."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == key:
                yield item
            yield from nodes(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item, key)


def test_selectors_match_the_pods_of_their_own_component(rendered: Render) -> None:
    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
        for document in rendered.kind(kind):
            component = document["metadata"]["labels"]["app.kubernetes.io/component"]
            assert selected(rendered, document["spec"]["selector"]["matchLabels"]) == {component}


def test_selectors_never_change_with_the_version(rendered: Render) -> None:
    for labels in nodes(rendered.documents, "matchLabels"):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


def test_services_lead_to_ports_of_their_pods(rendered: Render) -> None:
    for service in rendered.kind("Service"):
        component = service["metadata"]["labels"]["app.kubernetes.io/component"]
        found = selected(rendered, service["spec"]["selector"])
        assert found == ({*ROLES} if component == "metrics" else {component})
        for port in service["spec"]["ports"]:
            for each in found:
                (container,) = pods(rendered)[each]["spec"]["containers"]
                assert port["targetPort"] in {port["name"] for port in container["ports"]}


def test_stateful_sets_have_their_headless_service(rendered: Render) -> None:
    services = {service["metadata"]["name"]: service for service in rendered.kind("Service")}
    for document in rendered.kind("StatefulSet"):
        assert services[document["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"


def test_references_name_what_the_chart_makes(rendered: Render) -> None:
    """Secrets, ConfigMaps and service accounts; what is the user's own is named in the values."""
    made = {(d["kind"], d["metadata"]["name"]) for d in rendered.documents}
    keys = {
        secret["metadata"]["name"]: set(secret["stringData"]) for secret in rendered.kind("Secret")
    }
    for _, template in rendered.workloads():
        account = template["spec"]["serviceAccountName"]
        assert account == "default" or ("ServiceAccount", account) in made
        for reference in nodes(template, "secretKeyRef"):
            assert reference["name"] in OUTSIDE or reference["key"] in keys[reference["name"]]
        for volume in template["spec"].get("volumes", []):
            if "secret" in volume:
                assert volume["secret"]["secretName"] in OUTSIDE | set(keys)
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made


def test_clients_find_the_broker_by_its_service(rendered: Render) -> None:
    service = rendered.one("Service", "broker")
    (port,) = service["spec"]["ports"]
    where = f"{service['metadata']['name']}:{port['port']}"
    several = rendered.one("StatefulSet", "broker")["spec"]["replicas"] > 1
    for role in ("streamer", "collector", "api"):
        scheme = "dns+http" if several else "http"
        assert rendered.env(role)["GPUTEL_BROKER_URL"] == f"{scheme}://{where}"
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_the_broker_has_no_way_to_the_database(rendered: Render) -> None:
    assert "GPUTEL_POSTGRES_DSN" not in rendered.env("broker")


def test_the_ingress_leads_to_the_api(render_of: RenderOf) -> None:
    render = render_of("ingress")
    (ingress,) = render.kind("Ingress")
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == [
        "gputel.example",
        "*.gpu.example",
    ]
    assert ingress["spec"]["tls"][0]["secretName"] == "gputel-tls"
    service = render.one("Service", "api")
    for backend in nodes(ingress, "backend"):
        assert backend["service"]["name"] == service["metadata"]["name"]
        assert backend["service"]["port"]["name"] == service["spec"]["ports"][0]["name"]


def test_the_journal_has_a_disk_of_each_broker(render_of: RenderOf) -> None:
    render = render_of("journal")
    spec = render.one("StatefulSet", "broker")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Retain"
    assert claim["spec"]["storageClassName"] == "fast"
    (container,) = render.pod("broker")["containers"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == claim["metadata"]["name"]]
    assert render.env("broker")["GPUTEL_JOURNAL"].startswith(mount["mountPath"] + "/")
    assert render.env("broker")["GPUTEL_JOURNAL_SYNC"] == "interval"


@pytest.mark.parametrize("source", ["pvc", "host-path", "object"])
def test_a_file_of_ones_own_is_where_the_streamer_looks(render_of: RenderOf, source: str) -> None:
    render = render_of(source)
    (container,) = render.pod("streamer")["containers"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "source"]
    assert mount["readOnly"] is True
    assert render.env("streamer")["GPUTEL_CSV"].startswith(mount["mountPath"] + "/")


def test_an_object_is_fetched_to_where_the_streamer_looks(render_of: RenderOf) -> None:
    render = render_of("object")
    (fetch,) = render.pod("streamer")["initContainers"]
    assert fetch["command"][-1] == render.env("streamer")["GPUTEL_CSV"]
    scripts = render.one("ConfigMap", "scripts")["data"]
    assert fetch["command"][1].rpartition("/")[2] in scripts
    ports = [
        port["port"]
        for rule in render.one("NetworkPolicy", "streamer")["spec"]["egress"]
        for port in rule["ports"]
        if "to" not in rule
    ]
    assert 9443 in ports


def test_names_fit_however_the_release_is_called(render_of: RenderOf) -> None:
    """63 characters, and 52 for a StatefulSet, whose pods are labelled by its name and a hash."""
    names = {}
    for release in (LONG, LONG[:-1] + "x", "1st", "a.b.c"):
        render = render_of("monitoring", release)
        names[release] = {(d["kind"], d["metadata"]["name"]) for d in render.documents}
        for kind, name in names[release]:
            assert len(name) <= (52 if kind == "StatefulSet" else 63)
            assert name[0].isalpha()
            assert "." not in name
        for labels in (*nodes(render.documents, "labels"), *nodes(render.documents, "matchLabels")):
            assert all(len(value) <= 63 for value in labels.values())
    assert not names[LONG] & names[LONG[:-1] + "x"], "two releases with one beginning"


def test_names_are_unique_within_their_kind(rendered: Render) -> None:
    names = [(d["kind"], d["metadata"]["name"]) for d in rendered.documents]
    assert len(names) == len(set(names))


def test_a_release_called_gputel_does_not_say_it_twice(render_of: RenderOf) -> None:
    assert render_of(release="gputel").one("Deployment", "api")["metadata"]["name"] == "gputel-api"


def test_overridden_names_are_used(render_of: RenderOf) -> None:
    render = render_of(fullnameOverride="fleet")
    assert {d["metadata"]["name"].partition("-")[0] for d in render.documents} == {"fleet"}
    render = render_of(nameOverride="fleet")
    assert render.one("Deployment", "api")["metadata"]["name"] == "rel-fleet-api"
