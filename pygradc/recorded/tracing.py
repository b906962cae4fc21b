"""Tracing: a function is run once on Values that stand for its inputs.

Values that depend on inputs or parameters have no numbers meanwhile: comparing them gives a
`Condition`, for `where` and for arithmetic, and any other use of a number raises `TraceError`
(`core/refusals.py`).
One trace runs at a time, under a lock. Values that other threads make during the trace count as
existing before it.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, NoReturn, TypeVar, Union, cast

import numpy as np

from pygradc._core import lib
from pygradc.core import lines, refusals
from pygradc.core.forks import in_child
from pygradc.core.refusals import TraceError, fail, reject
from pygradc.core.scalar import core
from pygradc.recorded import bools
from pygradc.value import Number, Value

T = TypeVar("T")

_lock = threading.RLock()


_COMPARISONS = {  # Python's rich comparison opcode: the core's comparison
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
    """The negated comparison; nan included: `not <` is not `>=`."""
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
    return refusals.made_by(value) or "leaf"


Truth = Union[bool, np.bool_]  # to type checkers, a Condition is a bool: as eager code's is
_Made = Union[tuple[str, "Condition", "Condition"], str, None]  # sign and parts, if combined


class Condition(bools.LikeBool):
    """A comparison during a trace: a bool that may differ from row to row.

    `where` takes it, `&`, `|`, `^` and `~` combine it, and in arithmetic it is 1.0 or 0.0, without
    gradient. A combination is again a comparison: of 1.0 or 0.0, selected by the first operand,
    with 0.5. A Condition is valid only in the recording that made it. The result of `~` is for
    `where` only: as a number, Python's would be -2 or -1.
    """

    __slots__ = (
        "_as_number", "_inverted", "_kind", "_left", "_made", "_place", "_recording", "_right"
    )  # fmt: skip

    def __init__(self, kind: int, left: Value, right: Value, made: _Made = None) -> None:
        self._kind, self._left, self._right = kind, left, right
        self._made, self._place = made, lines.here()
        self._recording = refusals.current()
        self._as_number: Value | None = None
        self._inverted = False

    def _text(self) -> str:
        """The source text; if there is no source, what was compared."""
        return lines.quoted(self._place) or self._spelled(3)

    def _spelled(self, depth: int) -> str:
        if isinstance(self._made, str):
            return self._made
        if self._made is None:
            return f"{_called(self._left)} {_sign(self._kind)} {_called(self._right)}"
        if depth == 0:
            return "..."
        sign, *parts = self._made
        texts = [f"({part._spelled(depth - 1)})" for part in parts]
        return f"~{texts[0]}" if sign == "~" else f" {sign} ".join(texts)

    def _require_use(self) -> None:
        if self._recording != refusals.current() or not core.tracing():
            quote = lines.quoted(lines.here())
            reject(
                f"the comparison {self._text()!r} is used outside of the recording "
                f"that made it{f', in {quote!r}' if quote else ''}: it has a truth value only in "
                "the rows of that program. Instead, compare again where it is needed, and keep "
                "neither a comparison nor an object that caches one.",
                of_this_trace=self._recording == refusals.current(),
            )

    def _ask(self, asked: str) -> bool:
        """The truth value, which becomes part of the program; known for constants only."""
        self._require_use()
        if core.is_traced(self._left) or core.is_traced(self._right):
            remedy = refusals.REMEDIES.get(asked, _CONDITIONS_REMEDY)
            fail(asked, f"the comparison {self._text()!r}", remedy)
        self._require_number()
        return _holds(self._kind, self._left.data, self._right.data)

    def _choose(self, a: Value, b: Value) -> Value:
        self._require_use()
        return core.trace_select(self._kind, self._left, self._right, a, b)

    # ---- arithmetic

    def _require_number(self) -> None:
        self._require_use()
        if self._inverted:
            reject(
                f"arithmetic with {self._text()!r}: in Python ~True is -2. "
                "Instead, negate with pygradc.logical_not."
            )

    def _number(self) -> Value:
        """1.0 or 0.0, as a Value; also called by the C type."""
        self._require_number()
        return self._one_or_zero()

    def _one_or_zero(self) -> Value:
        """The same Value each time; the Condition keeps it alive."""
        self._require_use()
        if self._as_number is None:
            self._as_number = self._choose(Value(1.0), Value(0.0))
        return self._as_number

    def _between(self, yes: Any, no: Any) -> Value:
        return self._choose(as_value(yes), as_value(no))

    def _fails_where(self, flag: bool) -> Value:
        return (self._opposite() if flag else self)._one_or_zero() ** -1

    # ---- combinations

    def _combined(self, number: Value, sign: str, other: Condition) -> Condition:
        found = Condition(lib.PG_GREATER, number, Value(0.5), (sign, self, other))
        found._inverted = self._inverted or other._inverted
        return found

    def __and__(self, other: Any) -> Any:
        if not _is_condition(other):
            return super().__and__(other)  # type: ignore[misc]
        second = _condition(other)
        return self._combined(self._choose(second._one_or_zero(), Value(0.0)), "&", second)

    def __or__(self, other: Any) -> Any:
        if not _is_condition(other):
            return super().__or__(other)  # type: ignore[misc]
        second = _condition(other)
        return self._combined(self._choose(Value(1.0), second._one_or_zero()), "|", second)

    def __xor__(self, other: Any) -> Any:
        if not _is_condition(other):
            return super().__xor__(other)  # type: ignore[misc]
        second = _condition(other)
        chosen = self._choose(second._opposite()._one_or_zero(), second._one_or_zero())
        return self._combined(chosen, "^", second)

    def __rand__(self, other: Any) -> Any:
        """The left operand selects: `False & x` doesn't depend on x."""
        if not _is_condition(other):
            return super().__rand__(other)  # type: ignore[misc]
        return _condition(other) & self

    def __ror__(self, other: Any) -> Any:
        if not _is_condition(other):
            return super().__ror__(other)  # type: ignore[misc]
        return _condition(other) | self

    __rxor__ = __xor__

    def _opposite(self) -> Condition:
        self._require_use()
        kind = _opposite(self._kind)
        found = Condition(kind, self._left, self._right, ("~", self, self))
        found._inverted = self._inverted
        return found

    def __invert__(self) -> Condition:
        found = self._opposite()
        found._inverted = True
        return found

    # ---- conversions that need the truth value

    def _same(self, other: Any, comparison: str) -> Any:
        beside = (
            "" if isinstance(other, Condition) else ", and v != 0 makes a comparison of a Value"
        )
        fail(
            comparison,
            f"the comparison {self._text()!r}",
            "a ^ b holds where two comparisons differ, pygradc.logical_not(a ^ b) where they agree"
            + beside,
        )

    def __bool__(self) -> bool:
        return self._ask("bool()")

    def __float__(self) -> float:
        return float(self._ask("float()"))

    def __int__(self) -> int:
        return int(self._ask("int()"))

    def __index__(self) -> int:
        return int(self._ask("an index"))

    def __round__(self, digits: Any = None) -> int:
        return round(self._ask("round()"), digits)

    def __complex__(self) -> complex:
        return complex(self._ask("complex()"))

    def __hash__(self) -> int:
        return hash(self._ask("hash()"))

    def __format__(self, spec: str) -> str:
        return format(self._ask("a format"), spec) if spec else repr(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._require_use()
        fail("a copy", f"the comparison {self._text()!r}", _CONDITIONS_REMEDY)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(bool, name):
            raise AttributeError(f"'Condition' object has no attribute {name!r}")
        return getattr(self._ask(f".{name}"), name)

    def _refuse_number(self) -> None:
        """Called by the C type where a plain number is required."""
        self._ask("a plain number")
        raise TypeError(f"expected a plain number, not {self!r}")

    def __repr__(self) -> str:
        return f"Condition({self._text()})"


for _name in dir(bools.LikeBool) + list(vars(Condition)):  # tracebacks end in the user's code
    _function = getattr(Condition, _name)
    if isinstance(_function, FunctionType) and _name != "__init__":
        setattr(Condition, _name, core.frameless(_function))

_CONDITIONS_REMEDY = (
    "choose with pygradc.where(condition, a, b), or compute with it: in arithmetic it is 1.0 or 0.0"
)
_COMBINING = (
    "to negate or to combine conditions, write pygradc.logical_not, logical_and and logical_or"
)


def _is_condition(x: Any) -> bool:
    return isinstance(x, (Condition, bool, np.bool_))


def _no_condition(what: str, x: Any) -> NoReturn:
    beside = " (write v > 0.5, or v != 0)" if isinstance(x, Value) else ""
    raise TypeError(
        f"{what} must be a bool or a comparison, not {type(x).__name__}{beside}; {_COMBINING}"
    )


def _condition(condition: Any) -> Condition:
    """As a Condition; a bool is the same for all rows."""
    if isinstance(condition, Condition):
        return condition
    if not _is_condition(condition):
        _no_condition("where: the condition", condition)
    return Condition(lib.PG_GREATER, Value(float(condition)), Value(0.5), str(condition))


def _compared(left: Value, comparison: int, right: Value | Number) -> Condition:
    """Called by the C type for comparisons of Values during a trace."""
    return Condition(_COMPARISONS[comparison], _compared_as(left), _compared_as(right))


def _compared_as(x: Value | Number) -> Value:
    """An operand of a comparison; a constant is copied, since its data may be set before use.

    The data of nodes with operands can't be set.
    """
    if not isinstance(x, Value):
        return as_value(x)
    return x if x._children or core.is_traced(x) else Value(x.data)


core.adopt_trace(
    refusals.frozen, _compared, Condition, refusals.value_again, refusals.note_untraceable
)


def as_value(x: Any) -> Value:
    """As a Value; a Condition as 1.0 or 0.0."""
    if isinstance(x, Value):
        return x
    return x._number() if isinstance(x, Condition) else Value(x)


def beside(x: Value | Number, other: Value | Number) -> Value:
    """x as a Value; a number is detached if the other operand is, as in an expression."""
    if isinstance(x, (Value, Condition)):
        return as_value(x)
    leaf = Value(x)
    alone = isinstance(other, Value) and not core.tracing() and core.is_detached(other)
    return core.detach(leaf) if alone else leaf


# ---- functions for eager and recorded code ------------------------------------------------------


def where(condition: Truth, a: Value | Number, b: Value | Number) -> Value:
    """a where the condition holds, else b; both are computed, one gets the gradient.

        >>> import pygradc
        >>> leaky = pygradc.compile(lambda x: pygradc.where(x > 0, x, 0.1 * x))
        >>> leaky.map([2.0, -2.0]).tolist()
        [2.0, -0.2]

    In a recorded function the branch that isn't selected can't fail the row. In eager code an op
    raises when it is called, before `where` is.

    Args:
        condition: A bool; or, in a recorded function, a comparison of Values.
        a, b: Values or numbers.
    Returns:
        A node with the operands a and b.
    Raises:
        TypeError: the condition isn't one of these, or a or b isn't a number.
    """
    first, second = beside(a, b), beside(b, a)
    if core.tracing():
        return _condition(condition)._choose(first, second)
    if isinstance(condition, Condition):
        condition._require_use()
    if not _is_condition(condition):
        _no_condition("where: the condition", condition)
    return core.where(bool(condition), first, second)


def logical_not(condition: Truth) -> bool:
    """`not`, for eager and recorded functions alike.

    In a recording a comparison has no truth value yet, which `not` would need; and `~`, which works
    there, is -2 for Python's True.

        >>> import pygradc
        >>> size = pygradc.compile(lambda x: pygradc.where(pygradc.logical_not(x > 0), -x, x))
        >>> size.map([-2.0, 2.0]).tolist()
        [2.0, 2.0]

    Args:
        condition: A bool; or, in a recorded function, a comparison of Values.
    Returns:
        A bool; for a comparison of a recorded function, a condition for `where`.
    Raises:
        TypeError: the condition isn't one of these.
    """
    _require_conditions("logical_not", (condition,))
    return condition._opposite() if isinstance(condition, Condition) else not condition


def logical_and(*conditions: Truth) -> bool:
    """Do all hold? `and`, or `all`, for eager and recorded functions alike.

        >>> import pygradc
        >>> inside = pygradc.compile(lambda x: pygradc.logical_and(0 < x, x < 1))
        >>> inside.map([-0.5, 0.5, 1.5]).tolist()
        [0.0, 1.0, 0.0]

    Args:
        conditions: Bools; in a recorded function also comparisons of Values. None at all: True.
    Returns:
        A bool; for comparisons of a recorded function, a condition for `where`. All of them are
        computed; a row in which an earlier one doesn't hold can't be failed by a later one.
    Raises:
        TypeError: one isn't a bool or a comparison.
    """
    _require_conditions("logical_and", conditions)
    found: Any = True
    for condition in reversed(conditions):  # the first one is the outermost selection
        if not isinstance(condition, Condition):
            found = found if condition else False
        elif found is not False:
            found = condition if found is True else condition & found
    return cast(bool, found)


def logical_or(*conditions: Truth) -> bool:
    """Does any hold? `or`, or `any`, for eager and recorded functions alike.

        >>> import pygradc
        >>> outside = pygradc.compile(lambda x: pygradc.logical_or(x < 0, x > 1))
        >>> outside.map([-0.5, 0.5, 1.5]).tolist()
        [1.0, 0.0, 1.0]

    Args:
        conditions: Bools; in a recorded function also comparisons of Values. None at all: False.
    Returns:
        A bool; for comparisons of a recorded function, a condition for `where`. All of them are
        computed; a row in which an earlier one holds can't be failed by a later one.
    Raises:
        TypeError: one isn't a bool or a comparison.
    """
    _require_conditions("logical_or", conditions)
    found: Any = False
    for condition in reversed(conditions):
        if not isinstance(condition, Condition):
            found = True if condition else found
        elif found is not True:
            found = condition if found is False else condition | found
    return cast(bool, found)


def _require_conditions(name: str, conditions: tuple[Any, ...]) -> None:
    for i, condition in enumerate(conditions):
        if isinstance(condition, Condition):
            condition._require_use()
        elif not _is_condition(condition):
            _no_condition(f"{name}: operand {i}", condition)


def maximum(a: Value | Number, b: Value | Number) -> Value:
    """The larger of two; a tie goes to the first, nan if either is.

        >>> import pygradc
        >>> a, b = pygradc.Value(2.0), pygradc.Value(3.0)
        >>> pygradc.maximum(a, b).backward()
        >>> a.grad, b.grad
        (0.0, 1.0)

    Raises:
        TypeError: a or b isn't a number.
    """
    return beside(a, b).maximum(b)


def minimum(a: Value | Number, b: Value | Number) -> Value:
    """The smaller of two; a tie goes to the first, nan if either is.

        >>> import pygradc
        >>> a, b = pygradc.Value(2.0), pygradc.Value(3.0)
        >>> pygradc.minimum(a, b).backward()
        >>> a.grad, b.grad
        (1.0, 0.0)

    Raises:
        TypeError: a or b isn't a number.
    """
    return beside(a, b).minimum(b)


def detach(a: Value) -> Value:
    """The same number, through which no gradient flows.

        >>> import pygradc
        >>> x = pygradc.Value(3.0)
        >>> (x * pygradc.detach(x)).backward()
        >>> x.grad
        3.0

    Its own gradient stays 0. No derivative is computed with respect to it, or to what is computed
    from detached Values and numbers only: the derivative of `x / detach(m)` with respect to m can't
    fail.

    Raises:
        TypeError: a isn't a Value.
    """
    if not isinstance(a, Value):
        raise TypeError(f"detach: expected a Value, not {type(a).__name__}")
    return core.trace_detach(a) if core.tracing() else core.detach(a)


def trace(body: Callable[[], T]) -> T:
    """Call body as a trace, one at a time; the traceback of a TraceError ends in user code."""
    return alone(lambda: _trace(body))


def _trace(body: Callable[[], T]) -> T:
    _check_alone()
    refusals.begin_recording()
    try:
        with np.errstate(all="ignore"):  # inputs are nan, which numpy would warn about
            return cast(T, core.trace(body))
    except TraceError as error:
        lines.end_at_users_frame(error)
        raise
    except (TypeError, IndexError) as error:
        remedy = next((r for text, r in _NUMPYS_REFUSALS if str(error).startswith(text)), "")
        if not remedy:
            raise
        refusal = TraceError(
            f"{lines.line_of(error)}: {error}, while a function is recorded: Values have "
            f"no numbers then, which numpy's functions need. Instead, {remedy}."
        )
        refusal.__traceback__ = error.__traceback__
        lines.end_at_users_frame(refusal)
        raise refusal from None
    finally:
        refusals.end_recording()


_MASKED = (
    "choose for each element: [pygradc.where(x > 0, x, 0.0) for x in row], or multiply by the "
    "comparison, which is 1 or 0"
)
_NUMPYS_REFUSALS = (
    ("ufunc '", refusals.CONVERTED),  # a ufunc without a loop for objects
    ("loop of ufunc ", refusals.CONVERTED),  # the object loop finds no method of that name
    ("arrays used as indices must be of integer", _MASKED),  # an array of Conditions as a mask
    ("invalid entry 0 in condlist", _MASKED),  # np.select's
    ("Cannot cast array data from dtype('O') to dtype('bool')", _MASKED),  # np.sum's where=
    ("Cannot cast array data from dtype('O')", refusals.AN_INDEX),  # np.choose's
)


def _check_alone() -> None:
    """Require that this thread isn't in a trace.

    Raises:
        TraceError: it is.
    """
    if core.tracing():
        reject(
            "a function can't be recorded while another one is. "
            "Call it without map, sum or mean: it is then inlined into the other one."
        )


def alone(body: Callable[[], T]) -> T:
    """Call body, a trace or an update of the cached programs, holding the tracing lock.

    Raises:
        TraceError: the thread that holds the lock waits for other threads, perhaps for this one: a
            deadlock.
    """
    last: tuple[int, int] | None = None

    def complain() -> None:
        nonlocal last
        before, last = last, _waits_at(_holder)
        if last is not None and last == before:
            raise TraceError(
                f"{lines.line_of_thread(_holder)}: this waits for other threads while a function "
                "is recorded, and one of these waits to record a function: a deadlock. Instead, "
                "call that function once before, or in this thread."
            )

    def call() -> T:
        global _holder
        _holder = threading.get_ident()
        return body()

    return cast(T, core.call_holding(_lock, _PATIENCE, complain, call))


_PATIENCE = 1.0  # seconds
_holder = 0  # the thread that acquired the lock last


def _waits_at(thread: int) -> tuple[int, int] | None:
    """The frame and instruction at which it waits in `threading`; None if it doesn't."""
    frame = sys._current_frames().get(thread)
    if frame is None or frame.f_code.co_filename != threading.__file__:
        return None
    return id(frame), frame.f_lasti


@in_child
def _renew_lock() -> None:
    global _holder, _lock
    _holder, _lock = 0, threading.RLock()
