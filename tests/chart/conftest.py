"""Fixtures of the chart's tests: the helms there are, and a cache of what they render."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate import utils

from tests.chart.renders import CHART, MATRIX, Render, run_helm, with_sample
from tests.chart.tools import BUNDLES, helms

RenderOf = Callable[..., Render]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``helm_name`` is each pinned helm, ``case`` each row of the matrix."""
    if "helm_name" in metafunc.fixturenames:
        metafunc.parametrize("helm_name", [bundle.name for bundle in BUNDLES], scope="session")
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(MATRIX), scope="session")


def need(found: dict[str, Path], name: str | None = None) -> Path:
    """A helm; the test is skipped on a machine that has none, but fails in CI."""
    path = found.get(name) if name and len(found) > 1 else next(iter(found.values()), None)
    if path is None:
        message = "no helm here: `make test-chart` fetches one"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def helm() -> Path:
    """Some helm."""
    return need(helms())


@pytest.fixture(scope="session")
def each_helm(helm_name: str) -> Path:
    """Each pinned helm; where only the one on PATH is there, that one."""
    return need(helms(), helm_name)


@pytest.fixture(scope="session")
def render_of(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> RenderOf:
    """Renders a row of the matrix, once for all workers of pytest-xdist, or values given."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    @cache
    def row(case: str) -> Render:
        path = shared / f"rendered-{case}.yaml"
        if not path.exists():
            text = run_helm(helm, "template", "rel", str(CHART), values=MATRIX[case])
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_text(text)
            unfinished.replace(path)
        return Render(case, path.read_text())

    def render(case: str = "sample", release: str = "rel", **values: Any) -> Render:
        if release == "rel" and not values:
            return row(case)
        text = run_helm(helm, "template", release, str(CHART), values=with_source(case, values))
        return Render(release, text)

    def with_source(case: str, values: dict[str, Any]) -> dict[str, Any]:
        given = {**MATRIX[case], **values}
        return given if case == "no-source" else with_sample(given)

    return render


@pytest.fixture
def rendered(render_of: RenderOf, case: str) -> Render:
    """Each row of the matrix, rendered."""
    return render_of(case)


@pytest.fixture
def quick_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator reads two files for each document; once will do."""
    monkeypatch.setattr(utils, "schema_contents", cache(utils.schema_contents))
