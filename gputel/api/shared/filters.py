"""Filters that several lists share: host, model, namespace, pod, uuid, metric, time last seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields

from gputel import times
from gputel.api.shared.nearest import did_you_mean
from gputel.api.shared.schemas import FormatQuery, QuerySchema, described
from gputel.model.meanings import MEANINGS, PREFIX
from gputel.model.names import FILTER_COLUMNS, GPU_FILTER_COLUMNS, PARSED_COLUMNS, Match
from gputel.store.read.reader import EARLIEST, LATEST
from gputel.store.read.selection import Comparison, LabelCondition, Selection, matching, starting

_MATCHERS: dict[Match, Callable[[str, Iterable[str]], LabelCondition]] = {
    Match.EXACT: lambda label, texts: LabelCondition(label, Comparison.IS, tuple(texts)),
    Match.PREFIX: starting,
    Match.PATTERN: matching,
}


class TextsField(fields.List[str]):
    """A parameter that may be repeated; each value has at least one character."""

    def __init__(self, description: str, example: str) -> None:
        element = fields.String(metadata={"minLength": 1})
        # No ``default`` is documented: some clients would send it.
        super().__init__(element, metadata=described(description, [example], minItems=1))
        self._example = example

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str | None]:
        texts: list[str | None] = super()._deserialize(value, attr, data, **kwargs)
        if not all(texts):
            raise ValidationError(f"is empty; write it like {self._example}, or leave it out")
        return texts


class MetricsField(TextsField):
    """The names or patterns of metrics as exporters send them, or ``with_meanings`` meanings."""

    def __init__(self, example: str, *, with_meanings: bool = False) -> None:
        description = "Only this metric; `*` stands for any text, `?` for one character."
        if with_meanings:
            description += (
                " Or the name of a meaning: the records are those of all its names, in its unit, "
                "each GPU once; a value whose unit is unknown is null."
            )
        super().__init__(f"{description} May be repeated.", example)
        self._with_meanings = with_meanings

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> list[str | None]:
        names = super()._deserialize(value, attr, data, **kwargs)
        for name in names:
            _check_known(name or "")
        if self._with_meanings and any(name in MEANINGS for name in names):
            if not all(name in MEANINGS for name in names):
                raise ValidationError("has meanings and other names; ask for these in two requests")
            return names
        for name in names:
            check_stored(name or "")
        return names


def _check_known(name: str) -> None:
    """Raise ValidationError for a name that only a meaning can have, and none has."""
    if name.startswith(PREFIX) and name not in MEANINGS:
        similar = did_you_mean(name, sorted(MEANINGS))
        raise ValidationError(f"{name} is no meaning{similar}docs/meanings.md lists them")


def check_stored(name: str) -> None:
    """Raise ValidationError for the name of a meaning, which is in no record."""
    _check_known(name)
    if meaning := MEANINGS.get(name):
        raise ValidationError(
            f"{name} is a meaning: only PromQL (/prometheus/api/v1) and /api/v1/telemetry/latest "
            f"answer it; here take a name that exporters send: {' or '.join(meaning.scales)}"
        )


class SinceField(fields.Field[datetime]):
    """A time, RFC 3339 or relative to now, rounded up; cut to the range of the store."""

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
    """Filters of GPUs by their labels.

    A GPU has to match all filters. It matches a repeated filter if it matches one of its values.
    """

    locals().update(  # a class body's names are the fields of the schema
        {
            column.parameter: TextsField(
                f"{column.filter}. May be repeated: any of them.", column.example
            )
            for column in GPU_FILTER_COLUMNS
        }
    )


class SeenGpuFilters(GpuFilters):
    """Filters of GPUs by their labels and by the time at which they were last seen."""

    seen_since = SinceField(
        "Only GPUs with a record of this time or later, RFC 3339 or like now-5m."
    )


class InstanceFilters(QuerySchema):
    """Filters of series by the MIG instance that they are of."""

    locals().update(
        {
            column.parameter: TextsField(
                f"{column.filter}. May be repeated: any of them.", column.example
            )
            for column in PARSED_COLUMNS
        }
    )


class SeriesFilters(GpuFilters, InstanceFilters):
    """Filters of series: by the labels of the GPU, by MIG instance, and by metric."""

    metric = MetricsField("DCGM_FI_DEV_*_TEMP")


def selection(parameters: Mapping[str, Any]) -> Selection:
    """The selection that the filters in the query parameters make."""
    return Selection(
        tuple(
            _MATCHERS[column.match](column.name, parameters[column.parameter])
            for column in FILTER_COLUMNS
            if column.parameter in parameters
        )
    )
