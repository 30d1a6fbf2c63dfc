"""Real gputel processes for tests: started, watched from outside, and ended by their own pid."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.helpers.waiting import until

_BELOW_EPHEMERAL = range(15_000, 30_000)
_WORKERS = 32  # of pytest-xdist; more of them share ports, which makes a clash possible
_chance = random.SystemRandom()  # two runs with one seed, side by side, take other ports
_taken: set[int] = set()


class Gputel:
    """One process, with what it prints in files."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def out(self) -> str:
        """All that it has printed on stdout."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """All that it has printed on stderr."""
        return self._err.read_text()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    async def ended(self, wait_s: float = 120) -> int:
        """Its exit code, once it has ended by itself."""
        await until(lambda: not self.running, wait_s, f"{self.process.args!r} to end\n{self.err}")
        return self.process.returncode

    async def stop(self, number: signal.Signals = signal.SIGTERM, wait_s: float = 120) -> int:
        """Ask it to stop; its exit code."""
        if self.running:
            self.send(number)
        return await self.ended(wait_s)

    async def says(self, text: str, wait_s: float = 120) -> None:
        """Wait until it has printed the text on stderr."""

        def check() -> bool:
            said = text in self.err
            assert said or self.running, f"it ended with {self.process.returncode}:\n{self.err}"
            return said

        await until(check, wait_s, f"{text!r} to be said")


class Processes:
    """Starts processes with an environment of their own."""

    def __init__(self, directory: Path, program: Sequence[str | Path]) -> None:
        self.directory = directory
        self.program = program
        self.started: list[Gputel] = []
        self._numbers = itertools.count(1)

    def start(
        self, *arguments: str | Path, cwd: str | Path | None = None, **environment: str
    ) -> Gputel:
        """Start ``gputel ARGUMENTS``; it sees no GPUTEL_ variables but those given."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith("GPUTEL_")}
        stem = self.directory / f"process-{next(self._numbers)}"
        out, err = stem.with_suffix(".out"), stem.with_suffix(".err")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*map(str, self.program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd or self.directory,
                env=clean | environment,
            )
        self.started.append(Gputel(process, out, err))
        return self.started[-1]

    async def run(
        self, *arguments: str | Path, cwd: str | Path | None = None, **environment: str
    ) -> Gputel:
        """Start it and wait for its end."""
        process = self.start(*arguments, cwd=cwd, **environment)
        await process.ended()
        return process

    def tracebacks(self) -> list[str]:
        """What any of them printed that no user should see."""
        return [process.err for process in self.started if "Traceback" in process.err]

    def end(self) -> None:
        """End those that still run; as root, a child of theirs dies with them."""
        for process in self.started:
            with suppress(ProcessLookupError):
                process.kill()


@asynccontextmanager
async def processes_in(
    directory: Path, program: Sequence[str | Path] = (sys.executable, "-m", "gputel")
) -> AsyncIterator[Processes]:
    """Processes that last no longer than the context; none may have printed a traceback."""
    processes = Processes(directory, program)
    try:
        yield processes
        printed = processes.tracebacks()
        assert not printed, "\n\n".join(printed)
    finally:
        processes.end()


def free_port() -> int:
    """A port that nobody listens on, and that nothing else of this test run will be given.

    No outgoing connection gets it either. Ports are another set in each process of pytest-xdist.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    ports = _BELOW_EPHEMERAL[int(worker) % _WORKERS :: _WORKERS]
    if len(_taken) > len(ports) // 2:
        _taken.clear()
    while True:
        port = _chance.choice(ports)
        if port in _taken:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _taken.add(port)
            return port
