"""What every pod of the chart is like: image, settings, probes, security, stop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gputel.config.resolve import specs
from gputel.roles.registry import SELECTABLE
from tests.chart.conftest import RenderOf
from tests.chart.renders import ROLES, Render

SETTINGS = {spec.env: spec for spec in specs()}
ACCESS = {"GPUTEL_TOKEN", "GPUTEL_TOKEN_FILE", "GPUTEL_INSECURE"}
"""Of a gputel with tokens; one without knows none of them."""
BESIDE_SETTINGS = {"GPUTEL_API_URL", *(ACCESS if not ACCESS & set(SETTINGS) else ())}
MARGIN_S = 10
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]i?)?")


def containers(render: Render) -> Iterator[tuple[str, dict[str, Any]]]:
    for component, template in render.workloads():
        for container in (
            template["spec"].get("initContainers", []) + template["spec"]["containers"]
        ):
            yield f"{component}/{container['name']}", container


def chart_containers(render: Render) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those that are not of the user's own."""
    for name, container in containers(render):
        if container["name"] not in ("first", "beside"):
            yield name, container


def test_the_four_roles_run_one_image(rendered: Render) -> None:
    images = {role: rendered.container(role)["image"] for role in (*rendered.roles(), "test")}
    assert {*ROLES} - {*images} == ({"streamer"} if rendered.name == "no-source" else set())
    assert len(set(images.values())) == 1


def test_each_role_is_started_as_itself(rendered: Render) -> None:
    for role in rendered.roles():
        container = rendered.container(role)
        assert role in SELECTABLE
        assert container["args"] == ["run", "--role", role]


def test_every_variable_is_a_setting_and_every_value_one_that_it_takes(rendered: Render) -> None:
    for name, container in containers(rendered):
        for item in container.get("env", []):
            if item["name"].startswith("GPUTEL_") and item["name"] not in BESIDE_SETTINGS:
                assert item["name"] in SETTINGS, name
                if "value" in item:
                    SETTINGS[item["name"]].parse(item["value"], item["name"])


def test_the_knobs_reach_the_settings(render_of: RenderOf) -> None:
    render = render_of("knobs")
    broker, streamer, collector = (render.env(role) for role in ("broker", "streamer", "collector"))
    assert broker["GPUTEL_QUEUE_MAX_MESSAGES"] == "5000000"
    assert broker["GPUTEL_QUEUE_MAX_BYTES"] == str(8 << 30)
    assert broker["GPUTEL_BROKER_MAX_BYTES"] == str(8 << 30)
    assert broker["GPUTEL_VISIBILITY_TIMEOUT_S"] == collector["GPUTEL_VISIBILITY_TIMEOUT_S"]
    assert broker["GPUTEL_MAX_QUEUES"] == "10"
    assert streamer["GPUTEL_RATE"] == "0"
    assert streamer["GPUTEL_LOOP"] == "false"
    assert streamer["GPUTEL_STREAM_ID"] == "nightly"
    assert collector["GPUTEL_WORKERS"] == "8"
    assert (collector["GPUTEL_RETENTION"], collector["GPUTEL_ROLLUP_RETENTION"]) == ("30d", "365d")
    for role in ROLES:
        assert render.env(role)["GPUTEL_DRAIN_DEADLINE_S"] == "300"


def test_a_pause_between_rows_is_a_rate(render_of: RenderOf) -> None:
    assert render_of(streamer={"sleepMillis": 4}).env("streamer")["GPUTEL_RATE"] == "250"
    assert float(render_of(streamer={"sleepMillis": 3000}).env("streamer")["GPUTEL_RATE"]) < 0.34


def test_probes_ask_a_port_that_the_container_has(rendered: Render) -> None:
    for role in rendered.roles():
        container = rendered.container(role)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe, path in (
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ):
            get = container[probe]["httpGet"]
            assert get["path"] == path
            assert get["port"] in ports


def test_each_role_listens_where_its_port_is(rendered: Render) -> None:
    """The settings that the chart does not set have defaults, which its ports rely on."""
    setting = {"broker": "GPUTEL_BROKER_PORT", "api": "GPUTEL_API_PORT"}
    for role in rendered.roles():
        container = rendered.container(role)
        env = rendered.env(role)
        assert env["GPUTEL_HOST"] == "0.0.0.0"
        name = setting.get(role, "GPUTEL_HEALTH_PORT")
        listens = env.get(name) or str(SETTINGS[name].default)
        assert [str(port["containerPort"]) for port in container["ports"]] == [listens]


def test_a_start_outlasts_the_wait_for_the_database(rendered: Render) -> None:
    for role in rendered.roles()[1:]:
        container = rendered.container(role)
        probe = container["startupProbe"]
        waits_s = float(rendered.env(role)["GPUTEL_POSTGRES_WAIT_S"])
        assert probe["periodSeconds"] * probe["failureThreshold"] > waits_s


def test_a_pod_is_given_the_time_to_drain(rendered: Render) -> None:
    for role in rendered.roles():
        spec = rendered.pod(role)
        container = spec["containers"][0]
        slept_s = (
            container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        )
        drain_s = float(rendered.env(role)["GPUTEL_DRAIN_DEADLINE_S"])
        assert spec["terminationGracePeriodSeconds"] == slept_s + drain_s + MARGIN_S


def test_the_api_waits_before_it_stops_and_others_where_the_values_say(
    render_of: RenderOf,
) -> None:
    def waits(render: Render) -> dict[str, int]:
        found = {role: render.pod(role)["containers"][0] for role in ROLES}
        return {
            role: container["lifecycle"]["preStop"]["sleep"]["seconds"]
            for role, container in found.items()
            if "lifecycle" in container
        }

    assert waits(render_of()) == {"api": 5}
    seconds = {"mqBroker": 3, "streamer": 1, "collector": 2, "api": 0}
    render = render_of(**{name: {"preStopSeconds": each} for name, each in seconds.items()})
    assert waits(render) == {"broker": 3, "streamer": 1, "collector": 2}


def test_every_pod_keeps_to_the_restricted_standard(rendered: Render) -> None:
    for component, template in rendered.workloads():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert rendered.name == "openshift" or spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        kinds = {key for volume in spec.get("volumes", []) for key in volume if key != "name"}
        allowed = {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        if (component, rendered.name) != ("streamer", "host-path"):
            assert kinds <= allowed
    for name, container in chart_containers(rendered):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_no_pod_gets_variables_of_services(rendered: Render) -> None:
    """GPUTEL_BROKER_PORT of a Service gputel-broker would be taken for the setting."""
    for _, template in rendered.workloads():
        assert template["spec"]["enableServiceLinks"] is False


def test_every_container_asks_for_what_it_needs_and_has_a_memory_limit(rendered: Render) -> None:
    for name, container in chart_containers(rendered):
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), name
        assert "memory" in resources["limits"], name
        for amounts in resources.values():
            for amount in amounts.values():
                assert QUANTITY.fullmatch(str(amount)), name


def test_every_mount_has_its_volume_and_every_volume_its_mount(rendered: Render) -> None:
    claims = {
        claim["metadata"]["name"]: component
        for document in rendered.kind("StatefulSet")
        for claim in document["spec"].get("volumeClaimTemplates", [])
        for component in [document["metadata"]["labels"]["app.kubernetes.io/component"]]
    }
    for component, template in rendered.workloads():
        spec = template["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {name for name, of in claims.items() if of == component}
        mounts = {
            mount["name"]
            for container in spec.get("initContainers", []) + spec["containers"]
            for mount in container.get("volumeMounts", [])
        }
        assert mounts == volumes, component


def test_ports_say_their_protocol(rendered: Render) -> None:
    for _, container in containers(rendered):
        assert all(port["protocol"] == "TCP" for port in container.get("ports", []))
    for service in rendered.kind("Service"):
        assert all(port["protocol"] == "TCP" for port in service["spec"]["ports"])


def test_scheduling_reaches_every_pod(render_of: RenderOf) -> None:
    for component, template in render_of("scheduling").workloads():
        if component == "test":
            continue
        spec = template["spec"]
        assert template["metadata"]["labels"]["team"] == "gpu"
        assert template["metadata"]["annotations"]["note"] == "kept"
        assert spec["nodeSelector"] == {"disk": "fast"}
        assert spec["tolerations"][0]["key"] == "gpu"
        assert spec["affinity"] == {"podAffinity": {}}
        assert spec["priorityClassName"] == "high"
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        if component != "postgres":
            assert "@sha256:" in spec["containers"][0]["image"]


def test_a_new_chart_does_not_restart_the_database(render_of: RenderOf) -> None:
    labels = render_of().one("StatefulSet", "postgres")["spec"]["template"]["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)
