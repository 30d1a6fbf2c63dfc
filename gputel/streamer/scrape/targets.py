"""The present targets of all jobs, while configuration and discovery change them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gputel.backoff import pause
from gputel.config.file_state import state_of
from gputel.config.settings import StreamerSettings
from gputel.errors import ConfigError
from gputel.masking import mask
from gputel.metrics import SCRAPE_DISCOVERY_FAILURES
from gputel.printable import printable
from gputel.streamer.scrape.config_file import read_jobs
from gputel.streamer.scrape.discovery.kinds import StaticTargets, TargetGroup
from gputel.streamer.scrape.discovery.watcher import Watchable, Watcher
from gputel.streamer.scrape.http.client import HttpGetter
from gputel.streamer.scrape.jobs import (
    FLAG_JOB,
    NVML_JOB,
    ScrapeJob,
    Target,
    from_flags,
    from_nvml,
    target_of,
)

log = logging.getLogger("gputel.streamer")

MOST_TARGETS = 20_000
"""Of one job."""
_LOOK_S = 2.0  # between two looks at whether the file has changed
_CONNECTIONS = 16  # for discovery
_FLAG_OF = {FLAG_JOB: "scrape", NVML_JOB: "nvml"}

Jobs = Mapping[str, tuple[ScrapeJob, list[Target]]]
_Key = tuple[str, Watchable]


class TargetList:
    """The targets of jobs from flags and from a file. Raises ConfigError if the file is wrong.

    ``version`` grows whenever ``jobs`` changes. A later version of the file that is wrong changes
    nothing; the log has the error.
    """

    def __init__(
        self,
        jobs: Sequence[ScrapeJob] = (),
        path: Path | None = None,
        *,
        look_s: float = _LOOK_S,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.version = 0
        self._flag_jobs = tuple(jobs)
        self._path = path
        self._look_s = look_s
        self._environ = environ
        self._getter = HttpGetter(_CONNECTIONS)
        self._jobs: dict[str, tuple[ScrapeJob, list[Target]]] = {}
        self._watchers: dict[_Key, Watcher] = {}
        self._running: dict[Watcher, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}  # by job, that were logged
        self._error = ""  # of the file, that was logged
        self._state = state_of(path) if path else None
        self._configure(self._read())

    @classmethod
    def of(cls, settings: StreamerSettings) -> TargetList:
        """The targets that the settings name. Raises ConfigError."""
        interval_s = settings.scrape_interval.total_seconds()
        texts = settings.scrape.split(",") if settings.scrape else []
        jobs = [from_flags(texts, interval_s)] if texts else []
        if settings.nvml:
            jobs.append(from_nvml(socket.gethostname(), settings.nvml_interval.total_seconds()))
        return cls(jobs, settings.scrape_config)

    def jobs(self) -> Jobs:
        """By the job's name: the job and its present targets, in the order of their URLs."""
        return dict(self._jobs)

    def problems(self) -> dict[str, list[str]]:
        """By the job's name: what is wrong with its list of targets at present."""
        found = {name: [problem] for name, problem in self._problems.items() if problem}
        for (name, _), watcher in self._watchers.items():
            if watcher.problem:
                found.setdefault(name, []).append(watcher.problem)
        return found

    async def first(self, wait_s: float) -> bool:
        """Wait until each discovery has answered or failed; returns whether that was in time."""
        try:
            async with asyncio.timeout(wait_s):
                for watcher in list(self._watchers.values()):
                    await watcher.answered.wait()
        except TimeoutError:
            return False
        return True

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the targets fresh until ``stopping`` is set."""
        async with self._getter, asyncio.TaskGroup() as tasks:
            self._start(tasks, stopping)
            while not await pause(self._look_s, stopping):
                await self.reload()
                self._start(tasks, stopping)
            for task in self._running.values():
                task.cancel()

    async def reload(self) -> bool:
        """Read the file again if it changed; returns whether the jobs did."""
        if self._path is None:
            return False
        state = await asyncio.to_thread(state_of, self._path)
        if state == self._state:
            return False
        self._state = state
        try:
            jobs = await asyncio.to_thread(self._read)
        except ConfigError as error:
            if error.message != self._error:
                log.error("%s; the scrape jobs stay as they were", error.message)  # noqa: TRY400
            self._error = error.message
            return False
        self._error = ""
        self._configure(jobs)
        log.info("%s: read again, %d scrape jobs", self._path, len(jobs))
        return True

    def _read(self) -> tuple[ScrapeJob, ...]:
        """The jobs of the flags and of the file."""
        from_file = read_jobs(self._path) if self._path else ()
        taken = {job.name for job in self._flag_jobs}
        for job in from_file:
            if job.name in taken:
                raise ConfigError(
                    f"{self._path}: job {job.name!r}: the job of --{_FLAG_OF[job.name]} has this "
                    "name; choose another job_name"
                )
        return self._flag_jobs + from_file

    def _configure(self, jobs: Sequence[ScrapeJob]) -> None:
        """Take these jobs. Discoveries that were there before keep their lists."""
        watchers: dict[_Key, Watcher] = {}
        for job in jobs:
            for discovery in job.discoveries:
                if not isinstance(discovery, StaticTargets):
                    key = (job.name, discovery)
                    watchers[key] = self._watchers.get(key) or self._watcher(job.name, discovery)
        self._watchers = watchers
        if list(jobs) != [job for job, _ in self._jobs.values()]:
            self.version += 1
        self._jobs = {job.name: (job, self._jobs.get(job.name, (job, []))[1]) for job in jobs}
        for job in jobs:
            self._assemble(job.name)

    def _watcher(self, job: str, discovery: Watchable) -> Watcher:
        return Watcher(job, discovery, self._getter, lambda: self._assemble(job), self._environ)

    def _start(self, tasks: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        """Run the watchers that do not run yet, and end those that nobody needs."""
        present = set(self._watchers.values())
        for watcher in set(self._running) - present:
            self._running.pop(watcher).cancel()
        for watcher in present - set(self._running):
            self._running[watcher] = tasks.create_task(watcher.run(stopping))

    def _assemble(self, name: str) -> None:
        """Make the list of a job anew.

        While a new discovery has not answered yet, a job keeps the targets that it had.
        """
        if name not in self._jobs:
            return
        job, before = self._jobs[name]
        watchers = [watcher for key, watcher in self._watchers.items() if key[0] == name]
        if before and not all(watcher.answered.is_set() for watcher in watchers):
            return
        targets, problem = _targets(job, self._groups(job))
        self._log(name, problem)
        if targets != before:
            self._jobs[name] = (job, targets)
            self.version += 1

    def _groups(self, job: ScrapeJob) -> Iterator[TargetGroup]:
        for discovery in job.discoveries:
            if isinstance(discovery, StaticTargets):
                yield from discovery.groups
            else:
                yield from self._watchers[job.name, discovery].groups

    def _log(self, name: str, problem: str) -> None:
        """Log and count the problem of a job, once."""
        if problem and problem != self._problems.get(name):
            SCRAPE_DISCOVERY_FAILURES.labels(name).inc()
            log.warning("job %r: %s", name, problem)
        self._problems[name] = problem


def _targets(job: ScrapeJob, groups: Iterable[TargetGroup]) -> tuple[list[Target], str]:
    """The targets in the order of their URLs, each URL once, and what is wrong with the list."""
    targets: dict[str, Target] = {}
    problem, surplus, refused = "", "", 0
    for text, labels in ((text, group.labels) for group in groups for text in group.targets):
        try:
            target = target_of(job, text, labels)
        except ValueError as error:
            refused += 1
            problem = problem or f"{mask(printable(text[:200]))!r}: {error}"
            continue
        if len(targets) == MOST_TARGETS and target.url not in targets:
            surplus = f"it has over {MOST_TARGETS:,} targets; only the first are scraped"
            break
        targets.setdefault(target.url, target)
    if refused:
        problem = f"{refused} targets cannot be used, such as {problem}"
    return [targets[url] for url in sorted(targets)], surplus or problem
