"""Series that an answer has not any more."""

from __future__ import annotations

from gputel.sources.exposition.reader import ExpositionReader
from gputel.sources.exposition.series_table import SeriesTable


def line(gpu: int, at: str = "") -> bytes:
    return b'T{UUID="GPU-%d"} 1%s\n' % (gpu, at.encode())


def gone(reader: ExpositionReader, body: bytes | None, now_us: int = 5) -> int:
    return len(reader.gone(None if body is None else reader.parse(body, now_us), now_us))


def test_series_that_an_answer_lacks_is_gone_once() -> None:
    reader = ExpositionReader()
    assert gone(reader, line(0) + line(1)) == 0
    assert gone(reader, line(1)) == 1
    assert gone(reader, line(1)) == 0
    assert gone(reader, line(0) + line(1)) == 0


def test_without_an_answer_all_are_gone() -> None:
    reader = ExpositionReader()
    gone(reader, line(0) + line(1))
    assert gone(reader, None) == 2
    assert gone(reader, None) == 0


def test_answer_without_samples_ends_nothing() -> None:
    reader = ExpositionReader()
    gone(reader, line(0) + line(1))
    assert gone(reader, b"") == 0
    assert gone(reader, b"# HELP T x\ngo_threads 8\n") == 0
    assert gone(reader, line(0)) == 1


def test_lines_with_times_of_their_own_end_nothing() -> None:
    reader = ExpositionReader()
    gone(reader, line(0, " 1700000000000") + line(1))
    assert gone(reader, line(2)) == 1


def test_series_of_another_table_are_not_known_to_be_gone() -> None:
    reader = ExpositionReader()
    gone(reader, line(0))
    reader.forget(SeriesTable())
    assert gone(reader, line(1)) == 0
