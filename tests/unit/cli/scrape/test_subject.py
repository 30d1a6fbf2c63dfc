"""The argument of ``gputel scrape check`` is one of three things, by a clear rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputel.cli.scrape.subject import Kind, kind_of, read_text
from gputel.errors import SourceError


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("gpu1:9400", Kind.TARGET),
        ("gpu1", Kind.TARGET),
        ("[::1]:9400", Kind.TARGET),
        ("http://gpu1:9400/metrics", Kind.TARGET),
        ("https://gpu1/metrics.yml", Kind.TARGET),
        ("-", Kind.TEXT),
        ("saved", Kind.TEXT),
        ("./missing", Kind.TEXT),
        ("scrape.yml", Kind.CONFIGURATION),
        ("some/scrape.YAML", Kind.CONFIGURATION),
    ],
)
def test_kind_follows_from_form_ending_and_files(
    subject: str, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").touch()
    assert kind_of(subject) is kind


def test_a_file_may_have_as_many_bytes_as_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "saved"
    file.write_bytes(b"12345")
    assert read_text(str(file), 5) == b"12345"
    with pytest.raises(SourceError, match="is over body_size_limit, 4 bytes"):
        read_text(str(file), 4)


@pytest.mark.parametrize(
    ("name", "reason"), [("missing", "no such file; check the path"), ("", "Is a directory")]
)
def test_a_file_that_cannot_be_read_has_a_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read_text(str(tmp_path / name), 4)
