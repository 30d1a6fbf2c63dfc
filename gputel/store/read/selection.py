"""Which series a query selects: conditions on their labels, also as SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gputel.model.entities import TARGET_PREFIX
from gputel.model.names import SERIES_LABELS, UUID

if TYPE_CHECKING:
    from gputel.store.read.records import SeriesLabels

Bools = npt.NDArray[np.bool_]

ESCAPE = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_LIKE_MARK = re.compile(r"\\.|.", re.DOTALL)
WILD = str.maketrans({"*": "%", "?": "_"})


class Comparison(Enum):
    """How a condition compares a label with its values."""

    IS = "= ANY"  # it is one of them
    IS_NOT = "<> ALL"  # it is none of them
    LIKE = "LIKE ANY"  # one of them, a pattern of Postgres' LIKE, fits
    NOT_LIKE = "NOT LIKE ALL"  # none of them fits


@dataclass(frozen=True)
class LabelCondition:
    """One condition on one label of SERIES_LABELS."""

    label: str
    kind: Comparison
    values: tuple[str, ...]

    def holds(self, texts: Sequence[str]) -> Bools:
        """Which of these texts of the label meet the condition."""
        if self.kind in (Comparison.IS, Comparison.IS_NOT):
            matches = np.fromiter((text in self.values for text in texts), np.bool_, len(texts))
        else:
            matches = self._fits(texts)
        negated = self.kind in (Comparison.IS_NOT, Comparison.NOT_LIKE)
        return ~matches if negated else matches

    def _fits(self, texts: Sequence[str]) -> Bools:
        """Which of these texts one of the patterns fits."""
        patterns = "|".join(_LIKE_MARK.sub(_as_regex, pattern) for pattern in self.values)
        answer = pc.match_substring_regex(pa.array(texts, pa.string()), f"(?s)^(?:{patterns})$")
        return np.asarray(answer.to_pylist(), np.bool_)


def _as_regex(mark: re.Match[str]) -> str:
    return {"%": ".*", "_": "."}.get(mark[0]) or re.escape(mark[0][-1])


@dataclass(frozen=True)
class Selection:
    """The series for which every condition holds; all series if there is no condition."""

    conditions: tuple[LabelCondition, ...] = ()

    def where(self, first: int) -> tuple[str, list[list[str]]]:
        """A condition on ``series AS s`` and its arguments, from placeholder ``$first`` on.

        Values that Postgres cannot store are left out: no series has them.
        """
        clauses, arguments = ["true"], []
        for number, condition in enumerate(self.conditions, first):
            assert condition.label in SERIES_LABELS
            clauses.append(f"s.{condition.label} {condition.kind.value} (${number}::text[])")
            arguments.append([value for value in condition.values if storable(value)])
        return " AND ".join(clauses), arguments

    def holds(self, series: Sequence[SeriesLabels]) -> Bools:
        """Which of these series are selected: the same as Postgres finds by ``where``."""
        matches = np.ones(len(series), np.bool_)
        for condition in self.conditions:
            matches &= condition.holds([getattr(labels, condition.label) for labels in series])
        return matches

    def and_(self, *conditions: LabelCondition) -> Selection:
        """The series that also meet these conditions."""
        return Selection((*self.conditions, *conditions))


EVERY = Selection()
"""All series."""

NO_TARGET = LabelCondition(UUID, Comparison.NOT_LIKE, (f"{TARGET_PREFIX}%",))
"""The series is not about a target of scrapes, as ``up`` is."""


def matching(label: str, values: Iterable[str]) -> LabelCondition:
    """A label is one of the values: ``*`` stands for any text in them, ``?`` for a character."""
    texts = tuple(values)
    if not any(mark in value for value in texts for mark in "*?"):
        return LabelCondition(label, Comparison.IS, texts)
    patterns = (value.translate(ESCAPE).translate(WILD) for value in texts)
    return LabelCondition(label, Comparison.LIKE, tuple(patterns))


def starting(label: str, prefixes: Iterable[str]) -> LabelCondition:
    """A label begins with one of these texts."""
    return LabelCondition(
        label, Comparison.LIKE, tuple(text.translate(ESCAPE) + "%" for text in prefixes)
    )


def of_gpu(uuid: str) -> Selection:
    """The series of one GPU."""
    return Selection((LabelCondition("uuid", Comparison.IS, (uuid,)),))


def storable(text: str) -> bool:
    """Whether Postgres could hold this text: it takes neither NUL nor half a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
