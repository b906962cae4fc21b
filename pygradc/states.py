"""States in files: what `state_dict` of modules and optimisers gives, as numpy's .npz archives.

A state is a dict of names and arrays, or numbers, or strings. `numpy.load` reads the files, too,
and `load_state` reads what `numpy.savez` wrote.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc import _atomic
from pygradc._rows import refuse_masked

Array = npt.NDArray[Any]


def save_state(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state to a file, whole or not at all; `load_state` reads it.

    Args:
        state: names and arrays, or what numpy makes one of: real numbers or strings.
        path: the file; by custom it ends in .npz.
    Raises:
        OSError: the file can't be written; it is as it was.
        TypeError, ValueError: an entry can't be saved; says which.
    """
    from pygradc import _npz  # with zipfile it takes 5 ms to import

    _atomic.write(path, _npz.to_bytes(state))


def load_state(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a file that `save_state`, or `numpy.savez`, wrote.

    Raises:
        OSError: the file can't be read.
        ValueError: it is no such file, or damaged, whatever the bytes.
    """
    from pygradc import _npz

    with open(path, "rb") as file:
        content = file.read()
    try:
        return _npz.from_bytes(content)
    except ValueError as error:
        raise ValueError(f"{os.fsdecode(path)}: {error}") from None


def numbers(what: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """An entry of a state as an array of its own, float64, of this shape.

    Raises:
        ValueError: it is something else; names it, and both shapes.
    """
    refuse_masked(what, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiubO":
            raise ValueError(f"an array of {array.dtype}")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be real numbers, not {repr(value)[:80]}: {error}") from None
    if array.shape != shape:
        raise ValueError(f"{what} has shape {array.shape}, expected {shape}")
    return array


def check_names(what: str, names: Iterable[str], wanted: Iterable[str]) -> None:
    """Are these the entries that a state should have?

    Raises:
        ValueError: one is missing or one too many; names them.
    """
    missing, odd = sorted({*wanted} - {*names}), sorted({*names} - {*wanted}, key=str)
    parts = [f"{missing} missing"] * bool(missing) + [f"{odd} not expected"] * bool(odd)
    if parts:
        raise ValueError(f"{what}: {', '.join(parts)}")
