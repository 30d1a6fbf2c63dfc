"""How the documents of a render hang together: selectors, ports, references, names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gputel.web.access.own_names import OwnNames
from tests.chart.conftest import RenderOf
from tests.chart.renders import (
    CHART,
    LONG,
    ROLES,
    Document,
    HelmError,
    Render,
    component_of,
    run_helm,
)

OUTSIDE = {"my-database", "my-tokens", "my-postgres", "my-object", "my-certificate", "own"}
OUTSIDE_ACCOUNTS = {"default", "mine"}


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
            component = component_of(document)
            assert selected(rendered, document["spec"]["selector"]["matchLabels"]) == {component}


def test_selectors_never_change_with_the_version(rendered: Render) -> None:
    for labels in nodes(rendered.documents, "matchLabels"):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


def test_services_lead_to_ports_of_their_pods(rendered: Render) -> None:
    for service in rendered.kind("Service"):
        component = service["metadata"]["labels"]["app.kubernetes.io/component"]
        found = selected(rendered, service["spec"]["selector"])
        assert found == ({*rendered.roles()} if component == "metrics" else {component})
        for port in service["spec"]["ports"]:
            for each in found:
                container = rendered.container(each)
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
        assert account in OUTSIDE_ACCOUNTS or ("ServiceAccount", account) in made
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
    for role in rendered.roles()[1:]:
        scheme = "https" if rendered.name == "tls" else "dns+http" if several else "http"
        if rendered.name != "tls-brokers":
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
    container = render.container("broker")
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == claim["metadata"]["name"]]
    assert render.env("broker")["GPUTEL_JOURNAL"].startswith(mount["mountPath"] + "/")
    assert render.env("broker")["GPUTEL_JOURNAL_SYNC"] == "interval"


@pytest.mark.parametrize("source", ["pvc", "host-path", "object"])
def test_a_file_of_ones_own_is_where_the_streamer_looks(render_of: RenderOf, source: str) -> None:
    render = render_of(source)
    container = render.container("streamer")
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == "source"]
    assert mount["readOnly"] is True
    assert render.env("streamer")["GPUTEL_CSV"].startswith(mount["mountPath"] + "/")


HOW = ("GPUTEL_LOOP", "GPUTEL_TIMESTAMPS", "GPUTEL_RATE")


@pytest.mark.parametrize("source", ["pvc", "host-path", "object"])
def test_a_file_of_ones_own_is_read_as_gputel_reads_it_by_default(
    render_of: RenderOf, source: str
) -> None:
    assert not set(HOW) & render_of(source).env("streamer").keys()


def test_the_sample_is_looped_over_at_gputels_defaults_unless_values_say_otherwise(
    render_of: RenderOf,
) -> None:
    env = render_of().env("streamer")
    assert [env.get(name) for name in HOW] == ["true", None, None]
    env = render_of(streamer={"loop": False}).env("streamer")
    assert [env.get(name) for name in HOW] == ["false", None, None]


def test_a_file_of_ones_own_is_looped_over_on_request(render_of: RenderOf) -> None:
    values = {"loop": True, "source": {"type": "hostPath", "hostPath": {"path": "/srv"}}}
    assert render_of(streamer=values).env("streamer")["GPUTEL_LOOP"] == "true"


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


def test_names_are_unique_within_their_kind_and_namespace(rendered: Render) -> None:
    names = [
        (d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"])
        for d in rendered.documents
    ]
    assert len(names) == len(set(names))


def test_a_release_called_gputel_does_not_say_it_twice(render_of: RenderOf) -> None:
    assert render_of(release="gputel").one("Deployment", "api")["metadata"]["name"] == "gputel-api"


def test_overridden_names_are_used(render_of: RenderOf) -> None:
    render = render_of(fullnameOverride="fleet")
    assert {d["metadata"]["name"].partition("-")[0] for d in render.documents} == {"fleet"}
    render = render_of(nameOverride="fleet")
    assert render.one("Deployment", "api")["metadata"]["name"] == "rel-fleet-api"


def test_a_role_gets_the_tokens_that_it_needs_and_no_other(render_of: RenderOf) -> None:
    render = render_of()
    held = {
        "broker": ({"tokens"}, set()),
        "api": ({"tokens"}, {"pipeline"}),
        "streamer": (set(), {"read", "pipeline"}),
        "collector": (set(), {"read", "pipeline"}),
    }
    for role, (files, variables) in held.items():
        pod = render.pod(role)
        mounted = {
            item["key"]
            for volume in pod["volumes"]
            if "secret" in volume
            for item in volume["secret"]["items"]
        }
        named = {
            each["valueFrom"]["secretKeyRef"]["key"]
            for each in pod["containers"][0]["env"]
            if "tokens" in each.get("valueFrom", {}).get("secretKeyRef", {}).get("name", "")
        }
        assert (mounted, named) == (files, variables), role


def test_names_that_yaml_takes_for_other_things_stay_texts(render_of: RenderOf) -> None:
    render = render_of(
        nameOverride="true",
        serviceAccount={"name": "123"},
        auth={"existingSecret": "1234"},
        streamer={
            "priorityClassName": "no",
            "source": {"type": "pvc", "pvc": {"existingClaim": "null"}},
        },
        ingress={"enabled": True, "className": "off", "hosts": ["h.example"]},
    )
    pod = render.pod("streamer")
    assert pod["serviceAccountName"] == "123"
    assert pod["priorityClassName"] == "no"
    assert set(nodes(pod, "claimName")) == {"null"}
    assert set(nodes(render.pod("broker"), "secretName")) == {"1234"}
    assert set(nodes(render.kind("Ingress"), "ingressClassName")) == {"off"}
    for template in dict(render.workloads()).values():
        assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "true"


@pytest.mark.parametrize(
    "values",
    [
        {"listenAddress": "::\nx: y"},
        {"streamer": {"priorityClassName": "a\nb: c"}},
        {"streamer": {"streamId": "a\nb"}},
        {"streamer": {"source": {"samplePath": "/a\nb: c"}}},
        {"streamer": {"source": {"object": {"url": "https://h/\nx"}}}},
        {"image": {"repository": "a: b"}},
        {"image": {"tag": "a\nb"}},
        {"postgres": {"username": "a\nb"}},
    ],
    ids=str,
)
def test_a_value_that_would_become_other_yaml_is_refused(
    values: dict[str, Any], each_helm: Path
) -> None:
    with pytest.raises(HelmError, match="values don't meet the specifications"):
        run_helm(each_helm, "template", "rel", str(CHART), values=values)


def test_without_tokens_roles_answer_to_their_services_and_the_ingress(render_of: RenderOf) -> None:
    ingress: dict[str, Any] = {"enabled": True, "hosts": ["gpus.example", "*.corp.example"]}
    render = render_of(auth={"enabled": False}, ingress=ingress)
    for component in ROLES:
        names = render.env(component)["GPUTEL_ALLOWED_HOSTS"].split(",")
        namespace = render.one("Service", "broker")["metadata"]["namespace"]
        own = [f".rel-gputel-{component}.{namespace}"]
        assert names == own + (ingress["hosts"] if component == "api" else [])
        allowed = OwnNames("0.0.0.0", ",".join(names))
        for host in (f"rel-gputel-{component}:80", f"rel-gputel-{component}.{namespace}.svc"):
            assert allowed.includes(host)
        assert allowed.includes(f"rel-gputel-{component}.{namespace}:8080")
        assert allowed.includes("a.corp.example") == (component == "api")
    assert "GPUTEL_ALLOWED_HOSTS" not in render_of().env("api")
