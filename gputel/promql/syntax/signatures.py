"""The functions of PromQL: which arguments each takes and what it gives.

Source: prometheus/promql/parser/functions.go, release 2.42.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """What an expression is worth."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


@dataclass(frozen=True)
class Signature:
    """The types of the arguments; the last one may be left out ``optional`` times or repeated."""

    arguments: tuple[Type, ...]
    gives: Type = Type.VECTOR
    least: int = -1
    most: int | None = -1

    @property
    def fewest(self) -> int:
        """The least number of arguments."""
        return len(self.arguments) if self.least < 0 else self.least

    @property
    def highest(self) -> int | None:
        """The greatest number of arguments; None if there is none."""
        return len(self.arguments) if self.most == -1 else self.most

    def type_of(self, place: int) -> Type:
        """What the argument at this place must be."""
        return self.arguments[min(place, len(self.arguments) - 1)]


_V, _M, _S, _T = Type.VECTOR, Type.MATRIX, Type.SCALAR, Type.STRING

_OF_VECTOR = (
    "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_count "
    "histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh timestamp"
)
_OF_RANGE = (
    "absent_over_time avg_over_time changes count_over_time delta deriv idelta increase irate "
    "last_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time "
    "stdvar_over_time sum_over_time"
)
_OF_TIME = "day_of_month day_of_week day_of_year days_in_month hour minute month year"

SIGNATURES: dict[str, Signature] = {
    **{name: Signature((_V,)) for name in _OF_VECTOR.split()},
    **{name: Signature((_M,)) for name in _OF_RANGE.split()},
    **{name: Signature((_V,), least=0) for name in _OF_TIME.split()},
    "clamp": Signature((_V, _S, _S)),
    "clamp_max": Signature((_V, _S)),
    "clamp_min": Signature((_V, _S)),
    "histogram_fraction": Signature((_S, _S, _V)),
    "histogram_quantile": Signature((_S, _V)),
    "holt_winters": Signature((_M, _S, _S)),
    "label_join": Signature((_V, _T, _T, _T), least=3, most=None),
    "label_replace": Signature((_V, _T, _T, _T, _T)),
    "pi": Signature((), _S),
    "predict_linear": Signature((_M, _S)),
    "quantile_over_time": Signature((_S, _M)),
    "round": Signature((_V, _S), least=1),
    "scalar": Signature((_V,), _S),
    "time": Signature((), _S),
    "vector": Signature((_S,)),
}
