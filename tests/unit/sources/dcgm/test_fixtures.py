"""The files in fixtures/ are what their README says."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gputel.cli.simulate import simulate_command
from gputel.errors import SourceError
from gputel.sources.csv.file import CsvFile

FIXTURES = Path(__file__).parents[4] / "fixtures"
README = (FIXTURES / "README.md").read_text()
BAD = dict(re.findall(r"^\| `(\S+)` \| .* \| (.*) \|$", README, re.MULTILINE))


def test_command_in_the_readme_makes_the_small_fixture():
    (command,) = re.findall(r"gputel simulate (.*) > fixtures/dcgm_small.csv", README)
    result = CliRunner().invoke(simulate_command, command.split())
    assert result.exit_code == 0
    assert result.stdout_bytes == (FIXTURES / "dcgm_small.csv").read_bytes()


def test_small_fixture_lands_whole():
    chunk = CsvFile.open(FIXTURES / "dcgm_small.csv").read(0, 1000)
    assert (chunk.batch.num_rows, list(chunk.rejects)) == (640, [])
    assert len(chunk.batch.column("uuid").dictionary) == 32


def test_readme_lists_every_bad_file():
    assert set(BAD) == {path.name for path in (FIXTURES / "bad").iterdir()}


@pytest.mark.parametrize("name", [name for name in BAD if "opened" in BAD[name]])
def test_bad_file_that_cannot_be_opened_is_named(name):
    with pytest.raises(SourceError, match=re.escape(name)):
        CsvFile.open(FIXTURES / "bad" / name)


@pytest.mark.parametrize("name", [name for name in BAD if "land" in BAD[name]])
def test_good_rows_of_a_bad_file_land(name):
    chunk = CsvFile.open(FIXTURES / "bad" / name).read(0, 1000)
    assert chunk.batch.column("value").to_pylist() == [42, 43]
    assert len(chunk.rejects) == chunk.row_count - 2 > 0


def test_file_of_a_header_alone_has_no_rows():
    source = CsvFile.open(FIXTURES / "bad" / "header_only.csv")
    assert source.is_empty
    assert source.count_rows() == 0
