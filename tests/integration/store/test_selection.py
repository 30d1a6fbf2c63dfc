"""What a selection holds for in Python, it selects in Postgres."""

import asyncpg
import pytest

from gputel.store.read.records import SeriesLabels
from gputel.store.read.selection import Comparison, LabelCondition, Selection, matching, starting
from tests.helpers.telemetry_rows import Labels, add_series

NAMES = ["", "a", "A", "ab", "a\\b", "a%b", "a_b", "axb", "a.b", "é", "aéb", "a\nb", "\\", "%",
         "a*b", "^a$", "[ab]", "ba", "a|b", "(a)", "{a}", "a b", "a-b"]  # fmt: skip


@pytest.mark.parametrize(
    "matcher",
    [
        LabelCondition("hostname", Comparison.IS, ("a", "é")),
        LabelCondition("hostname", Comparison.IS_NOT, ("a", "é")),
        LabelCondition("hostname", Comparison.IS, ()),
        *(
            matching("hostname", [text])
            for text in ["a*", "*a", "a?b", "*", "?", "a\\*", "*\\", "a.?", "*|*", "[ab]*", "*\n*"]
        ),
        matching("hostname", ["a?b", "é*", "(a)"]),
        LabelCondition("hostname", Comparison.NOT_LIKE, ("a%", "\\%")),
        *(starting("hostname", [text]) for text in ["a", "a_", "a%", "\\", "^", ""]),
        starting("hostname", ["é", "("]),
    ],
    ids=lambda matcher: f"{matcher.kind.name}-{matcher.values}",
)
async def test_python_and_postgres_select_the_same(
    pool: asyncpg.Pool, matcher: LabelCondition
) -> None:
    series = []
    for number, name in enumerate(NAMES):
        found = await add_series(pool, Labels(uuid=f"GPU-{number}", hostname=name))
        series.append(SeriesLabels(found, "TEMP", "0", "", f"GPU-{number}", "", name, *[""] * 4))
    selection = Selection((matcher,))
    where, arguments = selection.where(1)
    rows = await pool.fetch(f"SELECT series_id FROM series AS s WHERE {where}", *arguments)
    held = selection.holds(series).tolist()
    chosen = {each.series_id for each, holds in zip(series, held, strict=True) if holds}
    assert chosen == {row["series_id"] for row in rows}


def test_a_pattern_of_many_stars_costs_no_more_than_its_length() -> None:
    selection = Selection((matching("hostname", ["*a" * 40 + "*b"]),))
    series = [SeriesLabels(1, "TEMP", "0", "", "GPU", "", "a" * 5000, *[""] * 4)]
    assert selection.holds(series).tolist() == [False]
