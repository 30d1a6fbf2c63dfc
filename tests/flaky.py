"""Runs the suite again and again, in another order each time, and tells which tests ever failed.

``python tests/flaky.py --runs 10 --busy 2 --seed 1 [ARGUMENTS OF PYTEST]``, or ``make flaky``.
Processes that only count keep as many processors busy beside it as ``--busy`` says.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))\n"
_FAILED = 1  # pytest's exit code for tests that failed; above it, the run itself did


@dataclass(frozen=True)
class Run:
    """One run of the suite: its number, the seed of its order, and the tests that failed in it."""

    number: int
    seed: int
    tests: int
    failed: tuple[str, ...]
    seconds: float
    log: Path


def main(arguments: Sequence[str]) -> int:
    """Run and report; 1 if anything failed in any run, else 0."""
    options, rest = _parser().parse_known_args(arguments)
    options.logs.mkdir(parents=True, exist_ok=True)
    runs = []
    with _busy(options.busy):
        for number in range(1, options.runs + 1):
            run = _run(number, options.seed + number - 1, options.logs, rest)
            print(
                f"run {number} of {options.runs}, seed {run.seed}, {options.busy} busy: "
                f"{run.tests} tests in {run.seconds:.0f} s, {len(run.failed)} failed",
                flush=True,
            )
            for test in run.failed:
                print(f"    {test}", flush=True)
            runs.append(run)
    return _report(runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Run the suite again and again in random order, and list what ever failed.",
        epilog="All other arguments go to pytest.",
    )
    parser.add_argument("--runs", type=int, default=10, help="how often (default: 10)")
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside it (default: 0)")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(1_000_000),
        help="seed of the first run's order, one more for each run after it (default: random)",
    )
    parser.add_argument(
        "--logs", type=Path, default=Path(".flaky"), help="directory of logs (default: .flaky)"
    )
    return parser


@contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _run(number: int, seed: int, logs: Path, arguments: Sequence[str]) -> Run:
    result, log = logs / f"run-{number}.xml", logs / f"run-{number}.txt"
    result.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("--random-order-bucket=global", f"--random-order-seed={seed}"),
        *(f"--junitxml={result}", "-o", "junit_family=xunit1", *arguments),
    ]
    began = time.monotonic()
    with log.open("wb") as out:
        code = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, check=False, env=_environment()
        ).returncode
    tests, failed = _outcomes(result)
    if code > _FAILED or (code and not failed):
        failed.append(f"the run itself: pytest ended with {code}, see {log}")
    return Run(number, seed, tests, tuple(failed), time.monotonic() - began, log)


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"}


def _outcomes(result: Path) -> tuple[int, list[str]]:
    """How many tests there were, and which of them failed."""
    if not result.exists():
        return 0, []
    cases = list(ET.parse(result).getroot().iter("testcase"))
    failed = [
        f"{case.get('file', case.get('classname'))}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return len(cases), list(dict.fromkeys(failed))


def _report(runs: Sequence[Run]) -> int:
    failures = defaultdict(list)
    for run in runs:
        for test in run.failed:
            failures[test].append(run)
    clean = sum(not run.failed for run in runs)
    print(f"\n{clean} of {len(runs)} runs were clean")
    for test, found in sorted(failures.items(), key=lambda item: -len(item[1])):
        where = ", ".join(f"run {run.number} (seed {run.seed}, {run.log})" for run in found)
        print(f"failed in {len(found)} of {len(runs)}: {test}\n    {where}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
