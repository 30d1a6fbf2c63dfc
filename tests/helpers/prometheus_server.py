"""A real Prometheus for tests: given samples in OpenMetrics, started, asked, ended by its pid."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.helpers.processes import free_port

LABELS = {
    "gpu_id": "gpu",
    "device": "device",
    "uuid": "UUID",
    "model_name": "modelName",
    "hostname": "Hostname",
    "container": "container",
    "pod": "pod",
    "namespace": "namespace",
}
Row = tuple[dict[str, str], datetime, float]


def missing() -> str | None:
    """What is not there, if Prometheus cannot be run."""
    absent = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed: apt-get install prometheus" if absent else None


def openmetrics(rows: Iterable[Row]) -> str:
    """The rows as text, one metric after the other; labels as dcgm-exporter names them."""
    ordered = sorted(rows, key=lambda row: (row[0]["metric_name"], sorted(row[0].items()), row[1]))
    lines = []
    for labels, moment, value in ordered:
        named = [f"{LABELS[name]}={_quoted(text)}" for name, text in labels.items()
                 if name in LABELS and text]  # fmt: skip
        inside = ",".join([*named, *filter(None, [labels["labels_raw"]])])
        stamp = f"{moment.timestamp():.3f}"
        lines.append(f"{labels['metric_name']}{{{inside}}} {_number(value)} {stamp}\n")
    return "".join(lines) + "# EOF\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("+Inf" if value > 0 else "-Inf")


@contextmanager
def prometheus(directory: Path, rows: Iterable[Row]) -> Iterator[str]:
    """The URL of a server that has these rows and nothing else."""
    text, data = directory / "samples.txt", directory / "tsdb"
    text.write_text(openmetrics(rows), "utf-8")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)],
        check=True, capture_output=True, timeout=110,
    )  # fmt: skip
    config, port = directory / "prometheus.yml", free_port()
    config.write_text("global:\n  scrape_interval: 1h\n")
    log = (directory / "log").open("wb")
    with log:
        server = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}",
             f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
             "--log.level=warn"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, server, directory / "log")
            yield url
        finally:
            server.terminate()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def get(url: str, path: str, parameters: list[tuple[str, str]]) -> tuple[int, dict]:
    """The status and the JSON of one question; blocks."""
    query = urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
