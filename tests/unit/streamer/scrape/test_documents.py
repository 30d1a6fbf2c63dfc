"""Durations, sizes, and YAML that must not cost more than it weighs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputel.config.file_state import state_of
from gputel.streamer.scrape.documents.files import read_limited
from gputel.streamer.scrape.documents.parse import parse_json, parse_yaml
from gputel.streamer.scrape.documents.values import parse_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1d", 86_400), ("1h2ms", 3600.002), ("0s", 0)],
)
def test_a_duration_is_read_as_prometheus_does(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "1s1m", "1.5s", "-1s", "1 s", "1S", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration like 10s"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16MB", 16 << 20), ("16MiB", 16 << 20), ("512KiB", 512 << 10), ("7", 7), ("7B", 7)],
)
def test_a_size_is_read_as_prometheus_does(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1.5MB", "-1", "16mb", "16XB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size like 16MB"):
        parse_size(text)


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    with pytest.raises(ValueError, match="has over 1,000,000 values"):
        parse_yaml("\n".join(lines).encode())


def test_an_alias_is_understood_but_not_inside_itself() -> None:
    assert parse_yaml(b"a: &x [1]\nb: *x") == {"a": [1], "b": [1]}
    with pytest.raises(ValueError, match="contains itself"):
        parse_yaml(b"a: &x [*x]")


def test_an_alias_bomb_of_keys_is_refused() -> None:
    lines = ["a0: &a0 {k: 1, l: 2}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], z{n}: 1}}" for n in range(1, 60)]
    with pytest.raises(ValueError, match="merge keys"):
        parse_yaml("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a: [1\n", "line 2, column 1: is not YAML"),
        (b"a: 1\na: 2", "line 2, column 1: is not YAML: the key 'a' is given twice"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"a: \x00", "is not YAML"),
        (b"[" * 2_000_000, "has over 64 lists or mappings in each other"),
        (b"- " * 2_000_000, "has over 64 lists or mappings in each other"),
        (b"a" * (5 << 20), "is over 4 MiB"),
        (b"a: !!python/object:os.system x", "line 1, column 4: is not YAML"),
        (b"when: 2025-13-45", "has a number or date that cannot be read"),
        (b"a: !!bool x", "has a number or date that cannot be read"),
        (b"a: !!map x", "is not YAML"),
        (b"? [a]\n: b", "is not YAML"),
        (b"a: *none", "is not YAML"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text)


def test_an_error_of_yaml_shows_no_line_of_the_file() -> None:
    with pytest.raises(ValueError, match="line 1") as raised:
        parse_yaml(b"password: correct: horse")
    assert "horse" not in str(raised.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 200_000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_a_file_that_cannot_be_used_is_refused_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for reason in ("No such file", "is over 3 bytes"):
        with pytest.raises(ValueError, match=reason):
            read_limited(file, 3)
        file.write_bytes(b"1234")
    with pytest.raises(ValueError, match="is not a plain file"):
        read_limited(tmp_path, 3)


def test_a_file_that_is_replaced_has_another_state(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    assert state_of(file) is None
    file.write_text("a")
    before = state_of(file)
    other.write_text("b")
    other.replace(file)
    assert before is not None
    assert state_of(file) not in (None, before)
