"""States in files: the `state_dict` of modules and optimizers as numpy's .npz archives.

A state is a dict of names and arrays, numbers, bools, strings, None, or dicts of these.
`numpy.load` reads the files, too, and `load_state` reads what `numpy.savez` wrote. A file written
by `save_state` has a checksum over its whole content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Union, cast

import numpy as np
import numpy.typing as npt

from pygradc.core.foreign import array_of
from pygradc.core.masks import refuse_masked
from pygradc.core.numbers import as_number
from pygradc.files import atomic, magic

Array = npt.NDArray[Any]


Saved = Union[npt.NDArray[np.generic], None, dict[str, "Saved"]]
"""What `load_state` gives for a name."""

MAX_SIZE = 2**28
"""Bytes of compressed arrays that `load_state` unpacks, unless told otherwise: 256 MiB."""


def save_state(state: Mapping[str, Any], path: str | os.PathLike[str] | None = None) -> None:
    """Write a state to a file, whole or not at all; `load_state` reads it.

        >>> import os, tempfile
        >>> from pygradc import load_state, nn, save_state
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.npz")
        >>> model, other = nn.MLP(2, [1], seed=0), nn.MLP(2, [1], seed=1)
        >>> save_state(model.state_dict(), path)
        >>> other.load_state_dict(load_state(path))
        >>> other([1.0, 2.0]).data == model([1.0, 2.0]).data
        True

    Args:
        state: Names and arrays, or what numpy converts to one: real numbers, bools or strings; or
            None; or a nested dict of these.
        path: The file; by convention it ends in .npz.
    Raises:
        OSError: the file can't be written; it is unchanged.
        TypeError, ValueError: an entry can't be saved, or the state isn't a dict (a model, say);
            the message says which, and what to write.
    """
    _check_state(state, path)
    from pygradc.files import npz  # importing it, with json, takes 2 ms

    atomic.write(cast("str", path), npz.to_bytes(state))


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
        raise TypeError("save_state: path is missing: save_state(state, 'model.npz')")


def load_state(path: str | os.PathLike[str], max_size: int = MAX_SIZE) -> dict[str, Saved]:
    """Read a file that `save_state`, `numpy.savez` or `numpy.savez_compressed` wrote.

        >>> import os, pygradc, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "state.npz")
        >>> pygradc.save_state({"weight": [1.0, 2.0], "best": None}, path)
        >>> pygradc.load_state(path)
        {'weight': array([1., 2.]), 'best': None}

    Args:
        max_size: The largest total size of compressed arrays, unpacked, in bytes. (Uncompressed
            arrays are no larger than the file.)
    Returns:
        Names and arrays; numbers are arrays of shape (), None and dicts are restored.
    Raises:
        OSError: the file can't be read.
        ValueError: it isn't such a file, or is damaged, whatever the bytes; or its compressed
            arrays are larger than max_size.
        TypeError: max_size isn't a number of bytes.
    """
    from pygradc.files import archive, npz

    _check_size(max_size)
    name = os.fspath(path)
    with open(name, "rb") as file:
        content = file.read()
    if content.startswith(magic.PROGRAM):
        raise ValueError(f"{os.fsdecode(name)}: this is a program: read it with pygradc.load")
    try:
        return npz.from_bytes(content, max_size)
    except archive.Damaged as error:
        raise ValueError(f"{os.fsdecode(name)}: {error}") from None


def _check_size(max_size: Any) -> None:
    number = as_number(max_size)
    if number is NotImplemented or not number >= 0:
        raise TypeError(
            f"load_state: max_size must be a number of bytes, not {max_size!r}: write "
            "load_state(path, max_size=2**30)"
        )


def numbers(what: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Convert an entry of a state to a new float64 array of this shape.

    Raises:
        ValueError: it can't be; the message names the entry, and both shapes if they differ.
    """
    refuse_masked(what, value)
    try:
        array = array_of(what, value)
        if array.dtype.kind not in "fiubO":
            raise ValueError(f"an array of {array.dtype}")
        if array.dtype == object:  # astype would turn None into nan, and parse strings
            _check_objects(array)
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} must be real numbers, not {repr(value)[:80]}: {error}") from None
    if array.shape != shape:
        raise ValueError(f"{what} has shape {array.shape}, expected {shape}")
    return array


def _check_objects(array: Array) -> None:
    for item in array.ravel().tolist():
        if as_number(item) is NotImplemented:
            raise ValueError(f"{item!r} is not a number")


def check_names(what: str, names: Iterable[str], wanted: Iterable[str]) -> None:
    """Check that a state has exactly the wanted entries.

    Raises:
        ValueError: entries are missing or unexpected; the message names them.
        TypeError: it isn't a state at all.
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
