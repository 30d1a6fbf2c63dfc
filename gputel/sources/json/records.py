"""Records in JSON: from the texts of objects to columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa

from gputel.model.columns import make_batch, times_of
from gputel.model.names import API_NAMES, FIELDS, LABEL_COLUMNS, LABELS, TIMESTAMP, VALUE
from gputel.printable import shortened
from gputel.sources.dcgm.chunk import EMPTY, concatenate
from gputel.sources.dcgm.classify import Malformed, parse_number, parse_time
from gputel.sources.dcgm.times import number_us

_AT_ONCE = 8192  # records that are Python objects at one time: bounds memory
_SHOWN = 100
_PLACE = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$")
_NAMES = {"str": "text", "float": "a number", "int": "a number", "object": "an object"}
_NAMES |= {"array": "a list", "bool": "true or false", "null": "null"}
_TYPE = re.compile(r"Expected `([a-z| ]+)`, got `([a-z]+)`")


_REQUIRED = [column for column in LABEL_COLUMNS if column.required]
_OTHERS = [column for column in LABEL_COLUMNS if not column.required]
_CSV_ALIASES = {
    f"csv_{column.name}": column for column in LABEL_COLUMNS if column.csv != column.api
}
"""Fields of ``_Record`` for labels that DCGM's CSV calls by another name than the API."""

_Record: Any = msgspec.defstruct(
    "_Record",
    [
        *((column.name, str) for column in _REQUIRED),
        (VALUE, float | str),
        (TIMESTAMP, str | int | float | None, None),
        *((column.name, str, "") for column in _OTHERS),
        *((name, str, "") for name in _CSV_ALIASES),
    ],
    forbid_unknown_fields=True,
    rename=API_NAMES | {name: column.csv for name, column in _CSV_ALIASES.items()},
)

_DECODER = msgspec.json.Decoder(_Record)


@dataclass(frozen=True)
class JsonRecords:
    """Records in columns. ``batch`` has SCHEMA.

    ``indices`` has the index of the text of each row, and ``rejects`` those of the texts that are
    no records, with the reason.
    """

    batch: pa.RecordBatch
    indices: list[int]
    rejects: list[tuple[int, str]]


def read_records(
    texts: Iterable[tuple[int, str]], most: int, no_time_us: int | None
) -> JsonRecords | None:
    """The records of these texts, each with its index; None if there are more than ``most``.

    A record without a time gets the time ``no_time_us``; if that is None, it is rejected.
    """
    left, known_times = iter(texts), dict[str, int]()
    result = JsonRecords(EMPTY, [], [])
    batches: list[pa.RecordBatch] = []
    while some := list(islice(left, _AT_ONCE)):
        if len(result.indices) + len(result.rejects) + len(some) > most:
            return None
        records: list[Any] = []
        times: list[int] = []
        for index, text in some:
            try:
                record = _decode(text)
                times.append(_time(record, known_times, no_time_us))
            except Malformed as problem:
                result.rejects.append((index, problem.reason))
            else:
                records.append(record)
                result.indices.append(index)
        batches.append(_batch(records, times))
    return replace(result, batch=concatenate(batches))


def _batch(records: list[Any], times: list[int]) -> pa.RecordBatch:
    columns = {
        name: pa.array([getattr(r, name) for r in records], pa.string()).dictionary_encode()
        for name in LABELS
    }
    columns[TIMESTAMP] = times_of(times)
    columns[VALUE] = pa.array([r.value for r in records], pa.float64())
    return make_batch(columns, len(records))


def _decode(text: str) -> Any:
    try:
        record = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise Malformed(_reason(str(error))) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"is not JSON: {shortened(str(error), _SHOWN)}") from None
    if isinstance(record.value, str):
        record.value = parse_number(record.value)
    for alias, column in _CSV_ALIASES.items():
        if label := getattr(record, alias):
            if getattr(record, column.name) not in ("", label):
                raise Malformed(
                    f"{column.csv} and {column.api} are two names of one field; give one of them"
                )
            setattr(record, column.name, label)
    return record


def _time(record: Any, known_times: dict[str, int], no_time_us: int | None) -> int:
    time: str | float | None = record.timestamp
    if time is None:
        if no_time_us is None:
            raise Malformed("timestamp is missing")
        return no_time_us
    if not isinstance(time, str):
        try:
            return number_us(Decimal(repr(time)))
        except ValueError as error:
            raise Malformed(f"timestamp {error}") from None
    if time not in known_times:
        known_times[time] = parse_time(time)
    return known_times[time]


def _reason(text: str) -> str:
    """The message of msgspec in other words, with the name of the field."""
    if unknown := _UNKNOWN.match(text):
        return f"unknown field {shortened(unknown[1], _SHOWN)!r}; a record has {', '.join(FIELDS)}"
    if missing := _MISSING.match(text):
        return f"{missing[1]} is missing"
    position = _PLACE.search(text)
    name = position[1] if position else ""
    problem_text = text[: position.start()] if position else text
    if problem_text == "Number out of range":
        problem_text = "is out of range"
    elif types := _TYPE.match(problem_text):
        expected, got = (_NAMES.get(each.split(" ")[0], each) for each in types.groups())
        problem_text = f"is {got} instead of {expected}"
    return shortened(f"{name} {problem_text}" if name else f"a record {problem_text}", _SHOWN)
