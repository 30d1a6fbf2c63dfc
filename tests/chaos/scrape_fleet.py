"""Exporters, and the processes that scrape them, each of which is killed or stopped for a while."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import aiohttp

from tests.chaos.fleet import PAUSE_S, ROUNDS
from tests.helpers import counting_exporters
from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.waiting import until

MEMBERS = ("broker", *("streamer",) * 3, *("collector",) * 2)
FAST_CLOCK = 3  # the streamer whose clock is an hour ahead
AHEAD_S = 3600
STOP_S = 8.0 if ROUNDS == 1 else 30.0  # longer than a streamer's lease of 5 s
STREAMER = ("--scrape-interval", "1s", "--scrape-batch-s", "2")
CLOCK_IS_SET = "the clock is an hour ahead"
_CLOCK = f"""
import sys, time

def shifted(clock, by):
    return lambda: clock() + by

time.time = shifted(time.time, {AHEAD_S})
time.time_ns = shifted(time.time_ns, {AHEAD_S} * 10**9)
print({CLOCK_IS_SET!r}, file=sys.stderr, flush=True)
"""


class Exporters:
    """The exporters of ``counting_exporters``, by number."""

    def __init__(self, process: subprocess.Popen[bytes], addresses: Sequence[str]) -> None:
        self._process = process
        self.addresses = addresses

    @classmethod
    @asynccontextmanager
    async def started(cls, count: int) -> AsyncIterator[Self]:
        """Run so many until the context ends."""
        program = (sys.executable, counting_exporters.__file__, str(count))
        process = subprocess.Popen(program, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            line = await asyncio.to_thread(process.stdout.readline)
            yield cls(process, json.loads(line))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    async def answers(self) -> list[list[float]]:
        """The time of each answer of each exporter."""
        async with aiohttp.ClientSession() as http:
            found = []
            for address in self.addresses:
                async with http.get(f"http://{address}/answers") as reply:
                    found.append(await reply.json())
            return found


class ScrapeFleet:
    """The processes by number; one that is killed is started again at once, as it was."""

    def __init__(
        self, processes: Processes, dsn: str, directory: Path, targets: Sequence[str]
    ) -> None:
        self._processes = processes
        self._targets = [part for target in targets for part in ("--scrape", target)]
        self._journal = directory / "journal"
        self._clock = directory / "clock"
        self._clock.mkdir()
        (self._clock / "sitecustomize.py").write_text(_CLOCK)
        self._environment = {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_BROKER_PORT": str(free_port()),
            "GPUTEL_VISIBILITY_TIMEOUT_S": "1",
            "GPUTEL_MAX_ATTEMPTS": "1000",
            "GPUTEL_POSTGRES_POOL_SIZE": "4",
        }
        self.blows: Counter[str] = Counter()
        self._away: set[int] = set()  # those that are stopped now
        self._waking: set[asyncio.Task[None]] = set()
        self.members = [self._start(number) for number in range(len(MEMBERS))]

    def _start(self, number: int) -> Gputel:
        role, environment = MEMBERS[number], dict(self._environment)
        own: tuple[str | Path, ...] = ()
        if role == "broker":
            own = ("--journal", self._journal)
        elif role == "streamer":
            own = (*STREAMER, *self._targets)
        if number == FAST_CLOCK:
            path = [str(self._clock), os.environ.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        return self._processes.start("run", "--role", role, *own, **environment)

    def of(self, role: str) -> list[int]:
        """The numbers of the members of a role."""
        return [number for number, name in enumerate(MEMBERS) if name == role]

    async def harm(self, seed: int | None = None) -> None:
        """In each round, kill each role and stop each but the broker; in the end all run again."""
        seed = random.randrange(1 << 32) if seed is None else seed
        print(f"seed {seed}")
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            blows = [("kill", "broker"), *itertools.product(("kill", "stop"), MEMBERS[1::3])]
            for blow, role in chance.sample(blows, len(blows)):
                number = chance.choice([each for each in self.of(role) if each not in self._away])
                await asyncio.sleep(chance.uniform(*PAUSE_S))
                await self._strike(blow, number)
            await asyncio.gather(*self._waking)
        await self.ready()
        print(f"done: {dict(self.blows)}")

    async def _strike(self, blow: str, number: int) -> None:
        self.blows[f"{blow} {MEMBERS[number]}"] += 1
        if blow == "stop":
            self.members[number].send(signal.SIGSTOP)
            self._away.add(number)
            waking = asyncio.create_task(self._wake(number))
            self._waking.add(waking)
            waking.add_done_callback(self._waking.discard)
        else:
            self.kill(number)
            self.restart(number)
            await self.ready()

    async def _wake(self, number: int) -> None:
        await asyncio.sleep(STOP_S)
        self.members[number].send(signal.SIGCONT)
        self._away.discard(number)

    def kill(self, number: int) -> None:
        """End a member as a power cut would."""
        self.members[number].kill()

    def restart(self, number: int) -> None:
        """Start a member that has ended."""
        self.members[number] = self._start(number)

    async def ready(self) -> None:
        """Wait until all are at work."""

        def check() -> bool:
            for role, member in zip(MEMBERS, self.members, strict=True):
                assert member.running, f"{role}: {member.process.returncode}:\n{member.err}"
            return all("ready" in member.err for member in self.members)

        await until(check, 120, "processes to start")

    async def stop(self, *numbers: int) -> None:
        """Let these members drain, and end well."""
        for number in numbers:
            self.members[number].send(signal.SIGTERM)
        for number in numbers:
            assert await self.members[number].ended() == 0, self.members[number].err
