"""The fields of a record: its time, its value, and the labels of its series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from gputel.model.names import AFTER_VALUE, BEFORE_VALUE, COLUMNS, LABELS

Labels = Callable[[Any], Sequence[str]]


@dataclass(frozen=True)
class Shape:
    """The fields of a record in order: ``timestamp``, some labels, ``value``, the other labels.

    ``labels`` gives the labels of a series of ``Records.series``, in the order of ``label_names``.
    ``csv_names`` has the names that differ in CSV. ``ids_last`` says that the labels of a series id
    never change, so that an entity tag can leave them out.
    """

    before_value: tuple[str, ...]
    labels: Labels
    after_value: tuple[str, ...] = ()
    csv_names: tuple[tuple[str, str], ...] = ()
    ids_last: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all fields in order."""
        return ("timestamp", *self.before_value, "value", *self.after_value)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels in order."""
        return (*self.before_value, *self.after_value)

    @property
    def csv_header(self) -> list[str]:
        """The names of the columns in CSV."""
        renamed = dict(self.csv_names)
        return [renamed.get(name, name) for name in self.names]


RECORD = Shape(
    tuple(column.api for column in BEFORE_VALUE),
    attrgetter(*LABELS),
    tuple(column.api for column in AFTER_VALUE),
    csv_names=tuple((column.api, column.csv) for column in COLUMNS),
    ids_last=True,
)
"""A stored record with all its labels. Its series are ``SeriesLabels``."""


def grouped(names: Sequence[str]) -> Shape:
    """Records of groups. A series is a sequence of the labels in ``names``."""
    return Shape(tuple(names), tuple)
