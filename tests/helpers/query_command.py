"""Runs the real command against an API of a test."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from dataclasses import dataclass

from gputel.web.server.listener import Listener


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


async def gputel(api: Listener | None, *arguments: str, shell: str = "") -> Ended:
    """Run the real command, against ``api`` where one is given."""
    environment = {key: value for key, value in os.environ.items() if "GPUTEL" not in key}
    if api is not None:
        environment["GPUTEL_API_URL"] = api.url
    command = [sys.executable, "-m", "gputel", *arguments]
    if shell:
        command = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *command]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def on_a_terminal(api: Listener, *arguments: str, **environment: str) -> str:
    """What ``gputel query`` shows on a terminal of 80 columns, unless COLUMNS says otherwise."""
    ours, theirs = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "query", *arguments, "--api-url", api.url),
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    parts = []
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while part := await asyncio.to_thread(terminal.read, 1 << 16):
                parts.append(part)
        except OSError:
            pass  # the other end is closed
    await process.wait()
    return b"".join(parts).decode()
