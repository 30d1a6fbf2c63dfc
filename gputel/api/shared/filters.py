"""The filters that lists share: by host, model, namespace, pod, uuid, metric and time last seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields

from gputel.api.shared import times
from gputel.api.shared.schemas import FormatQuery, described
from gputel.model.names import FILTER_COLUMNS, GPU_FILTER_COLUMNS, Match
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.selection import Comparison, LabelCondition, Selection, matching, starting

_MATCHERS: dict[Match, Callable[[str, Iterable[str]], LabelCondition]] = {
    Match.EXACT: lambda label, texts: LabelCondition(label, Comparison.IS, tuple(texts)),
    Match.PREFIX: starting,
    Match.PATTERN: matching,
}


class Texts(fields.List[str]):
    """Texts of at least one character; a parameter that may be given again and again."""

    def __init__(self, description: str, example: str) -> None:
        element = fields.String(metadata={"minLength": 1})
        # ``default`` of OpenAPI would be sent along by some clients: none is told.
        super().__init__(element, metadata=described(description, [example], minItems=1))
        self._example = example

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str | None]:
        texts: list[str | None] = super()._deserialize(value, attr, data, **kwargs)
        if not all(texts):
            raise ValidationError(f"is empty; write it like {self._example}, or leave it out")
        return texts


class Since(fields.Field[datetime]):
    """A time, RFC 3339 or relative to now, within what the store can say; it rounds up."""

    def __init__(self, description: str) -> None:
        alternatives = [
            {"type": "string", "format": "date-time"},
            {"type": "string", "pattern": times.RELATIVE},
        ]
        super().__init__(metadata=described(description, "now-5m", anyOf=alternatives))

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        try:
            return min(max(times.moment(value, round_up=True), EARLIEST), LATEST)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class GpuFilters(FormatQuery):
    """Which GPUs, by their labels. All conditions hold at once; a repeated one means any of it."""

    locals().update(  # a class body's names are the fields of the schema
        {
            column.parameter: Texts(
                f"{column.filter}. May be repeated: any of them.", column.example
            )
            for column in GPU_FILTER_COLUMNS
        }
    )


class SeenGpuFilters(GpuFilters):
    """Which GPUs, by their labels and by when they were last seen."""

    seen_since = Since("Only GPUs with a record of this time or later, RFC 3339 or like now-5m.")


class SeriesFilters(GpuFilters):
    """Which series: those of such GPUs, of some metrics."""

    metric = Texts(
        "Only this metric; `*` stands for any text, `?` for one character. May be repeated.",
        "DCGM_FI_DEV_*_TEMP",
    )


def selection(wanted: Mapping[str, Any]) -> Selection:
    """What the filters of a query select."""
    return Selection(
        tuple(
            _MATCHERS[column.match](column.name, wanted[column.parameter])
            for column in FILTER_COLUMNS
            if column.parameter in wanted
        )
    )
