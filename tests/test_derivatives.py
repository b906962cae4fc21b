"""Are derivatives that are Values right, at every order, eager and recorded; what is refused?"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mpmath import mp

import pygradc
from bench import accuracy_ops
from pygradc import (
    Value,
    compile,
    detach,
    grad,
    hessian,
    jacobian,
    live_nodes,
    maximum,
    minimum,
    where,
)
from pygradc.core.ops import OPS, Op

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def call(op: Op, a: Any, b: Any) -> Any:
    if op.takes_number:
        return getattr(a, op.method)(b)
    return getattr(a, op.name)(b) if op.arity == 2 else getattr(a, op.name)()


def points(op: Op, count: int = 20) -> list[tuple[float, ...]]:
    draw = random.Random(op.name)
    (low, high), *second = op.intervals
    other = second[0] if second else (1.0, 1.0)
    found = [(draw.uniform(low, high), draw.uniform(*other)) for _ in range(count)]
    return [(a, float(round(b))) for a, b in found] if op.name == "polygamma" else found


def operands(op: Op, point: tuple[float, ...]) -> list[Any]:
    a, b = point
    return [Value(a), Value(b) if op.arity == 2 else b]


def near(found: float, wanted: float, tolerance: float = 1e-6) -> bool:
    return abs(found - wanted) <= tolerance * (1.0 + abs(wanted))


# ---- Values --------------------------------------------------------------------------------------


@each_op
def test_first_derivatives_are_those_of_backward(op: Op) -> None:
    for point in points(op):
        given = operands(op, point)
        xs = [x for x in given if isinstance(x, Value)]
        y = call(op, *given)
        found = [d.data for d in grad(y, xs)]
        assert all(x.grad == 0.0 for x in xs) and y.grad == 0.0
        y.backward()
        for ours, x in zip(found, xs):
            assert abs(ours - x.grad) <= 2 * math.ulp(x.grad), (op.name, point)


def nth(op: Op, point: tuple[float, ...], order: tuple[int, ...]) -> float:
    """The derivative by these operands, one after another."""
    given = operands(op, point)
    y = call(op, *given)
    for which in order:
        y = grad(y, given[which])
    return float(y.data)


@each_op
def test_higher_derivatives_agree_with_central_differences(op: Op) -> None:
    h = 1e-5
    orders = [(0,), (0, 0), (0, 0, 0)]
    if op.arity == 2:
        orders += [(1,), (0, 1), (1, 0), (1, 1), (0, 1, 1), (1, 0, 0)]
    for a, b in points(op, 6):
        if op.name in ("maximum", "minimum") and abs(a - b) < 0.01:
            continue
        for *before, last in orders:
            up, down = ((a + h, b), (a - h, b)) if last == 0 else ((a, b + h), (a, b - h))
            difference = (nth(op, up, tuple(before)) - nth(op, down, tuple(before))) / (2 * h)
            assert near(nth(op, (a, b), (*before, last)), difference, 1e-5), (before, last, a, b)


def test_a_wrong_derivative_would_be_noticed() -> None:
    assert not near(nth(next(op for op in OPS if op.name == "sin"), (1.0, 1.0), (0,)), -math.cos(1))


@pytest.mark.parametrize("a", [25.0, -25.0, 400.0])
def test_saturated_slopes_keep_their_digits(a: float) -> None:
    x = Value(a)
    for y, slope in ((x.tanh(), 4 / (1 + math.exp(-2 * abs(a))) ** 2 * math.exp(-2 * abs(a))),
                     (x.sigmoid(), math.exp(-abs(a)) / (1 + math.exp(-abs(a))) ** 2)):  # fmt: skip
        first = grad(y, x)
        assert first.data == pytest.approx(slope, rel=1e-13)
        sign = -2.0 if y._op == "tanh" else -1.0
        assert grad(first, x).data == pytest.approx(sign * math.copysign(slope, a), rel=1e-12)


def test_derivatives_of_expressions() -> None:
    x, y = Value(1.5), Value(-0.5)
    f = (1 - x) ** 2 + 100 * (y - x * x) ** 2
    second = [[d.data for d in row] for row in hessian(f, [x, y])]
    assert second[0][0] == pytest.approx(2 - 400 * (-0.5 - 1.5**2) + 800 * 1.5**2)
    assert second[0][1] == second[1][0] == pytest.approx(-400 * 1.5) and second[1][1] == 200.0
    third = grad(grad(grad(x**5, x), x), x)
    assert third.data == pytest.approx(60 * 1.5**2)
    assert [[d.data for d in row] for row in jacobian([x * y, x + y], [x, y])] == [
        [-0.5, 1.5],
        [1.0, 1.0],
    ]


def test_a_zero_on_the_way_does_not_end_the_second_derivative() -> None:
    """At a minimum with no residual the gradient is 0, and the curvature isn't."""
    x = Value(0.0)
    assert grad(grad(x.sin() ** 2, x), x).data == 2.0
    f = compile(lambda x: grad(grad(x.sin() ** 2, x), x))
    assert f.map([0.0, 1.0]).tolist() == pytest.approx([2.0, 2 * math.cos(2.0)])


def test_inner_nodes_unused_ones_and_weights() -> None:
    x, z = Value(2.0), Value(3.0)
    u = x * x
    y = u * 3 + u.exp() * 0
    assert grad(y, u).data == 3.0 and grad(y, y).data == 1.0
    assert [d.data for d in grad(y, [x, z])] == [12.0, 0.0]
    with pytest.raises(ValueError, match=r"y doesn't depend on xs\[1\]"):
        grad(y, [x, z], allow_unused=False)
    assert [d.data for d in grad([x * z, x], (x, z), weights=[2.0, 10.0])] == [16.0, 4.0]
    assert [d.data for d in grad([x * z, x], (x, z))] == [4.0, 2.0]
    with pytest.raises(ValueError, match="1 weights for 2 ys"):
        grad([x, z], x, weights=[1.0])


# ---- Zero gradients ------------------------------------------------------------------------------


def tail(x: Any) -> Any:
    return where(x > 0, x.log() * x, x * 0.0)


def test_a_branch_not_taken_contributes_nothing() -> None:
    first = compile(lambda x: grad(tail(x), x))
    second = compile(lambda x: grad(grad(tail(x), x), x))
    xs = [-1.0, 2.0, 0.0]
    assert first.map(xs).tolist() == pytest.approx([0.0, math.log(2.0) + 1.0, 0.0])
    assert second.map(xs).tolist() == pytest.approx([0.0, 0.5, 0.0])


def test_an_infinite_slope_under_a_zero_gradient_contributes_nothing() -> None:
    def f(x: Any, w: Any) -> Any:
        return x.sqrt() * w + x

    x, w = Value(0.0), Value(0.0)
    assert grad(f(x, w), x).data == 1.0
    recorded = compile(lambda x, w: grad(f(x, w), x))
    assert recorded.map([0.0, 4.0], [0.0, 1.0]).tolist() == [1.0, 1.25]
    with pytest.raises(FloatingPointError, match=r"row 1: .*sqrt|row 1: .*division"):
        recorded.map([0.0, 0.0], [0.0, 1.0])
    zero = Value(0.0)
    with pytest.raises(
        ZeroDivisionError, match=r"derivative of sqrt\(0.0\) with respect to its first"
    ):
        grad(zero.sqrt(), zero)


# ---- Recorded ------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "polynomial": lambda x: x**3 - 2 * x,
    "ops": lambda x: (x.sin() * x.exp() + x.sigmoid() * x.tanh()).softplus(),
    "quotient": lambda x: x / (1 + x * x) + (x * x + 1).sqrt() + (x * x + 1).log(),
    "kinks": lambda x: maximum(x, 0.5) * minimum(x, 2.0) + abs(x) * x.relu(),
    "where": lambda x: where(x > 0.3, x * x * x, x.sin()),
    "detached": lambda x: x * detach(x) * x,
    "erf": lambda x: x.erf() * x.cos(),
    "power": lambda x: (x * x + 1.0) ** (x * 0.5),
    "angle": lambda x: x.atan2(x * x + 1.0),
}


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded_derivatives_have_the_bits_of_eager_ones(name: str, order: int) -> None:
    def derivative(x: Any) -> Any:
        y = FUNCTIONS[name](x)
        for _ in range(order):
            y = grad(y, x)
        return y

    xs = np.random.default_rng(order).uniform(-2, 2, 40)
    eager = [float(derivative(Value(x)).data) for x in xs.tolist()]
    assert compile(derivative).map(xs).tolist() == eager
    fast = compile(derivative, math="fast").map(xs)
    assert fast == pytest.approx(np.array(eager), rel=1e-9, abs=1e-9)


WEIGHTS = [[Value(0.3), Value(-0.8)], [Value(1.1), Value(0.4)], [Value(-0.6), Value(0.9)]]


def small_network(x: Any) -> Any:
    """Its derivatives have sums of weights times adjoints; relu makes some of these 0."""
    hidden = [(w * x + b).relu() * x for w, b in WEIGHTS]
    inner = [
        pygradc.dot([v for v, _ in WEIGHTS], hidden),
        pygradc.dot([u for _, u in WEIGHTS], hidden),
    ]
    return sum((y.relu() * w for y, w in zip(inner, WEIGHTS[0])), Value(0.0))


def test_sums_of_gates_are_dots() -> None:
    first = compile(lambda x: grad(small_network(x), x))
    xs = np.random.default_rng(5).normal(size=70)
    assert first.map(xs).tolist() == [float(grad(small_network(x), x).data) for x in map(Value, xs)]
    assert "dot: _gate(" in str(first.programs[0])


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_in_a_dot_of_gates_zero_wins_over_infinity(rows: int) -> None:
    w = [[Value(-math.inf), Value(1.0)], [Value(3.0), Value(2.0)]]

    def derivative(x: Any) -> Any:
        inputs = [x * x, x.exp()]
        dead, live = (pygradc.dot(row, inputs).relu() for row in w)
        return grad(dead * 4.0 + live, x)

    xs = np.linspace(0.1, 2.0, rows)
    for mode in ("exact", "fast"):
        recorded = compile(derivative, math=mode)
        assert recorded.map(xs) == pytest.approx(6.0 * xs + 2.0 * np.exp(xs))
        assert "dot: _gate(p" in str(recorded.programs[0])


def test_parameters_of_a_recording() -> None:
    w, b = Value(0.5), Value(-0.25)

    @compile
    def residual(x: Any) -> Any:
        u = (w * x + b).tanh()
        return (grad(grad(u, x), x) + u) ** 2

    xs = np.linspace(-1, 1, 9)
    loss = residual.mean(xs)
    loss.backward()
    ours = (w.grad, b.grad)
    h = 1e-6
    for parameter, slope in zip((w, b), ours):
        before = parameter.data
        parameter.data = before + h
        up = residual.mean(xs).data
        parameter.data = before - h
        down = residual.mean(xs).data
        parameter.data = before
        assert near(slope, (up - down) / (2 * h), 1e-7)
    assert "gate" in str(residual.programs[0])


# ---- What can't be asked -------------------------------------------------------------------------


def test_numbers_for_derivatives_cannot_be_differentiated() -> None:
    x = Value(2.0)
    f = compile(lambda x: x * x)
    by_hand = Value(4.0, (x,), (3.0,))
    for y in (f(x), f.mean([1.0, 2.0]) + f(x), by_hand * x):
        with pytest.raises(TypeError, match=r"whose derivatives are numbers.*f.gradients"):
            grad(y, x)
    closure = x * 1.0
    closure._backward = lambda: None
    with pytest.raises(TypeError, match="whose derivatives are numbers"):
        grad(closure * 2, x)
    assert grad(by_hand * x + x, x * 1.0).data == 0.0  # no path leads through it


@pytest.mark.parametrize(
    ("y", "xs", "message"),
    [
        (2.0, Value(1.0), "y\\[0\\] must be|'float' object is not iterable"),
        (Value(1.0), [2.0], r"xs\[0\] must be a Value, not float"),
        ([Value(1.0), 3.0], Value(1.0), r"y\[1\] must be a Value, not float"),
    ],
)
def test_what_is_no_value_is_named(y: Any, xs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        grad(y, xs)


def test_detached_values_and_no_grad() -> None:
    x = Value(3.0)
    assert grad(detach(x) * 2, x).data == 0.0
    y = x * x
    with pygradc.no_grad():
        d = grad(y, x)
    assert d.data == 6.0 and d._children == ()


# ---- At infinity ---------------------------------------------------------------------------------

INF = math.inf
# Of two operands: the derivatives by each, and the second ones by a, a; a, b; b, b.
LIMITS_OF_TWO = {
    "add": {(INF, 2.0): (1.0, 1.0, 0.0, 0.0, 0.0)},
    "mul": {(INF, 2.0): (2.0, INF, 0.0, 1.0, 0.0)},
    "pow": {
        **dict.fromkeys([(INF, -2.0), (INF, -0.5), (2.0, -INF), (0.5, INF)], (0.0,) * 5),
        (INF, 2.0): (INF, INF, 2.0, INF, INF),
        (INF, 0.5): (0.0, INF, 0.0, 0.0, INF),
    },
    "atan2": {
        **{(a, b): (0.0,) * 5 for a in (INF, -INF) for b in (0.0, -0.5)},
        **{(b, a): (0.0,) * 5 for a in (INF, -INF) for b in (0.0, -0.5)},
        **{(a, b): (0.0,) * 5 for a in (INF, -INF) for b in (INF, -INF)},
    },
    "hypot": {
        **{(a, b): (math.copysign(1.0, a), *(0.0,) * 4) for a in (INF, -INF) for b in (0.0, -2.0)},
        **{
            (b, a): (0.0, math.copysign(1.0, a), *(0.0,) * 3)
            for a in (INF, -INF)
            for b in (0.0, 2.0)
        },
    },
    "maximum": {(INF, 2.0): (1.0, *(0.0,) * 4), (-INF, 2.0): (0.0, 1.0, *(0.0,) * 3)},
    "minimum": {(-INF, 2.0): (1.0, *(0.0,) * 4), (INF, 2.0): (0.0, 1.0, *(0.0,) * 3)},
    "fmod": {(2.0, INF): (1.0, *(0.0,) * 4)},
    "mod": {(2.0, INF): (1.0, *(0.0,) * 4)},
    "floordiv": {(2.0, INF): (0.0,) * 5},
}
# By b and then by a: a rule that is a product, inf of a ** b times 0 of 1 / a.
NOT_AS_NODES = {("pow", (INF, 2.0)), ("pow", (INF, 0.5))}
NUMBERS = {"pown": (-2.0, -0.5, 0.0, 1.0, 1.5, 2.0, 3.0), "polygamma": (0.0, 1.0, 2.0)}
WITHOUT_LIMIT = {("lgamma", -INF)}  # poles all the way


def limit(f: Callable[[Any], Any], at: float) -> float:
    """Of f at inf or -inf: what it is far out, and farther."""
    near, far = (f(math.copysign(1.0, at) * mp.mpf(10) ** power) for power in (9, 15))
    if abs(far - near) < 1e-3:
        return float(mp.nint(far))
    assert abs(far) > abs(near)
    return math.copysign(INF, far)


def limits_of_one(op: Op) -> Any:
    """(a, b) -> the two derivatives, where the value isn't an error or nan."""
    numbers = NUMBERS.get(op.name, (1.0,))
    for at, b in itertools.product((INF, -INF), numbers):
        if (op.name, at) in WITHOUT_LIMIT or (op.name == "pown" and at < 0 and b != round(b)):
            continue
        try:
            value = call(op, *operands(op, (at, b))).data
        except (ValueError, ArithmeticError):
            continue
        if not math.isnan(value):
            slope = functools.partial(accuracy_ops.TRUTHS[op.name][1], b=mp.mpf(b))
            yield (at, b), (limit(slope, at), limit(functools.partial(mp.diff, slope), at))


def recorded_limits(op: Op, point: tuple[float, ...], kind: str) -> tuple[list[float], list[float]]:
    """The first derivatives and the Hessian of the op's program."""
    given = point[: op.arity]
    f = compile(lambda *xs: call(op, xs[0], xs[1] if op.arity == 2 else point[1]),
                math=kind, errors="ignore")  # fmt: skip
    rows = [np.array([x]) for x in given]
    slopes = [float(d[0]) for d in f.gradients(*rows)[1]]
    return slopes, np.array(f.hessian(*rows)).ravel().tolist()


def recorded_nth(op: Op, point: tuple[float, ...], order: tuple[int, ...], kind: str) -> float:
    """As nth, of a recording."""

    def derivative(*xs: Any) -> Any:
        y = call(op, xs[0], xs[1] if op.arity == 2 else point[1])
        for which in order:
            y = grad(y, xs[which])
        return y

    rows = [np.array([x]) for x in point[: op.arity]]
    return float(compile(derivative, math=kind, errors="ignore").map(*rows)[0])


@each_op
def test_derivatives_at_infinity_are_the_limits(op: Op) -> None:
    """Of the numeric sweep, of nodes, eager and recorded, and of tangents."""
    with mp.workdps(60):
        cases = LIMITS_OF_TWO[op.name].items() if op.arity == 2 else list(limits_of_one(op))
    seconds = [(0, 0)] if op.arity == 1 else [(0, 0), (0, 1), (1, 1)]
    for point, limits in cases:
        first, second = limits[: op.arity], dict(zip(seconds, limits[op.arity :]))
        given = operands(op, point)
        y = call(op, *given)
        y.backward()
        assert [x.grad for x in given[: op.arity]] == list(first), point
        assert [nth(op, point, (i,)) for i in range(op.arity)] == list(first), point
        for order, wanted in second.items():
            assert nth(op, point, order) == wanted, (point, order)
            if (op.name, point) not in NOT_AS_NODES:
                assert nth(op, point, order[::-1]) == wanted, (point, order)
        for kind in ("exact", "fast"):
            slopes, hessian_of = recorded_limits(op, point, kind)
            assert slopes == list(first), (point, kind)
            corners = hessian_of if op.arity == 1 else [hessian_of[i] for i in (0, 1, 3)]
            assert corners == list(second.values()), (point, kind)
            for order, wanted in second.items():
                assert recorded_nth(op, point, order, kind) == wanted, (point, order, kind)


@pytest.mark.parametrize("at", [INF, -INF])
def test_the_second_derivative_of_log_ndtr_at_infinity(at: float) -> None:
    """Also where a recording differentiates, and along a direction."""
    wanted = 0.0 if at > 0 else -1.0
    twice = compile(lambda x: grad(grad(x.log_ndtr(), x), x))
    assert twice.map([at] * 9).tolist() == [wanted] * 9
    f = compile(lambda x: x.log_ndtr())
    assert f.hessian([at]).ravel().tolist() == [wanted]
    x = Value(at)
    third = grad(grad(grad(x.log_ndtr(), x), x), x)
    assert third.data == 0.0


# ---- Custom ops ----------------------------------------------------------------------------------


def test_custom_ops_through_their_derivatives() -> None:
    cube = pygradc.op(lambda a: a * a * a, lambda a, y: 3 * a * a)
    x = Value(2.0)
    assert grad(cube(x), x).data == 12.0 and grad(grad(cube(x), x), x).data == 12.0
    f = compile(lambda x: grad(grad(cube(x), x), x))
    assert f.map([2.0, 3.0]).tolist() == [12.0, 18.0]
    numbers = pygradc.op(lambda a: math.cos(a), lambda a, y: -math.sin(a), name="numbers")
    with pytest.raises(TypeError, match="op 'numbers' computes its derivatives as numbers"):
        grad(numbers(x), x)


# ---- Functions, and checking ---------------------------------------------------------------------


def test_value_and_grad() -> None:
    both = pygradc.value_and_grad(lambda x, p: x * p["w"] + p["b"] ** 2)
    y, (by_x, by_p) = both(2.0, {"w": 3.0, "b": 4.0})
    assert (y.data, by_x.data) == (22.0, 3.0)
    assert {name: d.data for name, d in by_p.items()} == {"w": 2.0, "b": 8.0}
    square = pygradc.value_and_grad(lambda xs: pygradc.sum([x * x for x in xs]))
    assert [d.data for d in square([1.0, 2.0])[1]] == [2.0, 4.0]
    recorded = compile(lambda x: pygradc.value_and_grad(lambda x: x**3)(x)[1])
    assert recorded.map([1.0, 2.0]).tolist() == [3.0, 12.0]


def test_check_grad_passes_what_is_right() -> None:
    checked = pygradc.check_grad(lambda x, ys: [x * ys[0].exp(), ys[1].tanh()], 2.0, [0.5, -1.0])
    assert max(checked) < 1e-10
    compiled = compile(lambda x: x.sin() * 1e6)
    assert max(pygradc.check_grad(compiled, 100.0)) < 1e-8
    numbers = pygradc.op(lambda a: math.cos(a), lambda a, y: -math.sin(a), name="numbers")
    checked = pygradc.check_grad(numbers, 0.5)
    assert checked.backward < 1e-10 and checked.grad is None and checked.recorded is None


def test_check_grad_names_what_is_wrong() -> None:
    wrong = pygradc.op(lambda a, b: a * b * b, lambda a, b, y: (b * b, 6 * a * b), name="wrong")
    with pytest.raises(
        ValueError, match=r"backward\(\): .* by number 1 .*, 1.0, is 18.0; .* 5.99999"
    ):
        pygradc.check_grad(wrong, 3.0, 1.0)


# ---- Cost ----------------------------------------------------------------------------------------


@pytest.mark.once
def test_a_chain_of_a_million_nodes() -> None:
    x = Value(1.0)
    y = x
    for _ in range(10**6):
        y = y + 1.0
    assert grad(y, x).data == 1.0


@each_op
def test_at_most_eight_nodes_for_each(op: Op) -> None:
    """In a chain whose nodes all lead to x, constants not counted."""
    start = 1.7 if op.name == "acosh" else 0.7
    x = Value(start)

    def chain(length: int) -> int:
        y = x
        for _ in range(length):
            y = (call(op, y, y * 1.0 if op.arity == 2 else 2.0) * 0.1).sin() + start
        before = live_nodes()
        made = grad(y, x)
        count = below(made) - below(y)
        assert live_nodes() >= before
        return count

    each = 4 + (op.arity == 2)
    assert (chain(12) - chain(4)) / 8 <= 8 * each


def below(root: Value) -> int:
    seen, stack = {root}, [root]
    while stack:
        for child in stack.pop()._children:
            if child not in seen:
                seen.add(child)
                stack.append(child)
    return sum(bool(node._children) for node in seen)


def test_a_derivative_that_is_a_value_of_the_graph_is_that_value() -> None:
    w, x = Value(0.5), Value(2.0)
    derivative = pygradc.grad(w * x, x)
    assert derivative is w
    del derivative
    assert (w * 3.0)._children[0] is w
    f = pygradc.compile(lambda x: w * x)
    f(2.0).backward()
    assert w.grad == 2.0
