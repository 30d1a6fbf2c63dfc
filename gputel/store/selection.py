"""Which series are asked for: conditions on their labels, and these as SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from gputel.model.names import LABELS

ESCAPE = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
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
