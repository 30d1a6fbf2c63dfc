"""The chart in the hands of helm itself: lint, package, and what it refuses."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import gputel
from tests.chart.renders import CHART, MATRIX, HelmError, Render, run_helm


def test_lint_finds_nothing_in_any_row_of_the_matrix(each_helm: Path, case: str) -> None:
    run_helm(each_helm, "lint", "--strict", str(CHART), values=MATRIX[case])


def test_both_helms_render_the_same(each_helm: Path, rendered: Render, case: str) -> None:
    text = run_helm(each_helm, "template", "rel", str(CHART), values=MATRIX[case])

    def told(render: Render) -> list[dict[str, Any]]:
        kept = [d for d in render.documents if d["kind"] != "Secret"]  # made anew in each render
        return sorted(kept, key=lambda d: (d["kind"], d["metadata"]["name"]))

    assert told(Render(case, text)) == told(rendered)


def test_the_package_has_all_that_the_chart_needs(each_helm: Path, tmp_path: Path) -> None:
    run_helm(each_helm, "package", str(CHART), "-d", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = set(archive.getnames())
    wanted = {f"gputel/{path.relative_to(CHART)}" for path in CHART.rglob("*") if path.is_file()}
    assert names == wanted
    assert run_helm(each_helm, "template", "rel", str(package))


def test_the_chart_deploys_this_gputel() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == gputel.__version__


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no-database": (
        {"postgres": {"enabled": False}},
        "externalDatabase.existingSecret: name the Secret with the DSN of your database",
    ),
    "no-claim": ({"streamer": {"source": {"type": "pvc"}}}, "pvc.existingClaim: name the claim"),
    "no-path": ({"streamer": {"source": {"type": "hostPath"}}}, "hostPath.path: name the nodes'"),
    "no-url": ({"streamer": {"source": {"type": "object"}}}, "object.url: say where the file"),
    "no-hosts": ({"ingress": {"enabled": True}}, "ingress.hosts: name at least one host"),
    "two-scalers": (
        {"collector": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}},
        "choose autoscaling or keda",
    ),
    "api-replicas": (
        {"api": {"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}},
        "api.autoscaling: minReplicas is more than maxReplicas",
    ),
    "queue-over-memory": (
        {"mqBroker": {"queueBytes": 1 << 30}},
        r"mqBroker.queueBytes: 1073741824 bytes need a memory limit of at least 18\d\dMi",
    ),
    "little-memory": (
        {"mqBroker": {"resources": {"limits": {"memory": "512M"}}}},
        r"mqBroker.resources.limits.memory is 512M: raise that, or lower queueBytes",
    ),
    "request-over-limit": (
        {"api": {"resources": {"requests": {"memory": "4Gi"}}}},
        r"api.resources: the request of memory \(4Gi\) is more than its limit \(2Gi\)",
    ),
    "cpu-over-limit": (
        {"collector": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "500m"}}}},
        r"collector.resources: the request of cpu \(2\) is more than its limit \(500m\)",
    ),
    "none-to-scale": (
        {"api": {"replicaCount": 0, "autoscaling": {"enabled": True}}},
        "api.replicaCount is 0, but api.autoscaling is enabled",
    ),
    "none-for-keda": (
        {"collector": {"replicaCount": 0, "keda": {"enabled": True}}},
        "collector.replicaCount is 0, but collector.keda is enabled",
    ),
    "no-cpu-to-scale-by": (
        {
            "streamer": {
                "source": {"type": "sample"},
                "autoscaling": {"enabled": True},
                "resources": {"requests": {"cpu": None}},
            }
        },
        "set streamer.resources.requests.cpu",
    ),
    "depth-without-scaler": (
        {"collector": {"autoscaling": {"queueDepth": {"enabled": True}}}},
        "queueDepth is enabled, but collector.autoscaling is not",
    ),
    "two-databases": (
        {"externalDatabase": {"existingSecret": "mine"}},
        "externalDatabase.existingSecret is set, but postgres.enabled is true",
    ),
    "backup-of-another": (
        {
            "postgres": {"enabled": False, "backup": {"enabled": True}},
            "externalDatabase": {"existingSecret": "mine"},
        },
        "postgres.backup: it dumps the chart's own database",
    ),
    "no-certificate": ({"tls": {"enabled": True}}, "tls.existingSecret: name the Secret"),
    "node-port": (
        {"api": {"service": {"nodePort": 30080}}},
        "api.service.nodePort: a Service of type ClusterIP has none",
    ),
    "alerts-on-nothing": (
        {"monitoring": {"prometheusRule": {"enabled": True}}},
        "monitoring.prometheusRule: .* enable both",
    ),
    "times-of-a-loop": (
        {"streamer": {"source": {"type": "sample"}, "timestamps": "source"}},
        "streamer: timestamps is source, but it loops",
    ),
    "none-that-scales": (
        {"streamer": {"replicaCount": 4}},
        "streamer.source.type is none, so no streamer runs that could be scaled",
    ),
    "no-jobs": (
        {"streamer": {"source": {"type": "scrape"}}},
        "streamer.source.scrape.scrapeConfigs: write at least one job",
    ),
    "loop-of-scrapes": (
        {"streamer": {"source": {"type": "dcgmExporter"}, "loop": True}},
        "streamer.loop is for files, and streamer.source.type is dcgmExporter",
    ),
    "discovery-as-everyone": (
        {
            "streamer": {"source": {"type": "dcgmExporter"}},
            "serviceAccount": {"create": False},
        },
        "serviceAccount: streamers that find exporters by Kubernetes",
    ),
    "no-such-volume": (
        {"api": {"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}},
        "api: extraVolumeMounts mounts ca, and no volume has that name",
    ),
    "two-mounts-at-a-place": (
        {
            "extraVolumes": [{"name": "own", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "own", "mountPath": "/data/"}],
        },
        "two volumes are mounted at /data/",
    ),
    "two-containers-of-a-name": (
        {"api": {"sidecars": [{"name": "api", "image": "a:1"}]}},
        "api: two containers are called api",
    ),
    "two-volumes-of-a-name": (
        {"extraVolumes": [{"name": "tokens", "emptyDir": {}}]},
        "two volumes are called tokens",
    ),
    "keda-replicas": (
        {"collector": {"keda": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}},
        "collector.keda: minReplicas is more than maxReplicas",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_be_named_is_asked_for_by_its_name(each_helm: Path, name: str) -> None:
    values, message = REFUSED[name]
    with pytest.raises(HelmError, match=message):
        run_helm(each_helm, "template", "rel", str(CHART), values=values)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-key": ({"streamer": {"replicas": 2}}, "replicas"),
    "unknown-section": ({"broker": {"replicaCount": 2}}, "broker"),
    "enum": ({"streamer": {"source": {"type": "s3"}}}, "type"),
    "port-of-exporters": (
        {"streamer": {"source": {"dcgmExporter": {"port": 0}}}},
        "port",
    ),
    "interval": ({"streamer": {"source": {"dcgmExporter": {"interval": "15"}}}}, "interval"),
    "job-without-a-name": (
        {"streamer": {"source": {"scrape": {"scrapeConfigs": [{"static_configs": []}]}}}},
        "job_name",
    ),
    "log-level": ({"logLevel": "verbose"}, "logLevel"),
    "too-many": ({"collector": {"workers": 65}}, "workers"),
    "negative": ({"streamer": {"rate": -1}}, "rate"),
    "no-integer": ({"mqBroker": {"replicaCount": 1.5}}, "replicaCount"),
    "text-for-a-number": ({"api": {"replicaCount": "two"}}, "replicaCount"),
    "quantity": ({"postgres": {"storage": {"size": "20 GB"}}}, "size"),
    "memory": ({"api": {"resources": {"limits": {"memory": "1Gb"}}}}, "memory"),
    "port": ({"api": {"service": {"port": 70000}}}, "port"),
    "span": ({"collector": {"retention": "30 days"}}, "retention"),
    "secret-name": ({"auth": {"existingSecret": "My_Tokens"}}, "existingSecret"),
    "cidr": ({"externalDatabase": {"cidrs": ["10.0.0.0"]}}, "cidrs"),
    "cidr-range": ({"externalDatabase": {"cidrs": ["10.0.0.0/33"]}}, "cidrs"),
    "cidr-number": ({"externalDatabase": {"cidrs": ["10.0.0.256/8"]}}, "cidrs"),
    "url": ({"streamer": {"source": {"object": {"url": "s3://bucket/x"}}}}, "url"),
    "sha256": ({"streamer": {"source": {"object": {"sha256": "abc"}}}}, "sha256"),
    "host": ({"ingress": {"hosts": ["https://gputel.example"]}}, "hosts"),
    "label": ({"commonLabels": {"team": "a b"}}, "team"),
    "label-name": ({"api": {"podLabels": {"a b": "c"}}}, "podLabels|a b"),
    "long-label": ({"podLabels": {"team": "x" * 64}}, "team"),
    "env-of-two": (
        {"extraEnv": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {}}}]},
        "extraEnv",
    ),
    "env-of-none": ({"extraEnv": [{"name": "A"}]}, "extraEnv"),
    "env-number": ({"api": {"extraEnv": [{"name": "A", "value": 1}]}}, "extraEnv"),
    "mount": ({"extraVolumeMounts": [{"name": "a"}]}, "mountPath"),
    "container": ({"api": {"sidecars": [{"name": "a"}]}}, "image"),
    "tag-number": ({"image": {"tag": 1234567}}, "tag"),
    "schedule": ({"postgres": {"backup": {"schedule": "3 am"}}}, "schedule"),
    "registry": ({"global": {"imageRegistry": "https://registry.example"}}, "imageRegistry"),
    "env": ({"api": {"extraEnv": [{"name": "A-B", "value": "1"}]}}, "extraEnv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_by_its_name(each_helm: Path, name: str) -> None:
    values, key = WRONG[name]
    with pytest.raises(HelmError, match=f"(?s)values don't meet the specifications.*({key})"):
        run_helm(each_helm, "template", "rel", str(CHART), values=values)


def test_values_yaml_says_of_every_key_what_it_is() -> None:
    """By a comment above it, or behind it."""
    bare, above = [], ""
    for number, line in enumerate((CHART / "values.yaml").read_text().splitlines(), 1):
        key = re.match(r"\s*[\w\"]+:", line)
        if key and "  # " not in line and not above.lstrip().startswith("#"):
            bare.append(f"{number}: {line}")
        above = line
    assert bare == []
