"""What a build adds to the repository's files: the front-end files, and the commit.

Everything else about the package is in setup.cfg.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from gputel.version import COMMIT_FILE, commit_of  # noqa: E402
from gputel.web import assets  # noqa: E402


def _write_commit(package: Path) -> None:
    commit = commit_of(ROOT / "gputel")
    if commit:
        (package / COMMIT_FILE).write_text(commit + "\n", "ascii")


class BuildPy(build_py):
    """Copies the package, complete, into a wheel. An editable install stays as the clone is."""

    def run(self) -> None:
        """Fetch the front-end files if they are missing; the build goes on when that fails."""
        if self.editable_mode:
            super().run()
            return
        assets.main()
        super().run()
        _write_commit(Path(self.build_lib) / "gputel")


class Sdist(sdist):
    """Packs the sources, complete: a wheel that is built from them needs no network and no git."""

    def run(self) -> None:
        """Fetch the front-end files if they are missing; the build goes on when that fails."""
        assets.main()
        super().run()

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the files, and write the commit beside them."""
        super().make_release_tree(base_dir, files)
        _write_commit(Path(base_dir) / "gputel")


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
