"""Rows to train on: their weights, and how they are scaled.

Rows of weight 0 are left out. Features, and a regression's targets, are standardized by weighted
means and standard deviations, so that a weight of 2 counts as the row twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array

from pygradc.models import Scaling
from pygradc.recorded.rows import Floats


class Rows(NamedTuple):
    """Features, targets as numbers, and weights, shape (n,)."""

    X: Floats
    y: Any
    weights: Floats


def weights_of(given: Any, X: Floats, name: str) -> tuple[Floats, Any]:
    """One weight per row, and which rows have another one than 0."""
    if given is None:
        return np.ones(len(X)), np.ones(len(X), dtype=bool)
    weights = np.asarray(
        check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    )
    if weights.ndim == 0:
        weights = np.full(len(X), float(weights))
    if weights.shape != (len(X),):
        raise ValueError(f"{name}: sample_weight has shape {weights.shape}, expected ({len(X)},)")
    if (weights < 0.0).any():
        raise ValueError(f"{name}: sample_weight must not be negative")
    if not weights.any():
        raise ValueError(f"{name}: sample_weight: all weights are zero")
    return weights, weights > 0.0


def mean_and_scale(columns: Floats, weights: Floats, what: str) -> tuple[Floats, Floats]:
    """Weighted mean and standard deviation; 1 where a column doesn't vary."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.average(columns, axis=0, weights=weights)
        scale = np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=weights))
    scale[(columns == columns[0]).all(axis=0) | (scale == 0.0)] = 1.0
    odd = np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(scale))
    if len(odd):
        raise ValueError(f"{what} {odd[0]} has numbers too large to be scaled")
    return mean, scale


def standard(rows: Rows, scaling: Scaling) -> Rows:
    """The rows as the network and its loss take them; class indices stay as they are."""
    y = rows.y
    if np.ndim(scaling.target_mean) or scaling.target_scale != 1.0 or scaling.target_mean != 0.0:
        y = (y - scaling.target_mean) / scaling.target_scale
    return Rows(scaling.of_features(rows.X), y, rows.weights)
