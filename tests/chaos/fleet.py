"""One broker, three streamers and three collectors, each a process, and what kills them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import chain

from gputel.roles.registry import parse_roles
from tests.helpers.processes import Gputel, Processes, free_port
from tests.helpers.waiting import until

MEMBERS = ("broker", *("streamer", "collector") * 3)
PAUSE_S = (0.0, 0.5)  # between two kills
STARTING = 2  # at once, at most: or a slow machine would do nothing but start processes
ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))  # of kills: each kills whatever can be killed


class Fleet:
    """The processes by number; one that is killed is started again at once, as it was."""

    def __init__(self, processes: Processes, dsn: str, *streamer: str) -> None:
        assert parse_roles(MEMBERS)
        self._processes = processes
        self._environment = {
            "GPUTEL_POSTGRES_DSN": dsn,
            "GPUTEL_BROKER_PORT": str(free_port()),
            "GPUTEL_VISIBILITY_TIMEOUT_S": "0.5",
            "GPUTEL_CHUNK_LEASE_S": "0.5",
            "GPUTEL_MAX_ATTEMPTS": "1000",
            "GPUTEL_POSTGRES_POOL_SIZE": "4",
        }
        self._streamer = streamer
        self.kills: Counter[str] = Counter()
        self.members = [self._start(role) for role in MEMBERS]

    def _start(self, role: str) -> Gputel:
        own = self._streamer if role == "streamer" else ()
        return self._processes.start("run", "--role", role, *own, **self._environment)

    def of(self, role: str) -> list[Gputel]:
        """The processes of a role that run now."""
        return [one for name, one in zip(MEMBERS, self.members, strict=True) if name == role]

    async def kill_while(
        self, working: Callable[[], Awaitable[bool]], seed: int | None = None
    ) -> None:
        """Kill one after the other at random, while there is work; in the end all run again."""
        seed = random.randrange(1 << 32) if seed is None else seed
        print(f"seed {seed}")
        chance = random.Random(seed)
        for number in chain(
            *(chance.sample(range(len(MEMBERS)), len(MEMBERS)) for _ in range(ROUNDS))
        ):
            await self._ready(number, at_least=len(MEMBERS) - STARTING)
            await asyncio.sleep(chance.uniform(*PAUSE_S))
            if not await working():
                break
            self.members[number].kill()
            self.members[number] = self._start(MEMBERS[number])
            self.kills[MEMBERS[number]] += 1
        print(f"killed {dict(self.kills)}")
        assert len(self.kills) == len(set(MEMBERS)), "all was done before each had been killed"
        await self._ready(0, at_least=len(MEMBERS))

    async def _ready(self, number: int, at_least: int) -> None:
        """Wait until this one is at work, and so are nearly all."""

        def check() -> bool:
            self._check_alive()
            ready = ["ready" in member.err for member in self.members]
            return ready[number] and sum(ready) >= at_least

        await until(check, 120, "processes to start")

    def restart_streamers(self, *streamer: str) -> None:
        """Kill all streamers, and start them with other arguments."""
        self._streamer = streamer
        for number, role in enumerate(MEMBERS):
            if role == "streamer":
                self.members[number].kill()
                self.members[number] = self._start(role)

    async def stop(self, role: str) -> None:
        """Let the processes of a role drain, and end well."""
        members = self.of(role)
        for member in members:
            member.send(signal.SIGTERM)
        for member in members:
            assert await member.ended() == 0, member.err

    def _check_alive(self) -> None:
        for role, member in zip(MEMBERS, self.members, strict=True):
            assert member.running, f"{role} ended with {member.process.returncode}:\n{member.err}"
