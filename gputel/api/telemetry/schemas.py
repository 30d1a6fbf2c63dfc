"""Schemas of requests for telemetry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from gputel.api.shared.filters import InstanceFilters, MetricsField, SeriesFilters, TextsField
from gputel.api.shared.schemas import FormatQuery, RecordSchema, TimeField, described, label_fields
from gputel.api.telemetry.paging import decode_cursor
from gputel.model.names import GROUP_COLUMNS, PARSED_COLUMNS
from gputel.store.read.time_order import Order, Position
from gputel.store.rollup.buckets import Aggregate
from gputel.times import Duration

LABEL_COLUMNS = {column.api: column.name for column in GROUP_COLUMNS}
"""What may be grouped by, and the column of ``series`` of each."""

MOST_RECORDS = 1_000_000
"""The largest page. A page is in memory until it is known whether another follows."""

_COUNT = re.compile(r"\d{1,18}", re.ASCII)


class CountField(fields.Integer):
    """An integer from 1 to ``most``."""

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


class StepField(fields.Field[int]):
    """A time span, which becomes a number of microseconds."""

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


class AggregateField(fields.Field[Aggregate]):
    """The name of an aggregate, without those in ``but``."""

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


class OrderField(fields.Field[Order]):
    """The order of records in time."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Order:
        try:
            return Order(value)
        except ValueError:
            raise ValidationError(f"{value!r} is neither asc nor desc") from None


class CursorField(fields.Field[Position]):
    """The position at which a page begins."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Position:
        try:
            return decode_cursor(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class GroupByField(TextsField):
    """Names of labels, repeated or separated by commas; each is taken once.

    A group always has one metric, so ``metric`` is accepted and adds nothing.
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

    start_time = TimeField(
        round_up=True,
        metadata=described(
            "The oldest time, inclusive, RFC 3339 or like now-1h. Default: no limit.",
            "2025-07-18T20:42:34Z",
        ),
    )
    end_time = TimeField(
        metadata=described(
            "The newest time, inclusive, RFC 3339 or like now-1h. Default: no limit.",
            "2099-12-31T23:59:59Z",
        )
    )

    @validates_schema
    def _in_order(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        start, end = data.get("start_time"), data.get("end_time")
        if start is not None and end is not None and start > end:
            raise ValidationError("is after end_time; swap the two", "start_time")


class RecordsQuery(TimeQuery):
    """The range of time, the order, the page, and the step."""

    order = OrderField(
        metadata=described(
            "Newest first (desc) or oldest first (asc). Default: desc.",
            "desc",
            type="string",
            enum=[order.value for order in Order],
        )
    )
    limit = CountField(
        "At most this many records, the first in the order. If there are more, the header "
        '`Link: <...>; rel="next"` has the address of the next page. Default: all records.',
        100,
        MOST_RECORDS,
    )
    cursor = CursorField(
        metadata=described(
            "The position at which a page begins, from the address in a Link header. It stays "
            "valid while new records land.",
            type="string",
            format="gputel-cursor",
        )
    )
    step = StepField(
        metadata=described(
            "Answer one record for each series and span of this length that has records: a number "
            "with s, m, h, d or w. Spans begin at multiples of this length since 1970-01-01 UTC.",
            "5m",
            type="string",
            pattern="^[1-9][0-9]{0,7}[wdhms]$",
        )
    )
    agg = AggregateField(
        "How `value` comes from the records in a span: their average, smallest, largest, newest, "
        "number, or a percentile; `sum` of the GPUs of a group, each with its average, or a "
        "counter's newest value; `sum_over_time` of all records; or `rate`, the increase of a "
        "counter per second in spans with at least two records. Default: avg. Only together with "
        "`step`."
    )

    fill = fields.String(
        validate=validate.OneOf(["null"], error="{input!r} is not null"),
        metadata=described(
            "With `null`, a span without records between the first and the last span of a series "
            "gets a record with the value null. Default: such spans are left out. Only together "
            "with `step`.",
            "null",
        ),
    )

    @validates_schema
    def _of_steps(self, data: Mapping[str, Any], **_kwargs: Any) -> None:
        for name in ("agg", "fill"):
            if name in data and "step" not in data:
                raise ValidationError("needs a step; add step=5m, or leave it out", name)


class GpuTelemetryQuery(RecordsQuery, InstanceFilters):
    """Parameters for the records of one GPU."""

    metric = MetricsField("DCGM_FI_DEV_GPU_UTIL")


class FleetTelemetryQuery(RecordsQuery, SeriesFilters):
    """Parameters for the records of many GPUs."""

    group_by = GroupByField(
        "Answer one record for all series of a metric that have the same values of these labels: "
        f"{', '.join(LABEL_COLUMNS)} or metric, repeated or separated by commas. Only "
        "together with `step`, and not with `agg=last`."
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
    """A record; with `group_by` the value of a group, with only the labels of the group."""

    locals().update(label_fields(PARSED_COLUMNS))

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, field in self.fields.items():
            field.required = name in ("timestamp", "metric_name", "value")
