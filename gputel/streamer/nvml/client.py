"""Readings of NVML from the process that calls it, however that process and the driver fare."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time

from gputel import metrics
from gputel.backoff import Backoff
from gputel.errors import ScrapeFailed, SourceError
from gputel.streamer.nvml.child import AGAIN_S, MODULE
from gputel.streamer.nvml.process import NvmlAnswer, NvmlProcess

log = logging.getLogger("gputel.streamer")

_START_S = 60.0  # without persistence mode the driver takes seconds for its first answer
_HANG_S = 5.0
_MOST_LEFT = 3  # processes that hang in the driver and cannot be killed
_SILENT = "the NVIDIA driver does not answer"


class NvmlClient:
    """Asks for readings; starts the process that calls NVML, and a new one when it has ended.

    ``start_s`` and ``hang_s`` are the seconds after which a process that does not give its first
    answer, or a later one, is killed.
    """

    def __init__(
        self, hostname: str, *, start_s: float = _START_S, hang_s: float = _HANG_S
    ) -> None:
        self._hostname = hostname
        self._start_s = start_s
        self._hang_s = hang_s
        self._process: NvmlProcess | None = None
        self._killed: list[NvmlProcess] = []  # that may still run
        self._backoff = Backoff(first_s=1.0, most_s=60.0)
        self._again_at = 0.0  # monotonic seconds; before it, no process is started
        self._reason = ""  # why there is no process
        self._lost: frozenset[str] = frozenset()  # GPUs that the log knows of

    async def get(self, timeout_s: float) -> bytes:
        """One reading in Prometheus' text format. One call at a time. Raises ScrapeFailed."""
        process = self._process or self._start()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await process.ask()
        except TimeoutError:
            raise ScrapeFailed(self._silent(process)) from None
        if answer.error:
            self._end(process, answer.error)
            raise ScrapeFailed(answer.error)
        self._backoff.reset()
        self._note(answer)
        return answer.text

    async def close(self) -> None:
        """End the process, or leave it behind if it hangs in the driver."""
        processes = [*self._killed, *([self._process] if self._process else [])]
        await asyncio.gather(*(process.close() for process in processes))
        self._process, self._killed = None, []

    def _start(self) -> NvmlProcess:
        self._killed = [process for process in self._killed if process.running]
        if len(self._killed) >= _MOST_LEFT:
            raise ScrapeFailed(f"{_SILENT}: {len(self._killed)} processes hang in it")
        if time.monotonic() < self._again_at:
            raise ScrapeFailed(self._reason)
        try:
            self._process = NvmlProcess(self._hostname)
        except OSError as error:
            reason = f"no process can be started: {error.strerror}"
            raise ScrapeFailed(reason) from None
        return self._process

    def _silent(self, process: NvmlProcess) -> str:
        """Why there is no answer yet; a process that hangs is killed."""
        if process.silent_s > (self._hang_s if process.answered else self._start_s):
            self._end(process, _SILENT)
        elif not process.answered:
            return "NVML is being initialised"
        return _SILENT

    def _end(self, process: NvmlProcess, reason: str) -> None:
        """Kill a process that is of no use any more, and wait before the next one starts."""
        self._process, self._reason = None, reason
        self._again_at = time.monotonic() + self._backoff.next_s()
        process.kill()
        self._killed.append(process)

    def _note(self, answer: NvmlAnswer) -> None:
        for code, count in answer.failed.items():
            metrics.NVML_CALLS_FAILED.labels(error=code).inc(count)
        lost = frozenset(answer.lost)
        for gpu in sorted(lost - self._lost):
            log.warning("left out: %s; NVML looks for it again each %d s", gpu, AGAIN_S)
        if self._lost and not lost:
            log.info("all GPUs are read again")
        self._lost = lost


async def check_nvml(hostname: str, wait_s: float = _START_S) -> None:
    """Read once. Raises SourceError, which says what to do, if there is no driver or no GPU."""
    if importlib.util.find_spec(MODULE) is None:
        raise SourceError("--nvml needs the package nvidia-ml-py: pip install 'gputel[nvml]'")
    client = NvmlClient(hostname, start_s=0)
    try:
        await client.get(wait_s)
    except ScrapeFailed as failure:
        within = f" within {wait_s:g} s" if failure.message == _SILENT else ""
        raise SourceError(f"--nvml: {failure.message}{within}") from None
    finally:
        await client.close()
