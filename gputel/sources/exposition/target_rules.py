"""What a scrape job says about the samples of its targets, in the words of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_EXPORTED = "exported_"


@dataclass(frozen=True)
class TargetRules:
    """Which samples are kept, with which labels.

    ``honor_labels``: where a sample and its target have a label of one name, that of the sample
    counts; else that of the target, and the other one is renamed to ``exported_...``.
    ``honor_timestamps``: the time in a line counts, if there is one. ``keep`` and ``drop`` fit
    whole names of metrics, and ``drop_labels`` are labels that are left out.
    """

    honor_labels: bool = True
    honor_timestamps: bool = True
    keep: re.Pattern[str] | None = None
    drop: re.Pattern[str] | None = None
    drop_labels: frozenset[str] = frozenset()

    def apply(
        self, name: str, labels: Mapping[str, str], of_target: Mapping[str, str]
    ) -> dict[str, str] | None:
        """The labels of a sample; None if it is not kept."""
        if self.keep and not self.keep.fullmatch(name):
            return None
        if self.drop and self.drop.fullmatch(name):
            return None
        own = {label: text for label, text in labels.items() if label not in self.drop_labels}
        if self.honor_labels:
            return {**of_target, **own}
        for label in of_target:
            if own.get(label):
                own[_free_name(label, own)] = own[label]
        return {**own, **of_target}


KEEP_ALL = TargetRules()
"""Of samples that no scrape job fetched."""


def _free_name(label: str, labels: Mapping[str, str]) -> str:
    name = _EXPORTED + label
    while name in labels:
        name = _EXPORTED + name
    return name
