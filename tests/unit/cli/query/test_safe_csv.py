"""Cells that a spreadsheet would run."""

import csv
import io

import pytest

from gputel.cli.query.safe_csv import safe_pieces

HEADER = b"a,b\n"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd", "-cmd|x", "@SUM(A1)", "\t=1", "\r=1", " =1", "=\n1", '="x"', "\uff1d1"]
)
def test_a_cell_that_would_run_is_a_text(cell: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow([cell, "b"])
    whole = HEADER + text.getvalue().encode()
    pieces = [whole[at : at + 3] for at in range(0, len(whole), 3)]
    shown = b"".join(safe_pieces(pieces)).decode()
    (_, row) = csv.reader(io.StringIO(shown, newline=""))
    assert row == ["'" + cell, "b"]


@pytest.mark.parametrize(
    "cell", ["-1.5", "+2", "-1e-07", "-inf", "node-1", "a=b", "", "'=1", "1-2"]
)
def test_a_number_and_any_other_text_stays(cell: str) -> None:
    line = f"{cell},b\n".encode()
    assert b"".join(safe_pieces([HEADER, line])) == HEADER + line
