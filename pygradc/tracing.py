"""Tracing: a function is run once on Values that stand for its inputs.

While a trace is under way, a Value that depends on an input has no number: asking for it would
freeze one row's answer into the program. Comparisons give a `Condition`, for `where`; everything
else that asks raises `TraceError`. What was there before the trace (parameters) has its numbers.
One trace runs at a time; the lock is held meanwhile. What other threads make in the meantime is as
if it had been there before.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from pygradc._core import lib
from pygradc._forks import in_child
from pygradc._scalar import Scalar
from pygradc.value import Number, Value

T = TypeVar("T")

_lock = threading.RLock()
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class TraceError(TypeError):
    """A traced function asked for a number that only a replay has.

    The message names what was asked for, the op that made the Value, and the line.
    """


def users_line() -> str:
    """The innermost line that isn't the library's."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    if frame is None:
        return "unknown line"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


_REMEDIES = {
    "bool()": "branch with pygradc.where(condition, a, b), maximum or minimum",
    "assigning .data": "compute a new Value",
    "backward()": "call backward() on what the recorded function returns",
}
_REMEDY = (
    "compute with the Value itself; where(), maximum and minimum choose, detach() stops gradients, "
    "and what is the same for all rows can be passed as a keyword argument"
)


def fail(asked: str, made_by: str, remedy: str) -> NoReturn:
    raise TraceError(
        f"{users_line()}: {asked} of a Value made by {made_by} while a function is recorded: it "
        f"depends on the function's inputs, so its number would be frozen into the program. "
        f"Instead, {remedy}."
    )


def untraceable() -> NoReturn:
    raise TraceError(
        "a recorded function made a Value of given children, with a _backward closure or "
        "derivatives given by number: a program can't replay these. Write it in Values' own "
        "operators, or as a pygradc.op of these, or make it before the function is recorded."
    )


def _frozen(value: Value, asked: str) -> NoReturn:
    """The C type calls this when a traced Value's number is asked for."""
    symbol = value._op
    fail(asked, f"{symbol!r}" if symbol else "an input", _REMEDIES.get(asked, _REMEDY))


_COMPARISONS = {  # rich comparison's number: the core's
    0: lib.PG_LESS,
    1: lib.PG_LESS_EQUAL,
    4: lib.PG_GREATER,
    5: lib.PG_GREATER_EQUAL,
}
_OPPOSITES = lib.PG_NOT_LESS - lib.PG_LESS
_SIGNS = ["<", "<=", ">", ">="]
_MEANINGS = [operator.lt, operator.le, operator.gt, operator.ge]


def _called(value: Value) -> str:
    return value._op or ("input" if Scalar._is_traced(value) else "leaf")


class Condition:
    """A comparison during a trace; `where` takes it, `&`, `|` and `~` combine it.

    Combined ones are comparisons too: of 1.0 or 0.0, which the first chose, with 0.5.
    """

    __slots__ = ("_kind", "_left", "_right", "_text")

    def __init__(self, kind: int, left: Value, right: Value, text: str = "") -> None:
        self._kind, self._left, self._right = kind, left, right
        sign = _SIGNS[kind % _OPPOSITES]
        self._text = text or f"{_called(left)} {sign} {_called(right)}"

    def _choose(self, a: Value, b: Value) -> Value:
        return Scalar._trace_select(self._kind, self._left, self._right, a, b)

    def _number(self) -> Value:
        return self._choose(Value(1.0), Value(0.0))

    def __and__(self, other: Condition | bool) -> Condition:
        second = _condition(other)
        both = self._choose(second._number(), Value(0.0))
        text = f"({self._text}) & ({second._text})"
        return Condition(lib.PG_GREATER, both, Value(0.5), text)

    def __or__(self, other: Condition | bool) -> Condition:
        second = _condition(other)
        either = self._choose(Value(1.0), second._number())
        text = f"({self._text}) | ({second._text})"
        return Condition(lib.PG_GREATER, either, Value(0.5), text)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Condition:
        opposite = (self._kind + _OPPOSITES) % (2 * _OPPOSITES)
        return Condition(opposite, self._left, self._right, f"~({self._text})")

    def __bool__(self) -> bool:
        """Known, and then frozen, only where no input decides."""
        if Scalar._is_traced(self._left) or Scalar._is_traced(self._right):
            fail("bool()", f"the comparison {self._text!r}", _REMEDIES["bool()"])
        opposite, kind = divmod(self._kind, _OPPOSITES)
        return bool(_MEANINGS[kind](self._left.data, self._right.data)) != bool(opposite)

    def __repr__(self) -> str:
        return f"Condition({self._text})"


def _condition(condition: Any) -> Condition:
    """A bool holds for all rows."""
    if isinstance(condition, Condition):
        return condition
    if not isinstance(condition, (bool, np.bool_)):
        raise TypeError(
            f"where: the condition must be a bool or a comparison, not {type(condition).__name__}"
        )
    return Condition(lib.PG_GREATER, Value(float(condition)), Value(0.5), str(condition))


def _compared(left: Value, comparison: int, right: Value | Number) -> Condition:
    """The C type calls this for <, <=, > and >= of Values during a trace."""
    return Condition(_COMPARISONS[comparison], _as_value(left), _as_value(right))


Scalar._adopt_trace(_frozen, _compared)


def _as_value(x: Value | Number) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _beside(x: Value | Number, other: Value | Number) -> Value:
    """x as a Value; a number beside what is detached counts as detached, as in an expression."""
    if isinstance(x, Value):
        return x
    leaf = Value(x)
    alone = isinstance(other, Value) and not tracing() and Scalar._is_detached(other)
    return Scalar._detach(leaf) if alone else leaf


# ---- functions for both worlds ------------------------------------------------------------------


def where(condition: Any, a: Value | Number, b: Value | Number) -> Value:
    """a where the condition holds, else b; both are computed, one gets the gradient.

    In a recorded function the one that isn't chosen can't fail the row. In eager code an op that is
    called raises before `where` is.

    Args:
        condition: A bool; or, in a recorded function, a comparison of Values.
        a, b: Values or numbers.
    Returns:
        A node with the operands a and b.
    Raises:
        TypeError: the condition is neither, or a or b isn't a number.
    """
    first, second = _beside(a, b), _beside(b, a)
    if tracing():
        return _condition(condition)._choose(first, second)
    if not isinstance(condition, (bool, np.bool_)):
        raise TypeError(
            f"where: the condition must be a bool or a comparison, not {type(condition).__name__}"
        )
    return Scalar._where(bool(condition), first, second)


def maximum(a: Value | Number, b: Value | Number) -> Value:
    """The larger of two; a tie goes to the first, nan if either is.

    Raises:
        TypeError: a or b isn't a number.
    """
    return _beside(a, b).maximum(b)


def minimum(a: Value | Number, b: Value | Number) -> Value:
    """The smaller of two; a tie goes to the first, nan if either is.

    Raises:
        TypeError: a or b isn't a number.
    """
    return _beside(a, b).minimum(b)


def detach(a: Value) -> Value:
    """The same number, through which no gradient flows.

    Its own gradient stays 0, and neither it nor what is made of such and of numbers only is asked
    for a derivative: `x / detach(m)` can't fail by the derivative by m.

    Raises:
        TypeError: a isn't a Value.
    """
    if not isinstance(a, Value):
        raise TypeError(f"detach: expected a Value, not {type(a).__name__}")
    return Scalar._trace_detach(a) if tracing() else Scalar._detach(a)


tracing = Scalar._tracing  # is a function being recorded, in this thread?


def trace(body: Callable[[], T]) -> T:
    """Call body as a trace, one at a time."""
    with _lock, np.errstate(all="ignore"):  # inputs are nan, which numpy would warn of
        _check_alone()
        return cast(T, Scalar._trace(body))


def _check_alone() -> None:
    """Could this thread begin a trace?

    Raises:
        TraceError: it is in one.
    """
    if tracing():
        raise TraceError(
            f"{users_line()}: a function can't be recorded while another one is. "
            "Call it without map, sum or mean: it then becomes part of the other one."
        )


def lock() -> threading.RLock:
    """What is held during a trace, and by who adds a program to those that there are."""
    return _lock


@in_child
def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


__all__ = ["Condition", "TraceError", "detach", "maximum", "minimum", "where"]
