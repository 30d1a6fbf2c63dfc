"""Tokens are read strictly, told apart by their text alone, and followed as their file changes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gputel.config.settings import AccessSettings
from gputel.errors import ConfigError, Forbidden, Unauthorized
from gputel.web.access.access import Access
from gputel.web.access.tokens import Scope, find, parse, token_file
from gputel.web.server import watched
from gputel.web.server.exposure import check_exposed, is_loopback

READER, WRITER, ADMIN = "r" * 32, "w" * 32, "a" * 32
LINES = [f"grafana read {READER}", "", "# who pushes", f"pusher read,write {WRITER}"]
LINES += [f"root admin {ADMIN}"]


def test_a_token_is_found_by_its_text_and_by_nothing_else() -> None:
    known = parse(LINES, "f")
    found = find(known, READER)
    assert found is not None
    assert found.name == "grafana"
    assert found.scopes == {Scope.READ}
    for wrong in (READER[:-1], READER + "r", READER.upper(), "", "é", "\udcff"):
        assert find(known, wrong) is None


def test_admin_allows_everything_and_write_does_not_read() -> None:
    (token,) = parse([f"p write {WRITER}"], "f")
    assert token.scopes == {Scope.WRITE}
    (token,) = parse([f"p admin {WRITER}"], "f")
    assert token.scopes == set(Scope)


def test_nothing_that_is_printed_or_kept_holds_the_text_of_a_token() -> None:
    known = parse(LINES, "f")
    assert READER not in repr(known)
    assert READER.encode() not in known[0].digest


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ["has no token", "grafana read TOKEN"]),
        (["# only this"], ["has no token"]),
        (["grafana read"], ["line 1", "2 words"]),
        (["", f"a b c {READER}"], ["line 2", "4 words"]),
        ([f"grafana rade {READER}"], ["line 1", "'rade'", "read, write, admin"]),
        ([f"grafana read, {READER}"], ["line 1", "''", "read, write, admin"]),
        (["grafana read short"], ["line 1", "grafana", "16 or more", "openssl rand -hex 32"]),
        ([f"gra/fana read {READER}"], ["line 1", "name"]),
        ([f"a read {READER}", f"a read {WRITER}"], ["line 2", "'a' is given twice"]),
        ([f"a read {READER}", f"b read {READER}"], ["line 2", "the token of another name"]),
    ],
)
def test_a_wrong_line_is_one_error_that_names_it_and_hides_the_token(
    lines: list[str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(lines, "--token-file: f")
    for word in ["--token-file: f", *words]:
        assert word in raised.value.message
    assert READER not in raised.value.message


def test_a_file_that_is_missing_binary_or_huge_is_one_error(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(ConfigError, match="No such file"):
        token_file(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        token_file(file)
    file.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="1 MiB"):
        token_file(file)


def test_a_file_is_read_again_when_it_changes_and_kept_when_it_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = time.monotonic()
    monkeypatch.setattr(watched.time, "monotonic", lambda: clock)  # type: ignore[attr-defined]
    file = tmp_path / "tokens"
    file.write_text(f"a read {READER}\n")
    source = token_file(file)
    replace(file, f"b read {WRITER}\n")
    assert find(source(), WRITER) is None, "it looks once a second"
    clock += 2
    assert find(source(), WRITER) is not None
    assert find(source(), READER) is None
    replace(file, "nonsense\n")
    clock += 2
    assert find(source(), WRITER) is not None
    assert "the tokens stay as they were" in caplog.text
    file.unlink()
    clock += 2
    assert find(source(), WRITER) is not None


def replace(file: Path, text: str) -> None:
    """As editors and kubelets do it: a new file takes the old one's place."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", READER, f"Basic {READER}", "Bearer nobody's"]
)
def test_whoever_shows_no_token_that_is_known_is_unauthorized(authorization: str | None) -> None:
    access = Access.of(AccessSettings(tokens=";".join(LINES)))
    with pytest.raises(Unauthorized, match="Authorization: Bearer TOKEN"):
        access.check(authorization, Scope.READ)


def test_a_token_lets_in_for_its_scopes_alone() -> None:
    access = Access.of(AccessSettings(tokens=";".join(LINES)))
    token = access.check(f"bearer {READER}", Scope.READ)
    assert token is not None
    assert token.name == "grafana"
    with pytest.raises(Forbidden, match="'grafana' does not allow this: it needs write"):
        access.check(f"Bearer {READER}", Scope.WRITE)


def test_a_process_uses_its_own_servers_but_does_not_rule_them() -> None:
    access = Access.of(AccessSettings(tokens=";".join(LINES)))
    access.check(f"Bearer {access.own_token}", Scope.WRITE)
    with pytest.raises(Forbidden):
        access.check(f"Bearer {access.own_token}", Scope.ADMIN)


def test_file_and_setting_add_up(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"a read {READER}\n")
    access = Access.of(AccessSettings(token_file=file, tokens=f"b write {WRITER}"))
    access.check(f"Bearer {READER}", Scope.READ)
    access.check(f"Bearer {WRITER}", Scope.WRITE)


def test_without_tokens_everyone_may_do_everything() -> None:
    access = Access.of(AccessSettings())
    assert not access.guarded
    assert access.check(None, Scope.ADMIN) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1"])
def test_loopback_is_open_without_tokens(host: str) -> None:
    assert is_loopback(host)
    check_exposed(host, {host}, AccessSettings())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "fe80::1", "fe80::1%eth0", "what"])
def test_another_address_needs_tokens_or_insecure(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        check_exposed(host, {"127.0.0.1", host}, AccessSettings())
    for word in ("--host", host, "--token-file", "--insecure"):
        assert word in raised.value.message
    check_exposed(host, {host}, AccessSettings(insecure=True))
    check_exposed(host, {host}, AccessSettings(tokens="a read b"))
    check_exposed(host, {host}, AccessSettings(token_file=tmp_path))
    check_exposed(host, set(), AccessSettings())


@pytest.mark.parametrize("line", [f"{READER} read grafana", f"grafana {READER} read"])
def test_words_in_the_wrong_order_do_not_show_the_token(line: str) -> None:
    with pytest.raises(ConfigError, match="line 1") as raised:
        parse([line], "--tokens")
    assert READER not in raised.value.message
