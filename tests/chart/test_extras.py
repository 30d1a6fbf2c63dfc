"""What people add to the chart: labels, variables, volumes, containers, objects, registries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.conftest import RenderOf
from tests.chart.renders import ROLES, Document, Render, component_of


@pytest.fixture
def extras(render_of: RenderOf) -> Render:
    return render_of("extras")


def items(container: Document, key: str) -> list[str]:
    return [item["name"] for item in container.get(key, [])]


def metadata(render: Render) -> Iterator[Document]:
    """That of every object of the chart's own, and of every pod."""
    for document in render.documents:
        if component_of(document) not in ("extra", "text"):
            yield document["metadata"]
    for _, template in render.workloads():
        yield template["metadata"]


def test_common_labels_and_annotations_are_everywhere_and_replace_no_label(extras: Render) -> None:
    for found in metadata(extras):
        assert found["labels"]["team"] == "gpu"
        assert found["labels"]["app.kubernetes.io/component"] != "not-ours"
        assert found["annotations"]["contact"] == "gpu@example"


def test_no_selector_has_a_label_that_may_change(extras: Render) -> None:
    for kind in ("Deployment", "StatefulSet"):
        for document in extras.kind(kind):
            assert "team" not in document["spec"]["selector"]["matchLabels"]
    for document in extras.kind("StatefulSet"):
        for claim in document["spec"].get("volumeClaimTemplates", []):
            assert "team" not in claim["metadata"]["labels"], "it can never change"


def test_labels_of_pods_are_the_roles_alone_and_replace_none_of_the_chart(extras: Render) -> None:
    for component, template in extras.workloads():
        labels = template["metadata"]["labels"]
        assert labels.get("tier") == ("telemetry" if component in ROLES else None)
        assert labels.get("gputel/metrics") == ("true" if component in ROLES else None)


def test_variables_are_there_once_and_the_nearest_counts(extras: Render) -> None:
    for role in ROLES:
        names = items(extras.container(role), "env")
        assert len(names) == len(set(names))
        env = extras.env(role)
        assert env["GPUTEL_LOG_LEVEL"] == "debug"
        assert env["RELEASE"] == "own"
        assert extras.container(role)["envFrom"] == [
            {"configMapRef": {"name": "everyone"}},
            {"secretRef": {"name": "own"}},
        ]
    assert extras.env("postgres")["LANG"] == "C.UTF-8"


def test_templates_in_them_are_filled_in(render_of: RenderOf) -> None:
    render = render_of(
        release="fleet",
        extraEnv=[{"name": "RELEASE", "value": "{{ .Release.Name }}"}],
        streamer={"streamId": "{{ not a template }}"},
    )
    assert render.env("api")["RELEASE"] == "fleet"
    assert render.env("streamer")["GPUTEL_STREAM_ID"] == "{{ not a template }}"


def test_volumes_of_ones_own_reach_the_roles(extras: Render) -> None:
    for role in ROLES:
        spec = extras.pod(role)
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert volumes["ca"]["configMap"]["name"] == "rel-ca"
        assert volumes["own"]["secret"]["secretName"] == "own"
        mounts = {mount["name"]: mount for mount in extras.container(role)["volumeMounts"]}
        assert mounts["ca"]["mountPath"] == "/etc/ca"
        assert mounts["own"]["mountPath"] == "/etc/own"
    mounts = {mount["name"]: mount for mount in extras.container("postgres")["volumeMounts"]}
    assert mounts["more"]["mountPath"] == "/more"


def test_containers_of_ones_own_stand_beside_the_role_s(extras: Render) -> None:
    for role in ROLES:
        spec = extras.pod(role)
        assert items(spec, "containers") == [role, "beside"]
        assert items(spec, "initContainers") == ["first"]


def test_an_init_container_of_ones_own_comes_after_the_chart_s(render_of: RenderOf) -> None:
    own = [{"name": "first", "image": "busybox:1"}]
    render = render_of(
        streamer={
            "source": {"type": "object", "object": {"url": "https://x/y"}},
            "initContainers": own,
        }
    )
    assert items(render.pod("streamer"), "initContainers") == ["fetch", "first"]


def test_what_fetches_an_object_has_the_streamer_s_extras(render_of: RenderOf) -> None:
    """A proxy and a CA bundle are for it as well."""
    render = render_of(
        extraVolumes=[{"name": "ca", "configMap": {"name": "ca"}}],
        extraVolumeMounts=[{"name": "ca", "mountPath": "/etc/ca"}],
        streamer={
            "source": {"type": "object", "object": {"url": "https://x/y"}},
            "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.crt"}],
            "extraEnvFrom": [{"secretRef": {"name": "proxy"}}],
        },
    )
    (fetch,) = render.pod("streamer")["initContainers"]
    assert items(fetch, "env") == ["OBJECT_URL", "SSL_CERT_FILE"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "proxy"}}]
    assert "ca" in items(fetch, "volumeMounts")


def test_objects_of_ones_own_are_installed_as_maps_and_as_text(extras: Render) -> None:
    assert extras.one("ConfigMap", "extra")["metadata"]["name"] == "rel-ca"
    assert extras.one("ConfigMap", "text")["metadata"]["name"] == "text"


def test_a_registry_and_its_secrets_count_for_every_image(extras: Render) -> None:
    for _, template in extras.workloads():
        spec = template["spec"]
        assert spec["containers"][0]["image"].startswith("registry.example/")
        assert spec["imagePullSecrets"] == [{"name": "pull"}]


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ({}, "gputel:0.1.0"),
        ({"registry": "a.example:5000"}, "a.example:5000/gputel:0.1.0"),
        ({"repository": "a.example/team/gputel", "tag": "1"}, "a.example/team/gputel:1"),
        ({"registry": "a", "digest": "sha256:" + "0" * 64}, "a/gputel@sha256:" + "0" * 64),
    ],
)
def test_an_image_is_named_by_its_parts(
    render_of: RenderOf, image: dict[str, Any], shown: str
) -> None:
    assert render_of(image=image).container("api")["image"] == shown


def test_an_image_s_own_registry_goes_before_the_one_of_all(render_of: RenderOf) -> None:
    render = render_of(
        **{"global": {"imageRegistry": "all.example"}},
        image={"registry": "mine.example"},
    )
    assert render.container("api")["image"].startswith("mine.example/gputel:")
    assert render.container("postgres")["image"].startswith("all.example/timescale/")
