"""Security contexts: by values, null takes a key away, and OpenShift chooses its own users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import RenderOf
from tests.chart.renders import CHART, Render, run_helm

FIXED = {"runAsUser", "runAsGroup", "fsGroup"}


def contexts(render: Render) -> dict[str, dict[str, Any]]:
    return {component: t["spec"]["securityContext"] for component, t in render.workloads()}


def test_null_takes_a_key_away(each_helm: Path) -> None:
    flags = [f"--set={pod}.{key}=null" for key in FIXED for pod in ("podSecurityContext",)]
    flags += [f"--set=postgres.podSecurityContext.{key}=null" for key in FIXED]
    flags += ["--set=securityContext.readOnlyRootFilesystem=null"]
    render = Render("null", run_helm(each_helm, "template", "rel", str(CHART), *flags))
    for context in contexts(render).values():
        assert not FIXED & set(context)
        assert context["runAsNonRoot"] is True
    assert "readOnlyRootFilesystem" not in render.container("api")["securityContext"]


def test_a_role_s_own_is_laid_over_that_of_all(render_of: RenderOf) -> None:
    context = contexts(render_of("extras"))["api"]
    assert context["runAsUser"] == 2000
    assert "fsGroup" not in context, "null"
    assert context["runAsGroup"] == 10001
    render = render_of(
        api={"securityContext": {"readOnlyRootFilesystem": False, "capabilities": None}}
    )
    assert render.container("api")["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": False,
    }
    assert render.container("broker")["securityContext"]["readOnlyRootFilesystem"] is True


def test_nothing_is_said_where_every_key_is_null(render_of: RenderOf) -> None:
    nothing = dict.fromkeys(contexts(render_of())["api"])
    spec = render_of(api={"podSecurityContext": nothing}).pod("api")
    assert "securityContext" not in spec


@pytest.mark.parametrize(
    ("mode", "api", "adapted"),
    [
        ("auto", "security.openshift.io/v1", True),
        ("auto", "apps/v1", False),
        ("force", "apps/v1", True),
        ("disabled", "security.openshift.io/v1", False),
    ],
)
def test_openshift_chooses_the_users(each_helm: Path, mode: str, api: str, adapted: bool) -> None:
    name = "global.compatibility.openshift.adaptSecurityContext"
    flags = ("--api-versions", api, "--set", f"{name}={mode}")
    render = Render(mode, run_helm(each_helm, "template", "rel", str(CHART), *flags))
    for context in contexts(render).values():
        assert set(context) & FIXED == (set() if adapted else FIXED)


def test_a_file_of_a_secret_can_be_read_whoever_the_user_is(render_of: RenderOf) -> None:
    def mode(render: Render) -> int:
        (volume,) = [v for v in render.pod("api")["volumes"] if v["name"] == "tokens"]
        return int(volume["secret"]["defaultMode"])

    assert mode(render_of()) == 0o440, "the group of the pod"
    assert mode(render_of("openshift")) == 0o444
