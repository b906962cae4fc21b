"""How right predictions are, where the table says what they should be: accuracy, or RMSE and R^2.

Rows without a label are left out. A class that the model doesn't know is never right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc.datasets import class_name
from pygradc.tables import Table, shown


def score(
    rows: Table, column: int, predictions: npt.NDArray[Any], classes: tuple[str, ...] | None
) -> str:
    """The score, in words.

    Args:
        column: of the labels.
        predictions: one per row: names of classes if there are any, else numbers.
    Raises:
        DataError: a label of a regression isn't a number.
    """
    labels = rows.fields(column)
    known = [row for row, label in enumerate(labels) if label]
    name, of_all = rows.names[column], "" if len(known) == len(labels) else f" of {len(labels)}"
    where = f"on {len(known)}{of_all} rows with {name}"
    if not known:
        return f"no score: no row has {name}"
    if classes is None:
        wanted = [rows.number(rows.lines[row], column, labels[row]) for row in known]
        return f"{_errors(predictions[known], np.array(wanted))} {where}"
    wanted_names = [_class(labels[row], classes) for row in known]
    right = float(np.mean(predictions[known] == np.array(wanted_names)))
    return f"accuracy {right:.1%} {where}{_unknown(wanted_names, classes)}"


def _errors(predictions: npt.NDArray[Any], labels: npt.NDArray[Any]) -> str:
    squares = float(np.sum((predictions - labels) ** 2))
    spread = float(np.sum((labels - labels.mean()) ** 2))
    r2 = f"{1.0 - squares / spread:.3f}" if spread else "undefined"
    return f"RMSE {amount((squares / len(labels)) ** 0.5)}, R^2 {r2}"


def amount(x: float) -> str:
    """Four digits, without an exponent unless there would be many zeros."""
    if not 1e-4 <= abs(x) < 1e12:
        return f"{x:.4g}"
    x = float(f"{x:.3e}")
    return f"{x:.{max(3 - math.floor(math.log10(abs(x))), 0)}f}"


def _class(label: str, classes: tuple[str, ...]) -> str:
    return label if label in classes else class_name(label)


def _unknown(labels: list[str], classes: tuple[str, ...]) -> str:
    unknown = [label for label in labels if label not in classes]
    if not unknown:
        return ""
    return f"; {len(unknown)} of a class that the model doesn't know, such as {shown(unknown[0])}"
