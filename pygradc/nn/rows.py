"""The argument of a model's call: one row of numbers, in order, or an error that explains."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from pygradc.core.foreign import array_of, is_foreign
from pygradc.value import Value


def row_of(module: Any, x: Any) -> Any:
    """One row as a sequence: a number is a row of one.

    Raises:
        TypeError: x iterates over names or characters, or has no order.
    """
    if type(x) is tuple or (type(x) is np.ndarray and x.ndim == 1):
        return x
    if isinstance(x, (Value, float, int)) or (
        getattr(x, "shape", None) == () and hasattr(x, "item")
    ):
        return (x,)
    if isinstance(x, (Mapping, Set, str, bytes)):
        remedy = "model(list(x.values()))" if isinstance(x, Mapping) else "model(list_of_numbers)"
        raise TypeError(
            f"{type(module).__name__}: expected one row of numbers in order, not a "
            f"{type(x).__name__}: write {remedy}"
        )
    if type(x) is not np.ndarray and getattr(x, "ndim", 1) > 1:  # a table iterates over its names
        refuse_rows(module, x)
    return array_of(type(module).__name__, x) if is_foreign(x) else x


def refuse_rows(module: Any, x: Any) -> None:
    """Raise a TypeError that explains a failed call, if x is a batch of rows.

    Otherwise the caller re-raises the original error. It isn't passed in: a frame in its traceback
    that held it would form a cycle, and keep its Values alive until the next garbage collection.
    """
    try:
        axes = np.ndim(x)
    except ValueError:  # ragged
        axes = 0
    if axes < 2:
        return
    name = type(module).__name__
    raise TypeError(
        f"{name}: expected one row, got {len(x)} at once ({axes} axes): write "
        "[model(x) for x in X], or model.predict(X) for all rows in C"
    ) from None
