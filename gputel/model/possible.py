"""Which readings a field of DCGM cannot have: blank values of drivers, and garbage.

Drivers and exporters now and then give 4294967295 %, 644245923 C, or a blank value times 100. The
bounds are wide: what hardware of the next years may read is within them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gputel.model.columns import VALUE
from gputel.model.dcgm_fields import MOST, UNKNOWN, Field, field
from gputel.model.names import METRIC

# dcgm_structs.h: DCGM_INT32_BLANK, DCGM_INT64_BLANK, DCGM_FP64_BLANK, each with its next three
# (not found, not supported, not permissioned). The int64 ones are one and the same float64.
_BLANK_MEANINGS = ("blank", "not found", "not supported", "not permissioned")
SENTINELS: dict[float, str] = {
    **{0x7FFFFFF0 + offset: f"int32, {text}" for offset, text in enumerate(_BLANK_MEANINGS)},
    **{140737488355328.0 + offset: f"fp64, {text}" for offset, text in enumerate(_BLANK_MEANINGS)},
    float(0x7FFFFFFFFFFFFFF0): "int64",
}
_SENTINELS = np.array(sorted(SENTINELS))
FIRST_SENTINEL = float(_SENTINELS[0])

_OF_UNIT = {
    "%": (0.0, 100.0),
    "ratio": (0.0, 8.0),  # DCGM gives a MIG instance up to 7 slices of a GPU
    "C": (-60.0, 200.0),
    "W": (0.0, 100_000.0),
    "MHz": (0.0, 100_000.0),
    "Hz": (0.0, 1e11),
    "MiB": (0.0, 2.0**26),
    "B": (0.0, 2.0**46),
    "B/s": (0.0, 1e15),
}
_COUNT = (0.0, 2.0**32 - 2)  # of errors, pages, rows: 2^32 - 1 is a blank of 32 bits
_UNBOUNDED = (-np.inf, np.inf)


def are_sentinels(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which values are blanks of DCGM."""
    return np.isin(values, _SENTINELS)


def impossible_rows(batch: pa.RecordBatch) -> npt.NDArray[np.bool_] | None:
    """The rows whose reading its field cannot have; None if there are none.

    A metric that is not in the table of fields can have any.
    """
    metrics = batch.column(METRIC)
    bounds = np.array([_bounds(field(name)) for name in metrics.dictionary.to_pylist()])
    if not np.isfinite(bounds).any():
        return None
    codes = metrics.indices.to_numpy(zero_copy_only=False)
    values = batch.column(VALUE).to_numpy(zero_copy_only=False)
    least, most = (bound.take(codes) for bound in bounds.T.copy())
    impossible: npt.NDArray[np.bool_] = (values < least) | (values > most)
    if np.fmax.reduce(values, initial=0.0) >= FIRST_SENTINEL:
        impossible |= are_sentinels(values) & np.isfinite(most)
    return impossible if impossible.any() else None


def why_impossible(metric_name: str) -> str:
    """The reason for people."""
    known = field(metric_name)
    least, most = _bounds(known)
    unit = f" {known.unit}" if known.unit else ""
    return f"value is none that {metric_name} can have: {least:.12g} to {most:.12g}{unit}"


def _bounds(known: Field) -> tuple[float, float]:
    if known is UNKNOWN:
        return _UNBOUNDED
    most_of_others = _COUNT if known.kind == "counter" and not known.unit else (0.0, MOST)
    least, most = _OF_UNIT.get(known.unit, most_of_others)
    return least, most if known.most is None else known.most
