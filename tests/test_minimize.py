"""Does minimize hand scipy the right numbers, and leave the parameters where it says?"""

from __future__ import annotations

import doctest
import math
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alarms import alarm, needs_alarm, slow

import pygradc
from pygradc import Value, minimizing, nn
from pygradc.minimizing import METHODS

optimize = pytest.importorskip("scipy.optimize")
pytestmark = pytest.mark.unsanitized
ROOT = Path(__file__).resolve().parent.parent
VERSION = tuple(map(int, sys.modules["scipy"].__version__.split(".")[:2]))
THERE = [method for method in METHODS if method != "COBYQA" or VERSION >= (1, 14)]
each_method = pytest.mark.parametrize("method", THERE)

ROWS = 3000
X = np.random.default_rng(1).uniform(0.0, 4.0, ROWS)
Y = 2.0 * np.exp(-0.7 * X) + 0.5 + np.random.default_rng(2).normal(0.0, 0.05, ROWS)


def decay(**settings: Any) -> tuple[list[Value], Any]:
    """A fit of three parameters, which the program has in another order, beside a constant."""
    height, rate, floor = parameters = [Value(1.0, label=name) for name in ("h", "r", "f")]
    one = Value(1.0)

    @pygradc.compile(**settings)
    def loss(x: Value, y: Value) -> Value:
        return (floor * one + height * (-rate * x).exp() - y) ** 2

    return parameters, loss


def bowl() -> tuple[list[Value], Callable[[], Value]]:
    """Its minimum is at 1, -2; no parabola, and convex."""
    a, b = parameters = [Value(0.5), Value(0.5)]

    def f() -> Value:
        p, q = a - 1.0, b + 2.0
        return p * p + 3.0 * q * q + p * q + 0.1 * p**4

    return parameters, f


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace scipy's minimize by this function of what it is given."""

    def by(move: Callable[..., Any]) -> None:
        def fake(fun: Any, x0: Any, **given: Any) -> Any:
            fun(x0)
            x, f = move(fun, **given)
            return optimize.OptimizeResult(x=np.array(x), fun=f)

        monkeypatch.setattr(optimize, "minimize", fake)

    return by


# ---- the numbers --------------------------------------------------------------------------------


@each_method
@pytest.mark.parametrize("is_compiled", [True, False])
def test_each_method_finds_the_minimum(method: str, is_compiled: bool) -> None:
    parameters, f = bowl()
    for p in parameters:
        p.grad = 7.0
    result = pygradc.minimize(pygradc.compile(f) if is_compiled else f, parameters, method=method)
    assert result.success and np.abs(result.x - (1.0, -2.0)).max() < 1e-3
    assert [p.data for p in parameters] == result.x.tolist()
    assert [p.grad for p in parameters] == [7.0, 7.0]


def test_rows_are_averaged_with_the_bits_of_mean_by_any_workers() -> None:
    found = []
    for workers in (None, 1, 2):
        parameters, loss = decay()
        result = pygradc.minimize(loss, parameters, X, Y, workers=workers)
        assert np.abs(result.x - (2.0, 0.7, 0.5)).max() < 0.02
        assert result.fun == loss.mean(X, Y).data
        assert [p.data for p in parameters] == result.x.tolist()
        found.append(result.x.tolist())
    assert found[0] == found[1] == found[2]


def test_scipy_gets_gradient_products_and_hessian(drive: Any) -> None:
    at, along = np.array([1.5, 0.5, 0.25]), np.array([1.0, -2.0, 0.5])
    seen: dict[str, Any] = {}

    def move(fun: Any, **given: Any) -> Any:
        f, gradient = fun(at)
        seen["gradient"] = gradient
        if "hessp" in given:
            seen["product"] = given["hessp"](at, along)
        if "hess" in given:
            seen["hessian"] = given["hess"](at)
        return at, f

    drive(move)
    parameters, loss = decay()
    for method in ("BFGS", "trust-ncg", "dogleg"):
        pygradc.minimize(loss, parameters, X, Y, method=method)
    assert [p.grad for p in parameters] == [0.0] * 3
    loss.mean(X, Y).backward()
    assert seen["gradient"].tolist() == [p.grad for p in parameters]
    order = [loss.parameters().index(p) for p in parameters]
    assert order != sorted(order) and len(loss.parameters()) == 4
    expected = loss.hessian(X, Y, wrt="parameters").mean(axis=0)[np.ix_(order, order)]
    assert np.allclose(seen["hessian"], expected, rtol=1e-12)
    assert np.allclose(seen["product"], expected @ along, rtol=1e-12)


def test_a_plain_function_has_the_same_derivatives(drive: Any) -> None:
    seen: list[Any] = []

    def move(fun: Any, hessp: Any, **_: Any) -> Any:
        f, gradient = fun(np.array([0.25, 3.0]))
        seen.append((f, gradient, hessp(np.array([-1.0, 2.0]), np.array([1.0, -0.5]))))
        return [0.0, 0.0], 1.0

    drive(move)
    for turn in (lambda f: f, pygradc.compile):
        parameters, f = bowl()
        pygradc.minimize(turn(f), parameters, method="trust-ncg")
    assert seen[0][0] == seen[1][0]
    assert np.allclose(seen[0][1], seen[1][1], rtol=1e-14)
    assert np.allclose(seen[0][2], seen[1][2], rtol=1e-14) and seen[0][2].any()


def test_methods_without_gradients_need_none() -> None:
    w = Value(4.0)
    root = pygradc.compile(lambda x: ((w - 1.0) * (w - 1.0)).sqrt() + 0.0 * x)
    w.data = 1.0  # where the root has no derivative
    with pytest.raises(FloatingPointError, match=r"evaluation 1: .*derivative"):
        pygradc.minimize(root, [w], X)
    result = pygradc.minimize(root, [w], X, method="Nelder-Mead")
    assert result.fun == 0.0 and w.data == 1.0


def test_a_model_a_program_and_keywords_of_the_function() -> None:
    random.seed(0)
    model = nn.MLP(1, [2, 1])

    @pygradc.compile
    def loss(x: Value, y: Value, *, power: int) -> Value:
        return (model([x]) - y) ** power

    before = loss.mean(X[:50], np.tanh(X[:50]), power=2).data
    result = pygradc.minimize(loss, model, X[:50], np.tanh(X[:50]), power=2)
    assert result.fun < 0.01 < before
    program = loss.programs[0]
    again = pygradc.minimize(program, model.parameters(), X[:50], np.tanh(X[:50]), method="BFGS")
    assert again.fun <= result.fun


def test_a_function_that_replays_another_is_a_plain_one() -> None:
    parameters, loss = decay()
    result = pygradc.minimize(lambda: loss.mean(X, Y) + parameters[0] ** 2 * 0.0, parameters)
    assert np.abs(result.x - (2.0, 0.7, 0.5)).max() < 0.02
    parameters[0].data = 1.0
    with pytest.raises(TypeError, match=r"asks for second derivatives.*compiled"):
        pygradc.minimize(lambda: loss.mean(X, Y), parameters, method="trust-ncg")


def test_backward_of_a_plain_function_adds_to_other_leaves_only() -> None:
    w, other = Value(3.0), Value(2.0)
    w.grad = 5.0
    pygradc.minimize(lambda: (w - other) ** 2 + w.exp() * 0.0, [w], options={"maxiter": 1})
    assert w.grad == 5.0 and other.grad != 0.0


def test_what_scipy_is_passed(drive: Any) -> None:
    seen: dict[str, Any] = {}

    def move(fun: Any, **given: Any) -> Any:
        seen.update(given)
        return [0.0, 0.0], 0.0

    drive(move)
    parameters, f = bowl()
    more = {"tol": 1e-3, "options": {"maxiter": 3}, "constraints": [{"type": "eq"}]}
    pygradc.minimize(f, parameters, method="SLSQP", bounds=zip([0, None], [1, None]), **more)
    assert seen == {
        **more, "method": "SLSQP", "jac": True, "bounds": [(0, 1), (None, None)]
    }  # fmt: skip


def test_bounds_and_constraints_hold() -> None:
    parameters, f = bowl()
    pygradc.minimize(f, parameters, bounds=optimize.Bounds([-1.0, -1.0], [0.25, math.inf]))
    assert parameters[0].data == 0.25 and parameters[1].data == -1.0
    ring = {"type": "eq", "fun": lambda x: x @ x - 1.0, "jac": lambda x: 2.0 * x}
    pygradc.minimize(f, parameters, constraints=ring, method="SLSQP")
    assert abs(parameters[0].data ** 2 + parameters[1].data ** 2 - 1.0) < 1e-6


# ---- the callback -------------------------------------------------------------------------------


@each_method
def test_the_callback_sees_the_parameters_at_each_iteration(method: str) -> None:
    parameters, f = bowl()
    seen: list[tuple[int, float]] = []

    def callback(iteration: int, value: float) -> str:
        assert value == pytest.approx(f().data, rel=1e-14)
        seen.append((iteration, value))
        parameters[0].data = math.nan  # which the next evaluation sets
        return "no reason to stop"

    result = pygradc.minimize(f, parameters, method=method, callback=callback)
    assert [i for i, _ in seen] == list(range(1, len(seen) + 1)) and seen
    assert parameters[0].data == result.x[0] and seen[-1][1] < seen[0][1]


@each_method
@pytest.mark.parametrize("answer", [True, np.True_])
def test_true_ends_it(method: str, answer: Any) -> None:
    parameters, f = bowl()
    calls: list[int] = []

    def callback(iteration: int, value: float) -> Any:
        calls.append(iteration)
        return answer if iteration == 2 else None

    result = pygradc.minimize(f, parameters, method=method, callback=callback)
    assert calls == [1, 2]
    assert [p.data for p in parameters] == result.x.tolist() and result.fun == f().data


def test_a_stop_iteration_of_the_function_is_no_end() -> None:
    parameters, _ = bowl()
    with pytest.raises(StopIteration):
        pygradc.minimize(lambda: next(iter(())), parameters)


# ---- what stays after an error ------------------------------------------------------------------


def visits(*points: Any, then: type[BaseException] = RuntimeError) -> Callable[..., Any]:
    def move(fun: Any, **_: Any) -> Any:
        for x in points:
            fun(np.array(x, dtype=float))
        raise then

    return move


@pytest.mark.parametrize(
    "more, kept",
    [
        ({}, [1.0, -1.5]),
        ({"bounds": [(None, 0.9), (None, None)]}, [0.5, -1.0]),
        ({"bounds": optimize.Bounds(-9.0, [9.0, -0.5])}, [1.0, -1.5]),
        ({"bounds": [(None, -5.0), (None, None)]}, [0.5, 0.5]),
        ({"constraints": {"type": "eq"}}, [0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_best_point_within_the_bounds_stays(
    drive: Any, more: Any, kept: list[float], error: type[BaseException]
) -> None:
    parameters, f = bowl()
    parameters[1].grad = 3.0
    drive(visits([0.5, -1.0], [1.0, -1.5], [8.0, 8.0], then=error))
    with pytest.raises(error):
        pygradc.minimize(f, parameters, method="SLSQP", **more)
    assert [p.data for p in parameters] == kept and parameters[1].grad == 3.0


@each_method
def test_an_error_of_the_function_or_the_callback_comes_out(method: str) -> None:
    parameters, f = bowl()
    seen: list[tuple[float, list[float]]] = []

    def failing() -> Value:
        if len(seen) == 5:
            raise KeyError("mine")
        y = f()
        seen.append((y.data, [p.data for p in parameters]))
        return y

    with pytest.raises(KeyError, match="mine"):
        pygradc.minimize(failing, parameters, method=method)
    points = [point for _, point in seen]  # some of them of products only
    assert len(seen) == 5 and [p.data for p in parameters] in points and f().data <= seen[0][0]

    def callback(*_: Any) -> None:
        parameters[0].data = 100.0
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        pygradc.minimize(f, parameters, method=method, callback=callback)
    assert parameters[0].data < 3.0


@needs_alarm
@pytest.mark.skipif(sys.gettrace() is not None, reason="something else traces")
def test_ctrl_c_ends_a_long_evaluation_and_keeps_the_start() -> None:
    w = Value(0.75)
    long = pygradc.compile(lambda x: slow(w * x))
    long.mean(X[:10])
    rows = np.ones(1_000_000)
    with alarm(0.3):
        pygradc.minimize(long, [w], rows)
    assert w.data == 0.75 and w.grad == 0.0


# ---- numbers that aren't finite -----------------------------------------------------------------


def test_a_row_outside_the_domain_is_named() -> None:
    w = Value(0.5, label="w")
    cost = pygradc.compile(lambda x: w * x - 0.1 * (w * x).log())
    with pytest.raises(FloatingPointError) as caught:
        pygradc.minimize(cost, [w], [1.0, 1.0, -1.0])
    assert str(caught.value) == (
        "minimize: evaluation 1: row 2: log(-0.5): outside the real domain; the parameters are as "
        "they started: check the parameters, the constants and the data"
    )
    assert vars(caught.value) == {"evaluation": 1, "row": 2} and w.data == 0.5
    with pytest.raises(FloatingPointError) as caught:
        pygradc.minimize(cost, [w], [1.0, 1.0, 1.0])
    assert str(caught.value).startswith("minimize: evaluation 2: row 0: log(-")
    assert str(caught.value).endswith(
        "; the parameters are those of evaluation 1, the best: bounds= keeps a method from such "
        "points"
    )
    pygradc.minimize(cost, [w], [1.0, 1.0, 1.0], bounds=[(1e-9, None)])
    assert w.data == pytest.approx(0.1, abs=1e-4)


MESSAGES = (
    r"evaluation 3: f is inf at parameter 0 = 1e\+100, parameter 1 \(b\) = 3; .* evaluation 2, the "
    "best",
    r"evaluation 2: L-BFGS-B would set parameter 1 \(b\) to nan; .* those of evaluation 1",
    r"a product with the Hessian, after evaluation 1: the entry of parameter 1 \(b\) is inf",
)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_f_a_derivative_and_a_point_that_are_not_finite(drive: Any, is_compiled: bool) -> None:
    a, b = parameters = [Value(1.0), Value(2.0, label="b")]

    def f() -> Value:
        return a * a * 1e200 + b * b

    function = pygradc.compile(f) if is_compiled else f
    drive(visits([0.0, 1.0], [1e100, 3.0]))
    with pytest.raises(FloatingPointError, match=MESSAGES[0]):
        pygradc.minimize(function, parameters)
    assert [a.data, b.data] == [0.0, 1.0]
    drive(visits([0.0, math.nan]))
    with pytest.raises(FloatingPointError, match=MESSAGES[1]):
        pygradc.minimize(function, parameters)
    assert [a.data, b.data] == [0.0, 1.0]
    a.data = math.inf
    with pytest.raises(FloatingPointError, match=r"evaluation 1: .* parameter 0 to inf; .*start"):
        pygradc.minimize(function, parameters)
    assert a.data == math.inf


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_derivative_that_is_not_finite_is_named(is_compiled: bool) -> None:
    a, b = Value(1.0), Value(0.0, label="b")

    def f() -> Value:
        return a * a + b * 1e200 * 1e200

    message = r"evaluation 1: f is 1\.0, but its derivative by parameter 1 \(b\) is inf"
    with pytest.raises(FloatingPointError, match=message):
        pygradc.minimize(pygradc.compile(f) if is_compiled else f, [a, b])
    assert [a.data, b.data, b.grad] == [1.0, 0.0, 0.0]


def test_a_product_that_is_not_finite_is_named() -> None:
    a, b = Value(1.0), Value(1e-160, label="b")
    f = pygradc.compile(lambda: a * a + (b * 1e160) ** 2)
    with pytest.raises(FloatingPointError, match=MESSAGES[2]):
        pygradc.minimize(f, [a, b], method="trust-exact")
    assert [a.data, b.data] == [1.0, 1e-160]


def test_ignored_errors_are_scipys() -> None:
    w = Value(0.5)
    cost = pygradc.compile(lambda: w + 0.0 * (w - 0.25).log(), errors="ignore")
    result = pygradc.minimize(cost, [w], method="Nelder-Mead")
    assert math.isfinite(result.fun) and 0.25 <= w.data < 0.26


def test_without_a_finite_answer_the_best_point_stays(drive: Any) -> None:
    w = Value(0.5)
    cost = pygradc.compile(lambda: 1.0 / w, errors="ignore")
    drive(lambda fun, **_: (fun(np.array([2.0])), ([math.nan], math.nan))[1])
    result = pygradc.minimize(cost, [w])
    assert math.isnan(result.fun) and w.data == 2.0


# ---- arguments ----------------------------------------------------------------------------------


def w_and(function: Callable[[Value], Any]) -> tuple[Any, list[Value]]:
    w = Value(1.0)
    return function(w), [w]


def compiled(function: Callable[..., Any]) -> tuple[Any, list[Value]]:
    return w_and(lambda w: pygradc.compile(lambda x: function(w, x)))


ARGUMENTS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "method": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x), X, method="adam"),
        ValueError, "method='adam' is none of Nelder-Mead, Powell",
    ),
    "no function": (
        lambda: pygradc.minimize(3.0, [Value(1.0)]), TypeError, "expected a function, not float",
    ),
    "no parameters": (
        lambda: pygradc.minimize(lambda: Value(1.0), []), ValueError, "minimize: no parameters",
    ),
    "one Value": (
        lambda: pygradc.minimize(lambda: Value(1.0), Value(1.0)), TypeError, "a list of Values",
    ),
    "no list": (
        lambda: pygradc.minimize(lambda: Value(1.0), 3), TypeError, "parameters after the function",
    ),
    "numbers": (
        lambda: pygradc.minimize(lambda: Value(1.0), [1.0]), TypeError, "parameter 0 must be a V",
    ),
    "twice": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: w * w)[:1], [Value(1.0)] * 2),
        ValueError, "parameter 1 is parameter 0 again",
    ),
    "callback": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: w * w), callback=3),
        TypeError, "callback must be a function, not int",
    ),
    "workers": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x), X, workers=0),
        ValueError, "workers=0",
    ),
    "data for a plain function": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda x: w * x), X),
        TypeError, "1 arrays for a plain function: write @pygradc.compile",
    ),
    "a number": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: w.data)),
        TypeError, "must return a Value, not float",
    ),
    "two Values": (
        lambda: pygradc.minimize(*compiled(lambda w, x: [w, x]), X),
        ValueError, "must return one Value, not 2",
    ),
    "too few arrays": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x)),
        TypeError, "minimize: .* can't take 0 arrays",
    ),
    "no rows": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x), X[:0]),
        ValueError, "there are no rows",
    ),
    "nan": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x), [1.0, math.nan]),
        ValueError, "minimize: nan in the data: argument 0, row 1",
    ),
    "a Value among the data": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x["a"]), {"a": Value(2.0), "b": X}),
        TypeError, "minimize: a Value among the arrays can't be trained",
    ),
    "scipy's option": (
        lambda: pygradc.minimize(*compiled(lambda w, x: w * x), X, maxiter=3),
        TypeError, r"unknown keyword 'maxiter': options of scipy's are options=\{'maxiter': ",
    ),
    "jac": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: w * w), jac=True),
        TypeError, "unknown keyword 'jac': derivatives come from the function itself",
    ),
    "bounds": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: w * w), bounds=[(0, 1), (0, 1)]),
        ValueError, "expected bounds of 1 pairs",
    ),
    "a number as a bound": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: w * w), bounds=[3.0]),
        ValueError, "expected bounds of 1 pairs",
    ),
    "no Values captured": (
        lambda: pygradc.minimize(pygradc.compile(lambda x: x * x), [Value(1.0)], X),
        ValueError, "the function uses no parameters",
    ),
    "others captured": (
        lambda: pygradc.minimize(compiled(lambda w, x: w * x)[0], [Value(1.0)], X),
        ValueError, "captured 1 Values, but none of the 1 parameters",
    ),
    "numbers of the parameters": (
        lambda: pygradc.minimize(*w_and(lambda w: lambda: Value(w.data) * 2)),
        ValueError, "doesn't depend on the parameters",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_wrong_arguments_are_named(name: str) -> None:
    call, kind, message = ARGUMENTS[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_value_computed_from_the_parameters_before_is_refused() -> None:
    w = Value(2.0)
    twice = w * 2.0
    f = pygradc.compile(lambda x: (twice * x) ** 2 + w)
    with pytest.raises(ValueError, match="captured was computed from the parameters before"):
        pygradc.minimize(f, [w], X)
    with pytest.raises(ValueError, match="parameter 1 was computed from other parameters"):
        pygradc.minimize(lambda: twice * twice + w * w, [w, twice])
    assert w.data == 2.0
    square = pygradc.compile(lambda x: (twice * x - x) ** 2)
    pygradc.minimize(square, [twice], X)  # itself may move
    assert twice.data == pytest.approx(1.0, abs=1e-4)


def test_a_parameter_that_isnt_used_stays_and_a_replaced_one_is_warned_of() -> None:
    (h, r, f), loss = decay()
    unused = Value(3.0)
    with pytest.warns(RuntimeWarning, match="1 parameters aren't used .* captured 1 other") as seen:
        pygradc.minimize(loss, [h, unused, r, f], X, Y, method="trust-ncg")
    assert seen[0].filename == __file__
    assert unused.data == 3.0 and h.data == pytest.approx(2.0, abs=0.02)


def test_in_no_grad_a_recording_works_and_a_plain_function_is_refused() -> None:
    parameters, loss = decay()
    plain, f = bowl()
    with pygradc.no_grad():
        pygradc.minimize(loss, parameters, X, Y)
        with pytest.raises(ValueError, match="outside of no_grad"):
            pygradc.minimize(f, plain)
    assert parameters[0].data == pytest.approx(2.0, abs=0.02)


def test_while_recording_it_is_refused() -> None:
    w = Value(1.0)
    with pytest.raises(pygradc.TraceError, match=r"minimize\(\)"):
        pygradc.compile(lambda x: pygradc.minimize(lambda: w * x, [w]))(1.0)


def test_two_threads_do_not_move_one_parameter() -> None:
    parameters, f = bowl()
    caught: list[BaseException] = []

    def other() -> None:
        try:
            pygradc.minimize(f, parameters)
        except RuntimeError as error:
            caught.append(error)

    def callback(*_: Any) -> bool:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return True

    pygradc.minimize(f, parameters, callback=callback)
    with pytest.raises(ValueError, match="bounds") as kept:  # with the frames of the call
        pygradc.minimize(f, parameters, bounds=[])
    assert kept.tb is not None
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(caught) == 1 and str(caught[0]).startswith("minimize: another thread is fitting")
    assert parameters[0].data == pytest.approx(1.0, abs=1e-3)


# ---- the extra, the page ------------------------------------------------------------------------


def test_without_scipy_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, f = bowl()
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match="minimize needs scipy: pip install scipy"):
        pygradc.minimize(f, parameters)
    assert [p.data for p in parameters] == [0.5, 0.5]


def test_import_leaves_scipy_alone() -> None:
    code = "import sys, pygradc; print(pygradc.minimize.__name__, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "minimize False\n", done.stderr


def test_the_page_and_the_docstring_print_what_they_say() -> None:
    page = ROOT / "docs" / "minimizing.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 20 and results.failed == 0
    assert doctest.testmod(minimizing) == (0, 5)
    text = page.read_text(encoding="utf-8")
    assert all(f'`"{method}"`' in text for method in METHODS)
    program = text[text.index(">>> import numpy") : text.index("[1.99")]
    assert len(program.strip().splitlines()) <= 12
