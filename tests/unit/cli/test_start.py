"""What a command does not need is not imported: it would be most of the time that it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

ARROW = {"numpy", "pyarrow"}
SERVERS = {"aiohttp", "asyncpg", "uvloop"}


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("gputel.cli.query.group", ARROW | SERVERS | {"asyncio", "rich"}),
        ("gputel.cli.queue.group", ARROW | SERVERS | {"asyncio", "rich"}),
        ("gputel.cli.run", ARROW | SERVERS | {"rich"}),
        ("gputel.broker.server", ARROW | {"asyncpg", "rich"}),
    ],
)
def test_a_command_imports_only_what_it_needs(module: str, unneeded: set[str]) -> None:
    code = f"import sys, gputel.cli.main, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & unneeded == set()
