"""docs/protocol.md: every curl line in it runs, and answers what stands below it."""

import asyncio
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import msgspec

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"
EXAMPLE = re.compile(r"```sh\n(curl .*?)\n```\n\n```json\n(.*?)\n```", re.DOTALL)
CHANGES = {"lease", "enqueued", "died_at", "at", "oldest_ready_s", "age_s", "wait_s", "work_s"}


async def curl(command: str, port: int) -> Any:
    words = shlex.split(command.replace("localhost:8081", f"127.0.0.1:{port}"))
    process = await asyncio.create_subprocess_exec(
        *words, "-sS", "--noproxy", "*", stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return msgspec.json.decode(out)


def steady(value: Any) -> Any:
    """The value without what differs from run to run, but with the names of it."""
    if isinstance(value, dict):
        return {name: "" if name in CHANGES else steady(item) for name, item in value.items()}
    return [steady(item) for item in value] if isinstance(value, list) else value


async def test_every_example_of_the_document_answers_as_it_says(broker) -> None:
    examples = EXAMPLE.findall(DOCUMENT.read_text())
    assert len(examples) == DOCUMENT.read_text().count("\ncurl ") == 22
    for command, answer in examples:
        got = await curl(command, broker.port)
        assert steady(got) == steady(msgspec.json.decode(answer)), command


async def test_document_names_every_path_of_the_broker(broker) -> None:
    text = DOCUMENT.read_text()
    for path in ("/publish", "/consume", "/ack", "/nack", "/extend", "/held", "/admin/drain"):
        assert f"## POST {path}\n" in text
        status, _ = await broker.post(path + "?nonsense=1")
        assert status == 400
