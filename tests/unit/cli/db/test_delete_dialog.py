"""The options of ``gputel db delete``, and what is said before it deletes."""

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from gputel.cli.db.delete_dialog import NOTHING, _done, _notes, _show, deletion_of
from gputel.cli.db.group import db
from gputel.errors import UsageError
from gputel.store.upkeep.conditions import Deletion
from gputel.store.upkeep.delete import Deleted
from gputel.store.upkeep.survey import Survey

FOUND = Survey(
    series=2_500_000, gpus=100_000, hosts=12_500, samples=123_456_789_012, blocks=9_876_543,
    bytes=3 << 40, first=datetime(2026, 3, 1, 12, 0, 0, 123456, UTC),
    last=datetime(2026, 3, 31, tzinfo=UTC), rollup_minutes=44_640, rollup_minutes_cut=2,
    rollup_days_left=3,
)  # fmt: skip


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as refusal:
        CliRunner().invoke(db, ["delete", *words], catch_exceptions=False)
    assert refusal.value.exit_code == 2
    return refusal.value.message


def test_without_a_condition_nothing_is_deleted() -> None:
    assert refused("--yes") == (
        "say what to delete, by at least one of --stream, --host, --gpu, --metric, --start or --end"
    )


@pytest.mark.parametrize("option", ["--stream", "--host", "--gpu", "--metric"])
def test_an_empty_text_chooses_nothing(option: str) -> None:
    assert refused(option, "", "--yes").endswith("must not be empty")


def test_without_a_terminal_it_needs_yes() -> None:
    assert refused("--host", "h").endswith("with --dry-run, and delete it with --yes")


def test_a_start_after_the_end_is_refused() -> None:
    times = ("--start", "2026-03-02", "--end", "2026-03-01")
    assert refused(*times, "--yes") == (
        "--start 2026-03-02T00:00:00Z is later than --end 2026-03-01T23:59:59.999999Z"
    )


def test_a_time_that_is_none_is_refused_with_how_to_write_one() -> None:
    answer = CliRunner().invoke(db, ["delete", "--start", "soon"])
    assert answer.exit_code == 2
    assert "'soon' is neither a duration like 15m, 1h or 7d" in answer.output


def test_a_gpu_is_a_uuid_or_a_place() -> None:
    deletion = deletion_of((), (), ("GPU-1", "node-7/3"), (), None, None)
    assert deletion.uuids == ("GPU-1", "node-7/3")
    assert deletion.places == (("node-7", "3"),)


def test_only_streams_alone_go_as_a_whole() -> None:
    assert Deletion(streams=("a", "b")).of_whole_streams
    assert not Deletion().of_whole_streams
    assert not deletion_of(("a",), ("h",), (), (), None, None).of_whole_streams
    assert not deletion_of(("a",), (), (), (), None, "2026-03-01T00:00:00Z").of_whole_streams


def test_what_would_go_fits_into_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _show(FOUND, Deletion(streams=("a",)))
    table = capsys.readouterr().out.splitlines()[:9]
    assert max(map(len, table)) <= 80
    words = " ".join(" ".join(table).split())
    assert words == (
        "samples 123,456,789,012 series 2,500,000 GPUs 100,000 hosts 12,500 blocks 9,876,543 "
        "size about 3 TiB first 2026-03-01T12:00:00.123456Z last 2026-03-31T00:00:00Z "
        "minutes of rollups whose samples have expired 44,640"
    )


def test_what_stays_is_said() -> None:
    notes = "\n".join(_notes(FOUND, Deletion(streams=("a",), end=FOUND.last)))
    assert "2 minutes of rollups that --start or --end cuts stay" in notes
    assert "the rollups of 3 days whose samples have expired stay" in notes
    assert "what has been read stays read" in notes
    assert "the position of each stream goes as well" in "\n".join(
        _notes(FOUND, Deletion(streams=("a",)))
    )


def test_an_answer_without_samples_says_where_names_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _show(Survey(), Deletion(uuids=("GPU-1",)))
    assert capsys.readouterr().out == f"{NOTHING}\n"
    assert "`gputel query hosts`" in NOTHING


@pytest.mark.parametrize(
    ("deleted", "deletion", "text"),
    [
        (Deleted(samples=10), Deletion(end=FOUND.last), "deleted 10 samples"),
        (
            Deleted(samples=10, series=2),
            Deletion(end=FOUND.last),
            "deleted 10 samples and 2 series that have no samples any more",
        ),
        (
            Deleted(samples=10, series=2),
            Deletion(streams=("a",)),
            "deleted 10 samples, 2 series that have no samples any more, and the stream",
        ),
    ],
)
def test_what_was_deleted_is_one_sentence(deleted: Deleted, deletion: Deletion, text: str) -> None:
    assert _done(deleted, deletion) == text
