"""The embedded server's files: its cluster, its socket's directory, and what its pid file says."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gputel.errors import StoreError
from gputel.owned_files import opened_directory, read_small
from gputel.store.postgres.account import Account, give
from gputel.store.postgres.binaries import Binaries
from gputel.store.postgres.process import run
from gputel.store.postgres.user_name import user_name_environment

USER = DATABASE = "gputel"
PORT = 5432  # names the socket; no network port is opened
_LONGEST_SOCKET_PATH = 106  # bytes: sun_path holds 108 on Linux, 104 and less elsewhere
_HALF_MADE = "postgres.new-"
_TELLING = re.compile(r"(PANIC|FATAL|ERROR|error|HINT): .*")
_READY = "ready"
_NAMELESS = "could not look up effective user ID"


@dataclass(frozen=True)
class PidFile:
    """``postmaster.pid``: the server's process, the directory of its socket, how far it is."""

    pid: int
    socket_dir: Path
    ready: bool


def read_pid_file(cluster: Path) -> PidFile | None:
    """What the cluster's pid file says, or None when there is none or it is not yet whole.

    Lines, from miscadmin.h: pid, data directory, start time, port, socket directory, listen
    address, shared memory key, status.
    """
    try:
        lines = read_small(cluster / "postmaster.pid").splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdigit():
        return None
    status = lines[7].strip() if len(lines) > 7 else ""
    return PidFile(int(lines[0]), Path(lines[4] if len(lines) > 4 else ""), status == _READY)


def dsn_of(socket_dir: Path) -> str:
    """The DSN of a server whose socket is in the directory; for asyncpg and for psql."""
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(socket_dir))}&port={PORT}"


def socket_in(socket_dir: Path) -> Path:
    """The socket of a server whose sockets are in the directory."""
    return socket_dir / f".s.PGSQL.{PORT}"


def answers(socket_dir: Path) -> bool:
    """Whether a server listens there; it may still be starting."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(socket_in(socket_dir)))
        except OSError:
            return False
    return True


def make_socket_dir(data_dir: Path, account: Account | None) -> Path:
    """A directory of mode 0700, the account's, of the same short name for every process.

    In /tmp, because a data directory's path can be too long for a socket, and because
    XDG_RUNTIME_DIR differs between logins and goes away with them; in the data directory where
    /tmp cannot be written. Raises StoreError when the place is taken by another user.
    """
    name = "gputel-" + hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    path = Path("/tmp") / name  # noqa: S108 - checked below
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        if path.is_symlink() or path.exists():
            raise StoreError(_taken(path)) from None
        path = data_dir / "postgres-socket"
        path.mkdir(mode=0o700, exist_ok=True)
    _take(path, account)
    if len(os.fsencode(socket_in(path))) > _LONGEST_SOCKET_PATH:
        raise StoreError(f"{path} is too long for a socket: choose a shorter --data-dir")
    return path


def _take(path: Path, account: Account | None) -> None:
    """Make it the account's, unless it is a link or another user's."""
    ours = {os.geteuid()} if account is None else {os.geteuid(), account.uid}
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(opened_directory(path))
        except OSError:
            raise StoreError(_taken(path)) from None
        if os.fstat(directory).st_uid not in ours:
            raise StoreError(_taken(path))
        give(directory, account)
        os.fchmod(directory, 0o700)


def _taken(path: Path) -> str:
    return (
        f"{path}, where the socket of the embedded Postgres belongs, is not a directory of this "
        "user's: remove it, or choose another --data-dir"
    )


async def ensure_cluster(cluster: Path, binaries: Binaries, account: Account | None) -> None:
    """Make the cluster, with the database, unless it is there; whole or not at all."""
    _remove_leftovers(cluster)
    if _exists(cluster):
        return
    half_made = _half_made(cluster.parent, account)
    try:
        await _initdb(half_made, binaries, account)
        _put_in_place(half_made, cluster)
    finally:
        # All of them again: an initdb whose gputel was killed may have written on for a moment.
        _remove_leftovers(cluster)


def _half_made(parent: Path, account: Account | None) -> Path:
    """A new directory of the account's that nobody has put there before."""
    name = f"{_HALF_MADE}{secrets.token_hex(8)}"
    with opened_directory(parent) as directory:
        os.mkdir(name, 0o700, dir_fd=directory)
        with opened_directory(name, directory) as made:
            if os.fstat(made).st_uid == os.geteuid():
                give(made, account)
    return parent / name


def _remove_leftovers(cluster: Path) -> None:
    with opened_directory(cluster.parent) as directory:
        for name in os.listdir(directory):  # noqa: PTH208 - the open directory
            if name.startswith(_HALF_MADE):
                shutil.rmtree(name, ignore_errors=True, dir_fd=directory)


def _exists(cluster: Path) -> bool:
    if (cluster / "PG_VERSION").exists():
        return True
    if cluster.exists() and any(cluster.iterdir()):
        raise StoreError(
            f"{cluster} holds something that is not a Postgres cluster: move it away, or choose "
            "another --data-dir"
        )
    return False


def _put_in_place(half_made: Path, cluster: Path) -> None:
    with opened_directory(cluster.parent) as directory:
        os.rename(half_made.name, cluster.name, src_dir_fd=directory, dst_dir_fd=directory)
        with suppress(OSError):
            os.fsync(directory)


async def _initdb(path: Path, binaries: Binaries, account: Account | None) -> None:
    options = [f"--username={USER}", "--encoding=UTF8", "--locale=C", "--auth=trust"]
    create = f"CREATE DATABASE {DATABASE};\n".encode()
    programs = binaries.bin_dir
    steps: list[tuple[list[str | Path], bytes]] = [
        ([programs / "initdb", "-D", path, *options], b""),
        ([programs / "postgres", "--single", "-D", path, "postgres"], create),
    ]
    uid = None if account is None else account.uid
    with user_name_environment(path.parent, uid) as variables:
        for command, stdin in steps:
            code, printed = await run(command, account, stdin, variables)
            if code or "ERROR:" in printed:
                raise StoreError(_not_made(path.parent, printed))


def _not_made(data_dir: Path, printed: str) -> str:
    if _NAMELESS in printed:
        return (
            f"cannot make a Postgres cluster in {data_dir}: its user has no name here, and initdb "
            "asks for one: add a line for this uid to /etc/passwd, run gputel as a user that is "
            "there, or set GPUTEL_POSTGRES_DSN to a server of your own"
        )
    return (
        f"cannot make a Postgres cluster in {data_dir}: {reason(printed)}; see to that, or choose "
        "another --data-dir"
    )


def reason(printed: str) -> str:
    """The lines of a server's or tool's output that say why it ended, as one."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    telling = [match[0] for line in lines if (match := _TELLING.search(line))]
    while telling and telling[0].startswith("HINT"):  # of no error
        del telling[0]
    text = "; ".join((telling or lines)[-3:]) or "it printed nothing"
    return text + (" (free space on that disk)" if "No space left" in text else "")
