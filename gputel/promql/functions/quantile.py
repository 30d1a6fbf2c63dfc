"""Quantiles of many small sets at once.

Source: ``quantile`` of prometheus/promql/quantile.go: NaN is the smallest value, and between two
ranks the quantile is interpolated.
"""

from __future__ import annotations

import numpy as np

from gputel.promql.values.vector import Bools, Float64, Int64


def of_rows(values: Float64, inside: Bools, quantile: Float64) -> Float64:
    """The quantile of the values ``inside`` each row, one ``quantile`` a row; NaN if empty."""
    count = inside.sum(axis=1)
    nan = np.isnan(values) & inside
    ranked = np.sort(np.where(inside, np.where(nan, -np.inf, values), np.inf), axis=1)
    nans = nan.sum(axis=1)
    rank = np.where(np.isnan(quantile), 0.0, np.clip(quantile, 0.0, 1.0)) * (count - 1)
    low = np.maximum(np.floor(rank), 0).astype(np.int64)
    high = np.maximum(np.minimum(low + 1, count - 1), 0)
    weight = rank - np.floor(rank)
    below, above = _picked(ranked, nans, low), _picked(ranked, nans, high)
    value: Float64 = below * (1 - weight) + above * weight
    value[quantile < 0] = -np.inf
    value[quantile > 1] = np.inf
    value[np.isnan(quantile) | (count == 0)] = np.nan
    return value


def of_row(values: Float64, quantile: float) -> float:
    """The quantile of one large row, without sorting all of it."""
    if not 0 <= quantile <= 1:
        return float("nan") if np.isnan(quantile) else float(np.copysign(np.inf, quantile))
    rank = quantile * (len(values) - 1)
    low = int(rank)
    high, weight = min(low + 1, len(values) - 1), rank - low
    nans = np.count_nonzero(np.isnan(values))
    smallest = np.fmax(values, -np.inf)  # of NaN and a number, fmax takes the number
    smallest.partition([low, high])
    below, above = (
        np.nan if rank_below < nans else smallest[rank_below] for rank_below in (low, high)
    )
    return float(below * (1 - weight) + above * weight)


def _picked(ranked: Float64, nans: Int64, position: Int64) -> Float64:
    picked = np.take_along_axis(ranked, position[:, None], axis=1)[:, 0]
    value: Float64 = np.where(position < nans, np.nan, picked)
    return value
