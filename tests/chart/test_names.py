"""Text that YAML takes for something else stays text: 1e3, 123, true, on, null."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import RenderOf
from tests.chart.renders import CHART, MATRIX, Render, run_helm

ODD = ("1234", "1e3", "0x1f", "true", "on", "null", "0b11", "y")
CASES = (
    "sample",
    "dcgm-exporter",
    "extras",
    "tls",
    "backup",
    "journal",
    "object",
    "keda",
    "ingress",
)


def texts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Values that Kubernetes wants as text, wherever they are: each with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            assert isinstance(key, str), f"{path}: {key!r}"
            here = f"{path}.{key}"
            maps = ("labels", "annotations", "matchLabels", "nodeSelector", "data", "stringData")
            if key in maps and isinstance(item, dict):
                yield from ((f"{here}.{name}", text) for name, text in item.items())
            elif key in ("name", "namespace", "value", "image", "secretName", "claimName", "host"):
                yield here, item
            else:
                yield from texts(item, here)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts(item, f"{path}[{number}]")


def bare(text: str, odd: str) -> list[str]:
    """Lines where it stands without quotes. Python's YAML 1.1 takes 1e3 and y for text, helm's not.

    The words are looked for by their types: true and null are values of their own in the chart.
    """
    found: list[str] = re.findall(rf"^.*(?:: |- |\[){odd}\]?$", text, re.M)
    return [] if odd in ("true", "null") else found


@pytest.mark.parametrize("odd", ODD)
def test_release_and_namespace_may_be_called_anything(helm: Path, odd: str) -> None:
    for case in CASES:
        flags = ("template", odd, str(CHART), "-n", odd)
        text = run_helm(helm, *flags, values=MATRIX[case])
        assert not bare(text, odd), case
        for document in Render(case, text).documents:
            for path, value in texts(document):
                assert isinstance(value, str), f"{case}: {document['kind']}{path}: {value!r}"


@pytest.mark.parametrize("odd", ODD)
def test_values_may_be_called_anything(helm: Path, odd: str) -> None:
    values = {
        "nameOverride": odd,
        "fullnameOverride": odd if odd[0].isalpha() else "",
        "commonLabels": {"a": odd},
        "commonAnnotations": {"a": odd},
        "auth": {"existingSecret": odd},
        "image": {"repository": "1", "tag": odd, "pullSecrets": [odd]},
        "serviceAccount": {"name": odd},
        "tls": {"enabled": True, "existingSecret": odd},
        "mqBroker": {"journal": {"enabled": True, "storageClass": odd}},
        "streamer": {"streamId": odd, "source": {"type": "pvc", "pvc": {"existingClaim": odd}}},
        "collector": {"nodeSelector": {"a": odd}},
        "api": {"priorityClassName": odd, "extraEnv": [{"name": "A", "value": odd}]},
        "postgres": {"database": odd, "username": odd, "backup": {"enabled": True}},
        "ingress": {"enabled": True, "className": odd, "hosts": ["a"]},
    }
    text = run_helm(helm, "template", "rel", str(CHART), values=values)
    assert not bare(text, odd)
    render = Render(odd, text)
    for document in render.documents:
        for path, value in texts(document):
            assert isinstance(value, str), f"{document['kind']}{path}: {value!r}"
    assert render.env("streamer")["GPUTEL_STREAM_ID"] == odd


def test_large_numbers_are_written_out(render_of: RenderOf) -> None:
    render = render_of("knobs")
    assert "work_mem=5000000" in render.container("postgres")["args"]
    render = render_of(collector={"keda": {"enabled": True, "target": 100_000_000}})
    (scaled,) = render.kind("ScaledObject")
    assert scaled["spec"]["triggers"][0]["metadata"]["targetValue"] == "100000000"
