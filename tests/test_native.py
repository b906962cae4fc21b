"""Is machine code the interpreter's equal, bit for bit, and does the program know what it runs?

Every test that goes through the levels of `pg_replay_levels` also runs machine code, the highest;
here is what only it has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value
from pygradc._core import lib
from pygradc.core.ops import OPS, Op

HIGHEST = lib.pg_replay_levels() - 1

pytestmark = pytest.mark.skipif(not lib.pg_has_native(), reason="no machine code here")


def at_level(function: Callable[..., Any], level: int, *example: Any, **options: Any) -> Any:
    f = pygradc.compile(function, **options)
    f.map(*example)
    for program in f.programs:
        program._set_level(level)
    return f


def bits(*arrays: Any) -> list[bytes]:
    return [np.ascontiguousarray(a, dtype=float).tobytes() for a in arrays]


def everything(f: Any, params: list[Value], *columns: Any) -> list[bytes]:
    """Values, gradients by inputs and by parameters, and a Hessian product."""
    for p in params:
        p.grad = 0.0
    total = f.sum(*columns)
    total.backward()
    ps = f.programs[0].parameters()
    found = bits(f.map(*columns), *f.gradients(*columns), total.data, [p.grad for p in ps])
    direction = np.linspace(0.5, 1.5, len(ps))
    return found + bits(f.hvp(direction, *columns), f.jvp(direction, *columns))


def test_a_program_says_what_it_runs() -> None:
    f = at_level(lambda x: x * x, HIGHEST, np.ones(3))
    assert f.programs[0].native
    f.programs[0]._set_level(HIGHEST - 1)
    assert not f.programs[0].native


@pytest.mark.parametrize("setting, expected", [("0", "False"), ("1", "True")])
def test_the_environment_can_refuse_it(setting: str, expected: str) -> None:
    code = (
        "import pygradc; f = pygradc.compile(lambda x: x * x + 1.0)\n"
        "print(f(3.0).data, f.programs[0].native)"
    )
    environment = {**os.environ, "PYGRADC_NATIVE": setting}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["10.0", expected]


MOST_ROWS = 45


def of_op(op: Op, p: Value, q: Value) -> tuple[Callable[..., Any], list[Any]]:
    """A function of rows and parameters by way of this op, and columns of its intervals."""
    rng = np.random.default_rng(op.number)
    columns = [rng.uniform(*interval, MOST_ROWS) for interval in op.intervals[: op.arity]]
    number = float(round(sum(op.intervals[1]) / 2.0)) if op.takes_number else None

    def function(*operands: Any) -> Any:
        inner = [p * x for x in operands]
        rest = () if number is None else (number,)
        y = getattr(inner[0], op.method)(*inner[1:], *rest)
        return y * q + p * q * y

    return function, columns


def at_both_levels(
    function: Callable[..., Any], params: list[Value], columns: Any, math: str
) -> None:
    """For numbers of rows that take blocks of 1, 8 and 32, whole ones and with padding."""
    found = []
    for level in (HIGHEST, HIGHEST - 1):
        f = at_level(function, level, *(c[:2] for c in columns), math=math)
        counts = (1, 2, 8, 33, MOST_ROWS)
        found.append([everything(f, params, *(c[:n] for c in columns)) for n in counts])
    assert found[0] == found[1]


@pytest.mark.parametrize("math", ["exact", "fast"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_each_op_in_rows_of_every_width(op: Op, math: str) -> None:
    p, q = Value(1.0), Value(0.75)
    function, columns = of_op(op, p, q)
    at_both_levels(function, [p, q], columns, math)


@pytest.mark.parametrize("math", ["exact", "fast"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_each_op_where_it_is_hoisted(op: Op, math: str) -> None:
    p, q = Value(1.0), Value(0.75)
    function, columns = of_op(op, p, q)
    operands = [Value(float(c[0])) for c in columns]
    at_both_levels(lambda x: function(*operands) * x, [p, q, *operands], [np.ones(MOST_ROWS)], math)


@pytest.mark.parametrize("math", ["exact", "fast"])
def test_sines_and_cosines_of_one_operand(math: str) -> None:
    """Each is the other's derivative, in rows and hoisted; of others, it is called."""
    p, q = Value(1.25), Value(0.75)

    def function(x: Any) -> Any:
        a, b = p * x, p * q
        pairs = a.sin() * a.cos() * a.sin() + b.cos() / (b.sin() + 2.0) * x
        return pairs + x.sin() + (x * q).cos() + a.cos() * (a + 1.0).sin()

    rows = np.concatenate([[0.0, -0.0, 1e22], np.linspace(-50.0, 50.0, 67)])
    at_both_levels(function, [p, q], [rows], math)


@pytest.mark.parametrize("name", ["exp", "log", "tan"])
def test_a_fast_function_alone_is_that_in_vectors(name: str) -> None:
    """Of one argument, with branches for the ordinary ones: at their limits, and everywhere."""
    rng = np.random.default_rng(4)
    limits = [0.0, 2.0**-1074, 2.0**-1022, 0.78, 1.0, 700.0, 709.9, 746.0, 2.0**20, 1e308, np.inf]
    near = [np.nextafter(x, to) for x in limits for to in (-np.inf, np.inf)]
    spread = np.frombuffer(rng.bytes(8 * 500), dtype=float)
    X = np.concatenate(
        [limits, near, spread, rng.uniform(-800.0, 800.0, 500), rng.uniform(0, 3, 500)]
    )
    X = np.concatenate([X, -X, [np.nan]])
    found = []
    for level in (HIGHEST, 0):
        f = at_level(lambda x: getattr(x, name)(), level, X[:2], math="fast", errors="ignore")
        one_by_one = (f.gradients(X[i : i + 1]) for i in range(len(X)))
        results = zip(*one_by_one) if level == HIGHEST else f.gradients(X)
        found.append(bits(*(np.ravel(r) for r in results)))
    assert found[0] == found[1]


CONDITIONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "not <": lambda a, b: ~(a < b),
    "not <=": lambda a, b: ~(a <= b),
    "not >": lambda a, b: ~(a > b),
    "not >=": lambda a, b: ~(a >= b),
    "both": lambda a, b: (a <= b) & (a >= b),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_condition(name: str) -> None:
    p = Value(1.5)
    numbers = np.array([-1.0, 0.0, -0.0, 1.0, 1.5, np.inf, -np.inf, np.nan, 2.0])
    a, b = (side.ravel() for side in np.meshgrid(numbers, numbers))

    def function(x: Any, y: Any) -> Any:
        return pygradc.where(CONDITIONS[name](x, y), p * x, p * p + y)

    found = []
    for level in (HIGHEST, HIGHEST - 1):
        f = at_level(function, level, a, b, errors="ignore")
        found.append(bits(f.map(a, b), *f.gradients(a, b)))
    assert found[0] == found[1]


def test_a_result_that_is_not_finite_is_judged_by_the_interpreter() -> None:
    """A quotient by 0 that vanishes again: 1 / (1 / 0) is an error in Python."""
    p = Value(1.0)
    for level in (HIGHEST, HIGHEST - 1):
        f = at_level(lambda x: p / (p / x), level, np.ones(2))
        rows = np.ones(40)
        rows[35] = 0.0
        for _ in range(4):  # also when it has met that twice
            with pytest.raises(FloatingPointError, match="row 35"):
                f.map(rows)
            with pytest.raises(FloatingPointError, match="row 35"):
                f.sum(rows)
            assert f.map(rows[:35]).tolist() == [1.0] * 35


def test_a_gate_that_meets_an_infinity() -> None:
    """The same in a derivative that is a value: the gate's product is undefined; it counts as 0."""
    p = Value(2.0)

    def slope(x: Any) -> Any:
        y = pygradc.where(x > 0.5, (p * x).sqrt(), p * x)
        return pygradc.grad(y, x) * p

    rows = np.array([0.0, 1.0, 4.0, 0.0] * 10)
    expected = np.where(rows > 0.5, 4.0 / (2.0 * np.sqrt(2.0 * np.maximum(rows, 1.0))), 4.0)
    found = []
    for level in (HIGHEST, HIGHEST - 1):
        f = at_level(slope, level, rows[1:3], errors="ignore")
        found.append(bits(*(f.map(rows[:n]) for n in (1, 4, 40, 1, 1)), *f.gradients(rows)))
        np.testing.assert_allclose(f.map(rows), expected, rtol=1e-14)
    assert found[0] == found[1]


def test_an_infinity_in_a_gradient_that_is_zero() -> None:
    """sqrt'(0) is infinite, and met by a gradient of 0."""
    p = Value(2.0)
    found = []
    for level in (HIGHEST, HIGHEST - 1):
        f = at_level(lambda x: pygradc.where(x > 0.0, (p * x).sqrt(), x), level, np.ones(2))
        found.append(everything(f, [p], np.array([0.0, 1.0, 4.0, 0.0])))
    assert found[0] == found[1]


def test_code_that_would_be_too_large_is_interpreted() -> None:
    p = Value(0.999)

    def chain(x: Any) -> Any:
        for _ in range(200_000):
            x = (x * p).tanh()
        return x

    f = at_level(chain, HIGHEST, np.ones(1))
    value = f.map(np.ones(1))
    assert value.shape == (1,) and not f.programs[0].native
    f.programs[0]._set_level(HIGHEST - 1)
    assert bits(f.map(np.ones(1))) == bits(value)


def test_threads_share_it() -> None:
    p = Value(1.5)
    f = at_level(lambda x: (p * x).tanh() / (x + 2.0), HIGHEST, np.ones(2))
    rows = np.linspace(0.0, 1.0, 100)
    f.programs[0]._set_level(HIGHEST)
    results: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: results.append(bits(f.map(rows), *f.gradients(rows))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all(r == results[0] for r in results)


@pytest.mark.forks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_it() -> None:
    code = """
import os, pygradc, numpy as np
f = pygradc.compile(lambda x: x * x + 1.0)
expected = f.map(np.arange(9.0)).tolist()
if (child := os.fork()) == 0:
    os._exit(0 if f.map(np.arange(9.0)).tolist() == expected else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), f.programs[0].native)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "True"]
