"""Tracing: a function is run once on Values that stand for its inputs.

While a trace is under way, a Value that depends on an input has no number: asking for it would
freeze one row's answer into the program. Comparisons give a `Condition`, for `where`; everything
else that asks raises `TraceError`. What was there before the trace (parameters) has its numbers.
One trace runs at a time; the lock is held meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from pygradc._core import lib
from pygradc._scalar import Scalar
from pygradc.value import Number, Value

_lock = threading.RLock()
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class TraceError(TypeError):
    """A traced function asked for a number that only a replay has.

    The message names what was asked for, the op that made the Value, and the line.
    """


def _users_line() -> str:
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
        f"{_users_line()}: {asked} of a Value made by {made_by} while a function is recorded: it "
        f"depends on the function's inputs, so its number would be frozen into the program. "
        f"Instead, {remedy}."
    )


def untraceable() -> NoReturn:
    raise TraceError(
        "a recorded function made a Value of given children, with a _backward closure or "
        "derivatives given by number: a program can't replay these. Write it in Values' own "
        "operators, or make it before the function is recorded."
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


_Choice = Callable[[Value, Value, bool], Value]


class Condition:
    """A comparison during a trace; `where` takes it, `&`, `|` and `~` combine it.

    It holds a function (a, b, negated) that gives a where it holds, else b; or the other way round,
    with a still the first operand, since gradients are summed in the operands' order.
    """

    __slots__ = ("_choose", "_text")

    def __init__(self, choose: _Choice, text: str) -> None:
        self._choose = choose
        self._text = text

    def _joined(self, other: Any, every: bool) -> Condition:
        """Both, or either; negated, either's opposite or both."""
        second = _condition(other)

        def choose(a: Value, b: Value, negated: bool) -> Value:
            inner = second._choose(a, b, negated)
            first = (inner, b) if every != negated else (a, inner)
            return self._choose(*first, negated)

        return Condition(choose, f"({self._text}) {'&' if every else '|'} ({second._text})")

    def __and__(self, other: Condition | bool) -> Condition:
        return self._joined(other, every=True)

    def __or__(self, other: Condition | bool) -> Condition:
        return self._joined(other, every=False)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Condition:
        return Condition(lambda a, b, negated: self._choose(a, b, not negated), f"~({self._text})")

    def __bool__(self) -> bool:
        fail("bool()", f"the comparison {self._text!r}", _REMEDIES["bool()"])

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
    yes, half = Value(float(condition)), Value(0.5)
    return _compared(yes, _GREATER, half)


_GREATER = 4


def _compared(left: Value, comparison: int, right: Value | Number) -> Condition:
    """The C type calls this for <, <=, > and >= of traced Values."""
    kind = _COMPARISONS[comparison]
    first, second = _as_value(left), _as_value(right)

    def choose(a: Value, b: Value, negated: bool) -> Value:
        return Scalar._trace_select(kind + negated * _OPPOSITES, first, second, a, b)

    return Condition(choose, f"{first._op or 'input'} {_SIGNS[kind]} {second._op or 'leaf'}")


Scalar._adopt_trace(_frozen, _compared)


def _as_value(x: Value | Number) -> Value:
    return x if isinstance(x, Value) else Value(x)


# ---- functions for both worlds ------------------------------------------------------------------


def where(condition: Any, a: Value | Number, b: Value | Number) -> Value:
    """a where the condition holds, else b; both are computed, one gets the gradient.

    Args:
        condition: A bool; or, in a recorded function, a comparison of Values.
        a, b: Values or numbers.
    Returns:
        A node with the operands a and b.
    Raises:
        TypeError: the condition is neither, or a or b isn't a number.
    """
    first, second = _as_value(a), _as_value(b)
    if tracing():
        return _condition(condition)._choose(first, second, False)
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
    return _as_value(a).maximum(b)


def minimum(a: Value | Number, b: Value | Number) -> Value:
    """The smaller of two; a tie goes to the first, nan if either is.

    Raises:
        TypeError: a or b isn't a number.
    """
    return _as_value(a).minimum(b)


def detach(a: Value) -> Value:
    """The same number, through which no gradient flows.

    Raises:
        TypeError: a isn't a Value.
    """
    if not isinstance(a, Value):
        raise TypeError(f"detach: expected a Value, not {type(a).__name__}")
    return Scalar._trace_detach(a) if tracing() else Value(a.data)


_active = False


def tracing() -> bool:
    """Is a function being recorded, in this thread?"""
    return _active and _owner == threading.get_ident()


_owner = 0


@contextmanager
def trace() -> Iterator[None]:
    """A trace, one at a time."""
    global _active, _owner
    with _lock, np.errstate(all="ignore"):  # inputs are nan, which numpy would warn of
        if _active:
            raise TraceError(
                f"{_users_line()}: a function can't be recorded while another one is. "
                "Call it without map, sum or mean: it then becomes part of the other one."
            )
        Scalar._trace_begin()
        _active, _owner = True, threading.get_ident()
        try:
            yield
        finally:
            _active = False
            Scalar._trace_end()


__all__ = ["Condition", "TraceError", "detach", "maximum", "minimum", "where"]
