"""``make quickstart-deploy`` and its steps, as far as a machine without Docker can tell.

docker, kind and kubectl are stand-ins that write down how they were called. helm writes it down
too, and then the real one renders what it would have installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import gputel
from tests.chart.cluster import Cluster, serving
from tests.chart.conftest import RenderOf
from tests.chart.renders import Render
from tests.chart.tools import ROOT

IMAGE = f"gputel:{gputel.__version__}"
_SHELL = ("make", "sh", "bash", "sed", "grep", "cat", "awk", "echo")
_RECORD = 'printf "%s" "${0##*/}" >> "$CALLS"; printf " %s" "$@" >> "$CALLS"; echo >> "$CALLS"'
_STAND_INS = {
    "docker": 'case "$1 $2" in "image inspect") echo sha256:f00d;; esac',
    "kind": 'case "$1 $2" in "get clusters") cat "$CLUSTERS";; esac',
    "kubectl": 'case "$*" in *"get service"*) echo service/gputel-api;; esac',
    "helm": r"""
for word in "$@"; do case "$word" in
  upgrade) set -- "$@" template;;
  --install) ;;
  --reset-then-reuse-values) set -- "$@" --values "$INSTALLED";;
  *) set -- "$@" "$word";;
esac; shift; done
exec "$REAL_HELM" "$@" >> "$RENDERED"
""",
}


@dataclass
class Laptop:
    """A machine with the programs named, and make's targets on it."""

    folder: Path
    helm: Path

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.clusters = self.folder / "clusters"
        self.clusters.write_text("")
        self.installed = self.folder / "installed.yaml"
        self.installed.write_text("")
        for program in _SHELL:
            (self.bin / program).symlink_to(shutil.which(program) or program)
        for program, behaviour in _STAND_INS.items():
            path = self.bin / program
            path.write_text(f"#!/bin/sh\n{_RECORD}\n{behaviour}\n")
            path.chmod(0o755)

    def without(self, *programs: str) -> None:
        """Take programs away."""
        for program in programs:
            (self.bin / program).unlink()

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run make; nothing of the environment but what the stand-ins need."""
        names = {"CALLS": "calls", "RENDERED": "rendered", "CLUSTERS": "clusters"}
        env = {name: str(self.folder / file) for name, file in names.items()}
        env["INSTALLED"] = str(self.installed)
        env |= {"PATH": str(self.bin), "HOME": str(self.folder), "REAL_HELM": str(self.helm)}
        command = [str(self.bin / "make"), "--no-print-directory", *words]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)

    @property
    def calls(self) -> list[str]:
        """How the stand-ins were called, in order; asking whether Docker runs is left out."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line not in ("docker info", "kind get clusters")]

    @property
    def rendered(self) -> Render:
        """What helm rendered."""
        return Render("quickstart", (self.folder / "rendered").read_text())


@pytest.fixture
def laptop(tmp_path: Path, helm: Path) -> Laptop:
    return Laptop(tmp_path, helm)


def test_quickstart_makes_a_cluster_builds_loads_installs_and_says_where_it_is(
    laptop: Laptop,
) -> None:
    done = laptop.make("quickstart-deploy")
    assert done.returncode == 0, done.stderr
    cluster, build, load, inspect, install = laptop.calls
    assert cluster == "kind create cluster --name gpu --wait 120s"
    assert re.fullmatch(rf"docker build --build-arg REVISION=[0-9a-f]* -t {IMAGE} \.", build)
    assert load == f"kind load docker-image {IMAGE} --name gpu"
    assert inspect.endswith(IMAGE)
    assert install.startswith("helm --kube-context kind-gpu --namespace gputel upgrade --install")
    assert "--wait --timeout 10m" in install
    assert "http://localhost:8080/swagger" in done.stdout


def test_what_is_installed_is_the_image_that_was_built_and_loaded(laptop: Laptop) -> None:
    assert laptop.make("quickstart-deploy").returncode == 0
    for role in ("broker", "streamer", "collector", "api"):
        (container,) = laptop.rendered.pod(role)["containers"]
        assert container["image"] == IMAGE
        assert container["imagePullPolicy"] == "IfNotPresent"
        annotations = dict(laptop.rendered.workloads())[role]["metadata"]["annotations"]
        assert annotations["build"] == "sha256:f00d", "another image must restart the pods"
    assert {d["metadata"]["namespace"] for d in laptop.rendered.documents} == {"gputel"}


def test_a_second_time_keeps_the_cluster(laptop: Laptop) -> None:
    laptop.clusters.write_text("other\ngpu\n")
    assert laptop.make("quickstart-deploy").returncode == 0
    assert not [call for call in laptop.calls if call.startswith("kind create")]


def test_a_cluster_of_a_longer_name_is_another_one(laptop: Laptop) -> None:
    laptop.clusters.write_text("gpu-2\n")
    assert laptop.make("kind-up").returncode == 0
    assert laptop.calls == ["kind create cluster --name gpu --wait 120s"]


def test_a_step_that_fails_stops_the_rest(laptop: Laptop) -> None:
    (laptop.bin / "docker").write_text('#!/bin/sh\n[ "$1" != build ]\n')
    done = laptop.make("quickstart-deploy")
    assert done.returncode != 0
    assert not [call for call in laptop.calls if "load" in call or call.startswith("helm")]
    assert "It runs" not in done.stdout


@pytest.mark.parametrize(
    ("target", "tools"),
    {
        "quickstart-deploy": ("docker", "kind", "kubectl", "helm"),
        "quickstart-clean": ("docker", "kind"),
        "kind-up": ("docker", "kind"),
        "kind-down": ("docker", "kind"),
        "build-image": ("docker",),
        "load-image": ("docker", "kind"),
        "helm-deploy": ("helm", "kubectl"),
        "scale": ("helm",),
        "logs": ("kubectl",),
        "port-forward": ("kubectl",),
        "token": ("kubectl",),
    }.items(),
)
def test_a_target_says_which_tools_are_missing_and_how_to_get_them(
    laptop: Laptop, target: str, tools: tuple[str, ...]
) -> None:
    laptop.without(*tools)
    done = laptop.make(target)
    assert done.returncode != 0
    for tool in tools:
        assert f"{tool} is needed and not on your PATH: https://" in done.stdout
    assert laptop.calls == []


def test_docker_that_does_not_run_is_told_from_docker_that_is_missing(laptop: Laptop) -> None:
    (laptop.bin / "docker").write_text("#!/bin/sh\nexit 1\n")
    for target in ("quickstart-deploy", "kind-up", "build-image"):
        done = laptop.make(target)
        assert done.returncode != 0
        assert "start Docker, then try again" in done.stdout


def test_the_quickstart_has_the_sample_as_its_source_and_a_later_step_keeps_the_source(
    laptop: Laptop,
) -> None:
    assert laptop.make("quickstart-deploy").returncode == 0
    assert laptop.rendered.env("streamer")["GPUTEL_LOOP"] == "true"
    assert laptop.make("helm-deploy").returncode == 0
    assert "streamer.source" not in laptop.calls[-1]
    assert laptop.make("helm-deploy", "SOURCE=dcgmExporter").returncode == 0
    assert "--set streamer.source.type=dcgmExporter" in laptop.calls[-1]


def test_scale_changes_only_what_is_named(laptop: Laptop) -> None:
    laptop.installed.write_text("streamer: {source: {type: sample}}")
    assert laptop.make("scale", "STREAMERS=4", "COLLECTORS=3").returncode == 0
    (call,) = laptop.calls
    assert "--reset-then-reuse-values" in call
    assert "mqBroker" not in call
    sizes = {
        d["metadata"]["name"]: d["spec"]["replicas"] for d in laptop.rendered.kind("Deployment")
    }
    assert sizes == {"gputel-streamer": 4, "gputel-collector": 3, "gputel-api": 1}


def test_scale_without_a_number_says_what_it_takes(laptop: Laptop) -> None:
    done = laptop.make("scale")
    assert done.returncode != 0
    assert "make scale STREAMERS=4 COLLECTORS=4" in done.stdout
    assert laptop.calls == []


def test_a_wrong_number_is_refused_by_the_chart(laptop: Laptop) -> None:
    done = laptop.make("scale", "STREAMERS=many")
    assert done.returncode != 0
    assert "replicaCount" in done.stderr


def test_another_cluster_and_image_are_named_by_variables(laptop: Laptop) -> None:
    words = ("CONTEXT=prod", "NAMESPACE=telemetry", "IMAGE=registry.example:5000/team/gputel:1.2")
    done = laptop.make("helm-deploy", *words, "HELM_ARGS=--set api.replicaCount=2")
    assert done.returncode == 0, done.stderr
    assert "--kube-context prod --namespace telemetry" in laptop.calls[-1]
    (container,) = laptop.rendered.pod("api")["containers"]
    assert container["image"] == "registry.example:5000/team/gputel:1.2"
    assert laptop.rendered.one("Deployment", "api")["spec"]["replicas"] == 2


def test_logs_are_of_all_pods_or_of_a_role(laptop: Laptop) -> None:
    assert laptop.make("logs").returncode == 0
    assert laptop.make("logs", "ROLE=api").returncode == 0
    everything, api = laptop.calls
    assert "--selector app.kubernetes.io/instance=gputel --prefix" in everything
    assert "instance=gputel,app.kubernetes.io/component=api --prefix" in api
    assert everything.endswith("--follow")


def test_port_forward_leads_to_the_service_of_the_api(laptop: Laptop) -> None:
    assert laptop.make("port-forward", "PORT=9999").returncode == 0
    assert laptop.calls[-1].endswith("port-forward service/gputel-api 9999:http")


def test_clean_deletes_the_cluster(laptop: Laptop) -> None:
    assert laptop.make("quickstart-clean").returncode == 0
    assert laptop.calls == ["kind delete cluster --name gpu"]


def test_help_lists_every_target(laptop: Laptop) -> None:
    listed = laptop.make("help").stdout
    for target in ("quickstart-deploy", "scale", "port-forward", "test-chart", "run"):
        assert f"make {target}" in listed


def test_token_prints_the_token_that_reads(laptop: Laptop, render_of: RenderOf) -> None:
    """By the real kubectl, on the Secret that the chart makes."""
    kubectl = laptop.helm.with_name("kubectl")
    if not kubectl.exists():
        pytest.skip("no kubectl beside the helm that is used")
    secret = render_of(release="gputel").one("Secret", "tokens")
    secret["metadata"]["namespace"] = "gputel"
    cluster = Cluster()
    cluster.apply(secret)
    laptop.without("kubectl")
    (laptop.bin / "kubectl").symlink_to(kubectl)
    (laptop.folder / ".kube").mkdir()
    with serving(cluster, laptop.folder / ".kube" / "config", "kind-gpu"):
        done = laptop.make("token")
    assert done.stdout.strip() == secret["stringData"]["read"], done.stderr
