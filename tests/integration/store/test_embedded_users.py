from __future__ import annotations

import os
import platform
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import gputel
from gputel.errors import StoreError
from gputel.store.postgres.account import Account
from gputel.store.postgres.binaries import Binaries, find_binaries
from gputel.store.postgres.cluster import make_socket_dir
from gputel.store.postgres.shared import embedded_postgres
from tests.helpers.postgres_processes import Holder, fetchval, needs_root, postmaster

pytestmark = needs_root
NOBODY = Account("nobody", pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def out_of_reach(bin_dir: Path, place: Path) -> Path:
    """The same programs where only root can go; hard links, so that it costs no copying."""
    package = bin_dir.parent.parent
    place.mkdir(mode=0o700)
    for part in (package, package.with_name("embedded_postgres.libs")):
        subprocess.run(["cp", "-a", "--link", part, place], check=True)
    return place / package.name / bin_dir.parent.name / "bin"


@pytest.fixture
def embedded_binaries(tmp_path: Path) -> Binaries:
    found = find_binaries(None, tmp_path)
    if "embedded_postgres" not in found.bin_dir.parts:
        pytest.skip("needs the package embedded-postgres")
    return found


async def test_root_runs_the_server_as_an_unprivileged_user(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as dsn:
        server = owner_of(postmaster(data_dir))
        assert pwd.getpwuid(server).pw_name in ("postgres", "gputel", "nobody")
        assert (data_dir / "postgres").stat().st_uid == server
        assert await fetchval(dsn, "SELECT 1") == 1
        groups = Path(f"/proc/{postmaster(data_dir)}/status").read_text()
        assert "Groups:\t \n" in groups or "Groups:\t\n" in groups


async def test_root_keeps_the_owner_of_a_user_s_data_directory(data_dir: Path) -> None:
    data_dir.mkdir()
    os.chown(data_dir, NOBODY.uid, NOBODY.gid)
    async with embedded_postgres(data_dir):
        assert owner_of(postmaster(data_dir)) == NOBODY.uid
    places = [data_dir / name for name in ("postgres", "postgres.lock", "postgres.log")]
    assert {path.stat().st_uid for path in places} == {NOBODY.uid}


async def test_a_uid_without_a_name_has_a_server_too(data_dir: Path) -> None:
    """As OpenShift and ``docker run --user`` choose them; initdb asks for a name."""
    data_dir.mkdir()
    os.chown(data_dir, 123_456, 123_456)
    for _ in ("made", "started again"):
        async with embedded_postgres(data_dir) as dsn:
            assert owner_of(postmaster(data_dir)) == 123_456
            assert await fetchval(dsn, "SELECT 1") == 1
    assert not list(data_dir.glob("user-name-*"))


async def test_a_uid_whose_name_cannot_be_given_is_told_what_to_do(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.mkdir()
    os.chown(data_dir, 123_456, 123_456)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(StoreError, match=r"/etc/passwd.*GPUTEL_POSTGRES_DSN"):
        await embedded_postgres(data_dir).__aenter__()


@pytest.mark.parametrize("name", ["postgres.lock", "postgres.log", "postgres"])
async def test_a_link_of_a_user_s_leads_root_nowhere(data_dir: Path, name: str) -> None:
    victim = data_dir.with_name(data_dir.name + "-victim")
    victim.mkdir(mode=0o700)
    (victim / "file").write_text("root's own")
    data_dir.mkdir()
    os.chown(data_dir, NOBODY.uid, NOBODY.gid)
    target = victim if name == "postgres" else victim / "file"
    (data_dir / name).symlink_to(target)
    os.chown(data_dir / name, NOBODY.uid, NOBODY.gid, follow_symlinks=False)
    with pytest.raises(StoreError):
        await embedded_postgres(data_dir).__aenter__()
    assert (victim / "file").read_text() == "root's own"
    for path in (victim, victim / "file"):
        assert path.stat().st_uid == 0
        assert path.stat().st_mode & 0o077 == (0o044 if path.is_file() else 0)


async def test_another_user_s_cluster_is_not_served_from_a_user_s_directory(data_dir: Path) -> None:
    data_dir.mkdir()
    os.chown(data_dir, NOBODY.uid, NOBODY.gid)
    other = data_dir.with_name(data_dir.name + "-other")
    other.mkdir()
    os.chown(other, 12345, 12345)
    (data_dir / "postgres").symlink_to(other)
    with pytest.raises(StoreError, match=r"nobody's, and .* is uid 12345's"):
        await embedded_postgres(data_dir).__aenter__()


async def test_the_server_s_user_reads_no_token_in_its_environment(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"GPUTEL_TOKENS": "boss admin s", "GPUTEL_TOKEN": "s", "AWS_SECRET_ACCESS_KEY": "s"}
    given |= {"PGDATA": "/", "NOTIFY_SOCKET": "/x", "TZ": "UTC"}
    for name, text in given.items():
        monkeypatch.setitem(os.environ, name, text)
    async with embedded_postgres(data_dir):
        shown = Path(f"/proc/{postmaster(data_dir)}/environ").read_bytes().split(b"\0")
    names = {line.partition(b"=")[0].decode() for line in shown if line}
    assert names & set(given) == {"TZ"}


async def test_directory_that_the_unprivileged_user_cannot_enter_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    closed = next(p for p in [*reversed(tmp_path.parents), tmp_path] if not p.stat().st_mode & 1)
    with pytest.raises(StoreError, match=rf"cannot enter {closed}: .*--data-dir"):
        await embedded_postgres(tmp_path / "data").__aenter__()


async def test_data_directory_is_made_enterable_whatever_the_umask(open_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        async with embedded_postgres(open_dir / "strict" / "umask") as dsn:
            assert await fetchval(dsn, "SELECT 1") == 1
    finally:
        os.umask(before)


async def test_programs_out_of_the_user_s_reach_are_copied(
    made_dir: Path, embedded_binaries: Binaries
) -> None:
    hidden = made_dir.with_name(made_dir.name + "-hidden")
    bin_dir = out_of_reach(embedded_binaries.bin_dir, hidden)
    copy = made_dir / "postgres-bin" / embedded_binaries.version
    shutil.rmtree(copy.parent, ignore_errors=True)
    (copy.with_name(copy.name + ".new") / "of-a-killed-process").mkdir(parents=True)
    async with embedded_postgres(made_dir, bin_dir) as dsn:
        assert await fetchval(dsn, "SELECT 1") == 1
        program = Path(f"/proc/{postmaster(made_dir)}/exe").readlink()
    assert program.is_relative_to(copy)
    assert [path.name for path in copy.parent.iterdir()] == [embedded_binaries.version]


async def test_copied_programs_make_a_cluster_as_well(
    data_dir: Path, embedded_binaries: Binaries
) -> None:
    hidden = data_dir.with_name(data_dir.name + "-hidden")
    async with embedded_postgres(data_dir, out_of_reach(embedded_binaries.bin_dir, hidden)) as dsn:
        assert await fetchval(dsn, "SELECT 1") == 1
    shutil.rmtree(hidden)


async def test_socket_directory_of_another_user_is_refused(made_dir: Path) -> None:
    place = make_socket_dir(made_dir, None)
    os.chown(place, NOBODY.uid, NOBODY.gid)
    with pytest.raises(StoreError, match=f"{place}.*not a directory of this user"):
        await embedded_postgres(made_dir).__aenter__()
    place.rmdir()


@pytest.fixture
def home(open_dir: Path) -> Path:
    """The home directory of an ordinary user, here nobody."""
    home = open_dir / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, NOBODY.uid, NOBODY.gid)
    return home


@pytest.fixture
def as_nobody(home: Path) -> dict[str, Any]:
    """How to start a Python that has what this one has, as an ordinary user."""
    libraries = [Path(gputel.__file__).parent.parent, Path(asyncpg.__file__).parent.parent]
    python = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    interpreters = [Path(sys.executable).resolve(), Path(python or "/missing").resolve()]
    usable = [path for path in interpreters if path.exists() and NOBODY.can_run(path)]
    if not usable or any(NOBODY.blocked_at(path) for path in libraries):
        pytest.skip("an ordinary user cannot read this installation")
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(map(str, libraries))}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    return {
        "python": str(usable[0]),
        "env": environment,
        "cwd": str(home),
        "preexec_fn": become_nobody,  # uvloop's subprocesses take no user
    }


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY.gid)
    os.setuid(NOBODY.uid)


async def test_ordinary_user_runs_the_server_as_itself(home: Path, as_nobody, hold) -> None:
    holder: Holder = await hold(home / ".local" / "share" / "gputel", **as_nobody)
    await holder.dsn()
    place = home / ".local" / "share" / "gputel"
    assert owner_of(postmaster(place)) == NOBODY.uid
    assert {path.stat().st_uid for path in place.iterdir()} == {NOBODY.uid}
    assert await holder.stop() == 0


async def test_ordinary_user_is_told_of_a_directory_that_it_cannot_write(
    home: Path, as_nobody, hold
) -> None:
    holder: Holder = await hold(home.parent / "not-nobody-s", **as_nobody)
    with pytest.raises(AssertionError, match=r"StoreError: cannot keep .* Permission denied"):
        await holder.dsn()
