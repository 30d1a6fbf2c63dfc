"""Series: all records with the same labels.

Rows are grouped into series exactly, by their dictionary codes, without comparing text. A series
then has two 64-bit lanes (a fingerprint, private to the process and quick to look up), and in the
store a 128-bit digest of its labels (the same in every process).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.columns import LABELS

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]

_CODE_LIMIT = 2**62
_FIRST_LABELS = 10  # of the first schema
_AT_ONCE = 4096  # texts that are Python objects at one time: bounds memory
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LANE_SEEDS = (np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F))
_LANE_SALTS = ("", "\x00")
_SHIFT = np.uint64(32)
_LANE_MULTIPLIERS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


@dataclass(frozen=True)
class Groups:
    """The distinct series of one record batch.

    ``row_group`` has the group of each row, ``label_codes`` (labels x groups) the dictionary code
    of each label of each group.
    """

    batch: pa.RecordBatch
    row_group: Int64
    label_codes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.label_codes.shape[1])

    def labels(self, groups: Int64) -> list[tuple[str, ...]]:
        """The label values of each of these groups, in the order of LABELS."""
        columns = [
            self.batch.column(name).dictionary.take(pa.array(self.label_codes[number, groups]))
            for number, name in enumerate(LABELS)
        ]
        return list(zip(*(column.to_pylist() for column in columns), strict=True))


def group_rows(batch: pa.RecordBatch) -> Groups:
    """Find the distinct series of a record batch, exactly and in O(rows).

    Two dictionary entries of equal text make two groups, with the same fingerprint.
    """
    codes = [batch.column(name).indices.to_numpy(zero_copy_only=False) for name in LABELS]
    sizes = [len(batch.column(name).dictionary) for name in LABELS]
    row_group, first_rows = _factorize(codes, sizes, batch.num_rows)
    label_codes = np.stack([code[first_rows] for code in codes]).astype(np.int32, copy=False)
    return Groups(batch, row_group, label_codes)


def _factorize(
    codes: list[npt.NDArray[np.int32]], sizes: list[int], rows: int
) -> tuple[Int64, Int64]:
    """Number the distinct tuples of codes; return rows' numbers and each number's first row."""
    combined, product = np.zeros(rows, np.int64), 1
    for code, size in zip(codes, sizes, strict=True):
        if size <= 1:
            continue
        if product * size > _CODE_LIMIT:
            combined, distinct = _renumber(combined)
            product = distinct
        combined = combined * size + code
        product *= size
    row_group, distinct = _renumber(combined)
    first_rows = np.empty(distinct, np.int64)
    first_rows[row_group[::-1]] = np.arange(rows - 1, -1, -1)
    return row_group, first_rows


def _renumber(values: Int64) -> tuple[Int64, int]:
    encoded = pa.array(values).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def fingerprints(groups: Groups) -> tuple[UInt64, UInt64]:
    """Two 64-bit lanes for each group, mixed from one hash for each distinct label value.

    Python's string hash has a new key in every process, so nobody outside can make labels that
    collide. The lanes are never stored. Equal series have equal lanes within a process.
    """
    lanes = [np.full(len(groups), seed, np.uint64) for seed in _LANE_SEEDS]
    for number, name in enumerate(LABELS):
        hashes = _hashes(groups.batch.column(name).dictionary)
        for lane, multiplier in enumerate(_LANE_MULTIPLIERS):
            lanes[lane] = _mix(lanes[lane], hashes[lane][groups.label_codes[number]], multiplier)
    return lanes[0], lanes[1]


def _hashes(values: pa.StringArray) -> UInt64:
    """The hash of each text for each lane (lanes x texts)."""
    hashes = np.empty((len(_LANE_SALTS), len(values)), np.int64)
    for first in range(0, len(values), _AT_ONCE):
        some = values[first : first + _AT_ONCE].to_pylist()
        for lane, salt in enumerate(_LANE_SALTS):
            hashes[lane, first : first + len(some)] = [hash(value + salt) for value in some]
    return hashes.view(np.uint64)


def _mix(state: UInt64, value: UInt64, multiplier: np.uint64) -> UInt64:
    """Fold one value in: multiply and xor-shift, as in MurmurHash3's 64-bit finalizer."""
    state = (state ^ value) * multiplier + _GOLDEN
    mixed: UInt64 = state ^ (state >> _SHIFT)
    return mixed


def digest(labels: tuple[str, ...]) -> bytes:
    """The 128-bit name of a series in the store: BLAKE2b over its length-prefixed labels.

    Labels that were added to the first ones count only if the series has them, so that a new
    label column gives no stored series another name.
    """
    while len(labels) > _FIRST_LABELS and not labels[-1]:
        labels = labels[:-1]
    hasher = hashlib.blake2b(digest_size=16)
    for label in labels:
        raw = label.encode()
        hasher.update(len(raw).to_bytes(4, "big") + raw)
    return hasher.digest()
