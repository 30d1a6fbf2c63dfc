"""Records in JSON: a list of objects, one object, or one object on each line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from gputel.api.push.json_elements import elements
from gputel.api.push.records import (
    FIELDS,
    ParsedPush,
    RejectedRecord,
    make_batch,
    times_of,
    too_many,
)
from gputel.errors import BadRequest
from gputel.model.names import API_NAMES, LABEL_COLUMNS, LABELS, TIMESTAMP, VALUE
from gputel.sources.dcgm.classify import Malformed, parse_time

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
        (VALUE, float),
        (TIMESTAMP, str | None, None),
        *((column.name, str, "") for column in _OTHERS),
        *((name, str, "") for name in _CSV_ALIASES),
    ],
    forbid_unknown_fields=True,
    rename=API_NAMES | {name: column.csv for name, column in _CSV_ALIASES.items()},
)

_DECODER = msgspec.json.Decoder(_Record)


def parse_json(body: bytes, most: int, now_us: int) -> ParsedPush:
    """A list of records, or one record. A record without a time gets the time ``now_us``.

    Raises BadRequest if it is not JSON, PayloadTooLarge if it has more than ``most`` records.
    """
    return _parse(enumerate(elements(_text(body))), most, now_us)


def parse_ndjson(body: bytes, most: int, now_us: int) -> ParsedPush:
    """One record on each line. Blank lines are ignored, but counted in the indices.

    Raises the same errors as ``parse_json``.
    """
    text = _text(body)
    if text.count("\n") > most:
        raise too_many(most)
    lines = enumerate(text.split("\n"))
    return _parse(((index, line) for index, line in lines if line.strip(" \t\r")), most, now_us)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8 text") from None


def _parse(texts: Iterator[tuple[int, str]], most: int, now_us: int) -> ParsedPush:
    records: list[Any] = []
    indices: list[int] = []
    times: list[int] = []
    rejects: list[RejectedRecord] = []
    known_times: dict[str, int] = {}
    for index, text in texts:
        if len(indices) + len(rejects) == most:
            raise too_many(most)
        try:
            record = _decode(text)
            times.append(_time(record, known_times, now_us))
        except Malformed as problem:
            rejects.append(RejectedRecord(index, problem.reason))
        else:
            records.append(record)
            indices.append(index)
    columns = {
        name: pa.array([getattr(r, name) for r in records], pa.string()).dictionary_encode()
        for name in LABELS
    }
    columns[TIMESTAMP] = times_of(times)
    columns[VALUE] = pa.array([r.value for r in records], pa.float64())
    return ParsedPush(make_batch(columns, len(records)), np.array(indices, np.int64), rejects)


def _decode(text: str) -> Any:
    try:
        record = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise Malformed(_reason(str(error))) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"is not JSON: {_short(str(error))}") from None
    for alias, column in _CSV_ALIASES.items():
        if label := getattr(record, alias):
            if getattr(record, column.name) not in ("", label):
                raise Malformed(
                    f"{column.csv} and {column.api} are two names of one field; give one of them"
                )
            setattr(record, column.name, label)
    return record


def _time(record: Any, known_times: dict[str, int], now_us: int) -> int:
    text: str | None = record.timestamp
    if text is None:
        return now_us
    if text not in known_times:
        known_times[text] = parse_time(text)
    return known_times[text]


def _reason(text: str) -> str:
    """The message of msgspec in other words, with the name of the field."""
    if unknown := _UNKNOWN.match(text):
        return f"unknown field {_short(unknown[1])!r}; a record has {', '.join(FIELDS)}"
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
    return _short(f"{name} {problem_text}" if name else f"a record {problem_text}")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
