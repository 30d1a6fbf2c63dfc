"""The series of samples that came one by one, as the columns of a record batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.columns import LABELS, TIMESTAMP, VALUE, make_batch, times_of

Int32 = npt.NDArray[np.int32]


class SeriesTable:
    """Series by their labels, and the texts of each label as a dictionary of Arrow."""

    def __init__(self) -> None:
        self._indices: dict[tuple[str, ...], int] = {}
        self._codes: list[list[int]] = [[] for _ in LABELS]
        self._texts: list[dict[str, int]] = [{} for _ in LABELS]
        self._columns: list[tuple[Int32, pa.Array]] = []  # codes and texts; empty: to be made

    def index_of(self, labels: tuple[str, ...]) -> int:
        """The index of a series, which is added if it is new. Labels are in the order of LABELS."""
        index = self._indices.get(labels)
        if index is None:
            index = self._indices[labels] = len(self._indices)
            self._columns = []
            for text, codes, texts in zip(labels, self._codes, self._texts, strict=True):
                codes.append(texts.setdefault(text, len(texts)))
        return index

    def texts_of(self, label: str, rows: Sequence[int]) -> set[str]:
        """The texts of a label that the series of these indices have."""
        place = LABELS.index(label)
        texts, codes = list(self._texts[place]), self._codes[place]
        return {texts[codes[row]] for row in rows}

    def __len__(self) -> int:
        """The number of series."""
        return len(self._indices)

    def batch(
        self, rows: npt.ArrayLike, values: npt.ArrayLike, times_us: npt.ArrayLike
    ) -> pa.RecordBatch:
        """A record batch: the index of the series of each row, its value, and its time."""
        chosen = np.asarray(rows, np.int64)
        self._columns = self._columns or [
            (np.array(codes, np.int32), pa.array(list(texts), pa.string()))
            for codes, texts in zip(self._codes, self._texts, strict=True)
        ]
        columns = {
            name: pa.DictionaryArray.from_arrays(pa.array(codes[chosen]), texts)
            for name, (codes, texts) in zip(LABELS, self._columns, strict=True)
        }
        columns[TIMESTAMP] = times_of(np.asarray(times_us, np.int64))
        columns[VALUE] = pa.array(np.asarray(values, np.float64))
        return make_batch(columns, len(chosen))
