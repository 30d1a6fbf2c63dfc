"""Entities that are no GPUs and have no UUID: NVSwitches, CPUs, and the targets of scrapes.

A record whose ``uuid`` is blank gets one from its labels: ``nvswitch0@dgx-1``, ``cpu0@dgx-1``. What
a link of a GPU measures belongs to the GPU that its labels name. The samples about a target, such
as ``up``, have the uuid ``target@gpu1:9400``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gputel.model.bounds import blank_entries
from gputel.model.columns import SCHEMA
from gputel.model.names import RAW, UUID
from gputel.model.raw_labels import read_raw

_KINDS = ("nvswitch", "cpu")
_DEVICE = re.compile(rf"({'|'.join(_KINDS)})\S+", re.ASCII)
TARGET_PREFIX = "target@"
"""The uuid of a target begins with it, and then has the label ``instance`` of the target."""

TARGET_FLAW = (
    f"{UUID} begins with {TARGET_PREFIX}, as gputel names the targets of its scrapes: only a "
    "scrape tells how its target is"
)
"""Why nothing but a scrape may bring a record about a target."""

SCRAPES = "scrape/"
"""The names of streams of scrapes begin with it."""

ENTITY_UUID = f"^(({'|'.join(_KINDS)})[^@]*@|{TARGET_PREFIX})"
"""The uuids of entities, as a pattern for Python and Postgres."""

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


def _name_of(labels_raw: str, hostname: str, device: str) -> str | None:
    labels = read_raw(labels_raw).labels
    if gpu := _first(labels, _GPU_UUIDS):
        return gpu
    host = hostname or _first(labels, _HOSTS)
    entity = entity_of(labels)
    if not entity and _DEVICE.fullmatch(device):
        entity = device
    return f"{entity}@{host}" if entity and host else None


def target_uuid(instance: str) -> str:
    """The uuid of the series about a target, such as ``up``."""
    return TARGET_PREFIX + instance


def target_rows(batch: pa.RecordBatch) -> npt.NDArray[np.bool_] | None:
    """The rows about targets; None if there are none."""
    column = batch.column(UUID)
    texts = pc.starts_with(column.dictionary, TARGET_PREFIX).to_numpy(zero_copy_only=False)
    if not texts.any():
        return None
    rows: npt.NDArray[np.bool_] = texts[column.indices.to_numpy(zero_copy_only=False)]
    return rows if rows.any() else None


def is_target(uuid: str) -> bool:
    """Whether it is the uuid of a target."""
    return uuid.startswith(TARGET_PREFIX)


def entity_of(labels: Mapping[str, str]) -> str:
    """The switch or CPU that the labels name, on its host; empty if there is none."""
    return next((_entity(kind, labels[kind]) for kind in _KINDS if kind in labels), "")


def _entity(kind: str, text: str) -> str:
    """``nvswitch0`` for both ``nvswitch0`` and ``0``."""
    if text.startswith(kind):
        return text
    return kind + text if text.isdigit() else f"{kind}-{text}"


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if name in labels), "")
