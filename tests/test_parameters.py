"""Are many parameters read, written, stepped and given gradients as one by one, whatever the order
of their nodes, and whatever has happened to the list since the last call?
"""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

import pygradc
from pygradc import Value, optim
from pygradc.core.scalar import core

COUNTS = (0, 1, 2, 15, 16, 17, 33, 300)


class Named(Value):
    """A subclass, whose instances are objects of another kind."""


def leaves(count: int, order: str) -> list[Value]:
    """Values whose nodes lie in this order."""
    values = [Value(float(i)) for i in range(2 * count)]
    if order == "with holes":
        return values[::2]
    del values[count:]
    if order == "descending":
        values.reverse()
    elif order == "shuffled":
        random.Random(count).shuffle(values)
    elif order == "by neuron":  # the bias first, as a program has them
        values = [
            v for i in range(0, count, 5) for v in (*values[i + 4 : i + 5], *values[i : i + 4])
        ]
    elif order == "subclass":
        values = [Named(v.data) if i % 3 else v for i, v in enumerate(values)]
    return values


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "order", ["ascending", "descending", "shuffled", "by neuron", "with holes", "subclass"]
)
def test_numbers_are_each_ones_own(order, count):
    values = leaves(count, order)
    data = np.empty(len(values))
    core.read(values, data)
    assert data.tolist() == [v.data for v in values]
    core.write(tuple(values), 2.0 * data, 3.0 * data)
    assert [v.data for v in values] == (2.0 * data).tolist()
    assert [v.grad for v in values] == (3.0 * data).tolist()
    core.zero_grad(values)
    assert not any(v.grad for v in values)


def test_a_list_is_read_anew_in_each_call():
    values = leaves(40, "ascending")
    optimizer = optim.SGD(values, lr=1.0)
    for v in values:
        v.grad = 1.0
    old = optimizer.parameters[20]
    new = optimizer.parameters[20] = Value(7.0)
    new.grad = 2.0
    before = old.data
    optimizer.step()
    assert (new.data, old.data) == (5.0, before)
    optimizer.zero_grad()
    assert (new.grad, old.grad) == (0.0, 1.0)


def test_nodes_that_take_the_place_of_others():
    values = leaves(64, "ascending")
    core.read(values, np.empty(64))
    for i in (3, 20, 21, 50):
        values[i] = Value(-1.0)  # the object or the node may lie where another did
    data = np.empty(64)
    core.read(values, data)
    assert data.tolist() == [v.data for v in values]


def test_a_failed_write_changes_nothing():
    values = leaves(3, "ascending")
    with pytest.raises(ValueError, match="expected an array of 3 float64"):
        core.write(values, np.full(3, 9.0), np.zeros(2))
    with pytest.raises(TypeError, match="parameter 1 must be a Value, not float"):
        core.write([values[0], 1.0, values[2]], np.full(3, 9.0), np.zeros(3))
    assert [v.data for v in values] == [0.0, 1.0, 2.0]


# ---- which are which ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS)
def test_places(count):
    known = leaves(count, "by neuron")
    strangers = leaves(3, "shuffled")
    wanted = random.Random(1).sample([*known[: count // 2 + 1], *strangers], k=min(count // 2, 9))
    bytes_of, found, all_leaves = core.places(wanted, tuple(known))
    place = {id(v): i for i, v in enumerate(known)}
    expected = [place.get(id(v), 2**32 - 1) for v in wanted]
    assert np.frombuffer(bytes_of, np.uint32).tolist() == expected
    assert found == sum(p != 2**32 - 1 for p in expected) and all_leaves


def test_places_need_values_each_once():
    a, b, c = leaves(3, "ascending")
    assert core.places([a, b, a], (a, b)) is None
    assert core.places([c, a, c], (a, b)) is None
    assert core.places([a, 1.0], (a, b)) is None
    assert core.places([c, a, b], (a, b))[1] == 2
    assert core.places([a], (a, b + 1.0))[2] is False
    assert core.are_distinct([a, b]) and core.are_distinct([])
    assert not core.are_distinct([a, b, a]) and not core.are_distinct([a, None])


def test_fit_refuses_a_list_that_was_spoiled():
    w, b = Value(1.0), Value(0.0)
    loss = pygradc.compile(lambda x: (w * x + b) ** 2)
    optimizer = optim.SGD([w, b], lr=0.1)
    optimizer.parameters.append(w)
    with pytest.raises(ValueError, match="fit: parameter 2 is parameter 0 again"):
        pygradc.fit(loss, [1.0], optimizer)
    optimizer.parameters[2] = 3.0
    with pytest.raises(TypeError, match="fit: parameter 2 must be a Value, not float"):
        pygradc.fit(loss, [1.0], optimizer)
    del optimizer.parameters[1:]
    pygradc.fit(loss, [1.0], optimizer)
    assert w.data != 1.0 and b.data == 0.0


# ---- optimizers ---------------------------------------------------------------------------------


def adam(data, gradient, mean, square, step, decoupled):
    """One parameter's step, as optim.c says it."""
    lr, beta1, beta2, eps, decay = 0.01, 0.9, 0.999, 1e-8, 0.1
    rate, correction = lr / (1.0 - beta1**step), math.sqrt(1.0 - beta2**step)
    if decoupled:
        data -= lr * decay * data
    else:
        gradient += decay * data
    mean = beta1 * mean + (1.0 - beta1) * gradient
    square = beta2 * square + (1.0 - beta2) * gradient * gradient
    return data - rate * mean / (math.sqrt(square) / correction + eps), mean, square


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("count", [1, 7, 256, 257, 600])
@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "by neuron"])
def test_adam_steps_each_alone(order, count, decoupled):
    values = leaves(count, order)
    optimizer = optim.Adam(values, lr=0.01, weight_decay=0.1, decoupled=decoupled)
    states = [(v.data, 0.0, 0.0) for v in values]
    for step in (1, 2, 3):
        for i, v in enumerate(values):
            v.grad = math.sin(i * step)
        states = [adam(d, v.grad, m, s, step, decoupled) for v, (d, m, s) in zip(values, states)]
        optimizer.step()
    assert [v.data for v in values] == [d for d, _, _ in states]
    assert optimizer.mean.tolist() == [m for _, m, _ in states]
    assert optimizer.square.tolist() == [s for _, _, s in states]


def test_a_value_that_was_listed_twice_steps_twice():
    v, w = leaves(2, "ascending")
    optimizer = optim.Adam([v, w], lr=0.01, weight_decay=0.1)
    optimizer.parameters[1] = v
    v.grad = 1.0
    once = adam(v.data, 1.0, 0.0, 0.0, 1, False)[0]
    optimizer.step()
    assert v.data == adam(once, 1.0, 0.0, 0.0, 1, False)[0]


# ---- backward -----------------------------------------------------------------------------------


def result_of(parameters: list[Value]) -> Value:
    """The result of a replay: one node whose children are the parameters."""
    return core.result(1.0, parameters, np.cos(np.arange(float(len(parameters)))))


@pytest.mark.parametrize("count", COUNTS)
def test_a_result_is_swept_as_by_a_walk(count):
    values = leaves(count, "shuffled")
    for v in values:
        v.grad = 0.1
    result = result_of(values)
    result.backward()
    at_once = [v.grad for v in values]
    for v in values:
        v.grad = 0.1
    (result * 1.0).backward()
    assert at_once == [v.grad for v in values] and result.grad == 1.0
    result.backward()
    assert [v.grad for v in values] == [g + d for g, d in zip(at_once, np.cos(np.arange(count)))]


def test_a_closure_of_a_parameter_is_called():
    values, calls = leaves(3, "ascending"), []
    values[1]._backward = lambda: calls.append(values[1].grad)
    result_of(values).backward()
    assert calls == [math.cos(1.0)]


def test_a_detached_parameter_gets_no_gradient():
    values = leaves(3, "ascending")
    values[1] = pygradc.detach(values[1])
    result_of(values).backward()
    assert [v.grad for v in values] == [1.0, 0.0, math.cos(2.0)]


def test_a_parameter_that_was_computed_passes_its_gradient_on():
    a = Value(2.0)
    result_of([Value(1.0), a * 3.0]).backward()
    assert a.grad == 3.0 * math.cos(1.0)


def test_a_value_may_be_several_children():
    a, b = leaves(2, "ascending")
    result_of([a, b, a]).backward()
    assert a.grad == 1.0 + math.cos(2.0) and b.grad == math.cos(1.0)


def test_a_gradient_that_overflows_is_infinite_as_before():
    a, b = leaves(2, "ascending")
    core.result(1.0, [a, b], np.array([np.inf, np.nan])).backward()
    assert a.grad == math.inf and math.isnan(b.grad)
