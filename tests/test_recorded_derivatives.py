"""Are the derivatives of each row right, by inputs and by parameters, of any recorded function?"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

import pygradc
from pygradc import Value, detach, grad, losses, maximum, nn, where

MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "unfused": {"passes": ()},
    "fast": {"math": "fast"},
}
each_mode = pytest.mark.parametrize("mode", MODES)
each_wrt = pytest.mark.parametrize("wrt", ["inputs", "parameters"])


def sample(*size: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=size)


cube = pygradc.op(lambda a: a * a * a, lambda a, y: 3.0 * a * a, name="cube")


def network(p: list[Value], x: Value, y: Value) -> Value:
    hidden = [(p[i] * x + p[i + 1] * y + p[i + 2]).tanh() for i in range(3)]
    return pygradc.dot(p[:3], hidden, p[3]).sigmoid()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linear": lambda p, x, y: p[0] * x + p[1] * y + p[2],
    "a quadratic form": lambda p, x, y: (p[0] * x + p[1] * p[2] - y) ** 2 + p[0] * p[3],
    "parameters only": lambda p, x, y: (p[0] * p[1]).exp() * p[2] + p[3] ** 3 + p[4].cos(),
    "a parameter": lambda p, x, y: p[0],
    "an input": lambda p, x, y: x,
    "inputs only": lambda p, x, y: x * y + x.tanh(),
    "a constant": lambda p, x, y: 2.5 + 0.0 * p[0] * x,
    "a hoisted penalty": lambda p, x, y: (
        ((p[0] * x + p[1]).tanh() - y) ** 2 + 0.1 * pygradc.sum([q * q for q in p])
    ),
    "hoisted chains": lambda p, x, y: (
        pygradc.dot(p[:3], p[2:], p[0]).tanh() * x + pygradc.dot(p[:3], p[2:], p[0]) * y
    ),
    "weighted chains": lambda p, x, y: pygradc.dot(p[:3], [x, y, x * y], p[3] * p[4]) ** 2,
    "network": network,
    "division": lambda p, x, y: (p[0] * x + p[1]) / (p[2] * y * y + 2.0) - 1.0 / (p[3] ** 2 + 1.0),
    "powers": lambda p, x, y: (p[0] ** 2 + 0.5) ** (p[1] * x) + 2.0 ** (p[2] * y) + (p[4] + y) ** 3,
    "maximum": lambda p, x, y: maximum(p[0] * x, p[1] * y) * p[2] * x + (p[3] * y).relu() ** 2,
    "where": lambda p, x, y: where(
        (x > y) & (p[0] * x < 1.0),
        (p[1] * x).sin() * p[0] * y,
        where(y >= p[2], p[2] ** 3 * y, p[3]),
    ),
    "detached": lambda p, x, y: detach((p[0] * x).tanh()) * p[1] * y * y + x * p[0],
    "a custom op": lambda p, x, y: p[0] * cube(p[1] * x + y),
    "softmax": lambda p, x, y: losses.soft_cross_entropy(
        [p[0] * x + p[1], p[2] * y + p[3], p[4] * x * y], [0.2, 0.5, 0.3]
    ),
}  # fmt: skip


def recorded(name: str, mode: str) -> tuple[Any, list[Value]]:
    """The function of FUNCTIONS, and its parameters in the program's order."""
    p = [Value(x) for x in (0.7, -0.4, 0.9, 0.3, -1.1)]
    f = pygradc.compile(lambda x, y: FUNCTIONS[name](p, x, y), **MODES[mode])
    f.map([0.1], [0.2])
    return f, f.parameters()


def many(p: list[Value]) -> Any:
    """Several outputs, in a structure."""

    def function(x: Any, k: Any) -> Any:
        row = [p[0] * x[0], p[1] * x[1] ** 2, p[0] * p[1] * k * x[0]]
        return {"row": row, "pair": (p[0].exp() * k, (p[1] * x[0]).sin()), "number": 2.0}

    return function


def eager(f: Any, parameters: list[Value], row: Any, wrt: str) -> tuple[Any, list[Value]]:
    """The plain function's result, and what to differentiate it by."""
    xs = [Value(x) for x in row]
    return f.__wrapped__(*xs), xs if wrt == "inputs" else parameters


def by_backward(f: Any, parameters: list[Value], row: Any, wrt: str) -> list[float]:
    y, wanted = eager(f, parameters, row, wrt)
    for q in wanted:
        q.grad = 0.0
    y.backward()
    return [q.grad for q in wanted]


def near(ours: Any, expected: Any, rel: float = 1e-12) -> None:
    size = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(ours, expected, rtol=rel, atol=rel * size)


# ---- One output ----------------------------------------------------------------------------------


@each_wrt
@each_mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_those_of_backward(name: str, mode: str, wrt: str) -> None:
    f, p = recorded(name, mode)
    rows = sample(11, 2)
    expected = np.array([by_backward(f, p, row, wrt) for row in rows]).reshape(11, -1)
    outputs, found = f.gradients(*rows.T, wrt=wrt)
    ours = np.stack(found, axis=-1) if wrt == "inputs" else found
    if mode == "fast":
        near(ours, expected)
    else:
        assert ours.tolist() == expected.tolist()
    assert outputs.tolist() == f.map(*rows.T).tolist()
    assert f.jacobian(*rows.T, wrt=wrt).tolist() == ours[:, None, :].tolist()
    weights = sample(11, 1, seed=1)
    near(f.vjp(weights, *rows.T, wrt=wrt), weights * expected)
    near(f.vjp([3.0], *rows.T, wrt=wrt), 3.0 * expected)


@each_wrt
@each_mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_hessians_are_those_of_grad(name: str, mode: str, wrt: str) -> None:
    f, p = recorded(name, mode)
    rows = sample(11, 2)
    expected = np.zeros((11, 2 if wrt == "inputs" else len(p), 2 if wrt == "inputs" else len(p)))
    for found, row in zip(expected, rows):
        y, xs = eager(f, p, row, wrt)
        found[:] = np.reshape(
            [[d.data for d in line] for line in pygradc.hessian(y, xs)], found.shape
        )
    ours = f.hessian(*rows.T, wrt=wrt)
    near(ours, expected)
    near(ours, np.swapaxes(ours, 1, 2))
    if wrt == "inputs":
        v = sample(11, 2, seed=2)
        near(f.hvp(v, *rows.T, wrt="inputs"), np.einsum("rij,rj->ri", expected, v))
        near(f.hvp(v[0], *rows.T, wrt="inputs"), expected @ v[0])
    else:
        v = sample(len(p), seed=2)
        near(f.hvp(v, *rows.T), (expected @ v).sum(axis=0), 1e-11)


@each_mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_tangents_along_the_inputs(name: str, mode: str) -> None:
    f, _ = recorded(name, mode)
    rows, v = sample(11, 2), sample(11, 2, seed=2)
    jacobian = f.jacobian(*rows.T)[:, 0]
    outputs, tangents = f.jvp(v, *rows.T, wrt="inputs")
    assert outputs.tolist() == f.map(*rows.T).tolist()
    near(tangents, (jacobian * v).sum(axis=1))
    near(f.jvp(v[0], *rows.T, wrt="inputs")[1], jacobian @ v[0])


@pytest.mark.parametrize("name", ["network", "division", "softmax", "a custom op"])
@each_wrt
def test_hessians_are_central_differences_of_gradients(name: str, wrt: str) -> None:
    f, p = recorded(name, "exact")
    row, h = np.array([[0.3, -0.6]]), 1e-5
    found = f.hessian(*row.T, wrt=wrt)[0]

    def slopes(i: int, step: float) -> Any:
        moved = row.copy()
        if wrt == "inputs":
            moved[0, i] += step
        else:
            p[i].data += step
        ours = f.jacobian(*moved.T, wrt=wrt)[0, 0]
        if wrt == "parameters":
            p[i].data -= step
        return ours

    for i in range(len(found)):
        near(found[i], (slopes(i, h) - slopes(i, -h)) / (2.0 * h), 1e-8)


def test_a_wrong_entry_would_be_noticed() -> None:
    f, _ = recorded("network", "exact")
    found = f.hessian([0.3], [-0.6])[0]
    for i in range(2):
        wrong = found.copy()
        wrong[i, 1 - i] *= 1.0 + 1e-9
        with pytest.raises(AssertionError):
            near(wrong, found)


@each_mode
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 31, 33, 100, 1100])
def test_any_number_of_rows(count: int, mode: str) -> None:
    f, _ = recorded("a hoisted penalty", mode)
    rows, v = sample(count, 2), sample(count, 2, seed=1)
    calls: list[Callable[[Any, Any], Any]] = [
        lambda x, v: f.jacobian(*x.T), lambda x, v: f.jacobian(*x.T, wrt="parameters"),
        lambda x, v: f.gradients(*x.T, wrt="parameters")[1],
        lambda x, v: f.hessian(*x.T), lambda x, v: f.hessian(*x.T, wrt="parameters"),
        lambda x, v: f.vjp(v[:, :1], *x.T), lambda x, v: f.vjp([2.0], *x.T, wrt="parameters"),
        lambda x, v: f.jvp(v, *x.T, wrt="inputs")[1], lambda x, v: f.hvp(v, *x.T, wrt="inputs"),
    ]  # fmt: skip
    for call in calls:
        ours = call(rows, v)
        assert len(ours) == count
        for i in {0, 1, count // 2, count - 1} & set(range(count)):
            assert ours[i].tolist() == call(rows[i : i + 1], v[i : i + 1])[0].tolist()


def test_a_function_of_parameters_alone_has_one_row() -> None:
    x, y = Value(1.5), Value(-0.5)
    f = pygradc.compile(lambda: (1 - x) ** 2 + 100 * (y - x * x) ** 2)
    assert f.hessian(wrt="parameters").tolist() == [[[2902.0, -600.0], [-600.0, 200.0]]]
    assert f.hessian().shape == (1, 0, 0) and f.jacobian().shape == (1, 1, 0)
    (gradient,) = f.gradients(wrt="parameters")[1]
    f().backward()
    assert gradient.tolist() == [x.grad, y.grad]
    assert f.vjp([2.0], wrt="parameters").tolist() == [[2 * x.grad, 2 * y.grad]]
    assert f.jvp([], wrt="inputs")[1].tolist() == [0.0]
    assert f.hvp([], wrt="inputs").shape == (1, 0)


def test_a_function_without_parameters() -> None:
    f = pygradc.compile(lambda x: x * x)
    xs = np.ones(9)
    assert f.gradients(xs, wrt="parameters")[1].shape == (9, 0)
    assert f.hessian(xs, wrt="parameters").shape == (9, 0, 0)
    assert f.hessian(xs).tolist() == [[[2.0]]] * 9


# ---- Several outputs, structures, static arguments, methods --------------------------------------


@each_wrt
@each_mode
def test_several_outputs(mode: str, wrt: str) -> None:
    p = [Value(0.7), Value(-0.4)]
    f = pygradc.compile(many(p), **MODES[mode])
    xs, ks = sample(9, 2), sample(9, seed=1)
    jacobian = f.jacobian(xs, ks, wrt=wrt)
    assert [id(q) for q in f.parameters()] == [id(q) for q in p]
    for found, x, k in zip(jacobian, xs, ks):
        inputs = [Value(z) for z in (*x, k)]
        result = f.__wrapped__(inputs[:2], inputs[2])
        ys = [*result["row"], *result["pair"], Value(result["number"])]
        wanted = inputs if wrt == "inputs" else p
        near(found, [[d.data for d in line] for line in pygradc.jacobian(ys, wanted)])
    weights = sample(9, 6, seed=2)
    near(f.vjp(weights, xs, ks, wrt=wrt), np.einsum("ro,roi->ri", weights, jacobian))
    near(f.vjp(weights[0], xs, ks, wrt=wrt), weights[0] @ jacobian)
    unit = np.eye(6)[4]
    near(f.vjp(unit, xs, ks, wrt=wrt), jacobian[:, 4])
    outputs, gradients = f.gradients(xs, ks, wrt=wrt)
    assert outputs["row"].tolist() == f.map(xs, ks)["row"].tolist()
    if wrt == "parameters":
        assert gradients.tolist() == jacobian.tolist()
    else:
        assert [g.shape for g in gradients] == [(9, 6, 2), (9, 6)]
        v = sample(9, 3, seed=3)
        tangents = f.jvp(v, xs, ks, wrt="inputs")[1]
        flat = np.column_stack([tangents["row"], *tangents["pair"], tangents["number"]])
        near(flat, np.einsum("roi,ri->ro", jacobian, v))


def test_the_output_shape_is_that_of_gradients() -> None:
    p = Value(2.0)
    f = pygradc.compile(lambda x: [[p * x[0], x[1], x[2]], [p * p * x[0], p, p * x[2]]])
    xs = sample(5, 3)
    assert f.gradients(xs)[1][0].shape == (5, 2, 3, 3)
    by_p = f.gradients(xs, wrt="parameters")[1]
    assert by_p.shape == (5, 2, 3, 1)
    near(by_p[:, 1, 0, 0], 4.0 * xs[:, 0])
    assert f.jacobian(xs).shape == (5, 6, 3)


class Point(NamedTuple):
    x: Any
    y: Any


def test_structures_and_static_arguments() -> None:
    q = Value(0.5)

    @pygradc.compile
    def f(points: Any, kind: str, power: int = 2) -> Any:
        (a, b), c = points["point"], points["c"]
        scale = q if kind == "scaled" else q * 0.0 + 1.0
        return scale * (a * b + c[0] * c[1]) ** power

    a, b, c = sample(7), sample(7, seed=1), sample(7, 2, seed=2)
    rows = {"point": Point(a, b), "c": c}
    inner = a * b + c[:, 0] * c[:, 1]
    by_inner = np.stack([b, a, c[:, 1], c[:, 0]], axis=1)
    swap = np.kron(np.eye(2), [[0.0, 1.0], [1.0, 0.0]])
    cases = (("scaled", 0.5), ("plain", 1.0))
    for power in (2, 3):
        for kind, scale in cases:
            first = scale * power * inner ** (power - 1)
            second = scale * power * (power - 1) * inner ** (power - 2)
            expected = second[:, None, None] * by_inner[:, :, None] * by_inner[:, None, :]
            hessian = f.hessian(rows, kind, power=power)
            near(hessian, expected + first[:, None, None] * swap)
            near(f.jacobian(rows, kind, power=power)[:, 0], first[:, None] * by_inner)
            near(f.vjp([1.0], rows, kind, power=power), first[:, None] * by_inner)
            v = sample(4, seed=5)
            near(f.jvp(v, rows, kind, power=power, wrt="inputs")[1], first * (by_inner @ v))
            near(f.hvp(v, rows, kind, power=power, wrt="inputs"), hessian @ v)
    scaled = f.gradients(rows, "scaled", power=3, wrt="parameters")[1]
    near(scaled[:, 0], inner**3)


def test_values_and_numbers_that_are_the_same_for_all_rows() -> None:
    f = pygradc.compile(lambda x, k: x * x * k)
    xs = sample(9)
    for k in (3.0, Value(3.0)):
        hessian = f.hessian(xs, k)
        near(hessian, np.stack([np.array([[6.0, 2 * x], [2 * x, 0.0]]) for x in xs]))
        near(f.vjp([2.0], xs, k), np.stack([12.0 * xs, 2.0 * xs * xs], axis=1))


class Model:
    def __init__(self, weight: float) -> None:
        self.weight = Value(weight)

    @pygradc.compile
    def loss(self, x: Any) -> Any:
        return (self.weight * x) ** 3


def test_methods_have_derivatives_of_their_own() -> None:
    one, two = Model(1.0), Model(2.0)
    xs = np.array([1.0, 2.0])
    for model, w in ((one, 1.0), (two, 2.0)):
        assert model.loss.hessian(xs)[:, 0, 0].tolist() == (6.0 * w**3 * xs).tolist()
        by_weight = model.loss.hessian(xs, wrt="parameters")[:, 0, 0]
        assert by_weight.tolist() == (6.0 * w * xs**3).tolist()
        near(model.loss.vjp([1.0], xs), 3.0 * w**3 * xs[:, None] ** 2)
    near(Model.loss.hessian(two, xs)[:, 0, 0], 48.0 * xs)


def test_parameters_are_read_anew_and_nothing_is_changed() -> None:
    p = Value(2.0)
    f = pygradc.compile(lambda x: (p * x) ** 3)
    p.grad = 5.0
    xs = np.ones(2)
    before = pygradc.live_nodes()
    for value, slope in ((2.0, 12.0), (1.0, 3.0)):
        p.data = value
        assert f.gradients(xs, wrt="parameters")[1].tolist() == [[slope]] * 2
        assert f.hessian(xs, wrt="parameters").tolist() == [[[6.0 * value]]] * 2
        assert f.hessian(xs).tolist() == [[[6.0 * value**3]]] * 2
    assert (p.data, p.grad) == (1.0, 5.0) and pygradc.live_nodes() == before


def test_sums_after_derivatives_have_the_same_bits() -> None:
    f, _ = recorded("network", "exact")
    rows = sample(40, 2)
    before = f.sum(*rows.T).data, f.gradients(*rows.T)[1][0].tolist()
    f.hessian(*rows.T), f.hessian(*rows[:3].T, wrt="parameters"), f.vjp([1.0], *rows[:9].T)
    f.jvp([1.0, 0.0], *rows.T, wrt="inputs")
    assert (f.sum(*rows.T).data, f.gradients(*rows.T)[1][0].tolist()) == before


# ---- Programs as files, copies, executors, layers ------------------------------------------------


def everything(f: Any, rows: Any) -> list[Any]:
    v = np.array([0.5, -1.0])
    return [
        f.jacobian(*rows.T).tolist(), f.jacobian(*rows.T, wrt="parameters").tolist(),
        f.hessian(*rows.T).tolist(), f.hessian(*rows.T, wrt="parameters").tolist(),
        f.vjp([2.0], *rows.T).tolist(), f.vjp([2.0], *rows.T, wrt="parameters").tolist(),
        f.jvp(v, *rows.T, wrt="inputs")[1].tolist(), f.hvp(v, *rows.T, wrt="inputs").tolist(),
        f.gradients(*rows.T, wrt="parameters")[1].tolist(),
    ]  # fmt: skip


@each_mode
@pytest.mark.parametrize("name", ["network", "where", "a custom op", "hoisted chains"])
def test_loaded_programs_and_copies_have_them_too(name: str, mode: str, tmp_path: Any) -> None:
    f, _ = recorded(name, mode)
    rows = sample(9, 2)
    (program,) = f.programs
    expected = everything(f, rows)
    assert everything(program, rows) == expected
    program.save(tmp_path / "saved")
    again = (pygradc.load(tmp_path / "saved"), copy.copy(program), copy.deepcopy(program),
             pickle.loads(pickle.dumps(program)))  # fmt: skip
    for one in again:
        assert everything(one, rows) == expected


@each_wrt
def test_an_executor_changes_no_bit(wrt: str) -> None:
    f, _ = recorded("network", "exact")
    rows, weights = sample(5000, 2), sample(5000, 1, seed=1)
    calls: list[Callable[..., Any]] = [
        lambda **how: f.jacobian(*rows.T, wrt=wrt, **how),
        lambda **how: f.vjp(weights, *rows.T, wrt=wrt, **how),
        lambda **how: f.vjp([2.0], *rows.T, wrt=wrt, **how),
        lambda **how: np.stack(list(f.gradients(*rows.T, wrt=wrt, **how)[1]), axis=0),
    ]
    expected = [call() for call in calls]
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(1) as processes:
        for executor in (threads, processes):
            for call, wanted in zip(calls, expected):
                assert np.array_equal(call(executor=executor), wanted)


@each_mode
def test_layers(mode: str) -> None:
    random.seed(1)
    model = nn.MLP(3, [4, 3, 1], "tanh", "linear")
    f = pygradc.compile(lambda x, y: (model(x) - y) ** 2, **MODES[mode])
    xs, ys = sample(35, 3), sample(35, seed=1)
    by_parameters = f.gradients(xs, ys, wrt="parameters")[1]
    hessian = f.hessian(xs, ys, wrt="parameters")
    p = f.parameters()
    assert by_parameters.shape == (35, len(p)) and hessian.shape == (35, len(p), len(p))
    for q in p:
        q.grad = 0.0
    f.sum(xs, ys).backward()
    near(by_parameters.sum(axis=0), [q.grad for q in p])
    v = sample(len(p), seed=2)
    near((hessian @ v).sum(axis=0), f.hvp(v, xs, ys))
    for i in (0, 34):
        y = (model([Value(x) for x in xs[i]]) - ys[i]) ** 2
        slopes = [d.data for d in grad(y, p)]
        near(by_parameters[i], slopes)
        near(hessian[i, 5], [d.data for d in grad(grad(y, p)[5], p)])


def test_every_vector_level_has_the_same_bits() -> None:
    f, _ = recorded("network", "fast")
    rows = sample(41, 2)
    expected = everything(f, rows)
    for level in range(pygradc._core.lib.pg_replay_levels()):
        f.programs[0]._set_level(level)
        assert everything(f, rows) == expected


# ---- Errors --------------------------------------------------------------------------------------


CALLS: dict[str, Callable[..., Any]] = {
    "gradients": lambda f, *a, **how: f.gradients(*a, **how),
    "jacobian": lambda f, *a, **how: f.jacobian(*a, **how),
    "hessian": lambda f, *a, **how: f.hessian(*a, **how),
    "vjp": lambda f, *a, **how: f.vjp([1.0], *a, **how),
    "jvp": lambda f, *a, **how: f.jvp([1.0], *a, **how),
    "hvp": lambda f, *a, **how: f.hvp([1.0], *a, **how),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_wrt
@each_call
@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("bad", [0, 5, 8, 20])
def test_a_row_outside_the_domain_is_named(call: Any, wrt: str, bad: int, mode: str) -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: (p * x).log(), **MODES[mode])
    xs = np.ones(21)
    xs[bad] = -2.0
    with pytest.raises(FloatingPointError, match=rf"^row {bad}: log\(-2.0\): outside"):
        call(f, xs, wrt=wrt)


@each_wrt
@each_call
def test_a_derivative_that_fails_names_its_row(call: Any, wrt: str) -> None:
    p = Value(1.0)
    f = pygradc.compile(lambda x: (p * x).sqrt())
    xs = np.ones(13)
    xs[9] = 0.0
    if wrt == "parameters" and call is CALLS["jvp"]:
        assert f.jvp([1.0], xs)[1][9] == 0.0  # the slope is infinite, and the tangent of p * 0 is 0
        return
    with pytest.raises(FloatingPointError, match=r"^row 9: derivative of sqrt\(0\.0\)"):
        call(f, xs, wrt=wrt)


@each_mode
def test_an_infinite_second_derivative_is_an_error(mode: str) -> None:
    """As it is in eager code; where its gradient is 0 it contributes 0, there and here."""
    p = Value(0.0)
    f = pygradc.compile(lambda x: (p + x) ** 1.5, **MODES[mode])
    xs = np.array([1.0, 2.0, 0.0])
    with pytest.raises(ZeroDivisionError):
        grad(grad((p + 0.0) ** 1.5, p), p)
    for call in (lambda: f.hessian(xs), lambda: f.hessian(xs, wrt="parameters"),
                 lambda: f.hvp([1.0], xs), lambda: f.hvp([1.0], xs, wrt="inputs")):  # fmt: skip
        with pytest.raises(FloatingPointError, match=r"^row 2: derivative of 0\.0 \*\* "):
            call()
    g = pygradc.compile(lambda x: where(x > 0, x**1.5, x * x) + 0.0 * x**1.5, **MODES[mode])
    near(g.hessian(xs)[:, 0, 0], [0.75, 0.75 / 2.0**0.5, 2.0])
    ignoring = pygradc.compile(lambda x: x**1.5, errors="ignore", **MODES[mode])
    assert np.isinf(ignoring.hessian(xs)[:, 0, 0]).tolist() == [False, False, True]


def test_an_infinite_slope_of_a_branch_that_is_not_taken_is_none() -> None:
    f = pygradc.compile(lambda x: where(x > 0, x.sqrt(), x * 3.0))
    xs = np.array([4.0, 0.0])
    assert f.jvp([1.0], xs, wrt="inputs")[1].tolist() == [0.25, 3.0]
    assert f.hessian(xs)[:, 0, 0].tolist() == [-1.0 / 32.0, 0.0]
    assert f.vjp([1.0], xs)[:, 0].tolist() == [0.25, 3.0]


def test_an_output_of_weight_0_contributes_0() -> None:
    f = pygradc.compile(lambda x: [x.sqrt(), x * 3.0])
    assert f.vjp([0.0, 2.0], [0.0]).tolist() == [[6.0]]
    with pytest.raises(FloatingPointError, match=r"^row 1: derivative of sqrt"):
        f.vjp([[0.0, 2.0], [1.0, 0.0]], [0.0, 0.0])


@each_call
@pytest.mark.parametrize("wrt", ["input", "params", None, 0])
def test_wrt_is_one_of_two(call: Any, wrt: Any) -> None:
    f = pygradc.compile(lambda x: x * x)
    with pytest.raises(ValueError, match="wrt must be 'inputs' or 'parameters', not"):
        call(f, np.ones(3), wrt=wrt)


def test_wrt_is_no_option_of_sums() -> None:
    f = pygradc.compile(lambda x: x * x)
    for method in (f.map, f.sum, f.mean):
        with pytest.raises(TypeError, match="wrt= is an option of gradients, jacobian, hessian, v"):
            method(np.ones(3), wrt="inputs")
    with pytest.raises(TypeError, match="executor= is an option of"):
        f.hessian(np.ones(3), executor=None)


@pytest.mark.parametrize("v", [[], [1.0], [1.0] * 3, 1.0, np.ones((4, 2)), np.ones((3, 1)), None],
                         ids=str)  # fmt: skip
def test_a_direction_of_another_shape(v: Any) -> None:
    f = pygradc.compile(lambda x: x[0] * x[1])
    for method in (f.hvp, f.jvp):
        with pytest.raises(ValueError, match=r"^v has shape .*expected \(2,\).*\(3, 2\).*2 inputs"):
            method(v, np.ones((3, 2)), wrt="inputs")


def test_weights_of_another_shape() -> None:
    f = pygradc.compile(lambda x: [x, x * x])
    for weights in ([], [1.0], 1.0, np.ones((4, 2)), None):
        with pytest.raises(ValueError, match=r"^weights has shape .*\(2,\).*\(3, 2\).*2 outputs"):
            f.vjp(weights, np.ones(3))
    with pytest.raises((TypeError, ValueError), match="weights"):
        f.vjp(["a", "b"], np.ones(3))


def test_several_outputs_have_no_hessian() -> None:
    f = pygradc.compile(lambda x: (x, x * x))
    for call in (lambda: f.hessian(np.ones(3)), lambda: f.hvp([1.0], np.ones(3), wrt="inputs")):
        with pytest.raises(ValueError, match="the function returns 2 Values, not one: record one"):
            call()


def test_by_the_inputs_there_is_no_mean() -> None:
    f = pygradc.compile(lambda x: x * x)
    with pytest.raises(ValueError, match="mean= is an option of wrt='parameters'"):
        f.hvp([1.0], np.ones(3), wrt="inputs", mean=True)


@each_call
def test_arrays_of_another_shape(call: Any) -> None:
    f = pygradc.compile(lambda x: x[0] * x[1])
    f.map(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"\(2,\).*\(4,\)"):
        call(f.programs[0], np.ones((3, 4)), wrt="inputs")
