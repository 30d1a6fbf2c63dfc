"""Checks of parsed records: the collector stores only those that pass."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gputel.api.push.records import ParsedPush, RejectedRecord
from gputel.errors import BadRequest
from gputel.model.bounds import without_oversized
from gputel.model.columns import TIMESTAMP
from gputel.sources.dcgm.flaws import checked, without_rows
from gputel.store.blocks.blocks import DAY_US
from gputel.store.write.admission import Window


def check_days(parsed: ParsedPush, most: int) -> None:
    """Raise BadRequest if the records fall on more than ``most`` days: each day is a table."""
    times = parsed.batch.column(TIMESTAMP).view(pa.int64()).to_numpy()
    days = len(np.unique(times // DAY_US))
    if days > most:
        raise BadRequest(
            f"the body has records of {days} days (UTC); at most {most} may be in one push "
            "(--push-max-days of the api): send fewer days at a time"
        )


def check(parsed: ParsedPush, window: Window) -> ParsedPush:
    """The records that may be stored, and the rejected ones in order. Uses the CPU and blocks."""
    batch = parsed.batch
    if not batch.num_rows:
        return ParsedPush(batch, parsed.indices, sorted(parsed.rejects))
    batch, flaws = checked(batch, keep_impossible=window.keep_impossible)
    reasons = {row: reason for row, (_, reason) in flaws.items()}
    _check_times(batch, window, reasons)
    if not reasons:
        return ParsedPush(without_oversized(batch), parsed.indices, sorted(parsed.rejects))
    good, keep = without_rows(batch, reasons)
    rejected = [RejectedRecord(int(parsed.indices[row]), reason) for row, reason in reasons.items()]
    return ParsedPush(
        without_oversized(good),
        parsed.indices[keep],
        sorted(parsed.rejects + rejected),
    )


def _check_times(batch: pa.RecordBatch, window: Window, reasons: dict[int, str]) -> None:
    times = batch.column(TIMESTAMP).view(pa.int64()).fill_null(window.first_us).to_numpy()
    for row in np.flatnonzero(times < window.first_us):
        reasons.setdefault(int(row), "timestamp is older than what is kept (--retention)")
    for row in np.flatnonzero(times > window.last_us):
        reasons.setdefault(int(row), "timestamp is too far in the future (--future-limit)")
