"""The rejects file of an ingest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputel.cli.ingest.rejects import Rejects
from gputel.errors import SourceError
from gputel.sources.dcgm.chunk import EMPTY, CsvChunk, RejectedRow


def test_a_full_disk_is_one_error_that_names_the_file_however_often_it_is_met() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    chunk = CsvChunk(EMPTY, 0, 1, [RejectedRow(0, 2, None, "reason", "text")], at_end=True)
    rejects = Rejects(Path("/dev/full"), append=False)
    told = r"cannot write the rejects file /dev/full \(No space left on device\)"
    for act in (lambda: rejects.write("x.csv", chunk), rejects.close):
        with pytest.raises(SourceError, match=told):
            act()
