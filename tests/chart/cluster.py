"""The little of a Kubernetes API that helm's ``lookup`` and ``kubectl get secret`` ask for."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.chart.renders import Document

_KINDS = {
    "v1": ("Secret", "Service", "ServiceAccount", "ConfigMap", "Pod"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "rbac.authorization.k8s.io/v1": ("Role", "RoleBinding"),
}
_PLURALS = {"NetworkPolicy": "networkpolicies"}


def _resources(version: str) -> Document:
    """What a version of the API has, as kubectl and helm discover it."""
    kinds = [
        {"name": _PLURALS.get(kind, f"{kind.lower()}s"), "kind": kind, "namespaced": True}
        for kind in _KINDS[version]
    ]
    resources = [{**kind, "singularName": "", "verbs": ["get", "list"]} for kind in kinds]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


def _group(version: str) -> Document:
    preferred = {"groupVersion": version, "version": "v1"}
    name = version.partition("/")[0]
    return {"name": name, "versions": [preferred], "preferredVersion": preferred}


_GROUPS = [version for version in _KINDS if "/" in version]
_DISCOVERY: dict[str, Document] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [*map(_group, _GROUPS)]},
    "/api/v1": _resources("v1"),
    **{f"/apis/{version}": _resources(version) for version in _GROUPS},
}


class Cluster:
    """Secrets, as they are after someone applied them."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], Document] = {}

    def apply(self, document: Document) -> None:
        """Store a Secret as helm and the API server do: marked as its release's, and as data."""
        given = document.get("stringData", {})
        data = {key: base64.b64encode(text.encode()).decode() for key, text in given.items()}
        owner = {"release-name": "rel", "release-namespace": document["metadata"]["namespace"]}
        annotations = {f"meta.helm.sh/{name}": text for name, text in owner.items()}
        metadata = {**document["metadata"], "annotations": annotations}
        stored = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        self.secrets[metadata["namespace"], metadata["name"]] = stored

    def answer(self, target: str) -> Document | None:
        """What a GET is answered with; None when there is no such thing."""
        url = urlsplit(target)
        if url.path in _DISCOVERY:
            return _DISCOVERY[url.path]
        match url.path.strip("/").split("/"):
            case ["api", "v1", "namespaces", namespace, "secrets", name]:
                return self.secrets.get((namespace, name))
            case ["api", "v1", "namespaces", namespace, "secrets"]:
                selector = parse_qs(url.query).get("labelSelector", [""])[0]
                items = [
                    secret
                    for (place, _), secret in self.secrets.items()
                    if place == namespace and _matches(secret, selector)
                ]
                return {"kind": "SecretList", "apiVersion": "v1", "items": items}
        return None


def _matches(secret: Document, selector: str) -> bool:
    labels = secret["metadata"]["labels"]
    pairs = [pair.split("=") for pair in selector.split(",") if pair]
    return all(labels.get(name) == value for name, value in pairs)


@contextmanager
def serving(cluster: Cluster, kubeconfig: Path, context: str = "test") -> Iterator[None]:
    """Serve the cluster on loopback, and write how to reach it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = cluster.answer(self.path)
            missing: dict[str, Any] = {"kind": "Status", "status": "Failure", "code": 404}
            body = json.dumps(answer or {**missing, "reason": "NotFound"}).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(server.server_address[1], context)))
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _kubeconfig(port: int, context: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
    }
