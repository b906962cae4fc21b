"""States in files: what `state_dict` of modules and optimisers gives, as numpy's .npz archives.

A state is a dict of names and arrays, numbers, bools, strings, None, or dicts of these.
`numpy.load` reads the files, too, and `load_state` reads what `numpy.savez` wrote. A file of
`save_state` has a checksum over all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pygradc import _atomic, _files
from pygradc._rows import refuse_masked
from pygradc.value import _number

Array = npt.NDArray[Any]


MAX_SIZE = 2**28
"""Bytes of compressed arrays that `load_state` unpacks, unless told otherwise: 256 MiB."""


def save_state(state: Mapping[str, Any], path: str | os.PathLike[str] | None = None) -> None:
    """Write a state to a file, whole or not at all; `load_state` reads it.

    Args:
        state: names and arrays, or what numpy makes one of: real numbers, bools or strings; or
            None; or a dict of these again.
        path: the file; by custom it ends in .npz.
    Raises:
        OSError: the file can't be written; it is as it was.
        TypeError, ValueError: an entry can't be saved, or the state is no dict, as a model; says
            which, and what to write.
    """
    _check_state(state, path)
    from pygradc import _npz  # with json it takes 2 ms to import

    _atomic.write(cast("str", path), _npz.to_bytes(state))


def _check_state(state: Any, path: Any) -> None:
    if isinstance(state, (str, os.PathLike)) and not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError("save_state: the state comes first: save_state(state, path)")
    if not isinstance(state, Mapping):
        name = "optimizer" if hasattr(state, "step") else "model"
        line = f"save_state({name}.state_dict(), '{name}.npz')"
        raise TypeError(
            f"save_state: expected a dict of names and arrays, not {type(state).__name__}; "
            f"write {line}"
        )
    if path is None:
        raise TypeError("save_state: where to? save_state(state, 'model.npz')")


def load_state(path: str | os.PathLike[str], max_size: int = MAX_SIZE) -> dict[str, Any]:
    """What is in a file that `save_state`, `numpy.savez` or `numpy.savez_compressed` wrote.

    Args:
        max_size: how many bytes the arrays of a compressed file may have. (Those of another one
            have no more than the file.)
    Returns:
        Names and arrays, numbers being arrays of shape (); None and dicts as they were.
    Raises:
        OSError: the file can't be read.
        ValueError: it is no such file, or damaged, whatever the bytes, or its compressed arrays
            are larger than max_size.
        TypeError: max_size is no number of bytes.
    """
    from pygradc import _npz, _zip

    _check_size(max_size)
    name = os.fspath(path)
    with open(name, "rb") as file:
        content = file.read()
    if content.startswith(_files.MAGIC):
        raise ValueError(f"{os.fsdecode(name)}: a program, which pygradc.load reads")
    try:
        return _npz.from_bytes(content, max_size)
    except _zip.Damaged as error:
        raise ValueError(f"{os.fsdecode(name)}: {error}") from None


def _check_size(max_size: Any) -> None:
    number = _number(max_size)
    if number is NotImplemented or not number >= 0:
        raise TypeError(
            f"load_state: max_size is a number of bytes, not {max_size!r}: write "
            "load_state(path, max_size=2**30)"
        )


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
        if array.dtype == object:  # of which numpy makes nan of None, and parses strings
            _check_objects(array)
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} must be real numbers, not {repr(value)[:80]}: {error}") from None
    if array.shape != shape:
        raise ValueError(f"{what} has shape {array.shape}, expected {shape}")
    return array


def _check_objects(array: Array) -> None:
    for item in array.ravel().tolist():
        if _number(item) is NotImplemented:
            raise ValueError(f"{item!r} is no number")


def check_names(what: str, names: Iterable[str], wanted: Iterable[str]) -> None:
    """Are these the entries that a state should have?

    Raises:
        ValueError: one is missing or one too many; names them.
        TypeError: it is no state at all.
    """
    if not isinstance(names, Iterable) or isinstance(names, (str, bytes)):
        kind = type(names).__name__
        raise TypeError(
            f"{what}: expected a dict of names and arrays, as state_dict() gives, not {kind}"
        )
    missing, odd = sorted({*wanted} - {*names}), sorted({*names} - {*wanted}, key=str)
    parts = [f"{missing} missing"] * bool(missing) + [f"{odd} not expected"] * bool(odd)
    if parts:
        raise ValueError(f"{what}: {', '.join(parts)}")
