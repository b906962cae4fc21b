"""Layers of many neurons: sums over rows are formed in registers, row by row.

What a row gives is found by asking for one row's derivatives, and summed as
docs/how-replay-works.md says.
"""

from __future__ import annotations

import functools
import operator
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, nn
from pygradc.core.scalar import core
from tests.programs import bits

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]  # the C tests reach all of this

INPUTS, NEURONS = 70, 9  # more inputs than a panel, and neurons that tiles don't divide
ROWS = (1, 2, 7, 8, 9, 31, 32, 33, 64, 100, 1023, 1024, 1025, 2500, 5000)

Layer = Callable[[Sequence[Any]], Any]


def weights(count: int, seed: int) -> list[Value]:
    draw = random.Random(seed)
    return [Value(draw.uniform(-1, 1)) for _ in range(count)]


def in_order(W: list[list[Value]], B: list[Value]) -> Layer:
    return lambda x: [pygradc.dot(w, x) + b for w, b in zip(W, B)]


def biases_first(W: list[list[Value]], B: list[Value]) -> Layer:
    return lambda x: [sum((wi * xi for wi, xi in zip(w, x)), b) for w, b in zip(W, B)]


def without_biases(W: list[list[Value]], B: list[Value]) -> Layer:
    return lambda x: [pygradc.dot(w, x) for w in W]


def reversed_inputs(W: list[list[Value]], B: list[Value]) -> Layer:
    return lambda x: [sum((wi * xi for wi, xi in zip(w[::-1], x)), b) for w, b in zip(W, B)]


def shuffled(W: list[list[Value]], B: list[Value]) -> Layer:
    some = random.Random(5)
    mixed = [some.sample(w, len(w)) for w in W]
    return biases_first(mixed, B)


def transposed(W: list[list[Value]], B: list[Value]) -> Layer:
    flat = [w for row in W for w in row]
    return biases_first([flat[i::NEURONS] for i in range(NEURONS)], B)


def some_detached(W: list[list[Value]], B: list[Value]) -> Layer:
    mixed = [[pygradc.detach(w) if i % 7 == 3 else w for i, w in enumerate(row)] for row in W]
    return biases_first(mixed, B)


def frozen_biases(W: list[list[Value]], B: list[Value]) -> Layer:
    return biases_first(W, [pygradc.detach(b) if i % 2 else b for i, b in enumerate(B)])


def numbers_among_weights(W: list[list[Value]], B: list[Value]) -> Layer:
    return biases_first([[0.5 if i == 4 else w for i, w in enumerate(row)] for row in W], B)


LAYERS = (
    in_order,
    biases_first,
    without_biases,
    reversed_inputs,
    shuffled,
    transposed,
    some_detached,
    frozen_biases,
    numbers_among_weights,
)


def network(layer: Any) -> Callable[..., Value]:
    W = [weights(INPUTS, seed=i) for i in range(NEURONS)]
    top, B = weights(NEURONS, seed=98), weights(NEURONS, seed=99)
    return lambda x, y: (pygradc.dot(top, [h.tanh() for h in layer(W, B)(x)]) - y) ** 2


def columns(rows: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, INPUTS)), rng.normal(size=rows)


def sum_of_rows(rows: Any) -> Any:
    chunks = core.lib.pg_chunk_count(len(rows))
    if chunks == 1:
        return functools.reduce(np.add, rows, np.zeros(rows.shape[1:]))
    middle = core.lib.pg_chunk_start(len(rows), core.lib.pg_chunk_middle(0, chunks))
    return sum_of_rows(rows[:middle]) + sum_of_rows(rows[middle:])


def gradients_of_sum(f: Any, *arrays: Any) -> Any:
    """In the order of the program's parameters."""
    total = f.sum(*arrays)
    params = f.programs[-1].parameters()
    pygradc.clear_grads(total)
    total.backward()
    return pygradc.grads(params)


@pytest.mark.parametrize("math", ["exact", "fast"])
@pytest.mark.parametrize("layer", LAYERS)
def test_rows_are_summed_one_after_the_other(layer: Any, math: str) -> None:
    f = pygradc.compile(network(layer), math=math)
    for rows in ROWS:
        arrays = columns(rows)
        found = gradients_of_sum(f, *arrays)
        own = f.gradients(*arrays, wrt="parameters")[1]
        assert bits(found) == bits(sum_of_rows(np.asarray(own).reshape(rows, -1)))


@pytest.mark.parametrize("inputs", range(1, 11))
def test_narrow_layers_of_any_shape(inputs: int) -> None:
    """Tiles, and what is left of them, in both directions; and a neuron alone."""
    for neurons in range(1, 10):
        for kind in (biases_first, without_biases, shuffled):
            layer = kind([weights(inputs, i) for i in range(neurons)], weights(neurons, 99))
            f = pygradc.compile(lambda x, layer=layer: pygradc.sum([h.tanh() for h in layer(x)]))
            for rows in (5, 33, 70):
                X = columns(rows)[0][:, :inputs]
                own = np.asarray(f.gradients(X, wrt="parameters")[1]).reshape(rows, -1)
                assert bits(gradients_of_sum(f, X)) == bits(sum_of_rows(own))


ONE_ROW: dict[str, Callable[[list[list[Value]], list[Value]], Layer]] = {
    "starts": biases_first,
    "biases last": in_order,
    "no start": lambda W, B: (
        lambda x: [functools.reduce(operator.add, [w * xi for w, xi in zip(row, x)]) for row in W]
    ),
    "start 0": without_biases,
    "some": shuffled,
    "scattered factors": lambda W, B: lambda x: biases_first(W, B)([*x[1::2], *x[::2]]),
    "upwards": lambda W, B: lambda x: [*biases_first(W, B)(x)][::-1],
}


@pytest.mark.parametrize("kind", ONE_ROW)
@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5, 16, 17, 64, 66, 131])
def test_a_layer_over_one_row_has_the_bits_of_eager_code(kind: str, inputs: int) -> None:
    """At all levels; two layers of one input, whose gradient is summed over both, and stored."""
    x = [Value(random.Random(i).uniform(-1, 1)) for i in range(inputs)]
    for neurons in (1, 2, 3, 4, 7, 8, 9, 17, 27):
        W = [weights(inputs, i) for i in range(neurons)]
        layer = ONE_ROW[kind](W, weights(neurons, 99))
        again = biases_first([weights(inputs, -1 - i) for i in range(neurons)], weights(neurons, 7))

        def function(x: Any, layer: Layer = layer, again: Layer = again) -> Value:
            hidden = [i.tanh() for i in x]
            return pygradc.sum([h.tanh() * k.tanh() for h, k in zip(layer(hidden), again(x))])

        f = pygradc.compile(function)
        params = [*x, *(w for row in W for w in row)]
        found = []
        for level in range(-1, core.lib.pg_replay_levels()):
            result = function(x) if level < 0 else f(x)
            if level >= 0:
                f.programs[0]._set_level(level)
                result = f(x)
            pygradc.clear_grads(result)
            result.backward()
            found.append((bits([result.data]), bits(pygradc.grads(params))))
        assert all(each == found[0] for each in found)


def test_weights_that_are_results_are_summed_alike() -> None:
    """p * 2 is a uniform result, and has no place among the parameters."""
    W = [weights(INPUTS, seed=i) for i in range(NEURONS)]

    def doubled(x: Any) -> Value:
        return pygradc.sum([pygradc.dot([w * 2 for w in row], x).tanh() for row in W])

    f = pygradc.compile(doubled)
    for rows in ROWS:
        X = columns(rows)[0]
        own = np.asarray(f.gradients(X, wrt="parameters")[1]).reshape(rows, -1)
        assert bits(gradients_of_sum(f, X)) == bits(sum_of_rows(own / 2.0) * 2.0)


@pytest.mark.parametrize("tie", ["neurons", "layers"])
def test_shared_weights_get_all_their_contributions(tie: str) -> None:
    """Two neurons, or two layers, with the same weights; and against a sum by numpy."""
    W = [weights(INPUTS, seed=i % 4 if tie == "neurons" else i) for i in range(NEURONS)]
    if tie == "neurons":
        W = [W[i % 4] for i in range(NEURONS)]

    def function(x: Any) -> Value:
        first = [pygradc.dot(w, x).tanh() for w in W]
        if tie == "neurons":
            return pygradc.dot(first, range(1, NEURONS + 1))
        again = [x[i] * first[i % NEURONS] for i in range(INPUTS)]
        return pygradc.sum([pygradc.dot(w, again) for w in W])

    f = pygradc.compile(function)
    for rows in ROWS:
        X = columns(rows)[0]
        own = np.asarray(f.gradients(X, wrt="parameters")[1]).reshape(rows, -1)
        found = gradients_of_sum(f, X)
        assert np.allclose(found, own.sum(axis=0), rtol=1e-9, atol=1e-9 * np.abs(own).sum())


def test_all_levels_and_any_batch_give_the_same_bits() -> None:
    f = pygradc.compile(network(biases_first))
    found = []
    for level in range(core.lib.pg_replay_levels()):
        f.sum(*columns(2))
        f.programs[0]._set_level(level)
        found.append([bits(gradients_of_sum(f, *columns(rows))) for rows in ROWS])
    assert all(each == found[0] for each in found)


def test_a_network_trains_as_by_hand() -> None:
    """One step of fit is a step of the optimizer after a mean; also where rows end in mid-block."""
    trained = []
    for by_hand in (False, True):
        random.seed(3)
        model = nn.MLP(INPUTS, [NEURONS, 3])
        loss = pygradc.compile(lambda x, y, m=model: pygradc.sum([(o - y) ** 2 for o in m(x)]))
        optimizer = pygradc.optim.Adam(model.parameters(), lr=0.01)
        X, y = columns(100)
        if not by_hand:
            pygradc.fit(loss, X, y, optimizer, epochs=3, batch_size=33, shuffle=False)
        for _ in range(3 if by_hand else 0):
            for first in range(0, 100, 33):
                optimizer.zero_grad()
                loss.mean(X[first : first + 33], y[first : first + 33]).backward()
                optimizer.step()
        trained.append(bits(pygradc.data(model.parameters())))
    assert trained[0] == trained[1]
