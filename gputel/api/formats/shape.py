"""What a record says: its time, its value, and the labels that it shares with its series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from gputel.model.names import AFTER_VALUE, BEFORE_VALUE, COLUMNS, LABELS

Labels = Callable[[Any], Sequence[str]]


@dataclass(frozen=True)
class Shape:
    """The names of a record's fields: ``timestamp``, some labels, ``value``, the other labels.

    ``labels`` gives the texts of a series (what ``Records.series`` holds) for all label names in
    order. ``csv_names`` replaces names in CSV. ``ids_last``: an id has these labels for ever, so
    that an entity tag need not look at them.
    """

    before_value: tuple[str, ...]
    labels: Labels
    after_value: tuple[str, ...] = ()
    csv_names: tuple[tuple[str, str], ...] = ()
    ids_last: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every field in order."""
        return ("timestamp", *self.before_value, "value", *self.after_value)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The fields that ``labels`` gives."""
        return (*self.before_value, *self.after_value)

    @property
    def csv_header(self) -> list[str]:
        """The names of the columns of CSV."""
        renamed = dict(self.csv_names)
        return [renamed.get(name, name) for name in self.names]


RECORD = Shape(
    tuple(column.api for column in BEFORE_VALUE),
    attrgetter(*LABELS),
    tuple(column.api for column in AFTER_VALUE),
    csv_names=tuple((column.api, column.csv) for column in COLUMNS),
    ids_last=True,
)
"""A record as it landed, with all labels: series are ``SeriesLabels``."""


def grouped(names: Sequence[str]) -> Shape:
    """Records of groups: series are sequences of the texts of ``names``, in order."""
    return Shape(tuple(names), tuple)
