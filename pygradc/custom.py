"""Custom ops: a forward function and its derivatives, without a closure for each node.

An op is examined when it is first called with so many operands: its rule, both functions, is run
once on symbols, as a recording would. If all it does are Values' ops, the rule is *symbolic*: from
then on both functions get Values, here and in recordings, so that a program has the op's bits. If
not (`math.sin(a)`, `if a > 0`), both get floats, and a recording refuses the op and says why.
Source: csrc/python/scalar_custom.c; in programs the instruction `custom` of csrc/replay.c.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any, Union, overload

from pygradc import tracing
from pygradc._instances import Beside, name_in
from pygradc._scalar import Scalar
from pygradc.value import Number, Value

Derivatives = Union[Callable[..., Any], Sequence[Callable[..., Any]]]
_Rule = tuple["Op", str, Callable[..., Any], Callable[..., Any], bool]


class Op:
    """A custom op; made by `op`, and called with Values and numbers."""

    def __init__(
        self, forward: Callable[..., Any], derivatives: Derivatives, name: str | None
    ) -> None:
        functools.update_wrapper(self, forward)
        self.__qualname__: str = getattr(forward, "__qualname__", "op")
        self.name = name if name is not None else getattr(forward, "__name__", "op")
        self._forward = forward
        self._given = derivatives if callable(derivatives) else tuple(derivatives)
        self._derivatives = _as_one(self._given)
        self._rules: dict[int, _Rule] = {}  # by the number of operands
        self._reasons: dict[int, str] = {}  # why it can't be recorded
        self._at = Beside()  # for each instance that it is a method of, what was found out

    def _passes_instance(self) -> bool:
        """Do the derivatives of a method take the instance, as forward does?"""
        each = (self._given,) if callable(self._given) else self._given
        return all(_positional(function) > _positional(self._forward) for function in each)

    def __call__(self, *operands: Value | Number) -> Value:
        rule = self._rules.get(len(operands)) or self._examine(len(operands))
        if tracing.tracing():
            return self._record(rule, operands)
        return Scalar._apply(rule, operands)

    def _rule(self, count: int) -> _Rule:
        """What its nodes with so many operands are tagged with."""
        return self._rules[count] if count in self._rules else self._examine(count)

    def _count(self, rule: _Rule) -> int:
        return next(count for count, one in self._rules.items() if one is rule)

    def _examine(self, count: int) -> _Rule:
        if count == 0:
            raise TypeError(f"op {self.name!r} needs at least one operand")

        def body() -> None:
            try:
                self._trace(tuple(Scalar._trace_input() for _ in range(count)))
            except MemoryError:
                raise
            except Exception as reason:
                self._reasons[count] = str(reason) or type(reason).__name__

        if tracing.tracing():
            body()
        else:
            tracing.trace(body)
        symbolic = count not in self._reasons
        rule = (self, self.name, self._forward, self._derivatives, symbolic)
        return self._rules.setdefault(count, rule)

    def _trace(self, operands: tuple[Value, ...]) -> tuple[Value, tuple[Value, ...]]:
        """The value and the derivatives in Values' ops."""
        with _strictly():
            y = _as_value(self._forward(*operands))
            found = self._derivatives(*operands, y)
        slopes = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(slopes) != len(operands):
            raise ValueError(f"{len(slopes)} derivatives for {len(operands)} operands")
        return y, tuple(map(_as_value, slopes))

    def _record(self, rule: _Rule, operands: tuple[Value | Number, ...]) -> Value:
        if len(operands) in self._reasons:
            raise tracing.TraceError(
                f"{tracing.users_line()}: op {self.name!r} can't be recorded, since its rule is "
                f"not written in Values' ops: {self._reasons[len(operands)]}"
            )
        values = tuple(map(_as_value, operands))
        y, slopes = self._trace(values)
        given = [i for i, operand in enumerate(operands) if isinstance(operand, Value)]
        if not given:
            return y
        return Scalar._trace_custom(rule, y, [values[i] for i in given], [slopes[i] for i in given])

    def __get__(self, instance: Any, owner: Any = None) -> Op:
        """As a method: forward gets the instance first, and so do derivatives that take it."""
        if instance is None or not hasattr(type(self._forward), "__get__"):
            return self
        return _Method(self, instance)

    def __reduce__(self) -> Any:
        """Pickles and copies as a function does: by its name in its module."""
        return str(self.__qualname__)

    def __repr__(self) -> str:
        return f"<op {self.name!r}>"


class _Method(Op):
    """An op of an instance's own: made anew at each look-up.

    What kind of op it is, was found out for the instance, and is kept beside it.
    """

    def __init__(self, op: Op, instance: Any) -> None:
        forward: Callable[..., Any] = MethodType(op._forward, instance)
        derivatives = op._derivatives
        if op._passes_instance():
            derivatives = functools.partial(derivatives, instance)
        super().__init__(forward, derivatives, op.name)
        self._op, self._instance = op, instance
        self._known, self._reasons = op._at.of(instance, _nothing_known)
        for count, symbolic in self._known.items():
            self._rules[count] = (self, self.name, forward, derivatives, symbolic)

    def __call__(self, *operands: Value | Number) -> Value:
        try:
            return super().__call__(*operands)
        finally:
            self._known.update((count, rule[-1]) for count, rule in self._rules.items())

    def __get__(self, instance: Any, owner: Any = None) -> Op:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Method):
            return False
        return self._op is other._op and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._op), id(self._instance)))

    def __reduce__(self) -> Any:
        name = name_in(self._instance, self._op)
        if name is not None:
            return getattr, (self._instance, name)
        return _Method, (self._op, self._instance)


def _nothing_known() -> tuple[dict[int, bool], dict[int, str]]:
    return {}, {}


def _positional(function: Callable[..., Any]) -> float:
    """How many operands it takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return math.inf
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return math.inf
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _as_one(derivatives: Derivatives) -> Callable[..., Any]:
    """One function for all operands."""
    if callable(derivatives):
        return derivatives
    each = tuple(derivatives)
    for function in each:
        if not callable(function):
            raise TypeError(f"op: a derivative must be a function, not {type(function).__name__}")
    return lambda *operands: tuple(function(*operands) for function in each)


def _as_value(x: Any) -> Value:
    return x if isinstance(x, Value) else Value(x)


@contextmanager
def _strictly() -> Iterator[None]:
    outer = Scalar._trace_strictly(True)
    try:
        yield
    finally:
        Scalar._trace_strictly(outer)


@overload
def op(forward: Callable[..., Any], derivatives: Derivatives, *, name: str | None = None) -> Op: ...
@overload
def op(
    *, derivatives: Derivatives, name: str | None = None
) -> Callable[[Callable[..., Any]], Op]: ...
def op(
    forward: Callable[..., Any] | None = None,
    derivatives: Derivatives | None = None,
    *,
    name: str | None = None,
) -> Any:
    """Make an op of two functions: `op(forward, derivatives)`, or a decorator.

        @pygradc.op(derivatives=lambda a, y: 1.0 / (1.0 + math.exp(-a)))
        def softplus(a):
            return math.log1p(math.exp(a))

        @pygradc.op(derivatives=lambda a, b, y: (b, a))    # recordable: Values' ops only
        def times(a, b):
            return a * b

    Args:
        forward: Takes one number for each operand and returns the result, a number.
        derivatives: Takes the operands and the result, and returns the derivative by each operand:
            a number for one, a tuple for several; or a tuple of functions, one for each. Called
            when a gradient comes to the node, with the operands' data at that time.
        name: What `_op` says; None: the function's name.
    Returns:
        An `Op`. Called with Values or numbers it gives a Value whose children they are. Nothing is
        said of its being the derivative of forward: what is given counts, in a program, too.
    Raises:
        TypeError: no derivatives, or what isn't callable.
        In calls: TypeError, an operand or a result is no number; TraceError, in a recording, the
        rule needs a number; whatever forward raises.
        In backward(): ValueError, not as many derivatives as operands; TypeError, one is no number;
        whatever derivatives raises. All gradients are then as they were.

    Both functions get floats, unless all that they do are ops that Values have: then they get
    Values, in `no_grad()`, and the op can be recorded. To find out, both are run once on symbols.
    """
    if derivatives is None:
        if callable(forward):
            raise TypeError("op: derivatives are missing; write @op(derivatives=...)")
        raise TypeError("op needs derivatives")
    if forward is None:
        return functools.partial(op, derivatives=derivatives, name=name)
    if not callable(forward):
        raise TypeError(f"op: expected a function, not {type(forward).__name__}")
    return Op(forward, derivatives, name)


__all__ = ["Op", "op"]
