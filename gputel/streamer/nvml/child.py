"""The process that calls NVML: ``python -m gputel.streamer.nvml.child HOSTNAME``.

It is a process of its own because a driver that hangs blocks its caller where no signal reaches it.
Each line on standard input asks for one reading. Each answer is a line of JSON; ``bytes`` says how
much text follows it, and ``failed`` and ``lost`` are those of NvmlReading. If NVML as a whole
fails, the line has ``error`` instead, and the process ends: a new one loads the library again,
which a driver that was upgraded needs.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from gputel.sources.nvml.calls import NvmlGone
from gputel.sources.nvml.session import NvmlReading, NvmlSession
from gputel.streamer.nvml.xids import XidWatch

MODULE = "pynvml"
"""The module of the package nvidia-ml-py."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

AGAIN_S = 60.0
"""While a GPU is lost, NVML is initialised again so often: that alone finds it when it is back."""


class Reader:
    """Reads the GPUs, with the last XID of each. It initialises NVML at the first reading."""

    def __init__(self, nvml: Any, hostname: str, now_s: Callable[[], float]) -> None:
        self._nvml = nvml
        self._hostname = hostname
        self._now_s = now_s
        self._xids: dict[str, int] = {}
        self._open: tuple[NvmlSession, XidWatch] | None = None
        self._again_at: float | None = None

    def read(self) -> NvmlReading:
        """One reading. Raises NvmlGone."""
        if self._again_at is not None and self._now_s() >= self._again_at:
            self.close()
        if self._open is None:
            session = NvmlSession(self._nvml, self._hostname)
            self._open = session, XidWatch(self._nvml, session.gpus, self._xids)
        reading = self._open[0].read(self._xids)
        if reading.lost and self._again_at is None:
            self._again_at = self._now_s() + AGAIN_S
        return reading

    def close(self) -> None:
        """End the use of NVML; the next reading begins it again. Raises NvmlGone if it hangs."""
        self._again_at = None
        if self._open:
            session, xids = self._open
            xids.stop()
            session.close()
            self._open = None


def serve(reader: Reader, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each request, until there are no more or NVML is gone."""
    for _ in requests:
        try:
            reading = reader.read()
        except NvmlGone as gone:
            _write(answers, {"error": str(gone)})
            return
        text = reading.text.encode()
        header = {"bytes": len(text), "failed": reading.failed, "lost": reading.lost}
        _write(answers, header, text)


def _write(answers: BinaryIO, header: dict[str, object], text: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + text)
    answers.flush()


def _end_with_parent() -> None:
    """Have the system kill this process when the streamer is gone, also while a call hangs."""
    with suppress(OSError, AttributeError):  # where there is no prctl
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve on the standard streams. What the driver's library prints goes to standard error."""
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    reader = Reader(importlib.import_module(MODULE), sys.argv[1], time.monotonic)
    with suppress(BrokenPipeError):  # the streamer is gone
        serve(reader, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
