"""What a document cannot say of its parameters, told to schemathesis: how they go together."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies as st

from gputel.api import cursor, times
from gputel.store.reader import EARLIEST, LATEST
from gputel.store.samples import micros
from gputel.store.time_order import Position

schemathesis.openapi.format(
    "gputel-cursor",
    st.builds(
        lambda *place: cursor.encode(Position(*place)),
        st.integers(micros(EARLIEST), micros(LATEST)),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.integers(1, 2**63 - 1),
        st.just(()),
    ),
)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """An aggregate is one of steps, and a range does not end before it starts."""
    query = case.query
    if not query:
        return
    of_steps = not case.path.endswith("/top")
    if of_steps and query.keys() & {"agg", "fill", "group_by"} and "step" not in query:
        query["step"] = "5m"
    if "group_by" in query:
        query.pop("cursor", None)  # which has the labels of a group
        if query.get("agg") == "last":
            query["agg"] = "avg"
    if _ends_before_it_starts(query):
        query["start_time"], query["end_time"] = query["end_time"], query["start_time"]


def _ends_before_it_starts(query: dict[str, Any]) -> bool:
    try:
        start, end = (times.parse(query[name]) for name in ("start_time", "end_time"))
    except (KeyError, ValueError, TypeError):
        return False
    return start > end
