"""Target groups as documents write them: ``[{"targets": ["gpu1:9400"], "labels": {...}}]``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gputel.errors import ConfigError
from gputel.streamer.scrape.discovery.kinds import TargetGroup
from gputel.streamer.scrape.documents.fields import Fields

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_CHARACTERS = 1024  # of a label's value
_KEYS = "targets and labels"


def parse_groups(value: object, where: str) -> tuple[TargetGroup, ...]:
    """The groups of a document. Raises ConfigError, which names the group and the key."""
    if not isinstance(value, list):
        raise ConfigError(f"{where}: must be a list of {{targets, labels}}")
    return tuple(group_of(Fields(item, f"{where}: [{at}]")) for at, item in enumerate(value, 1))


def group_of(fields: Fields) -> TargetGroup:
    """One group. Raises ConfigError."""
    if not fields.has("targets"):
        raise fields.error("targets", "is missing; write a list like [gpu1:9400, gpu2:9400]")
    targets = fields.texts("targets")
    labels = labels_of(fields, "labels")
    fields.end(_KEYS)
    return TargetGroup(targets, labels)


def labels_of(fields: Fields, key: str) -> Mapping[str, str]:
    """A mapping of labels. A whole number may be written without quotes."""
    section = fields.take(key)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise fields.error(key, "must be names with values, as in {rack: r7}")
    labels: dict[str, str] = {}
    for name, value in section.items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name == "__name__":
            raise fields.error(key, f"{str(name)[:60]!r} is not a name for a label")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise fields.error(key, f"{name}: must be text; write it in quotes")
        if len(str(value)) > _MOST_CHARACTERS:
            raise fields.error(key, f"{name}: is over {_MOST_CHARACTERS} characters long")
        labels[name] = str(value)
    return labels
