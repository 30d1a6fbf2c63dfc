"""From matchers to what Postgres can search for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gputel.api.prometheus import meanings
from gputel.api.prometheus.labels import searched_column
from gputel.model.meanings import Meaning
from gputel.promql.syntax.nodes import Matcher, MatchOp
from gputel.promql.values.labels import Labels

_LITERALS = re.compile(r"[\w :@/-]+(?:\|[\w :@/-]+)*", re.ASCII)


@dataclass(frozen=True)
class Search:
    """What Postgres can search for, the values by column, and the other matchers.

    ``rest`` are matchers of the labels of ``meaning`` if there is one.
    """

    allowed: Mapping[str, list[str]] = field(default_factory=dict)
    rest: Sequence[Matcher] = ()
    meaning: Meaning | None = None

    @classmethod
    def of(cls, matchers: Sequence[Matcher]) -> Search:
        """The search for the stored series of a selector."""
        meaning = meanings.meaning_of(matchers)
        if meaning is not None:
            matchers = meanings.stored_matchers(matchers, meaning)
        allowed: dict[str, list[str]] = {}
        rest: list[Matcher] = []
        for matcher in matchers:
            values = _literals(matcher)
            column = None if values is None else searched_column(matcher.name, values)
            if values is not None and column is not None and column not in allowed:
                allowed[column] = values
            else:
                rest.append(matcher)
        return cls(allowed, rest, meaning)

    @property
    def is_slow(self) -> bool:
        """Whether the rest has a regular expression."""
        return any(each.is_regex for each in self.rest)

    def named(self, labels: Labels) -> Labels:
        """The labels of a stored series that the rest is about."""
        return labels if self.meaning is None else meanings.labels_of_meaning(labels, self.meaning)


def _literals(matcher: Matcher) -> list[str] | None:
    """The values that it matches, if it lists them, as ``a|b`` does; else None."""
    if matcher.op is MatchOp.EQUAL:
        return [matcher.value]
    if matcher.op is MatchOp.RE and _LITERALS.fullmatch(matcher.value):
        return matcher.value.split("|")
    return None
