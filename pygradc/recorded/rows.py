"""Arguments of many rows, in the form that the core takes.

The first axis of an array is the row; a single number, a Value, or a static value (a string, None,
a bool) is the same for all rows. A list or a tuple is converted to an array as numpy does: its
items are rows. A dict or a namedtuple is columns: each item is an argument of its own, and the
function receives a dict or a namedtuple of one row. Without any number there is one row.
C-contiguous float64 arrays are used without a copy, those of other libraries, too
(`core/foreign.py`); others are converted, at 8 bytes a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pygradc.core.foreign import array_of
from pygradc.core.masks import may_hide_masks, refuse_masked
from pygradc.core.numbers import as_number
from pygradc.recorded import structure as structures
from pygradc.value import Value

Floats = npt.NDArray[np.float64]
Column = tuple[Floats, int, int]
"""An array, its stride in doubles, 0 if it is the same for all rows, and doubles a row."""


class Rows:
    """Arguments for the core: arrays with a row axis, and values that are the same for all rows.

    Attributes:
        structure: the structure of one row's arguments.
        count: the number of rows.
        columns: one for each leaf or array.
        values: (index of the input, Value) for each Value among them.
        index: row numbers to gather, int64; None: all rows in order.
        width: inputs so far.
    """

    __slots__ = ("columns", "count", "index", "structure", "values", "width")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.count = -1
        self.columns: list[Column] = []
        self.values: list[tuple[int, Value]] = []
        self.width = 0
        self.index: npt.NDArray[np.int64] | None = None
        items: list[structures.Structure] = []
        for i, arg in enumerate(arguments):
            if _is_ready(arg) and len(arg) == (self.count if i else len(arg)):
                self.count = len(arg)
                items.append(self._add(arg, arg.shape))
            else:
                items.append(self._read(arg, ("argument", i)))
        self.structure = structures.Sequence(tuple, tuple(items))
        if self.count < 0 and self.width == 0:
            self.count = 1  # no array, and no number: a single row
        if self.count < 0:
            raise ValueError(
                "expected at least one array, whose first axis is the row; for a single row "
                "of numbers call the function itself"
            )

    def part(self, numbers: npt.NDArray[np.int64]) -> Rows:
        """A selection of rows by number, without a copy; faults name the original row."""
        some: Rows = object.__new__(Rows)
        some.structure, some.values, some.width = self.structure, self.values, self.width
        some.columns, some.count, some.index = self.columns, len(numbers), numbers
        return some

    def with_inputs(self, columns: list[Column]) -> Rows:
        """The same rows with further inputs; values among them keep their places."""
        more: Rows = object.__new__(Rows)
        more.structure, more.values, more.count, more.index = (
            self.structure, self.values, self.count, self.index
        )  # fmt: skip
        more.columns = [*self.columns, *columns]
        more.width = self.width + sum(column[2] for column in columns)
        return more

    def _read(self, arg: Any, where: tuple[Any, ...]) -> structures.Structure:
        """Read an argument, or an item of a dict; `where` is its place, for messages."""
        if type(arg) is np.ndarray and arg.ndim:
            return self._read_array(arg, where)
        if isinstance(arg, (dict, list, tuple, Value)):
            structures.require_plain(arg, "argument")
        if isinstance(arg, dict):
            items = [self._read(item, (*where, key)) for key, item in arg.items()]
            return structures.mapping(arg, tuple(items))
        if isinstance(arg, tuple) and hasattr(arg, "_fields"):
            items = [self._read(item, (*where, key)) for key, item in zip(arg._fields, arg)]
            return structures.Sequence(type(arg), tuple(items))
        if isinstance(arg, np.ndarray) and arg.ndim == 0 and not np.ma.isMaskedArray(arg):
            arg = arg.item()
        if structures.is_static(arg):
            return structures.static(arg)
        if isinstance(arg, Value):
            self.values.append((self.width, arg))
            arg = arg.data
        return self._read_array(arg, where)

    def _read_array(self, arg: Any, where: tuple[Any, ...]) -> structures.Structure:
        array = _floats(arg, where)
        if array.ndim == 0:
            self.columns.append((array, 0, 1))
            self.width += 1
            return structures.LEAF
        rows = len(array)
        if rows != self.count:
            if self.count >= 0:
                raise ValueError(
                    f"{_place(where)} has {rows} rows, the arrays before it have {self.count}"
                )
            self.count = rows
        return self._add(array, array.shape)

    def _add(self, array: Floats, shape: tuple[int, ...]) -> structures.Structure:
        """Add an array with the same number of rows as the others."""
        if len(shape) == 1:
            self.columns.append((array, 1, 1))
            self.width += 1
            return structures.LEAF
        size = math.prod(shape[1:])
        self.columns.append((array, size, size))
        self.width += size
        return structures.Array(shape[1:])


def _place(where: tuple[Any, ...]) -> str:
    """'argument 0', "argument 1['x']"."""
    return f"{where[0]} {where[1]}" + "".join(f"[{key!r}]" for key in where[2:])


_FLOAT64 = np.dtype(np.float64)


def _is_ready(arg: Any) -> bool:
    """Can the core read this array in place?"""
    if type(arg) is not np.ndarray or arg.dtype is not _FLOAT64:
        return False
    flags = arg.flags
    return arg.ndim > 0 and flags.c_contiguous and flags.aligned


def _floats(arg: Any, where: tuple[Any, ...]) -> Floats:
    """Convert to an aligned, C-contiguous float64 array; `where` is its place, for messages."""
    if _is_ready(arg):
        return cast(Floats, arg)
    what = _place(where)
    if isinstance(arg, np.ndarray):
        refuse_masked(what, arg)
    try:
        array = array_of(what, arg)
    except ValueError as error:
        raise ValueError(
            f"{what}: expected an array with a row axis: {error}. Pass arrays of different "
            "shapes as separate arguments, or as a dict"
        ) from None
    if isinstance(arg, (list, tuple)) and may_hide_masks(arg, array):
        refuse_masked(what, arg)
    if array.dtype == object:
        array = _converted(arg, array, what)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what}: expected real numbers, got an array of {array.dtype}{_example(arg, array)}"
        )
    return np.require(array, np.float64, ["C", "A"]) if array.ndim else array.astype(np.float64)


def _example(arg: Any, array: npt.NDArray[Any]) -> str:
    """The first element that isn't a number; a single string makes numpy convert all to strings."""
    if array.size == 0 or array.dtype.names is not None:
        return ""
    items = np.asarray(arg, dtype=object) if array.dtype.kind in "US" else array
    wrong = (x for x in items.ravel().tolist() if as_number(x) is NotImplemented)
    return f", such as {next(wrong, array.flat[0])!r}"


def _converted(arg: Any, array: npt.NDArray[Any], what: str) -> Floats:
    """Convert an array of objects to float64.

    Raises:
        TypeError: an element isn't a number; names the first.
    """
    if array.ndim == 0:
        raise TypeError(f"{what}: expected numbers, got {_kind_of(arg)}")
    numbers = np.empty(array.shape)
    flat = numbers.reshape(-1)
    for i, item in enumerate(array.ravel().tolist()):
        number = item if isinstance(item, float) else as_number(item)
        if isinstance(item, Value):
            raise TypeError(f"{what}: expected numbers; pass Values one row at a time, as in f(x)")
        if number is NotImplemented:
            place = tuple(map(int, np.unravel_index(i, array.shape)))
            raise TypeError(f"{what}: expected numbers, got {_first_wrong(arg, item, place)}")
        flat[i] = number
    return numbers


def _kind_of(arg: Any) -> str:
    if isinstance(arg, (Iterator, Set)):
        return f"a {type(arg).__name__}, which is not an array: convert it with list(...)"
    return (
        f"{arg!r} of type {type(arg).__name__}; pass a non-number that is the same for all rows by "
        "keyword"
    )


def _first_wrong(arg: Any, item: Any, place: tuple[int, ...]) -> str:
    """Describe the first element that isn't a number, by column if a table names its columns."""
    columns, row = getattr(arg, "columns", None), f"row {place[0]}"
    if columns is not None and len(place) > 1:
        kind = list(arg.dtypes)[place[1]]
        row += f" of column {list(columns)[place[1]]!r}, whose dtype is {kind}"
    else:
        row += "".join(f", {axis}" for axis in place[1:])
        row += f", dtype {getattr(arg, 'dtype', 'object')}"
    return f"{item!r} ({row}): convert it with float(), encode it as numbers, or leave it out"
