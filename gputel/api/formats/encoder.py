"""What makes bytes of records, for each format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gputel.api.formats.columnar import ArrowRecords, ParquetRecords
from gputel.api.formats.media import Format
from gputel.api.formats.shape import Shape
from gputel.api.formats.text import CsvRecords, JsonRecords, NdjsonRecords
from gputel.store.read.records import Records


class Encoder(Protocol):
    """Records in, the bytes of one answer out. Blocks."""

    def start(self) -> bytes:
        """The beginning."""
        ...

    def add(self, records: Records) -> bytes:
        """The next records, at least one."""
        ...

    def end(self) -> bytes:
        """The end."""
        ...


ENCODERS: dict[Format, Callable[[Shape], Encoder]] = {
    Format.JSON: JsonRecords,
    Format.NDJSON: NdjsonRecords,
    Format.CSV: CsvRecords,
    Format.ARROW: ArrowRecords,
    Format.PARQUET: ParquetRecords,
}
