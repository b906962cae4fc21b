"""Status codes of the core as exceptions, for eager code; replays have `Program._fail`.

The types are those that Python's float raises; the message names the op and its operands.
Source of the statuses: csrc/pygradc.h.
"""

from __future__ import annotations

from typing import NoReturn

from pygradc._core import lib
from pygradc.core.ops import ROWS
from pygradc.core.refusals import untraceable


def _call(op: int, a: float, b: float) -> str:
    """The op that failed, in the user's notation."""
    row = ROWS[op - 1]
    if row.name == "pown" and b == -1.0:  # a / b is a * b ** -1.0
        return f"division by {a!r}, {a!r} ** -1.0"
    if row.symbol.startswith("**"):
        return f"{a!r} ** {b!r}"
    name = row.symbol if row.name.startswith("_") else row.name
    return f"{name}({a!r})" if len(row.intervals) == 1 else f"{name}({a!r}, {b!r})"


def _where(op: int, derivative: int, a: float, b: float) -> str:
    call = _call(op, a, b)
    if not derivative:
        return call
    if ROWS[op - 1].name == "pown" and b == -1.0:
        return f"derivative of {call} with respect to its second operand, the divisor"
    operand = "second" if derivative == 2 else "first"
    return f"derivative of {call} with respect to its {operand} operand"


def no_index(index: float, count: int) -> str:
    """What is wrong with this index into a table of count entries."""
    if index < 0.0:
        return f"index {index!r} is negative: a table of {count} has 0 to {count - 1}"
    if index >= count:
        return f"index {index!r} is out of range for a table of {count}, 0 to {count - 1}"
    return f"index {index!r} is no whole number: a table of {count} has 0 to {count - 1}"


def describe(status: int, op: int, derivative: int, a: float, b: float) -> str:
    """The error message: the op, its operands and what went wrong."""
    if op > len(ROWS):  # of the instructions that are no ops, only take fails
        return f"take: {no_index(a, int(b))}"
    where = _where(op, derivative, a, b)
    if status == lib.PG_ERR_DOMAIN:
        return f"{where}: outside the real domain"
    if status == lib.PG_ERR_ZERO_DIVISION:
        return f"{where}: division by zero"
    return f"{where}: result too large"


_TYPES = {
    lib.PG_ERR_DOMAIN: ValueError,
    lib.PG_ERR_ZERO_DIVISION: ZeroDivisionError,
    lib.PG_ERR_OVERFLOW: OverflowError,
}


def fail(status: int, op: int, derivative: int, a: float, b: float) -> NoReturn:
    """Raise the exception for this status of the core."""
    if status == lib.PG_ERR_LIMIT:
        raise OverflowError("the graph is full: at most 2**31 - 1 nodes, 2**32 uses of each")
    if status == lib.PG_ERR_BAD_NODE:
        raise RuntimeError("a Value was freed while its number was being read")
    if status == lib.PG_ERR_UNTRACEABLE:
        untraceable()
    if status not in _TYPES:
        raise SystemError(f"the core returned status {status}")
    raise _TYPES[status](describe(status, op, derivative, a, b))
