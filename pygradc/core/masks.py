"""Masked arrays of numpy: masked entries aren't numbers, and are refused."""

from __future__ import annotations

import itertools
import sys
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pygradc.core.scalar import core


def refuse_masked(what: str, arg: Any) -> None:
    """Refuse masked entries: numpy would silently use the data under the mask.

    Raises:
        ValueError: this array, or a list of arrays, has some; says how many.
    """
    ma = sys.modules.get("numpy.ma")
    if ma is None:  # numpy.ma was never imported, so there are no masked arrays
        return
    count = _masked(arg, ma.MaskedArray)
    if count:
        raise ValueError(
            f"{what}: {count} masked {'entry' if count == 1 else 'entries'} without a number: "
            "leave them out, or fill them, as a.filled(0.0) does"
        )


def may_hide_masks(arg: Any, array: npt.NDArray[Any]) -> bool:
    """A cheap test before each element is inspected.

    A masked scalar has become nan; otherwise a mask needs an array among the rows.
    """
    if array.dtype == object or (array.dtype.kind == "f" and np.isnan(array).any()):
        return True
    for _ in range(array.ndim - 1):
        if not _LISTS.issuperset(map(type, arg)):
            return True
        arg = list(itertools.chain.from_iterable(arg)) if array.ndim > 2 else ()
    return False


def _masked(arg: Any, masked: type) -> int:
    """The number of masked entries."""
    if isinstance(arg, masked):
        return int(np.count_nonzero(np.ma.getmaskarray(cast(Any, arg)))) + _masked(
            np.asarray(arg), masked
        )
    if isinstance(arg, np.ndarray):
        arg = arg.ravel().tolist() if arg.dtype == object else ()
    items = arg if isinstance(arg, (list, tuple)) else ()
    kinds = set(map(type, items))
    while items and kinds <= _LISTS:  # flatten nested lists with itertools, at the speed of C
        items = list(itertools.chain.from_iterable(items))
        kinds = set(map(type, items))
    kinds -= _UNMASKED | {core.Value}
    return sum(_masked(item, masked) for item in items if type(item) in kinds) if kinds else 0


_LISTS = frozenset((list, tuple))
_UNMASKED = frozenset((float, int, bool, np.float64))
