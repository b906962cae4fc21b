"""What a program's class lacks or asserts, and pygradc's Value must therefore refuse.

A class without `<`, `__neg__`, `tanh` or a label raises when one is used, and a class that asserts
the type of an operand raises AssertionError. So while a class is replaced, Value has object's
comparisons and text conversions where the class defines none, other missing names raise
AttributeError, and the core's operators call `Guard` for operands of unusual types. The guard runs
the program's own operator on a sterile leaf (`_sterile.py`), and re-raises its exception.
CPython tests for `__index__` by the type's slot, which the core clears in the meantime.
Cost: nothing for Values and plain numbers; see is_refused in csrc/python/scalar_operators.c.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Collection
from numbers import Number
from typing import Any

import numpy as np

from pygradc.compat._grammar import STATE
from pygradc.compat._sterile import Sterile
from pygradc.core.ops import OPS
from pygradc.core.scalar import ALIASES, Scalar, core
from pygradc.value import Value

# In the numbering of csrc/python/scalar_operators.c.
OPERATORS = ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "neg", "pos", "abs")
BINARY = OPERATORS[:7]

OF_OBJECT = ("eq", "ne", "lt", "le", "gt", "ge", "repr", "format")
METHODS = ("conjugate", "draw_dot", "round", *(op.name for op in OPS), *ALIASES)

# Using an instance of any other type may run code of the program.
WELL_KNOWN = (Number, str, bytes, type(None), list, tuple, dict, set, np.generic, np.ndarray)


class Foreign:
    """Stands for an operand of a class that the program defines."""


class _Bare:
    """A class with the attributes of object only."""


_Bare.__name__ = _Bare.__qualname__ = "Value"


class Absent:
    """A descriptor that hides an attribute of Value which the program's class lacks."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, value: Any, owner: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("pygradc"):
            return getattr(super(Value, owner if value is None else value), self.name)
        if value is None:
            raise AttributeError(f"type object 'Value' has no attribute {self.name!r}")
        raise AttributeError(f"'Value' object has no attribute {self.name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Absent) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]


def _as_bare(convert: Callable[[Any], Any]) -> Callable[..., Any]:
    """A method that fails as the conversion does for a class without such a method."""

    def refuse(self: Any, *digits: Any) -> Any:
        return convert(_Bare())

    return refuse


CONVERSIONS = {
    "__float__": _as_bare(float),
    "__int__": _as_bare(int),
    "__complex__": _as_bare(complex),
    "__round__": _as_bare(round),
    "__trunc__": _as_bare(math.trunc),
    "__floor__": _as_bare(math.floor),
    "__ceil__": _as_bare(math.ceil),
}


def _is_not_empty(self: Any) -> bool:
    return len(self) != 0


def lacking(members: Collection[str], attributes: Collection[str]) -> dict[str, Any]:
    """The members that Value must have in place of those that the class lacks.

    Args:
        members: The names of the class's own members.
        attributes: The names of its nodes' attributes.
    """
    missing = {f"__{name}__": getattr(object, f"__{name}__") for name in OF_OBJECT}
    missing.update(CONVERSIONS)
    if "__len__" in members:
        missing["__bool__"] = _is_not_empty
    missing.update({name: Absent(name) for name in (*METHODS, *STATE) if hasattr(Value, name)})
    present = {*members, *attributes}
    return {name: member for name, member in missing.items() if name not in present}


class Guard:
    """Called by the core's operators; see is_refused."""

    def __init__(self, sterile: Sterile) -> None:
        self.sterile, self.watch = sterile.cls, sterile.watch

    def __call__(self, which: int, left: Any, right: Any) -> None:
        self.watch.rounds = 0  # the limit is that of one call
        name = OPERATORS[which]
        if name not in BINARY:
            getattr(operator, name)(_Bare())
        reflected = not isinstance(left, Value)
        other = left if reflected else right
        method = getattr(self.sterile, f"__r{name}__" if reflected else f"__{name}__", None)
        if method is None:
            other = _Bare() if isinstance(other, Value) else other
            sides = (other, _Bare()) if reflected else (_Bare(), other)
            raise TypeError(_unsupported(name, *sides))
        known = isinstance(other, (Value, *WELL_KNOWN))
        refuses = TypeError(_not_a_number(other))
        try:
            answer = method(self._copy(right if reflected else left), self._copy(other))
        except AssertionError as error:
            raise AssertionError(*error.args) from None
        except TypeError as error:
            if known:
                raise TypeError(*error.args) from None
            if not reflected and _has(other, f"__r{name}__"):  # a number would try this
                raise refuses from None
        except Exception:
            pass  # errors of the numbers themselves are raised by the core
        else:
            if answer is NotImplemented:
                return
        if isinstance(other, np.ndarray):
            raise refuses

    def _copy(self, operand: Any) -> Any:
        if isinstance(operand, Value):
            return self.sterile(Scalar.data.__get__(operand))  # type: ignore[attr-defined]
        return operand if isinstance(operand, WELL_KNOWN) else Foreign()

    def install(self, members: Collection[str]) -> None:
        """Register with the core; `members` are the names of the class's own members."""
        bits = [sum(1 << i for i, name in enumerate(OPERATORS) if f"__{r}{name}__" not in members)
                for r in ("", "r")]  # fmt: skip
        core.guard(self, *bits)


def remove() -> None:
    core.guard(None, 0, 0)


def _not_a_number(other: Any) -> str:
    """The message for data that the program's own Value would keep, by intent or by mistake."""
    kind = f"{type(other).__module__}.{type(other).__qualname__}"
    return f"a Value's data are a float here, not a {kind}"


def _has(operand: Any, method: str) -> bool:
    return any(method in vars(cls) for cls in type(operand).__mro__)


def _unsupported(name: str, left: Any, right: Any) -> str:
    try:
        getattr(operator, name)(left, right)
    except TypeError as error:
        return str(error)
    return f"unsupported operand types for {name}"
