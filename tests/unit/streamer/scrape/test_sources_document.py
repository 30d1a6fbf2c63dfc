"""docs/sources.md is true of what scrapes take, refuse and store."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gputel.sources.exposition import labels
from gputel.streamer.scrape import config_file
from gputel.streamer.scrape.config_file import read_jobs
from gputel.streamer.scrape.discovery.groups import parse_groups

TEXT = (Path(__file__).parents[4] / "docs" / "sources.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)
CODE = set(re.findall(r"`([\w.]+)`", TEXT))


@pytest.mark.parametrize("block", [each for each in BLOCKS if "scrape_configs" in each])
def test_jobs_in_the_document_are_taken(tmp_path: Path, block: str) -> None:
    path = tmp_path / "scrape.yml"
    path.write_text(block, encoding="utf-8")
    assert read_jobs(path)


def test_lists_of_targets_in_the_document_are_taken() -> None:
    (block,) = [each for each in BLOCKS if each.startswith("- targets")]
    assert parse_groups(yaml.safe_load(block), "the document")


def test_every_key_of_a_job_is_in_the_document() -> None:
    assert set(config_file._JOB_KEYS.split(", ")) <= CODE


def test_what_is_refused_is_in_the_document() -> None:
    assert {*config_file._REFUSED} - {"bearer_token_file"} <= CODE


def test_every_label_that_becomes_a_column_is_in_the_document() -> None:
    named = CODE | {name.replace(".", "_") for name in CODE}  # as the document says
    for column, names in labels._COLUMNS.items():
        assert {column, *names} <= named
