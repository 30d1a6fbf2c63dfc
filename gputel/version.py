"""Which gputel this is: its release, and the commit that it was built from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gputel import __version__

COMMIT_FILE = "commit.txt"
"""Written into the package by a build; a clone has no such file."""

_PACKAGE = Path(__file__).resolve().parent
_DIGITS = 7
_GIT_TIMEOUT_S = 5


@cache
def commit() -> str:
    """Return the first 7 digits of the commit, or an empty text when nothing tells it."""
    return commit_of(_PACKAGE)


def full_version() -> str:
    """Return the release with its commit, such as ``0.1.0+g0e01f97``."""
    return f"{__version__}+g{commit()}" if commit() else __version__


def commit_of(package: Path) -> str:
    """Return the commit of the gputel in this directory: its build wrote it, else git tells it."""
    try:
        text = (package / COMMIT_FILE).read_text("ascii")
    except FileNotFoundError:
        text = _ask_git(package.parent / ".git")
    return text.strip()[:_DIGITS]


def _ask_git(repository: Path) -> str:
    """Return what git says, or nothing where there is no clone or no git."""
    import subprocess  # only here, so that no command starts slower

    # Without this check git would answer for any repository around an installed package.
    if not repository.exists():
        return ""
    try:
        return subprocess.run(  # noqa: S603
            ("git", f"--git-dir={repository}", "rev-parse", "HEAD"),  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
