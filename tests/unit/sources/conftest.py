"""A bench for tests of sources: it writes DCGM CSV files and reads them back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gputel.model.columns import CSV_NAMES
from gputel.sources.csv.file import CsvFile
from gputel.sources.csv.open import CsvOptions
from gputel.sources.dcgm.chunk import CsvChunk

ROOT = Path(__file__).parents[3]
GOOD = {
    "timestamp": "2025-07-18T20:42:34Z",
    "metric_name": "DCGM_FI_DEV_OTHER",
    "gpu_id": "0",
    "device": "nvidia0",
    "uuid": "GPU-5fd4f087-86f3-7a43-b711-4771313afc50",
    "model_name": "NVIDIA H100 80GB HBM3",
    "hostname": "dgx-001",
    "container": "",
    "pod": "",
    "namespace": "",
    "value": "42",
    "labels_raw": 'gpu="0",instance="dgx-001:9400"',
}


class Bench:
    """Files in a temporary directory."""

    header = ",".join(CSV_NAMES.values()).encode()

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def line(self, quoting: Any = csv.QUOTE_ALL, **fields: str) -> bytes:
        """A good line, with some fields changed, without its line end."""
        out = io.StringIO()
        csv.writer(out, quoting=quoting, lineterminator="").writerow((GOOD | fields).values())
        return out.getvalue().encode()

    def numbered(self, count: int, start: int = 0) -> list[bytes]:
        """Good lines whose values tell them apart."""
        before, after = self.line(value="@").split(b"@")
        return [b"%b%d%b" % (before, number, after) for number in range(start, start + count)]

    def file(self, lines: Iterable[bytes], end: bytes = b"\n", name: str = "dcgm.csv") -> Path:
        """The header and these lines."""
        return self.raw(end.join([self.header, *lines]) + end, name)

    def raw(self, content: bytes, name: str = "dcgm.csv") -> Path:
        """A file of exactly this content."""
        path = self.directory / name
        path.write_bytes(content)
        return path

    def read(self, path: Path, **options: Any) -> CsvChunk:
        """All of a small file, in one chunk."""
        return CsvFile.open(path, CsvOptions(**options)).read(0, 100_000)

    def values(self, chunk: CsvChunk) -> list[float]:
        """The values that landed, in order."""
        values: list[float] = chunk.batch.column("value").to_pylist()
        return values

    def reasons(self, chunk: CsvChunk) -> list[tuple[int, str | None, str]]:
        """Line, column and reason of each reject."""
        return [(reject.line, reject.column, reject.reason) for reject in chunk.rejects]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def capture() -> Path:
    """The real capture, where it is at hand."""
    path = ROOT.parent / "shared" / "data" / "dcgm_metrics_20250718_134233.csv"
    if not path.exists():
        pytest.skip("the real capture is not here")
    return path
