"""Derivatives as Values: of any order, in eager code and in recorded functions.

`backward()` computes numbers; `grad` builds the derivative as a graph of ordinary nodes, which can
be differentiated again, used in a loss, recorded, trained through:

    x = Value(2.0)
    y = x ** 3
    (dy,) = pygradc.grad(y, [x])     # 3 x^2 = 12
    (ddy,) = pygradc.grad(dy, [x])   # 6 x = 12

Source: csrc/graph/derive.c; the rules, one line an op: csrc/ops/ops.def.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from pygradc.core.refusals import TraceError
from pygradc.core.scalar import core
from pygradc.recorded import structure as structures
from pygradc.recorded.compiled import Compiled, compile
from pygradc.value import Value, sum

if TYPE_CHECKING:
    from pygradc.typed import Returned


@overload
def grad(y: Any, xs: Value, *, weights: Any = None, allow_unused: bool = True) -> Value: ...


@overload
def grad(
    y: Any, xs: Sequence[Value], *, weights: Any = None, allow_unused: bool = True
) -> list[Value]: ...


def grad(y: Any, xs: Any, *, weights: Any = None, allow_unused: bool = True) -> Any:
    """The derivatives of y by each of xs, as Values made of ordinary nodes.

        >>> import pygradc
        >>> x = pygradc.Value(2.0)
        >>> slope = pygradc.grad(x ** 3, x)
        >>> slope.data, pygradc.grad(slope, x).data
        (12.0, 12.0)

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
        f"grad: y depends on an x through a Value, {made}, whose derivatives are numbers: they "
        "have no derivatives. Instead, call grad inside of the recorded function, or f.gradients "
        "for numbers; and write a custom op's derivatives in Values' operators."
    )


def jacobian(ys: Sequence[Value], xs: Sequence[Value]) -> list[list[Value]]:
    """The derivatives of each of ys by each of xs, as Values: rows of ys, columns of xs.

        >>> import pygradc
        >>> x, y = pygradc.Value(2.0), pygradc.Value(3.0)
        >>> [[d.data for d in row] for row in pygradc.jacobian([x * y, x + y], [x, y])]
        [[3.0, 2.0], [1.0, 1.0]]

    Raises: as `grad`.
    """
    return [grad(y, tuple(xs)) for y in ys]


def hessian(y: Value, xs: Sequence[Value]) -> list[list[Value]]:
    """The second derivatives of y by each pair of xs, as Values.

        >>> import pygradc
        >>> x, y = pygradc.Value(2.0), pygradc.Value(3.0)
        >>> [[d.data for d in row] for row in pygradc.hessian(x * x * y, [x, y])]
        [[6.0, 4.0], [4.0, 0.0]]

    Cost: one derivative graph of y, and one of each of its first derivatives.

    Raises: as `grad`.
    """
    return jacobian(grad(y, tuple(xs)), xs)


def value_and_grad(function: Callable[..., Value]) -> Callable[..., tuple[Value, Returned]]:
    """A function that returns what this one does, and its derivatives by the arguments.

        >>> import pygradc
        >>> value, (by_x, by_y) = pygradc.value_and_grad(lambda x, y: x * x * y)(2.0, 3.0)
        >>> value.data, by_x.data, by_y.data
        (12.0, 12.0, 4.0)

    Args:
        function: Takes numbers, Values and containers of them, and returns one Value.
    Returns:
        A function of the same arguments; numbers become Values. It returns the Value and, for
        each argument, its derivatives as Values in the structure of the argument: a tuple; with one
        argument, these themselves.
    """

    def both(*args: Any) -> tuple[Value, Any]:
        given = tuple(map(structures.as_values, args))
        leaves: list[Any] = []
        structure = structures.take_apart(given, leaves, "argument")
        y = function(*given)
        derivatives = structures.put_together(structure, iter(grad(y, leaves)))
        return y, derivatives[0] if len(given) == 1 else derivatives

    return both


# ---- Checking derivatives ------------------------------------------------------------------------


class Checked(NamedTuple):
    """The largest errors, relative to 1 + |derivative|; None for what can't be asked."""

    backward: float
    grad: float | None
    recorded: float | None


_STEP = 7e-4  # about the fifth root of the rounding error: the stencil's error is of fourth order
_STENCIL = ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0))


def check_grad(
    function: Callable[..., Any], *args: Any, tolerance: float = 1e-6, step: float = _STEP
) -> Checked:
    """Compare derivatives with central differences: those of `backward()`, of `grad`, of a replay.

        >>> import pygradc
        >>> max(pygradc.check_grad(lambda x, y: x * y.exp(), 2.0, 0.5)) < 1e-9
        True

    A function with a kink within two steps of an argument can't be checked there.

    Args:
        function: Returns one Value, or Values in any nesting: a function, a compiled one, an op of
            `pygradc.op`.
        args: Where to check: numbers and containers of them.
        tolerance: The largest error that passes, relative to 1 + |derivative|.
        step: The distance of the four points, relative to the argument, or to its square root
            where it is larger than 1.
    Returns:
        The largest errors. `grad` is None for derivatives that are numbers, `recorded` for a
        function that can't be recorded.
    Raises:
        ValueError: an error is larger; names kind, argument and output, and both derivatives.
        TypeError: an argument isn't a number.
    Source: Fornberg, Generation of finite difference formulas, Math. Comp. 51, 1988.
    """
    is_compiled = isinstance(function, Compiled)
    plain = function.__wrapped__ if is_compiled else function  # type: ignore[attr-defined]
    row: list[Any] = []
    structure = structures.take_apart(args, row, "argument")
    numbers = [float(x.data) if isinstance(x, Value) else float(x) for x in row]

    def outputs(evaluated: Callable[..., Any], leaves: Iterator[Any]) -> list[Value]:
        found: list[Any] = []
        structures.take_apart(
            evaluated(*structures.put_together(structure, leaves)), found, "result"
        )
        return [x if isinstance(x, Value) else Value(x) for x in found]

    def at(i: int, number: float) -> list[float]:
        moved = [*numbers[:i], number, *numbers[i + 1 :]]
        return [y.data for y in outputs(plain, map(Value, moved))]

    def differences(i: int) -> list[float]:
        size = abs(numbers[i])
        h = step * max(1e-3, min(size, math.sqrt(size)))
        sums = zip(*([w * y for y in at(i, numbers[i] + k * h)] for k, w in _STENCIL))
        return [math.fsum(terms) / (12.0 * h) for terms in sums]

    wanted = [differences(i) for i in range(len(numbers))]

    def by_backward(evaluated: Callable[..., Any], o: int) -> list[float]:
        xs = list(map(Value, numbers))
        outputs(evaluated, iter(xs))[o].backward()
        return [x.grad for x in xs]

    def by_grad(o: int) -> list[float]:
        xs = list(map(Value, numbers))
        return [d.data for d in grad(outputs(plain, iter(xs))[o], xs)]

    def worst(kind: str, derivatives: Callable[[int], list[float]]) -> float:
        largest = 0.0
        for o in range(len(wanted[0]) if wanted else 0):
            for i, found in enumerate(derivatives(o)):
                error = abs(found - wanted[i][o]) / (1.0 + abs(wanted[i][o]))
                largest = max(largest, error)
                if not error <= tolerance:
                    raise ValueError(
                        f"check_grad: {kind}: the derivative of output {o} by number {i} of the "
                        f"arguments, {numbers[i]!r}, is {found!r}; central differences give "
                        f"{wanted[i][o]!r}"
                    )
        return largest

    eager = worst("backward()", lambda o: by_backward(plain, o))
    symbolic: float | None = None
    replayed: float | None = None
    with contextlib.suppress(TypeError):  # derivatives that are numbers
        symbolic = worst("grad", by_grad)
    recorded = function if is_compiled else compile(plain)
    with contextlib.suppress(TraceError):
        replayed = worst("recorded", lambda o: by_backward(recorded, o))
    return Checked(eager, symbolic, replayed)
