"""Which objects are real numbers: those of Python, numpy, and 0-d arrays of any library."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np


def as_number(x: object) -> Any:
    """Convert other numbers to int or float: numpy scalars, fractions, 0-d arrays and tensors of
    any library. NotImplemented for anything else.
    """
    if isinstance(x, numbers.Integral):
        return int(x)
    if isinstance(x, (numbers.Real, np.bool_)):
        return float(x)
    return _item(x) if hasattr(x, "shape") and hasattr(x, "item") else NotImplemented


def _item(array: Any) -> Any:
    """Convert a 0-d array to int or float. Dates are excluded: their `item()` may be an int; so are
    masked entries: their `item()` is the number below the mask.
    """
    if tuple(array.shape) != () or getattr(array.dtype, "kind", "") in ("m", "M"):
        return NotImplemented
    if isinstance(array, np.ndarray) and np.any(getattr(array, "mask", False)):
        raise TypeError(
            "a masked entry has no number: leave it out, or fill it, as a.filled(0.0) does"
        )
    if getattr(array, "requires_grad", False):
        raise TypeError(
            f"a {type(array).__name__} that requires grad would lose its gradient here: "
            "pass .item() for its number"
        )
    if np.ma.is_masked(array):  # its item() would be the 0.0 below the mask
        return NotImplemented
    number = array.item()
    if isinstance(number, numbers.Integral):
        return int(number)
    return float(number) if isinstance(number, numbers.Real) else NotImplemented
