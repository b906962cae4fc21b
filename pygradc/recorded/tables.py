"""Tables: an entry by its index, the place of a number among knots, and interpolation of these two.

Eager code indexes a list, so the result is the entry itself. In a recording, where an index may
depend on an input, each result is one instruction: it gathers by row, and scatters the gradient
back (csrc/replay/tables.c).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal, Union, overload

import numpy as np

from pygradc.core.errors import no_index
from pygradc.core.masks import refuse_masked
from pygradc.core.numbers import as_number
from pygradc.core.scalar import core
from pygradc.recorded import tracing
from pygradc.value import Number, Value

_Entry = Union[Value, Number]
_Taken = Union[Value, float, list["_Taken"]]


@overload
def take(table: Sequence[Value], index: Value | Number) -> Value: ...
@overload
def take(table: Sequence[Number], index: Value | Number) -> Value | float: ...
@overload
def take(table: Sequence[Sequence[Value]], index: Value | Number) -> list[Value]: ...
@overload
def take(table: Sequence[_Entry | Sequence[object]], index: Value | Number) -> _Taken: ...
def take(table: Sequence[Any], index: Any) -> Any:
    """table[index], for an index that may be an input of a recorded function.

        >>> import pygradc
        >>> pygradc.take([[1.0, 2.0], [3.0, 4.0]], 1)        # a row of a list of lists
        [3.0, 4.0]
        >>> pick = pygradc.compile(lambda i: pygradc.take([10.0, 20.0, 30.0], i))
        >>> pick.map([2, 0]).tolist()
        [30.0, 10.0]

    The gradient goes to the entry that is taken; the index gets none. In a recorded function all
    entries are computed, and those that a row doesn't take can't fail it; of entries that are
    expressions, the sums that make up their gradients may differ in the last bits from eager
    code's.

    Args:
        table: n Values or numbers; or n rows of them, of one length, nested to any depth.
        index: A whole number from 0 to n - 1: a number or a Value, such as an input.
    Returns:
        The entry; of rows, a list. In a recorded function, Values where the index depends on an
        input or a parameter.
    Raises:
        IndexError: the index is negative, no whole number, or n or more. A row of a recorded
            function raises FloatingPointError instead, which names the row; with
            errors="ignore", the result is nan, and no entry gets a gradient.
        ValueError: the table is empty, or its rows differ in length.
        TypeError: the table has no order, or the index or an entry isn't a number.
    Source: csrc/replay/tables.c.
    """
    entries = _entries("take: the table", table)
    if isinstance(index, tracing.Condition):
        index = tracing.as_value(index)
    if core.tracing() and core.is_traced(index):
        return _take_traced(entries, index)
    return entries[_index_of(index, len(entries))]


def searchsorted(
    xs: Sequence[Number], x: Value | Number, side: Literal["left", "right"] = "left"
) -> Value | int:
    """The index at which x would be inserted into the sorted numbers xs, as numpy's.

    It has no derivative. In a recorded function it is one instruction for each call.

        >>> import pygradc
        >>> knots = [0.0, 10.0, 20.0]
        >>> pygradc.searchsorted(knots, 12.0), pygradc.searchsorted(knots, 10.0, side="right")
        (2, 2)
        >>> pygradc.compile(lambda x: pygradc.searchsorted(knots, x)).map([-1.0, 12.0]).tolist()
        [0.0, 2.0]

    Args:
        xs: Knots: sorted finite numbers, not Values.
        x: A number or a Value. nan comes after all knots.
        side: "left": the number of knots below x; "right": those equal to x count, too.
    Returns:
        An int from 0 to len(xs); in a recorded function, where x depends on an input or a
        parameter, a Value, which `take` takes as its index.
    Raises:
        ValueError: xs is empty, not sorted or not finite; or side is neither of the two.
        TypeError: xs has something else than numbers, or x isn't a number.
    Source: csrc/replay/tables.c.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', not {side!r}")
    found: Value | int = _search(_knots("searchsorted", xs), x, side == "right")
    return found


@overload
def interp(x: Value, xs: Sequence[Number], ys: Sequence[_Entry]) -> Value: ...
@overload
def interp(x: _Entry, xs: Sequence[Number], ys: Sequence[Value]) -> Value: ...
@overload
def interp(x: _Entry, xs: Sequence[Number], ys: Sequence[_Entry]) -> Value | float: ...
def interp(x: Any, xs: Sequence[Number], ys: Sequence[Any]) -> Any:
    """Linear interpolation in a table: ys[0] below xs[0], ys[-1] above xs[-1], as numpy's.

        >>> import pygradc
        >>> speed, drag = pygradc.Value(20.0), [1.0, 2.0, 6.0]
        >>> force = pygradc.interp(speed, [0.0, 10.0, 30.0], drag)
        >>> force.backward()
        >>> force.data, speed.grad
        (4.0, 0.2)

    The derivative by x is the slope of the segment: at a knot of the one that follows, and 0 below
    the first knot and from the last on. Those by the ys are the weights of the segment's two ends.

    Args:
        x: A number or a Value.
        xs: n knots: strictly increasing finite numbers, not Values.
        ys: n Values or numbers. If all are numbers, values have the bits of numpy's.
    Returns:
        A Value; a float if x and all ys are numbers. nan if x is.
    Raises:
        ValueError: xs is empty, not strictly increasing or not finite; or the lengths differ.
        TypeError: xs has something else than numbers, or x or one of ys isn't a number.
    """
    knots, ends = _knots("interp", xs), _entries("interp: ys", ys)
    if len(knots) != len(ends):
        raise ValueError(f"interp: {len(knots)} xs for {len(ends)} ys")
    for i, (before, after) in enumerate(zip(knots, knots[1:])):
        if before == after:
            raise ValueError(f"interp: xs[{i}] and xs[{i + 1}] are both {before!r}")
    x = _clamped(_number_or_value("interp: x", x), knots[0], knots[-1])
    segment = _search(knots[1:], x, True) if len(knots) > 1 else 0
    offset = x + take([-knot for knot in knots], segment)
    here, ahead = take(ends, segment), [*ends[1:], ends[-1]]  # the last segment is flat
    widths = [b - a for a, b in zip(knots, knots[1:])]
    if not any(isinstance(y, (Value, tracing.Condition)) for y in ends):
        rises = [(float(b) - float(a)) / w for a, b, w in zip(ends, ends[1:], widths)]
        return take([*rises, 0.0], segment) * offset + here
    weight = take([*(1.0 / width for width in widths), 0.0], segment) * offset
    return here + (take(ahead, segment) - here) * weight


# ---- tables -------------------------------------------------------------------------------------


def _entries(what: str, table: Any) -> list[Any]:
    """The entries, or rows of them, as a list.

    Raises:
        TypeError: they have no order, or there is no list.
        ValueError: there are none, entries are masked, or rows differ in length.
    """
    if type(table) is not list:
        if isinstance(table, (Mapping, Set, str, bytes)) or not hasattr(table, "__iter__"):
            raise TypeError(f"{what} must be a list, not {type(table).__name__}")
        refuse_masked(what, table)
        table = table.tolist() if isinstance(table, np.ndarray) else list(table)
    entries: list[Any] = table
    if not entries:
        raise ValueError(f"{what} is empty")
    if not core.all_exactly(entries, Value) and not core.all_exactly(entries, float):
        lengths = {len(row) if _is_row(row) else -1 for row in entries}
        if len(lengths) > 1:
            sizes = ", ".join(str(n) if n >= 0 else "no row" for n in sorted(lengths))
            raise ValueError(f"{what} has rows of different lengths: {sizes}")
    return entries


def _is_row(entry: Any) -> bool:
    return hasattr(entry, "__len__") and getattr(entry, "ndim", 1) > 0 and type(entry) is not str


def _take_traced(entries: list[Any], index: Value) -> Any:
    if _is_row(entries[0]):
        rows = [_entries("take: a row", row) for row in entries] if len(entries[0]) else entries
        return [_take_traced(list(column), index) for column in zip(*rows)]
    return core.trace_take(index, [tracing.as_value(entry) for entry in entries])


def _index_of(index: Any, count: int) -> int:
    if type(index) is int and 0 <= index < count:
        return index
    number = index.data if isinstance(index, Value) else as_number(index)
    if number is NotImplemented:
        raise TypeError(f"take: the index must be a number or a Value, not {type(index).__name__}")
    if not 0 <= number < count or number != int(number):
        raise IndexError(f"take: {no_index(number, count)}")
    return int(number)


# ---- knots --------------------------------------------------------------------------------------


def _knots(name: str, xs: Any) -> list[float]:
    """The knots as floats, checked to be sorted and finite."""
    knots = [_knot(name, x) for x in _entries(f"{name}: xs", xs)]
    for i, (before, after) in enumerate(zip(knots, knots[1:])):
        if before > after:
            raise ValueError(f"{name}: xs isn't sorted: {before!r} before xs[{i + 1}], {after!r}")
    for i, knot in enumerate(knots):
        if not math.isfinite(knot):
            raise ValueError(f"{name}: xs[{i}] is {knot!r}, not a finite number")
    return knots


def _knot(name: str, x: Any) -> float:
    number = NotImplemented if isinstance(x, Value) else as_number(x)
    if number is NotImplemented:
        raise TypeError(f"{name}: xs must be numbers, not {type(x).__name__}")
    return float(number)


def _number_or_value(what: str, x: Any) -> Any:
    """A Value, or a float."""
    if isinstance(x, Value):
        return x
    if isinstance(x, tracing.Condition):
        return tracing.as_value(x)
    number = as_number(x)
    if number is NotImplemented:
        raise TypeError(f"{what} must be a number or a Value, not {type(x).__name__}")
    return float(number)


def _search(knots: list[float], x: Any, right: bool) -> Any:
    x = _number_or_value("searchsorted: x", x)
    if core.tracing() and core.is_traced(x):
        return core.trace_search(x, [Value(knot) for knot in knots], right)
    number = x.data if isinstance(x, Value) else x
    if math.isnan(number):
        return len(knots)
    return (bisect_right if right else bisect_left)(knots, number)


def _clamped(x: Any, least: float, most: float) -> Any:
    """x, from the first knot to the last; nan stays."""
    if isinstance(x, Value):
        return tracing.minimum(tracing.maximum(x, least), most)
    return x if math.isnan(x) else min(max(x, least), most)
