"""The two ways to parse agree with each other, and with Python's csv module."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gputel.model.columns import CSV_NAMES, SCHEMA
from gputel.sources.dcgm.classify import Malformed, check_line, sort_lines
from gputel.sources.dcgm.flaws import find_flaws
from gputel.sources.dcgm.header import parse_header
from gputel.sources.dcgm.lines import Piece
from gputel.sources.dcgm.parse import ColumnParser
from gputel.sources.dcgm.piece import ParsedPiece, PieceParser

SHORT = parse_header(b"timestamp,metric_name,uuid,value,pod,extra", Path("x"))
KNOWN = parse_header(b"pod,timestamp,metric_name,uuid,value", Path("x"))
BOUNDED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def piece_of(content: bytes) -> Piece:
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    if content and not content.endswith(b"\n"):
        ends.append(len(content))
    return Piece(0, bytearray(content), 0, np.array(ends, np.int64))


def result(*parts: ParsedPiece) -> tuple[list[dict], list[tuple]]:
    """The rows that land, and line, reason and column of each problem."""
    rows = [row for part in parts for row in part.batch.to_pylist()]
    problems = [
        (part.piece.first_line + at, problem.reason, problem.column)
        for part in parts
        for at, problem in part.problems
    ]
    return rows, problems


def as_read(content: bytes, layout):
    """What reading makes of it, by whichever path."""
    return result(*PieceParser(layout).parse(piece_of(content)))


def by_line(content: bytes, layout):
    """What it makes of it line by line."""
    return result(PieceParser(layout)._parse_by_line(piece_of(content)))


times = (
    st.sampled_from(
        ["2025-07-18T20:42:34Z", "2025-07-18 20:42:34", "2025-07-18T20:42:34.123456789+02:00"]
    )
    | st.from_regex(
        r"\A20[0-9]{2}-[01][0-9]-[0-3][0-9]"
        r"([T ][0-2][0-9](:[0-6][0-9](:[0-6][0-9](\.[0-9]{0,10})?)?)?)?"
        r"(Z|z|[+-][0-3][0-9](:?[0-7][0-9]?)?)?\Z"
    )
    | st.from_regex(
        r"\A ?20[0-9]{2}[-/]0[0-9][-/]1[0-9][Tt ]1[0-9]:59:(60|0[0-9])([.,][0-9]{1,10})?"
        r"(Z| [+-]0[0-9]00( UTC| [A-Z]{3})?( m=\+0\.1)?)?\Z"
    )
    | st.from_regex(r"\A[+-]?1?[0-9]{8,18}(\.[0-9]{0,3})?([eE]\+?[0-9])?\Z")
)
numbers = st.from_regex(r"\A[ \t]?[+-]?[0-9]{0,4}\.?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?[ \t]?\Z") | (
    st.sampled_from(["nan", "inf", "Infinity", "NaN(1)", "nan( )", "+nan", "1_0", "0x1", "1f", "٣"])
)
texts = st.text(alphabet='ab ,"\né\ufeff\r\t', max_size=6) | st.just("GPU-1")


@st.composite
def written_fields(draw, quoting):
    """One line of SHORT as a CSV writer would write it."""
    texts_ = texts.map(lambda text: text.replace("\n", "").replace("\r", ""))
    row = [draw(times), draw(texts_), draw(texts_), draw(numbers), draw(texts_), draw(texts_)]
    return encode(row, quoting)


def encode(row: list[str], quoting: int) -> bytes:
    cells = []
    for cell in row:
        needs = quoting == csv.QUOTE_ALL or any(mark in cell for mark in ',"\r\n')
        cells.append('"' + cell.replace('"', '""') + '"' if needs else cell)
    return ",".join(cells).encode()


raw_lines = st.binary(max_size=30) | st.text(alphabet='a",\r 1', max_size=30).map(str.encode)
lines = (written_fields(csv.QUOTE_ALL) | written_fields(csv.QUOTE_MINIMAL) | raw_lines).map(
    lambda line: line.replace(b"\n", b"")
)


@BOUNDED
@given(st.lists(lines, min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
@example([b'2025-07-18,m,u,1,"a', b'b",2025-07-18,m,u,1,x'], b"\n", True)
@example([b'2025-07-18,m,u,1,"a,x', b"2025-07-18,m,u,1,a\r2025-07-18,m,u,1,a,x"], b"\n", True)
@example([b'2025-07-18,m,u,1,p,"x'], b"\n", True)
@example([b"\xef\xbb\xbf2025-07-18,m,u,1,p,x"], b"\n", True)
@example([b"2025-07-18,m,u,1,p,\xff"], b"\n", True)
@example([b"2025-07-18,m,\xff,1,p,x"], b"\n", False)
def test_reading_agrees_with_going_line_by_line(some, end, ended):
    content = end.join(some) + (end if ended else b"")
    if content:
        assert as_read(content, SHORT) == by_line(content, SHORT)


@BOUNDED
@given(st.lists(lines, min_size=1, max_size=3))
@example([b"\xef\xbb\xbf,2025-07-18,m,u,1"])
def test_paths_agree_where_text_comes_first_and_nothing_is_ignored(some):
    content = b"\n".join(some) + b"\n"
    assert as_read(content, KNOWN) == by_line(content, KNOWN)


@BOUNDED
@given(times)
def test_timestamps_read_alike_on_both_paths(text):
    content = f'"{text}",m,u,1,,\n'.encode()
    assert as_read(content, SHORT) == by_line(content, SHORT)


@BOUNDED
@given(numbers)
def test_values_read_alike_on_both_paths_and_in_python(text):
    content = f'"2025-07-18","m","u","{text}","",""\n'.encode()
    rows, problems = as_read(content, SHORT)
    assert (rows, problems) == by_line(content, SHORT)
    if rows:
        assert rows[0]["value"] == float(text)


@BOUNDED
@given(st.lists(lines, min_size=1, max_size=3))
def test_accepted_lines_hold_what_pythons_csv_module_reads(some):
    for line in some:
        try:
            check_line(line.removesuffix(b"\r"), SHORT, {})
        except Malformed:
            continue
        rows, _ = by_line(line + b"\n", SHORT)
        if not rows:  # a flaw that the columns tell
            continue
        (expected,) = csv.reader([line.decode("utf-8", "replace").removesuffix("\r")])
        (row,) = rows
        assert [row["metric_name"], row["uuid"], row["pod"]] == [*expected[1:3], expected[4]]


@BOUNDED
@given(st.lists(st.tuples(lines, st.booleans()), min_size=1, max_size=6))
def test_every_line_is_landed_blank_or_rejected_with_a_reason(some):
    content = b"".join(line + (b"\r\n" if crlf else b"\n") for line, crlf in some)
    piece = piece_of(content)
    landed = rejected = 0
    for parsed in PieceParser(SHORT).parse(piece):
        parsed.batch.validate(full=True)
        assert parsed.batch.schema.equals(SCHEMA)
        landed += parsed.batch.num_rows
        rejected += len(parsed.problems)
        assert all(problem.reason for _, problem in parsed.problems)
    blank = sum(not piece.line(at).strip() for at in range(len(piece.ends)))
    assert landed + rejected == len(piece.ends) - blank


def test_a_line_that_arrow_alone_refuses_is_rejected_alone(monkeypatch):
    parser = PieceParser(SHORT)
    parse_lines = parser._columns.parse_lines

    def refusing(lines, times_us):
        return None if any(b"poison" in line for line in lines) else parse_lines(lines, times_us)

    monkeypatch.setattr(parser._columns, "parse_lines", refusing)
    good = b"2025-07-18,m,u,%d,p,x\n"
    parsed = parser._parse_by_line(piece_of(good % 1 + b"2025-07-18,m,u,2,poison,x\n" + good % 3))
    assert parsed.batch.column("value").to_pylist() == [1, 3]
    assert [(at, problem.reason) for at, problem in parsed.problems] == [(1, "cannot be parsed")]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_lines_as_writers_write_them_stay_on_the_fast_path(quoting):
    layout = parse_header(",".join(CSV_NAMES.values()).encode(), Path("x"))
    row = ["2025-07-18T20:42:34Z", "m", "0", "", "GPU-1", "", "h", "", "", "", "5", 'a="b",c="d"']
    content = b"".join(encode(row, quoting) + b"\r\n" for _ in range(100))
    batch = ColumnParser(layout).parse(piece_of(content))
    assert batch.num_rows == 100
    assert not find_flaws(batch)
    assert len(sort_lines(piece_of(content), layout).lines) == 100
