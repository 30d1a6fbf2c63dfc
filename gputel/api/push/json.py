"""Records in JSON: a list of objects, one object, or one object on each line."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gputel.api.push.records import ParsedPush, RejectedRecord, too_many
from gputel.errors import BadRequest
from gputel.sources.json.elements import NotJson, elements
from gputel.sources.json.records import read_records


def parse_json(body: bytes, most: int, now_us: int) -> ParsedPush:
    """A list of records, or one record. A record without a time gets the time ``now_us``.

    Raises BadRequest if it is not JSON, PayloadTooLarge if it has more than ``most`` records.
    """
    try:
        return _parse(enumerate(elements(_text(body))), most, now_us)
    except NotJson as error:
        raise BadRequest(f"the body {error}") from None


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


def _parse(texts: Iterable[tuple[int, str]], most: int, now_us: int) -> ParsedPush:
    read = read_records(texts, most, now_us)
    if read is None:
        raise too_many(most)
    rejects = [RejectedRecord(index, reason) for index, reason in read.rejects]
    return ParsedPush(read.batch, np.array(read.indices, np.int64), rejects)
