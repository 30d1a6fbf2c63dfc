"""Prometheus' own test files are answered as they say, where they are at hand.

They are not part of this repository. Point PROMQL_TESTDATA at the folder ``promql/testdata`` of
Prometheus' source at release 2.42: the tag v2.42.0, or Debian's source package ``prometheus``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from gputel.errors import GputelError
from gputel.promql.syntax.go_text import parse_float, unquoted
from gputel.promql.values.labels import Labels, from_mapping
from gputel.promql.values.samples import STALE_BITS
from gputel.promql.values.vector import Scalar, Vector
from gputel.times import parse_duration
from tests.unit.promql.series import evaluated

FOLDER = Path(os.environ.get("PROMQL_TESTDATA") or "/no/folder/named")
FILES = sorted(FOLDER.glob("*.test"))
STALE = float(np.array([STALE_BITS]).view(np.float64)[0])
MINUTE = 60_000_000
EVAL = re.compile(r"eval(?:_(fail|ordered))?\s+instant\s+(?:at\s+(\S+))?\s+(.+)")
SERIES = re.compile(r'([a-zA-Z_:][\w:]*)?\s*(\{(?:[^}"\']|"(?:[^"\\]|\\.)*"|\'[^\']*\')*\})?(.*)')
PAIR = re.compile(r"""(\w+)\s*=\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)""")
NUMBER = r"[+-]?(?:[Ii]nf|[Nn]a[Nn]|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
VALUE = re.compile(rf"(?:(_)|(stale)|({NUMBER}))(?:({NUMBER})?x(\d+))?")

DIFFERS: frozenset[str] = frozenset()
"""Expressions whose answer is not Prometheus': docs/prometheus.md says why."""


@dataclass
class Eval:
    line: int
    text: str
    at_us: int
    mode: str | None
    expected: list[tuple[Labels, float]] = field(default_factory=list)
    scalar: float | None = None


Data = dict[Labels, list[tuple[int, float]]]


def described(line: str) -> tuple[Labels, list[float | None]]:
    """The labels and the values of a line."""
    match = SERIES.fullmatch(line)
    assert match is not None, line
    pairs = {name: unquoted(text) for name, text in PAIR.findall(match[2] or "")}
    if match[1]:
        pairs["__name__"] = match[1]
    return from_mapping(pairs), [value for text in match[3].split() for value in values(text)]


def values(text: str) -> list[float | None]:
    match = VALUE.fullmatch(text)
    assert match is not None, text
    count = int(match[5] or 0)
    if match[1]:
        return [None] * max(count, 1)
    if match[2]:
        return [STALE]
    step = float(match[4] or 0)
    found, value = [], float(match[3])
    for _ in range(count + 1):
        found.append(value)
        value += step
    return list(found)


def commands(path: Path) -> Iterator[tuple[Data, Eval]]:
    """Each question of a file, with the data that it is asked of."""
    data: Data = {}
    lines = [line.strip() for line in path.read_text().splitlines()]
    lines = ["" if line.startswith("#") else line for line in lines]
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if line == "clear":
            data = {}
        elif line.startswith("load"):
            step_us = parse_duration(line.split()[1])
            while place < len(lines) and lines[place]:
                labels, found = described(lines[place])
                data[labels] = [(step_us * n, v) for n, v in enumerate(found) if v is not None]
                place += 1
        elif line:
            match = EVAL.fullmatch(line)
            assert match is not None, line
            asked = Eval(place, match[3], parse_duration(match[2] or "0s"), match[1])
            while place < len(lines) and lines[place]:
                try:
                    asked.scalar = parse_float(lines[place])
                except ValueError:
                    labels, found = described(lines[place])
                    assert found[0] is not None
                    asked.expected.append((labels, found[0]))
                place += 1
            yield data, asked


def wrong(data: Data, asked: Eval) -> str | None:
    """What is not as expected."""
    try:
        value = evaluated(asked.text, data, [asked.at_us])
        ranged = evaluated(
            asked.text, data, [asked.at_us - MINUTE, asked.at_us, asked.at_us + MINUTE]
        )
    except GputelError as error:
        return None if asked.mode == "fail" else f"refused: {error.message}"
    if asked.mode == "fail":
        return "not refused"
    return compared(value, asked, 0) or (
        compared(ranged, asked, 1) if asked.mode is None and "@" not in asked.text else None
    )


def compared(value: object, asked: Eval, step: int) -> str | None:
    if isinstance(value, Scalar):
        found = float(value.values[step])
        return None if near(asked.scalar, found) else f"{found} instead of {asked.scalar}"
    assert isinstance(value, Vector)
    rows = [row for row in range(len(value)) if value.present[row, step]]
    answer = [(value.labels[row], float(value.values[row, step])) for row in rows]
    expected = asked.expected if asked.scalar is None else [((), asked.scalar)]
    if asked.mode != "ordered":
        answer, expected = sorted(answer, key=str), sorted(expected, key=str)
        by_labels = dict(answer)
        answer = [(labels, by_labels[labels]) for labels, _ in expected if labels in by_labels]
        if len(by_labels) != len(answer) or len(rows) != len(by_labels):
            return f"{sorted(by_labels)} instead of {expected}"
    same = len(answer) == len(expected) and all(
        ours[0] == theirs[0] and near(theirs[1], ours[1])
        for ours, theirs in zip(answer, expected, strict=True)
    )
    return None if same else f"{answer} instead of {expected}"


def near(expected: float | None, found: float) -> bool:
    assert expected is not None
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    # As near as they are compared there.
    return expected == found or math.isclose(expected, found, rel_tol=1e-6)


@pytest.mark.skipif(not FILES, reason="PROMQL_TESTDATA names no folder with Prometheus' tests")
def test_prometheus_own_tests_pass():
    found, count = [], 0
    for path in FILES:
        for data, asked in commands(path):
            count += 1
            if asked.text not in DIFFERS and (what := wrong(data, asked)):
                found.append(f"{path.name}:{asked.line}: {asked.text}\n    {what[:600]}")
    assert not found, f"{len(found)} of {count}:\n" + "\n".join(found)
    assert count == 566
