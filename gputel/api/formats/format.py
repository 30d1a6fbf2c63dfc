"""The formats of lists. A format is registered here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from marshmallow import Schema

    from gputel.api.formats.shape import Shape
    from gputel.store.read.records import Records


class Encoder(Protocol):
    """Encodes the records of one answer, some at a time. Its methods use the CPU and block."""

    def start(self) -> bytes:
        """The beginning of the answer."""
        ...

    def add(self, records: Records) -> bytes:
        """Encode more records, at least one. Some of their bytes may come with a later call."""
        ...

    def end(self) -> bytes:
        """The end of the answer."""
        ...


class Registration(NamedTuple):
    """The properties of a format.

    The two encoders are named as ``module:name`` and imported when they are first used: the CLI
    reads this table, and must not wait for pyarrow.
    """

    media_type: str
    """The name in the headers Content-Type and Accept."""
    records: str
    """The Encoder of records, which is made for each answer."""
    rows: str
    """The function that encodes a complete list of rows."""
    is_text: bool
    """Whether it is text in UTF-8, and not binary."""
    is_compressed: bool = False
    """Whether a second compression would gain nothing."""


class Format(StrEnum):
    """How a list is written.

    The value is the name in ``format=``, in the CLI's ``--format``, and the file extension.
    """

    media_type: str
    is_text: bool
    is_compressed: bool
    _records: str
    _rows: str

    JSON = (
        "json",
        Registration("application/json", "text:JsonRecords", "rows:encode_json", is_text=True),
    )
    NDJSON = (  # one JSON object a line
        "ndjson",
        Registration(
            "application/x-ndjson", "text:NdjsonRecords", "rows:encode_ndjson", is_text=True
        ),
    )
    CSV = (  # with the columns of a DCGM export
        "csv",
        Registration("text/csv", "text:CsvRecords", "rows:encode_csv", is_text=True),
    )
    ARROW = (  # Arrow's IPC stream
        "arrow",
        Registration(
            "application/vnd.apache.arrow.stream",
            "columnar:ArrowRecords",
            "rows:encode_arrow",
            is_text=False,
        ),
    )
    PARQUET = (
        "parquet",
        Registration(
            "application/vnd.apache.parquet",
            "columnar:ParquetRecords",
            "rows:encode_parquet",
            is_text=False,
            is_compressed=True,
        ),
    )

    def __new__(cls, name: str, registration: Registration | None = None) -> Format:
        """A member of the table. Only a lookup by name leaves the registration out."""
        assert registration is not None
        member = str.__new__(cls, name)
        member._value_ = name
        member.media_type, member._records, member._rows = registration[:3]
        member.is_text, member.is_compressed = registration[3:]
        return member

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        return f"{self.media_type}; charset=utf-8" if self.is_text else self.media_type

    def new_encoder(self, shape: Shape) -> Encoder:
        """What encodes the records of one answer, piece by piece."""
        make: Callable[[Shape], Encoder] = _named(self._records)
        return make(shape)

    def encode_rows(self, rows: Sequence[Any], schema: type[Schema]) -> bytes:
        """Encode a small list of dicts or structs with the fields of ``schema``. Blocks."""
        encode: Callable[[Sequence[Any], type[Schema]], bytes] = _named(self._rows)
        return encode(rows, schema)


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"{__package__}.{module}"), attribute)
