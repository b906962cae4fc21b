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
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


class TraceError(TypeError):
    """A traced function asked for a number that only a replay has.

    The message names what was asked for, the op that made the Value, and the line.
    """


def _is_users(path: str) -> bool:
    if path.startswith((_HERE, _NUMPY, "<__array_function__")):
        return False
    return not path.startswith(_STANDARD) or "-packages" in path


def users_line() -> str:
    """The innermost line that isn't the library's, numpy's or of Python's own library."""
    frame: Any = sys._getframe(1)
    while frame is not None and not _is_users(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "unknown line"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


_KEYWORD = "what is the same for all rows can be passed as a keyword argument"
_CONVERTED = (
    "compute with the Value itself, which has exp(), log(), sqrt() and others for those of math "
    f"and numpy; {_KEYWORD}"
)
_AN_INDEX = (
    "pass the row of a table as an argument, f(table[i]), and what decides the shape as a keyword "
    "argument"
)
_CHANGED = "do this outside of recorded functions, between two calls"
_AFTER_BACKWARD = "call backward() on what the recorded function returns"
_EQUALS = (
    "a is b tells whether they are one object, and where((a <= b) & (a >= b), x, y) chooses where "
    "their numbers are equal"
)
_REMEDIES = {
    "bool()": "branch with pygradc.where(condition, a, b), maximum or minimum",
    "==": _EQUALS,
    "!=": _EQUALS,
    ".data": "compute with the Value itself, or with pygradc.detach(v) for v.data in an "
    f"expression: no gradient flows through it; {_KEYWORD}",
    ".grad": f"{_AFTER_BACKWARD}, and read gradients after that",
    "._local_grads": "write the derivative in Values' own operators",
    "float()": _CONVERTED,
    "int()": _CONVERTED,
    "round()": _CONVERTED,
    "math.trunc()": _CONVERTED,
    "math.floor()": _CONVERTED,
    "math.ceil()": _CONVERTED,
    "complex()": _CONVERTED,
    "an index or integer": _AN_INDEX,
    "a format": "return the Value as well, and format what comes back; print() and repr() work",
    "data()": f"stack the Values themselves, np.array(values); {_KEYWORD}",
    "grads()": f"{_AFTER_BACKWARD}, and read gradients after that",
    "a copy": "make the copy before, or use the Value itself",
    "a replay": "call the compiled function itself with this function's Values: it then becomes "
    "part of this one",
    "state_dict()": _CHANGED,
    "load_state_dict()": _CHANGED,
    "assigning .data": "compute a new Value",
    "assigning .grad": _CHANGED,
    "assigning ._backward": _CHANGED,
    "zero_grad()": _CHANGED,
    "clear_grads()": _CHANGED,
    "optimizer.step()": _CHANGED,
    "backward()": _AFTER_BACKWARD,
    "_backward()": _AFTER_BACKWARD,
}
_REMEDY = (
    "compute with the Value itself; where(), maximum and minimum choose, detach() stops gradients, "
    f"and {_KEYWORD}"
)


def fail(asked: str, made_by: str, remedy: str) -> NoReturn:
    raise TraceError(
        f"{users_line()}: {asked} of a Value made by {made_by} while a function is recorded: in it "
        f"a Value has no number, since that would be frozen into the program. Instead, {remedy}."
    )


def refuse(asked: str) -> None:
    """Raise if a function is being recorded: what is `asked` is not for that time.

    Raises:
        TraceError: one is.
    """
    if tracing():
        raise TraceError(
            f"{users_line()}: {asked} while a function is recorded: it would happen once, and not "
            f"at each replay. Instead, {_REMEDIES.get(asked, _CHANGED)}."
        )


def untraceable() -> NoReturn:
    raise TraceError(
        "a recorded function made a Value of given children, with a _backward closure or "
        "derivatives given by number: a program can't replay these. Write it in Values' own "
        "operators, or as a pygradc.op of these, or make it before the function is recorded."
    )


def _frozen(value: Value, asked: str) -> NoReturn:
    """The C type calls this when the number of a Value that has none is asked for."""
    role = Scalar._role(value)
    if role == "leftover":
        raise TraceError(
            f"{users_line()}: {asked} of a Value, {_made_by(value)!r}, that outlived the recording "
            "of a function from whose inputs it was computed: it never had a number. Instead, "
            "return it from the function, and keep what the call gives."
        )
    if asked.startswith("assigning") and not Scalar._is_traced(value):
        refuse(f"{asked} of a constant that something was computed from")
    made_by = {"input": "an input", "parameter": "a parameter"}.get(role, repr(value._op))
    if not (role or value._op):
        made_by = "a constant"
    fail(asked, made_by, _REMEDIES.get(asked, _REMEDY))


def _made_by(value: Value) -> str:
    """In a word what it is, or which op made it; '' for a constant."""
    role = Scalar._role(value)
    return role if role in ("input", "parameter") else value._op or ("input" if role else "")


def describe(value: Value) -> str:
    """The repr of a Value without a number."""
    where = "that was recorded" if Scalar._role(value) == "leftover" else "being recorded"
    label = f" {value.label!r}" if value.label else ""
    return f"Value({_made_by(value)}{label} of a function {where})"


_COMPARISONS = {  # rich comparison's number: the core's
    0: lib.PG_LESS,
    1: lib.PG_LESS_EQUAL,
    2: lib.PG_EQUAL,
    3: lib.PG_NOT_EQUAL,
    4: lib.PG_GREATER,
    5: lib.PG_GREATER_EQUAL,
}
_OPPOSITES = lib.PG_NOT_LESS - lib.PG_LESS
_EQUALITIES = lib.PG_EQUAL + lib.PG_NOT_EQUAL
_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def _opposite(kind: int) -> int:
    """What holds just where this comparison doesn't."""
    if kind >= lib.PG_EQUAL:
        return int(_EQUALITIES - kind)
    return int((kind + _OPPOSITES) % (2 * _OPPOSITES))


def _sign(kind: int) -> str:
    if kind >= lib.PG_EQUAL:
        return "==" if kind == lib.PG_EQUAL else "!="
    return str([*_SIGNS][kind % _OPPOSITES])


def _holds(kind: int, left: float, right: float) -> bool:
    if kind >= lib.PG_EQUAL:
        return (left == right) is bool(kind == lib.PG_EQUAL)
    return bool(_SIGNS[_sign(kind)](left, right)) is bool(kind < _OPPOSITES)


def _called(value: Value) -> str:
    return _made_by(value) or "leaf"


class Condition:
    """A comparison during a trace; `where` takes it, `&`, `|` and `~` combine it.

    Combined ones are comparisons too: of 1.0 or 0.0, which the first chose, with 0.5.
    """

    __slots__ = ("_kind", "_left", "_right", "_text")

    def __init__(self, kind: int, left: Value, right: Value, text: str = "") -> None:
        self._kind, self._left, self._right = kind, left, right
        self._text = text or f"{_called(left)} {_sign(kind)} {_called(right)}"

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
        return Condition(_opposite(self._kind), self._left, self._right, f"~({self._text})")

    def __bool__(self) -> bool:
        """Known only where constants that the function made decide."""
        if Scalar._is_traced(self._left) or Scalar._is_traced(self._right):
            fail("bool()", f"the comparison {self._text!r}", _REMEDIES["bool()"])
        return _holds(self._kind, self._left.data, self._right.data)

    def __hash__(self) -> int:
        return hash(bool(self))

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
    """The C type calls this for comparisons of Values during a trace."""
    return Condition(_COMPARISONS[comparison], _compared_as(left), _compared_as(right))


def _compared_as(x: Value | Number) -> Value:
    """A constant is compared as it is now: its data may be set before the condition is used.

    Those of nodes with operands can't be.
    """
    if not isinstance(x, Value):
        return Value(x)
    return x if x._children or Scalar._is_traced(x) else Value(x.data)


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
