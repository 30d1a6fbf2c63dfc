"""The uuids of records about entities, most of which have none of their own.

They are apart from ``entities``, which the command line needs without Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gputel.model.bounds import blank_entries
from gputel.model.columns import SCHEMA
from gputel.model.entities import TARGET_PREFIX, entity_of, is_entity
from gputel.model.names import RAW, UUID
from gputel.model.raw_labels import read_raw

_GPU_UUIDS = ("gpu_uuid", "UUID", "uuid")
_HOSTS = ("Hostname", "hostname")
_SOURCES = (RAW, "hostname", "device")


def name_entities(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with a uuid for each record that has none and whose labels name an entity."""
    column = batch.column(UUID)
    blank = blank_entries(column.dictionary)
    if not blank:
        return batch
    codes = column.indices.to_numpy(zero_copy_only=False).copy()
    rows = np.flatnonzero(np.isin(codes, blank))
    if not len(rows):
        return batch
    sources = [batch.column(name) for name in _SOURCES]
    keys = np.stack([source.indices.to_numpy(zero_copy_only=False)[rows] for source in sources])
    distinct, of_row = np.unique(keys, axis=1, return_inverse=True)
    names = [
        _name_of(
            *(source.dictionary[code].as_py() for source, code in zip(sources, key, strict=True))
        )
        for key in distinct.T.tolist()
    ]
    found = np.array([name is not None for name in names])[of_row]
    codes[rows[found]] = len(column.dictionary) + of_row[found]
    texts = pa.concat_arrays([column.dictionary, pa.array([name or "" for name in names])])
    uuids = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), texts)
    place = SCHEMA.get_field_index(UUID)
    return batch.set_column(place, SCHEMA.field(place), uuids)


def target_rows(batch: pa.RecordBatch) -> npt.NDArray[np.bool_] | None:
    """The rows about targets; None if there are none."""
    column = batch.column(UUID)
    texts = pc.starts_with(column.dictionary, TARGET_PREFIX).to_numpy(zero_copy_only=False)
    if not texts.any():
        return None
    rows: npt.NDArray[np.bool_] = texts[column.indices.to_numpy(zero_copy_only=False)]
    return rows if rows.any() else None


def _name_of(labels_raw: str, hostname: str, device: str) -> str | None:
    labels = read_raw(labels_raw).labels
    if gpu := _first(labels, _GPU_UUIDS):
        return gpu
    host = hostname or _first(labels, _HOSTS)
    entity = entity_of(labels)
    if not entity and is_entity(device):
        entity = device
    return f"{entity}@{host}" if entity and host else None


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if name in labels), "")
