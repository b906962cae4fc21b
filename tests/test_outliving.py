"""What outlives the recording that made it: of inputs it never has a number, of parameters it is an
ordinary node."""

# ruff: noqa: SIM300 - in the forms that people use
from __future__ import annotations

import copy
import functools
import gc
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import TraceError, Value, compile, detach, live_nodes, maximum, minimum, no_grad, where


@pygradc.op(derivatives=lambda a, b, y: (b, a))
def times(a, b):  # type: ignore[no-untyped-def]
    return a * b


def keep(make: Callable[..., Any], *parameters: Value) -> Any:
    """What make(x, *parameters) gave while it was recorded."""
    kept: list[Any] = []

    def function(x: Value) -> Value:
        kept[:] = [make(x, *parameters)]
        return x * 2.0

    assert compile(function)(3.0).data == 6.0
    return kept[0]


# ---- of inputs ----------------------------------------------------------------------------------

OF_INPUTS: dict[str, Callable[[Value, Value], Value]] = {
    "an input": lambda x, w: x,
    "an op": lambda x, w: x * w,
    "an op of an op": lambda x, w: (x + 1).exp() / w,
    "a choice": lambda x, w: where(x > 0, w, 2.0),
    "a choice of it": lambda x, w: where(w > 0, x, w),
    "detached": lambda x, w: detach(x),
    "without graph": lambda x, w: no_grad()(lambda: x * w)(),
    "a custom op": lambda x, w: times(x, w),
    "a sum": lambda x, w: pygradc.sum([w, x, w]),
    "a neuron": lambda x, w: pygradc.nn.Neuron(1)([x]),
}

W = Value(2.0)
MODEL = compile(lambda x: x * W)

USES: dict[str, Callable[[Value], Any]] = {
    ".data": lambda v: v.data,
    ".grad": lambda v: v.grad,
    "setting data": lambda v: setattr(v, "data", 1.0),
    "setting grad": lambda v: setattr(v, "grad", 1.0),
    "_local_grads": lambda v: v._local_grads,
    "+": lambda v: v + 1,
    "+ on the right": lambda v: 1 + v,
    "of another": lambda v: W + v,
    "-": lambda v: W - v,
    "- on the right": lambda v: 1.0 - v,
    "/": lambda v: W / v,
    "/ on the right": lambda v: 1.0 / v,
    "-v": lambda v: -v,
    "**": lambda v: v**2,
    "** on the right": lambda v: 2.0**v,
    "** of another": lambda v: W**v,
    "abs": abs,
    "exp": lambda v: v.exp(),
    "maximum": lambda v: maximum(v, 1.0),
    "minimum": lambda v: W.minimum(v),
    "builtin sum": lambda v: sum([W, v]),
    "sum": lambda v: pygradc.sum([W] * 9 + [v]),
    "sum's start": lambda v: pygradc.sum([W], v),
    "dot": lambda v: pygradc.dot([W, v], [1.0, 2.0]),
    "dot's bias": lambda v: pygradc.dot([W], [1.0], v),
    "a neuron's input": lambda v: pygradc.nn.Neuron(2)([1.0, v]),
    "a model's input": lambda v: pygradc.nn.MLP(2, [3, 1])([1.0, v]),
    "where": lambda v: where(True, W, v),
    "detach": lambda v: detach(v),
    "a custom op": lambda v: times(W, v),
    "children": lambda v: Value(1.0, (W, v), "mine"),
    "given derivatives": lambda v: Value(1.0, (v,), (2.0,)),
    "==": lambda v: v == 1.0,
    "!=": lambda v: 1.0 != v,
    "<": lambda v: v < 1.0,
    "of a larger": lambda v: W > v,
    "bool": bool,
    "float": float,
    "int": int,
    "round": round,
    "a format": lambda v: f"{v:.2f}",
    "max": lambda v: max(v, W),
    "backward": lambda v: v.backward(),
    "_backward": lambda v: v._backward(),
    "clear_grads": pygradc.clear_grads,
    "copy": copy.copy,
    "deepcopy": lambda v: copy.deepcopy({"v": [v]}),
    "pickle": pickle.dumps,
    "data()": lambda v: pygradc.data([W, v]),
    "grads()": lambda v: pygradc.grads([[v]]),
    "set_data": lambda v: pygradc.set_data([W, v], [2.0, 3.0]),
    "a step": lambda v: pygradc.optim.SGD([v], lr=0.1).step(),
    "Adam's step": lambda v: pygradc.optim.Adam([W, v]).step(),
    "zero_grad": lambda v: pygradc.optim.SGD([v], lr=0.1).zero_grad(),
    "numpy": lambda v: np.exp(np.array([v])),
    "an argument": lambda v: MODEL(v),
    "a program's argument": lambda v: MODEL.programs[0](v),
    "an array's argument": lambda v: compile(lambda x, y: x * y).sum(np.ones(3), v),
    "another recording": lambda v: compile(lambda x: x * v)(1.0),
    "another recording's result": lambda v: compile(lambda x: (x, v))(1.0),
    "another recording's choice": lambda v: compile(lambda x: where(x > v, x, 1.0))(1.0),
    "another recording's detach": lambda v: compile(lambda x: x + detach(v))(1.0),
    "another recording's sum": lambda v: compile(lambda x: pygradc.sum([x, v]))(1.0),
    "without graph": lambda v: no_grad()(lambda: v * 2)(),
}


@pytest.mark.parametrize("make", OF_INPUTS.values(), ids=OF_INPUTS)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_was_made_of_inputs_has_no_number_ever(make: Any, use: Any) -> None:
    MODEL(1.0)
    v = keep(make, Value(2.0))
    before = W.data, W.grad
    with pytest.raises(TraceError, match=r"test_outliving\.py:\d+: .* that outlived the recording"):
        use(v)
    assert (W.data, W.grad) == before and (W * 2).data == 4.0


@pytest.mark.parametrize("make", OF_INPUTS.values(), ids=OF_INPUTS)
def test_but_it_says_what_it_is(make: Any) -> None:
    v = keep(make, Value(2.0))
    assert repr(v) == str(v) == f"{v}" and repr(v).endswith("of a function that was recorded)")
    v.label = "kept"
    assert "'kept'" in repr(v) and v in {v} and v is not None and v == v and v != Value(2.0)
    assert all(isinstance(child, Value) for child in v._children)


def test_nothing_is_left_of_what_outlived_and_died() -> None:
    gc.collect()
    nodes = live_nodes()
    for make in OF_INPUTS.values():
        v = keep(make, W)
        with pytest.raises(TraceError):
            v.exp()
        del v
    gc.collect()
    assert live_nodes() == nodes
    for _ in range(3000):
        assert (W * 2.0).data == 4.0 and W.grad == W.grad


def test_a_failed_recording_leaves_others_alone() -> None:
    """Its exception holds frames, and these its Values."""
    with pytest.raises(KeyError) as caught:
        compile(lambda x: {}[x * W])(1.0)
    assert (W * W).data == 4.0 and MODEL(Value(3.0)).data == 6.0 and MODEL.sum([1.0, 2.0]) == 6.0
    assert compile(lambda x: x * W)(Value(2.0)).data == 4.0
    key = caught.value.args[0]
    with pytest.raises(TraceError, match="outlived"):
        key + 1


def test_a_closure_and_a_cache_of_inputs() -> None:
    @functools.lru_cache
    def doubled(n: int) -> Any:
        return inputs[0] * 2.0 * n

    inputs: list[Value] = []

    def function(x: Value) -> Value:
        inputs[:] = [x]
        return doubled(1) + 1

    f = compile(function)
    assert f(1.0).data == 3.0
    for call in (lambda: f(np.ones(3)), lambda: doubled(1) + 1, lambda: f.sum(np.ones(2)).data):
        try:
            result = call()
        except (TraceError, TypeError):
            continue
        assert result == 6.0  # the replay's own


# ---- of parameters ------------------------------------------------------------------------------

OF_PARAMETERS: dict[str, Callable[..., Value]] = {
    "where": lambda w, v: where(w > 0, w * w, -w),
    "the other branch": lambda w, v: where(w < 0, w * w, -w * v),
    "where of where": lambda w, v: where(v == 3, where(w != 2, w, v), w) * v,
    "an op of a choice": lambda w, v: (where(w > v, w.exp(), v.exp()) + 1).log() * w,
    "the same twice": lambda w, v: where(w > 0, w, w) + w,
    "detached": lambda w, v: detach(w * v) * w,
    "detached alone": lambda w, v: detach(w),
    "a choice of detached ones": lambda w, v: where(w > v, detach(w), detach(v)) * 2.0,
    "divided by a detached one": lambda w, v: w / (detach(v) * 1e-200 + 4e-200),
    "a rule of detached ones": lambda w, v: times(detach(w), detach(v)) + w,
    "of a constant": lambda w, v: where(w >= 2, Value(5.0), v) * w,
    "maximum": lambda w, v: maximum(w, v) * minimum(w, 1.0),
    "a custom op": lambda w, v: times(w, v * v) + w,
    "a custom op of a choice": lambda w, v: times(where(w > 0, w, v), detach(v)),
    "without graph": lambda w, v: no_grad()(lambda: w * v)() * v,
    "ops alone": lambda w, v: (w * v).tanh() / w,
    "a sum": lambda w, v: pygradc.sum([w, where(w > 0, v, w), v]),
}
PLACES = [(2.0, 3.0), (-1.0, 3.0), (0.5, -0.25)]


def gradients(y: Value, parameters: list[Value]) -> list[Any]:
    """Data, and the gradients of the parameters and of all nodes below."""
    pygradc.clear_grads(y)
    for p in parameters:
        p.grad = 0.0
    y.backward()
    below: list[str] = []

    def visit(node: Value) -> None:
        below.append(node.grad.hex())
        for child in node._children:
            visit(child)

    visit(y)
    return [y.data.hex(), *(p.grad.hex() for p in parameters), below]


@pytest.mark.parametrize("make", OF_PARAMETERS.values(), ids=OF_PARAMETERS)
@pytest.mark.parametrize("place", PLACES, ids=repr)
def test_what_was_made_of_parameters_is_an_ordinary_node(make: Any, place: Any) -> None:
    w, v = map(Value, place)
    y = keep(lambda x, w, v: make(w, v), w, v)
    eager = make(w, v)
    right = gradients(eager, [w, v])
    assert gradients(y, [w, v]) == right
    assert y.grad == eager.grad
    assert (y._op, len(y._children), repr(y)) == (eager._op, len(eager._children), repr(eager))
    for again in (copy.deepcopy((y, w, v)), pickle.loads(pickle.dumps((y, w, v)))):
        assert gradients(again[0], list(again[1:])) == right
    assert copy.copy(y).data == y.data == eager.data
    f = compile(lambda x: x * y)  # a parameter like any other node
    assert f.map([1.0, 2.0]).tolist() == [y.data, 2.0 * y.data]
    assert all(p is y for p in f.parameters())
    z = f(2.0)
    assert gradients(z * 1.0, [w, v])[1:3] == gradients((eager * 2.0) * 1.0, [w, v])[1:3]
    y.data = 7.0
    assert f(1.0).data == 7.0


def test_a_cached_choice_of_parameters() -> None:
    w = Value(2.0)

    @functools.lru_cache
    def cached() -> Value:
        return where(w > 0, w * w, -w)

    f = compile(lambda x: cached() * x)
    assert f(3.0).data == 12.0
    y = cached()
    y.backward()
    assert (y.data, w.grad) == (4.0, 4.0)
    w.data = -1.0
    assert cached().data == 4.0 and where(w > 0, w * w, -w).data == 1.0


def test_a_parameter_that_is_nan_spoils_nothing_else() -> None:
    w, none = Value(2.0), Value(math.nan)
    y = keep(lambda x: where(w > 0, w, none) * 2.0)
    assert y.data == 4.0
    assert math.isnan(keep(lambda x: where(w < 0, w, none)).data)
    assert keep(lambda x: where(none == 1, w, w * 3)).data == 6.0


def test_constants_stay_constants() -> None:
    c = keep(lambda x: (Value(2.0) * 3.0).exp())
    assert c.data == math.exp(6.0) and keep(lambda x: Value(2.5)).data == 2.5
    assert keep(lambda x: where(Value(2.0) == 2, Value(1.0), 3.0)).data == 1.0


def test_what_other_threads_made_meanwhile_stays_as_it_is() -> None:
    w, begun, done = Value(2.0), threading.Event(), threading.Event()
    made: list[Value] = []

    def work() -> None:
        assert begun.wait(30)
        none = Value(math.nan)
        made.extend([where(w > 0, w * w, w), detach(w) * w, (none * w).exp(), Value(4.0) + w])
        made[0].backward()
        none.data = 1000.0
        done.set()

    thread = threading.Thread(target=work)
    thread.start()

    def function(x: Value) -> Value:
        begun.set()
        assert done.wait(30)
        kept.append(where(w > 0, w, x * 0.0))
        return x * w

    kept: list[Value] = []
    assert compile(function)(1.0).data == 2.0
    thread.join()
    assert [v.data for v in (made[0], made[1], made[3])] == [4.0, 4.0, 6.0]
    assert math.isnan(made[2].data) and (w.grad, made[0].grad) == (4.0, 1.0)
    with pytest.raises(TraceError, match="outlived"):
        kept[0].exp()


def test_what_is_kept_by_its_arguments_text_is_kept_for_these() -> None:
    def memoized(function: Any) -> Any:
        cache: dict[str, Any] = {}

        def of(*args: Any) -> Any:
            key = str(args)
            if key not in cache:
                cache[key] = function(*args)
            return cache[key]

        return of

    def squares(x: Any, y: Any) -> Any:
        square = memoized(lambda v: v * v)
        return square(x) + square(y) + square(x) + square(x + y)

    assert pygradc.compile(squares)(3.0, 4.0).data == squares(Value(3.0), Value(4.0)).data == 83.0
