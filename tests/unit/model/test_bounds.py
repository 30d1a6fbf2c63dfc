"""The bounds of labels and names, at their edges."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gputel.model.bounds import id_flaw, label_flaws, name_flaw, used_flaws, without_oversized
from tests.helpers.batches import NOON, batch, labels


@pytest.mark.parametrize("text", ["", "a" * 256, "\N{GRINNING FACE}" * 256, "a\tb"])
def test_a_label_within_the_bounds_is_one(text: str) -> None:
    assert label_flaws("uuid", pa.array(["x", text])) == {}


@pytest.mark.parametrize(
    ("name", "text", "flaw"),
    [
        ("uuid", "a" * 257, "is over 256 characters"),
        ("pod", "é" * 257, "is over 256 characters"),
        ("labels_raw", "é" * 2049, "is over 4096 bytes"),
        ("uuid", "a\0b", "has a line break or a NUL character"),
        ("pod", "a\n", "has a line break or a NUL character"),
        ("pod", "\r", "has a line break or a NUL character"),
    ],
)
def test_a_label_over_the_bounds_is_named_with_its_reason(name: str, text: str, flaw: str) -> None:
    assert label_flaws(name, pa.array(["x", text, "y"])) == {1: flaw}
    assert label_flaws(name, pa.array(["-", "x", text, "y"]).slice(1)) == {1: flaw}


def test_entries_that_no_row_has_are_no_labels() -> None:
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 2], pa.int32()), pa.array(["a", "\x00", "c"])
    )
    assert used_flaws("uuid", column) == {}
    assert label_flaws("uuid", column.dictionary) == {1: "has a line break or a NUL character"}


def test_what_no_row_has_and_is_over_the_bounds_is_dropped_from_a_batch() -> None:
    long = batch([(labels("x" * 5000), NOON, 1.0), (labels("b"), NOON, 2.0)]).slice(1)
    tidy = without_oversized(long)
    assert tidy.to_pylist() == long.to_pylist()
    assert tidy.column("uuid").dictionary.to_pylist() == ["b"]
    good = batch([(labels("b"), NOON, 2.0)])
    assert without_oversized(good) is good


@pytest.mark.parametrize(
    ("name", "flaw"),
    [
        ("", "is empty"),
        ("a" * 257, "is over 256 characters"),
        ("\udcff", "is not UTF-8 text"),
        ("a\0", "has a line break or a NUL character"),
        ("a\nb", "has a line break or a NUL character"),
        ("\N{GRINNING FACE}" * 256, None),
        ("fleet/1", None),
    ],
)
def test_names_of_streams_have_bounds_too(name: str, flaw: str | None) -> None:
    assert name_flaw(name) == flaw


@pytest.mark.parametrize(
    ("message_id", "flaw"),
    [
        ("", "is empty"),
        ("a" * 513, "is over 512 characters"),
        ("\N{GRINNING FACE}" * 512, None),
        ("a\0", "has a NUL character"),
        ("a\n", None),
    ],
)
def test_ids_of_messages_have_bounds_too(message_id: str, flaw: str | None) -> None:
    assert id_flaw(message_id) == flaw
