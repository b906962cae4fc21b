"""How good a model's outputs are: accuracy of the largest output, or R^2.

Source: scikit-learn, `accuracy_score` and `r2_score` (force_finite, uniform average).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc.core.foreign import array_of
from pygradc.core.masks import refuse_masked

Floats = npt.NDArray[np.float64]


def score(outputs: Floats, y: Any) -> float:
    """Accuracy or R^2, as `nn.Module.score` says."""
    wanted = _numbers(y, outputs)
    if outputs.ndim == 2 and wanted.ndim == 1:
        return _accuracy(outputs, wanted)
    return _r2(outputs.reshape(len(outputs), -1), wanted.reshape(len(outputs), -1))


def _numbers(y: Any, outputs: Floats) -> Floats:
    refuse_masked("score: y", y)
    array = array_of("score: y", y)
    if array.dtype.kind not in "fiub":
        kind = f"an array of {array.dtype}, such as {array.reshape(-1)[:1].tolist()}"
        raise TypeError(f"score: y must be numbers, not {kind}: number the classes from 0")
    rows = len(outputs)
    if outputs.ndim == 1 and array.shape == (rows, 1):
        array = array[:, 0]
    shapes = [(rows,), outputs.shape] if outputs.ndim == 2 else [outputs.shape]
    if array.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"score: y has shape {array.shape}, expected {wanted}")
    if not rows:
        raise ValueError("score: there are no rows")
    return array.astype(np.float64)


def _accuracy(outputs: Floats, y: Floats) -> float:
    """The share of rows whose largest output is that of the row's class."""
    count = outputs.shape[1]
    odd = np.flatnonzero((y != np.floor(y)) | (y < 0) | (y >= count))
    if len(odd):
        raise ValueError(
            f"score: for {count} outputs, y must be class numbers from 0 to {count - 1}, or have "
            f"shape ({len(y)}, {count}), but y[{odd[0]}] is {y[odd[0]]:g}"
        )
    _require("an output", outputs, ~np.isnan(outputs))
    return float(np.mean(np.argmax(outputs, axis=1) == y))


def _r2(outputs: Floats, y: Floats) -> float:
    """The mean over the columns."""
    if len(y) < 2:
        raise ValueError("score: R^2 needs at least two rows, got one")
    _require("y", y, np.isfinite(y))
    _require("an output", outputs, np.isfinite(outputs))
    errors = np.sum((y - outputs) ** 2, axis=0)
    spread = np.sum((y - np.mean(y, axis=0)) ** 2, axis=0)
    varies = np.min(y, axis=0) < np.max(y, axis=0)  # the mean's rounding gives others a spread, too
    of_constant = np.where(errors == 0.0, 1.0, 0.0)
    return float(
        np.mean(np.where(varies, 1.0 - errors / np.where(varies, spread, 1.0), of_constant))
    )


def _require(what: str, numbers: Floats, are_good: npt.NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(~are_good.all(axis=1))
    if len(rows):
        bad = numbers[rows[0]][~are_good[rows[0]]][0]
        raise ValueError(f"score: {what} in row {rows[0]} is {bad:g}")
