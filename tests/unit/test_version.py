"""The commit that gputel tells: from its build, else from git, else none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gputel import __version__, version

COMMIT = "0e01f97c0ffee"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "clone" / "gputel"
    package.mkdir(parents=True)
    return package


def make_clone(directory: Path) -> str:
    """Make the directory a clone with one commit; the commit."""
    who = {
        f"GIT_{role}_{what}": "me" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "one")):
        subprocess.run(("git", *command), cwd=directory, env=os.environ | who, check=True)
    done = subprocess.run(
        ("git", "rev-parse", "HEAD"), cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_build_has_written_the_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (package / version.COMMIT_FILE).write_text(f"{COMMIT}\n")
    assert version.commit_of(package) == COMMIT[:7]


def test_a_clone_asks_git(package: Path) -> None:
    commit = make_clone(package.parent)
    assert version.commit_of(package) == commit[:7]


def test_a_repository_around_an_installed_package_is_not_asked(package: Path) -> None:
    make_clone(package.parents[1])
    assert version.commit_of(package) == ""


def test_without_git_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clone(package.parent)
    monkeypatch.setenv("PATH", "")
    assert version.commit_of(package) == ""


def test_a_clone_without_commits_has_none(package: Path) -> None:
    subprocess.run(("git", "init", "-q"), cwd=package.parent, check=True)
    assert version.commit_of(package) == ""


@pytest.mark.parametrize(
    ("commit", "told"), [("0e01f97", f"{__version__}+g0e01f97"), ("", __version__)]
)
def test_the_version_ends_with_the_commit(
    commit: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "commit", lambda: commit)
    assert version.full_version() == told
