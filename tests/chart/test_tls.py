"""TLS between the roles: one certificate for all, https everywhere, the authority believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chart.conftest import RenderOf
from tests.chart.renders import ROLES, Render

FOLDER = "/etc/gputel/tls"


@pytest.fixture
def tls(render_of: RenderOf) -> Render:
    return render_of("tls")


def shown(render: Render, component: str) -> dict[str, str]:
    """The files of the certificate's volume, by the Secret's key."""
    (volume,) = [v for v in render.pod(component)["volumes"] if v["name"] == "tls"]
    assert volume["secret"]["secretName"] == "my-certificate"
    return {item["key"]: item["path"] for item in volume["secret"]["items"]}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_the_certificate_and_its_key(tls: Render, role: str) -> None:
    env = tls.env(role)
    assert env["GPUTEL_TLS_CERT"] == f"{FOLDER}/tls.crt"
    assert env["GPUTEL_TLS_KEY"] == f"{FOLDER}/tls.key"
    assert shown(tls, role) == {"tls.crt": "tls.crt", "tls.key": "tls.key", "ca.crt": "ca.crt"}
    mounts = {m["name"]: m["mountPath"] for m in tls.container(role)["volumeMounts"]}
    assert mounts["tls"] == FOLDER


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_as_the_server_answers(render_of: RenderOf, tls: Render, role: str) -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert tls.container(role)[probe]["httpGet"]["scheme"] == "HTTPS"
        assert render_of().container(role)[probe]["httpGet"]["scheme"] == "HTTP"


@pytest.mark.parametrize("client", ["streamer", "collector", "api", "test"])
def test_clients_talk_https_and_believe_the_authority(tls: Render, client: str) -> None:
    env = tls.env(client)
    url = env["GPUTEL_API_URL"] if client == "test" else env["GPUTEL_BROKER_URL"]
    assert url.startswith("https://")
    assert env["SSL_CERT_FILE"] == f"{FOLDER}/ca.crt"


def test_the_test_does_not_see_the_key(tls: Render) -> None:
    assert shown(tls, "test") == {"ca.crt": "ca.crt"}


def test_several_brokers_are_named_since_a_certificate_is_for_names(render_of: RenderOf) -> None:
    render = render_of("tls-brokers")
    service = render.one("Service", "broker")["metadata"]["name"]
    pods = [f"{render.one('StatefulSet', 'broker')['metadata']['name']}-{n}" for n in range(3)]
    urls = render.env("collector")["GPUTEL_BROKER_URL"].split(",")
    assert urls == [f"https://{pod}.{service}:8081" for pod in pods]


def test_an_authority_of_the_system_needs_no_file(render_of: RenderOf) -> None:
    render = render_of("tls-brokers")
    assert "SSL_CERT_FILE" not in render.env("api")
    assert set(shown(render, "api")) == {"tls.crt", "tls.key"}
    assert "tls" not in [volume["name"] for volume in render.pod("test")["volumes"]]


def test_who_scrapes_asks_over_https(tls: Render) -> None:
    (monitor,) = tls.kind("ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["serverName"] == tls.one("Service", "api")["metadata"]["name"]
    assert endpoint["tlsConfig"]["ca"]["secret"] == {"name": "my-certificate", "key": "ca.crt"}
    (scaled,) = tls.kind("ScaledObject")
    assert scaled["spec"]["triggers"][0]["metadata"]["url"].startswith("https://")


def test_nothing_of_it_is_there_without(render_of: RenderOf) -> None:
    def mentions(value: Any, check: Callable[[str], bool]) -> bool:
        if isinstance(value, dict):
            return any(mentions(item, check) for pair in value.items() for item in pair)
        if isinstance(value, list):
            return any(mentions(item, check) for item in value)
        return isinstance(value, str) and check(value)

    documents = [d for d in render_of("monitoring").documents if d["kind"] != "ConfigMap"]
    assert not mentions(documents, lambda text: "https" in text or "/tls" in text)
