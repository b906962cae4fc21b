"""Is a method of a program's class pygradc's, to the last bit? Tried on some numbers.

A method that makes nodes is run on both classes; its data, and the gradients that a sweep from it
times 1.7 leaves, must be the same bits. Where the program's raises, pygradc's may also succeed.
Not tried, since pygradc differs from everybody there: a negative base to a fraction, infinite and
undefined operands. Cost: some thousand small expressions, 0.05 s.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from pygradc._ops import OPS
from pygradc.value import Value

Numbers = tuple[tuple[float, ...], ...]


class Try(NamedTuple):
    """An expression of as many Values as each row has data."""

    expression: Callable[..., Any]
    rows: Numbers


ONES: Numbers = tuple((0.37 * k - 9.1,) for k in range(50))
FEW: Numbers = ONES[::5] + ((0.0,), (1.0,), (-1.0,))
EDGES: Numbers = ((0.0,), (1.0,), (-1.0,), (1e-9,), (800.0,), (-800.0,))
PAIRS: Numbers = (
    *((2.5, -1.7), (0.3, 3.9), (-4.1, -0.9), (7.3, 1.1)),
    *((1e3, 0.07), (0.0, 2.0), (-1.0, 0.0)),
)
BASES: Numbers = ((0.0,), (0.3,), (1.0,), (1.7,), (9.2,))


def _binary(apply: Callable[[Any, Any], Any]) -> list[Try]:
    with_numbers = [Try(lambda a, x=x: apply(a, x), FEW) for x in (2, -3, 0.7)]
    return [Try(apply, PAIRS), *with_numbers]


def _reflected(apply: Callable[[Any, Any], Any]) -> list[Try]:
    return [Try(lambda a, x=x: apply(x, a), FEW) for x in (2, -3, 0.7)]


def _of_operators() -> dict[str, list[Try]]:
    tries = {
        "__pow__": [
            *(Try(lambda a, n=n: a**n, ONES + EDGES) for n in (1, 2, 3, -1, -2)),
            *(Try(lambda a, x=x: a**x, BASES) for x in (0.5, -0.5, 2.0, 1 / 3)),
            Try(operator.pow, ((2.5, -1.7), (0.3, 3.9), (7.3, 1.1))),
        ],
        "__rpow__": [Try(lambda a, x=x: x**a, FEW) for x in (2, 0.7)],
    }
    for name in ("neg", "pos", "abs"):
        tries[f"__{name}__"] = [Try(getattr(operator, name), ONES + EDGES)]
    for name in ("add", "sub", "mul", "truediv"):
        tries[f"__{name}__"] = _binary(getattr(operator, name))
        tries[f"__r{name}__"] = _reflected(getattr(operator, name))
    return tries


def _of_ops() -> dict[str, list[Try]]:
    """The methods of the op table."""
    tries = {}
    for op in OPS:
        if op.arity == 2:
            tries[op.name] = [Try(lambda a, b, n=op.name: getattr(a, n)(b), PAIRS)]
        elif not op.takes_number:
            tries[op.name] = [Try(operator.methodcaller(op.name), ONES + EDGES)]
    return tries


TRIES = {**_of_operators(), **_of_ops()}

# Methods that answer with something else than a node; asked of a Value and of another.
ANSWERS: dict[str, Callable[[Any, Any], Any]] = {
    "__repr__": lambda a, b: repr(a),
    "__str__": lambda a, b: str(a),
    "__format__": lambda a, b: (f"{a}", f"{a:.3f}"),
    "__float__": lambda a, b: float(a),
    "__bool__": lambda a, b: bool(a),
    "__eq__": lambda a, b: (a == a, a == b),
    "__ne__": lambda a, b: (a != a, a != b),
    "__lt__": lambda a, b: (a < b, b < a, a < 2.5, a < 3),
    "__le__": lambda a, b: (a <= b, b <= a, a <= 2.5, a <= 3),
    "__gt__": lambda a, b: (a > b, b > a, a > 2.5, a > 3),
    "__ge__": lambda a, b: (a >= b, b >= a, a >= 2.5, a >= 3),
}


def same(cls: type, name: str) -> bool:
    """Does pygradc's method of this name do what the class's own does?"""
    if name in ANSWERS:
        return bool(_answer(cls, name) == _answer(Value, name))
    if name not in TRIES or not _takes_the_same(cls, name):
        return False
    return all(
        _agree(_outcome(cls, each.expression, row), _outcome(Value, each.expression, row))
        for each in TRIES[name]
        for row in each.rows
    )


def _takes_the_same(cls: type, name: str) -> bool:
    """A named method with more parameters than pygradc's may be called with them."""
    if name.startswith("__"):
        return True
    count = 2 if any(op.name == name and op.arity == 2 for op in OPS) else 1
    try:
        return len(inspect.signature(getattr(cls, name)).parameters) == count
    except (TypeError, ValueError):
        return False


def _outcome(cls: type, expression: Callable[..., Any], numbers: tuple[float, ...]) -> Any:
    """The bits of data and gradients, or the type of the exception."""
    try:
        values = [cls(number) for number in numbers]
        out = expression(*values)
        (out * cls(1.7)).backward()
        return tuple(float(x).hex() for x in (out.data, *(v.grad for v in values)))
    except Exception as error:
        return type(error)


def _agree(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, type):
        return theirs is ours or not isinstance(ours, type)
    return bool(theirs == ours)


def _answer(cls: type, name: str) -> Any:
    try:
        a, b = cls(2.5), cls(2.5)
        a.grad = b.grad = 0.5
        return ANSWERS[name](a, b)
    except Exception as error:
        return type(error)
