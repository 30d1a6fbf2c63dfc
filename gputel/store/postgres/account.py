"""The user that the embedded Postgres runs as: ourselves, or an unprivileged one for root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gputel.errors import StoreError

CANDIDATES = ("postgres", "gputel", "nobody")
_READ, _ENTER = 4, 1


@dataclass(frozen=True)
class Account:
    """A user that root switches to; no group beside its primary one is kept."""

    name: str
    uid: int
    gid: int

    @property
    def popen_options(self) -> dict[str, Any]:
        """What ``subprocess.Popen`` needs to start a child as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may(self, bits: int, path: Path) -> bool:
        """Whether the mode of ``path`` grants the bits (4 read, 2 write, 1 enter or run)."""
        status = path.stat()
        if status.st_uid == self.uid:
            return status.st_mode >> 6 & bits == bits
        if status.st_gid == self.gid:
            return status.st_mode >> 3 & bits == bits
        return status.st_mode & bits == bits

    def blocked_at(self, directory: Path) -> Path | None:
        """The first directory on the way to, or at, ``directory`` that this user cannot enter."""
        for step in [*reversed(directory.parents), directory]:
            if not self.may(_ENTER, step):
                return step
        return None

    def can_run(self, program: Path) -> bool:
        """Whether this user can reach the program and run it."""
        return self.blocked_at(program.parent) is None and self.may(_READ | _ENTER, program)


def server_account(data_dir: Path, cluster: Path) -> Account | None:
    """The user to switch to, or None to stay who we are, which only root cannot.

    An existing cluster keeps its owner; a data directory of an ordinary user's stays that user's.
    """
    if os.geteuid() != 0:
        return None
    owners = [place.stat() for place in (data_dir, cluster) if place.exists()]
    users = {owner.st_uid for owner in owners}
    if len(users) == 2 and 0 not in users:
        names = [_name_of(owner.st_uid) for owner in owners]
        raise StoreError(
            f"{data_dir} is {names[0]}'s, and {cluster} is {names[1]}'s: give both to one user"
        )
    for status in reversed(owners):
        if status.st_uid != 0:
            return Account(_name_of(status.st_uid), status.st_uid, status.st_gid)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StoreError(
        "Postgres does not run as root, and none of the users "
        f"{', '.join(CANDIDATES)} exists to run it as: create one (useradd --system gputel), "
        "start gputel as an ordinary user, or set GPUTEL_POSTGRES_DSN"
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def check_reachable(data_dir: Path, account: Account | None) -> None:
    """Raise a StoreError naming the directory that keeps the account out of the data directory."""
    if account is None or (blocker := account.blocked_at(data_dir)) is None:
        return
    raise StoreError(
        f"gputel was started as root, so Postgres runs as the user {account.name}, who cannot "
        f"enter {blocker}: choose a place that this user can reach with --data-dir "
        f"(or chmod o+x {blocker})"
    )


def give(descriptor: int, account: Account | None) -> None:
    """Make the account the owner of an open file or directory."""
    if account is not None:
        os.fchown(descriptor, account.uid, account.gid)
