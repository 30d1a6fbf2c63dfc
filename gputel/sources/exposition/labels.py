"""From the labels of a sample to the labels of a record: which GPU, on which host, used by whom.

Exporters name the same thing differently. For each column the first label that is there and not
empty counts. Empty labels mean absent ones, as in Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gputel.model.entities import entity_of
from gputel.model.names import LABELS, METRIC, RAW, UUID
from gputel.model.raw_labels import raw_text
from gputel.sources.exposition.grammar import LineFlaw

_COLUMNS: dict[str, Sequence[str]] = {
    "gpu_id": ("gpu", "gpu_id", "dev_id", "gpu_number", "minor_number", "index"),
    "device": ("device",),
    UUID: ("UUID", "uuid", "gpu_uuid"),
    "model_name": (
        *("modelName", "model_name", "card_series", "model", "gpu_model"),
        *("hw.model", "name", "hw.name"),
    ),
    "hostname": ("Hostname", "hostname", "node", "nodeName", "k8s.node.name", "host.name"),
}
_WORKLOAD: dict[str, Sequence[str]] = {
    "container": ("container", "container_name", "k8s.container.name"),
    "pod": ("pod", "pod_name", "k8s.pod.name"),
    "namespace": ("namespace", "pod_namespace", "k8s.namespace.name"),
}


def _spellings(names: Sequence[str]) -> Sequence[str]:
    """The names, and those with dots as Prometheus writes them too: ``hw.id``, ``hw_id``."""
    return [*dict.fromkeys(each for name in names for each in (name, name.replace(".", "_")))]


_LABELS_OF = {column: _spellings(names) for column, names in (_COLUMNS | _WORKLOAD).items()}
# Of OpenTelemetry: https://opentelemetry.io/docs/specs/semconv/hardware/gpu/
_HARDWARE_IDS = _spellings(["hw.id"])
_HARDWARE_TYPES = _spellings(["hw.type"])
_SERIALS = _spellings(["serial_number", "hw.serial_number"])
_NUMBERS = ("gpu", "gpu_id", "dev_id", "gpu_number")
_UNIQUE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EXPORTED = "exported_"
_DCGM = "dcgm_"


class NoGpu(LineFlaw):
    """A sample that belongs to no GPU, and to no switch or CPU that DCGM reads."""

    def __init__(self) -> None:
        super().__init__(
            "it names no GPU: it has none of the labels UUID, uuid and gpu_uuid, nor gpu and a host"
        )


def record_labels(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The labels of a record, in the order of LABELS, for a sample. Raises NoGpu."""
    present = {label: text for label, text in labels.items() if text}
    texts = {column: _first(present, _LABELS_OF[column]) for column in _COLUMNS}
    texts |= _workload(present)
    texts["hostname"] = texts["hostname"] or _host(present.get("instance", ""))
    texts[UUID] = _identity(name, present, texts)
    texts[METRIC] = name
    texts[RAW] = raw_text(present)
    return tuple(texts.get(column, "") for column in LABELS)


def _identity(name: str, present: Mapping[str, str], texts: Mapping[str, str]) -> str:
    """What identifies the GPU; for other parts of a host, and GPUs without an id: ``part@host``."""
    if _first(present, _HARDWARE_TYPES) not in ("", "gpu"):
        raise NoGpu
    hardware_id = _first(present, _HARDWARE_IDS)  # unique on its host, if it has no UUID in it
    uuid = texts[UUID] or (hardware_id if _UNIQUE.search(hardware_id) else "")
    if uuid.strip("0-"):  # virtual functions have zeros
        return uuid
    host = texts["hostname"]
    if serial := _first(present, _SERIALS):
        return serial
    gpu = present.get("pci_bus_id") or _first(present, _NUMBERS) or hardware_id
    if gpu and host:
        return f"gpu{gpu}@{host}" if gpu.isdecimal() else f"{gpu}@{host}"
    if name.lower().startswith(_DCGM):
        entity = entity_of(present)
        if entity:
            return f"{entity}@{host}"
    raise NoGpu


def _workload(present: Mapping[str, str]) -> dict[str, str]:
    """Who uses the GPU.

    If Prometheus has renamed these labels, the plain ones name the exporter.
    """
    renamed = {column: present.get(_EXPORTED + column, "") for column in _WORKLOAD}
    if any(renamed.values()):
        return renamed
    return {column: _first(present, _LABELS_OF[column]) for column in _WORKLOAD}


def _host(instance: str) -> str:
    """The host of ``host:port``. Programs with OpenTelemetry have a random id, which is none."""
    if _UNIQUE.fullmatch(instance):
        return ""
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    host, colon, port = instance.rpartition(":")
    return host if colon and port.isdecimal() else instance


def _first(present: Mapping[str, str], names: Sequence[str]) -> str:
    for name in names:
        if name in present:
            return present[name]
    return ""
