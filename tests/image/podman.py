"""The real image: a base made of Debian's own packages, this repository's Dockerfile, podman."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
IMAGE, BASE = "localhost/gputel:test", "localhost/gputel-base"
REVISION = "0e01f97c0ffee"  # whatever it is: it is shown, never looked up
_PACKAGES = "python3,python3-venv,ca-certificates"


def missing() -> str | None:
    """Why no image can be built here, or None where one can."""
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    if absent:
        return f"needs {', '.join(absent)}: on Debian, apt-get install {' '.join(absent)}"
    return None if os.geteuid() == 0 else "needs root, to build and run without a container daemon"


@dataclass
class Podman:
    """podman and buildah with a storage of their own, so that the machine's is left alone."""

    home: Path
    started: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.home / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.home}/store"\n'
            f'runroot = "{self.home}/run"\n'
        )
        (self.home / "containers.conf").write_text(
            '[containers]\nnetns = "host"\n'
            'default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )

    def call(self, *command: str | Path, check: bool = True, wait_s: float = 60) -> str:
        """Run a command on this storage; what it printed on stdout."""
        environment = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(self.home / "storage.conf"),
            "CONTAINERS_CONF": str(self.home / "containers.conf"),
        }
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=wait_s
        )
        assert not check or done.returncode == 0, (
            command,
            done.stdout[-4000:],
            done.stderr[-4000:],
        )
        return done.stdout.strip()

    def build(self) -> None:
        """Make the base, then the image, as `docker build` would."""
        tar = self.home / "base.tar"
        self.call("mmdebstrap", "-q", "--variant=minbase", f"--include={_PACKAGES}",
                  _codename(), tar, *_mirrors(), wait_s=600)  # fmt: skip
        self.call("podman", "import", "-q", tar, BASE)
        tar.unlink()
        self.call("buildah", "build", "--isolation", "chroot", "--pull-never", "--format", "docker",
                  "-t", IMAGE, "--build-arg", f"BASE_IMAGE={BASE}",
                  "--build-arg", f"REVISION={REVISION}",
                  *self._certificates(), ROOT, wait_s=900)  # fmt: skip

    def _certificates(self) -> Iterator[str]:
        """Mounts for the build alone: whom this machine trusts, and how pip and npm are told."""
        bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        if bundle and Path(bundle).exists():
            told = "/etc/ssl/certs/ca-certificates.crt"
            pip, npm = self.home / "pip.conf", self.home / "npmrc"
            pip.write_text(f"[global]\ncert = {told}\ntimeout = 180\n")
            npm.write_text(f"cafile={told}\n")
            for here, there in ((bundle, told), (pip, "/etc/pip.conf"), (npm, "/root/.npmrc")):
                yield from ("-v", f"{here}:{there}:ro")

    def start(self, *arguments: str, options: tuple[str, ...] = ()) -> Container:
        """Start ``gputel ARGUMENTS`` in a container with a read-only root."""
        name = f"gputel-{os.getpid()}-{len(self.started)}"
        self.call("podman", "run", "-d", "--name", name, "--read-only", "--read-only-tmpfs=false",
                  "--cap-drop=all", "--security-opt=no-new-privileges", *options,
                  IMAGE, *arguments)  # fmt: skip
        self.started.append(name)
        return Container(self, name)

    def run(self, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run ``gputel ARGUMENTS`` to its end: exit status, and all that it said."""
        container = self.start(*arguments, options=options)
        status = int(self.call("podman", "wait", container.name))
        return status, container.log()

    def inspect(self) -> dict[str, Any]:
        """What the image says of itself."""
        found: dict[str, Any] = json.loads(self.call("podman", "image", "inspect", IMAGE))[0]
        return found

    def end(self) -> None:
        """Remove what was started, and the storage with its mounts."""
        for name in self.started:
            self.call("podman", "rm", "-f", "-t", "0", "-v", name, check=False)
        self.call("podman", "rmi", "-a", "-f", check=False)
        for line in Path("/proc/mounts").read_text().splitlines():
            if str(self.home) in (place := line.split()[1]):
                subprocess.run(("umount", "-l", place), check=False)
        shutil.rmtree(self.home, ignore_errors=True)


@dataclass(frozen=True)
class Container:
    """One container that was started."""

    podman: Podman
    name: str

    def log(self) -> str:
        """What it has said on stdout and stderr."""
        done = subprocess.run(
            ("podman", "logs", self.name),
            env=os.environ
            | {
                "CONTAINERS_STORAGE_CONF": str(self.podman.home / "storage.conf"),
                "CONTAINERS_CONF": str(self.podman.home / "containers.conf"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout

    def says(self, text: str, wait_s: float = 60) -> None:
        """Wait until it has said the text."""
        deadline = time.monotonic() + wait_s
        while text not in (log := self.log()):
            assert self.running, log
            assert time.monotonic() < deadline, log
            time.sleep(0.2)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        told = self.podman.call("podman", "inspect", "-f", "{{.State.Running}}", self.name)
        return told == "true"

    def execute(self, *command: str, check: bool = True) -> str:
        """Run a command in it; what that printed."""
        return self.podman.call("podman", "exec", self.name, *command, check=check)

    def stop(self, within_s: int) -> int:
        """Send SIGTERM to its first process; its exit status, 137 if it outlived ``within_s``."""
        self.podman.call("podman", "stop", "-t", str(within_s), self.name, wait_s=within_s + 30)
        return int(self.podman.call("podman", "inspect", "-f", "{{.State.ExitCode}}", self.name))


def _codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"]


def _mirrors() -> list[str]:
    """Where this machine's apt takes Debian's main packages from."""
    told = subprocess.run(
        ("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages",
         "Label: Debian", "Component: main", f"Codename: {_codename()}"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted({line.split()[0] for line in told.stdout.splitlines()})[:1]


@contextmanager
def podman_in(home: Path) -> Iterator[Podman]:
    """podman with a storage under ``home``, and the image in it; both go with the context."""
    podman = Podman(home)
    try:
        podman.build()
        yield podman
    finally:
        with suppress(subprocess.TimeoutExpired):
            podman.end()
