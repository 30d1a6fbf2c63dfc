from __future__ import annotations

import sys

from tests.helpers.captures import ROOT


def test_no_benchmark_hides_a_module_of_the_standard_library() -> None:
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert names
    assert names & sys.stdlib_module_names == set()
