"""What helm says after an installation leads on: its commands name what there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chart.cluster import Cluster, serving
from tests.chart.conftest import RenderOf
from tests.chart.renders import CHART, run_helm

Notes = Callable[..., str]


@pytest.fixture
def notes(each_helm: Path, tmp_path: Path) -> Notes:
    def run(**values: Any) -> str:
        config = tmp_path / "kubeconfig"
        with serving(Cluster(), config):
            flags = ("-n", "gpu", "--dry-run=client", "--disable-openapi-validation")
            where = ("--kubeconfig", str(config))
            text = run_helm(each_helm, "install", "rel", str(CHART), *flags, *where, values=values)
        return text.partition("NOTES:\n")[2]

    return run


def test_three_commands_come_next(notes: Notes) -> None:
    text = notes()
    assert [int(number) for number in re.findall(r"^(\d)\.", text, re.M)] == [1, 2, 3]


def test_they_name_what_the_chart_makes(notes: Notes, render_of: RenderOf) -> None:
    text, render = notes(), render_of()
    named = set(re.findall(r"\b(deployment|service|secret)[/ ](rel-\S+)", text))
    made = {(d["kind"].lower(), d["metadata"]["name"]) for d in render.documents}
    assert {kind for kind, _ in named} == {"deployment", "service", "secret"}
    assert named <= made
    (key,) = re.findall(r"\.data\.(\w+)", text)
    assert key in render.one("Secret", "tokens")["stringData"]
    assert set(re.findall(r"(?:kubectl|helm) -n (\S+)", text)) == {"gpu"}


def test_they_follow_the_values(notes: Notes) -> None:
    text = notes(auth={"existingSecret": "my-tokens"}, api={"service": {"port": 80}})
    assert "get secret my-tokens" in text
    assert "8080:80" in text


def test_an_open_api_is_told_of(notes: Notes) -> None:
    text = notes(auth={"enabled": False})
    assert "TOKEN" not in text
    assert "Everyone who reaches the API may read and write" in text


def test_without_a_source_the_way_to_one_is_told(notes: Notes) -> None:
    text = notes()
    assert "Nothing is collected yet" in text
    assert "--set streamer.source.type=dcgmExporter" in text
    assert "gpu-operator, nvidia-dcgm-exporter, 9400." in text


@pytest.mark.parametrize("source", ["sample", "dcgmExporter"])
def test_with_a_source_nothing_is_said_to_be_missing(notes: Notes, source: str) -> None:
    text = notes(streamer={"source": {"type": source}})
    assert "Nothing is collected" not in text
    assert ("/api/v1/targets" in text) == (source == "dcgmExporter")
