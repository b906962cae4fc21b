"""Arrays of other libraries as numpy's: PyTorch, JAX, pandas, Arrow, whatever has `__array__` or
`__dlpack__`.

Invariant: each number is the one that the other library holds, or an error is raised. A missing
entry isn't nan, and a gradient isn't dropped in silence.
Ownership: the result refers to the other library's memory, which it keeps alive, wherever numpy can
read it there. Otherwise it is a copy: of bfloat16, of a tensor whose minus is still to be computed.
Cost: a few microseconds and no copy for an array that numpy can read in place. A list pays for the
types of its rows, not for those of its numbers.
Source: https://numpy.org/doc/stable/user/basics.interoperability.html;
https://dmlc.github.io/dlpack/latest/python_spec.html.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_OWN = (np.ndarray, np.generic)
_LISTS = frozenset((list, tuple))
_ROWS = frozenset((list, tuple, np.ndarray))
_CPU = 1  # DLPack's kDLCPU
_REFUSED = (TypeError, ValueError, RuntimeError, BufferError, NotImplementedError)
_LEAVE_OUT = "leave such rows out, or fill them, as fillna(0.0) does"


def is_foreign(x: object) -> bool:
    """Is it an array, and none of numpy's own?"""
    return not isinstance(x, (*_OWN, type)) and (
        hasattr(x, "__array__") or hasattr(x, "__dlpack__")
    )


def is_of_a_known_library(x: object) -> bool:
    """Does a library of arrays define its class? Decided by name, in 0.1 us."""
    return type(x).__module__.partition(".")[0] in _LIBRARIES


_LIBRARIES = frozenset(("jax", "jaxlib", "pandas", "polars", "pyarrow", "torch"))


def array_of(what: str, x: Any) -> Array:
    """What numpy makes of x, in place where that is possible.

    Args:
        what: x's name, for messages.
        x: An array of any library, or a list, a tuple or a number.
    Raises:
        TypeError: a tensor requires grad, or lies in another device's memory; the message says what
            to write. Numpy can't read x, or it is a table with missing entries.
        ValueError: x is ragged.
    """
    if isinstance(x, _OWN):
        return np.asarray(x)
    if isinstance(x, (list, tuple)):
        return _of_items(what, x)
    return _plain(_of_foreign(what, x)) if is_foreign(x) else np.asarray(x)


def _of_items(what: str, items: Any) -> Array:
    """The array of a list, or a tuple. Rows of another library are read one by one, by `array_of`,
    and so are numbers that numpy can't read.
    """
    try:
        array = np.asarray(items)
    except (TypeError, RuntimeError):  # a tensor of bfloat16, or one that requires grad
        return np.asarray(_read(what, items))
    return array if _has_plain_rows(items, array) else np.asarray(_read(what, items))


def _has_plain_rows(items: Any, array: Array) -> bool:
    """Are all rows lists, tuples and numpy's arrays? Looks at rows, not at numbers."""
    for _ in range(array.ndim - 1):
        kinds = set(map(type, items))
        if not kinds <= _LISTS:
            return kinds <= _ROWS
        items = list(itertools.chain.from_iterable(items)) if array.ndim > 2 else ()
    return True


def _read(what: str, item: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return [_read(what, each) for each in item]
    return array_of(what, item) if is_foreign(item) else item


def _of_foreign(what: str, x: Any) -> Array:
    if _is_of("torch", "Tensor", x):
        x = _readable_tensor(what, x)
    elif _is_of("pandas", "DataFrame", x):
        return _of_table(what, x)
    elif _is_of("pandas", "Series", x) or _is_of("pandas", "Index", x):
        _refuse_missing(what, x)
    else:
        _refuse_nulls(what, x)
    if not hasattr(x, "__array__"):
        _refuse_other_memory(what, x)
    try:
        return np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
    except _REFUSED as error:
        raise TypeError(f"{what}: numpy can't read a {type(x).__name__}: {error}") from None


def _is_of(module: str, kind: str, x: Any) -> bool:
    """Is it of this class? Imports nothing: without the module there are no objects of it."""
    known = sys.modules.get(module)
    return known is not None and isinstance(x, getattr(known, kind, ()))


def _plain(array: Array) -> Array:
    """Numbers of the dtypes that ml_dtypes adds (bfloat16, float8, int4) as float64, exactly."""
    if array.dtype.kind != "V" or array.dtype.type is np.void:
        return array
    return array.astype(np.float64)


# ---- PyTorch -------------------------------------------------------------------------------------


def _readable_tensor(what: str, x: Any) -> Any:
    """A tensor that numpy reads: in the processor's memory, dense, of a dtype that numpy has.

    Raises:
        TypeError: it requires grad, or lies elsewhere; says what to write.
    """
    is_elsewhere = x.device.type != "cpu"
    if x.requires_grad or is_elsewhere:
        where = f" on the device {str(x.device)!r}" * is_elsewhere
        why = " that requires grad would lose its gradient here" * x.requires_grad
        calls = ".detach()" * x.requires_grad + ".cpu()" * is_elsewhere
        raise TypeError(f"{what}: a {type(x).__name__}{where}{why}: pass x{calls}")
    if str(x.layout) != "torch.strided":
        raise TypeError(f"{what}: a {type(x).__name__} of layout {x.layout}: pass x.to_dense()")
    if x.is_complex() or x.is_quantized:
        return x
    return x.resolve_neg() if _has_dtype(x) else x.double()


def _has_dtype(x: Any) -> bool:
    """Does numpy have the tensor's dtype? It lacks bfloat16 and float8."""
    return not x.is_floating_point() or str(x.dtype) in _FLOATS


_FLOATS = frozenset(("torch.float16", "torch.float32", "torch.float64"))


# ---- pandas, Arrow -------------------------------------------------------------------------------


def _of_table(what: str, table: Any) -> Array:
    """A DataFrame as an array. Columns of numbers become float64; others stay what they are, and
    are named by the caller.
    """
    for i, kind in enumerate(table.dtypes):
        if _has_na(kind):
            _refuse_missing(what, table.iloc[:, i])
    if len(table.columns) and all(_is_of_numbers(kind) for kind in table.dtypes):
        return cast(Array, table.to_numpy(dtype=np.float64))
    return np.asarray(table)


def _is_of_numbers(kind: Any) -> bool:
    return getattr(kind, "kind", "O") in "fiub"


def _has_na(kind: Any) -> bool:
    """Has a dtype of pandas missing entries? Those of float64 are nan, a number."""
    return str(kind) == "category" or getattr(kind, "na_value", None) is getattr(
        sys.modules.get("pandas"), "NA", kind
    )


def _refuse_missing(what: str, column: Any) -> None:
    if not _has_na(column.dtype):
        return
    places = np.flatnonzero(np.asarray(column.isna()))
    if len(places):
        missing = getattr(column, "iloc", column)[places[0]]
        name = "" if getattr(column, "name", None) is None else f" of column {column.name!r}"
        raise TypeError(
            f"{what}: expected numbers, got {missing!r} (row {places[0]}{name}, whose dtype is "
            f"{column.dtype}): {_LEAVE_OUT}"
        )


def _refuse_nulls(what: str, x: Any) -> None:
    """Refuse missing entries of Arrow's arrays and tables, and of those libraries that count nulls
    as it does: numpy would read nan.
    """
    if hasattr(x, "isna") and hasattr(x, "dtype"):  # an array of pandas
        _refuse_missing(what, x)
    count = sum(_null_counts(x))
    if count:
        raise TypeError(
            f"{what}: expected numbers, got a {type(x).__name__} with {count} nulls: {_LEAVE_OUT}"
        )


def _null_counts(x: Any) -> Iterator[int]:
    found = getattr(x, "null_count", None)
    if found is None:
        columns = getattr(x, "columns", ())  # an Arrow table's are arrays
        parts = columns if isinstance(columns, (list, tuple)) else ()
        yield from (part.null_count for part in parts if hasattr(part, "null_count"))
    else:
        yield int(np.sum(np.asarray(found() if callable(found) else found)))


# ---- DLPack --------------------------------------------------------------------------------------


def _refuse_other_memory(what: str, x: Any) -> None:
    device = int(x.__dlpack_device__()[0])
    if device != _CPU:
        raise TypeError(
            f"{what}: a {type(x).__name__} in another device's memory (DLPack's device {device}): "
            "copy it to the processor's"
        )
