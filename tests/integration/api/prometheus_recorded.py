"""The answers of a real Prometheus, recorded: what to compare with where none is installed.

``python -m tests.integration.api.prometheus_recorded`` asks one again and writes them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.prometheus_server import get, prometheus
from tests.integration.api import prometheus_data
from tests.integration.api.prometheus_questions import QUESTIONS, REQUESTS, START

FILE = Path(__file__).with_suffix(".json")
Parameters = list[tuple[str, str]]
_DIGITS = ".12g"


def requests() -> Iterator[tuple[str, Parameters]]:
    """All that is asked: each expression over a range and at an instant, and other paths."""
    ranged = [("start", str(START - 60)), ("end", str(START + 4200)), ("step", "899")]
    for queries in QUESTIONS.values():
        for query in queries:
            yield "query_range", [("query", query), *ranged]
            yield "query", [("query", query), ("time", str(START + 1290))]
    yield from REQUESTS


def recorded() -> Iterator[tuple[str, Parameters, int, Any]]:
    """Each request with its status and its data, or for an error its ``errorType``."""
    found = json.loads(FILE.read_text("utf-8"))
    labels = found["labels"]
    for (path, parameters), (status, data) in zip(requests(), found["answers"], strict=True):
        yield path, parameters, status, _expanded(data, labels)


def record() -> None:
    """Ask a Prometheus, and write what it answers."""
    labels: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        prometheus(Path(directory), prometheus_data.rows()) as url,
    ):
        answers = [[status, _short(data, labels)] for status, data in answers_of(url)]
    lines = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in answers)
    table = ",\n".join(labels)
    FILE.write_text(f'{{"labels":[\n{table}\n],"answers":[\n{lines}\n]}}\n', "utf-8")


def answers_of(url: str) -> Iterator[tuple[int, Any]]:
    """What a server answers to each request."""
    for path, parameters in requests():
        status, answer = get(url, path, parameters)
        yield status, answer["data"] if status == 200 else answer["errorType"]


def _short(data: Any, labels: dict[str, int]) -> Any:
    """The data with each set of labels once, and with numbers of twelve digits."""
    if not isinstance(data, dict) or data.get("resultType") not in ("vector", "matrix"):
        return data
    kind, result = data["resultType"], []
    for each in sorted(data["result"], key=lambda series: sorted(series["metric"].items())):
        text = json.dumps(each["metric"], sort_keys=True, separators=(",", ":"))
        samples = each["values"] if kind == "matrix" else [each["value"]]
        flat = [part for at, value in samples for part in (at, format(float(value), _DIGITS))]
        result.append([labels.setdefault(text, len(labels)), *flat])
    return [kind, result]


def _expanded(data: Any, labels: list[dict[str, str]]) -> Any:
    if not isinstance(data, list) or not data or data[0] not in ("vector", "matrix"):
        return data
    kind, result = data[0], []
    for number, *flat in data[1]:
        samples = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        shown = {"values": samples} if kind == "matrix" else {"value": samples[0]}
        result.append({"metric": labels[number], **shown})
    return {"resultType": kind, "result": result}


if __name__ == "__main__":
    record()
