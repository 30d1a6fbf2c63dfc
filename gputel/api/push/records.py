"""The result of parsing a push in any format: columns of records, and rejected records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.errors import PayloadTooLarge
from gputel.model.columns import TIMESTAMP
from gputel.model.names import COLUMNS

Int64 = npt.NDArray[np.int64]

REQUIRED = tuple(column.name for column in COLUMNS if column.required and column.name != TIMESTAMP)
"""What a record must have, by gputel's names."""


@dataclass(frozen=True, order=True)
class RejectedRecord:
    """A record that is not accepted: its index in the request, from 0, and the reason."""

    index: int
    reason: str


@dataclass(frozen=True)
class ParsedPush:
    """Records in columns. ``batch`` has SCHEMA, and nulls for a blank time or value.

    ``indices`` has the index in the request for each row of the batch.
    """

    batch: pa.RecordBatch
    indices: Int64
    rejects: list[RejectedRecord]


def too_many(most: int) -> PayloadTooLarge:
    """The refusal of a push with more than ``most`` records."""
    return PayloadTooLarge(
        f"the body has over {most} records (--push-max-records of the api): send less at once"
    )
