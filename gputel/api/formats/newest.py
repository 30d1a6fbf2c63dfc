"""The newest records of a fleet to each format; to JSON by columns, as it is asked for often."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter

import msgspec
from marshmallow import Schema

from gputel.api.formats.media import Format
from gputel.api.formats.rows import encode_rows
from gputel.api.formats.text import json_values, members, times
from gputel.model.names import SHOWN_COLUMNS
from gputel.store.read.known_series import OrderedSeries
from gputel.store.read.latest import Newest

_ENCODER = msgspec.json.Encoder()
_LABELS = [column.api for column in SHOWN_COLUMNS]
_TEXTS = attrgetter(*(column.name for column in SHOWN_COLUMNS))
_REMEMBERED = 4  # orders of series, each as many bytes as its answers


def encode_newest(newest: Newest, schema: type[Schema], chosen: Format) -> bytes:
    """The whole answer. Blocks."""
    return _json(newest) if chosen is Format.JSON else encode_rows(list(newest), schema, chosen)


def _json(newest: Newest) -> bytes:
    """The bytes that msgspec gives of the same records one by one."""
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
    """What is the same in all records of each series."""
    return [members(_LABELS, _TEXTS(series)) + b',"value":' for series in of.series]
