"""Nobody leads a process to another file than the one that it means."""

import os
import stat
from pathlib import Path

import pytest

from gputel.cli.ingest.rejects import Rejects
from gputel.cli.query.export_file import complete_file
from gputel.errors import SourceError, UsageError
from gputel.mq.journal.files import JournalFiles, lock_directory
from gputel.owned_files import open_file, open_output, opened_directory, read_small

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
ANOTHER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("root's own")
    return path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of another user's."""
    path = tmp_path / "theirs"
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, ANOTHER, ANOTHER)
    return path


def link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)
    return path


@pytest.mark.parametrize("flags", [WRITE, os.O_RDWR | os.O_CREAT, os.O_RDONLY])
def test_a_file_is_not_opened_through_a_link(tmp_path: Path, victim: Path, flags: int) -> None:
    place = tmp_path / "link"
    place.symlink_to(victim)
    with pytest.raises(OSError, match="is a link"):
        open_file(place, flags)
    assert victim.read_text() == "root's own"


def test_a_second_name_of_a_file_is_not_emptied(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "name").hardlink_to(victim)
    with pytest.raises(OSError, match="is a link"):
        open_file(tmp_path / "name", WRITE)
    assert victim.read_text() == "root's own"


def test_a_pipe_in_the_place_of_a_file_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for flags in (WRITE, os.O_RDONLY):
        with pytest.raises(OSError, match="not a plain file"):
            open_file(tmp_path / "pipe", flags)
    with pytest.raises(OSError, match="not a plain file"):
        read_small(tmp_path / "pipe")


@as_root
def test_a_file_of_a_third_user_is_refused(theirs: Path) -> None:
    (theirs / "file").touch()
    os.chown(theirs / "file", ANOTHER + 1, 0)
    with pytest.raises(OSError, match="owner"):
        open_file(theirs / "file", WRITE)


def test_what_is_missing_is_made_with_its_mode(tmp_path: Path) -> None:
    os.close(open_file(tmp_path / "new", WRITE))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none", os.O_RDONLY)


def test_a_directory_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with (
        pytest.raises(OSError, match=r"[Nn]ot a directory|levels"),
        opened_directory(tmp_path / "link"),
    ):
        pytest.fail("it was opened")


def test_our_own_link_leads_output_to_what_we_meant(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.write(open_output(tmp_path / "link"), b"text")
    assert (tmp_path / "file").read_text() == "text"
    os.close(open_output(Path("/dev/null")))


@as_root
def test_another_user_s_link_leads_output_nowhere(theirs: Path, victim: Path) -> None:
    place = link(theirs / "out.csv", victim)
    with pytest.raises(OSError, match="is a link"):
        open_output(place)
    with pytest.raises(UsageError, match="is a link"), complete_file(place) as out:
        out.write(b"x")
    rejects = Rejects(place, append=False)
    with pytest.raises(SourceError, match="is a link"):
        rejects.check()
    assert victim.read_text() == "root's own"
    assert sorted(path.name for path in theirs.iterdir()) == ["out.csv"]


@as_root
def test_another_user_s_link_leads_a_journal_nowhere(theirs: Path, victim: Path) -> None:
    link(theirs / "lock", victim)
    with pytest.raises(UsageError, match=r"--journal: .*lock: is a link"):
        lock_directory(theirs)
    files = JournalFiles(theirs)
    link(files.path(1), victim)
    with pytest.raises(OSError, match="is a link"):
        files.reopen(1)
    with pytest.raises(FileExistsError):
        files.create(1, 4096, b"header")
    assert victim.read_text() == "root's own"
