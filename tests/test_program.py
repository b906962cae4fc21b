"""Does a recorded program say what the function says: to the bit, for any number of rows, by
anybody's hand, and with the same complaints?

Eager Values are the oracle throughout.
"""

from __future__ import annotations

import collections
import functools
import gc
import math
import multiprocessing
import os
import pickle
import random
import re
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from alarms import MOST_SECONDS, alarm, needs_alarm, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import (
    ARRAYS,
    OP_CASES,
    OUTPUTS,
    STEPS,
    Case,
    apply,
    as_columns,
    as_list,
    bits,
    chain,
    columns,
    drawn,
    eager,
    eager_row,
    first_difference,
    gradients,
    mlp,
    near,
    planned,
    recorded_rows,
    row_difference,
    with_params,
)

import pygradc
from pygradc import Program, Value, compile, detach, live_nodes, maximum, minimum, where
from pygradc._core import lib
from pygradc.core.ops import OPS
from pygradc.recorded import tracing
from pygradc.recorded.parallel import Work

ROW_COUNTS = (1, 2, 7, 8, 9, 31, 32, 33, 40, 64, 100, 1023, 1024, 1025, 3000)
LEVELS = range(lib.pg_replay_levels())
PASSES: tuple[tuple[str, ...], ...] = ((), ("fold",), ("hoist",), ("fuse",), ("layers",))
TOGETHER = (
    ("fold", "hoist", "fuse"),
    ("fuse", "hoist"),
    ("fuse", "layers"),
    ("hoist", "fuse", "layers"),
    ("layers", "fuse", "hoist", "fold"),
)

# ---- 1. Does a replay equal eager, to the bit? ---------------------------------------------------


def diamonds(params: list[Value], x: Value, y: Value) -> Any:
    a = x * params[0] + y
    b = a * a - a / 3.0
    c = b * a + a * b
    return c - b * b * 0.01, a, c


def nested_chains(params: list[Value], x: Value, y: Value) -> Any:
    u, v, w = params
    inner = chain(lambda i: [x, u, y, v][i], range(4), w)
    shared = x * v
    outer = inner * u + shared + y * w + shared * inner
    return sum([p * z for p, z in zip(params, (inner, outer, x))], y), outer


def many_uses(params: list[Value], x: Value) -> Any:
    total = x
    for i in range(40):
        total = total * params[0] + (x if i % 3 else x.sin() * x)
    return total


def all_kinds_of_outputs(params: list[Value], x: Value, y: Value) -> Any:
    z = x * y
    return z, x, params[0], Value(1.5), z, 2.0, params[0], y, params[1] * params[0]


def choices(params: list[Value], x: Value, y: Value) -> Any:
    a = where(x < y, x * params[0], y - params[1])
    b = maximum(minimum(x, 0.5), a) + where((x > 0.0) & (y <= x), a, 1.0)
    return a * b + detach(x * a) * y, maximum(x, x) + minimum(y, y)


def powers(params: list[Value], x: Value, y: Value) -> Any:
    base = x * x + 0.5
    return base**2.5 + base**-1 + base**0 + x**3 + y**2, 2.0**y + base ** params[0], 1 / base


def only_parameters(params: list[Value], x: Value) -> Any:
    penalty = sum(p * p for p in params)
    return x * penalty + penalty.sqrt(), penalty


def weights_meet_again(params: list[Value], x: Value, y: Value) -> Any:
    """Parameters get gradients from rows, from what is computed once, and from rows again."""
    u, v = params
    first = x * u + u.sin() * y
    return (first + u * v) * u + (v * v) * first + u


def large(params: list[Value], x: Value) -> Any:
    """Too many slots for 32 lanes."""
    total = x
    for i in range(4200):
        total = (total * params[i % 5]).sin() + x
    return total


CASES: dict[str, Case] = {
    "diamonds": with_params(1, diamonds, 2),
    "nested chains": with_params(3, nested_chains, 2),
    "many uses": with_params(1, many_uses, 1, low=-0.5, high=0.5),
    "kinds of outputs": with_params(2, all_kinds_of_outputs, 2),
    "choices": with_params(2, choices, 2),
    "powers": with_params(1, powers, 2),
    "only parameters": with_params(4, only_parameters, 1),
    "weights meet again": with_params(2, weights_meet_again, 2),
    "network": mlp([3, 4, 3, 1]),
    "network of two outputs": mlp([2, 3, 2], "sigmoid"),
}
each_case = pytest.mark.parametrize("name", CASES)
SEEDS = range(60)


def difference(f: Any, case: Case, rows: Any) -> str | None:
    """What f gives otherwise than the function itself: rows at once, and some one by one."""
    table = eager(case, rows)
    data, by_inputs = recorded_rows(f, rows)
    if found := first_difference(data, table.data):
        return f"values {found}"
    if found := first_difference(by_inputs, table.inputs):
        return f"gradients {found}"
    for row in rows[:3].tolist():
        if found := row_difference(f, case, row, eager_row(case, row)):
            return found
    return None


@pytest.mark.parametrize("name", ["nested chains", "network", "choices"])
def test_rows_are_the_functions_wherever_they_stand_and_however_many(name: str) -> None:
    case = CASES[name]
    f = compile(case.function)
    rows = case.rows(max(ROW_COUNTS))
    table = eager(case, rows)
    for count in ROW_COUNTS:
        for start in {0, min(5, 3000 - count), 3000 - count}:
            part = slice(start, start + count)
            data, by_inputs = recorded_rows(f, rows[part])
            assert bits(data) == bits(table.data[part]), (count, start)
            assert bits(by_inputs) == bits(table.inputs[part]), (count, start)
            assert bits(as_columns(f.map(*columns(rows[part])))) == bits(data)


@each_case
def test_a_case_is_the_functions_to_the_bit(name: str) -> None:
    case = CASES[name]
    assert difference(compile(case.function), case, case.rows(41)) is None


@pytest.mark.parametrize("name", OP_CASES)
def test_each_op_is_the_functions_to_the_bit(name: str) -> None:
    case = OP_CASES[name]
    assert difference(compile(case.function), case, case.rows(70, seed=3)) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drawn_function_is_the_functions_to_the_bit(seed: int) -> None:
    case = drawn(seed)
    assert difference(compile(case.function), case, case.rows(35, seed)) is None


def test_a_program_too_large_for_wide_blocks_is_the_functions_to_the_bit() -> None:
    case = with_params(5, large, 1)
    f = compile(case.function)
    assert difference(f, case, case.rows(11)) is None
    assert f.programs[0]._size.row_slots > 8192


@each_case
def test_sums_and_means_are_the_functions(name: str) -> None:
    case = CASES[name]
    f, rows = compile(case.function), case.rows(100)
    table = eager(case, rows)
    count = table.data.shape[1]
    for total, scale in ((f.sum, 1.0), (f.mean, 1 / 100)):
        ends = as_list(total(*columns(rows)))
        assert near(
            [y.data for y in ends], scale * table.data.sum(0), scale * abs(table.data).sum(0)
        )
        for i in range(count):
            found = gradients(ends[i], [], case.params)[1]
            of_rows = table.params[:, i]
            assert near(found, scale * of_rows.sum(0), scale * abs(of_rows).sum(0))


# Plans of hypothesis's: any step, any operands, and numbers that are odd.

SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 5e-324, 1e-310, 1e200, -1e308, math.inf, -math.inf, math.nan]
some_numbers = st.one_of(st.floats(-3.0, 3.0), st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, 3.0]))
plans = st.lists(
    st.tuples(
        st.sampled_from(list(STEPS)),
        st.tuples(*[st.integers(0, 40)] * 6),
        some_numbers,
    ),
    min_size=3,
    max_size=20,
)
ALWAYS_THE_SAME = "PYGRADC_EXAMPLES" not in os.environ  # else more, and others each night
EXAMPLES = int(os.environ.get("PYGRADC_EXAMPLES", "400"))


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ArithmeticError, ValueError) as error:
        return error


def some_rows(seed: int, count: int, odd: bool) -> Any:
    dice = np.random.default_rng(seed)
    rows = dice.uniform(-3, 3, (count, 2))
    if odd:
        chosen = dice.random(rows.shape) < 0.2
        rows[chosen] = dice.choice(SPECIAL, int(chosen.sum()))
    return rows


@pytest.mark.once
@settings(max_examples=EXAMPLES, deadline=None, derandomize=ALWAYS_THE_SAME)
@given(
    plans,
    st.lists(some_numbers, min_size=2, max_size=3),
    st.sampled_from(OUTPUTS),
    st.integers(0, 1000),
    st.integers(1, 12),
    st.booleans(),
)
def test_any_plan_is_the_functions_to_the_bit(
    plan: Any, numbers: list[float], outputs: str, seed: int, count: int, odd: bool
) -> None:
    case = planned(plan, 2, numbers, outputs)
    rows = some_rows(seed, count, odd)
    found = [outcome(lambda row=row: eager_row(case, row)) for row in rows.tolist()]
    fine = np.array([not isinstance(row, Exception) for row in found])
    f, careless = compile(case.function), compile(case.function, errors="ignore")
    recording = outcome(lambda: f.map(*columns(rows[:0])))
    if isinstance(recording, Exception):
        assert not fine.any()  # parameters or constants are outside a domain
        return
    if fine.any():
        data, by_inputs = recorded_rows(f, rows[fine])
        expected = [row for row in found if not isinstance(row, Exception)]
        assert first_difference(data, np.array([row.data for row in expected])) is None
        assert first_difference(by_inputs, np.array([row.inputs for row in expected])) is None
        assert row_difference(f, case, rows[fine][0].tolist(), expected[0]) is None
        for ours, all_rows in zip((data, by_inputs), recorded_rows(careless, rows)):
            assert first_difference(all_rows[fine], ours) is None
    raised = outcome(lambda: f.gradients(*columns(rows)))
    if isinstance(raised, Exception) and not str(raised).startswith("in what depends"):
        assert isinstance(raised, FloatingPointError)
        assert not fine[int(str(raised).split(":")[0].removeprefix("row "))]


# ---- 2. Does each pass keep the bits, and does it do something? ----------------------------------


def with_passes(case: Case, passes: tuple[str, ...], rows: Any) -> tuple[Any, ...]:
    """What must not depend on the passes; and the sums, which may in their last bits."""
    f = compile(case.function, passes=passes)
    data, by_inputs = recorded_rows(f, rows)
    by_one, by_many = (
        [gradients(y, [], case.params)[1] for y in as_list(f.sum(*columns(some)))]
        for some in (rows[:1], rows)
    )
    return bits(data), bits(by_inputs), bits(by_one), np.array(by_many)


def passes_differ(case: Case, rows: Any) -> str | None:
    base = with_passes(case, (), rows)
    table = eager(case, rows)
    size = abs(table.params).sum(0)
    for passes in (*PASSES[1:], *TOGETHER):
        found = with_passes(case, passes, rows)
        for what, a, b in zip(("values", "gradients", "one row's sums"), found, base):
            if a != b:
                return f"{what} with {passes}"
        if not near(found[3], base[3], size):
            return f"sums with {passes}"
    return None


@each_case
def test_no_pass_changes_a_case(name: str) -> None:
    assert passes_differ(CASES[name], CASES[name].rows(40, seed=5)) is None


@pytest.mark.parametrize("seed", range(100, 130))
def test_no_pass_changes_a_drawn_function(seed: int) -> None:
    case = drawn(seed, steps=18)
    assert passes_differ(case, case.rows(9, seed)) is None


@pytest.mark.parametrize("name", OP_CASES)
def test_no_pass_changes_an_op(name: str) -> None:
    assert passes_differ(OP_CASES[name], OP_CASES[name].rows(40, seed=6)) is None


def program_of(function: Callable[..., Any], *args: Any, **settings: Any) -> Program:
    f = compile(function, **settings)
    f(*args)
    (program,) = f.programs
    return program


def length(function: Callable[..., Any], *args: Any, **settings: Any) -> int:
    return len(program_of(function, *args, **settings))


def test_fold_computes_constants_when_recording() -> None:
    def function(x: Value) -> Value:
        return x * (Value(2.0) * 3.0 + Value(0.5).sin())

    assert length(function, 1.0, passes=()) == 4
    assert length(function, 1.0, passes=("fold",)) == 1


def test_fold_keeps_equal_constants_once() -> None:
    program = program_of(lambda x: (x + 2.0) * 2.0 + 2, 1.0, passes=("fold",))
    assert program._size.constants == 1


def test_fold_tells_zeros_apart() -> None:
    f = compile(lambda x: (x * 0.0, x * -0.0), passes=("fold",))
    assert bits(f.map(np.ones(1))) == bits([[0.0], [-0.0]])


@pytest.mark.parametrize("passes", PASSES)
def test_constants_may_be_detached_and_chosen(passes: tuple[str, ...]) -> None:
    def function(x: Value) -> Any:
        two = detach(Value(2.0))
        return x * (two * 3.0 + 1.0), where(x > 0, Value(1.0), 2.0) * two

    f = compile(function, passes=passes)
    assert [y.data for y in f(2.0)] == [14.0, 2.0]
    assert [y.data for y in f(-2.0)] == [-14.0, 4.0]


def test_hoist_computes_once_what_no_row_changes() -> None:
    params = [Value(0.5), Value(-2.0), Value(3.0)]

    def function(x: Value) -> Value:
        return x * sum(p * p for p in params).sqrt()

    size = program_of(function, 1.0, passes=("hoist",))._size
    assert (size.row_instrs, size.uniform_instrs) == (1, 7)  # 3 products, 0 + 3 sums, a root
    size = program_of(function, 1.0, passes=())._size
    assert (size.row_instrs, size.uniform_instrs) == (8, 0)


def test_hoist_keeps_what_rows_change() -> None:
    p = Value(2.0)
    program = program_of(lambda x: x * x + p * x, 1.0, passes=("hoist",))
    assert program._size.uniform_instrs == 0


def test_fuse_makes_a_neuron_one_instruction_and_its_activation() -> None:
    for inputs in (1, 2, 10):
        random.seed(0)
        neuron = pygradc.nn.Neuron(inputs, "tanh")
        x = [0.5] * inputs
        assert length(neuron, x, passes=("fuse",)) == 2
        assert length(neuron, x, passes=()) == 2 * inputs + 1


def test_fuse_makes_a_network_two_instructions_a_neuron() -> None:
    network = mlp([3, 4, 2, 1], "tanh").function
    assert length(network, 1.0, 2.0, 3.0) == 2 * (4 + 2 + 1)
    assert length(network, 1.0, 2.0, 3.0, passes=()) == 4 * 7 + 2 * 9 + 5


def opcodes(program: Program) -> list[str]:
    """The instructions' ops, in their order."""
    lines = (line.split(" = ", 1)[1] for line in str(program).splitlines() if " = " in line)
    return [re.split(r"[:(]", text)[0] for text in lines]


def test_layers_puts_the_neurons_of_a_layer_together() -> None:
    network = mlp([3, 4, 2, 1], "tanh").function
    one_by_one = ["dot", "tanh"] * 7
    assert opcodes(program_of(network, 1.0, 2.0, 3.0, passes=("fuse",))) == one_by_one
    together = [*["dot"] * 4, *["tanh"] * 4, *["dot"] * 2, *["tanh"] * 2, "dot", "tanh"]
    assert opcodes(program_of(network, 1.0, 2.0, 3.0, passes=("fuse", "layers"))) == together
    assert opcodes(program_of(network, 1.0, 2.0, 3.0)) == together


@pytest.mark.parametrize("neurons", [1, 2, 3, 8, 9, 65])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_layers_of_any_width_keep_the_bits(neurons: int, activation: str) -> None:
    """However many neurons are worked on at once, and whether they stand next to activations."""
    case = mlp([2, neurons, 2], activation)
    rows = case.rows(33, seed=4)
    assert passes_differ(case, rows) is None
    assert difference(compile(case.function), case, rows) is None


ZEROS = [0.0, -0.0]


@pytest.mark.parametrize("start", [*ZEROS, None], ids=str)
@pytest.mark.parametrize("captured", [False, True])
def test_fuse_keeps_the_signs_of_zeros(start: float | None, captured: bool) -> None:
    """A start of -0.0 isn't the same as none, nor as 0.0."""
    w = Value(1.0)
    begin = Value(start or 0.0) if captured else start

    def function(x: Value, y: Value) -> Any:
        some = x * w + y * w if begin is None else begin + x * w + y * w
        return some, x * y if begin is None else begin + x * y

    case = Case(function, 2, [w] if begin is None or not captured else [w, begin])
    rows = np.array([[x, y] for x in ZEROS for y in ZEROS])
    assert difference(compile(function), case, rows) is None
    assert passes_differ(case, rows) is None


def test_fuse_keeps_a_sum_that_others_use() -> None:
    p = Value(2.0)

    def function(x: Value, y: Value) -> Any:
        product = x * p
        return product + y * y, product

    assert length(function, 1.0, 2.0, passes=("fuse",)) == 2  # the product stays


def from_between(params: list[Value], x: Value) -> Any:
    """Unfused, x gets a gradient from tanh between those from the chain's products."""
    u, v, w = params
    return (x * u + x.sin() * v) + x.tanh() * w


def from_nested(params: list[Value], x: Value) -> Any:
    u, v, w = params
    inner = (u * x + v * x) + w * x
    return ((inner * inner + x * inner) + inner.sin() * x) + x * u


def from_a_shared_product(params: list[Value], x: Value) -> Any:
    u, v, w = params
    product = x * u
    return (product * v + x * w) + product.tanh() * x, product


@pytest.mark.parametrize("function", [from_between, from_nested, from_a_shared_product])
def test_fuse_keeps_the_order_of_gradients(function: Callable[..., Any]) -> None:
    """Three contributions and more: added in another order, some rows' last bits change."""
    case = with_params(3, function, 1)
    rows = case.rows(300, seed=8)
    assert passes_differ(case, rows[:50]) is None
    assert difference(compile(case.function), case, rows) is None


def test_the_order_of_gradients_matters_in_these_rows() -> None:
    """That is, the test above could fail."""
    case = with_params(3, from_between, 1)

    def in_another_order(x: Value) -> Value:
        u, v, w = case.params
        return (x.tanh() * w + x.sin() * v) + x * u

    rows = case.rows(300, seed=8)
    other = Case(in_another_order, 1, case.params)
    assert bits(eager(case, rows).inputs) != bits(eager(other, rows).inputs)


def test_share_computes_equal_things_once() -> None:
    def function(x: Value, y: Value) -> Value:
        return (x * y).sin() + (x * y).sin() * x

    assert length(function, 1.0, 2.0, math="fast", passes=()) == 6
    assert length(function, 1.0, 2.0, math="fast", passes=("share",)) == 4


def test_powers_makes_squares_products() -> None:
    def function(x: Value) -> Value:
        return x**2 + x * x + 1 / x + x**-1.0

    for passes, names in (((), "**"), (("powers",), "square recip")):
        f = compile(function, math="fast", passes=passes)
        f(2.0)
        assert all(name in str(f.programs[0]) for name in names.split())
    f = compile(function, math="fast")
    x = np.linspace(0.5, 4.0, 50)
    values, (slopes,) = f.gradients(x)
    np.testing.assert_allclose(values, 2 * x * x + 2 / x, rtol=1e-14)
    np.testing.assert_allclose(slopes, 4 * x - 2 / x**2, rtol=1e-13, atol=1e-13)


@each_case
def test_fast_math_is_near(name: str) -> None:
    case = CASES[name]
    rows = case.rows(50, seed=9)
    f, table = compile(case.function, math="fast"), eager(case, rows)
    data, by_inputs = recorded_rows(f, rows)
    np.testing.assert_allclose(data, table.data, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(by_inputs, table.inputs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_fast_math_without_passes_is_near_them_all(seed: int) -> None:
    case = drawn(seed, steps=12)
    rows = case.rows(20, seed)
    plain, all_of_them = (
        compile(case.function, math="fast", passes=passes) for passes in ((), None)
    )
    for a, b in zip(recorded_rows(plain, rows), recorded_rows(all_of_them, rows)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


# ---- 3. Do all kinds of vectors give the same bits? ----------------------------------------------


def with_level(f: Any, level: int) -> Any:
    for program in f.programs:
        program._set_level(level)
    return f


def everything(f: Any, rows: Any, params: list[Value]) -> tuple[bytes, ...]:
    """Values, gradients, sums and their gradients."""
    data, by_inputs = recorded_rows(f, rows)
    ends = as_list(f.sum(*columns(rows)))
    by_params = [gradients(y, [], params)[1] for y in ends]
    return bits(data), bits(by_inputs), bits([y.data for y in ends]), bits(by_params)


@pytest.mark.parametrize("math_", ["exact", "fast"])
@pytest.mark.parametrize("name", [*OP_CASES, "nested chains", "choices", "powers", "network"])
def test_every_kind_of_vectors_gives_the_same_bits(name: str, math_: str) -> None:
    case = OP_CASES.get(name) or CASES[name]
    f = compile(case.function, math=math_)
    rows = case.rows(70, seed=10)
    recorded_rows(f, rows)
    base: dict[int, Any] = {}
    for level in LEVELS:
        with_level(f, level)
        for count in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 41, 63, 64, 65, 70):
            found = everything(f, rows[:count], case.params)
            assert base.setdefault(count, found) == found, (level, count)
        data, _ = recorded_rows(f, rows)
        for count in range(1, 71):  # and a row doesn't depend on those after it
            assert bits(recorded_rows(f, rows[:count])[0]) == bits(data[:count]), (level, count)


def test_an_unknown_level_is_the_widest() -> None:
    case = CASES["network"]
    f, rows = compile(case.function), case.rows(40)
    expected = everything(f, rows, case.params)
    assert everything(with_level(f, 99), rows, case.params) == expected


# ---- 4. Do sums depend on who computes them? -----------------------------------------------------

EXECUTORS = ("threads 1", "threads 2", "threads 7", "processes 2", "foreign 1")


class Foreign(Executor):
    """Says nothing of its workers; what it is given, and gives back, goes through pickle."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            call, args, named = pickle.loads(pickle.dumps((call, args, named)))
            future.set_result(pickle.loads(pickle.dumps(call(*args, **named))))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        yield pool


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    kind, count = request.param.split()
    if kind == "processes":
        yield request.getfixturevalue("processes")
        return
    with Foreign() if kind == "foreign" else ThreadPoolExecutor(int(count)) as pool:
        yield pool


def totals(f: Any, params: list[Value], arrays: Any, **how: Any) -> tuple[Any, ...]:
    """All that a function gives for these rows, as bits."""
    ends = [f.sum(*arrays, **how)]
    if len(arrays[0]):
        ends.append(f.mean(*arrays, **how))
    of_sums = [(bits(y.data), bits(gradients(y, [], params)[1])) for y in ends]
    values, by_inputs = f.gradients(*arrays, **how)
    return (*of_sums, bits(f.map(*arrays, **how)), bits(values), *map(bits, by_inputs))


def one_output(params: list[Value], x: Value, y: Value) -> Value:
    u, v, w = params
    return (x * u + y * v + w).tanh() * u + w * w * x


@pytest.mark.parametrize("count", [0, 1, 31, 1000, 1025, 5000, 100_000])
def test_results_are_the_same_whoever_computes_them(executor: Any, count: int) -> None:
    case = with_params(3, one_output, 2)
    f = compile(case.function)
    arrays = [np.ascontiguousarray(x) for x in columns(case.rows(count, seed=11))]
    alone = totals(f, case.params, arrays)
    assert totals(f, case.params, arrays, executor=executor) == alone
    assert totals(f, case.params, arrays, executor=executor) == alone


def test_a_broadcast_value_gets_the_same_gradient_whoever_computes_it(executor: Any) -> None:
    case = with_params(3, one_output, 2)
    f, x = compile(case.function), np.linspace(-2, 2, 5000)

    def found(**how: Any) -> bytes:
        y = Value(0.5)
        return bits(gradients(f.sum(x, y, **how), [y], case.params)[0])

    assert found(executor=executor) == found()


def test_a_fault_is_the_same_whoever_computes_it(executor: Any) -> None:
    f, x = compile(lambda x: x.log()), np.ones(5000)
    x[[4900, 2222, 3333]] = -1.0
    for call in (f.map, f.sum, f.gradients):
        for how in ({}, {"executor": executor}):
            with pytest.raises(FloatingPointError, match=r"^row 2222: log\(-1\.0\)"):
                call(x, **how)
    x[:] = 1.0
    assert bits(f.map(x, executor=executor)) == bits(np.zeros(5000))


class Spied:
    """Parts as they are handed out: `taken` notes who takes which, and `before` acts on it."""

    def __init__(self, parts: Any, taken: list[Any], before: Callable[[Any], Any]) -> None:
        self.parts, self.taken, self.before = parts, taken, before

    def __iter__(self) -> Spied:
        return self

    def __next__(self) -> Any:
        part = next(self.parts)
        self.taken.append((threading.get_ident(), part))
        self.before(part)
        return part


def spied(monkeypatch: pytest.MonkeyPatch, before: Callable[[Any], Any]) -> list[Any]:
    """Who takes which part from now on."""
    taken: list[Any] = []
    usual = Work.do

    def do(work: Work, results: Any, parts: Any, stop: Any = None) -> None:
        usual(work, results, Spied(parts, taken, before), stop)  # type: ignore[arg-type]

    monkeypatch.setattr(Work, "do", do)
    return taken


def test_the_callers_thread_and_the_others_share_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    f, x = compile(lambda x: x.sin()), np.linspace(0, 1, 40_000)
    expected = f.map(x)
    three, met = threading.Barrier(3, timeout=60), threading.local()

    def meet(part: Any) -> None:
        if not hasattr(met, "once"):
            met.once = three.wait()

    taken = spied(monkeypatch, meet)
    with ThreadPoolExecutor(3) as pool:
        assert bits(f.map(x, executor=pool)) == bits(expected)
    assert len({who for who, _ in taken}) == 3 and threading.get_ident() in dict(taken)
    bounds = [part for _, part in sorted(part for _, part in taken)]
    assert [a for a, _ in bounds] == [0, *(b for _, b in bounds[:-1])]  # each once
    assert bounds[-1][1] == lib.pg_chunk_count(len(x)) and len(bounds) > 3


def test_the_first_row_that_fails_is_named_whoever_fails_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f, x = compile(lambda x: x.log()), np.ones(40_000)
    f.map(x)
    x[[3, 39_000]] = -1.0
    failed, usual = threading.Event(), Program._fail

    def fail(*args: Any) -> Any:
        try:
            usual(*args)
        finally:
            failed.set()

    monkeypatch.setattr(Program, "_fail", fail)
    taken = spied(monkeypatch, lambda part: part[0] == 0 and failed.wait(60))
    with ThreadPoolExecutor(2) as pool, pytest.raises(FloatingPointError, match=r"^row 3: "):
        f.map(x, executor=pool)
    assert failed.is_set() and len({who for who, _ in taken}) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_executor_without_a_worker_to_spare_keeps_nobody_waiting(workers: int) -> None:
    case = with_params(3, one_output, 2)
    f = compile(case.function)
    arrays = columns(case.rows(5000, seed=11))
    expected = bits(f.map(*arrays)), bits(f.sum(*arrays).data)
    free = threading.Event()

    def found() -> Any:
        return bits(f.map(*arrays, executor=pool)), bits(f.sum(*arrays, executor=pool).data)

    with ThreadPoolExecutor(workers) as pool:
        busy = [pool.submit(free.wait, 60) for _ in range(workers)]
        assert found() == expected and not any(future.done() for future in busy)
        free.set()
        inside = [pool.submit(found) for _ in range(2 * workers)]  # its own workers ask for more
        assert [future.result(60) for future in inside] == [expected] * len(inside)


def test_an_executor_that_takes_no_more_says_so() -> None:
    f, x = compile(lambda x: x.sin()), np.ones(40_000)
    expected = f.map(x)
    pool = ThreadPoolExecutor(2)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        f.map(x, executor=pool)
    assert bits(f.map(x)) == bits(expected)


def linear(params: list[Value], x: Value, y: Value) -> Value:
    u, v = params
    return (x * u + y * v).sin()


def tree(parts: list[Any]) -> Any:
    """Halved from the top, the first half the larger."""
    middle = len(parts) - len(parts) // 2
    return parts[0] if len(parts) == 1 else tree(parts[:middle]) + tree(parts[middle:])


@pytest.mark.parametrize(
    "count", [1025, 2048, 2080, 3000, 4096, 5000, 7000, 20_000, 60_000, 100_000]
)
def test_chunks_are_summed_in_a_tree(count: int) -> None:
    """Each chunk is the sum over its rows alone."""
    case = with_params(2, linear, 2)
    f, rows = compile(case.function), case.rows(count, seed=12)

    def found(first: int, last: int) -> Any:
        total = f.sum(*columns(rows[first:last]))
        return np.array([total.data, *gradients(total, [], case.params)[1]])

    chunks = lib.pg_chunk_count(count)
    starts = [lib.pg_chunk_start(count, i) for i in range(chunks + 1)]
    assert starts == [*range(0, count, 1024), count]
    assert bits(found(0, count)) == bits(tree([found(*ends) for ends in zip(starts, starts[1:])]))


def test_many_chunks_are_summed_without_loss() -> None:
    case = with_params(2, linear, 2)
    f, rows = compile(case.function), case.rows(200_000, seed=13)
    u, v = (p.data for p in case.params)
    x, y = rows.T
    slopes = np.cos(x * u + y * v)
    mean = f.mean(*columns(rows))
    assert mean.data == pytest.approx(math.fsum(np.sin(x * u + y * v)) / 200_000, rel=1e-11)
    expected = [math.fsum(slopes * x) / 200_000, math.fsum(slopes * y) / 200_000]
    assert gradients(mean, [], case.params)[1] == pytest.approx(expected, rel=1e-9)


def test_no_rows_sum_to_zero_and_have_no_mean() -> None:
    case = with_params(3, one_output, 2)
    f, none = compile(case.function), np.empty(0)
    total = f.sum(none, none)
    assert total.data == 0.0 and gradients(total, [], case.params)[1] == [0.0] * 3
    assert f.map(none, none).shape == (0,)
    assert f.gradients(none, none)[1][0].shape == (0,)
    with pytest.raises(ValueError, match="no rows"):
        f.mean(none, none)


# ---- 5. When is it recorded, and what are its parameters? ----------------------------------------


class Counted:
    """A function that counts its calls, that is, its recordings."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *args: Any, **static: Any) -> Any:
        self.calls += 1
        return self.function(*args, **static)


def test_it_is_recorded_once_for_each_structure() -> None:
    counted = Counted(lambda x: (x[0] if isinstance(x, (list, tuple, np.ndarray)) else x) * 2)
    f = compile(counted)
    structures: list[Any] = [1.0, [1.0], [1.0, 2.0], (1.0,), np.ones(2), [[1.0]]]
    for i, x in enumerate(structures, 1):
        for _ in range(3):
            f(x)
            assert counted.calls == len(f.programs) == i
    f(3), f(np.float32(1.5)), f(Value(2.0)), f.map(np.ones(5)), f.sum(np.ones(3, np.float32))
    assert counted.calls == len(structures)
    f.map(np.ones((3, 2)))  # rows as np.ones(2)
    assert counted.calls == len(structures)


def test_the_least_recently_used_program_goes_first() -> None:
    counted = Counted(lambda x: sum(x) * 1.0)
    f = compile(counted, max_programs=3)
    for n in (1, 2, 3):
        f([1.0] * n)
    f([1.0])
    f([1.0] * 4)  # instead of that for two
    assert [program._size.inputs for program in f.programs] == [3, 1, 4]
    f([1.0] * 3)
    assert counted.calls == 4
    f([1.0, 2.0])
    assert counted.calls == 5 and len(f.programs) == 3


def test_a_program_that_went_can_still_be_replayed() -> None:
    f = compile(lambda x: sum(x) * 2.0, max_programs=1)
    f([1.0])
    (program,) = f.programs
    f([1.0, 2.0])
    gc.collect()
    assert f.programs[0] is not program and program([3.0]).data == 6.0


def test_keyword_arguments_are_part_of_what_is_recorded() -> None:
    counted = Counted(lambda x, n=1, how="sin": getattr(x**n, how)())
    f = compile(counted)
    assert f(2.0, n=2).data == math.sin(4.0) == f(2.0, how="sin", n=2).data
    assert f(2.0, how="cos").data == math.cos(2.0)
    assert bits(f.map(np.ones(3), how="cos")) == bits([math.cos(1.0)] * 3)
    f.sum(np.ones(2), n=2), f.mean(np.ones(2), n=2), f.gradients(np.ones(2), n=2)
    assert counted.calls == len(f.programs) == 3  # n=2 and n=2, how="sin" are two


@pytest.mark.parametrize("pair", [(0.0, -0.0), (1, True), (2, 2.0)], ids=str)
def test_keyword_arguments_that_are_equal_but_not_the_same(pair: tuple[Any, Any]) -> None:
    def function(x: Value, c: Any) -> Value:
        return x * math.copysign(1.0, c) + (2 if c is True else 4 * isinstance(c, float))

    f = compile(function)
    for c in pair:
        assert f(1.0, c=c).data == function(1.0, c)


def test_an_unhashable_keyword_argument_is_refused() -> None:
    f = compile(lambda x, n: x * n[0])
    for call in (f, f.map, f.sum, f.mean, f.gradients):
        with pytest.raises(TypeError, match=r"keyword arguments .* hashable"):
            call(1.0 if call is f else np.ones(2), n=[1])
    assert f.programs == ()
    assert f(1.0, n=(2,)).data == 2.0


def test_parameters_are_read_anew_without_recording_again() -> None:
    w = Value(2.0)
    counted = Counted(lambda x: x * w * w)
    f, x = compile(counted), np.ones(3)
    for data in (2.0, -3.0, 0.5):
        w.data = data
        assert f(1.0).data == data * data and f.sum(x).data == 3 * data * data
        assert f.map(x).tolist() == [data * data] * 3
    assert counted.calls == 1


def test_parameters_are_the_captured_values_themselves() -> None:
    a, b, c = Value(1.0), Value(2.0), Value(3.0)

    def function(x: Any) -> Value:
        return x * b + a if isinstance(x, Value) else x[0] * c + b

    f = compile(function)
    assert f.parameters() == []
    f(1.0)
    assert [id(p) for p in f.parameters()] == [id(b), id(a)]
    f([1.0])
    assert {id(p) for p in f.parameters()} == {id(a), id(b), id(c)} and len(f.parameters()) == 3
    assert [id(p) for p in f.programs[1].parameters()] == [id(c), id(b)]


def test_parameters_stay_alive_with_the_program() -> None:
    f = compile((lambda w: lambda x: x * w)(Value(3.0)))
    f(1.0)
    gc.collect()
    assert f(2.0).data == 6.0 and f.parameters()[0].data == 3.0


def test_gradients_are_added_to_the_parameters() -> None:
    w = Value(3.0)
    f, x = compile(lambda x: x * w), np.array([1.0, 2.0, 4.0])
    f.sum(x).backward()
    assert w.grad == 7.0
    f(10.0).backward()
    assert w.grad == 17.0
    f.mean(x).backward()
    assert w.grad == 17.0 + 7.0 / 3


def test_backward_twice_adds_twice_and_later_data_change_nothing() -> None:
    w = Value(3.0)
    f = compile(lambda x: x * w * w)
    y = f.sum(np.ones(2))
    w.data = 100.0
    y.backward()
    y.backward()
    assert y.data == 18.0 and w.grad == 2 * 12.0


def test_results_go_into_eager_expressions() -> None:
    w, v = Value(3.0), Value(0.5)
    f, x = compile(lambda x: x * w), np.array([1.0, 3.0])
    loss = 2 * f.mean(x) + w * w * 0.5 + v * f(10.0)
    assert loss.data == 12.0 + 4.5 + 15.0
    loss.backward()
    assert (w.grad, v.grad) == (4.0 + 3.0 + 5.0, 30.0)


def test_recorded_functions_follow_each_other() -> None:
    w, x = Value(3.0), Value(2.0)
    f, g = compile(lambda x: x * w), compile(lambda y: y.tanh() * w)
    ours = gradients(g(f(x)), [x], [w])
    h = x * w
    theirs = gradients(h.tanh() * w, [x], [w])
    assert ours[0] == theirs[0] and np.allclose(ours[1], theirs[1], rtol=1e-15)


def test_a_captured_inner_node_passes_its_gradient_on() -> None:
    w = Value(3.0)
    h = w * 2
    f = compile(lambda x: x * h)
    f.sum(np.array([1.0, 4.0])).backward()
    assert (h.grad, w.grad) == (5.0, 10.0)
    w.data = 100.0  # of which h knows nothing, as ever
    assert f(1.0).data == 6.0
    h.data = 7.0
    assert f(1.0).data == 7.0


def test_a_value_may_be_parameter_and_argument() -> None:
    w = Value(3.0)
    f = compile(lambda x: x * w)
    y = f(w)
    y.backward()
    assert (y.data, w.grad) == (9.0, 6.0)


def test_the_same_value_twice_among_the_arguments() -> None:
    x = Value(3.0)
    f = compile(lambda a, b: a * b * b)
    f(x, x).backward()
    assert x.grad == 27.0


def test_no_nodes_are_left_behind() -> None:
    case = CASES["network"]
    gc.collect()
    before = live_nodes()
    f, rows = compile(case.function), case.rows(40)
    f(*rows[0])
    gc.collect()
    assert live_nodes() == before
    for _ in range(1000):
        f(*rows[0]).backward()
        f(*map(Value, rows[0])).backward()
        f.sum(*columns(rows)).backward()
        f.map(*columns(rows[:2]))
    gc.collect()
    assert live_nodes() == before
    del f
    gc.collect()
    assert live_nodes() == before


@pytest.mark.memory
def test_no_memory_is_left_behind() -> None:
    case = CASES["network"]
    f, rows = compile(case.function), case.rows(40)
    args = columns(rows)

    def use(times: int) -> None:
        for _ in range(times):
            f(*rows[0]).backward()
            f.mean(*args)
            f.gradients(*args)
            with pytest.raises(ValueError, match="rows"):
                f.map(*args[:2], args[2][:3])

    use(20)
    gc.collect()
    tracemalloc.start()
    try:
        use(20)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        use(200)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


class Late:
    """A lock that another thread had in between, who used other programs."""

    def __init__(self, f: Any) -> None:
        self.f, self.lock = f, tracing._lock

    def acquire(self, *args: Any) -> bool:
        self.f._programs.clear()
        return self.lock.acquire(*args)

    def release(self) -> None:
        self.lock.release()


def test_a_program_may_go_while_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    f = compile(lambda x: x * 2)
    f(1.0)
    monkeypatch.setattr(tracing, "_lock", Late(f))
    assert f(3.0).data == 6.0


def test_calls_from_threads_while_programs_come_and_go() -> None:
    f = compile(lambda x: sum(x) * 2.0, max_programs=1)
    wrong: list[Any] = []

    def work(n: int) -> None:
        try:
            for _ in range(150):
                found = f([1.0] * n).data
                if found != 2.0 * n:
                    wrong.append(found)
        except BaseException as error:
            wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        in_threads(*(functools.partial(work, n) for n in (1, 2, 1, 2)))
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def in_threads(*calls: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"math": "quick"}, ValueError, "'exact' or 'fast', not 'quick'"),
        ({"errors": "warn"}, ValueError, "'raise' or 'ignore', not 'warn'"),
        ({"passes": ("fold", "spindle")}, ValueError, r"unknown \['spindle'\]; expected some of"),
        ({"max_programs": 0}, ValueError, "at least 1, not 0"),
    ],
)
def test_settings_that_there_are_not(settings: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        compile(lambda x: x, **settings)


def test_only_functions_can_be_compiled() -> None:
    with pytest.raises(TypeError, match="expected a function, not float"):
        compile(1.0)  # type: ignore[arg-type]


def test_compile_is_a_decorator_with_and_without_settings() -> None:
    @compile
    def plain(x: Value) -> Value:
        """Twice."""
        return x * 2

    @compile(math="fast", max_programs=2)
    def careful(x: Value) -> Value:
        return x * 3

    assert plain(2.0).data == 4.0 and careful(2.0).data == 6.0
    assert (plain.__name__, plain.__doc__) == ("plain", "Twice.")
    assert plain.__wrapped__(Value(1.0)).data == 2.0
    assert "plain" in repr(plain) and "1 inputs" in repr(plain.programs[0])


# ---- 6. Which arguments and results? -------------------------------------------------------------

SINGLE = [2.0, 2, np.float64(2), np.float32(2), np.int64(2), np.uint8(2), np.array(2.0), Value(2.0)]


@pytest.mark.parametrize("x", SINGLE, ids=lambda x: type(x).__name__)
def test_numbers_of_any_kind(x: Any) -> None:
    f = compile(lambda x: x * 3.0)
    assert f(x).data == 6.0 and f.map(np.ones(2)).tolist() == [3.0, 3.0]
    assert len(f.programs) == 1


NESTED: dict[str, tuple[Any, Callable[[Any], Any], list[float]]] = {
    "list": ([2.0, 3.0], lambda x: x[0] * x[1], [3.0, 2.0]),
    "tuple": ((2.0, 3), lambda x: x[0] * x[1], [3.0, 2.0]),
    "nested": ([[2.0, 3.0], [5.0, 7.0]], lambda x: x[0][1] * x[1][0], [0.0, 5.0, 3.0, 0.0]),
    "irregular": ([[2.0], 3.0, []], lambda x: x[0][0] * x[1], [3.0, 2.0]),
    "dict": ({"b": 2.0, "a": [3.0]}, lambda x: x["a"][0] * x["b"], [3.0, 2.0]),
    "array": (np.array([[2.0, 3.0]]), lambda x: x[0, 0] * x[0, 1], [3.0, 2.0]),
    "objects": (np.array([2.0, Value(3.0)]), lambda x: x[0] * x[1], [3.0, 2.0]),
    "with None": ([None, 2.0, "name", 3.0], lambda x: x[1] * x[3], [3.0, 2.0]),
}


def leaves_of(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, np.ndarray):
        x = x.tolist()
    if isinstance(x, (list, tuple)):
        return [leaf for item in x for leaf in leaves_of(item)]
    return [] if x is None or isinstance(x, str) else [x]


def as_values(x: Any) -> Any:
    """The same with Values for numbers."""
    if isinstance(x, dict):
        return {key: as_values(item) for key, item in x.items()}
    if isinstance(x, np.ndarray):
        return np.array(as_values(x.tolist()), dtype=object)
    if isinstance(x, (list, tuple)):
        return type(x)(map(as_values, x))
    return Value(x) if isinstance(x, (float, int)) else x


@pytest.mark.parametrize("name", NESTED)
def test_nested_arguments(name: str) -> None:
    x, function, expected = NESTED[name]
    f = compile(function)
    assert f(x).data == function(as_values(x)).data
    values = as_values(x)
    f(values).backward()
    assert [leaf.grad for leaf in leaves_of(values)] == expected
    assert len(f.programs) == 1


POSITIONAL = [(True, 2.0), (False, -2.0), (None, -2.0), ("yes", 2.0)]


@pytest.mark.parametrize(("flag", "expected"), POSITIONAL, ids=str)
def test_what_is_no_number_comes_as_it_is(flag: Any, expected: float) -> None:
    f = compile(lambda x, flag: x if flag else -x)
    assert f(2.0, flag).data == f(Value(2.0), flag).data == expected
    f(2.0, not flag)
    assert len(f.programs) == 2


def test_a_row_of_an_array_comes_as_an_array_of_values() -> None:
    seen: list[Any] = []

    def function(x: Any, y: Any) -> Value:
        seen.extend([x, y])
        return (x @ np.array([1.0, 2.0, 3.0])) * y[1, 0]

    f = compile(function)
    x = np.arange(12.0).reshape(4, 3)
    y = np.arange(16.0).reshape(4, 2, 2)
    assert bits(f.map(x, y)) == bits((x @ [1.0, 2.0, 3.0]) * y[:, 1, 0])
    assert [(a.dtype, a.shape) for a in seen] == [(object, (3,)), (object, (2, 2))]
    assert all(isinstance(v, Value) for v in seen[0])


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_any_kind(kind: str) -> None:
    array = ARRAYS[kind]
    plain = np.array(array, dtype=np.float64)
    w = Value(2.0)
    f = compile(lambda x: x[0] * x[1] + x[2] * w + x[3])
    a, b, c, d = plain.T
    assert bits(f.map(array)) == bits(a * b + c * w.data + d)
    assert bits(f.gradients(array)[1][0]) == bits(f.gradients(plain)[1][0])
    f.sum(array).backward()
    assert w.grad == plain[:, 2].sum()


def test_a_number_is_the_same_for_all_rows() -> None:
    f, x = compile(lambda x, c: x * c), np.arange(40.0)
    for c in (2.0, 2, np.float32(2), np.array(2.0)):
        assert bits(f.map(x, c)) == bits(x * 2)
        assert bits(f.gradients(x, c)[1][1]) == bits(x)
        assert f.sum(x, c).data == 2 * x.sum()
    assert len(f.programs) == 1


def test_a_value_for_all_rows_gets_a_gradient() -> None:
    w, c = Value(3.0), Value(2.0)
    f, x = compile(lambda x, c: x * c * w), np.arange(4.0)
    y = f.sum(x, c)
    y.backward()
    assert (y.data, c.grad, w.grad) == (36.0, 18.0, 12.0)
    f.mean(x, c * c).backward()
    assert (c.grad, w.grad) == (18.0 + 4.5 * 4.0, 12.0 + 6.0)
    assert f.map(x, c).tolist() == (x * 6.0).tolist()


def test_values_for_all_rows_in_a_dict() -> None:
    c = Value(2.0)
    f = compile(lambda d: d["x"] * d["c"])
    f.sum({"x": np.arange(4.0), "c": c}).backward()
    assert c.grad == 6.0


Pair = collections.namedtuple("Pair", "first second")

RESULTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "single": (lambda x: x * 2, lambda x: x * 2),
    "list": (lambda x: [x, x * 2], lambda x: np.stack([x, x * 2], -1)),
    "list of one": (lambda x: [x * 2], lambda x: x[:, None] * 2),
    "tuple": (lambda x: (x, x * 2), lambda x: (x, x * 2)),
    "regular": (
        lambda x: [[x, x * 2], [x * 3, x]],
        lambda x: np.stack([x, x * 2, x * 3, x], -1).reshape(-1, 2, 2),
    ),
    "irregular": (lambda x: [[x, x * 2], x], lambda x: [np.stack([x, x * 2], -1), x]),
    "tuple of lists": (lambda x: ([x, x], x), lambda x: (np.stack([x, x], -1), x)),
    "dict": (lambda x: {"a": x, "b": [x * 2]}, lambda x: {"a": x, "b": x[:, None] * 2}),
    "namedtuple": (lambda x: Pair(x * 2, [x]), lambda x: Pair(x * 2, x[:, None])),
    "array": (lambda x: np.array([[x, x * 2]]), lambda x: np.stack([x, x * 2], -1)[:, None]),
    "with others": (lambda x: {"a": x, "b": "name", "c": None},) * 2,
    "number": (lambda x: [x, 5.0], lambda x: np.stack([x, 0 * x + 5.0], -1)),
}  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.shape == b.shape and bits(a) == bits(b)
    if type(a) is not type(b):
        return False
    if isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    if isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def numbers_in(result: Any) -> Any:
    """The same with data for Values."""
    if isinstance(result, Value):
        return result.data
    if isinstance(result, dict):
        return {key: numbers_in(item) for key, item in result.items()}
    if isinstance(result, np.ndarray):
        return np.array(numbers_in(result.tolist()))
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*map(numbers_in, result))
    return type(result)(map(numbers_in, result)) if isinstance(result, (list, tuple)) else result


@pytest.mark.parametrize("name", RESULTS)
def test_results_of_any_form(name: str) -> None:
    function, stacked = RESULTS[name]
    f, x = compile(function), np.arange(5.0)
    assert same(f.map(x), stacked(x))
    assert same(numbers_in(f(3.0)), numbers_in(function(Value(3.0))))
    values, _ = f.gradients(x)
    assert same(values, stacked(x))
    total = numbers_in(f.sum(x))
    assert type(total) is type(numbers_in(f(3.0)))


def test_shapes_of_gradients() -> None:
    x, y, z = np.ones((5, 3)), np.ones((5, 2, 2)), np.ones(5)

    def shapes(function: Callable[..., Any]) -> list[tuple[int, ...]]:
        return [part.shape for part in compile(function).gradients(x, y, z)[1]]

    def a(x: Any, y: Any, z: Any) -> Value:
        return x[0] * y[1, 1] * z

    assert shapes(a) == [(5, 3), (5, 2, 2), (5,)]
    assert shapes(lambda *r: [a(*r)] * 4) == [(5, 4, 3), (5, 4, 2, 2), (5, 4)]
    assert shapes(lambda *r: (a(*r), a(*r))) == [(5, 2, 3), (5, 2, 2, 2), (5, 2)]
    assert shapes(lambda *r: [[a(*r)] * 4]) == [(5, 1, 4, 3), (5, 1, 4, 2, 2), (5, 1, 4)]
    assert shapes(lambda *r: {"a": a(*r), "b": [a(*r)]}) == [(5, 2, 3), (5, 2, 2, 2), (5, 2)]


def test_gradients_are_where_they_belong() -> None:
    f = compile(lambda x, y: [x[0] * y, x[1] * x[1], y])
    x, y = np.array([[2.0, 3.0], [5.0, 7.0]]), np.array([11.0, 13.0])
    _, (by_x, by_y) = f.gradients(x, y)
    assert by_x.tolist() == [[[11, 0], [0, 6], [0, 0]], [[13, 0], [0, 14], [0, 0]]]
    assert by_y.tolist() == [[2, 0, 1], [5, 0, 1]]


def test_a_program_takes_lists_and_arrays_alike() -> None:
    f = compile(lambda x: x[0] * x[1])
    f([2.0, 3.0])
    (program,) = f.programs
    x = np.array([[2.0, 3.0], [5.0, 7.0]])
    assert program.map(x).tolist() == [6.0, 35.0] == program.map(x.tolist()).tolist()
    assert program((2.0, 4.0)).data == program(np.array([2.0, 4.0])).data == 8.0
    assert program.sum(x).data == 41.0 and program.mean(x).data == 20.5
    assert program.gradients(x)[1][0].tolist() == [[3.0, 2.0], [7.0, 5.0]]


def test_a_function_may_take_no_inputs_at_all() -> None:
    w = Value(3.0)
    f = compile(lambda: w * 2)
    f().backward()
    assert f().data == 6.0 and w.grad == 2.0


def test_rows_may_be_empty() -> None:
    w = Value(3.0)
    f = compile(lambda x: sum(x) + w)
    assert f.map(np.empty((4, 0))).tolist() == [3.0] * 4
    assert f.gradients(np.empty((4, 0)))[1][0].shape == (4, 0)


two = pytest.fixture(lambda: compile(lambda x, y: x[0] * x[1] * y + 0.0))

WRONG_ROWS: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("rows", (np.ones((3, 2)), np.ones(4)), ValueError, "argument 1 has 4 rows, .* have 3"),
    ("no rows", (1.0, 2.0), ValueError, "at least one array, whose first axis is the row"),
    ("ragged", ([[1.0, 2.0], [3.0]], np.ones(2)), ValueError, "argument 0: expected an array"),
    ("bytes", (np.array([b"ab"]), np.ones(1)), TypeError, "argument 0: expected real numbers"),
    ("strings", (np.ones((1, 2)), ["a"]), TypeError, "argument 1: expected real numbers"),
    ("complex", (np.ones((3, 2)) * 1j, np.ones(3)), TypeError, "real numbers, .* complex128"),
    ("objects", (np.full((2, 2), None), np.ones(2)), TypeError, "argument 0: expected numbers"),
    ("Values", (np.ones((2, 2)), [Value(1.0)] * 2), TypeError, "argument 1: .* one row at a time"),
    ("None", (np.ones((1, 2)), [None]), TypeError, "argument 1: expected numbers"),
    ("dates", (np.ones((1, 2)), np.array(["2020"], "M8[D]")), TypeError, "argument 1: .* real"),
    ("dict", ({"a": np.ones(3), "b": np.ones(4)}, np.ones(3)), ValueError, r"0\['b'\] has 4 rows"),
    ("in a dict", ({"a": ["x"]}, np.ones(1)), TypeError, r"argument 0\['a'\]: expected real"),
]


@pytest.mark.parametrize("method", ["map", "sum", "mean", "gradients"])
@pytest.mark.parametrize(
    ("args", "kind", "message"), [r[1:] for r in WRONG_ROWS], ids=[r[0] for r in WRONG_ROWS]
)
def test_rows_that_are_wrong(two: Any, method: str, args: Any, kind: Any, message: str) -> None:
    good = (np.ones((3, 2)), np.arange(3.0))
    before = two.map(*good)
    gc.collect()
    nodes = live_nodes()
    with pytest.raises(kind, match=message):
        getattr(two, method)(*args)
    with pytest.raises(kind, match=message):
        getattr(two.programs[0], method)(*args)
    gc.collect()
    assert live_nodes() == nodes and len(two.programs) == 1
    assert bits(two.map(*good)) == bits(before)


WRONG_SHAPES: list[tuple[str, tuple[Any, ...], str]] = [
    ("too wide", (np.ones((3, 4)), np.ones(3)), r"recorded for .*\(2,\).* called with .*\(4,\)"),
    ("too many axes", (np.ones((3, 2, 1)), np.ones(3)), r"called with .*\(2, 1\)"),
    ("a number", (np.ones(3), np.ones(3)), r"recorded for .*\(2,\)"),
    ("one too many", (np.ones((3, 2)), np.ones(3), np.ones(3)), "called with"),
    ("one too few", (np.ones((3, 2)),), "called with"),
    ("a dict", ({"a": np.ones((3, 2))}, np.ones(3)), r"called with .*\{'a': "),
]


@pytest.mark.parametrize("method", ["map", "sum", "mean", "gradients"])
@pytest.mark.parametrize(
    ("args", "message"), [r[1:] for r in WRONG_SHAPES], ids=[r[0] for r in WRONG_SHAPES]
)
def test_a_program_refuses_other_shapes(two: Any, method: str, args: Any, message: str) -> None:
    good = (np.ones((3, 2)), np.arange(3.0))
    before = two.map(*good)
    (program,) = two.programs
    with pytest.raises(ValueError, match=message):
        getattr(program, method)(*args)
    assert bits(program.map(*good)) == bits(before)


WRONG_CALLS: list[tuple[str, Any, str]] = [
    ("complex", 1j, "argument: expected numbers, .* got 1j"),
    ("set", {1.0}, "argument: expected numbers"),
    ("object", object(), "argument: expected numbers"),
    ("in a list", [1.0, 1j], "argument: expected numbers, .* got 1j"),
    ("array of complex", np.array([1.0, 1j]), "argument: expected numbers"),
    ("array of strings", np.array(["1", "2"]), "argument: expected numbers"),
    ("array of None", np.array([1.0, None]), "argument: expected numbers"),
    ("array of lists", np.array([1.0, [2.0]], dtype=object), "argument: expected numbers"),
]


@pytest.mark.parametrize(
    ("x", "message"), [r[1:] for r in WRONG_CALLS], ids=[r[0] for r in WRONG_CALLS]
)
def test_calls_that_are_wrong(x: Any, message: str) -> None:
    f = compile(lambda x: x * 2.0)
    before = f(3.0).data
    with pytest.raises(TypeError, match=message):
        f(x)
    assert f(3.0).data == before and len(f.programs) == 1


def test_an_array_of_bools_is_numbers() -> None:
    f = compile(lambda x: x[0] + 2 * x[1] + 4 * x[2])
    assert f(np.array([True, False, True])).data == 5.0
    assert f.map(np.array([[True, False, True]])).tolist() == [5.0]


WRONG_RESULTS: dict[str, Callable[[Any], Any]] = {
    "None": lambda x: None,
    "string": lambda x: "x",
    "empty list": lambda x: [],
    "set": lambda x: {x},
    "generator": lambda x: (x for _ in range(2)),
    "complex": lambda x: [x, 1j],
}


@pytest.mark.parametrize("what", WRONG_RESULTS)
def test_results_that_are_wrong(what: str) -> None:
    function = WRONG_RESULTS[what]
    gc.collect()
    f, nodes = compile(function), live_nodes()
    with pytest.raises(TypeError, match=r"^result: expected numbers|must return Values"):
        f(1.0)
    gc.collect()
    assert live_nodes() == nodes and f.programs == ()


def test_the_functions_own_complaint_comes_through() -> None:
    f = compile(lambda x, y: x * y)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        f(1.0)
    assert f(2.0, 3.0).data == 6.0


# ---- 7. Who names the row that fails? ------------------------------------------------------------

FAULTS: dict[str, tuple[Callable[[Value], Value], float, float]] = {
    "log(-1)": (lambda x: x.log(), 1.5, -1.0),
    "log(0)": (lambda x: x.log(), 1.5, 0.0),
    "sqrt(-1)": (lambda x: x.sqrt(), 1.5, -1.0),
    "exp(1000)": (lambda x: x.exp(), 1.5, 1000.0),
    "1 / 0": (lambda x: 1 / x, 1.5, 0.0),
    "x / -0.0": (lambda x: 2.0 / x, 1.5, -0.0),
    "0 ** -2.5": (lambda x: x**-2.5, 1.5, 0.0),
    "(-8) ** 0.5": (lambda x: x**0.5, 1.5, -8.0),
    "1e200 ** 3": (lambda x: x**3, 1.5, 1e200),
    "pow": (lambda x: x ** (x * 0.0 + 0.5), 1.5, -8.0),
    "2 ** 1e5": (lambda x: 2**x, 1.5, 1e5),
    "sin(inf)": (lambda x: x.sin(), 1.5, math.inf),
    "cos(-inf)": (lambda x: x.cos(), 1.5, -math.inf),
    "log1p(-1)": (lambda x: x.log1p(), 1.5, -1.0),
    "log2(0)": (lambda x: x.log2(), 1.5, 0.0),
    "log10(-2)": (lambda x: x.log10(), 1.5, -2.0),
    "expm1(1000)": (lambda x: x.expm1(), 1.5, 1000.0),
    "exp2(1024)": (lambda x: x.exp2(), 1.5, 1024.0),
    "tan(inf)": (lambda x: x.tan(), 1.5, math.inf),
    "asin(2)": (lambda x: (x * 0.5).asin(), 1.5, 4.0),
    "acos(-2)": (lambda x: (x * 0.5).acos(), 1.5, -4.0),
    "sinh(-1000)": (lambda x: x.sinh(), 1.5, -1000.0),
    "cosh(1000)": (lambda x: x.cosh(), 1.5, 1000.0),
    "acosh(0.5)": (lambda x: x.acosh(), 1.5, 0.5),
    "atanh(1)": (lambda x: (x * 0.25).atanh(), 1.5, 4.0),
    "hypot": (lambda x: x.hypot(x), 1.5, 1.5e308),
    "deep inside": (lambda x: ((x * 2 - x).log() + x.tanh()) * x, 1.5, -1.0),
}
each_fault = pytest.mark.parametrize("name", FAULTS)
BAD_ROWS = ((0,), (7,), (8,), (31,), (32,), (39,), (40,), (63, 41), (99,), (98, 99), (70, 3, 99))


def eager_message(call: Callable[[], Any]) -> str:
    error = outcome(call)
    assert isinstance(error, Exception)
    return str(error)


@each_fault
@pytest.mark.parametrize("math_", ["exact", "fast"])
def test_the_first_row_outside_a_domain_is_named(name: str, math_: str) -> None:
    function, good, bad = FAULTS[name]
    f = compile(function, math=math_)
    message = eager_message(lambda: function(Value(bad)))
    fine = np.linspace(good, good + 0.5, 100)
    expected = f.map(fine)
    for rows in BAD_ROWS:
        x = fine.copy()
        x[list(rows)] = bad
        for call in (f.map, f.sum, f.gradients):
            with pytest.raises(FloatingPointError) as caught:
                call(x)
            assert str(caught.value) == f"row {min(rows)}: {message}"
        x[max(rows)] = good  # now those before it, if any, and again all rows up to the first
        assert bits(f.map(x[: min(rows)])) == bits(expected[: min(rows)])
    assert bits(f.map(fine)) == bits(expected)


@each_fault
def test_one_row_outside_a_domain(name: str) -> None:
    function, good, bad = FAULTS[name]
    f = compile(function)
    message = eager_message(lambda: function(Value(bad)))
    for x in (bad, Value(bad)):
        with pytest.raises(FloatingPointError) as caught:
            f(x)
        assert str(caught.value) == f"row 0: {message}"
    assert f(good).data == function(Value(good)).data


@each_fault
def test_ignored_faults_change_no_other_row(name: str) -> None:
    function, good, bad = FAULTS[name]
    f = compile(function, errors="ignore")
    fine = np.linspace(good, good + 0.5, 100)
    expected = recorded_rows(f, fine[:, None])
    for rows in BAD_ROWS:
        x = fine.copy()
        x[list(rows)] = bad
        found = recorded_rows(f, x[:, None])
        assert not np.isfinite(found[0][list(rows)]).any()
        others = np.delete(np.arange(100), list(rows))
        for ours, theirs in zip(found, expected):
            assert bits(ours[others]) == bits(theirs[others])
        assert not math.isfinite(f.sum(x).data)
    assert not math.isfinite(f(bad).data)


POLES: dict[str, tuple[Callable[[Value], Value], str]] = {
    "sqrt": (lambda x: x.sqrt(), r"derivative of sqrt\(0\.0\).*: division by zero"),
    "power": (lambda x: x**0.5, r"derivative of 0\.0 \*\* 0\.5.*: division by zero"),
    "pow": (lambda x: x ** Value(0.5), r"derivative of 0\.0 \*\* 0\.5.*: division by zero"),
    "cbrt": (lambda x: x.cbrt(), r"derivative of cbrt\(0\.0\).*: division by zero"),
    "hypot": (lambda x: x.hypot(x * 0.0), r"derivative of hypot\(0\.0, 0\.0\).*: division by zero"),
}


@pytest.mark.parametrize("name", POLES)
def test_poles_of_derivatives_are_faults_only_where_they_are_asked_for(name: str) -> None:
    function, message = POLES[name]
    w = Value(1.0)
    f, g = compile(function), compile(lambda x: function(x * w))
    for row in (0, 8, 33, 69):
        x = np.ones(70)
        x[row] = x[69] = 0.0
        assert f.map(x)[row] == 0.0 and g.map(x)[row] == 0.0  # values have none
        assert f.sum(x).data < 70  # nor have sums without parameters
        for call in (f.gradients, g.sum, g.mean):
            with pytest.raises(FloatingPointError, match=f"^row {row}: {message}"):
                call(x)
    with pytest.raises(FloatingPointError, match=f"^row 0: {message}"):
        f(Value(0.0))
    assert f(0.0).data == 0.0
    assert f.gradients(np.ones(70))[0][69] == 1.0


@pytest.mark.parametrize("count", range(1, 42))
def test_lanes_without_a_row_raise_nothing(count: int) -> None:
    """Whatever stood in them before: a replay of other rows, which did fail."""
    f = compile(lambda x: x.log() + x.sqrt())
    with pytest.raises(FloatingPointError):
        f.map(np.full(64, -1.0))
    x = np.linspace(1, 2, count)
    assert bits(f.map(x)) == bits([Value(a).log().data + Value(a).sqrt().data for a in x])
    f.sum(x)
    f.gradients(x)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf], ids=str)
def test_what_is_not_finite_passes_through_as_it_does_eagerly(odd: float) -> None:
    for op in OPS:
        case = Case(functools.partial(apply, op), 2)
        f = compile(case.function)
        for row in ([odd, 1.0], [1.5, odd], [odd, odd], [odd, 0.0]):
            expected = outcome(lambda row=row, case=case: eager_row(case, row))
            found = outcome(lambda row=row, f=f: recorded_rows(f, np.array([row])))
            if isinstance(expected, Exception):
                assert isinstance(found, FloatingPointError), (op.name, row)
            else:
                assert bits(found[0]) == bits(expected.data), (op.name, row)
                assert bits(found[1]) == bits(expected.inputs), (op.name, row)


@pytest.mark.parametrize("odd", [math.nan, math.inf], ids=str)
@each_fault
def test_what_is_not_finite_elsewhere_hides_no_fault(name: str, odd: float) -> None:
    function, _, bad = FAULTS[name]
    f = compile(lambda y, x: y + function(x))
    with pytest.raises(FloatingPointError, match=r"^row 1:"):
        f.map(np.array([1.0, odd, 1.0]), np.array([1.5, bad, 1.5]))


@pytest.mark.parametrize("odd", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("name", POLES)
def test_what_is_not_finite_elsewhere_hides_no_pole(name: str, odd: float) -> None:
    function, message = POLES[name]
    f = compile(lambda y, x: y + function(x))
    with pytest.raises(FloatingPointError, match=f"^row 1: {message}"):
        f.gradients(np.array([1.0, odd, 1.0]), np.array([1.5, 0.0, 1.5]))


@pytest.mark.parametrize("name", ["log(-1)", "sqrt(-1)", "exp(1000)", "1 / 0", "1e200 ** 3"])
def test_a_fault_of_parameters_only(name: str) -> None:
    function, good, bad = FAULTS[name]
    p = Value(good)
    f, x = compile(lambda x: x * function(p)), np.ones(50)
    expected = f.map(x)
    p.data = bad
    message = eager_message(lambda: function(Value(bad)))
    for call in (lambda: f(1.0), lambda: f.map(x), lambda: f.sum(x), lambda: f.gradients(x)):
        with pytest.raises(FloatingPointError) as caught:
            call()
        assert str(caught.value) == f"in what depends on parameters only: {message}"
    p.data = good
    assert bits(f.map(x)) == bits(expected)
    assert not math.isfinite(changed(compile(lambda x: x * function(p), errors="ignore"), p, bad))


def changed(f: Any, p: Value, data: float) -> float:
    f(1.0)
    p.data = data
    return f(1.0).data


def test_a_pole_of_parameters_only() -> None:
    p = Value(1.0)
    f, x = compile(lambda x: x * p.sqrt()), np.ones(50)
    f.sum(x)
    p.data = 0.0
    assert f.map(x).tolist() == [0.0] * 50
    for call in (lambda: f(1.0), lambda: f.sum(x)):
        with pytest.raises(
            FloatingPointError, match=r"parameters only: derivative of sqrt\(0\.0\)"
        ):
            call()


def test_a_fault_leaves_gradients_and_nodes_as_they_were() -> None:
    w = Value(2.0)
    f, x = compile(lambda x: (x * w).log()), np.array([1.0, -1.0])
    f(1.0)
    w.grad = 7.0
    gc.collect()
    nodes = live_nodes()
    for call in (lambda: f.sum(x), lambda: f(-1.0), lambda: f(Value(-1.0))):
        with pytest.raises(FloatingPointError):
            call()
    gc.collect()
    assert w.grad == 7.0 and live_nodes() == nodes


# ---- 8. Can a long call be stopped, and can many run at once? ------------------------------------


@needs_alarm
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("method", ["map", "sum", "gradients"])
def test_a_signal_stops_a_long_replay(method: str, threads: int) -> None:
    f, rows = compile(slow), np.ones(3_000_000)
    expected = f.map(rows[:100])
    pool = ThreadPoolExecutor(threads) if threads else None
    for delay in (0.02, 0.08):
        with alarm(delay):
            getattr(f, method)(rows, executor=pool)
        assert bits(f.map(rows[:100], executor=pool)) == bits(expected)
        assert f.sum(rows[:100]).data == pytest.approx(expected.sum())
    if pool is not None:
        pool.shutdown()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_stops_a_long_replay() -> None:
    f, rows = compile(slow), np.ones(3_000_000)
    expected = f.map(rows[:100])
    sent: list[float] = []

    def send() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.05, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        f.map(rows)
    assert time.perf_counter() - sent[0] < MOST_SECONDS
    timer.join()
    assert bits(f.map(rows[:100])) == bits(expected)


def test_a_failing_part_stops_the_others() -> None:
    """What is under way comes to its end; without a failure it would be sixteen times as much."""
    f, rows = compile(lambda x: slow(x.sqrt())), np.ones(3_000_000)
    start = time.perf_counter()
    f.map(rows[:100_000])
    all_of_it = 30.0 * (time.perf_counter() - start)
    rows[0] = -1.0
    with ThreadPoolExecutor(2) as pool:
        start = time.perf_counter()
        with pytest.raises(FloatingPointError, match=r"^row 0: "):
            f.map(rows, executor=pool)
        assert time.perf_counter() - start < all_of_it / 3.0


def test_replays_in_several_threads_at_once() -> None:
    case = CASES["network"]
    f = compile(case.function)
    parts = [case.rows(2000, seed) for seed in range(4)]
    expected = [everything_but_gradients(f, rows) for rows in parts]
    wrong: list[Any] = []
    gate = threading.Barrier(4)

    def work(i: int) -> None:
        gate.wait()
        for _ in range(20):
            if everything_but_gradients(f, parts[i]) != expected[i]:
                wrong.append(i)

    in_threads(*(functools.partial(work, i) for i in range(4)))
    assert wrong == []


def everything_but_gradients(f: Any, rows: Any) -> tuple[bytes, ...]:
    """What touches nothing that threads share."""
    data, by_inputs = recorded_rows(f, rows)
    return bits(data), bits(by_inputs), bits(f.sum(*columns(rows)).data), bits(f(*rows[0]).data)
