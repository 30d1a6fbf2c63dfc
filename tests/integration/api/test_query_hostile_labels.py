"""Labels that would act on a terminal: shown as escapes, and exact in files."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import re
from datetime import UTC, datetime

import asyncpg
import pytest

from gputel.web.server.listener import Listener
from tests.helpers.query_command import gputel, on_a_terminal
from tests.helpers.telemetry_rows import Labels, add_block

NOW = datetime.now(UTC)
HOSTILE = "\x1b]52;c;eA==\x07\x9b2J\u202e\u200b\u2028[bold][link=x]:smile:\r\n\x7f"
METRIC = "=HYPERLINK\x1b[2J"
OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # styles and cursors of rich


@pytest.fixture(autouse=True)
async def fleet(pool: asyncpg.Pool) -> None:
    for place in range(2):
        labels = Labels(f"GPU-{place}{HOSTILE}", f"{METRIC}{place}", f"{HOSTILE}{place}")
        await add_block(pool, labels, [NOW], [-1.5])


def assert_printable(shown: str) -> None:
    assert "\x1b[2J" not in shown
    text = OURS.sub("", shown).replace("\r", "").replace("\n", "")
    unseen = {character for character in text if not character.isprintable()}
    assert not unseen, ascii(shown)


COMMANDS = [
    ["gpus"],
    ["hosts"],
    ["metrics"],
    ["telemetry"],
    ["latest"],
    ["top", METRIC + "0"],
    ["gpu", "GPU-0"],
    ["gpu", "GPU-"],  # an error that names both
    ["gpus", "--format", "csv"],
    ["gpus", "--format", "json"],
    ["telemetry", "--format", "ndjson"],
    ["telemetry", "--metric", "none\x1b[2J"],
    ["gpus", "--seen-since", "\x1b[2J"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=ascii)
async def test_nothing_but_printable_characters_reaches_a_terminal(
    api: Listener, command: list[str]
) -> None:
    shown = await on_a_terminal(api, *command, NO_COLOR="1")
    assert_printable(shown)
    if command[0] in ("gpus", "hosts", "latest") and len(command) == 1:
        assert "\\x1b]52" in shown.replace("\r\n", "")
        assert "[bold][link=x]:smile:" in shown.replace("\r\n", "")


async def test_json_on_a_terminal_means_what_a_file_gets(api: Listener) -> None:
    exact = await gputel(api, "query", "hosts", "--format", "json")
    shown = await on_a_terminal(api, "hosts", "--format", "json")
    assert_printable(shown)
    assert json.loads(shown) == json.loads(exact.out)
    assert any(row["hostname"].startswith(HOSTILE) for row in json.loads(exact.out))


async def test_csv_is_exact_unless_it_is_to_be_safe_for_spreadsheets(api: Listener) -> None:
    for arguments, first in ((["--csv-safe"], "'"), ([], "")):
        ended = await gputel(api, "query", "metrics", "--format", "csv", *arguments)
        names = [row["metric_name"] for row in csv.DictReader(io.StringIO(ended.out))]
        assert names == [f"{first}{METRIC}{place}" for place in range(2)]


@contextlib.asynccontextmanager
async def answering(head: bytes):
    """A server that gives every request one answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 500 \x1b]0;x\x07 reason\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 400 x\r\nContent-Length: 27\r\n\r\n{"message":"a\\u001b[2Jb\\nc"}',
        b"\x1b[2J\r\n\r\n",
    ],
)
async def test_what_another_server_says_is_one_printable_line(head: bytes) -> None:
    async with answering(head) as url:
        ended = await gputel(None, "query", "gpus", "--api-url", url)
        assert ended.code == 1
        assert_printable(ended.err)
        assert ended.err.count("\n") == 1
        ended = await gputel(None, "queue", "--broker-url", url, "stats")
        assert ended.code == 1
        assert_printable(ended.err)
        assert ended.err.count("\n") == 1
