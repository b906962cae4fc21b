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
_SIGNS = ["<", "<=", ">", ">="]


class Condition:
    """A comparison during a trace; `where` takes it, `&`, `|` and `~` combine it."""

    __slots__ = ("_choose", "_text")

    def __init__(self, choose: Callable[[Value, Value], Value], text: str) -> None:
        self._choose = choose
        self._text = text

    def __and__(self, other: Condition | bool) -> Condition:
        both = _condition(other)
        return Condition(
            lambda a, b: self._choose(both._choose(a, b), b), f"({self._text}) & ({both._text})"
        )

    def __or__(self, other: Condition | bool) -> Condition:
        either = _condition(other)
        return Condition(
            lambda a, b: self._choose(a, either._choose(a, b)), f"({self._text}) | ({either._text})"
        )

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Condition:
        return Condition(lambda a, b: self._choose(b, a), f"~({self._text})")

    def __bool__(self) -> bool:
        fail("bool()", f"the comparison {self._text!r}", _REMEDIES["bool()"])

    def __repr__(self) -> str:
        return f"Condition({self._text})"


def _condition(condition: Any) -> Condition:
    if isinstance(condition, Condition):
        return condition
    chosen = bool(condition)
    return Condition(lambda a, b: a if chosen else b, str(chosen))


def _compared(left: Value, comparison: int, right: Value | Number) -> Condition:
    """The C type calls this for <, <=, > and >= of traced Values."""
    kind = _COMPARISONS[comparison]
    first, second = _as_value(left), _as_value(right)

    def choose(a: Value, b: Value) -> Value:
        return Scalar._trace_select(kind, first, second, a, b)

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
    if isinstance(condition, Condition):
        return condition._choose(first, second)
    if isinstance(condition, Value) or not hasattr(condition, "__bool__"):
        raise TypeError(
            f"where: the condition must be a bool or a comparison, not {type(condition).__name__}"
        )
    chosen = bool(condition)
    if tracing():
        yes, half = Value(1.0 if chosen else 0.0), Value(0.5)
        return Scalar._trace_select(lib.PG_GREATER, yes, half, first, second)
    data = first.data if chosen else second.data
    return Value(data, (first, second), (1.0, 0.0) if chosen else (0.0, 1.0))


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
    with _lock:
        Scalar._trace_begin()
        _active, _owner = True, threading.get_ident()
        try:
            yield
        finally:
            _active = False
            Scalar._trace_end()


__all__ = ["Condition", "TraceError", "detach", "maximum", "minimum", "where"]
