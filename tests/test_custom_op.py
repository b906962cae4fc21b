"""Are custom ops right: values and gradients against closures, the oracle and central differences;
do programs have their bits; and do errors leave everything as it was?"""

from __future__ import annotations

import builtins
import contextlib
import copy
import functools
import gc
import json
import math
import numbers
import operator
import pickle
import random
import re
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import TraceError, Value, live_nodes
from pygradc import reference as oracle


@pytest.fixture
def start():
    gc.collect()
    return live_nodes()


# ---- ops of floats ------------------------------------------------------------------------------


@pygradc.op(derivatives=lambda a, y: 1.0 / (1.0 + math.exp(-a)))
def softplus(a):
    """log(1 + exp(a))"""
    return math.log1p(math.exp(a))


@pygradc.op(derivatives=lambda a, b, y: (a / y, b / y))
def hypotenuse(a, b):
    return math.hypot(a, b)


@pygradc.op(derivatives=(lambda a, b, c, y: b * y, lambda a, b, c, y: a * y, lambda a, b, c, y: y))
def exp_of(a, b, c):
    return math.exp(a * b + c)


@pygradc.op(derivatives=lambda a, y: 1.0)
def rounded(a):
    """A straight-through estimator: not its derivative, and meant so."""
    return float(round(a))


FLOATS = {"softplus": (softplus, 1), "hypotenuse": (hypotenuse, 2), "exp_of": (exp_of, 3)}

# ---- ops of Values ------------------------------------------------------------------------------


@pygradc.op(derivatives=lambda a, y: 3.0 * a * a)
def cube(a):
    return a * a * a


@pygradc.op(derivatives=lambda a, b, y: (b**-1, -a * b**-2))
def ratio(a, b):
    return a / b


@pygradc.op(derivatives=lambda a, y: y + a.sigmoid() * (1.0 - y))
def swish(a):
    return a * a.sigmoid()


@pygradc.op(derivatives=lambda a, y: 1.0)
def sign(a):
    """Another straight-through estimator, that can be recorded."""
    return pygradc.where(a > 0.0, 1.0, -1.0)


@pygradc.op(derivatives=lambda a, y: -1.0)
def reversed_gradient(a):
    return a


@pygradc.op(derivatives=lambda a, b, y: (b, a * 2.0))
def lopsided(a, b):
    """Its derivatives are none of a * b."""
    return a * b


VALUES = {
    "cube": (cube, 1),
    "ratio": (ratio, 2),
    "swish": (swish, 1),
    "reversed_gradient": (reversed_gradient, 1),
    "lopsided": (lopsided, 2),
}
HONEST = {**FLOATS, "cube": VALUES["cube"], "ratio": VALUES["ratio"]}


def sample(count: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).uniform(0.3, 2.0, count).tolist()


# ---- values and gradients -----------------------------------------------------------------------


@pytest.mark.parametrize("op, count", HONEST.values(), ids=HONEST)
def test_gradients_are_central_differences(op, count):
    data, h = sample(count), 1e-6
    leaves = [Value(x) for x in data]
    out = op(*leaves) * 2.0
    out.backward()
    for i, leaf in enumerate(leaves):
        high, low = data.copy(), data.copy()
        high[i] += h
        low[i] -= h
        slope = (op(*high).data - op(*low).data) / (2 * h) * 2.0
        assert leaf.grad == pytest.approx(slope, rel=1e-8)


def test_the_checker_notices_a_wrong_derivative():
    x, h = 0.7, 1e-6
    slope = (lopsided(1.3, x + h).data - lopsided(1.3, x - h).data) / (2 * h)
    v = Value(x)
    lopsided(1.3, v).backward()
    assert v.grad != pytest.approx(slope, rel=1e-3)


def by_closure(op: Any, kind: Any, *operands: Any) -> Any:
    """The same op as micrograd would write it, on any class."""
    values = [x if isinstance(x, kind) else kind(x) for x in operands]
    out = kind(op.__wrapped__(*[v.data for v in values]), tuple(values), op.name)

    def _backward():
        slopes = op._derivatives(*[v.data for v in values], out.data)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        for v, slope in reversed(list(zip(values, slopes))):
            v.grad += slope * out.grad

    out._backward = _backward
    return out


@pytest.mark.parametrize("op, count", FLOATS.values(), ids=FLOATS)
def test_gradients_are_the_oracles_bit_for_bit_among_native_ops(op, count):
    def graph(kind, apply):
        leaves = [kind(x) for x in sample(count, 3)]
        inner = apply(op, *[(leaf * leaf + 0.1).tanh() for leaf in leaves])
        return leaves, (apply(op, *[inner * leaf for leaf in leaves]) - inner) ** 2

    leaves, loss = graph(Value, lambda op, *values: op(*values))
    theirs, expected = graph(oracle.Value, lambda op, *v: by_closure(op, oracle.Value, *v))
    loss.backward()
    expected.backward()
    assert loss.data == expected.data
    assert [v.grad for v in leaves] == [v.grad for v in theirs]


@pytest.mark.parametrize("op, count", {**FLOATS, **VALUES}.values(), ids={**FLOATS, **VALUES})
def test_the_node_is_an_ordinary_one(op, count):
    leaves = [Value(x) for x in sample(count)]
    out = op(*leaves)
    assert type(out) is Value and out._children == tuple(leaves) and out._op == op.name
    assert out.grad == 0.0 and len(out._local_grads) == count
    out.label = "out"
    assert (out * 2)._children[0] is out and out.label == "out"
    out._backward = lambda: None
    (out * 2).backward()
    assert all(leaf.grad == 0.0 for leaf in leaves)
    del out._backward
    out._backward()
    assert all(leaf.grad == out.grad * slope for leaf, slope in zip(leaves, out._local_grads))


def test_numbers_among_the_operands_become_leaves():
    v = Value(3.0)
    for out in (hypotenuse(v, 4), hypotenuse(v, np.float32(4)), hypotenuse(4.0, v)):
        v.grad = 0.0
        out.backward()
        assert (out.data, v.grad) == (5.0, 0.6)
        assert {child.data for child in out._children} == {3.0, 4.0}
    assert hypotenuse(3, 4).data == 5.0 and len(hypotenuse(3, 4)._children) == 2


def test_one_value_as_several_operands():
    v = Value(0.7)
    hypotenuse(v, v).backward()
    assert v.grad == pytest.approx(math.sqrt(2.0))


def test_data_are_read_when_the_gradient_comes():
    a, b = Value(3.0), Value(4.0)
    out = hypotenuse(a, b) * 1.0
    a.data, out._children[0].data = 12.0, 10.0
    out.backward()
    assert (a.grad, b.grad) == (1.2, 0.4)


def test_straight_through():
    v = Value(2.6)
    out = rounded(v) * 2.0
    out.backward()
    assert (out.data, v.grad) == (6.0, 2.0)


def test_any_number_of_operands():
    @pygradc.op(derivatives=lambda *operands: operands[:-1])
    def half_squares(*operands):
        return sum(x * x for x in operands) * 0.5

    for count in (1, 2, 9, 300):
        leaves = [Value(float(i)) for i in range(count)]
        out = half_squares(*leaves)
        out.backward()
        assert out.data == sum(i * i for i in range(count)) / 2
        assert [v.grad for v in leaves] == [float(i) for i in range(count)]


def test_forms_of_the_decorator():
    plain = pygradc.op(lambda a: a + 1.0, lambda a, y: 1.0, name="next")
    assert (plain(1.0).data, plain(1.0)._op, plain.name) == (2.0, "next", "next")
    assert (softplus.__name__, softplus.__doc__) == ("softplus", "log(1 + exp(a))")
    assert repr(softplus) == "<op 'softplus'>" and softplus.__wrapped__(0.0) == math.log(2.0)
    listed = pygradc.op(lambda a, b: a * b, [lambda a, b, y: b, lambda a, b, y: a])
    a, b = Value(2.0), Value(3.0)
    listed(a, b).backward()
    assert (a.grad, b.grad) == (3.0, 2.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: pygradc.op(math.sin),
        lambda: pygradc.op(),
        lambda: pygradc.op(3, lambda a, y: 1.0),
        lambda: pygradc.op(math.sin, (math.cos, 3)),
        lambda: pygradc.op(math.sin, 3),
    ],
)
def test_an_op_needs_a_function_and_derivatives(wrong):
    with pytest.raises(TypeError):
        wrong()


def test_an_op_of_an_array():
    array = np.array([Value(0.5), Value(1.5)])
    out = np.vectorize(softplus)(array)
    np.sum(out).backward()
    assert [v.grad for v in array] == [1.0 / (1.0 + math.exp(-x)) for x in (0.5, 1.5)]


# ---- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [softplus, cube])
def test_nodes_go_at_once_and_leave_no_reference(start, op):
    x = Value(0.5)
    op(x)
    rule = op._rules[1]
    before = sys.getrefcount(rule), sys.getrefcount(op)
    gc.disable()
    try:
        y = x
        for _ in range(2000):
            y = op(y) * 0.9
            (y + 1).backward()
            y.data = 0.5
        assert sys.getrefcount(rule) == before[0] + 2000
        del y
        assert live_nodes() - start == 1
        assert (sys.getrefcount(rule), sys.getrefcount(op)) == before
    finally:
        gc.enable()


def test_an_op_may_go_before_its_nodes():
    def make() -> tuple[Value, Value, Any]:
        square = pygradc.op(lambda a: float(a) * float(a), lambda a, y: 2.0 * a, name="square")
        x = Value(3.0)
        return x, square(x) * 2, weakref.ref(square)

    x, out, op = make()
    gc.collect()
    assert op() is not None
    out.backward()
    assert x.grad == 12.0 and out._children[0]._op == "square"
    del out
    gc.collect()
    assert op() is None


# ---- errors -------------------------------------------------------------------------------------


def state(*values: Value) -> list[Any]:
    return [(v.data, v.grad, v._children) for v in values]


def refuses(call: Any, error: type[BaseException], message: str, *values: Value) -> None:
    gc.collect()
    before, nodes = state(*values), live_nodes()
    with pytest.raises(error, match=message):
        call()
    assert state(*values) == before
    gc.collect()
    assert live_nodes() == nodes


X = Value(0.5)


@pytest.mark.parametrize("odd", ["x", None, 1j, [1.0]], ids=repr)
def test_operands_must_be_numbers(odd):
    softplus(X), cube(X)
    message = "operand 0 must be a Value or a real number"
    refuses(lambda: softplus(odd), TypeError, f"op 'softplus': {message}", X)
    refuses(lambda: cube(odd), TypeError, f"op 'cube': {message}", X)
    refuses(lambda: hypotenuse(X, odd), TypeError, "operand 1 must be", X)


def test_an_op_without_operands_or_with_too_many():
    refuses(lambda: softplus(), TypeError, "op 'softplus' needs at least one operand", X)
    refuses(lambda: softplus(X, X), TypeError, "argument", X)
    refuses(lambda: softplus(a=X), TypeError, "unexpected keyword", X)


@pytest.mark.parametrize("odd", ["x", None, 1j, [1.0]], ids=repr)
def test_forward_must_give_a_number(odd):
    bad = pygradc.op(lambda a: odd, lambda a, y: 1.0, name="bad")
    message = f"op 'bad': forward must return a real number, not {type(odd).__name__}"
    refuses(lambda: bad(X), TypeError, message, X)
    refuses(lambda: bad(X), TypeError, message, X)


def test_what_forward_raises_comes_out():
    log = pygradc.op(lambda a: math.log(a), lambda a, y: 1.0 / a)
    refuses(lambda: log(Value(-1.0)), ValueError, "math domain|positive input", X)
    native = pygradc.op(lambda a: a.log(), lambda a, y: a**-1)
    refuses(lambda: native(Value(-1.0)), ValueError, r"log\(-1.0\)", X)


BAD_SLOPES = {
    "too few": (lambda a, b, y: (1.0,), ValueError, "one number for each of 2 operands, got 1"),
    "too many": (lambda a, b, y: [1.0] * 3, ValueError, "each of 2 operands, got 3"),
    "one for two": (lambda a, b, y: 1.0, ValueError, "each of 2 operands, got 1"),
    "text": (lambda a, b, y: (1.0, "x"), TypeError, "derivative 1 must be a real number, not str"),
    "a string": (lambda a, b, y: "xy", TypeError, "derivative 0 must be a real number, not str"),
    "None": (lambda a, b, y: None, ValueError, "got 1"),
    "None for one": (lambda a, b, y: (None, 1.0), TypeError, "derivative 0 .* not NoneType"),
    "raises": (lambda a, b, y: 1 / 0, ZeroDivisionError, "division"),
    "a wrong signature": (lambda a: 1.0, TypeError, "argument"),
    "a tuple that raises": ((lambda a, b, y: 1.0, lambda a, b, y: {}["k"]), KeyError, "k"),
}


@pytest.mark.parametrize("slopes, error, message", BAD_SLOPES.values(), ids=BAD_SLOPES)
def test_bad_derivatives_leave_all_gradients_and_a_usable_graph(slopes, error, message):
    bad = pygradc.op(lambda a, b: float(a) * float(b), slopes, name="bad")
    a, b = Value(2.0), Value(3.0)
    inner = a * b
    out = bad(inner, b) * inner
    for i, v in enumerate((a, b, inner, out)):
        v.grad = float(i) + 0.5
    refuses(out.backward, error, message, a, b, inner, out)
    refuses(out._children[0]._backward, error, message, a, b, inner, out)
    refuses(lambda: out._children[0]._local_grads, error, message, a, b, inner, out)
    out._children[0]._backward = lambda: None
    out.backward()
    assert out.grad == 1.0


def test_derivatives_may_be_values_arrays_or_lists():
    x = Value(3.0)
    for slope in (Value(6.0), [6.0], (6.0,), np.array([6.0]), np.float32(6), 6):
        x.grad = 0.0
        pygradc.op(lambda a: float(a) ** 2, lambda a, y, slope=slope: slope)(x).backward()
        assert x.grad == 6.0


def test_infinite_and_nan_derivatives_are_carried():
    x = Value(1.0)
    pygradc.op(lambda a: float(a), lambda a, y: math.inf)(x).backward()
    assert x.grad == math.inf


def test_derivatives_may_build_and_sweep_graphs():
    def slope(a, y):
        inner = Value(float(a))
        (inner * inner).backward()
        return inner.grad + 0.0 * sum(Value(0.0) for _ in range(5000)).data

    square = pygradc.op(lambda a: float(a) * float(a), slope)
    x = Value(3.0)
    (square(square(x)) * 1.0).backward()
    assert x.grad == 4 * 27.0


def test_a_sweep_within_its_own_derivatives():
    depth = []

    def slope(a, y):
        if not depth:
            depth.append(1)
            out.backward()
        return 2.0 * a

    square = pygradc.op(lambda a: float(a) * float(a), slope)
    x = Value(3.0)
    out = square(x) * 2.0
    out.backward()
    assert x.grad == 24.0  # both have added theirs
    x.grad = 0.0
    out.backward()
    assert x.grad == 12.0


# ---- programs -----------------------------------------------------------------------------------

w = Value(1.3)

RECORDED = {
    "cube": lambda x, y: cube(x) * y,
    "ratio": lambda x, y: ratio(x * y, y + 3.0) + ratio(1.0, x + 4.0),
    "swish": lambda x, y: swish(x * w + y) * swish(w),
    "sign": lambda x, y: sign(x - y) * x + sign(w) * y,
    "reversed": lambda x, y: reversed_gradient(x * y) * x + reversed_gradient(w),
    "lopsided": lambda x, y: lopsided(x, y) + lopsided(y, lopsided(x, x)) + lopsided(w, 2.0),
    "of one another": lambda x, y: cube(swish(ratio(x, y + 3.0)) + w) * cube(w),
    "one value twice, used elsewhere": lambda x, y: lopsided(x * w, x * w) * (x * w) + x * w,
    "an operand made of another": lambda x, y: lopsided(x, (x * y + w) * x) + x * x,
    "in a sum": lambda x, y: sum((lopsided(w, v * x) for v in (x, y, 2.0)), x),
    "several outputs": lambda x, y: [cube(x), lopsided(x, y), cube(x) * lopsided(x, y)],
}


def row_of(f: Any, x: float, y: float) -> list[Any]:
    """Of each output: data and gradients."""
    found = []
    count = len(f(x, y)) if isinstance(f(Value(x), Value(y)), list) else 1
    for i in range(count):
        a, b, w.grad = Value(x), Value(y), 0.0
        out = f(a, b)
        out = out[i] if isinstance(out, list) else out
        out.backward()
        found.append([v.hex() for v in (out.data, a.grad, b.grad, w.grad)])
    return found


ROWS = [(0.7, -1.2), (-0.3, 0.0), (1.0, 1.0), (2.5, -0.0), (1e-3, 1e3), (-1.7, 0.1)]


@pytest.mark.parametrize("passes", [None, [], ["fold", "hoist"], ["fuse"]], ids=repr)
@pytest.mark.parametrize("function", RECORDED.values(), ids=RECORDED)
def test_a_program_has_the_bits_of_the_ops(function, passes):
    recorded = pygradc.compile(function, passes=passes)
    for x, y in ROWS:
        assert row_of(recorded, x, y) == row_of(function, x, y)


def test_a_choice_in_an_op_is_that_of_the_program():
    """The same `where` outside of recordings, where the condition is a bool, and within."""
    for x in (0.5, -0.5):
        v = Value(x)
        out = sign(v) * 3.0
        out.backward()
        u = Value(x)
        again = pygradc.compile(lambda a: sign(a) * 3.0)(u)
        again.backward()
        assert (out.data, v.grad) == (again.data, u.grad) == (math.copysign(3.0, x), 3.0)


@pytest.mark.parametrize("function", RECORDED.values(), ids=RECORDED)
def test_rows_in_any_number_give_the_bits_of_one(function):
    recorded = pygradc.compile(function)
    rows = np.random.default_rng(1).uniform(-2.0, 2.0, (67, 2))
    for count in (1, 7, 8, 33, 67):
        data, (by_x, by_y) = recorded.gradients(rows[:count, 0], rows[:count, 1])
        for i in range(count):
            one = row_of(recorded, *rows[i])
            assert [x.hex() for x in np.ravel(data[i])] == [found[0] for found in one]
            assert [x.hex() for x in np.ravel(by_x[i])] == [found[1] for found in one]
            assert [x.hex() for x in np.ravel(by_y[i])] == [found[2] for found in one]


def test_a_mean_trains_through_a_custom_op():
    p = Value(0.5)
    loss = pygradc.compile(lambda x, y: (swish(p * x) - y) ** 2)
    X = np.linspace(-2.0, 2.0, 50)
    Y = 1.7 * X / (1.0 + np.exp(-1.7 * X))
    history = pygradc.fit(loss, X, Y, pygradc.optim.Adam([p], lr=0.05), epochs=200)
    assert history[-1] < 1e-6 < history[0] and p.data == pytest.approx(1.7, abs=1e-2)


def test_tangents_go_by_the_given_derivatives():
    a = Value(0.8)
    f = pygradc.compile(lambda x: lopsided(a * x, x * 2.0) + cube(a))
    _, tangent = f.jvp([1.0], [0.5, 1.5])
    assert tangent == pytest.approx([2.0 * x * x + 3.0 * a.data**2 for x in (0.5, 1.5)])
    product = f.hvp([1.0], [0.5, 1.5])
    assert product == pytest.approx([2 * 6.0 * a.data])
    twice = pygradc.compile(lambda x: cube(cube(a)) * x)
    assert twice.hvp([1.0], [1.0, 2.0]) == pytest.approx([3.0 * 72.0 * a.data**7])


def test_programs_with_custom_ops_are_saved_and_translated(tmp_path):
    f = pygradc.compile(RECORDED["of one another"])
    expected = row_of(f, 0.7, 1.1)
    program = f.programs[0]
    assert "custom: " in str(program) and "d/d" in str(program)
    program.save(tmp_path / "f")
    for again in (pygradc.load(tmp_path / "f"), pickle.loads(pickle.dumps(program))):
        x, y = Value(0.7), Value(1.1)
        out = again(x, y)
        out.backward()
        p = again.parameters()[0]
        assert [v.hex() for v in (out.data, x.grad, y.grad, p.grad)] == expected[0]
        assert again.to_c() == program.to_c()


REASONS = {
    "softplus": (softplus, r"float\(\)"),
    "hypotenuse": (lambda x: hypotenuse(x, 1.0), r"float\(\)"),
    "rounded": (rounded, r"float\(\)"),
    "bool": (pygradc.op(lambda a: a if a > 0 else 0.0, lambda a, y: 1.0, name="b"), r"bool\(\)"),
    "equal": (pygradc.op(lambda a: 1.0 if a == 0.0 else a, lambda a, y: 1.0, name="e"), "=="),
    "not equal": (pygradc.op(lambda a: a if a != 0 else 0.0, lambda a, y: 1.0, name="n"), "!="),
    "derivatives": (pygradc.op(lambda a: a * a, lambda a, y: math.sin(a), name="d"), r"float\(\)"),
    "too few": (pygradc.op(lambda a: a * a, lambda a, y: (), name="f"), "0 derivatives for 1"),
    "to digits": (pygradc.op(lambda a: round(a, 1), lambda a, y: 1.0, name="l"), r"round\(\) to"),
    "own data": (pygradc.op(lambda a: Value(a.data), lambda a, y: 1.0, name="o"), r"\.data"),
}


@pytest.mark.parametrize("op, reason", REASONS.values(), ids=REASONS)
@pytest.mark.parametrize("argument", ["an input", "a parameter"])
def test_a_recording_refuses_an_op_of_floats_and_says_why(op, reason, argument):
    f = pygradc.compile(lambda x: x * op(x if argument == "an input" else w))
    with pytest.raises(TraceError) as caught:
        f(0.5)
    text = str(caught.value)
    assert "can't be recorded" in text and "Values' ops" in text and __file__ in text
    assert "op '" in text
    assert re.search(reason, text)


@pytest.mark.parametrize("x", [0.0, -0.0, 1.0, -2.5])
def test_an_op_of_floats_gets_floats(x):
    seen = []

    def forward(a):
        seen.append(a)
        return 1.0 if a == 0.0 else math.sin(a) / a

    sinc = pygradc.op(forward, lambda a, y: 0.0 if a == 0.0 else (math.cos(a) - y) / a)
    v = Value(x)
    out = sinc(v)
    out.backward()
    assert out.data == (1.0 if x == 0.0 else math.sin(x) / x)
    assert type(seen[-1]) is float and seen[-1] == x


def test_an_op_of_values_gets_values_without_a_graph(start):
    seen = []

    def forward(a):
        seen.append((a, a * 2))
        return a * a

    square = pygradc.op(forward, lambda a, y: a * 2.0)
    v = Value(3.0)
    out = square(v)
    given, doubled = seen[-1]
    assert given is v and doubled.data == 6.0 and doubled._children == ()
    seen.clear()
    del given, doubled
    out.backward()
    assert v.grad == 6.0 and live_nodes() - start == 2
    assert (v * 2)._children != ()


# ---- is it a rule of floats or of Values? -------------------------------------------------------

TABLE = {0.5: 2.0, 1.0: 3.0, -1.5: 4.0}


def looked_up(a):
    try:
        return TABLE[a] * 1.0
    except KeyError:
        return a * 5.0


NEEDS_NUMBERS = {
    "a dict": lambda a: a * TABLE.get(a, 7.0),
    "a dict, or an exception": looked_up,
    "in a set": lambda a: a * 2.0 if a in {1.0, 2.0, 0.5} else a,
    "in a tuple": lambda a: a * 2.0 if a in (1.0, 2.0, 0.5) else a,
    "in a dict": lambda a: a * 2.0 if a in TABLE else a,
    "a set's size": lambda a: a * len({a, 1.0, 0.5}),
    "hash": lambda a: a * (hash(a) % 7),
    "an f-string": lambda a: a * len(f"{a}"),
    "a format": lambda a: a * float(f"{a:.1f}"),
    "str": lambda a: a * len(str(a)),
    "repr": lambda a: a * len(repr(a)),
    "%s": lambda a: a * len("%s" % (a,)),  # noqa: UP031
    "isinstance": lambda a: a * 2.0 if isinstance(a, float) else a * a,
    "isinstance, hidden": lambda a: in_two_ways(a),
    "type": lambda a: a * 2.0 if type(a) is float else a * a,
    "type, equal": lambda a: a * 2.0 if type(a) == float else a * a,  # noqa: E721
    "hasattr": lambda a: a * 2.0 if hasattr(a, "hex") else a * 1.5,
    "a method of floats": lambda a: float.fromhex(a.hex()) * 2.0,
    "int": lambda a: [1.0, 2.0, 3.0, 4.0][int(abs(a))] * a,
    "sorted": lambda a: sorted([a, 1.0])[0],
    "max": lambda a: max(a, 0.0),
    "round": lambda a: round(a, 1) * 1.0,
    "numpy": lambda a: float(np.tanh(a)),
    "a cache": lambda a: cached(a),
}


@functools.lru_cache(maxsize=100)
def cached(a):
    return a * 3.0


def in_two_ways(a):
    return a * 2.0 if isinstance(a, (float, int)) else a * a


@pytest.mark.parametrize("first", [0.5, 2.0, 0.0, 1.0, -1.5])
@pytest.mark.parametrize("rule", NEEDS_NUMBERS.values(), ids=NEEDS_NUMBERS)
def test_a_rule_that_needs_the_number_gets_floats(rule, first):
    """Whatever the first call's operand, and whether that is recorded."""
    for recorded_first in (False, True):
        op = pygradc.op(rule, lambda a, y: 1.0, name="odd")
        recorded = pygradc.compile(lambda x, op=op: op(x) * 1.0)
        if recorded_first:
            with pytest.raises(TraceError, match="op 'odd' can't be recorded"):
                recorded(first)
        for x in (first, 0.5, 1.0, 2.0, -1.5, 0.7, 3.0):
            assert op(Value(x)).data == rule(x)
        with pytest.raises(TraceError, match="op 'odd' can't be recorded"):
            recorded(0.7)


@pytest.mark.parametrize("slope", NEEDS_NUMBERS.values(), ids=NEEDS_NUMBERS)
def test_derivatives_that_need_the_number_get_floats(slope):
    op = pygradc.op(lambda a: a * a, lambda a, y: slope(a), name="odd")
    for x in (2.0, 0.5, 1.0, 0.7):
        v = Value(x)
        op(v).backward()
        assert v.grad == slope(x)
    with pytest.raises(TraceError, match="op 'odd' can't be recorded"):
        pygradc.compile(lambda x: op(x) * 1.0)(0.7)


def at_most_six(a):
    return 6.0 if a > 6 else a * 1.0


def answers_a_caught_error(a):
    try:
        return a * 2.0 if math.isfinite(a) and abs(a) < 100 else 0.0 * a
    except TypeError:
        return a * 2.0


def counts_by_int(a):
    try:
        n = int(a)
    except TypeError:
        n = 2
    return a * n


def asks_a_method_of_floats(a):
    try:
        return a * 2.0 if a.is_integer() else a * 3.0
    except AttributeError:
        return a * 2.0


def takes_a_remainder(a):
    b = a * 1.0
    try:
        return b % 3.0
    except TypeError:
        return b


def suppresses(a):
    y = a * 1.0
    with contextlib.suppress(TypeError):
        y = at_most_six(float(a))
    return y


def returns_in_finally(a):
    y = a * 1.0
    try:
        y = at_most_six(float(a))
    finally:
        return y  # noqa: B012


def catches_whatever(a):
    y = a * 1.0
    try:
        y = at_most_six(float(a))
    except:  # noqa: E722
        y = y * 1.0
    return y


def has_a_method_of_values(a):
    try:
        return a.exp()
    except AttributeError:
        return min(math.exp(a), 100.0)


def takes_an_index(a):
    try:
        operator.index(a)
    except TypeError as error:
        return at_most_six(a) if "float" in str(error) else a * 1.0


def asks_inside(a):
    def is_float(x):
        return isinstance(x, float)

    return at_most_six(a) if is_float(a) else a * 1.0


@functools.singledispatch
def by_dispatch(a):
    return a * 1.0


by_dispatch.register(float, at_most_six)


class Asks:
    @functools.singledispatchmethod
    def dispatched(self, a):
        return a * 1.0

    @dispatched.register(float)
    def _(self, a):
        return at_most_six(a)

    @staticmethod
    def static(a):
        return at_most_six(a) if isinstance(a, float) else a * 1.0

    @property
    def read(self):
        return lambda a: self.static(a)

    @functools.cached_property
    def kept(self):
        return lambda a: self.static(a)

    def _part(self, f, a):
        return at_most_six(a) if f(a) is float else a * 1.0

    part = functools.partialmethod(_part, type)

    def __call__(self, a):
        return self.static(a)

    def __eq__(self, other):
        return isinstance(other, float) and other > 6

    __hash__ = None  # type: ignore[assignment]


class Holds:
    def __init__(self, x):
        self.x, self.is_float = x, isinstance(x, float)

    @property
    def answer(self):
        return at_most_six(self.x) if self.is_float else self.x * 1.0


def asks_type(a):
    return at_most_six(a) if type(a) in (float, np.float64) else a * 1.0


@pygradc.no_grad()
def in_no_grad(a):
    return asks_type(a)


def imports(a):
    from operator import is_

    return at_most_six(a) if is_(a.__class__, float) else a * 1.0


VECTORIZED, FROM_FUNCTION = np.vectorize(asks_type), np.frompyfunc(asks_type, 1, 1)
KIND, IS, CLASS_OF, ASKS = type, isinstance, operator.attrgetter("__class__"), Asks()

# Each computes with Values, in another way than with floats, which differ above 6 at the latest.
TELLS = {
    "isinstance": lambda a: at_most_six(a) if isinstance(a, (int, float)) else a * 1.0,
    "isinstance of Values": lambda a: a * 1.0 if isinstance(a, Value) else at_most_six(a),
    "a formula, clipped": lambda a: a.tanh() if isinstance(a, Value) else min(math.tanh(a), 0.5),
    "numbers.Real": lambda a: at_most_six(a) if isinstance(a, numbers.Real) else a * 1.0,
    "of a comparison": lambda a: at_most_six(a) if isinstance(a > 6, bool) else a * 1.0,
    "of what is computed": lambda a: at_most_six(a) if isinstance(a * 1.0, float) else a * 1.0,
    "type": lambda a: at_most_six(a) if type(a) is float else a * 1.0,
    "issubclass": lambda a: at_most_six(a) if issubclass(type(a), float) else a * 1.0,
    "__class__": lambda a: at_most_six(a) if a.__class__ is float else a * 1.0,
    "a class's name": lambda a: at_most_six(a) if a.__class__.__name__ == "float" else a * 1.0,
    "a table of types": lambda a: {float: at_most_six}.get(type(a), lambda x: x * 1.0)(a),
    "hasattr": lambda a: at_most_six(a) if hasattr(a, "is_integer") else a * 1.0,
    "hasattr of Values": lambda a: a * 1.0 if hasattr(a, "tanh") else at_most_six(a),
    "getattr": lambda a: a * 1.0 if getattr(a, "real", None) is None else at_most_six(a),
    "dir": lambda a: at_most_six(a) if "hex" in dir(a) else a * 1.0,
    "a method of float": lambda a: a * 2.0 if (6.0).__gt__(a) else 0.0 * a,
    "attrgetter": lambda a: at_most_six(a) if CLASS_OF(a) is float else a * 1.0,
    "eval": lambda a: at_most_six(a) if eval("isinstance(a, float)") else a * 1.0,
    "builtins": lambda a: at_most_six(a) if builtins.isinstance(a, float) else a * 1.0,
    "type, renamed": lambda a: at_most_six(a) if KIND(a) is float else a * 1.0,
    "isinstance, renamed": lambda a: at_most_six(a) if IS(a, float) else a * 1.0,
    "isinstance, mapped": lambda a: at_most_six(a) if all(map(IS, [a], [float])) else a * 1.0,
    "a default": lambda a, f=isinstance: at_most_six(a) if f(a, float) else a * 1.0,
    "partial": functools.partial(lambda f, a: at_most_six(a) if f(a, float) else a * 1.0, IS),
    "within": asks_inside,
    "in a generator": lambda a: at_most_six(a) if any(IS(x, float) for x in (a,)) else a * 1.0,
    "singledispatch": by_dispatch,
    "singledispatch, called": lambda a: by_dispatch(a),
    "singledispatchmethod": lambda a: ASKS.dispatched(a),
    "a static method": lambda a: ASKS.static(a),
    "a property": lambda a: ASKS.read(a),
    "a cached property": lambda a: ASKS.kept(a),
    "a callable": Asks(),
    "a bound method": Asks().__call__,
    "an object's ==": lambda a: 6.0 if a == ASKS else a * 1.0,
    "an object made of it": lambda a: Holds(a).answer,
    "a method of a part": lambda a: ASKS.part(a),
    "in no_grad": lambda a: in_no_grad(a),
    "np.vectorize": lambda a: np.vectorize(asks_type)(a) * 1.0,
    "np.vectorize, kept": lambda a: VECTORIZED(a)[()] * 1.0,
    "np.frompyfunc": lambda a: FROM_FUNCTION(a) * 1.0,
    "operator.is_": lambda a: at_most_six(a) if operator.is_(KIND(a), float) else a * 1.0,
    "an import": imports,
    "np.isscalar": lambda a: at_most_six(a) if np.isscalar(a) else a * 1.0,
    "an array's dtype": lambda a: at_most_six(a) if np.asarray(a).dtype == float else a * 1.0,
    "np.nan_to_num": lambda a: np.nan_to_num(a, posinf=6.0) * 1.0,
    "the standard library": lambda a: float(json.dumps(a, default=lambda x: "1").strip('"')),
    "TypeError": answers_a_caught_error,
    "int": counts_by_int,
    "AttributeError": asks_a_method_of_floats,
    "AttributeError of floats": has_a_method_of_values,
    "an operator of floats": takes_a_remainder,
    "operator.index": takes_an_index,
    "suppress": suppresses,
    "finally": returns_in_finally,
    "except": catches_whatever,
}


def from_text(text: str) -> Any:
    names: dict[str, Any] = {"at_most_six": at_most_six}
    exec(text, names)
    return names["rule"]


if sys.version_info >= (3, 10):
    TELLS["match"] = from_text(
        "def rule(a):\n"
        "    match a:\n"
        "        case float() if a > 6: return 6.0\n"
        "    return a * 1.0\n"
    )
if sys.version_info >= (3, 11):
    TELLS["except*"] = from_text(
        "def rule(a):\n"
        "    y = a * 1.0\n"
        "    try: y = at_most_six(float(a))\n"
        "    except* TypeError: pass\n"
        "    return y\n"
    )


@pytest.mark.filterwarnings("ignore:NotImplemented should not be used:DeprecationWarning")
@pytest.mark.parametrize("first", [1.0, 2.0, 50.0])
@pytest.mark.parametrize("rule", TELLS.values(), ids=TELLS)
def test_a_rule_that_tells_floats_from_values_gets_floats(rule, first):
    for slope in (False, True):
        if slope:
            op = pygradc.op(lambda a: a * 1.0, lambda a, y: rule(a), name="odd")
        else:
            op = pygradc.op(rule, lambda a, y: 1.0, name="odd")
        with pytest.raises(TraceError, match="op 'odd' can't be recorded"):
            pygradc.compile(lambda x, op=op: op(x) * 1.0)(0.7)
        for x in (first, 50.0, 0.5, 3.0, 500.0, -2.0, math.inf):
            try:
                expected = rule(x)
            except (OverflowError, ValueError):
                continue
            v = Value(x)
            out = op(v)
            out.backward()
            assert (v.grad if slope else out.data) == pytest.approx(expected, nan_ok=True)
        assert op._rules[1][-1] is False
        with pytest.raises(TraceError, match="op 'odd' can't be recorded"):
            pygradc.compile(lambda x, op=op: op(x) * 1.0)(0.7)


def test_what_a_rule_asks_is_named_with_its_line():
    op = pygradc.op(TELLS["isinstance"], lambda a, y: 1.0)
    line = TELLS["isinstance"].__code__.co_firstlineno
    with pytest.raises(TraceError, match=rf"{__file__}:{line}: isinstance may tell .* Instead, "):
        pygradc.compile(lambda x: op(x))(1.0)


def first_of(a):
    return a[0] if isinstance(a, list) else a


def test_a_rule_that_floats_cannot_compute_gets_values_whatever_it_asks():
    for rule, slope in (
        (lambda a: first_of(a).tanh(), lambda a, y: 1.0 - y * y),
        (lambda a: first_of(a) * 2.0, lambda a, y: a.tanh()),
    ):
        for recorded_first in (False, True):
            op = pygradc.op(rule, slope)
            recorded = pygradc.compile(lambda x, op=op: op(x) * 1.0)
            found = []
            for call in (recorded, op) if recorded_first else (op, recorded):
                v = Value(0.7)
                out = call(v)
                out.backward()
                found.append((out.data, v.grad))
            assert found[0] == found[1] and op._rules[1][-1] is True


def test_an_error_of_floats_is_not_answered_by_values():
    op = pygradc.op(lambda a: a * 1.0 if isinstance(a, Value) else math.sqrt(a), lambda a, y: 1.0)
    for _ in range(2):
        with pytest.raises(ValueError):
            op(Value(-1.0))
    assert op(Value(4.0)).data == 2.0


def test_derivatives_of_a_method_are_looked_at_as_well():
    class Clipped:
        @pygradc.op(derivatives=(lambda a, b, y: asks_type(a), lambda a, b, y: 1.0))
        def add(self, a, b):
            return a + b

    v, c = Value(2.0), Clipped()
    c.add(v, 1.0)
    v.data = 50.0
    c.add(v, 1.0).backward()
    assert v.grad == 6.0
    with pytest.raises(TraceError, match="type may tell"):
        pygradc.compile(lambda x: c.add(x, x))(1.0)


def test_what_other_methods_and_ops_ask_is_not_the_rules():
    class Scaled:
        def __init__(self, scale):
            self.scale = scale if isinstance(scale, float) else float(scale)

        @pygradc.op(derivatives=lambda self, a, y: self.scale)
        def scaled(self, a):
            return a * self.times()

        @pygradc.op(derivatives=lambda self, a, y: 1.0)
        def clipped(self, a):
            return at_most_six(a) if isinstance(a, float) else a * 1.0

        def times(self):
            return self.scale

        def show(self, out):
            return str(out) if isinstance(out, float) else None

    s = Scaled(3)
    assert s.scaled(Value(2.0)).data == 6.0 == pygradc.compile(lambda x: s.scaled(x))(2.0).data
    assert s.clipped(Value(2.0)).data == 2.0 and s.clipped(Value(50.0)).data == 6.0
    with pytest.raises(TraceError, match="isinstance may tell"):
        pygradc.compile(lambda x: s.clipped(x))(2.0)


OF_VALUES = {
    "operators": lambda a: a * a * 0.5 - a / 3.0,
    "cancelling": lambda a: a / 3.0 * 3.0 - a,
    "where": lambda a: pygradc.where(a > 0.0, a * 2.0, a * 3.0),
    "a condition as a number": lambda a: (a > 0.0) * a,
    "a condition": lambda a: a > 0.0,
    "methods": lambda a: a.tanh() * 2.0,
    "methods of either": lambda a: a.tanh() if isinstance(a, Value) else math.tanh(a),
    "finally": lambda a: cleans_up(a),
    "None": lambda a, b=None: a * 2.0 if b is None else a,
    "formulas of either": lambda a: a.exp() * 2 if isinstance(a, Value) else math.exp(a) * 2,
    "a container": lambda a: sum([x for x in (a, a) if x is not None]),
    "nothing of it": lambda a: 3.0,
}


def cleans_up(a):
    try:
        return a * 2.0
    finally:
        TABLE.pop("nothing", None)


@pytest.mark.parametrize("rule", OF_VALUES.values(), ids=OF_VALUES)
def test_a_rule_of_values_can_be_recorded(rule):
    for first in (2.0, 0.0, 1.0, -0.3):
        op = pygradc.op(rule, lambda a, y: 1.0)
        op(Value(first))
        recorded = pygradc.compile(lambda x, op=op: op(x) * 1.0)
        for x in (0.7, -1.5, 3.0):
            assert recorded(x).data.hex() == (op(Value(x)) * 1.0).data.hex()


def test_the_first_call_runs_the_rule_three_times_the_others_once():
    calls, slopes = [], []

    def forward(a):
        calls.append(a)
        return a * a

    def slope(a, y):
        slopes.append(a)
        return a * 2.0

    op = pygradc.op(forward, slope)
    x = Value(3.0)
    y = op(x)
    assert len(calls) == 3 and len(slopes) == 3  # on a symbol, a float, a Value
    y.backward()
    op(x)
    assert len(calls) == 4 and len(slopes) == 4 and x.grad == 6.0
    opaque = pygradc.op(lambda a: calls.append(a) or math.sin(a), lambda a, y: math.cos(a))
    calls.clear()
    opaque(x), opaque(x)
    assert [type(a) for a in calls] == [Value, float, float]


def test_a_name_that_comes_later_is_found():
    names: dict[str, Any] = {}
    exec("def forward(a):\n    return later(a)\ndef slope(a, y):\n    return after(a)", names)
    op = pygradc.op(names["forward"], names["slope"], name="early")
    x = Value(2.0)
    for _ in range(2):
        with pytest.raises(NameError, match="later"):
            op(x)
        with pytest.raises(TraceError, match=r"can't be recorded.*later"):
            pygradc.compile(lambda x: op(x))(1.0)
    names["later"] = lambda a: a * a
    early = op(x)
    with pytest.raises(NameError, match="after"):
        early.backward()
    names["after"] = lambda a: a * 2.0
    early.backward()
    op(x).backward()
    assert x.grad == 8.0
    assert pygradc.compile(lambda x: op(x))(3.0).data == 9.0


def test_a_name_that_comes_later_in_a_rule_of_floats():
    names: dict[str, Any] = {"math": math}
    exec("def slope(a, y):\n    return math.cos(a) * factor", names)
    op = pygradc.op(lambda a: a * 2.0, names["slope"], name="early")
    x = Value(0.5)
    op(x)
    names["factor"] = 3.0
    y = op(x)
    y.backward()
    assert x.grad == math.cos(0.5) * 3.0
    with pytest.raises(TraceError, match=r"float\(\)"):
        pygradc.compile(lambda x: op(x))(1.0)


def test_a_first_operand_outside_the_domain_decides_nothing():
    log = pygradc.op(lambda a: (a * a - 1.0).log(), lambda a, y: 1.0, name="log")
    for bad in (0.5, 1.0):
        with pytest.raises(ValueError, match="log"):
            log(Value(bad))
    cubed = pygradc.op(lambda a: a**3, lambda a, y: 1.0 / a, name="cubed")
    with pytest.raises(OverflowError):
        cubed(Value(1e200))
    assert cubed(Value(0.0)).data == 0.0
    for op, x in ((log, 3.0), (cubed, 2.0)):
        v = Value(x)
        assert pygradc.compile(lambda a, op=op: op(a))(v).data.hex() == op(v).data.hex()


def test_an_examination_leaves_no_cycle():
    """Neither one that succeeds nor one that raises."""
    log = pygradc.op(lambda a: a.log(), lambda a, y: 1.0)
    early = pygradc.op(lambda a: not_there(a), lambda a, y: 1.0)  # noqa: F821
    tangent = pygradc.op(lambda a: a.tanh(), lambda a, y: a.tanh())
    asks = pygradc.op(lambda a: math.log(a) if isinstance(a, float) else a, lambda a, y: 1.0)
    x = Value(-1.0)
    gc.collect()
    gc.disable()
    try:
        nodes = live_nodes()
        for op, error in ((log, ValueError), (early, NameError), (asks, ValueError)):
            with contextlib.suppress(error):
                op(x)
            assert live_nodes() == nodes
        tangent(x)
        assert live_nodes() == nodes
    finally:
        gc.enable()


def test_undecided_nodes_are_copied_with_their_op():
    again = pickle.loads(pickle.dumps(undecided(Value(2.0))))
    assert again.data == 4.0 and again._op == "undecided"
    with pytest.raises(NameError):
        again.backward()


@pygradc.op(derivatives=lambda a, y: not_there * a)  # noqa: F821
def undecided(a):
    return a * a


def test_random_rules_are_of_floats():
    op = pygradc.op(lambda a: a * random.random(), lambda a, y: 1.0, name="noisy")
    assert 0.0 <= op(Value(1.0)).data <= 1.0
    with pytest.raises(TraceError, match=r"op 'noisy' can't be recorded.*for floats and"):
        pygradc.compile(lambda x: op(x))(1.0)


def test_in_no_grad_an_op_is_decided_as_well():
    op = pygradc.op(lambda a: a * TABLE.get(a, 7.0), lambda a, y: 1.0)
    same = pygradc.op(lambda a: a * a, lambda a, y: a * 2.0)
    with pygradc.no_grad():
        assert op(Value(0.5)).data == 1.0 and same(Value(3.0)).data == 9.0
    assert op._rules[1][-1] is False and same._rules[1][-1] is True


def test_operands_may_be_conditions():
    f = lambda x: cube((x > 0) + 1.0) * cube(x > 0.5)  # noqa: E731
    recorded = pygradc.compile(f)
    for x in (-1.0, 0.3, 0.7):
        assert recorded(x).data == f(Value(x)).data


def test_an_op_may_call_others():
    inner = pygradc.op(lambda a: a * a, lambda a, y: a * 2.0)
    outer = pygradc.op(lambda a: inner(a) + inner(inner(a)), lambda a, y: a + a)
    f = lambda x: outer(x * w) * x  # noqa: E731
    recorded = pygradc.compile(f)
    for x in (0.3, -1.1):
        found = []
        for call in (f, recorded):
            v, w.grad = Value(x), 0.0
            out = call(v)
            out.backward()
            found.append((out.data, v.grad, w.grad))
        assert found[0] == found[1]
    asks = pygradc.op(lambda a: inner(a) if a == 0.0 else a, lambda a, y: 1.0, name="asks")
    assert asks(2.0).data == 2.0 and asks(0.0).data == 0.0
    asks_later = pygradc.op(
        lambda a: a if inner(a) == a else 0.0 * a, lambda a, y: 1.0, name="asks"
    )
    for op in (asks, asks_later):
        with pytest.raises(TraceError, match=r"op 'asks' can't be recorded.* =="):
            pygradc.compile(lambda x, op=op: op(x) * x)(1.0)


def test_an_op_can_be_met_first_within_a_recording():
    fresh = pygradc.op(lambda a: a * a, lambda a, y: a * 2.0)
    opaque = pygradc.op(lambda a: math.sin(a), lambda a, y: math.cos(a), name="opaque")
    x = Value(3.0)
    f = pygradc.compile(lambda x: fresh(x) * x)
    f(x).backward()
    assert x.grad == 27.0
    with pytest.raises(TraceError, match="op 'opaque' can't be recorded"):
        pygradc.compile(lambda x: opaque(x))(1.0)
    assert opaque(1.0).data == math.sin(1.0) and fresh(2.0).data == 4.0


def test_examining_an_op_leaves_nothing_behind(start):
    for _ in range(20):
        op = pygradc.op(lambda a, b: (a * b).tanh(), lambda a, b, y: (b, a))
        op(1.0, 2.0)
        pygradc.op(lambda a: math.sin(a), lambda a, y: 1.0)(1.0)
    del op
    gc.collect()
    assert live_nodes() == start


def test_threads_may_meet_an_op_together():
    op = pygradc.op(lambda a: a * a, lambda a, y: a * 2.0)
    gate, found = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        v = Value(3.0)
        op(v).backward()
        found.append(v.grad)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6.0] * 4 and len(op._rules) == 1


def test_in_no_grad_there_is_no_graph():
    with pygradc.no_grad():
        assert softplus(X)._children == () and cube(X)._children == ()


# ---- copies -------------------------------------------------------------------------------------


def test_an_op_of_a_module_pickles_and_copies_by_its_name():
    assert pickle.loads(pickle.dumps(softplus)) is softplus
    assert copy.deepcopy(softplus) is softplus and copy.copy(softplus) is softplus
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(pygradc.op(lambda a: a, lambda a, y: 1.0))


@pytest.mark.parametrize("make", [lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy])
def test_a_graph_of_custom_ops_is_copied_with_its_ops(make):
    x = Value(0.7)
    out = cube(softplus(x) * 2.0) + softplus(x)
    again = make(out)
    leaf = again._children[1]._children[0]
    assert again.data == out.data and again._children[0]._op == "cube"
    out.backward()
    again.backward()
    assert leaf is not x and leaf.grad == x.grad
