from __future__ import annotations

from gputel.store.postgres.cluster import reason


def test_reason_is_the_telling_lines_without_their_prefix() -> None:
    printed = "2026-01-01 UTC [7] LOG:  starting\n2026-01-01 UTC [7] FATAL:  bad\nHINT:  mend it\n"
    assert reason(printed) == "FATAL:  bad; HINT:  mend it"


def test_full_disk_says_what_to_do() -> None:
    assert reason("FATAL:  write: No space left on device").endswith("(free space on that disk)")


def test_output_without_a_telling_line_is_its_end() -> None:
    assert reason("one\ntwo\nthree\nfour\n") == "two; three; four"
    assert reason("") == "it printed nothing"


def test_hint_that_belongs_to_no_error_is_left_out() -> None:
    printed = "LOG:  interrupted\nHINT:  data may be corrupted\nFATAL:  no room\nHINT:  make some\n"
    assert reason(printed) == "FATAL:  no room; HINT:  make some"
