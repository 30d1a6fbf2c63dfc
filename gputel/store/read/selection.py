"""Which series are asked for: conditions on their labels, and these as SQL."""

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

from gputel.model.names import LABELS

if TYPE_CHECKING:
    from gputel.store.read.records import SeriesLabels

Bools = npt.NDArray[np.bool_]

ESCAPE = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_LIKE_MARK = re.compile(r"\\.|.", re.DOTALL)
WILD = str.maketrans({"*": "%", "?": "_"})


class Kind(Enum):
    """How a label has to stand to the values of a matcher."""

    IS = "= ANY"  # it is one of them
    IS_NOT = "<> ALL"  # it is none of them
    LIKE = "LIKE ANY"  # one of them, a pattern of Postgres' LIKE, fits


@dataclass(frozen=True)
class Matcher:
    """One condition on one label of LABELS."""

    label: str
    kind: Kind
    values: tuple[str, ...]

    def holds(self, texts: Sequence[str]) -> Bools:
        """Which of these texts of the label fulfil it."""
        if self.kind is not Kind.LIKE:
            found = np.fromiter((text in self.values for text in texts), np.bool_, len(texts))
            return found if self.kind is Kind.IS else ~found
        patterns = "|".join(_LIKE_MARK.sub(_as_regex, pattern) for pattern in self.values)
        answer = pc.match_substring_regex(pa.array(texts, pa.string()), f"(?s)^(?:{patterns})$")
        return np.asarray(answer.to_pylist(), np.bool_)


def _as_regex(mark: re.Match[str]) -> str:
    return {"%": ".*", "_": "."}.get(mark[0]) or re.escape(mark[0][-1])


@dataclass(frozen=True)
class Selection:
    """The series for which every matcher holds; all of them without any."""

    matchers: tuple[Matcher, ...] = ()

    def where(self, first: int) -> tuple[str, list[list[str]]]:
        """A condition on ``series AS s`` and its arguments, from placeholder ``$first`` on.

        Values that Postgres cannot hold are those of no series.
        """
        conditions, arguments = ["true"], []
        for place, matcher in enumerate(self.matchers, first):
            assert matcher.label in LABELS
            conditions.append(f"s.{matcher.label} {matcher.kind.value} (${place}::text[])")
            arguments.append([value for value in matcher.values if storable(value)])
        return " AND ".join(conditions), arguments

    def holds(self, series: Sequence[SeriesLabels]) -> Bools:
        """Which of these series are selected: the same as Postgres finds by ``where``."""
        found = np.ones(len(series), np.bool_)
        for matcher in self.matchers:
            found &= matcher.holds([getattr(labels, matcher.label) for labels in series])
        return found

    def and_(self, *matchers: Matcher) -> Selection:
        """The same, narrowed."""
        return Selection((*self.matchers, *matchers))


EVERY = Selection()
"""All series."""


def matching(label: str, values: Iterable[str]) -> Matcher:
    """A label is one of the values: ``*`` stands for any text in them, ``?`` for a character."""
    wanted = tuple(values)
    if not any(mark in value for value in wanted for mark in "*?"):
        return Matcher(label, Kind.IS, wanted)
    patterns = (value.translate(ESCAPE).translate(WILD) for value in wanted)
    return Matcher(label, Kind.LIKE, tuple(patterns))


def starting(label: str, prefixes: Iterable[str]) -> Matcher:
    """A label begins with one of these texts."""
    return Matcher(label, Kind.LIKE, tuple(text.translate(ESCAPE) + "%" for text in prefixes))


def of_gpu(uuid: str, metrics: Iterable[str] = ()) -> Selection:
    """The series of one GPU, or those of some of its metrics, which may be patterns."""
    wanted = tuple(metrics)
    narrowed = (matching("metric_name", wanted),) if wanted else ()
    return Selection((Matcher("uuid", Kind.IS, (uuid,)), *narrowed))


def storable(text: str) -> bool:
    """Whether Postgres could hold this text: it takes neither NUL nor half a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
