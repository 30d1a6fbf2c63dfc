"""Which parsed records are taken: those that the collector will land."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gputel.api.push.records import Parsed, Reject
from gputel.errors import BadRequest
from gputel.model.columns import LABELS, SCHEMA, TIMESTAMP
from gputel.sources.flaws import find_flaws, text_of
from gputel.store.admission import Window
from gputel.store.blocks import DAY_US

LABEL_LENGTH = 256
"""Characters of a label: two are the key of an index, and any must fit an address."""

RAW_LENGTH = 16_384
"""Characters of ``labels_raw``."""

_NUL, _LF, _CR = b"\0\n\r"


def check_days(parsed: Parsed, most: int) -> None:
    """Raise BadRequest if the records are of more than ``most`` days, each of which is a table."""
    times = parsed.batch.column(TIMESTAMP).view(pa.int64()).to_numpy()
    days = len(np.unique(times // DAY_US))
    if days > most:
        raise BadRequest(
            f"the body has records of {days} days (UTC); at most {most} may be in one push "
            "(--push-max-days of the api): send those of some days at a time"
        )


def check(parsed: Parsed, window: Window) -> Parsed:
    """The records of ``parsed`` that may land, and the rejects in order; holds the CPU."""
    batch = parsed.batch
    if not batch.num_rows:
        return Parsed(batch, parsed.indices, sorted(parsed.rejects))
    reasons = {row: reason for row, (_, reason) in find_flaws(batch).items()}
    for name in LABELS:
        _check_text(name, batch.column(name), reasons)
    _check_times(batch, window, reasons)
    if not reasons:
        return Parsed(batch, parsed.indices, sorted(parsed.rejects))
    keep = np.ones(batch.num_rows, np.bool_)
    keep[list(reasons)] = False
    good = batch.filter(pa.array(keep))
    found = [Reject(int(parsed.indices[row]), reason) for row, reason in reasons.items()]
    return Parsed(
        pa.RecordBatch.from_arrays(good.columns, schema=SCHEMA),
        parsed.indices[keep],
        sorted(parsed.rejects + found),
    )


def _check_text(name: str, column: pa.DictionaryArray, reasons: dict[int, str]) -> None:
    limit = RAW_LENGTH if name == "labels_raw" else LABEL_LENGTH
    lengths = pc.utf8_length(column.dictionary).to_numpy()
    bad = {int(at): f"is over {limit} characters" for at in np.flatnonzero(lengths > limit)}
    offsets, text = text_of(column.dictionary)
    used = text[offsets[0] : offsets[-1]]
    places = np.flatnonzero((used == _NUL) | (used == _LF) | (used == _CR)) + offsets[0]
    for at in np.unique(np.searchsorted(offsets, places, side="right") - 1):
        bad.setdefault(int(at), "has a line break or a NUL character")
    if bad:
        codes = column.indices.to_numpy()
        for row in np.flatnonzero(np.isin(codes, list(bad))):
            reasons.setdefault(int(row), f"{name} {bad[int(codes[row])]}")


def _check_times(batch: pa.RecordBatch, window: Window, reasons: dict[int, str]) -> None:
    times = batch.column(TIMESTAMP).view(pa.int64()).fill_null(window.first_us).to_numpy()
    for row in np.flatnonzero(times < window.first_us):
        reasons.setdefault(int(row), "timestamp is older than what is kept (--retention)")
    for row in np.flatnonzero(times > window.last_us):
        reasons.setdefault(int(row), "timestamp is too far in the future (--future-limit)")
