"""Do programs written for micrograd's and microgpt's classes find what they look for?

Constructors, closures, derivatives to sweep by hand, and errors that end at their own line.
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import random
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, live_nodes, nn
from pygradc import reference as oracle

PACKAGE = os.path.dirname(pygradc.__file__) + os.sep


@pytest.fixture
def start():
    """How many nodes live before the test, without garbage."""
    gc.collect()
    return live_nodes()


@pytest.fixture(params=[Value, oracle.Value], ids=["pygradc", "oracle"])
def kind(request):
    return request.param


# ---- constructors -------------------------------------------------------------------------------

ITERABLES = {
    "tuple": tuple,
    "list": list,
    "set": set,
    "generator": lambda items: (item for item in items),
    "dict": dict.fromkeys,
    "array": lambda items: np.array(items, dtype=object),
}


@pytest.mark.parametrize("make", ITERABLES.values(), ids=ITERABLES)
@pytest.mark.parametrize("name", [None, "_children", "children"])
def test_children_are_any_iterable_by_position_and_by_name(kind, make, name):
    a, b = kind(1.0), kind(2.0)
    children = make([a, b])
    out = kind(3.0, children, "op") if name is None else kind(3.0, **{name: children, "_op": "op"})
    assert (out.data, out._op, out._prev) == (3.0, "op", {a, b})
    if make is not set:
        assert out._children == (a, b)


SLOPES = {
    "tuple": (5.0, 7),
    "list": [5.0, 7],
    "array": np.array([5.0, 7.0]),
    "numpy scalars": (np.float32(5), np.int64(7)),
}


@pytest.mark.parametrize("slopes", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("name", [None, "local_grads"])
def test_local_gradients_in_third_place_or_by_name(kind, slopes, name):
    a, b = kind(1.0), kind(2.0)
    out = kind(3.0, (a, b), slopes) if name is None else kind(3.0, (a, b), local_grads=slopes)
    assert out._local_grads == (5.0, 7.0) and out._op == ""
    (out * 10).backward()
    assert (a.grad, b.grad) == (50.0, 70.0)


def test_all_four_by_position_and_in_any_mixture_by_name(kind):
    a = kind(1.0)
    given = {"data": 2.0, "_children": (a,), "_op": "op", "label": "out"}
    names = list(given)
    for count in range(5):
        out = kind(*list(given.values())[:count], **{n: given[n] for n in names[count:]})
        assert (out.data, out._children, out._op, out.label) == (2.0, (a,), "op", "out")


def test_a_named_op_may_have_local_gradients(kind):
    a = kind(2.0)
    out = kind(4.0, (a,), "square", local_grads=[4.0])
    out.backward()
    assert (out._op, out._local_grads, a.grad) == ("square", (4.0,), 4.0)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 1000])
def test_any_number_of_children(kind, count):
    leaves = [kind(float(i)) for i in range(count)]
    out = kind(1.0, leaves, [float(i) for i in range(count)])
    out.backward()
    assert out._children == tuple(leaves)
    assert [v.grad for v in leaves] == [float(i) for i in range(count)]


def test_none_is_as_good_as_not_given():
    out = Value(2.0, None, None, None, children=None, local_grads=None)
    assert (out._children, out._op, out.label, out._local_grads) == ((), "", "", ())


def test_the_name_of_an_op_can_be_changed_and_comes_back_when_the_change_is_deleted():
    out = Value(3.0, (Value(1.0),), "mine")
    out._op = "other"
    assert out._op == "other"
    del out._op
    assert out._op == "mine"


A, B = Value(1.0), Value(2.0)

WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "children twice": (lambda: Value(1.0, (A,), children=(B,)), TypeError, "children given twice"),
    "_children twice": (lambda: Value(1.0, (A,), _children=(B,)), TypeError, "given twice"),
    "data twice": (lambda: Value(1.0, data=2.0), TypeError, "data given twice"),
    "gradients twice": (
        lambda: Value(1.0, (A,), (1.0,), local_grads=(1.0,)),
        TypeError,
        "local gradients given twice",
    ),
    "a Value for children": (lambda: Value(1.0, A), TypeError, "iterable of Values, not Value"),
    "a number for children": (lambda: Value(1.0, 5), TypeError, "iterable of Values, not int"),
    "a number for an op": (
        lambda: Value(1.0, (A,), 3),
        TypeError,
        "name for the op, or a sequence",
    ),
    "numbers as children": (lambda: Value(1.0, (A, 2.0), "op"), TypeError, "child 1 must be a Val"),
    "a bad gradient": (lambda: Value(1.0, (A,), ("x",)), TypeError, "a local gradient must be a r"),
    "a Value as gradient": (lambda: Value(1.0, (A,), (B,)), TypeError, "a local gradient must be"),
    "too few gradients": (lambda: Value(1.0, (A, B), (1.0,)), ValueError, "2 children .* got 1"),
    "too many gradients": (lambda: Value(1.0, (A,), (1.0, 2.0)), ValueError, "1 children .* got 2"),
    "gradients alone": (lambda: Value(1.0, local_grads=(1.0,)), ValueError, "0 children"),
    "too many arguments": (lambda: Value(1.0, (), "", "", 5), TypeError, "at most 4 arg.* got 5"),
    "an unknown name": (lambda: Value(1.0, colour="red"), TypeError, "unexpected .*'colour'"),
    "no data": (lambda: Value(_children=(A,)), TypeError, "data"),
    "text for data": (lambda: Value("x", (A,), "op"), TypeError, "data must be a real number"),
}


@pytest.mark.parametrize("call, error, message", WRONG.values(), ids=WRONG)
def test_a_wrong_constructor_says_what_is_wrong_and_leaves_no_node(start, call, error, message):
    with pytest.raises(error, match=message):
        call()
    gc.collect()
    assert live_nodes() == start


def test_an_exception_among_the_children_passes_through(start):
    def children():
        yield A
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Value(1.0, children(), "op")
    gc.collect()
    assert live_nodes() == start


# ---- derivatives to sweep by hand ---------------------------------------------------------------

EXPRESSIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a + b": lambda a, b: a + b,
    "a * b": lambda a, b: a * b,
    "a * a": lambda a, b: a * a,
    "a / b": lambda a, b: a / b,
    "a ** 3": lambda a, b: a**3,
    "a ** b": lambda a, b: a**b,
    "tanh": lambda a, b: a.tanh(),
    "log": lambda a, b: a.log(),
    "relu": lambda a, b: (a - 1.0).relu(),
    "maximum": lambda a, b: a.maximum(b),
    "given": lambda a, b: type(a)(1.0, (a, b), (0.25, -3.0)),
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_local_gradients_are_the_oracles(expression):
    ours = expression(Value(0.7), Value(1.9))._local_grads
    theirs = expression(oracle.Value(0.7), oracle.Value(1.9))._local_grads
    assert ours == theirs and len(ours) > 0


def sweep_by_hand(root: Any) -> None:
    """microgpt's backward, from outside the class."""
    order, visited = [], set()

    def build(v):
        if v not in visited:
            visited.add(v)
            for child in v._children:
                build(child)
            order.append(v)

    build(root)
    root.grad = 1.0
    for v in reversed(order):
        for child, local_grad in zip(v._children, v._local_grads):
            child.grad += local_grad * v.grad


def test_a_sweep_by_hand_finds_what_backward_finds():
    def loss(a, b):
        return ((a * b + 2).tanh() / (b - 4.5) + (a**2).exp().log() * b).relu() - a

    for sweep in (sweep_by_hand, Value.backward):
        a, b, c, d = Value(0.3), Value(-1.2), oracle.Value(0.3), oracle.Value(-1.2)
        sweep(loss(a, b))
        loss(c, d).backward()
        assert (a.grad, b.grad) == (c.grad, d.grad)


def test_a_leaf_and_a_node_without_derivatives_have_none(kind):
    a = kind(1.0)
    assert a._local_grads == kind(2.0, (a,), "op")._local_grads == ()


def test_local_gradients_follow_the_data_and_fail_at_a_pole():
    a = Value(4.0)
    root = a.sqrt()
    assert root._local_grads == (0.25,)
    a.data, root.data = 0.0, 0.0
    with pytest.raises(ZeroDivisionError, match="derivative of sqrt"):
        root._local_grads  # noqa: B018


# ---- closures -----------------------------------------------------------------------------------

calls: list[str] = []


def fused_neuron(ws: list[Any], xs: list[Any], b: Any, name: str = "neuron") -> Any:
    """tanh(w * x + b) as one node: many children, data set afterwards, one closure."""
    out = type(b)(0.0, (*ws, *xs, b), "neuron")
    out.data = math.tanh(sum((w.data * x.data for w, x in zip(ws, xs)), b.data))

    def _backward():
        calls.append(name)
        slope = (1.0 - out.data * out.data) * out.grad
        for w, x in zip(ws, xs):
            w.grad += x.data * slope
            x.grad += w.data * slope
        b.grad += slope

    out._backward = _backward
    return out


def network(kind: Any, width: int = 12) -> tuple[list[Any], Any]:
    """Fused neurons over native ops over fused neurons."""
    xs = [kind(0.1 * i - 0.4) for i in range(width)]
    ws = [kind(0.3 - 0.05 * i) for i in range(width)]
    b = kind(0.2)
    hidden = [fused_neuron(ws, [x * scale for x in xs], b, f"h{scale}") for scale in (1.0, 0.5)]
    joined = [h * h + 0.1 for h in hidden]
    out = fused_neuron(ws[:2], joined, b, "top")
    return [*xs, *ws, b], (out - 0.5) ** 2 + hidden[0]


def test_fused_neurons_mixed_with_native_ops_give_the_oracles_gradients():
    ours, loss = network(Value)
    theirs, expected = network(oracle.Value)
    calls.clear()
    loss.backward()
    assert sorted(calls) == ["h0.5", "h1.0", "top"] and calls[0] == "top"
    expected.backward()
    assert loss.data == expected.data
    assert [v.grad for v in ours] == [v.grad for v in theirs]


def test_fused_neurons_agree_with_native_ones():
    leaves, loss = network(Value)
    loss.backward()
    copies, _ = network(Value)
    xs, ws, b = copies[:12], copies[12:24], copies[24]
    hidden = [pygradc.dot(ws, [x * scale for x in xs], b).tanh() for scale in (1.0, 0.5)]
    out = pygradc.dot(ws[:2], [h * h + 0.1 for h in hidden], b).tanh()
    native = (out - 0.5) ** 2 + hidden[0]
    native.backward()
    assert loss.data == pytest.approx(native.data, abs=1e-15)
    assert [v.grad for v in leaves] == pytest.approx([v.grad for v in copies], abs=1e-14)


def test_fused_neurons_go_at_once_without_the_collector(start):
    gc.disable()
    try:
        leaves, loss = network(Value)
        loss.backward()
        assert live_nodes() - start > 60
        del loss
        assert live_nodes() - start == len(leaves)
    finally:
        gc.enable()


def test_a_fused_neuron_that_raises_leaves_all_as_it_was_and_can_be_used_again():
    leaves, loss = network(Value)
    loss.backward()
    before = [v.grad for v in leaves]
    inner = next(c for c in loss._children if c._op == "neuron")
    push = inner._backward

    def fail():
        push()
        raise RuntimeError("mine")

    inner._backward = fail
    with pytest.raises(RuntimeError, match="mine"):
        loss.backward()
    assert [v.grad for v in leaves] == before
    inner._backward = push
    for v in leaves:
        v.grad = 0.0
    loss.backward()
    assert [v.grad for v in leaves] == before


# ---- errors end at the user's line --------------------------------------------------------------

ZERO, NEGATIVE = Value(0.0), Value(-8.0)


def broken_closure() -> Value:
    out = Value(1.0, (ZERO,), "op")
    out._backward = lambda: 1 / 0
    return out


def root_with_gradient() -> Any:
    root = ZERO.sqrt()
    root.grad = 1.0
    return root


RAISING: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "a / 0": (lambda: Value(1.0) / 0, ZeroDivisionError),
    "a / b": (lambda: Value(1.0) / ZERO, ZeroDivisionError),
    "1 / a": (lambda: 1 / ZERO, ZeroDivisionError),
    "0 ** -1": (lambda: ZERO**-1, ZeroDivisionError),
    "(-8) ** (1 / 3)": (lambda: NEGATIVE ** (1 / 3), ValueError),
    "log": (lambda: NEGATIVE.log(), ValueError),
    "exp": (lambda: Value(1000.0).exp(), OverflowError),
    "10 ** 400": (lambda: Value(10.0) ** 400, OverflowError),
    "a + 10 ** 400": (lambda: ZERO + 10**400, OverflowError),
    "backward": (lambda: ZERO.sqrt().backward(), ZeroDivisionError),
    "one node's backward": (lambda: root_with_gradient()._backward(), ZeroDivisionError),
    "Value('x')": (lambda: Value("x"), TypeError),
    "Value('x', ...)": (lambda: Value("x", (), ""), TypeError),
    "children": (lambda: Value(1.0, (2.0,), "op"), TypeError),
    "gradients": (lambda: Value(1.0, (ZERO,), (1.0, 2.0)), ValueError),
    "a + 'x'": (lambda: ZERO + "x", TypeError),
    "a.data = 'x'": (lambda: setattr(ZERO, "data", "x"), TypeError),
    "maximum": (lambda: ZERO.maximum("x"), TypeError),
    "an array": (lambda: np.log(np.array([NEGATIVE])), ValueError),
    "an array divided": (lambda: np.array([NEGATIVE]) / np.array([ZERO]), ZeroDivisionError),
    "a closure": (lambda: broken_closure().backward(), ZeroDivisionError),
    "a name": (lambda: ZERO.momentum, AttributeError),
}


@pytest.mark.parametrize("call, error", RAISING.values(), ids=RAISING)
def test_errors_are_pythons_and_their_traceback_ends_at_the_users_line(call, error):
    with pytest.raises(error) as caught:
        call()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].filename == __file__
    assert not any(frame.filename.startswith(PACKAGE) for frame in frames)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_an_exception_of_the_users_generator_keeps_its_own_frames():
    def children():
        yield ZERO
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        Value(1.0, children(), "op")
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][-1] == "children"


# ---- whole programs -----------------------------------------------------------------------------


def test_a_training_loop_as_the_lessons_write_it_prints_the_oracles_digits():
    def train(value: Any, mlp: Any) -> list[str]:
        random.seed(3)
        model, printed = mlp(2, [4, 1]), []
        for step, (x, y) in itertools.islice(
            enumerate(itertools.cycle([([1.0, 2.0], 0.5), ([-1.0, 0.3], -0.25)])), 30
        ):
            out = model(list(map(value, x)))
            loss = sum(((yhat - yt) ** 2 for yhat, yt in zip([out], [y])), value(0.0))
            for p in model.parameters():
                p.grad = 0.0
            loss.backward()
            for p in model.parameters():
                p.data += -0.1 * p.grad
            printed.append(f"{step} {loss.data}")
        return printed

    assert train(Value, nn.MLP) == train(oracle.Value, oracle.MLP)


# ---- Walks by identity ---------------------------------------------------------------------------


def tree(kind: Any, depth: int) -> Any:
    if depth == 0:
        return kind(1.0)
    return tree(kind, depth - 1) * tree(kind, depth - 1) + 1.0


def counted(value: Any, seen: set[int]) -> int:
    if id(value) in seen:
        return 0
    seen.add(id(value))
    return 1 + sum(counted(child, seen) for child in value._prev)


def summed(value: Any, operands: str) -> tuple[int, float]:
    data, todo = {}, [value]
    while todo:
        v = todo.pop()
        if id(v) not in data:
            data[id(v)] = v.data
            todo.extend(getattr(v, operands))
    return len(data), sum(data.values())


@pytest.mark.parametrize("operands", ["_prev", "_children"])
def test_a_walk_tells_nodes_apart_by_id(operands):
    for depth in range(7):
        expected = counted(tree(oracle.Value, depth), set())
        assert counted(tree(Value, depth), set()) == expected
        assert summed(tree(Value, depth), operands) == summed(tree(oracle.Value, depth), operands)


def test_two_walks_meet_the_same_objects():
    root = tree(Value, 4)
    first: set[int] = set()
    counted(root, first)
    again: set[int] = set()
    counted(root, again)
    assert first == again
    root.backward()
    third: set[int] = set()
    counted(root, third)
    assert first == third


def test_what_a_walk_met_goes_with_the_graph():
    before = live_nodes()
    for _ in range(3):
        root = Value(1.0)
        for _ in range(20_000):
            root = root * 1.0
        assert counted_iteratively(root) == 40_001
        del root
        assert live_nodes() == before


def counted_iteratively(root: Any) -> int:
    return summed(root, "_children")[0]


def test_an_operand_that_was_met_may_be_hung_on_and_keeps_it():
    root = Value(2.0) * 3.0
    next(iter(root._children)).label = "a"
    assert [v.label for v in root._children] == ["a", ""]
    inner = root._children[0]
    del root
    gc.collect()
    assert inner.label == "a" and inner.data == 2.0
