"""Runs the real command against an API of a test."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from gputel.web.listener import Listener


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
