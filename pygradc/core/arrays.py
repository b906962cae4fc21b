"""Data and gradients of many Values as arrays, in one call into C.

Source: csrc/python/scalar_arrays.c.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc._core import ffi, lib
from pygradc.core.foreign import array_of
from pygradc.core.masks import refuse_masked
from pygradc.core.scalar import core

Floats = npt.NDArray[np.float64]


def data(values: Any) -> Floats:
    """The data of Values.

        >>> import pygradc
        >>> pygradc.data([[pygradc.Value(1.0), 2.0], [3.0, 4.0]]).tolist()
        [[1.0, 2.0], [3.0, 4.0]]

    Args:
        values: A Value; or nested lists, tuples and object arrays of Values and numbers.
    Returns:
        A new array of their shape, float64.
    Raises:
        TypeError: an item is neither a Value nor a number.
        ValueError: the nesting is ragged.
        TraceError: a Value depends on the inputs of a function being recorded.
    """
    if isinstance(values, np.ndarray):
        refuse_masked("data", values)
    return _as_array(*core.fetch_data(values))


def grads(values: Any) -> Floats:
    """The gradients of Values.

        >>> import pygradc
        >>> a, b = pygradc.Value(2.0), pygradc.Value(3.0)
        >>> (a * b).backward()
        >>> pygradc.grads([a, b]).tolist()
        [3.0, 2.0]

    Args, Returns, Raises: as `data`; all items are Values.
    """
    if isinstance(values, np.ndarray):
        refuse_masked("grads", values)
    return _as_array(*core.fetch_grads(values))


def _as_array(numbers: bytearray, shape: tuple[int, ...]) -> Floats:
    array: Floats = np.ndarray(shape, np.float64, numbers)
    return array


def set_data(values: Any, array: npt.ArrayLike) -> None:
    """Set the data of Values from an array of the same shape.

        >>> import pygradc
        >>> a, b = pygradc.Value(0.0), pygradc.Value(0.0)
        >>> pygradc.set_data([a, b], [1.0, 2.0])
        >>> a.data, b.data
        (1.0, 2.0)

    Args:
        values: As for `data`; all items are Values. For one that occurs twice the later number
            counts.
        array: Real numbers, float64 or convertible.
    Raises:
        ValueError: the shapes differ; the message names both. Entries are masked; it says how many.
        TypeError: an item isn't a Value, or the array isn't of real numbers.
        On an error nothing is changed.
    """
    refuse_masked("set_data", array)
    given = array_of("set_data", array)
    if given.dtype.kind not in "biufO":
        raise TypeError(f"set_data: expected real numbers, got an array of {given.dtype}")
    is_of_objects = given.dtype.kind == "O"
    numbers = data(given) if is_of_objects else np.asarray(given, dtype=np.float64, order="C")
    core.assign(values, numbers, numbers.shape)


def clip_grads(values: Any, norm: float, value: float) -> float:
    """Limit the norm of the gradients of Values, or each one; the other limit is 0.

    Returns:
        The norm before; 0.0 with a limit of each one.
    Raises:
        TypeError: an item isn't a Value.
        TraceError: a Value depends on the inputs of a function being recorded.
    """
    gradients = grads(values)
    settings = ffi.new("pg_clip_settings *", (norm, value))
    numbers = ffi.from_buffer("double[]", gradients, require_writable=True)
    before = float(lib.pg_clip(numbers, ffi.NULL, gradients.size, settings))
    core.write(values, data(values), gradients)
    return before
