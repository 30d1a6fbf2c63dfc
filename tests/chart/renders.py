"""What the chart is rendered with in the tests, and its documents by kind and name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.chart.tools import ROOT

CHART = ROOT / "charts" / "gputel"
Document = dict[str, Any]

ROLES = ("broker", "streamer", "collector", "api")
_AUTOSCALED = {"enabled": True, "minReplicas": 2, "maxReplicas": 5}
_CASES: dict[str, dict[str, Any]] = {
    "sample": {},
    "minimal": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "topologySpread": {"enabled": False},
        "serviceAccount": {"create": False},
        "auth": {"enabled": False},
        "postgres": {"enabled": False},
        "externalDatabase": {"existingSecret": "my-database"},
    },
    "external-database": {
        "postgres": {"enabled": False},
        "externalDatabase": {
            "existingSecret": "my-database",
            "existingSecretKey": "url",
            "port": 6432,
            "cidrs": ["10.1.0.0/16", "fd00::/64"],
        },
    },
    "own-secrets": {
        "auth": {"existingSecret": "my-tokens"},
        "postgres": {"auth": {"existingSecret": "my-postgres"}},
    },
    "autoscaling": {
        "streamer": {"autoscaling": _AUTOSCALED},
        "collector": {"autoscaling": {**_AUTOSCALED, "queueDepth": {"enabled": True}}},
        "api": {"autoscaling": _AUTOSCALED},
    },
    "brokers": {"mqBroker": {"replicaCount": 3}, "streamer": {"replicaCount": 4}},
    "ingress": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
            "hosts": ["gputel.example", "*.gpu.example"],
            "tls": [{"secretName": "gputel-tls", "hosts": ["gputel.example"]}],
        }
    },
    "monitoring": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True},
        }
    },
    "keda": {"collector": {"keda": {"enabled": True}}},
    "keda-open": {"auth": {"enabled": False}, "collector": {"keda": {"enabled": True}}},
    "journal": {
        "mqBroker": {
            "replicaCount": 2,
            "journal": {"enabled": True, "sync": "interval", "storageClass": "fast"},
        }
    },
    "pvc": {"streamer": {"source": {"type": "pvc", "pvc": {"existingClaim": "telemetry"}}}},
    "host-path": {"streamer": {"source": {"type": "hostPath", "hostPath": {"path": "/srv"}}}},
    "object": {
        "streamer": {
            "source": {
                "type": "object",
                "file": "fleet.csv.gz",
                "object": {
                    "url": "https://objects.example:9443/bucket/fleet.csv.gz?signature=x",
                    "sha256": "ab" * 32,
                    "existingSecret": "my-object",
                },
            }
        }
    },
    "dcgm-exporter": {"streamer": {"source": {"type": "dcgmExporter"}}},
    "dcgm-exporter-autoscaled": {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "mine"},
        "streamer": {
            "source": {"type": "dcgmExporter", "dcgmExporter": {"port": "gpu-metrics"}},
            "autoscaling": _AUTOSCALED,
        },
    },
    "scrape": {
        "streamer": {
            "replicaCount": 2,
            "source": {
                "type": "scrape",
                "scrape": {
                    "scrapeConfigs": [
                        {
                            "job_name": "racks",
                            "scrape_interval": "1s",
                            "sample_limit": 5_000_000,
                            "metrics_keep": "DCGM_FI_(DEV|PROF)_.*",
                            "basic_auth": {"username": "gputel", "password": "<secret> & more"},
                            "static_configs": [
                                {"targets": ["gpu1:9400"], "labels": {"rack": "007"}}
                            ],
                        },
                        *(
                            {
                                "job_name": f"{namespace}-{port}",
                                "kubernetes_endpointslices": {
                                    "namespace": namespace,
                                    "service": "dcgm-exporter",
                                    "port": port,
                                },
                            }
                            for namespace in ("team-a", "team-b")
                            for port in (9400, "metrics")
                        ),
                    ],
                    "ports": [9400, 9100],
                },
            },
        }
    },
    "scheduling": {
        role: {
            "podLabels": {"team": "gpu"},
            "podAnnotations": {"note": "kept"},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"podAffinity": {}},
            "priorityClassName": "high",
        }
        for role in ("mqBroker", "streamer", "collector", "api", "postgres")
    }
    | {"image": {"pullSecrets": ["registry"], "digest": "sha256:" + "0" * 64}},
    "tls": {
        "tls": {"enabled": True, "existingSecret": "my-certificate"},
        "monitoring": {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "alertLabels": {"team": "gpu"},
                "disabled": ["GputelRowsRejected"],
                "additionalRules": [{"alert": "Own", "expr": "vector(1)"}],
            },
        },
        "collector": {"keda": {"enabled": True}},
    },
    "tls-brokers": {
        "tls": {"enabled": True, "existingSecret": "my-certificate", "caKey": ""},
        "mqBroker": {"replicaCount": 3},
    },
    "backup": {"postgres": {"backup": {"enabled": True, "timeZone": "Europe/Berlin", "keep": 2}}},
    "own-backup-disk": {
        "postgres": {"backup": {"enabled": True, "storage": {"existingClaim": "dumps"}}}
    },
    "openshift": {
        "global": {"compatibility": {"openshift": {"adaptSecurityContext": "force"}}},
        "postgres": {"backup": {"enabled": True}},
    },
    "extras": {
        "global": {"imageRegistry": "registry.example", "imagePullSecrets": [{"name": "pull"}]},
        "commonLabels": {"team": "gpu", "app.kubernetes.io/component": "not-ours"},
        "commonAnnotations": {"contact": "gpu@example"},
        "podLabels": {"tier": "telemetry", "gputel/metrics": "no"},
        "extraEnv": [
            {"name": "GPUTEL_LOG_LEVEL", "value": "debug"},
            {"name": "RELEASE", "value": "{{ .Release.Name }}"},
        ],
        "extraEnvFrom": [{"configMapRef": {"name": "everyone"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "{{ .Release.Name }}-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": "{{ .Release.Name }}-ca",
                    "labels": {"app.kubernetes.io/component": "extra"},
                },
                "data": {"ca.crt": "x"},
            },
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: text\n"
            "  labels:\n    app.kubernetes.io/component: text\n",
        ],
        "postgres": {
            "extraEnv": [{"name": "LANG", "value": "C.UTF-8"}],
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        },
    }
    | {
        role: {
            "podSecurityContext": {"runAsUser": 2000, "fsGroup": None},
            "securityContext": {"capabilities": {"drop": ["ALL"]}},
            "extraEnv": [{"name": "RELEASE", "value": "own"}],
            "extraEnvFrom": [{"secretRef": {"name": "own"}}],
            "extraVolumes": [{"name": "own", "secret": {"secretName": "own"}}],
            "extraVolumeMounts": [{"name": "own", "mountPath": "/etc/own"}],
            "initContainers": [{"name": "first", "image": "busybox:1", "command": ["true"]}],
            "sidecars": [{"name": "beside", "image": "busybox:1", "command": ["sleep", "9d"]}],
        }
        for role in ("mqBroker", "streamer", "collector", "api")
    },
    "knobs": {
        "drainDeadlineSeconds": 300,
        "logLevel": "debug",
        "logFormat": "text",
        "mqBroker": {
            "queueCapacity": 5_000_000,
            "queueBytes": 8 << 30,
            "visibilityTimeoutSeconds": 2.5,
            "extraEnv": [{"name": "GPUTEL_MAX_QUEUES", "value": "10"}],
            "resources": {"limits": {"memory": "12Gi"}},
        },
        "streamer": {"rate": 0, "loop": False, "timestamps": "source", "streamId": "nightly"},
        "collector": {"workers": 8, "retention": "30d", "rollupRetention": "365d"},
        "api": {"service": {"type": "NodePort", "port": 80, "nodePort": 30080}},
        "database": {"poolSize": 20, "waitSeconds": 600},
        "networkPolicy": {
            "clientNamespaces": ["producers"],
            "apiFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        },
        "postgres": {
            "port": 6543,
            "database": "telemetry",
            "username": "größe @:/",
            "config": {"max_connections": 200, "jit": False, "work_mem": 5_000_000},
        },
    },
}
_SAMPLE: dict[str, Any] = {"streamer": {"source": {"type": "sample"}}}


def with_sample(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with the sample as the source unless they name another one."""
    return merged(_SAMPLE, values)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values over others, as helm merges them."""
    mixed = dict(below)
    for key, value in above.items():
        inner = mixed.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        mixed[key] = merged(inner, value) if both and inner else value
    return mixed


MATRIX = {name: with_sample(values) for name, values in _CASES.items()} | {"no-source": {}}
"""Values by the name of a case; with the default values no streamer runs."""
LONG = "a-release-name-as-long-as-helm-allows-it-to-be-0123456"  # 53 characters and one is too many
LONG = LONG[:53]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # written in C, where it was built


@dataclass(frozen=True)
class Render:
    """The documents of one ``helm template``."""

    name: str
    text: str

    @cached_property
    def documents(self) -> list[Document]:
        """All that is not empty, in helm's order."""
        return [document for document in yaml.load_all(self.text, Loader=_LOADER) if document]

    def kind(self, kind: str) -> list[Document]:
        """The documents of a kind."""
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, component: str) -> Document:
        """The only document of a kind and component."""
        (found,) = [d for d in self.kind(kind) if component_of(d) == component]
        return found

    def workloads(self) -> Iterator[tuple[str, Document]]:
        """What has a pod template: its component, and the template; the test's pod is one too."""
        for document in self.documents:
            if document["kind"] in ("Deployment", "StatefulSet"):
                yield component_of(document), document["spec"]["template"]
            elif document["kind"] == "CronJob":
                template = document["spec"]["jobTemplate"]["spec"]["template"]
                yield component_of(document), template
            elif document["kind"] == "Pod":
                yield component_of(document), document

    def roles(self) -> tuple[str, ...]:
        """The roles that have pods."""
        there = {component for component, _ in self.workloads()}
        return tuple(role for role in ROLES if role in there)

    def pod(self, component: str) -> Document:
        """The pod spec of a component."""
        return dict(self.workloads())[component]["spec"]

    def container(self, component: str) -> Document:
        """A component's own container; sidecars come after it."""
        found: Document = self.pod(component)["containers"][0]
        return found

    def env(self, component: str) -> dict[str, Any]:
        """The variables of a component's container: the text, or where it comes from."""
        container = self.container(component)
        return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def component_of(document: Mapping[str, Any]) -> str:
    """The component that a document says it is of."""
    return str(document["metadata"]["labels"]["app.kubernetes.io/component"])


def run_helm(helm: Path, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """What helm prints. Raises HelmError with what it says."""
    command = [str(helm), *arguments, *(["-f", "-"] if values else [])]
    text = json.dumps(dict(values or {}))  # as YAML, but 1e3 and y stay text
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise HelmError(done.stderr or done.stdout)
    return done.stdout


class HelmError(Exception):
    """helm refused; the message is what it says."""
