"""What a command does if its standard streams are full, closed, or read by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

GPUTEL = (sys.executable, "-m", "gputel")
FULL = Path("/dev/full")


def full() -> int:
    if not FULL.exists():
        pytest.skip("there is no /dev/full here")
    return os.open(FULL, os.O_WRONLY)


def unread() -> int:
    """A pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closing(*numbers: int) -> Callable[[], None]:
    """What a child runs before it becomes the command: it closes these descriptors."""

    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def ended(*arguments: str, stdout: int) -> tuple[int, str]:
    try:
        process = subprocess.run(
            [*GPUTEL, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(stdout)
    return process.returncode, process.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("--help",), ("roles",), ("openapi",), ("simulate", "--rows", "9999")],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_is_one_line_and_the_same_exit_code_in_every_command(
    arguments: tuple[str, ...],
) -> None:
    said = "gputel: standard output cannot be written: No space left on device\n"
    assert ended(*arguments, stdout=full()) == (1, said)


@pytest.mark.parametrize("arguments", [("--version",), ("simulate", "--rows", "9999")])
def test_a_reader_that_has_gone_is_that_exit_code_and_no_line(arguments: tuple[str, ...]) -> None:
    assert ended(*arguments, stdout=unread()) == (1, "")


@pytest.mark.parametrize("arguments", [("--version",), ("simulate", "--rows", "9999")])
def test_a_closed_output_is_one_line_and_that_exit_code(arguments: tuple[str, ...]) -> None:
    process = subprocess.run(
        [*GPUTEL, *arguments], stderr=subprocess.PIPE, preexec_fn=closing(0, 1)
    )
    said = b"gputel: standard output cannot be written: it is closed\n"
    assert (process.returncode, process.stderr) == (1, said)


def test_a_command_that_prints_nothing_needs_no_output(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    process = subprocess.run(
        [*GPUTEL, "simulate", "--rows", "3", "--output", path], preexec_fn=closing(0, 1, 2)
    )
    assert process.returncode == 0
    assert len(path.read_text().splitlines()) == 4


def test_standard_error_that_cannot_be_written_changes_no_exit_code() -> None:
    arguments = [*GPUTEL, "run", "--role", "nonsense"]
    for stderr in (full(), unread()):
        assert subprocess.run(arguments, stderr=stderr).returncode == 2
        os.close(stderr)
    assert subprocess.run(arguments, preexec_fn=closing(2)).returncode == 2


def test_a_closed_standard_input_is_one_line() -> None:
    process = subprocess.run(
        [*GPUTEL, "queue", "publish"], stderr=subprocess.PIPE, preexec_fn=closing(0)
    )
    said = b"gputel: standard input cannot be read: it is closed\n"
    assert (process.returncode, process.stderr) == (1, said)


def test_a_pipe_that_another_program_made_non_blocking_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    pieces: list[bytes] = []

    def read() -> None:
        while piece := os.read(reading, 1 << 12):
            pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    assert ended("simulate", "--rows", "5000", stdout=writing) == (0, "")
    reader.join()
    os.close(reading)
    assert b"".join(pieces).count(b"\n") == 5001


def test_a_file_on_a_full_disk_is_one_line_and_the_same_exit_code() -> None:
    os.close(full())
    process = subprocess.run(
        [*GPUTEL, "simulate", "--rows", "9999", "--output", FULL],
        capture_output=True,
    )
    said = b"gputel: /dev/full: cannot be written: No space left on device\n"
    assert (process.returncode, process.stdout, process.stderr) == (1, b"", said)
