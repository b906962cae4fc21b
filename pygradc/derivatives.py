"""Derivatives as Values: of any order, in eager code and in recorded functions.

`backward()` computes numbers; `grad` builds the derivative as a graph of ordinary nodes, which can
be differentiated again, used in a loss, recorded, trained through:

    x = Value(2.0)
    y = x ** 3
    (dy,) = pygradc.grad(y, [x])     # 3 x^2 = 12
    (ddy,) = pygradc.grad(dy, [x])   # 6 x = 12

Source: csrc/graph/derive.c; the rules, one line an op: csrc/ops/rules.def.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from pygradc.core.scalar import core
from pygradc.value import Value, sum


@overload
def grad(
    y: Any, xs: Value, *, weights: Any = None, allow_unused: bool = True
) -> Value: ...


@overload
def grad(
    y: Any, xs: Sequence[Value], *, weights: Any = None, allow_unused: bool = True
) -> list[Value]: ...


def grad(y: Any, xs: Any, *, weights: Any = None, allow_unused: bool = True) -> Any:
    """The derivatives of y by each of xs, as Values made of ordinary nodes.

    No gradient changes. As in `backward()`, where the gradient of a node is 0, an infinite or
    undefined derivative below it contributes 0. In a recorded function xs may be inputs, parameters
    and what is computed from them.

    Args:
        y: A Value; or several, whose derivatives are added up.
        xs: A Value, or a sequence of Values, anywhere in y's graph.
        weights: For several ys a factor for each, a number or a Value.
        allow_unused: Where y doesn't depend on an x, return 0.0; False: raise ValueError.
    Returns:
        A Value for a Value, else a list.
    Raises:
        TypeError: y or an x isn't a Value; or y depends on an x through a Value whose derivatives
            are numbers, which can't be differentiated again: the result of a replay, a node with
            local gradients or with a closure.
        ValueError: see allow_unused; or there aren't as many weights as ys.
        ValueError, ZeroDivisionError, OverflowError: as `backward()`.
    """
    wanted = (xs,) if isinstance(xs, Value) else tuple(xs)
    for i, x in enumerate(wanted):
        if not isinstance(x, Value):
            raise TypeError(f"grad: xs[{i}] must be a Value, not {type(x).__name__}")
    found = core.derive(_root(y, weights), wanted)
    if isinstance(found, Value):
        raise TypeError(_opaque(found))
    unused = [i for i, derivative in enumerate(found) if derivative is None]
    if unused and not allow_unused:
        raise ValueError(f"grad: y doesn't depend on xs[{unused[0]}]")
    derivatives = [Value(0.0) if derivative is None else derivative for derivative in found]
    return derivatives[0] if isinstance(xs, Value) else derivatives


def _root(y: Any, weights: Any) -> Value:
    """One Value with the derivatives of y, or of the sum of several ys times their weights."""
    ys = (y,) if isinstance(y, Value) else tuple(y)
    for i, each in enumerate(ys):
        if not isinstance(each, Value):
            what = "y" if isinstance(y, Value) else f"y[{i}]"
            raise TypeError(f"grad: {what} must be a Value, not {type(each).__name__}")
    if weights is not None:
        factors = (weights,) if isinstance(y, Value) else tuple(weights)
        if len(factors) != len(ys):
            raise ValueError(f"grad: {len(factors)} weights for {len(ys)} ys")
        ys = tuple(each * factor for each, factor in zip(ys, factors))
    return ys[0] if len(ys) == 1 else sum(ys)


def _opaque(value: Value) -> str:
    made = f"made by {value._op!r}" if value._op else "the result of a replay, or made by hand"
    return (
        f"grad: y depends on an x through a Value, {made}, whose derivatives are numbers: they have "
        "no derivatives. Instead, call grad inside of the recorded function, or f.gradients for "
        "numbers; and write a custom op's derivatives in Values' operators."
    )


def jacobian(ys: Sequence[Value], xs: Sequence[Value]) -> list[list[Value]]:
    """The derivatives of each of ys by each of xs, as Values: rows of ys, columns of xs.

    Raises: as `grad`.
    """
    return [grad(y, tuple(xs)) for y in ys]


def hessian(y: Value, xs: Sequence[Value]) -> list[list[Value]]:
    """The second derivatives of y by each pair of xs, as Values.

    Cost: one derivative graph of y, and one of each of its first derivatives.

    Raises: as `grad`.
    """
    return jacobian(grad(y, tuple(xs)), xs)
