"""Real shells on a terminal, in which Tab is pressed."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
_LOADS = {
    "bash": 'eval "$(gputel completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u; eval "$(gputel completion zsh)"',
    "fish": "gputel completion fish | source",
}
SHELLS = [name for name in _SHELLS if shutil.which(name)]
_WAIT_S = 60.0

_GPUTEL = """\
#!{python}
import json, os, sys
if "_GPUTEL_COMPLETE" in os.environ or sys.argv[1] == "completion":
    os.execv({python!r}, [{python!r}, "-m", "gputel", *sys.argv[1:]])
with open({ran!r} + ".new", "w") as file:
    json.dump(sys.argv[1:], file)
os.rename({ran!r} + ".new", {ran!r})
"""


class ShellSession:
    """An interactive shell whose ``gputel`` completes as the real one, and only notes its words."""

    def __init__(self, shell: str, directory: Path, api_url: str) -> None:
        self.directory = directory
        self._ran = directory / "ran.json"
        program = directory / "bin" / "gputel"
        program.parent.mkdir()
        program.write_text(_GPUTEL.format(python=sys.executable, ran=str(self._ran)))
        program.chmod(0o755)
        environment = {
            **{name: text for name, text in os.environ.items() if "GPUTEL" not in name},
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "GPUTEL_API_URL": api_url,
            "HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
        }
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.chdir(directory)
            os.execvpe(_SHELLS[shell][0], _SHELLS[shell], environment)
        self.seen = b""
        self.type("echo rea''dy\n")
        self._until(b"ready")
        self.type(f"{_LOADS[shell]}; echo load''ed\n")
        self._until(b"loaded")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def words_after_tab(self, line: str) -> list[str]:
        """The words that gputel is run with when Tab and Enter are pressed at the line's end."""
        self._ran.unlink(missing_ok=True)
        self.type(f"{line}\t")
        self._quiet()
        self.type("\n")
        self._until(b"", self._ran)
        return json.loads(self._ran.read_text())

    def shown_after_tabs(self, line: str) -> str:
        """What is on the screen when Tab was pressed three times; then the line is dropped."""
        before = len(self.seen)
        for keys in (f"{line}\t", "\t", "\t"):
            self.type(keys)
            self._quiet()
        self.type("\x15")
        self._quiet()
        return self.seen[before:].decode(errors="replace")

    def _quiet(self) -> None:
        """Until the shell sleeps in a read of its terminal, with no child at work."""
        deadline = time.monotonic() + _WAIT_S
        calm = 0
        while calm < 3:
            assert time.monotonic() < deadline, self.seen
            moved = self._read()
            calm = 0 if moved or _children(self._pid) or _state(self._pid) != "S" else calm + 1

    def _until(self, text: bytes, path: Path | None = None) -> None:
        deadline = time.monotonic() + _WAIT_S
        while text not in self.seen or not (path is None or path.exists()):
            assert time.monotonic() < deadline, self.seen
            self._read()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], 0.1)
        if ready:
            self.seen += os.read(self._terminal, 65536)
        return bool(ready)


def _children(pid: int) -> str:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return "".join((task / "children").read_text() for task in tasks).strip()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
