from __future__ import annotations

from pathlib import Path

import pytest

from gputel.cli.ingest.job import IngestObserver
from gputel.cli.ingest.rejects import Rejects
from gputel.store.write.streams import ChunkLease, Progress


@pytest.mark.parametrize(("rows_per_line", "lines"), [(1, (8, 13)), (3, (4, 5))])
def test_a_chunk_that_cannot_land_is_named_by_its_lines(
    tmp_path: Path, rows_per_line: int, lines: tuple[int, int]
) -> None:
    start = Progress(0, None, 0, 0, 0, None, 0, 0, 0, 0)
    rejects = Rejects(tmp_path / "rejects.csv", append=False)
    observer = IngestObserver("smi.csv", start, rejects, rows_per_line)
    assert observer.dead_lines is None
    observer.chunk_dead(ChunkLease(6, 6, taken_over=True))
    assert observer.dead_lines == lines
