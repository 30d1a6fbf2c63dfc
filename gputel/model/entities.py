"""Entities that are no GPUs and have no UUID: NVSwitches, CPUs, and the targets of scrapes.

A record whose ``uuid`` is blank gets one from its labels: ``nvswitch0@dgx-1``, ``cpu0@dgx-1``. What
a link of a GPU measures belongs to the GPU that its labels name. The samples about a target, such
as ``up``, have the uuid ``target@gpu1:9400``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gputel.model.names import UUID

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


def target_uuid(instance: str) -> str:
    """The uuid of the series about a target, such as ``up``."""
    return TARGET_PREFIX + instance


def is_target(uuid: str) -> bool:
    """Whether it is the uuid of a target."""
    return uuid.startswith(TARGET_PREFIX)


def is_entity(device: str) -> bool:
    """Whether a text of the label ``device`` names a switch or a CPU."""
    return _DEVICE.fullmatch(device) is not None


def entity_of(labels: Mapping[str, str]) -> str:
    """The switch or CPU that the labels name, on its host; empty if there is none."""
    return next((_entity(kind, labels[kind]) for kind in _KINDS if kind in labels), "")


def _entity(kind: str, text: str) -> str:
    """``nvswitch0`` for both ``nvswitch0`` and ``0``."""
    if text.startswith(kind):
        return text
    return kind + text if text.isdigit() else f"{kind}-{text}"
