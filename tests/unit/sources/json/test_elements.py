from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gputel.sources.json.elements import NotJson, elements

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
INDENTS = st.sampled_from([None, 0, 1])


@given(st.lists(VALUES), INDENTS, st.booleans())
def test_the_elements_of_a_list_are_those_that_json_reads(
    given_values: list[object], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(given_values, indent=indent, ensure_ascii=ascii_only)
    found = list(elements(text))
    assert [repr(json.loads(each)) for each in found] == [repr(each) for each in given_values]


@given(SCALARS | st.dictionaries(st.text(), VALUES), INDENTS)
def test_what_is_no_list_is_one_element(value: object, indent: int | None) -> None:
    text = f" \r\n{json.dumps(value, indent=indent)}\t"
    assert list(elements(text)) == [text.strip()]


@given(st.lists(VALUES, min_size=1), st.data())
def test_a_list_that_is_cut_short_is_refused(values: list[object], data: st.DataObject) -> None:
    text = json.dumps(values)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.raises(NotJson):
        list(elements(cut))


@pytest.mark.parametrize("text", ["", " ", "[,]", "[1,]", "[1 2]", "[1] 2", "{} {}", "]", "[1]]"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(NotJson, match=r"^is not JSON"):
        list(elements(text))


def test_an_element_may_be_nested_as_long_as_its_end_is_near() -> None:
    near = json.dumps([["x" * 10_000]] * 10)
    assert list(elements(f"[{near}, 1]")) == [near, "1"]
    with pytest.raises(NotJson, match="its end is not found"):
        list(elements(f"[[{near * 20}]]"))
