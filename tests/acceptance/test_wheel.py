"""The wheel: built from a clean clone, installed where no checkout is, it runs all there is."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gputel.web import static_files
from gputel.web.assets import VENDOR
from tests.helpers.processes import Processes, free_port, processes_in
from tests.helpers.waiting import until

ROOT = Path(__file__).parents[2]
BUILD = "from setuptools import build_meta; build_meta.build_{}('{}')"
BUILT_FROM = (":(glob)*", "gputel", "fixtures")
PIP = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
AUTHOR = ("-c", "user.name=me", "-c", "user.email=me")
ROWS, GPUS = 640, 32


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end; what it printed on stdout."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a commit, this one's tracked files, and the front-end files if here."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: which files are part of gputel is not known")
    clone = tmp_path_factory.mktemp("clone")
    for name in run("git", "ls-files", "-z", *BUILT_FROM, cwd=ROOT).split("\0")[:-1]:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    run("git", "init", "-q", cwd=clone)
    run("git", *AUTHOR, "commit", "-q", "--allow-empty", "-m", "one", cwd=clone)
    if VENDOR.exists():
        shutil.copytree(VENDOR, clone / VENDOR.relative_to(ROOT))
    return clone


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist as `make dist` does; no .git is there."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-c", BUILD.format("sdist", dist), cwd=clone)
    (sdist,) = dist.glob("*.tar.gz")
    run("tar", "xf", sdist, cwd=dist)
    sources = dist / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-c", BUILD.format("wheel", dist), cwd=sources)
    (wheel,) = dist.glob("*.whl")
    return wheel


def install(wheel: Path, place: Path) -> Path:
    """Make a virtual environment with the wheel and nothing else; its site-packages."""
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    python = place / "bin" / "python"
    alone = ("--no-deps", "--no-compile", "--no-index")
    run(*PIP, "--python", python, "install", *alone, wheel, cwd=place.parent)
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(python, "-c", asked, cwd=place.parent).strip())


@pytest.fixture(scope="module")
def environment(wheel: Path, open_dir: Path) -> Path:
    """A virtual environment with the wheel in it; what it needs is taken from this one."""
    place = open_dir / "wheel"
    packages = install(wheel, place)
    # A directory that is named so is searched, but its own .pth files, which lead to the
    # checkout, are not read.
    ours = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "needed.pth").write_text("\n".join(ours) + "\n")
    return place


@pytest.fixture
async def installed(environment: Path, tmp_path: Path) -> AsyncIterator[Processes]:
    """The installed program, in an empty directory."""
    async with processes_in(tmp_path, (environment / "bin" / "gputel",)) as processes:
        yield processes


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:
        body: bytes = response.read()
        return body


CLIENT = """
import asyncio, sys
from gputel.mq.connect import connect

async def main(urls):
    async with connect(urls) as queue:
        await queue.send(b"hello", id="a")
        (delivery,) = await queue.consume(1, wait_s=20)
        await queue.ack([(delivery.id, delivery.lease)])
        print(delivery.payload.decode())

asyncio.run(main(sys.argv[1:]))
"""


async def test_without_the_extra_the_wheel_is_a_client_that_needs_msgspec_alone(
    wheel: Path, installed: Processes, tmp_path: Path, data_dir: Path
) -> None:
    place = tmp_path / "client"
    packages = await asyncio.to_thread(install, wheel, place)
    shutil.copytree(Path(msgspec.__file__).parent, packages / "msgspec")
    url = f"http://127.0.0.1:{(port := free_port())}"
    ports = ("--broker-port", str(port), "--health-port", "0")
    await installed.start("run", "--role", "broker", *ports).says("ready")
    for urls in ([url], [url, f"http://127.0.0.1:{free_port()}"]):
        command: list[str | Path] = [place / "bin" / "python", "-c", CLIENT, *urls]
        assert await asyncio.to_thread(run, *command, cwd=tmp_path) == "hello\n"
    done = subprocess.run([place / "bin" / "gputel", "queue", "stats"], capture_output=True)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "gputel: the package click is missing. Without the extra `all`, an installation has only "
        "the client of the queue: pip install 'gputel[all]'\n"
    )


async def test_the_installed_wheel_runs_the_whole_pipeline(
    environment: Path, installed: Processes, clone: Path, data_dir: Path
) -> None:
    where = run(environment / "bin" / "python", "-c", "import gputel; print(gputel.__file__)",
                cwd=data_dir.parent)  # fmt: skip
    assert Path(where).is_relative_to(environment)
    api = f"http://127.0.0.1:{(port := free_port())}"
    ports = ("--api-port", str(port), "--broker-port", str(free_port()))
    source = ("--csv", clone / "fixtures" / "dcgm_small.csv", "--no-loop", "--rate", "0")
    kept = ("--timestamps", "source", "--data-dir", data_dir)
    await installed.start("run", "--role", "all", *ports, *source, *kept).says("ready")

    def all_landed() -> bool:
        return len(json.loads(get(f"{api}/api/v1/telemetry?limit=1000"))) == ROWS

    await until(all_landed, 60, "all rows to land")
    gpus = await installed.run("query", "gpus", "--format", "json", "--api-url", api)
    assert len(json.loads(gpus.out)) == GPUS
    build = json.loads(get(f"{api}/prometheus/api/v1/status/buildinfo"))["data"]
    told = (await installed.run("--version")).out.split()[-1]
    assert build["revision"] == f"gputel-{told}"
    assert run("git", "rev-parse", "HEAD", cwd=clone).startswith(told.partition("+g")[2] or "none")
    page = get(f"{api}/swagger").decode()
    if not VENDOR.exists():
        assert "could not be" in page
        return
    for name in ("swagger-ui.css", "swagger-ui-bundle.js"):
        path = f"{static_files.STATIC}vendor/swagger-ui/{name}"
        assert path.lstrip("/") in page
        assert get(api + path) == (VENDOR / "swagger-ui" / name).read_bytes()
