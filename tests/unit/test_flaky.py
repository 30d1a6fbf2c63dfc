"""What finds flaky tests finds one, says when it failed, and ends with 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.captures import ROOT

SUITE = """
from pathlib import Path

RUNS = Path(__file__).with_name("runs")

def test_fails_in_the_second_run():
    RUNS.write_text(RUNS.read_text() + "x" if RUNS.exists() else "x")
    assert len(RUNS.read_text()) != 2

def test_never_fails():
    pass
"""


def flaky(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plugin = ("-p", "random_order.plugin")  # and no other: they take long to load
    command: list[str | Path] = [
        sys.executable,
        ROOT / "tests" / "flaky.py",
        *arguments,
        *plugin,
        directory,
    ]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, env=environment, check=False
    )


def test_a_test_that_fails_now_and_then_is_named_with_the_runs_and_seeds(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SUITE)
    ended = flaky(tmp_path, "--runs", "3", "--busy", "1", "--seed", "7")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "run 1 of 3, seed 7, 1 busy: 2 tests in" in ended.stdout
    assert "2 of 3 runs were clean" in ended.stdout
    assert "failed in 1 of 3: test_some.py::test_fails_in_the_second_run" in ended.stdout
    assert "run 2 (seed 8, .flaky/run-2.txt)" in ended.stdout
    assert ended.stdout.count("test_never_fails") == 0


def test_runs_that_are_clean_end_with_0_and_one_that_finds_no_test_does_not(
    tmp_path: Path,
) -> None:
    ended = flaky(tmp_path, "--runs", "1")
    assert ended.returncode == 1
    assert "the run itself: pytest ended with 5" in ended.stdout
    (tmp_path / "test_some.py").write_text("def test_some():\n    pass\n")
    ended = flaky(tmp_path, "--runs", "1")
    assert (ended.returncode, "1 of 1 runs were clean" in ended.stdout) == (0, True)
