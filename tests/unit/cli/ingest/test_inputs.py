"""What the FILE arguments of an ingest stand for."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gputel.cli.ingest.inputs import Input, find_inputs, spooled
from gputel.errors import SourceError

CONTENT = "timestamp,metric_name,uuid,value\n2025-07-18T20:42:34Z,m,GPU-1,1\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory, the current one, with data and other things in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.CSV", "c.csv.gz", "b.csv.rejects.csv", "notes.txt", ".hidden"):
        (tmp_path / name).write_text(CONTENT)
    (tmp_path / "deeper.csv").mkdir()
    (tmp_path / "deeper.csv" / "d.csv").write_text(CONTENT)
    return tmp_path


def names(found: list[Input]) -> list[str]:
    return [source.name for source in found]


def test_directory_stands_for_the_data_in_it_in_the_order_of_names(place):
    found, wrong = find_inputs([Path()])
    assert (names(found), wrong) == (["a.CSV", "b.csv", "c.csv.gz"], [])


def test_pattern_stands_for_the_files_that_match_each_once(place):
    found, wrong = find_inputs([Path("b.csv"), Path("?.csv"), Path("**/d.*"), Path("b.csv")])
    assert (names(found), wrong) == (["b.csv", "deeper.csv/d.csv"], [])


def test_name_that_looks_like_a_pattern_is_a_name_where_there_is_such_a_file(place):
    (place / "[1].csv").write_text(CONTENT)
    assert names(find_inputs([Path("[1].csv")])[0]) == ["[1].csv"]


def test_what_is_wrong_is_told_of_each_and_keeps_nothing_else_out(place):
    (place / "empty").mkdir()
    (place / "bad.csv").write_text("no header\n")
    assert names(find_inputs([place])[0]) == [
        str(place / n) for n in ("a.CSV", "b.csv", "c.csv.gz")
    ]
    given = [Path(name) for name in ("empty", "*.xml", "gone.csv", "bad.csv", "b.csv")]
    found, wrong = find_inputs(given)
    assert names(found) == ["b.csv"]
    assert [error.message.partition(":")[0] for error in wrong] == list(map(str, given[:-1]))
    assert "directory without .csv, .gz or .zst files" in wrong[0].message
    assert "no file matches" in wrong[1].message


def test_pipe_is_spooled_to_a_file_of_its_content(place):
    os.mkfifo("pipe")
    (source,), wrong = find_inputs([Path("pipe")])
    assert (source.piped, wrong) == (True, [])
    writer = threading.Thread(target=Path("pipe").write_text, args=(CONTENT * 1000,))
    writer.start()
    with spooled(source, threading.Event()) as spool:
        assert os.pread(spool, 1 << 30, 0).decode() == CONTENT * 1000
    writer.join()


def test_a_spool_has_no_name_that_a_kill_leaves_or_another_user_opens(place, monkeypatch):
    spools = place / "spools"
    spools.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spools))
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=(CONTENT,))
    writer.start()
    with spooled(Input(Path("pipe"), piped=True), threading.Event()) as spool:
        assert list(spools.iterdir()) == []
        assert os.fstat(spool).st_nlink == 0
    writer.join()


def test_spooling_ends_when_it_is_told_to(place):
    os.mkfifo("pipe")
    writer = os.open("pipe", os.O_RDWR)
    stopping = threading.Event()
    stopping.set()
    with (
        pytest.raises(SourceError, match="stopped before it had been read"),
        spooled(Input(Path("pipe"), piped=True), stopping),
    ):
        raise AssertionError
    os.close(writer)


def test_names_of_standard_input_are_fit_for_people_and_for_files():
    (source,), _ = find_inputs([Path("-")])
    assert (source.name, str(source.rejects_path)) == ("standard input", "stdin.rejects.csv")


def test_a_spool_without_room_is_one_error_that_names_its_place(small_disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    os.mkfifo("pipe")
    source = Input(Path("pipe"), piped=True)
    writer = os.open("pipe", os.O_RDWR)
    os.write(writer, b"x" * 4096)
    with suppress(OSError):
        (small_disk / "filler").write_bytes(b"x" * (4 << 20))
    told = f"cannot be spooled to {small_disk}: No space left on device"
    with pytest.raises(SourceError, match=told), spooled(source, threading.Event()):
        raise AssertionError
    os.close(writer)
