"""What scales, by what, and what watches: autoscalers, KEDA, the Prometheus operator."""

from __future__ import annotations

from tests.chart.conftest import RenderOf
from tests.chart.metric_names import exported
from tests.chart.renders import Render


def test_autoscalers_point_at_deployments_that_leave_their_size_to_them(rendered: Render) -> None:
    targets = [d["spec"]["scaleTargetRef"] for d in rendered.kind("HorizontalPodAutoscaler")]
    targets += [d["spec"]["scaleTargetRef"] for d in rendered.kind("ScaledObject")]
    scaled = {target["name"] for target in targets}
    assert len(scaled) == len(targets)
    deployments = {d["metadata"]["name"]: d for d in rendered.kind("Deployment")}
    for target in targets:
        assert (target["apiVersion"], target["kind"]) == ("apps/v1", "Deployment")
        assert target["name"] in deployments
    for name, deployment in deployments.items():
        assert ("replicas" in deployment["spec"]) == (name not in scaled)


def test_what_scales_by_cpu_requests_it(render_of: RenderOf) -> None:
    render = render_of("autoscaling")
    assert len(render.kind("HorizontalPodAutoscaler")) == 3
    for document in render.kind("HorizontalPodAutoscaler"):
        component = document["metadata"]["labels"]["app.kubernetes.io/component"]
        container = render.container(component)
        assert container["resources"]["requests"]["cpu"]
        assert document["spec"]["metrics"][0]["resource"]["name"] == "cpu"


def test_collectors_scale_by_a_metric_that_the_broker_has(render_of: RenderOf) -> None:
    metrics = render_of("autoscaling").one("HorizontalPodAutoscaler", "collector")["spec"][
        "metrics"
    ]
    external = metrics[1]["external"]
    assert external["metric"]["name"] in exported()
    assert external["metric"]["selector"]["matchLabels"] == {"queue": "default"}


def test_keda_asks_the_broker_with_the_token_that_reads(render_of: RenderOf) -> None:
    render = render_of("keda")
    (scaled,) = render.kind("ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    metadata = trigger["metadata"]
    service = render.one("Service", "broker")
    (port,) = service["spec"]["ports"]
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert metadata["url"] == f"http://{host}:{port['port']}/stats"
    assert all(isinstance(value, str) for value in metadata.values())
    (authentication,) = render.kind("TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (target,) = authentication["spec"]["secretTargetRef"]
    assert target["parameter"] == "token"
    (secret,) = [s for s in render.kind("Secret") if s["metadata"]["name"] == target["name"]]
    assert target["key"] in secret["stringData"]


def test_keda_without_tokens_asks_without(render_of: RenderOf) -> None:
    render = render_of("keda-open")
    assert not render.kind("TriggerAuthentication")
    (scaled,) = render.kind("ScaledObject")
    assert "authenticationRef" not in scaled["spec"]["triggers"][0]


def test_the_service_monitor_finds_its_service_and_its_token(render_of: RenderOf) -> None:
    render = render_of("monitoring")
    (monitor,) = render.kind("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    found = [
        service
        for service in render.kind("Service")
        if monitor["spec"]["selector"]["matchLabels"].items()
        <= service["metadata"]["labels"].items()
    ]
    (service,) = found
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    credentials = endpoint["authorization"]["credentials"]
    secrets = {s["metadata"]["name"]: s["stringData"] for s in render.kind("Secret")}
    assert credentials["key"] in secrets[credentials["name"]]
