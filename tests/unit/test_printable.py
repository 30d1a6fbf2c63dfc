"""What may be shown of a text from outside."""

import json

import pytest

from gputel.printable import (
    is_printable,
    json_text,
    printable,
    printable_json,
    printable_lines,
)

UNSEEN = [chr(code) for code in (*range(32), *range(127, 160))]
UNSEEN += ["\u200b", "\u200d", "\u202e", "\u2066", "\u2028", "\u2029", "\ufeff", "\ud800", "\u3164"]
UNSEEN += ["\ufe0f", "\U000e0041", "\U000e0100", "\u00ad", "\u034f"]


@pytest.mark.parametrize("character", UNSEEN, ids=ascii)
def test_a_character_that_nobody_sees_is_written_as_its_escape(character: str) -> None:
    assert not is_printable(f"a{character}b")
    shown = printable(f"a{character}b")
    assert shown.isascii()
    assert shown.encode().decode("unicode_escape") == f"a{character}b"


@pytest.mark.parametrize("text", ["", "node 7", "größe 显卡 🚀", "C:\\temp", "e\u0301"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_lines_and_tabs_of_a_trace_stay() -> None:
    assert printable_lines("a\n\tb\x1b[2J\r\n") == "a\n\tb\\x1b[2J\\r\n"


def test_json_for_a_terminal_means_what_it_meant() -> None:
    value = {"a": "".join(UNSEEN[:-1]) + "é"}
    exact = json.dumps(value, ensure_ascii=False, indent=1)
    shown = printable_json(exact)
    assert json.loads(shown) == value
    assert is_printable(shown.replace("\n", ""))
    assert is_printable(json_text(value))
