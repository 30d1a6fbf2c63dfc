"""Bounds for the texts of records, streams and messages, the same for every way in.

Two labels together are the key of an index, and so are the names of streams and messages.
Postgres limits such a key to 2,704 bytes. A text over its bound is refused, never cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gputel.model.names import RAW

LABEL_CHARACTERS = 256
"""Most characters of a label; so it has at most 1,024 bytes."""

LABEL_BYTES = 1024
"""Most bytes of a label in UTF-8."""

RAW_BYTES = 4096
"""Most bytes of ``labels_raw`` in UTF-8."""

NAME_CHARACTERS = 256
"""Most characters of the name of a stream; so it has at most 1,024 bytes."""

MESSAGE_ID_BYTES = 2048
"""Most bytes of a message's id in UTF-8: 512 characters, as a broker takes them."""

_CONTROL = "a line break or a NUL character"
_CONTROLS = frozenset("\0\n\r")
_NUL, _LF, _CR = b"\0\n\r"
_SPACE, _TILDE = b" ~"
_AFTER_CONTROL = 14  # bytes below it include NUL, line feed and carriage return

UInt8 = npt.NDArray[np.uint8]


def label_flaws(name: str, texts: pa.StringArray) -> dict[int, str]:
    """The texts that are no valid label of this name, by index, and what is wrong with each.

    Entries of a dictionary that no row uses do not count: see ``used_flaws``.
    """
    if not len(texts):
        return {}
    offsets, text = text_of(texts)
    flaws = _too_long(name, texts, np.diff(offsets))
    used = text[offsets[0] : offsets[-1]]
    low = np.flatnonzero(used < _AFTER_CONTROL)
    if low.size:
        bytes_ = used[low]
        offsets_of_controls = low[(bytes_ == _NUL) | (bytes_ == _LF) | (bytes_ == _CR)] + offsets[0]
        for at in np.unique(np.searchsorted(offsets, offsets_of_controls, side="right") - 1):
            flaws.setdefault(int(at), f"has {_CONTROL}")
    return flaws


def used_flaws(name: str, column: pa.DictionaryArray) -> dict[int, str]:
    """As ``label_flaws``, but only for the entries of the dictionary that some row uses."""
    flaws = label_flaws(name, column.dictionary)
    if not flaws:
        return {}
    used = set(np.unique(column.indices.to_numpy(zero_copy_only=False)).tolist())
    return {entry: reason for entry, reason in flaws.items() if entry in used}


def without_oversized(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same records, without unused texts over the bounds in their dictionaries."""
    old = batch.columns
    columns = [_tidy(name, column) for name, column in zip(batch.schema.names, old, strict=True)]
    if all(new is column for new, column in zip(columns, old, strict=True)):
        return batch
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _tidy(name: str, column: pa.Array) -> pa.Array:
    if not isinstance(column, pa.DictionaryArray) or not len(column.dictionary):
        return column
    offsets, _ = text_of(column.dictionary)
    if int(np.diff(offsets).max()) <= (RAW_BYTES if name == RAW else LABEL_BYTES):
        return column
    entries, codes = np.unique(column.indices.to_numpy(zero_copy_only=False), return_inverse=True)
    texts = column.dictionary.take(pa.array(entries))
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), texts)


def blank_entries(dictionary: pa.StringArray) -> list[int]:
    """The entries that are empty or only white space."""
    offsets, text = text_of(dictionary)
    sizes = np.diff(offsets)
    first = np.append(text, np.uint8(0))[offsets[:-1]]
    suspects = np.flatnonzero((sizes == 0) | (first <= _SPACE) | (first > _TILDE))
    return [int(entry) for entry in suspects if not dictionary[int(entry)].as_py().strip()]


def name_flaw(name: str) -> str | None:
    """Why a text cannot be the name of a stream; None if it can."""
    return _flaw(name, 4 * NAME_CHARACTERS) or (
        f"has {_CONTROL}" if _CONTROLS & set(name) else None
    )


def id_flaw(message_id: str) -> str | None:
    """Why a text cannot be the id of a message; None if it can."""
    return _flaw(message_id, MESSAGE_ID_BYTES) or (
        "has a NUL character" if "\0" in message_id else None
    )


def _flaw(name: str, most_bytes: int) -> str | None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8 text"
    if not name:
        return "is empty"
    if size > most_bytes or 4 * len(name) > most_bytes:
        return f"is over {most_bytes // 4} characters"
    return None


def text_of(texts: pa.StringArray) -> tuple[npt.NDArray[np.int32], UInt8]:
    """The offsets and the bytes of a string array.

    Format: https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-layout
    """
    _, offsets, text = texts.buffers()
    begin, end = texts.offset, texts.offset + len(texts) + 1
    return np.frombuffer(offsets, np.int32)[begin:end], np.frombuffer(text or b"", np.uint8)


def _too_long(name: str, texts: pa.StringArray, sizes: npt.NDArray[np.int32]) -> dict[int, str]:
    if name == RAW:
        return {int(at): f"is over {RAW_BYTES} bytes" for at in np.flatnonzero(sizes > RAW_BYTES)}
    suspects = np.flatnonzero(sizes > LABEL_CHARACTERS)  # a character has a byte at least
    if not suspects.size:
        return {}
    lengths = pc.utf8_length(texts.take(pa.array(suspects))).to_numpy()
    return {
        int(at): f"is over {LABEL_CHARACTERS} characters"
        for at in suspects[lengths > LABEL_CHARACTERS]
    }
