"""What requests for telemetry may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from gputel.api.shared.filters import SeriesFilters, Texts
from gputel.api.shared.schemas import FormatQuery, Moment, RecordSchema, described
from gputel.api.telemetry import cursor
from gputel.store.read.time_order import Order, Position
from gputel.store.rollup.buckets import Aggregate
from gputel.times import Duration

LABEL_COLUMNS = {
    "hostname": "hostname",
    "modelName": "model_name",
    "namespace": "namespace",
    "pod": "pod",
}
"""What may be grouped by, and the column of ``series`` of each."""

MOST_RECORDS = 1_000_000
"""Of one page, as they are held until it is known whether there is another."""

_COUNT = re.compile(r"\d{1,18}", re.ASCII)


class Count(fields.Integer):
    """A whole number from 1 on, up to ``most``."""

    def __init__(self, description: str, example: int, most: int) -> None:
        super().__init__(metadata=described(description, example, minimum=1, maximum=most))
        self._most = most

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        if not _COUNT.fullmatch(value) or not 1 <= int(value) <= self._most:
            raise ValidationError(
                f"{value!r} is not a whole number from 1 to {self._most}; write it like "
                f"{self.metadata['example']}, or leave it out"
            )
        return int(value)


class Step(fields.Field[int]):
    """A time span; deserialised to microseconds."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> int:
        try:
            step = Duration.parse(value)
        except ValueError:
            step = Duration()
        if not step:
            raise ValidationError(
                f"{value!r} is no time span of a second or more; write it like 30s, 5m, 1h or 1d"
            )
        return step // timedelta(microseconds=1)


class Agg(fields.Field[Aggregate]):
    """The name of an aggregate, but for some."""

    def __init__(self, description: str, but: tuple[Aggregate, ...] = ()) -> None:
        self._allowed = [each for each in Aggregate if each not in but]
        metadata = described(description, "avg", type="string", enum=self._allowed)
        super().__init__(metadata=metadata)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Aggregate:
        if value not in self._allowed:
            raise ValidationError(f"{value!r} is none of {', '.join(self._allowed)}")
        return Aggregate(value)


class Ordered(fields.Field[Order]):
    """The order of records in time."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Order:
        try:
            return Order(value)
        except ValueError:
            raise ValidationError(f"{value!r} is neither asc nor desc") from None


class Cursor(fields.Field[Position]):
    """Where a page begins."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Position:
        try:
            return cursor.decode(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class GroupBy(Texts):
    """Names of labels, repeated or between commas; deserialised to each of them once.

    Groups are always of one metric, so that ``metric`` adds nothing.
    """

    def __init__(self, description: str) -> None:
        super().__init__(description, "hostname")
        names = [*LABEL_COLUMNS, "metric"]
        self.inner.metadata = {"pattern": f"^({'|'.join(names)})(,({'|'.join(names)}))*$"}

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str | None]:
        texts = super()._deserialize(value, attr, data, **kwargs)
        names = dict.fromkeys(name for text in texts if text for name in text.split(","))
        for name in names:
            if name not in LABEL_COLUMNS and name != "metric":
                known = ", ".join([*LABEL_COLUMNS, "metric"])
                raise ValidationError(f"{name!r} is none of {known}")
        return [name for name in names if name != "metric"]


class TimeQuery(FormatQuery):
    """A range of time."""

    start_time = Moment(
        round_up=True,
        metadata=described(
            "Oldest time wanted, inclusive, RFC 3339 or like now-1h. Default: from the beginning.",
            "2025-07-18T20:42:34Z",
        ),
    )
    end_time = Moment(
        metadata=described(
            "Newest time wanted, inclusive, RFC 3339 or like now-1h. Default: up to now and "
            "beyond.",
            "2099-12-31T23:59:59Z",
        )
    )

    @validates_schema
    def _in_order(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        start, end = data.get("start_time"), data.get("end_time")
        if start is not None and end is not None and start > end:
            raise ValidationError("is after end_time; swap the two", "start_time")


class RecordsQuery(TimeQuery):
    """Which time, in which order, and whether as records or by step."""

    order = Ordered(
        metadata=described(
            "Newest first (desc) or oldest first (asc). Default: desc.",
            "desc",
            type="string",
            enum=[order.value for order in Order],
        )
    )
    limit = Count(
        "Only this many records, the first in the order. If there are more, the header "
        '`Link: <...>; rel="next"` has the address of the next page. Default: all of them.',
        100,
        MOST_RECORDS,
    )
    cursor = Cursor(
        metadata=described(
            "Where a page begins: the addresses in Link headers have it. It stays right while "
            "records land.",
            type="string",
            format="gputel-cursor",
        )
    )
    step = Step(
        metadata=described(
            "Instead of records, one for each series and span of this length that has some: a "
            "number with s, m, h, d or w. Spans begin at multiples of it since 1970-01-01 UTC.",
            "5m",
            type="string",
            pattern="^[1-9][0-9]{0,7}[wdhms]$",
        )
    )
    agg = Agg(
        "What `value` is of the records in a span: their average, smallest, largest, newest, "
        "sum, number, or a percentile; or `rate`, the increase a second of a counter, of spans "
        "with two records at least. Default: avg. Only together with `step`."
    )

    fill = fields.String(
        validate=validate.OneOf(["null"], error="{input!r} is not null"),
        metadata=described(
            "`null` answers a record with the value null for each span without records between the "
            "first and the last of a series. Default: such spans are left out. Only together with "
            "`step`.",
            "null",
        ),
    )

    @validates_schema
    def _of_steps(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        for name in ("agg", "fill"):
            if name in data and "step" not in data:
                raise ValidationError("needs a step; add step=5m, or leave it out", name)


class GpuTelemetryQuery(RecordsQuery):
    """Which records of a GPU."""

    metric = Texts(
        "Only this metric; `*` stands for any text, `?` for one character. May be repeated.",
        "DCGM_FI_DEV_GPU_UTIL",
    )


class FleetTelemetryQuery(RecordsQuery, SeriesFilters):
    """Which records of all GPUs."""

    group_by = GroupBy(
        "Instead of one record for each series and span, one for all series of a metric with the "
        "same values of these labels: hostname, modelName, namespace, pod or metric, repeated or "
        "with commas between. Only together with `step`, and not with `agg=last`."
    )

    @validates_schema
    def _groups_of_steps(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        if "group_by" not in data:
            return
        if "step" not in data:
            raise ValidationError("needs a step; add step=5m, or leave it out", "group_by")
        if data.get("agg") is Aggregate.LAST:
            raise ValidationError(
                "last is of one series, not of a group; take avg, min or max, or leave group_by "
                "out",
                "agg",
            )


class FleetRecordSchema(RecordSchema):
    """A record, or with `group_by` the value of a group: no labels but those it is grouped by."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, field in self.fields.items():
            field.required = name in ("timestamp", "metric_name", "value")
