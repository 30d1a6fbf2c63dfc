"""Payloads in JSON: one record or a list, with the field names of the API.

So a producer in any language needs no Arrow: it publishes the records with the broker's JSON.
"""

from __future__ import annotations

import re

import pyarrow as pa

from gputel.errors import DecodeError
from gputel.model.columns import VALUE
from gputel.model.record_batch import PayloadLimits
from gputel.sources.dcgm.flaws import checked, without_rows
from gputel.sources.json.elements import NotJson, elements
from gputel.sources.json.records import read_records

_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+[\[{]")  # no Arrow stream begins so


def is_json(payload: bytes) -> bool:
    """Whether the payload is JSON, by how it begins."""
    return _BEGIN.match(payload) is not None


def decode_json(payload: bytes, limits: PayloadLimits) -> tuple[pa.RecordBatch, int]:
    """The record batch of a payload, and how many records it leaves out.

    Raises DecodeError if any record of it is wrong. A value that is no reading (a blank of DCGM,
    not a finite number) is left out: many exporters send them all the time.
    """
    if len(payload) > limits.max_bytes:
        raise DecodeError(
            f"payload has more than {limits.max_bytes} bytes (--payload-max-unpacked-bytes)"
        )
    try:
        text = payload.decode("utf-8-sig")
        read = read_records(enumerate(elements(text)), limits.max_rows, None)
    except UnicodeDecodeError:
        raise DecodeError("payload is not UTF-8 text") from None
    except NotJson as error:
        raise DecodeError(f"payload {error}") from None
    if read is None:
        raise DecodeError(f"payload has more than {limits.max_rows} rows (--payload-max-rows)")
    batch, flaws = checked(read.batch, keep_impossible=True)  # the writer knows the setting
    wrong = read.rejects + [
        (read.indices[row], reason) for row, (column, reason) in flaws.items() if column != VALUE
    ]
    if wrong:
        (index, reason), others = min(wrong), len(wrong) - 1
        more = f", and {others} more records are wrong" if others else ""
        raise DecodeError(f"record {index} of the payload: {reason}{more}")
    return without_rows(batch, flaws)[0] if flaws else batch, len(flaws)
