"""Where streamers get records from: nowhere by default, from exporters, and with which rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gputel.streamer.scrape.config_file import read_jobs
from gputel.streamer.scrape.discovery.kinds import EndpointSlices
from gputel.streamer.scrape.jobs import ScrapeJob
from tests.chart.conftest import RenderOf
from tests.chart.policies import may_leave
from tests.chart.renders import Render, component_of


def jobs(render: Render, folder: Path) -> tuple[ScrapeJob, ...]:
    """The jobs of the file that the streamer reads, as gputel reads them."""
    (volume,) = [v for v in render.pod("streamer")["volumes"] if v["name"] == "scrape"]
    (mount,) = [m for m in render.container("streamer")["volumeMounts"] if m["name"] == "scrape"]
    folder_there, _, name = render.env("streamer")["GPUTEL_SCRAPE_CONFIG"].rpartition("/")
    assert mount["mountPath"] == folder_there
    assert "subPath" not in mount, "a change would not reach the pod"
    (secret,) = [
        each
        for each in render.kind("Secret")
        if each["metadata"]["name"] == volume["secret"]["secretName"]
    ]
    path = folder / name
    path.write_text(secret["stringData"][name])
    return read_jobs(path)


def rights(render: Render) -> set[tuple[str, str, str, str]]:
    """Namespace, API group, resource and verb that the streamers' account has."""
    bound = {}
    account = render.pod("streamer")["serviceAccountName"]
    for binding in render.kind("RoleBinding"):
        (subject,) = binding["subjects"]
        release = render.one("Deployment", "streamer")["metadata"]["namespace"]
        assert subject == {"kind": "ServiceAccount", "name": account, "namespace": release}
        bound[binding["metadata"]["namespace"], binding["roleRef"]["name"]] = binding
    return {
        (role["metadata"]["namespace"], group, resource, verb)
        for role in render.kind("Role")
        if (role["metadata"]["namespace"], role["metadata"]["name"]) in bound
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_by_default_there_is_no_streamer_and_nothing_that_belongs_to_one(
    render_of: RenderOf,
) -> None:
    render = render_of("no-source")
    assert render.roles() == ("broker", "collector", "api")
    assert "streamer" not in {component_of(document) for document in render.documents}
    assert len(render_of().documents) - len(render.documents) == 3, "pods, policy and disruptions"


def test_the_exporters_of_the_gpu_operator_are_one_job(render_of: RenderOf, tmp_path: Path) -> None:
    (job,) = jobs(render_of("dcgm-exporter"), tmp_path)
    assert (job.name, job.interval_s, job.honor_labels) == ("nvidia-dcgm-exporter", 15, True)
    assert job.discoveries == (EndpointSlices("gpu-operator", "nvidia-dcgm-exporter", 9400),)


def test_jobs_of_ones_own_are_those_that_gputel_reads(render_of: RenderOf, tmp_path: Path) -> None:
    racks, *others = jobs(render_of("scrape"), tmp_path)
    assert (racks.name, racks.sample_limit) == ("racks", 5_000_000)
    assert racks.auth
    assert getattr(racks.auth, "password", "") == "<secret> & more"
    assert racks.metrics_keep
    assert racks.metrics_keep.fullmatch("DCGM_FI_DEV_GPU_UTIL")
    assert [job.name for job in others] == [
        "team-a-9400",
        "team-a-metrics",
        "team-b-9400",
        "team-b-metrics",
    ]


@pytest.mark.parametrize(
    ("source", "namespaces"),
    [("dcgm-exporter", ["gpu-operator"]), ("scrape", ["team-a", "team-b"]), ("sample", [])],
)
def test_streamers_may_list_the_endpoint_slices_of_their_namespaces_and_nothing_else(
    render_of: RenderOf, source: str, namespaces: list[str]
) -> None:
    render = render_of(source)
    assert rights(render) == {
        (namespace, "discovery.k8s.io", "endpointslices", "list") for namespace in namespaces
    }
    assert len(render.kind("Role")) == len(render.kind("RoleBinding")) == len(namespaces)


def test_only_streamers_that_find_exporters_by_kubernetes_have_a_token(rendered: Render) -> None:
    discovers = rendered.name.startswith("dcgm-exporter") or rendered.name == "scrape"
    for component, template in rendered.workloads():
        spec = template["spec"]
        expected = discovers and component == "streamer"
        assert spec["automountServiceAccountToken"] is expected
        if expected and rendered.kind("ServiceAccount"):
            others = [rendered.pod(role)["serviceAccountName"] for role in ("broker", "api")]
            assert spec["serviceAccountName"] not in others


def test_an_account_and_roles_of_ones_own_are_used(render_of: RenderOf) -> None:
    render = render_of("dcgm-exporter-autoscaled")
    assert render.pod("streamer")["serviceAccountName"] == "mine"
    assert not [d for d in render.documents if d["kind"].startswith("Role")]


def test_two_releases_that_ask_in_one_namespace_have_roles_of_two_names(
    render_of: RenderOf,
) -> None:
    (role,) = render_of("dcgm-exporter").kind("Role")
    assert role["metadata"]["namespace"] == "gpu-operator"
    assert role["metadata"]["name"].endswith("-default"), "the namespace of the release"


def open_ports(render: Render) -> set[int]:
    """Ports that streamers reach at every address, beside those of names."""
    return {
        port["port"]
        for rule in render.one("NetworkPolicy", "streamer")["spec"]["egress"]
        if "to" not in rule
        for port in rule["ports"]
    } - {53, 5353}


@pytest.mark.parametrize(
    ("source", "ports"),
    [
        ("sample", set()),
        ("dcgm-exporter", {9400, 443, 6443}),
        ("dcgm-exporter-autoscaled", {443, 6443}),
        ("scrape", {9400, 9100, 443, 6443}),
    ],
)
def test_streamers_reach_exporters_and_the_api_server_if_they_need_them(
    render_of: RenderOf, source: str, ports: set[int]
) -> None:
    render = render_of(source)
    assert open_ports(render) == ports
    assert not any(may_leave(render, "collector", port) for port in ports)


def test_a_named_port_is_reached_in_the_namespace_of_the_exporters(render_of: RenderOf) -> None:
    policy = render_of("dcgm-exporter-autoscaled").one("NetworkPolicy", "streamer")
    (rule,) = [each for each in policy["spec"]["egress"] if "ports" not in each]
    (peer,) = rule["to"]
    (expression,) = peer["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["gpu-operator"]


def test_jobs_without_kubernetes_need_no_api_server(render_of: RenderOf) -> None:
    job: dict[str, Any] = {"job_name": "a", "static_configs": [{"targets": ["gpu1:9400"]}]}
    source = {"type": "scrape", "scrape": {"scrapeConfigs": [job]}}
    render = render_of(streamer={"source": source})
    assert open_ports(render) == {9400}
    assert not render.kind("Role")
