"""Are jvp and hvp right: is hvp the derivative of the gradient, and jvp that of the outputs?"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from alarms import alarm, needs_alarm
from mpmath import mp

import pygradc
from bench import accuracy_ops
from pygradc import Value, detach, losses, maximum, minimum, nn, where
from pygradc.core.ops import BY_NAME, OPS, Op

Point = tuple[float, ...]
Function = Callable[..., Value]

MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "unfused": {"passes": ()},
    "fused only": {"passes": ("fuse",)},
    "fast": {"math": "fast"},
    "fast, unfused": {"math": "fast", "passes": ("share", "powers")},
}
each_mode = pytest.mark.parametrize("mode", MODES)
POINTS = {mode: 30 if mode in ("exact", "fast") else 8 for mode in MODES}  # others: passes alone
each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
ONE_ROW = np.zeros(1)


def digits(test: Any) -> Any:
    return pytest.mark.once(pytest.mark.unsanitized(test))


def sample(size: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=size)


# ---- What they should be -------------------------------------------------------------------------


def gradient(f: Any, parameters: Sequence[Value], rows: Any) -> Any:
    """Of the sum over the rows, by the plain function and backward()."""
    for p in parameters:
        p.grad = 0.0
    pygradc.sum([f.__wrapped__(*map(Value, row)) for row in rows]).backward()
    return np.array([p.grad for p in parameters])


def at(parameters: Sequence[Value], point: Any, function: Callable[[], Any]) -> Any:
    """What the function gives at other parameters, for a while."""
    before = [p.data for p in parameters]
    try:
        for p, x in zip(parameters, np.asarray(point).tolist()):
            p.data = x
        return function()
    finally:
        for p, x in zip(parameters, before):
            p.data = x


def numbers(parameters: Sequence[Value]) -> Any:
    return np.array([p.data for p in parameters])


def slope(parameters: Sequence[Value], v: Any, function: Callable[[], Any], h: float = 1e-5) -> Any:
    """The derivative of the function's result along v in the parameters: a central difference."""
    here = numbers(parameters)
    above, below = (at(parameters, here + step * v, function) for step in (h, -h))
    return (above - below) / (2.0 * h)


def expected_hvp(f: Any, parameters: Sequence[Value], v: Any, rows: Any) -> Any:
    return slope(parameters, v, lambda: gradient(f, parameters, rows))


def parameters_of(f: Any, rows: Any) -> list[Value]:
    """In the order in which v and the result go."""
    f.map(*np.asarray(rows, dtype=float).reshape(len(rows), -1).T)
    return list(f.programs[0].parameters())


def assert_near(ours: Any, expected: Any, rel: float = 1e-6) -> None:
    size = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(ours, expected, rtol=rel, atol=1e-2 * rel * size)


def hessian(f: Any, count: int, *arrays: Any) -> Any:
    return np.array([f.hvp(v, *arrays) for v in np.eye(count)])


# ---- Every op ------------------------------------------------------------------------------------


def points(op: Op, count: int) -> list[Point]:
    """Of the op's intervals, but for those near a kink."""
    low, high = zip(*op.intervals)
    found = np.random.default_rng(op.number).uniform(low, high, (count, len(low))).tolist()
    if op.name == "polygamma":
        found = [[a, float(round(b))] for a, b in found]  # an order
    if op.name in ("relu", "abs", "leaky_relu", "elu"):
        found = [point for point in found if abs(point[0]) > 1e-3]
    return [tuple(p) for p in found if op.name not in ("maximum", "minimum") or p[0] != p[1]]


def as_function(op: Op, point: Point) -> Function:
    if op.takes_number:
        return lambda a: getattr(a, op.method)(point[1])
    return lambda *operands: getattr(operands[0], op.name)(*operands[1:])


def second_derivatives(function: Function, point: Point, mode: str, in_rows: bool) -> Any:
    """The Hessian that hvp gives; in the rows, or where it is hoisted out of them."""
    operands = [Value(x) for x in point]
    x = Value(0.0)

    def loss(zero: Any) -> Any:
        return function(*((p + zero if in_rows else p) for p in operands)) + x * zero

    f = pygradc.compile(loss, **MODES[mode])
    f.map(ONE_ROW)
    place = {id(p): i for i, p in enumerate(f.programs[0].parameters())}
    order = [place[id(p)] for p in operands]
    return hessian(f, len(place), ONE_ROW)[np.ix_(order, order)]


def differences(function: Function, point: Point) -> Any:
    """The Hessian, from the gradients that backward() gives a little to either side."""

    def slopes(at: Any) -> Any:
        operands = [Value(x) for x in at]
        function(*operands).backward()
        return np.array([x.grad for x in operands])

    rows = []
    for i, x in enumerate(point):
        h = 1e-5 * max(1.0, abs(x)) if abs(x) > 0.5 else 2e-5 * abs(x)
        step = np.eye(len(point))[i] * h
        rows.append((slopes(point + step) - slopes(point - step)) / (2.0 * h))
    return np.array(rows)


def right(ours: Any, expected: Any) -> bool:
    """The checker: equal to 1e-5 of the entry, or to what rounding makes of a difference."""
    size = max(1.0, float(np.max(np.abs(expected))))
    return np.allclose(ours, expected, rtol=1e-5, atol=1e-8 * size)


@functools.cache
def true_second(op: Op, point: Point) -> list[float]:
    """d2y/da2; of a binary op d2y/dadb and d2y/db2, too: of the true first derivatives."""
    _, by_a, *by_b = accuracy_ops.TRUTHS[op.name]
    with mp.workdps(40):
        at = tuple(map(mp.mpf, (*point, 0.0)[:2]))
        found = [mp.diff(by_a, at, (1, 0))]
        if by_b:
            found += [mp.diff(by_a, at, (0, 1)), mp.diff(by_b[0], at, (0, 1))]
        return [float(x) for x in found]


@functools.cache
def difference_of(op: Op, point: Point) -> Any:
    return differences(as_function(op, point), point[: op.arity])


@digits
@each_op
@each_mode
@pytest.mark.parametrize("in_rows", [False, True], ids=["hoisted", "in rows"])
def test_second_derivatives_of_every_op(op: Op, mode: str, in_rows: bool) -> None:
    """They are the textbooks', and the differences of our own first ones."""
    for point in points(op, POINTS[mode]):
        ours = second_derivatives(as_function(op, point), point[: op.arity], mode, in_rows)
        assert right(ours, difference_of(op, point)), point
        assert np.array_equal(ours, ours.T)
        upper, expected = ours[np.triu_indices(op.arity)], np.array(true_second(op, point))
        np.testing.assert_allclose(upper, expected, rtol=1e-12, atol=1e-13, err_msg=str(point))


WRONG: dict[str, Callable[[Any, Any], Any]] = {
    "a hair too large": lambda hessian, unit: hessian + unit * (1e-4 * np.abs(hessian) + 1e-5),
    "wrong sign": lambda hessian, unit: hessian - unit * (2.0 * hessian + 1e-5),
    "forgotten": lambda hessian, unit: hessian * (1.0 - unit) + unit * (hessian == 0.0),
}


@digits
@each_op
@pytest.mark.parametrize("mistake", WRONG)
def test_the_checker_notices_a_wrong_second_derivative(op: Op, mistake: str) -> None:
    """In each entry of the Hessian, that is, in each formula of the table's last column."""
    for point in points(op, 10):
        function, operands = as_function(op, point), point[: op.arity]
        hessian = second_derivatives(function, operands, "exact", True)
        expected = differences(function, operands)
        if np.max(np.abs(expected)) > 100.0:
            continue  # pow near its pole: there is no telling in the small entries
        for unit in np.eye(op.arity**2).reshape(-1, op.arity, op.arity):
            assert not right(WRONG[mistake](hessian, unit), expected), point


@each_mode
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, -0.0, 2.5])
def test_whole_powers(exponent: float, mode: str) -> None:
    for a in (-1.5, 0.25, 3.0) if float(exponent).is_integer() else (0.25, 3.0):
        for in_rows in (False, True):
            ((ours,),) = second_derivatives(lambda p: p**exponent, (a,), mode, in_rows)
            expected = exponent * (exponent - 1) * a ** (exponent - 2)
            assert ours == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("mode", ["exact", "unfused", "fast"])
@pytest.mark.parametrize(("name", "point", "expected"), [
    ("relu", (0.0,), [[0.0]]), ("abs", (0.0,), [[0.0]]), ("abs", (-0.0,), [[0.0]]),
    ("maximum", (2.0, 2.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("pow", (0.0, 2.0), [[2.0, 0.0], [0.0, 0.0]]), ("pow", (0.0, 3.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("pow", (0.0, 0.0), [[0.0, 0.0], [0.0, 0.0]]), ("pow", (0.0, 1.0), [[0.0, 0.0], [0.0, 0.0]]),
    ("sigmoid", (1000.0,), [[0.0]]), ("sigmoid", (-1000.0,), [[0.0]]), ("tanh", (1e3,), [[0.0]]),
    ("erf", (1000.0,), [[0.0]]), ("exp", (-1000.0,), [[0.0]]),
])  # fmt: skip
def test_at_a_kink_and_far_out(name: str, point: Point, expected: Any, mode: str) -> None:
    ours = second_derivatives(as_function(BY_NAME[name], point), point, mode, True)
    assert ours.tolist() == expected


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_powers_of_zero(exponent: int) -> None:
    ((ours,),) = second_derivatives(lambda p: p**exponent, (0.0,), "exact", True)
    assert ours == (2.0 if exponent == 2 else 0.0)


@digits
@each_op
@each_mode
def test_jvp_of_every_op_is_its_gradient(op: Op, mode: str) -> None:
    for point in points(op, POINTS[mode]):
        function, operands = as_function(op, point), [Value(x) for x in point[: op.arity]]
        f = pygradc.compile(lambda x: function(*(p + x for p in operands)), **MODES[mode])  # noqa: B023
        assert [id(p) for p in parameters_of(f, [[0.0]])] == [id(p) for p in operands]
        y = function(*operands)
        y.backward()
        for p, v in zip(operands, np.eye(op.arity)):
            (value,), (tangent,) = f.jvp(v, ONE_ROW)
            assert value == pytest.approx(y.data, rel=1e-13, abs=1e-300)
            assert tangent == pytest.approx(p.grad, rel=1e-12, abs=1e-15)


# ---- Whole functions -----------------------------------------------------------------------------


def softmax_loss(p: list[Value], x: Value, y: Value) -> Value:
    logits = [p[0] * x + p[1], p[2] * y + p[3], p[4] * x * y]
    return losses.soft_cross_entropy(logits, [0.2, 0.5, 0.3])


def chains(p: list[Value], x: Value, y: Value) -> Value:
    """Sums of products, weighted, of two inputs, of squares, and from a start."""
    a = pygradc.dot(p[:3], [x, y, x * y], p[3])
    b = a * x + p[0] * p[1] + a * a + x * y
    return (a * b + b * p[4] + 1.5).tanh() + a * b


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "linear": lambda p, x, y: p[0] * x + p[1] * y + p[2],
    "a quadratic form": lambda p, x, y: (p[0] * x + p[1] * p[2] - y) ** 2 + p[0] * p[3],
    "one parameter many times": lambda p, x, y: p[0] * p[0] * p[0] * x + (p[0] * y).sin() / p[0],
    "parameters only": lambda p, x, y: (p[0] * p[1]).exp() * p[2] + p[3] ** 3 + p[4].cos(),
    "a parameter": lambda p, x, y: p[0],
    "inputs only": lambda p, x, y: x * y + x.tanh(),
    "a hoisted penalty": lambda p, x, y: (
        ((p[0] * x + p[1]).tanh() - y) ** 2 + 0.1 * pygradc.sum([q * q for q in p])
    ),
    "hoisted factors": lambda p, x, y: (p[0] * p[1]).tanh() * (p[2] * x).sin() * (p[0] / 3.0).exp(),
    "hoisted chains": lambda p, x, y: (
        pygradc.dot(p[:3], p[2:], p[0]).tanh() * x + pygradc.dot(p[:3], p[2:], p[0]) * y
    ),
    "chains": chains,
    "division": lambda p, x, y: (p[0] * x + p[1]) / (p[2] * y * y + 2.0) - 1.0 / (p[3] ** 2 + 1.0),
    "powers": lambda p, x, y: (
        (p[0] ** 2 + 0.5) ** (p[1] * x) + 2.0 ** (p[2] * y) + (p[3] * x) ** 2 + (p[4] + y) ** 3
    ),
    "maximum": lambda p, x, y: maximum(p[0] * x, p[1] * y) * p[2] + minimum(p[3] * p[3] * x, p[4]),
    "relu": lambda p, x, y: (p[0] * x + p[1]).relu() ** 2 * p[2] + (p[3] * y).abs() * p[4],
    "where": lambda p, x, y: where(
        (x > y) & (p[0] * x < 1.0), (p[1] * x).sin() * p[0], where(y >= p[2], p[2] ** 3 * y, p[3])
    ),
    "where on parameters": lambda p, x, y: where(p[0] < p[1], p[0] * p[0], p[1] ** 3) * p[2] * x,
    "softmax": softmax_loss,
    "the largest, detached": lambda p, x, y: (
        ((p[0] * x - detach(maximum(p[0] * x, p[1]))).exp() + 0.0) * 0.0 + p[0] * p[1] * y
    ),
}  # fmt: skip


def recorded(name: str, mode: str) -> tuple[Any, list[Value]]:
    p = [Value(x) for x in (0.7, -0.4, 0.9, 0.3, -1.1)]
    f = pygradc.compile(lambda x, y: FUNCTIONS[name](p, x, y), **MODES[mode])
    return f, parameters_of(f, [[0.1, 0.2]])


@each_mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_hvp_is_the_difference_of_gradients(name: str, mode: str) -> None:
    f, p = recorded(name, mode)
    rows = sample((13, 2), seed=1)
    for seed in range(3):
        v = sample(len(p), seed)
        assert_near(f.hvp(v, *rows.T), expected_hvp(f, p, v, rows))


@each_mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jvp_is_the_difference_of_values(name: str, mode: str) -> None:
    f, p = recorded(name, mode)
    rows = sample((13, 2), seed=1)
    v = sample(len(p), 2)
    values, tangents = f.jvp(v, *rows.T)
    assert np.array_equal(values, f.map(*rows.T))
    plain = [f.__wrapped__(*map(Value, row)).data for row in rows]
    assert values == pytest.approx(plain, rel=1e-13)
    assert_near(tangents, slope(p, v, lambda: f.map(*rows.T)))
    assert tangents.sum() == pytest.approx(gradient(f, p, rows) @ v, rel=1e-11, abs=1e-13)


@each_mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_hessian_is_symmetric_and_hvp_linear(name: str, mode: str) -> None:
    f, p = recorded(name, mode)
    rows = sample((13, 2), seed=1)
    u, v = sample(len(p), 3), sample(len(p), 4)
    hu, hv = f.hvp(u, *rows.T), f.hvp(v, *rows.T)
    size = float(np.abs(u) @ np.abs(hv) + np.abs(v) @ np.abs(hu)) + 1e-12
    assert abs(u @ hv - v @ hu) < 1e-13 * size
    assert f.hvp(2.0 * u - 3.0 * v, *rows.T) == pytest.approx(
        2.0 * hu - 3.0 * hv, rel=1e-11, abs=1e-11
    )
    assert not f.hvp(0.0 * u, *rows.T).any()
    _, by_u = f.jvp(u, *rows.T)
    _, by_both = f.jvp(2.0 * u - 3.0 * v, *rows.T)
    assert by_both == pytest.approx(2.0 * by_u - 3.0 * f.jvp(v, *rows.T)[1], rel=1e-11, abs=1e-11)


STEPS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a * b + a,
    lambda a, b: a / (b * b + 1.0), lambda a, b: (a * a + 0.5) ** b.tanh(), lambda a, b: -a,
    lambda a, b: a.tanh(), lambda a, b: a.sigmoid(), lambda a, b: a.sin() * b, lambda a, b: a.erf(),
    lambda a, b: (a * a + 0.2).log(), lambda a, b: (a * a + 0.2).sqrt(), lambda a, b: a.cos(),
    lambda a, b: a.tanh().exp(), lambda a, b: a.sin() ** 2, lambda a, b: maximum(a, b),
    lambda a, b: pygradc.dot([a, b, a], [b, b, 2.0], a),
]  # fmt: skip


def random_function(seed: int) -> tuple[Any, int]:
    """Fifteen steps, each on two of the Values so far; and the parameters that it may use."""
    dice = random.Random(seed)
    p = [Value(dice.uniform(-1.5, 1.5)) for _ in range(4)]
    steps = [(dice.choice(STEPS), dice.random(), dice.random()) for _ in range(15)]

    def function(x: Any, y: Any) -> Any:
        values = [x, y, *p]
        for step, i, j in steps:
            a, b = (values[int(k * len(values))] for k in (i, j))
            values += [step(a, b), where(a * x < b, a * b, a.sin())][: 1 + (i < j < 0.3)]
        return sum(v.tanh() for v in values[-3:]) + values[-1] * values[-2].tanh()

    return function, dice.randrange(10**6)


@pytest.mark.parametrize("mode", ["exact", "unfused", "fast"])
@pytest.mark.parametrize("seed", range(60))
def test_random_functions(seed: int, mode: str) -> None:
    function, other = random_function(seed)
    f = pygradc.compile(function, **MODES[mode])
    rows = sample((5, 2), other)
    p = parameters_of(f, rows)
    v = sample(len(p), other + 1)
    expected = expected_hvp(f, p, v, rows)
    assert_near(f.hvp(v, *rows.T), expected, rel=1e-5)
    assert_near(f.jvp(v, *rows.T)[1], slope(p, v, lambda: f.map(*rows.T)), rel=1e-5)


def test_random_functions_reach_everything() -> None:
    """The draw isn't of functions without curvature."""
    curved = 0
    for seed in range(60):
        f = pygradc.compile(random_function(seed)[0])
        p = parameters_of(f, [[0.3, -0.2]])
        curved += len(p) > 1 and bool(f.hvp(np.ones(len(p)), [0.3], [-0.2]).any())
    assert curved > 45


@each_mode
@pytest.mark.parametrize("sizes", [(2, 1), (3, 4, 1), (2, 3, 3, 1)], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "erf"])
def test_networks(sizes: Any, activation: str, mode: str) -> None:
    random.seed(1)
    model = nn.MLP(sizes[0], sizes[1:], activation, "linear")
    f = pygradc.compile(lambda *x: losses.mse(model(x), 0.3), **MODES[mode])
    rows = sample((9, sizes[0]), 1)
    p = parameters_of(f, rows)
    v = sample(len(p), 2)
    assert_near(f.hvp(v, *rows.T), expected_hvp(f, p, v, rows))
    assert_near(f.jvp(v, *rows.T)[1], slope(p, v, lambda: f.map(*rows.T)))


# ---- detach: held fast, by the gradient too ------------------------------------------------------


@each_mode
def test_detach_is_a_constant_for_tangents(mode: str) -> None:
    p, q = Value(0.7), Value(-0.4)
    held = Value(0.0)
    f = pygradc.compile(lambda x: detach((p * q + x).tanh()) * p * p * x, **MODES[mode])
    g = pygradc.compile(lambda x, held=held: x[0] * p * p * x[1], **MODES[mode])
    xs = sample(11, 1)
    same = np.stack([np.tanh(p.data * q.data + xs), xs], axis=1)
    place = [id(p) for p in parameters_of(f, xs[:, None])]
    v = np.array([0.0, 0.0])
    v[place.index(id(p))], v[place.index(id(q))] = 1.5, 2.0
    product = f.hvp(v, xs)
    assert product[place.index(id(p))] == pytest.approx(g.hvp([1.5], same)[0], rel=1e-13)
    assert product[place.index(id(q))] == 0.0
    assert f.jvp(v, xs)[1] == pytest.approx(g.jvp([1.5], same)[1], rel=1e-13)


def test_detached_parameters_alone() -> None:
    p = Value(0.7)
    f = pygradc.compile(lambda x: detach(p) * p * x)
    assert f.hvp([1.0], np.ones(3)).tolist() == [0.0]
    assert f.jvp([1.0], np.ones(3))[1].tolist() == [0.7] * 3


# ---- Rows, means, outputs, arguments -------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exact", "unfused", "fast"])
@pytest.mark.parametrize("count", [1, 2, 5, 7, 8, 9, 16, 31, 33, 100, 1100])
@pytest.mark.parametrize("name", ["a hoisted penalty", "chains", "where"])
def test_any_number_of_rows(count: int, name: str, mode: str) -> None:
    f, p = recorded(name, mode)
    rows = sample((count, 2), seed=count)
    v = sample(len(p), 1)
    one_by_one = [f.hvp(v, [x], [y]) for x, y in rows.tolist()]
    product = f.hvp(v, *rows.T)
    assert product == pytest.approx(sum(one_by_one), rel=1e-11, abs=1e-11)
    assert f.hvp(v, *rows.T, mean=True) == pytest.approx(product / count, rel=1e-14)
    values, tangents = f.jvp(v, *rows.T)
    assert tangents.tolist() == [f.jvp(v, [x], [y])[1][0] for x, y in rows.tolist()]
    assert np.array_equal(values, f.map(*rows.T))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_rows(name: str) -> None:
    f, p = recorded(name, "exact")
    v, none = np.ones(len(p)), np.empty(0)
    assert f.hvp(v, none, none).tolist() == [0.0] * len(p)
    values, tangents = f.jvp(v, none, none)
    assert values.shape == tangents.shape == (0,)
    with pytest.raises(ValueError, match="no rows"):
        f.hvp(v, none, none, mean=True)


def test_jvp_of_several_outputs() -> None:
    p, q = Value(0.7), Value(-0.4)

    @pygradc.compile
    def f(x: Any, k: Any) -> Any:
        row = [p * x[0], q * x[1], p * q * k]
        return {"row": row, "pair": (p.exp(), (q * x[0]).sin()), "same": row[0], "number": 2.0}

    xs = sample((11, 2), 1)
    f.map(xs, 3.0)
    place = [id(p) for p in f.programs[0].parameters()]
    v = np.array([0.5, -2.0])
    dp, dq = v[place.index(id(p))], v[place.index(id(q))]
    values, tangents = f.jvp(v, xs, 3.0)
    for ours, expected in zip(values["pair"], f.map(xs, 3.0)["pair"]):
        assert np.array_equal(ours, expected)
    assert np.array_equal(values["row"], f.map(xs, 3.0)["row"])
    third = np.full(11, 3.0 * (dp * q.data + p.data * dq))
    np.testing.assert_allclose(
        tangents["row"], np.stack([dp * xs[:, 0], dq * xs[:, 1], third], axis=1), rtol=1e-14
    )
    first, second = tangents["pair"]
    np.testing.assert_allclose(first, np.full(11, math.exp(0.7) * dp), rtol=1e-14)
    np.testing.assert_allclose(second, np.cos(q.data * xs[:, 0]) * xs[:, 0] * dq, rtol=1e-13)
    np.testing.assert_array_equal(tangents["same"], tangents["row"][:, 0])
    assert tangents["number"].tolist() == [0.0] * 11


def test_arrays_static_arguments_and_loaded_programs(tmp_path: Any) -> None:
    p = [Value(0.7), Value(-0.4)]

    @pygradc.compile
    def f(x: Any, power: int = 2) -> Any:
        return pygradc.dot(p, x) ** power

    xs, v = sample((9, 2), 1), np.array([1.0, 2.0])
    inner = xs @ numbers(p)
    cubic = 6.0 * (inner * (xs @ v)) @ xs
    np.testing.assert_allclose(f.hvp(v, xs, power=3), cubic, rtol=1e-12)
    np.testing.assert_allclose(f.hvp([1, 2], xs.tolist()), 2.0 * (xs @ v) @ xs, rtol=1e-12)
    (program, _) = f.programs
    program.save(tmp_path / "cubic")
    loaded = pygradc.load(tmp_path / "cubic")
    assert loaded.hvp(v, xs).tolist() == program.hvp(v, xs).tolist()
    assert loaded.jvp(v, xs)[1].tolist() == program.jvp(v, xs)[1].tolist()


def test_a_function_without_parameters() -> None:
    f = pygradc.compile(lambda x: x * x)
    assert f.hvp([], np.ones(9)).shape == (0,)
    assert f.jvp([], np.ones(9))[1].tolist() == [0.0] * 9


def test_parameters_are_read_anew_and_nothing_is_changed() -> None:
    p = Value(2.0)
    f = pygradc.compile(lambda x: (p * x) ** 3)
    p.grad = 5.0
    before = pygradc.live_nodes()
    assert f.hvp([1.0], np.ones(2)).tolist() == [24.0]
    p.data = 1.0
    assert f.hvp([1.0], np.ones(2)).tolist() == [12.0]
    assert f.jvp([1.0], np.ones(2))[1].tolist() == [3.0, 3.0]
    assert (p.data, p.grad) == (1.0, 5.0) and pygradc.live_nodes() == before


def test_gradients_after_a_product_are_what_they_were() -> None:
    """They share a workspace."""
    f, p = recorded("chains", "exact")
    rows = sample((40, 2), 1)

    def bits() -> list[str]:
        total = f.sum(*rows.T)
        for q in p:
            q.grad = 0.0
        total.backward()
        return [x.hex() for x in (total.data, *(q.grad for q in p))]

    expected, mapped = bits(), f.map(*rows.T)
    f.hvp(np.ones(len(p)), *rows[:9].T)
    assert bits() == expected
    f.jvp(np.ones(len(p)), *rows[:3].T)
    assert bits() == expected and np.array_equal(f.map(*rows.T), mapped)


def test_newtons_method_with_conjugate_gradients_solves_least_squares() -> None:
    """What such products are for."""
    w = [Value(0.0) for _ in range(4)]
    f = pygradc.compile(lambda x, y: (pygradc.dot(w, x) - y) ** 2)
    xs, ys = sample((60, 4), 1), sample(60, 2)
    f.mean(xs, ys).backward()
    place = {id(p): i for i, p in enumerate(w)}
    assert [place[id(p)] for p in f.programs[0].parameters()] == [0, 1, 2, 3]
    residual = -np.array([p.grad for p in w])
    step, direction = np.zeros(4), residual.copy()
    for _ in range(4):
        product = f.hvp(direction, xs, ys, mean=True)
        length = residual @ residual / (direction @ product)
        step += length * direction
        new = residual - length * product
        direction = new + (new @ new) / (residual @ residual) * direction
        residual = new
    np.testing.assert_allclose(step, np.linalg.lstsq(xs, ys, rcond=None)[0], rtol=1e-9)


# ---- What isn't as it should be ------------------------------------------------------------------


@pytest.mark.parametrize("v", [[], [1.0], [1.0] * 3, 1.0, [[1.0, 2.0]], None], ids=str)
def test_a_direction_of_another_length(v: Any) -> None:
    p, q = Value(1.0), Value(2.0)
    f = pygradc.compile(lambda x: p * q * x)
    for method in (f.hvp, f.jvp):
        with pytest.raises(ValueError, match="2 parameters"):
            method(v, np.ones(3))


def test_a_direction_of_no_numbers() -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: p * x)
    for method in (f.hvp, f.jvp):
        with pytest.raises((TypeError, ValueError)):
            method(["a"], np.ones(3))


def test_several_outputs_have_no_hessian() -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: (p * x, p * p))
    with pytest.raises(ValueError, match="2 Values"):
        f.hvp([1.0], np.ones(3))


def test_arrays_of_another_shape() -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: p * x[0])
    f.map(np.ones((3, 2)))
    for method in (f.programs[0].hvp, f.programs[0].jvp):
        with pytest.raises(ValueError, match=r"\(2,\).*\(4,\)"):
            method([1.0], np.ones((3, 4)))


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("bad", [0, 5, 8, 20])
def test_a_row_outside_the_domain_is_named(bad: int, mode: str) -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: (p * x).log(), **MODES[mode])
    xs = np.ones(21)
    xs[bad] = -2.0
    for call in (f.map, lambda x: f.hvp([1.0], x), lambda x: f.jvp([1.0], x)):
        with pytest.raises(FloatingPointError, match=rf"^row {bad}: log\(-2.0\): outside"):
            call(xs)


def test_of_two_bad_rows_the_first_is_named() -> None:
    """Also where the second fails in an op that comes before: as map does it."""
    p = Value(1.0)
    f = pygradc.compile(lambda x: (p * x[0]).log() + (p * x[1]).log())
    xs = np.ones((8, 2))
    xs[1, 1] = xs[2, 0] = -1.0
    for call in (f.map, f.sum, lambda x: f.hvp([1.0], x), lambda x: f.jvp([1.0], x)):
        with pytest.raises(FloatingPointError, match=r"^row 1: "):
            call(xs)


def test_ignored_errors_give_nan() -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: (p * x).log(), errors="ignore")
    values, tangents = f.jvp([1.0], np.array([1.0, -1.0, 2.0]))
    assert np.isnan(values).tolist() == [False, True, False]
    assert tangents[[0, 2]].tolist() == [1.0, 1.0]
    assert f.hvp([1.0], np.array([1.0, 2.0])).tolist() == [-2.0]


@needs_alarm
@pytest.mark.parametrize("method", ["hvp", "jvp"])
def test_ctrl_c_comes_out_of_a_long_call(method: str) -> None:
    """Here most of the work is the weights' and not the rows'."""
    model = nn.MLP(256, [256, 1], "tanh", "linear")
    f = pygradc.compile(lambda x: model([x] * 256) ** 2)
    v, xs = np.ones(len(model.parameters())), np.full(500_000, 1.0 / 256)
    call = getattr(f, method)
    call(v, xs[:1])

    with alarm(0.1):
        call(v, xs)
    assert np.shape(call(v, xs[:8])[0]) == ((8,) if method == "jvp" else ())


# ---- PyTorch, which shares no line with us -------------------------------------------------------

ACTIVATIONS = ["tanh", "relu", "sigmoid"]


def torch_network(sizes: Sequence[int], activation: str, torch: Any) -> Callable[..., Any]:
    """The MLP as a function of all parameters, each neuron's weights and then its bias."""

    def forward(flat: Any, x: Any) -> Any:
        start = 0
        for i, (nin, nout) in enumerate(zip(sizes, sizes[1:])):
            layer = flat[start : start + nout * (nin + 1)].reshape(nout, nin + 1)
            x = (getattr(torch, activation)(x) if i else x) @ layer[:, :-1].T + layer[:, -1]
            start += nout * (nin + 1)
        return x

    return forward


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_torch_has_the_same_products_and_tangents(activation: str, mode: str) -> None:
    torch = pytest.importorskip("torch")
    sizes = (3, 5, 4, 2)
    random.seed(2)
    model = nn.MLP(sizes[0], sizes[1:], activation, "linear")
    outputs = pygradc.compile(model, **MODES[mode])
    loss = pygradc.compile(lambda x, y: pygradc.sum([
        (a - b) ** 2 for a, b in zip(model(x), y)
    ]), **MODES[mode])  # fmt: skip
    xs, ys = sample((17, 3), 1), sample((17, 2), 2)
    outputs.map(xs)
    loss.map(xs, ys)
    place = {id(p): i for i, p in enumerate(model.parameters())}
    v = sample(len(place), 3)
    forward = torch_network(sizes, activation, torch)
    flat, direction, x, y = (
        torch.tensor(a, dtype=torch.float64) for a in (numbers(model.parameters()), v, xs, ys)
    )

    order = [place[id(p)] for p in outputs.programs[0].parameters()]
    values, tangents = outputs.jvp(v[order], xs)
    expected, slopes = torch.func.jvp(lambda w: forward(w, x), (flat,), (direction,))
    np.testing.assert_allclose(values, expected.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(tangents, slopes.numpy(), rtol=1e-9, atol=1e-12)

    order = [place[id(p)] for p in loss.programs[0].parameters()]
    product = np.empty(len(place))
    product[order] = loss.hvp(v[order], xs, ys, mean=True)
    _, theirs = torch.autograd.functional.hvp(
        lambda w: ((forward(w, x) - y) ** 2).sum(dim=1).mean(), flat, direction
    )
    np.testing.assert_allclose(product, theirs.numpy(), rtol=1e-9, atol=1e-11)


def test_torch_has_the_same_hessian_of_a_softmax() -> None:
    torch = pytest.importorskip("torch")
    logits = [Value(x) for x in (0.5, -1.0, 300.0, 299.0)]
    f = pygradc.compile(lambda p: losses.soft_cross_entropy([w + p[0] * 0.0 for w in logits], p))
    row = np.array([[0.1, 0.2, 0.3, 0.4]])
    ours = hessian(f, 4, row)
    theirs = torch.autograd.functional.hessian(
        lambda w: torch.nn.functional.cross_entropy(w[None], torch.tensor(row)),
        torch.tensor(numbers(logits)),
    )
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-15)
