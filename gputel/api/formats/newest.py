"""The newest records of a fleet in each format. JSON is made by columns: dashboards ask for it."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter

import msgspec
from marshmallow import Schema

from gputel.api.formats.format import Format
from gputel.api.formats.text import json_values, members, times
from gputel.model.names import SHOWN_COLUMNS
from gputel.store.read.known_series import OrderedSeries
from gputel.store.read.latest import Newest

_ENCODER = msgspec.json.Encoder()
_LABELS = [column.api for column in SHOWN_COLUMNS]
_TEXTS = attrgetter(*(column.name for column in SHOWN_COLUMNS))
_REMEMBERED = 4  # lists of series, each of which takes as many bytes as its answer


def encode_newest(newest: Newest, schema: type[Schema], chosen: Format) -> bytes:
    """The complete answer. Blocks."""
    return _json(newest) if chosen is Format.JSON else chosen.encode_rows(list(newest), schema)


def _json(newest: Newest) -> bytes:
    """The same bytes as msgspec gives for the records one by one."""
    if not len(newest):
        return b"[]"
    parts = [b'},{"timestamp":"'] * (6 * len(newest))
    parts[0] = b'[{"timestamp":"'
    parts[1::6] = times(newest.ts)
    parts[2::6] = [b'Z","age_s":'] * len(newest)
    parts[3::6] = _ENCODER.encode(newest.age_s.tolist())[1:-1].split(b",")
    parts[4::6] = _labels(newest.of)
    parts[5::6] = json_values(newest.value)
    return b"".join([*parts, b"}]"])


@lru_cache(_REMEMBERED)
def _labels(of: OrderedSeries) -> list[bytes]:
    """The part of a record that is the same in all records of its series."""
    return [members(_LABELS, _TEXTS(series)) + b',"value":' for series in of.series]
