"""From the labels of a sample to the labels of a record: which GPU, on which host, used by whom.

Exporters name the same thing differently. For each column the first label that is there and not
empty counts. Empty labels mean absent ones, as in Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gputel.model.entities import entity_of, is_target
from gputel.model.names import LABELS, METRIC, RAW, UUID
from gputel.sources.exposition.grammar import LineFlaw

_COLUMNS: dict[str, Sequence[str]] = {
    "gpu_id": ("gpu", "gpu_id", "dev_id", "gpu_number", "minor_number", "index"),
    "device": ("device",),
    UUID: ("UUID", "uuid", "gpu_uuid"),
    "model_name": (
        *("modelName", "model_name", "card_series", "model", "gpu_model"),
        *("hw.model", "hw_model", "name", "hw.name", "hw_name"),
    ),
    "hostname": (
        *("Hostname", "hostname", "node", "nodeName"),
        *("k8s.node.name", "k8s_node_name", "host.name", "host_name"),
    ),
}
_WORKLOAD: dict[str, Sequence[str]] = {
    "container": ("container", "container_name", "k8s.container.name", "k8s_container_name"),
    "pod": ("pod", "pod_name", "k8s.pod.name", "k8s_pod_name"),
    "namespace": ("namespace", "pod_namespace", "k8s.namespace.name", "k8s_namespace_name"),
}
# Of OpenTelemetry, with dots, and as Prometheus writes them: https://opentelemetry.io/docs/specs/semconv/hardware/gpu/
_HARDWARE_IDS = ("hw.id", "hw_id")
_HARDWARE_TYPES = ("hw.type", "hw_type")
_SERIALS = ("serial_number", "hw.serial_number", "hw_serial_number")
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
    texts = {column: _first(present, names) for column, names in _COLUMNS.items()}
    texts |= _workload(present)
    texts["hostname"] = texts["hostname"] or _host(present.get("instance", ""))
    texts[UUID] = _identity(name, present, texts)
    if is_target(texts[UUID]):
        raise NoGpu  # only gputel gives such an identity, to `up` and the like
    texts[METRIC] = name
    texts[RAW] = raw_text(present)
    return tuple(texts.get(column, "") for column in LABELS)


def raw_text(labels: Mapping[str, str]) -> str:
    """All labels in Prometheus' text format, sorted: ``a="1",b="2"``."""
    return ",".join(f'{label}="{_escaped(text)}"' for label, text in sorted(labels.items()))


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
    return {column: _first(present, names) for column, names in _WORKLOAD.items()}


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


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text
