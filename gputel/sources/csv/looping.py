"""A file as an endless source: its rows again and again."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from gputel.errors import SourceError
from gputel.model.bounds import RAW_BYTES
from gputel.model.columns import SCHEMA
from gputel.model.names import RAW
from gputel.sources.csv.file import CsvFile
from gputel.sources.dcgm.chunk import CsvChunk, RejectedRow, concatenate

LOOP_MARK = 'gputel_loop="true"'
_BRACE = r"^\s*(?:[A-Za-z_:][A-Za-z0-9_:]*\s*)?\{"
_RAW = SCHEMA.get_field_index(RAW)


class LoopingSource:
    """Row N is the file's row ``N % rows``; there is no last row."""

    def __init__(self, csv: CsvFile) -> None:
        self._csv = csv
        self.rows_per_line = csv.rows_per_line

    def count_rows(self) -> int:
        """The number of rows in the file. The first call scans the file and blocks."""
        return self._csv.count_rows()

    @property
    def damage(self) -> str | None:
        """See CsvFile.damage."""
        return self._csv.damage

    def read(self, first_row: int, row_count: int) -> CsvChunk:
        """Exactly row_count rows from first_row on; after the end, the file begins again.

        The records have the label of LOOP_MARK, which tells that their times are made up.
        Blocks. Raises SourceError for a file without rows, and as CsvFile.read does.
        """
        rows = self._rows()
        parts: list[CsvChunk] = []
        rejects: list[RejectedRow] = []
        row, end = first_row, first_row + row_count
        while row < end:
            part = self._csv.read_unstamped(row % rows, min(end - row, rows - row % rows))
            if not part.row_count:
                raise SourceError(
                    f"{self._csv.path}: shrank while it was read; loop over a file at rest"
                )
            shift = row - part.first_row
            rejects += [replace(reject, row=reject.row + shift) for reject in part.rejects]
            parts.append(part)
            row += part.row_count
        batch = marked(concatenate([part.batch for part in parts]))
        return self._csv.stamped(CsvChunk(batch, first_row, row_count, rejects, at_end=False))

    def _rows(self) -> int:
        rows = self._csv.count_rows()
        if not rows:
            raise SourceError(
                f"{self._csv.path}: no rows below the header; there is nothing to loop over"
            )
        return rows


def marked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with LOOP_MARK as the first label in ``labels_raw``.

    Only the dictionary changes. A text that the mark would make too long stays as it is.
    """
    column = batch.column(_RAW)
    texts = pa.DictionaryArray.from_arrays(column.indices, _marked(column.dictionary))
    return batch.set_column(_RAW, SCHEMA.field(_RAW), texts)


def _marked(texts: pa.Array) -> pa.Array:
    """Texts in any form that ``model/raw_labels.py`` reads, with the mark."""
    in_braces = pc.replace_substring(texts, "{", '{"gputel_loop":"true",', max_replacements=1)
    plain = pc.binary_join_element_wise(LOOP_MARK, texts, ",")
    result = pc.if_else(pc.match_substring_regex(texts, _BRACE), in_braces, plain)
    result = pc.if_else(pc.equal(texts, ""), LOOP_MARK, result)
    return pc.if_else(pc.greater(pc.binary_length(result), RAW_BYTES), texts, result)
