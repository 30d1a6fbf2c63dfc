"""What a document cannot say of its parameters, told to schemathesis: how they go together."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import schemathesis
from hypothesis import strategies as st

from gputel import times
from gputel.api.shared.paths import OTLP_PATHS
from gputel.api.telemetry.paging import encode_cursor
from gputel.store.blocks.samples import micros
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.time_order import Position
from tests.helpers import otlp
from tests.helpers.otlp import Export, point
from tests.helpers.remote_write import Written, snappy, write_request

schemathesis.openapi.format(
    "gputel-cursor",
    st.builds(
        lambda *place: encode_cursor(Position(*place)),
        st.integers(micros(EARLIEST), micros(LATEST)),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.integers(1, 2**63 - 1),
        st.just(()),
    ),
)


_TIMES = {"start_time", "end_time", "seen_since"}
"""Parameters that are absent if they are empty, which a schema of a time cannot say."""

_REPEATED = {"hostname", "modelName", "namespace", "pod", "uuid", "metric", "group_by", "match[]"}
"""Parameters that are any text, again and again."""


_EXPORT = otlp.protobuf(Export().gauge("M", point(1, 1_752_871_354 * 10**9, {"uuid": "GPU-1"})))

_STEP = re.compile("[1-9][0-9]{0,7}[dhms]", re.ASCII)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A key is of one push, and parameters fit each other."""
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid4())
    if case.operation.path in OTLP_PATHS and case.media_type == "application/x-protobuf":
        case.body = _EXPORT  # as remote write has other bodies of that type
    if case.operation.label == "POST /api/v1/telemetry":
        for record in case.body if isinstance(case.body, list) else [case.body]:
            if isinstance(record, dict):
                _tidy(record)
    if case.query:
        for name, value in case.query.items():
            if name not in _REPEATED and (_is_unsent(value) or (name in _TIMES and value == "")):
                case.query[name] = "{}"  # as wrong as what was made up, and seen by the server
        _fit(case.query, of_steps=not case.path.endswith("/top"))


def _fit(query: dict[str, Any], *, of_steps: bool) -> None:
    if of_steps and query.keys() & {"agg", "fill", "group_by"} and "step" not in query:
        query["step"] = "5m"
    if "fill" in query and _STEP.fullmatch(str(query.get("step"))):
        query["step"] = "1d"  # as records that are pushed may lie many years apart
    if "group_by" in query:
        query.pop("cursor", None)  # which has the labels of a group
        if query.get("agg") == "last":
            query["agg"] = "avg"
    if _ends_before_it_starts(query):
        query["start_time"], query["end_time"] = query["end_time"], query["start_time"]


def _is_unsent(value: Any) -> bool:
    """Whether a query does not have it, as ``{"a": []}`` is a parameter ``a`` with no values."""
    inside = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list) and all(_is_unsent(each) for each in inside)


def _tidy(record: dict[str, Any]) -> None:
    """A schema has no years from 2000 to 2099, nor two names of which one is enough."""
    if isinstance(record.get("timestamp"), str):
        record["timestamp"] = "2025-07-18T20:42:34Z"
    elif isinstance(record.get("timestamp"), int | float) and not isinstance(
        record["timestamp"], bool
    ):
        record["timestamp"] = 1_752_871_354
    if isinstance(record.get("value"), str):
        record["value"] = "42"
    if record.get("hostname"):
        record.pop("Hostname", None)


def _ends_before_it_starts(query: dict[str, Any]) -> bool:
    try:
        start, end = (times.parse(query[name]) for name in ("start_time", "end_time"))
    except (KeyError, ValueError, TypeError):
        return False
    return start > end


_TEXTS = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=9)
_NAMES = _TEXTS.filter(str.strip)
_RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp": st.datetimes(datetime(2000, 1, 1), datetime(2020, 1, 1)).map(
                lambda time: f"{time.isoformat()}Z"
            ),
            "metric_name": _NAMES,
            "uuid": _NAMES,
            "value": st.integers(0, 1000),
            "pod": _TEXTS,
        }
    ),
    min_size=1,
)


def _ndjson(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _csv(records: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _arrow(records: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(records).drop_columns("timestamp")
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _exposition(records: list[dict[str, Any]]) -> str:
    """One metric, as two records of one GPU would be one series."""
    return "".join(
        f"M{number}{{uuid={_quoted(record['uuid'])},pod={_quoted(record['pod'])}}} "
        f"{record['value']}\n"
        for number, record in enumerate(records)
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _remote_write(records: list[dict[str, Any]]) -> bytes:
    """Each with a label of its own, as two records of one GPU would be one series."""
    return snappy(
        write_request(
            Written(
                {"__name__": "M", "uuid": record["uuid"], "n": str(number)},
                [(record["value"], 1_500_000_000_000)],
            )
            for number, record in enumerate(records)
        )
    )


schemathesis.openapi.format("ndjson", _RECORDS.map(_ndjson))
schemathesis.openapi.format("csv", _RECORDS.map(_csv))
schemathesis.openapi.format("prometheus", _RECORDS.map(_exposition))
schemathesis.openapi.format("openmetrics", _RECORDS.map(lambda rows: _exposition(rows) + "# EOF\n"))
schemathesis.openapi.media_type("application/x-protobuf", _RECORDS.map(_remote_write))
schemathesis.openapi.media_type("application/vnd.apache.arrow.stream", _RECORDS.map(_arrow))


@schemathesis.serializer("application/x-ndjson", "text/csv", "application/openmetrics-text")
def _text(context: Any, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
