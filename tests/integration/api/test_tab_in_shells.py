"""Tab in real shells: a name from outside stays one word, whatever it is made of."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from gputel.web.server.listener import Listener
from tests.helpers.shell_sessions import SHELLS, ShellSession
from tests.helpers.telemetry_rows import Labels, add_block

NOW = datetime.now(UTC)
_RESTS = (
    ";touch${IFS}PWNED;",
    "$(touch PWNED)",
    "`touch PWNED`",
    "'|touch PWNED|'",
    '"&&touch PWNED&&"',
    "\\|touch PWNED",
    " {a,b} * ? [x] ~ # ! > PWNED",
    ":1=2,3 x:touch PWNED",
    "(touch PWNED)<PWNED",
)
HOSTILE = tuple(f"n{place}{rest}" for place, rest in enumerate(_RESTS))
LEFT_OUT = (
    "lost\ntouch PWNED\n",
    "lost\x1b]52;c;eA==\x07",
    "lost\tx",
    "lost\u202egpj",
    "lost\u200b",
)

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc"),
    pytest.mark.timeout(300),
]


async def add_fleet(pool: asyncpg.Pool) -> None:
    for place, hostname in enumerate((*HOSTILE, *LEFT_OUT, "lost+found")):
        labels = Labels(f"GPU-{place}", f"METRIC_{place}", hostname)
        await add_block(pool, labels, [NOW], [1.0])
    await add_block(pool, Labels("GPU-x", "--api-url=http://elsewhere", "node"), [NOW], [1.0])


@pytest.mark.parametrize("shell", SHELLS)
async def test_what_tab_completes_is_one_word_or_nothing_and_runs_nothing(
    pool: asyncpg.Pool, api: Listener, tmp_path: Path, shell: str
) -> None:
    await add_fleet(pool)

    def press() -> None:
        with ShellSession(shell, tmp_path, api.url) as session:
            hosts_are_one_word(session)
            hosts_are_whole_or_not_offered_in_quotes(session, shell)
            the_rest_is_offered_or_left_out(session)

    await asyncio.to_thread(press)
    assert not (tmp_path / "PWNED").exists()


def hosts_are_one_word(session: ShellSession) -> None:
    for place, hostname in enumerate(HOSTILE):
        words = session.words_after_tab(f"gputel query gpus --hostname n{place}")
        assert words == ["query", "gpus", "--hostname", hostname]


def hosts_are_whole_or_not_offered_in_quotes(session: ShellSession, shell: str) -> None:
    for quote, spoils in (('"', '"$`\\!'), ("'", "'")):
        for place in (0, 3, 4, 7):
            hostname, line = HOSTILE[place], f"gputel query gpus --hostname {quote}n{place}"
            if shell == "bash" and set(hostname) & set(spoils):
                assert "PWNED" not in session.shown_after_tabs(line)
            else:
                assert session.words_after_tab(line)[-1] == hostname


def the_rest_is_offered_or_left_out(session: ShellSession) -> None:
    words = session.words_after_tab("gputel query gpus --hostname los")
    assert words[-1] == "lost+found"  # alone: what no terminal can show is left out
    for begun in ("'NVIDIA H", "NVIDIA\\ H"):
        words = session.words_after_tab(f"gputel query gpus --model {begun}")
        assert words == ["query", "gpus", "--model", "NVIDIA H100 80GB HBM3"]
    assert session.words_after_tab("gputel query --hel") == ["query", "--help"]
    assert "telemetry" in session.shown_after_tabs("gputel query t")
    shown = session.shown_after_tabs("gputel query top ")
    assert "METRIC_1" in shown
    assert "elsewhere" not in shown  # which the command would take for an option
