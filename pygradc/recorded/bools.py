"""Operators of a bool that is True in some rows and False in others.

A bool is a number: `x * (x > 0)`, `1 - (x > 0)`, `sum(conditions)`. Its stand-in has two outcomes,
and each operator is evaluated for both: `op(True, other)` and `op(False, other)` are Python's own
results, and the result selects between them. So Python's rules for bools aren't reimplemented here.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pygradc.value import Value

Operation = Callable[[Any, Any], Any]


def is_number(x: object) -> bool:
    return not isinstance(x, Value) and isinstance(x, (numbers.Number, np.bool_))


class LikeBool:
    """The operators. Subclasses define selection, negation and combination."""

    __slots__ = ()

    def _number(self) -> Any:
        """1.0 or 0.0, as a Value."""
        raise NotImplementedError

    def _between(self, yes: Any, no: Any) -> Any:
        """A Value: yes where self is True, else no."""
        raise NotImplementedError

    def _fails_where(self, flag: bool) -> Any:
        """A Value that fails in rows where self is flag, as Python's operation would."""
        raise NotImplementedError

    def _require_number(self) -> None:
        """Raise if self can't be used here as a number."""

    def _opposite(self) -> Any:
        """The negation: True where self is False."""
        raise NotImplementedError

    def _same(self, other: Any, comparison: str) -> Any:
        """== or != of two of these, or of one and a Value."""
        raise NotImplementedError

    # ---- selection between two outcomes

    def _of_outcomes(self, yes: Any, no: Any) -> Any:
        """Select yes where self is True, no where it is False; both are plain Python results."""
        if yes is NotImplemented or no is NotImplemented:
            return NotImplemented
        if isinstance(yes, tuple):
            return tuple(map(self._of_outcomes, yes, no))
        if type(yes) is type(no) and repr(yes) == repr(no):  # tells 0.0 from -0.0
            return yes
        if isinstance(yes, (bool, np.bool_)) and isinstance(no, (bool, np.bool_)):
            return self if yes else self._opposite()
        return self._between(yes, no)

    def _with_number(self, of: Callable[[bool], Any]) -> Any:
        """An operation with a number; it may raise for one of the outcomes, as 1 / False does."""
        self._require_number()
        found: dict[bool, Any] = {}
        errors: dict[bool, Exception] = {}
        for flag in (True, False):
            try:
                found[flag] = of(flag)
            except (ArithmeticError, ValueError) as error:
                errors[flag] = error
        if len(errors) == 2:
            raise errors[True]
        for flag in errors:
            fault, other = self._fails_where(flag), found[not flag]
            if isinstance(other, tuple):
                return tuple(self._either(fault, flag, item) for item in other)
            return self._either(fault, flag, other)
        return self._of_outcomes(found[True], found[False])

    def _either(self, fault: Any, flag: bool, other: Any) -> Any:
        return self._between(*((fault, other) if flag else (other, fault)))

    def _operate(self, op: Operation, other: Any, reflected: bool) -> Any:
        self._require_number()

        def of(flag: bool) -> Any:
            return op(other, flag) if reflected else op(flag, other)

        if is_number(other):
            return self._with_number(of)
        if isinstance(other, LikeBool):
            other._require_number()
            return self._of_both(op, other, reflected)
        if not isinstance(other, Value) or op in _LOGICAL:
            return NotImplemented
        if reflected:  # only ** needs the right operand as an int, for the derivative at 0
            return self._between(of(True), of(False)) if op is pow else op(other, self._number())
        return op(self._number(), other)

    def _of_both(self, op: Operation, other: LikeBool, reflected: bool) -> Any:
        first, second = (other, self) if reflected else (self, other)
        yes, no = op(True, second), op(False, second)
        if isinstance(yes, tuple):
            return tuple(first._between(*pair) for pair in zip(yes, no))
        return first._between(yes, no)

    # ---- comparisons: a bool is ordered as a number

    def _order(self, op: Operation, other: Any) -> Any:
        self._require_number()
        if is_number(other):
            return self._with_number(lambda flag: op(flag, other))
        if isinstance(other, LikeBool):
            return op(self._number(), other._number())
        return op(self._number(), other) if isinstance(other, Value) else NotImplemented

    def _equal(self, op: Operation, other: Any) -> Any:
        self._require_number()
        if is_number(other):
            return self._with_number(lambda flag: op(flag, other))
        if self is other:
            return op is operator.eq
        if isinstance(other, (LikeBool, Value)):
            return self._same(other, "==" if op is operator.eq else "!=")
        return NotImplemented

    def __lt__(self, other: Any) -> Any:
        return self._order(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._order(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._order(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._order(operator.ge, other)

    def __eq__(self, other: object) -> Any:
        return self._equal(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._equal(operator.ne, other)

    def __neg__(self) -> Any:
        return self._with_number(operator.neg)

    def __pos__(self) -> Any:
        return self._with_number(operator.pos)

    def __abs__(self) -> Any:
        return self._with_number(abs)


_LOGICAL = (operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift)
_OPERATIONS: dict[str, Operation] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "divmod": divmod,
    "pow": pow,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
}


def _method(op: Operation, reflected: bool) -> Callable[[Any, Any], Any]:
    return lambda self, other: self._operate(op, other, reflected)


for _name, _op in _OPERATIONS.items():
    setattr(LikeBool, f"__{_name}__", _method(_op, False))
    setattr(LikeBool, f"__r{_name}__", _method(_op, True))
