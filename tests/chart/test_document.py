"""docs/kubernetes.md and the values in it are true of the chart."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import RenderOf
from tests.chart.renders import CHART, run_helm
from tests.chart.tools import ROOT

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)
VALUES = [body for language, body in BLOCKS if language == "yaml" and "seriesQuery" not in body]
COMMANDS = [
    line
    for language, body in BLOCKS
    if language == "sh"
    for line in body.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize("values", VALUES)
def test_values_in_the_document_are_taken(helm: Path, values: str) -> None:
    assert run_helm(helm, "template", "rel", str(CHART), values=yaml.safe_load(values))


def test_flags_in_the_document_are_taken(helm: Path) -> None:
    flags = re.findall(r"--set \S+=[^\s\"]+", TEXT)
    assert len(flags) >= 4
    words = [word for flag in flags for word in shlex.split(flag)]
    assert run_helm(helm, "template", "rel", str(CHART), *words)


def test_settings_named_in_the_document_exist() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    roots = "|".join(values)
    named = set(re.findall(rf"`((?:{roots})(?:\.\w+)+)(?:: [^`]*)?`", TEXT))
    named |= set(re.findall(rf"--set ((?:{roots})(?:\.\w+)+)=", TEXT))
    assert len(named) > 20
    for path in named - {"postgres.config.max_connections", "tls.crt", "tls.key"}:
        place = values
        for key in path.split("."):
            assert key in place, path
            place = place[key]


def test_targets_of_make_in_the_document_exist() -> None:
    text = (ROOT / "Makefile").read_text() + (ROOT / "charts" / "quickstart.mk").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.M))
    named = set(re.findall(r"make (?:-s )?([a-z]+(?:-[a-z]+)*)", " ".join(COMMANDS)))
    assert named
    assert named <= targets


def test_resources_named_in_the_document_exist(render_of: RenderOf) -> None:
    made = {
        (d["kind"].lower(), d["metadata"]["name"]) for d in render_of(release="gputel").documents
    }
    named = set(
        re.findall(r"\b(deployment|statefulset|service|secret)[/ ](gputel-\S+?)[\s`,]", TEXT)
    )
    assert len(named) >= 5
    assert named - {("secret", "gputel-database")} <= made


def test_links_lead_somewhere() -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", TEXT):
        path = ROOT / "docs" / target if target else ROOT / "docs" / "kubernetes.md"
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor.removeprefix("#") in slugs, anchor
