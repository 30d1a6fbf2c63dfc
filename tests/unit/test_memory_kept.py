"""Pages of memory that was freed are there for the next answer."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS, PAGES = 50, 1_000
PROGRAM = f"""
import resource, sys
import numpy as np
from gputel.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
def answer():
    parts = [np.ones({PAGES} * 4096 // 8) for _ in range(3)]
answer()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    answer()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_an_answer_takes_no_fresh_pages_from_the_kernel_where_the_one_before_freed_as_many() -> (
    None
):
    assert faults() > ROUNDS * PAGES
    assert faults("keep") < ROUNDS * PAGES / 10
