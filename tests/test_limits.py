"""How far does it go: the largest graphs, the smallest batches, the strangest numbers?

What holds is tested, and what doesn't gives an error that names the limit. PYGRADC_FULL=1 in the
environment takes the sizes that docs/reliability.md promises; they need 12 GB and some minutes.
Chains of 10,000,000 nodes are in test_memory.py; an op's value and derivative of strange numbers in
eager code, in test_ops.py; no rows, in test_program.py, too.
"""

from __future__ import annotations

import gc
import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from test_ops import apply, bits, each_op, outcome, special_points

import pygradc
from pygradc import Value, live_nodes, nn, optim
from pygradc.core.ops import Op

FULL = bool(os.environ.get("PYGRADC_FULL"))
MANY = 1_000_000 if FULL else 100_000
full_only = pytest.mark.skipif(not FULL, reason="needs PYGRADC_FULL=1: memory, or minutes")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    gc.collect()
    before = live_nodes()
    yield
    gc.collect()
    assert live_nodes() == before


# ---- Nodes ---------------------------------------------------------------------------------------

FULL_GRAPH = r"^the graph is full: at most 2\*\*31 - 1 nodes, 2\*\*32 uses of each$"


def test_a_layer_of_too_many_nodes() -> None:
    """Its weights are one and the same, so that only the graph is too small: 2**32 nodes."""
    x, layer = Value(1.0), nn.Layer(1, 1)
    (neuron,) = layer.neurons
    neuron.w = [x] * 2**14
    layer.neurons = [neuron] * 2**16
    before = live_nodes()
    with pytest.raises(OverflowError, match=FULL_GRAPH):
        layer([x] * 2**14)
    assert live_nodes() == before
    assert (x * 2.0).data == 2.0


@full_only
def test_a_sum_of_too_many_nodes() -> None:
    x = Value(1.0)
    values = (x,) * 2**30  # 8 GB
    with pytest.raises(OverflowError, match=FULL_GRAPH):
        pygradc.sum(values)
    assert pygradc.sum(values[:10]).data == 10.0


@pytest.mark.parametrize("given", ["local_grads", "sum", "closure"])
def test_a_node_of_many_children(given: str) -> None:
    leaves = [Value(float(i)) for i in range(MANY)]
    if given == "sum":
        out, each = pygradc.sum(leaves), 1.0
    elif given == "local_grads":
        out, each = Value(0.0, leaves, [2.0] * MANY), 2.0
    else:
        out, each = Value(0.0, leaves, "custom"), 3.0

        def _backward() -> None:
            for leaf in leaves:
                leaf.grad += 3.0 * out.grad

        out._backward = _backward
    (out * 1.0).backward()
    assert {leaf.grad for leaf in leaves} == {each}


@pytest.mark.parametrize("shape", ["chain", "sum"])
def test_a_program_of_many_instructions(shape: str) -> None:
    def chain(x: Value) -> Value:
        for i in range(MANY):
            x = x * -1.0 if i % 2 else x.relu()
        return x

    def wide(x: Value) -> Value:
        return pygradc.sum([x * float(i) for i in range(MANY)])

    function = chain if shape == "chain" else wide
    f = pygradc.compile(function)
    rows = np.array([-1.0, 0.5, 2.0])
    outputs, (by_x,) = f.gradients(rows)
    for row, output, slope in zip(rows.tolist(), outputs, by_x):
        x = Value(row)
        y = function(x)
        y.backward()
        assert (y.data, x.grad) == (output, slope)


# ---- Parameters ----------------------------------------------------------------------------------


def test_many_parameters() -> None:
    """A replay's sum, its gradients, an optimiser's steps and `fit`, all by hand."""
    parameters = [Value(1.0) for _ in range(MANY)]
    f = pygradc.compile(lambda x: pygradc.sum([p * x for p in parameters]))
    total = f.sum(np.array([1.0, 2.0]))
    total.backward()
    assert total.data == 3.0 * MANY
    assert {p.grad for p in parameters} == {3.0}
    optim.SGD(parameters, lr=0.25).step()
    assert {p.data for p in parameters} == {0.25}
    optimizer = optim.SGD(parameters, lr=0.5)
    history = pygradc.fit(f, np.array([0.5]), optimizer, epochs=2)
    assert history == [0.125 * MANY, 0.0]
    assert {p.data for p in parameters} == {-0.25}


# ---- Rows ----------------------------------------------------------------------------------------

EXECUTORS: dict[str, Callable[[], Executor] | None] = {
    "here": None,
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": lambda: ProcessPoolExecutor(2),
}


@pytest.mark.parametrize("where", EXECUTORS)
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_rows(rows: int, where: str) -> None:
    make = EXECUTORS[where]
    executor = make() if make is not None else None
    w = Value(3.0)
    f, x = pygradc.compile(lambda x: w * x * x), np.arange(1.0, 1.0 + rows)
    assert f.map(x, executor=executor).tolist() == [3.0 * a * a for a in x]
    outputs, (by_x,) = f.gradients(x, executor=executor)
    assert outputs.shape == by_x.shape == (rows,)
    assert by_x.tolist() == [6.0 * a for a in x]
    total = f.sum(x, executor=executor)
    total.backward()
    assert (total.data, w.grad) == (3.0 * (x * x).sum(), (x * x).sum())
    if rows == 0:
        with pytest.raises(ValueError, match=r"^mean: there are no rows$"):
            f.mean(x, executor=executor)
        with pytest.raises(ValueError, match=r"^fit: there are no rows$"):
            pygradc.fit(f, x, optim.SGD([w], lr=0.5))
    else:
        assert f.mean(x, executor=executor).data == 3.0 * (x * x).mean()
        assert pygradc.fit(f, x[:1], optim.SGD([w], lr=0.5)) == [3.0]
        assert w.data == 2.5
    if executor is not None:
        executor.shutdown()


# ---- Numbers -------------------------------------------------------------------------------------


def eager(op: Op, point: tuple[float, ...]) -> Any:
    """Bits of the value and the derivatives, or the type of an error."""
    y, operands = apply(Value, op, point)
    y.backward()
    return bits(y.data), *(bits(x.grad) for x in operands)


def recorded(op: Op, point: tuple[float, ...], rows: int = 9) -> Any:
    """The same of a replay, in the last of some rows; the others are 1.0, or in the domain."""
    function = pygradc.compile(lambda *operands: apply_to(op, operands, point))
    tame = [1.0 if low <= 1.0 <= high else 0.5 * (low + high) for low, high in op.intervals]
    if op.name == "polygamma":
        tame = list(point)  # its order may be one that fails at any number
    columns = [np.array([rest] * (rows - 1) + [x]) for rest, x in zip(tame, point[: op.arity])]
    values, slopes = function.gradients(*columns)
    return bits(values[-1]), *(bits(column[-1]) for column in slopes)


def apply_to(op: Op, operands: tuple[Value, ...], point: tuple[float, ...]) -> Value:
    rest = point[1:] if op.takes_number else operands[1:]
    y = getattr(operands[0], op.method)(*rest)
    assert isinstance(y, Value)
    return y


@each_op
def test_strange_numbers_in_replays(op: Op) -> None:
    """Subnormal, huge, -0.0, inf and nan: eager code's bits, or an error where that has one."""
    wrong = []
    for point in special_points(op):
        expected = outcome(eager, op, point)
        found = outcome(recorded, op, point)
        if found != (FloatingPointError if isinstance(expected, type) else expected):
            wrong.append((point, expected, found))
    assert wrong == []


SUBNORMAL = 2.0**-1074


def test_subnormal_numbers_are_not_flushed() -> None:
    x = Value(3 * SUBNORMAL)
    y = x * 0.5 + x
    y.backward()
    f = pygradc.compile(lambda x: x * 0.5 + x)
    assert y.data == 5 * SUBNORMAL  # 1.5 rounds to 2
    assert f.map(np.full(33, 3 * SUBNORMAL)).tolist() == [5 * SUBNORMAL] * 33
    tiny = pygradc.compile(lambda a, b: a * b)
    assert tiny.map(np.full(33, 2.0**-537), np.full(33, 2.0**-537)).tolist() == [SUBNORMAL] * 33


@pytest.mark.parametrize("numbers", [*itertools.product([0.0, -0.0], repeat=2)], ids=str)
def test_zeros_keep_their_signs(numbers: tuple[float, float]) -> None:
    a, b = numbers
    f = pygradc.compile(lambda x, y: (x * y + x, x - y, -x))
    ours = f.map(np.full(9, a), np.full(9, b))
    x, y = Value(a), Value(b)
    for expected, column in zip((x * y + x, x - y, -x), ours):
        assert {math.copysign(1.0, found) for found in column.tolist()} == {
            math.copysign(1.0, expected.data)
        }


def test_sums_of_rows_carry_inf_and_nan() -> None:
    w = Value(1.0)
    f = pygradc.compile(lambda x: w * x)
    for strange in (math.inf, -math.inf, math.nan):
        rows = np.ones(1000)
        rows[777] = strange
        total = f.sum(rows)
        w.grad = 0.0
        total.backward()
        assert bits(total.data) == bits(w.grad) == bits(strange)
