"""Records to JSON, column by column: what the labels of a series say is encoded once."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gputel.store.records import Records, SeriesLabels
from gputel.store.samples import numbers

_ENCODER = msgspec.json.Encoder()
_BEGIN = b'{"timestamp":"'


class RecordEncoder:
    """Gives the bytes that msgspec gives of the same records one by one.

    It remembers the encoded labels of each series that it has met: make one for each answer.
    """

    def __init__(self) -> None:
        self._before_value: dict[int, bytes] = {}
        self._after_value: dict[int, bytes] = {}

    def encode(self, records: Records, opening: bytes) -> bytes:
        """``opening``, then the records (at least one) with commas between."""
        samples = records.samples
        ids = samples.series_id.tolist()
        for series_id in set(ids).difference(self._before_value):
            self._meet(records.series[series_id])
        # The columns between each other: a record is its time, labels, value and labels_raw.
        parts = [b""] * (4 * len(ids))
        parts[0::4] = _times(samples.ts.view("M8[us]").tolist())
        parts[1::4] = map(self._before_value.__getitem__, ids)
        parts[2::4] = _ENCODER.encode(numbers(samples.value))[1:-1].split(b",")
        parts[3::4] = map(self._after_value.__getitem__, ids)
        parts[0] = opening + _BEGIN + parts[0]
        parts[-1] = parts[-1].removesuffix(b"," + _BEGIN)
        return b"".join(parts)

    def _meet(self, labels: SeriesLabels) -> None:
        """Cut a record of the series at its time and its value.

        Within a JSON string quotes are escaped, so that no label looks like the end of the value.
        """
        sample = _ENCODER.encode(labels.record(datetime.min, 0))
        _, _, rest = sample.partition(b"T00:00:00")
        before, _, after = rest.partition(b':0,"labels_raw":')
        self._before_value[labels.series_id] = b"Z" + before + b":"
        self._after_value[labels.series_id] = b',"labels_raw":' + after + b"," + _BEGIN


def _times(times: list[datetime]) -> list[bytes]:
    """RFC 3339 of times in UTC, but for the Z."""
    return _ENCODER.encode(times)[2:-2].split(b'","')
