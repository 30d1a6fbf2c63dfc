import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gputel.model import series
from gputel.model.columns import LABELS, SCHEMA, TIMESTAMP_TYPE
from gputel.model.series import digest, fingerprints, group_rows

Labels = tuple[str, ...]


def batch_of(rows: list[Labels], *, shuffled: bool = False) -> pa.RecordBatch:
    """A record batch of these label tuples; ``shuffled`` reverses and pads its dictionaries."""
    arrays = [pa.array(range(len(rows)), TIMESTAMP_TYPE)]
    for place in range(len(LABELS)):
        values = sorted({row[place] for row in rows}, reverse=shuffled)
        if shuffled:
            values = ["unused", *values]
        codes = [len(values) - 1 - values[::-1].index(row[place]) for row in rows]
        arrays.append(
            pa.DictionaryArray.from_arrays(
                pa.array(codes, pa.int32()), pa.array(values, pa.string())
            )
        )
    arrays.append(pa.array([0.0] * len(rows)))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def labels(**changed: str) -> Labels:
    return tuple(changed.get(name, "x") for name in LABELS)


def check_exact(rows: list[Labels]) -> None:
    """Rows share a group exactly when they share all labels."""
    groups = group_rows(batch_of(rows))
    assert len(groups) == len(set(rows))
    assert len(groups.row_group) == len(rows)
    assert groups.labels(groups.row_group) == rows


def test_rows_of_one_series_share_a_group():
    check_exact([labels(uuid=f"GPU-{row % 3}") for row in range(10)])


def test_empty_batch_has_no_series():
    groups = group_rows(batch_of([]))
    assert len(groups) == 0
    assert [len(lane) for lane in fingerprints(groups)] == [0, 0]


@pytest.mark.parametrize("name", LABELS)
def test_every_label_tells_series_apart(name):
    check_exact([labels(), labels(**{name: "y"}), labels()])


def test_labels_that_only_join_alike_are_told_apart():
    one, two = labels(container="ab", pod="c"), labels(container="a", pod="bc")
    check_exact([one, two])
    assert digest(one) != digest(two)
    first, second = zip(*fingerprints(group_rows(batch_of([one, two]))), strict=True)
    assert first != second


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.sampled_from(["", "a", "b", "µ"])] * len(LABELS)), min_size=1, max_size=40
    ),
    st.sampled_from([2, 5, 100, 2**62]),
)
def test_grouping_is_exact_whenever_codes_are_renumbered(rows, limit):
    kept = series._CODE_LIMIT
    series._CODE_LIMIT = limit
    try:
        check_exact(rows)
    finally:
        series._CODE_LIMIT = kept


def test_grouping_is_exact_where_products_of_codes_would_overflow():
    """Ten labels of 3000 values each: 3000**10 is far over 64 bits."""
    rows = [tuple(f"{(row * (place + 1)) % 3000}" for place in range(10)) for row in range(3000)]
    check_exact(rows + rows[::-1])


def test_equal_series_have_equal_fingerprints_in_different_batches():
    rows = [
        labels(uuid=uuid, metric_name=metric)
        for uuid, metric in itertools.product(["GPU-1", "GPU-2"], ["m", "n", "o"])
    ]
    seen: dict[Labels, set[tuple[int, int]]] = {}
    for batch in (batch_of(rows), batch_of(rows[::-1]), batch_of(rows, shuffled=True)):
        groups = group_rows(batch)
        first, second = fingerprints(groups)
        for group, found in enumerate(groups.labels(np.arange(len(groups)))):
            seen.setdefault(found, set()).add((int(first[group]), int(second[group])))
    assert [len(lanes) for lanes in seen.values()] == [1] * 6
    assert len(set.union(*seen.values())) == 6


def test_swapped_values_of_two_labels_make_other_fingerprints():
    rows = [labels(pod="a", namespace="b"), labels(pod="b", namespace="a")]
    for lane in fingerprints(group_rows(batch_of(rows))):
        assert lane[0] != lane[1]


def test_fingerprints_of_many_series_do_not_collide():
    rows = [labels(uuid=f"GPU-{at % 1000}", gpu_id=str(at // 1000)) for at in range(20_000)]
    first, second = fingerprints(group_rows(batch_of(rows)))
    assert len(np.unique(first)) == len(np.unique(second)) == 20_000


def test_fingerprints_of_many_texts_are_those_of_the_same_texts_elsewhere():
    rows = [labels(uuid=f"GPU-{at}") for at in range(10_000)]
    whole = fingerprints(group_rows(batch_of(rows)))
    end = fingerprints(group_rows(batch_of(rows[6_000:])))
    for lane, of_end in zip(whole, end, strict=True):
        assert lane[6_000:].tolist() == of_end.tolist()


def test_equal_text_twice_in_a_dictionary_makes_groups_that_resolve_alike():
    batch = batch_of([labels(), labels()])
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["x", "x"]))
    at = SCHEMA.get_field_index("uuid")
    groups = group_rows(batch.set_column(at, SCHEMA.field(at), twice))
    assert groups.labels(np.arange(len(groups))) == [labels()] * 2
    for lane in fingerprints(groups):
        assert lane[0] == lane[1]


def test_grouping_a_slice_sees_its_own_rows_only():
    rows = [labels(uuid=f"GPU-{row}") for row in range(10)]
    groups = group_rows(batch_of(rows).slice(4, 3))
    assert groups.labels(groups.row_group) == rows[4:7]


def test_digest_is_the_same_in_every_process():
    assert digest(labels()).hex() == "6c95aa845130ea01e95fa6bffd8053dd"
    assert len(digest(labels(pod="µ"))) == 16
