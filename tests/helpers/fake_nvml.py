"""NVIDIA's library in a form that a test controls: built by the compiler of this machine."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


class FakeDriver:
    """A library in a folder, and the file that says how it behaves."""

    def __init__(self, folder: Path, *, old: bool = False) -> None:
        self._folder = folder
        self._settings: dict[str, int] = {}
        self.control = folder / "control"
        self.set()
        library = folder / "libnvidia-ml.so.1"
        options = ["-DOLD"] if old else []
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *options]
        subprocess.run([*command, "-o", library, SOURCE, "-lpthread"], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {"LD_LIBRARY_PATH": str(self._folder), "FAKE_NVML": str(self.control)}

    def set(self, **settings: int) -> None:
        """Change how it behaves, at once; ``gpu0_util`` stands for ``gpu0.util``."""
        self._settings |= {name.replace("_", ".", 1): value for name, value in settings.items()}
        new = self.control.with_suffix(".new")
        new.write_text("".join(f"{name} {value}\n" for name, value in self._settings.items()))
        new.rename(self.control)


def fake_driver(folder: Path, *, old: bool = False) -> FakeDriver:
    """A new driver; skips the test where there is no compiler or no nvidia-ml-py."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler here, which the fake driver needs")
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("nvidia-ml-py is not installed: make test installs it")
    folder.mkdir(exist_ok=True)
    return FakeDriver(folder, old=old)
