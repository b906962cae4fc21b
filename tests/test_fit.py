"""Does fit do what the loop written out does, bit for bit, and is what it leaves behind usable?"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alarms import alarm, needs_alarm, slow

import pygradc
from pygradc import Value, losses, nn, optim
from pygradc.command.training import train
from pygradc.datasets import load

ROWS = 23
XS = np.random.default_rng(1).normal(size=(ROWS, 2))
YS = np.random.default_rng(2).normal(size=ROWS)

OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.05),
    "SGD, weight decay": lambda ps: optim.SGD(ps, lr=0.05, weight_decay=0.1),
    "SGD, momentum": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9),
    "SGD, both": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.8, weight_decay=0.01),
    "Adam": lambda ps: optim.Adam(ps, lr=0.02),
    "Adam, weight decay": lambda ps: optim.Adam(ps, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1),
    "AdamW": lambda ps: optim.Adam(ps, lr=0.02, weight_decay=0.1, decoupled=True),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.02),
    "RMSprop, all": lambda ps: optim.RMSprop(ps, 0.02, 0.9, 1e-6, 0.1, 0.5),
    "SGD, clipped": lambda ps: optim.SGD(ps, lr=0.05, clip=pygradc.ClipGradients(norm=0.1)),
    "RMSprop, clipped": lambda ps: optim.RMSprop(ps, clip=pygradc.ClipGradients(value=0.05)),
    "Adam, clipped": lambda ps: optim.Adam(ps, lr=0.02, clip=pygradc.ClipGradients(norm=0.1)),
}

each_optimiser = pytest.mark.parametrize("optimiser", OPTIMISERS)


class Signs(optim.Optimizer):
    """An optimiser of the user's: a step of lr against the sign of the gradient."""

    def __init__(self, parameters: Any, lr: float = 0.01) -> None:
        super().__init__(parameters)
        self.lr = lr

    def step(self) -> None:
        for p in self.parameters:
            p.data -= self.lr * math.copysign(1.0, p.grad)
        self.steps += 1


# What runs in C, and what doesn't.
KINDS: list[Callable[..., Any]] = [
    lambda ps, lr=0.01: optim.SGD(ps, lr=lr, momentum=0.5),
    lambda ps, lr=0.01: optim.Adam(ps, lr=lr),
    Signs,
]
each_kind = pytest.mark.parametrize("make", KINDS, ids=["SGD", "Adam", "in Python"])


def network(**settings: Any) -> tuple[list[Value], Any]:
    """Parameters, and one row's loss; each time the same, with Values of its own."""
    random.seed(3)
    model = nn.MLP(2, [4, 1], "tanh", "linear")
    loss = pygradc.compile(lambda x, y: losses.mse(model(x), y), **settings)
    return model.parameters(), loss


def by_hand(
    loss: Any, optimizer: Any, xs: Any, ys: Any, batch_size: int | None, orders: list[Any]
) -> list[float]:
    """The loop written out; an order of the rows for each epoch."""
    history = []
    for order in orders:
        total = 0.0
        for first in range(0, len(order), batch_size or len(order)):
            rows = order[first : first + (batch_size or len(order))]
            mean = loss.mean(xs[rows], ys[rows])
            optimizer.zero_grad()
            mean.backward()
            optimizer.step()
            total += mean.data * len(rows)
        history.append(total / len(order))
    return history


def bits(parameters: list[Value]) -> list[str]:
    return [x.hex() for p in parameters for x in (p.data, p.grad)]


def state(optimizer: Any) -> dict[str, Any]:
    """Steps and arrays, and the parameters themselves."""
    arrays = {name: np.asarray(x).tolist() for name, x in optimizer.state_dict().items()}
    return {**arrays, "parameters": bits(optimizer.parameters)}


def in_turn(rows: int, epochs: int) -> list[Any]:
    return [np.arange(rows)] * epochs


def orders(rows: int, epochs: int, seed: int | None) -> list[list[int]]:
    """In which order fit takes the rows, found out by training.

    A counter goes down by 1 a step, and each row's own parameter is lowered by the counter once.
    """
    counter, own = Value(0.0), [Value(0.0) for _ in range(rows)]

    @pygradc.compile
    def loss(x: Any) -> Any:
        return pygradc.dot(own, x) * pygradc.detach(counter) + counter

    seen: list[list[float]] = []
    optimizer = optim.SGD([counter, *own], lr=1.0)
    pygradc.fit(
        loss, np.eye(rows), optimizer, epochs=epochs, batch_size=1, seed=seed,
        callback=lambda *_: seen.append([p.data for p in own]),
    )  # fmt: skip
    times = np.diff(np.array([[0.0] * rows, *seen]), axis=0)
    for epoch, row in enumerate(times.tolist()):
        assert sorted(row) == list(range(epoch * rows, (epoch + 1) * rows))
    return [np.argsort(row).tolist() for row in times]


# ---- The loop, bit for bit -----------------------------------------------------------------------


@each_optimiser
@pytest.mark.parametrize("batch_size", [None, 1, 7, ROWS, ROWS + 1, 1000])
def test_the_loop_written_out(optimiser: str, batch_size: int | None) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = OPTIMISERS[optimiser](ours), OPTIMISERS[optimiser](theirs)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=5, batch_size=batch_size, shuffle=False)
    assert history == by_hand(same, expected, XS, YS, batch_size, in_turn(ROWS, 5))
    assert state(optimizer) == state(expected)
    assert optimizer.steps == 5 * math.ceil(ROWS / (batch_size or ROWS))
    assert all(type(x) is float for x in history)


@each_optimiser
@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_loop_written_out_with_shuffled_rows(optimiser: str, batch_size: int) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = OPTIMISERS[optimiser](ours), OPTIMISERS[optimiser](theirs)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=batch_size, seed=5)
    assert history == by_hand(same, expected, XS, YS, batch_size, orders(ROWS, 3, seed=5))
    assert state(optimizer) == state(expected)


@pytest.mark.parametrize(
    "settings", [{"math": "fast"}, {"passes": ()}, {"errors": "ignore"}], ids=str
)
def test_the_loop_written_out_in_other_modes(settings: dict[str, Any]) -> None:
    (ours, loss), (theirs, same) = network(**settings), network(**settings)
    optimizer, expected = optim.Adam(ours), optim.Adam(theirs)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=9, shuffle=False)
    assert history == by_hand(same, expected, XS, YS, 9, in_turn(ROWS, 3))
    assert state(optimizer) == state(expected)


def wide(kind: str) -> tuple[list[Value], Any]:
    """More parameters than are stepped in a pass of their own."""
    random.seed(4)
    first, hidden, last = nn.Layer(2, 50), nn.Layer(50, 50), nn.MLP(50, [1], output_activation=None)
    model = [first, *[hidden] * (2 if kind == "a layer twice" else 1), last]

    @pygradc.compile(math="fast")
    def loss(x: Any, y: Any) -> Any:
        for layer in model:
            x = layer(x)
        if kind == "more than dots":
            x = x * last.parameters()[0].exp() + last.parameters()[1]
        return losses.mse(x, y)

    parameters = [p for part in (hidden, first, last) for p in part.parameters()]
    if kind == "another parameter":
        parameters.append(Value(2.0))
    if kind == "parameters that stand":
        del parameters[::7]
    return parameters, loss


@pytest.mark.parametrize("optimiser", ["SGD", "SGD, weight decay", "SGD, momentum", "Adam"])
@pytest.mark.parametrize("batch_size", [1, 33, 40, 90])
@pytest.mark.parametrize(
    "kind",
    ["plain", "a layer twice", "more than dots", "another parameter", "parameters that stand"],
)
def test_the_loop_written_out_of_a_wide_network(kind: str, optimiser: str, batch_size: int) -> None:
    xs, ys = np.resize(XS, (90, 2)), np.resize(YS, 90)
    (ours, loss), (theirs, same) = wide(kind), wide(kind)
    assert len(ours) > 2048
    optimizer, expected = OPTIMISERS[optimiser](ours), OPTIMISERS[optimiser](theirs)
    history = pygradc.fit(loss, xs, ys, optimizer, epochs=2, batch_size=batch_size, shuffle=False)
    assert history == by_hand(same, expected, xs, ys, batch_size, in_turn(90, 2))
    assert state(optimizer) == state(expected)


@pytest.mark.parametrize("number", [1e100, math.inf, math.nan])
def test_a_step_of_a_wide_network_that_is_lost_is_not_taken(number: float) -> None:
    parameters, loss = wide("plain")
    xs, ys = np.resize(XS, (90, 2)), np.resize(YS, 90)
    optimizer = optim.SGD(parameters, lr=0.01)
    pygradc.fit(loss, xs, ys, optimizer, batch_size=90, shuffle=False)
    before = state(optimizer)
    optimizer.lr = 1e300
    ys[77] = number
    with pytest.raises((FloatingPointError, OverflowError, ValueError)):
        pygradc.fit(loss, xs, ys, optimizer, batch_size=90, shuffle=False)
    assert state(optimizer) == before


@pytest.mark.parametrize("batch_size", [None, 1500])
def test_the_loop_written_out_over_chunks(batch_size: int | None) -> None:
    xs, ys = np.resize(XS, (3333, 2)), np.resize(YS, 3333)
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.SGD(ours, lr=0.1), optim.SGD(theirs, lr=0.1)
    history = pygradc.fit(loss, xs, ys, optimizer, epochs=2, batch_size=batch_size, shuffle=False)
    assert history == by_hand(same, expected, xs, ys, batch_size, in_turn(3333, 2))
    assert state(optimizer) == state(expected)


def test_eager_values_learn_the_same_up_to_rounding() -> None:
    (ours, loss), (theirs, same) = network(), network()
    pygradc.fit(loss, XS, YS, optim.SGD(ours, lr=0.05), epochs=4, batch_size=6, shuffle=False)
    optimizer = optim.SGD(theirs, lr=0.05)
    for first in [*range(0, ROWS, 6)] * 4:
        rows = [same.__wrapped__(x, y) for x, y in zip(XS.tolist(), YS.tolist())][first : first + 6]
        optimizer.zero_grad()
        (pygradc.sum(rows) / len(rows)).backward()
        optimizer.step()
    assert [p.data for p in ours] == pytest.approx([p.data for p in theirs], rel=1e-12)


def test_the_history_is_the_mean_loss_before_each_step() -> None:
    parameters, loss = network()
    optimizer = optim.SGD(parameters, lr=0.0)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=5)
    means = [loss.__wrapped__(x, y).data for x, y in zip(XS.tolist(), YS.tolist())]
    assert history == pytest.approx([sum(means) / ROWS] * 3, rel=1e-14)


def test_losses_go_down() -> None:
    parameters, loss = network()
    ys = np.sin(XS[:, 0]) * XS[:, 1]
    history = pygradc.fit(loss, XS, ys, optim.Adam(parameters, lr=0.05), epochs=200, batch_size=8)
    assert len(history) == 200 and history[-1] < history[0] / 10


# ---- The order of the rows -----------------------------------------------------------------------


def test_each_epoch_takes_each_row_once_in_a_new_order() -> None:
    drawn = orders(50, 4, seed=1)  # which asserts it
    assert len(set(map(tuple, drawn))) == 4
    assert list(range(50)) not in drawn


def test_a_seed_is_an_order() -> None:
    assert orders(30, 2, seed=1) == orders(30, 2, seed=1)
    assert orders(30, 2, seed=1) != orders(30, 2, seed=2)
    assert orders(30, 2, seed=None) != orders(30, 2, seed=None)


def test_the_same_seed_gives_the_same_network() -> None:
    def trained(seed: int) -> list[str]:
        parameters, loss = network()
        pygradc.fit(loss, XS, YS, optim.Adam(parameters), epochs=3, batch_size=4, seed=seed)
        return bits(parameters)

    assert trained(1) == trained(1) != trained(2)


def test_pythons_and_numpys_generators_are_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    parameters, loss = network()
    random.seed(1)
    np.random.seed(1)
    pygradc.fit(loss, XS, YS, optim.SGD(parameters, lr=0.1), epochs=2, batch_size=4)
    assert (random.random(), np.random.random()) == expected


def test_a_batch_of_all_rows_needs_no_order() -> None:
    (ours, loss), (theirs, same) = network(), network()
    pygradc.fit(loss, XS, YS, optim.SGD(ours, lr=0.1), epochs=3, seed=1)
    pygradc.fit(same, XS, YS, optim.SGD(theirs, lr=0.1), epochs=3, shuffle=False)
    assert bits(ours) == bits(theirs)


# ---- Going on ------------------------------------------------------------------------------------


@each_optimiser
def test_going_on_with_fit_and_by_hand(optimiser: str) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = OPTIMISERS[optimiser](ours), OPTIMISERS[optimiser](theirs)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=2, batch_size=7, shuffle=False)
    history += by_hand(loss, optimizer, XS, YS, 7, in_turn(ROWS, 1))
    history += pygradc.fit(loss, XS, YS, optimizer, epochs=2, batch_size=7, shuffle=False)
    assert history == pygradc.fit(same, XS, YS, expected, epochs=5, batch_size=7, shuffle=False)
    assert state(optimizer) == state(expected)


@each_optimiser
def test_going_on_from_a_state_dict(optimiser: str) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = OPTIMISERS[optimiser](ours), OPTIMISERS[optimiser](theirs)
    pygradc.fit(loss, XS, YS, optimizer, epochs=2)
    another = OPTIMISERS[optimiser](ours)
    another.load_state_dict(optimizer.state_dict())
    pygradc.fit(loss, XS, YS, another, epochs=2)
    pygradc.fit(same, XS, YS, expected, epochs=4)
    assert state(another) == state(expected)


def test_the_gradients_are_the_last_steps() -> None:
    (ours, loss), (theirs, same) = network(), network()
    for p in ours:
        p.grad = 77.0
    pygradc.fit(loss, XS, YS, optim.SGD(ours, lr=0.1), epochs=2)
    pygradc.fit(same, XS, YS, optim.SGD(theirs, lr=0.1), epochs=1)
    same.mean(XS, YS).backward()
    for p in theirs:
        p.grad /= 2.0  # of the first step and of the second
    last = [p.grad for p in ours]
    for p in theirs:
        p.grad = 0.0
    same.mean(XS, YS).backward()
    assert last == [p.grad for p in theirs]


def test_no_epochs_change_nothing() -> None:
    parameters, loss = network()
    for p in parameters:
        p.grad = 2.5
    optimizer = optim.Adam(parameters)
    before = state(optimizer)
    assert pygradc.fit(loss, XS, YS, optimizer, epochs=0) == []
    assert state(optimizer) == before


# ---- The callback --------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_callback_sees_each_epoch(batch_size: int | None) -> None:
    (ours, loss), (theirs, same) = network(), network()
    seen: list[Any] = []
    optimizer, expected = optim.Adam(ours), optim.Adam(theirs)
    history = pygradc.fit(
        loss, XS, YS, optimizer, epochs=4, batch_size=batch_size, shuffle=False,
        callback=lambda epoch, mean: seen.append((epoch, mean, state(optimizer))),
    )  # fmt: skip
    for epoch in range(4):
        (mean,) = by_hand(same, expected, XS, YS, batch_size, in_turn(ROWS, 1))
        assert seen[epoch] == (epoch + 1, mean, state(expected))
    assert history == [mean for _, mean, _ in seen]


@each_optimiser
def test_a_learning_rate_set_by_the_callback_holds_from_the_next_epoch(optimiser: str) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = OPTIMISERS[optimiser](ours), OPTIMISERS[optimiser](theirs)

    def slower(epoch: int, mean: float) -> None:
        optimizer.lr = 0.1 / (1 + epoch)

    pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=9, shuffle=False, callback=slower)
    for epoch in range(3):
        by_hand(same, expected, XS, YS, 9, in_turn(ROWS, 1))
        expected.lr = 0.1 / (2 + epoch)
    assert state(optimizer) == state(expected)


def test_momentum_and_weight_decay_may_be_set_by_the_callback() -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.SGD(ours, lr=0.1), optim.SGD(theirs, lr=0.1)

    def heavier(*_: Any) -> None:
        optimizer.momentum, optimizer.weight_decay = 0.5, 0.1

    pygradc.fit(loss, XS, YS, optimizer, epochs=3, callback=heavier)
    by_hand(same, expected, XS, YS, None, in_turn(ROWS, 1))
    expected.momentum, expected.weight_decay = 0.5, 0.1
    by_hand(same, expected, XS, YS, None, in_turn(ROWS, 2))
    assert state(optimizer) == state(expected)


def test_parameters_and_state_set_by_the_callback_are_taken_up() -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.Adam(ours), optim.Adam(theirs)
    first = optimizer.state_dict()

    def start_again(epoch: int, mean: float) -> None:
        for i, p in enumerate(ours):
            p.data = 0.1 * i
        optimizer.load_state_dict(first)

    pygradc.fit(loss, XS, YS, optimizer, epochs=2, callback=start_again, batch_size=1)
    assert [p.data for p in ours] == [0.1 * i for i in range(len(ours))]
    assert optimizer.steps == 0
    for i, p in enumerate(theirs):
        p.data = 0.1 * i
    assert pygradc.fit(loss, XS, YS, optimizer, epochs=2) == pygradc.fit(
        same, XS, YS, expected, epochs=2
    )
    assert state(optimizer) == state(expected)


def test_true_from_the_callback_stops() -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.Adam(ours), optim.Adam(theirs)
    history = pygradc.fit(
        loss, XS, YS, optimizer, epochs=10, callback=lambda epoch, mean: epoch == 3
    )
    assert history == pygradc.fit(same, XS, YS, expected, epochs=3)
    assert state(optimizer) == state(expected)


@pytest.mark.parametrize("answer", [None, 1, "yes", 0.0])
def test_nothing_but_true_stops(answer: Any) -> None:
    parameters, loss = network()
    assert len(pygradc.fit(
        loss, XS, YS, optim.SGD(parameters, lr=0.1), epochs=3, callback=lambda *_: answer
    )) == 3  # fmt: skip


def test_what_the_callback_sets_stays_when_it_stops() -> None:
    """As somebody does who goes back to the best weights."""
    parameters, loss = network()

    def restore(epoch: int, mean: float) -> bool:
        for p in parameters:
            p.data = p.grad = 0.25
        return True

    pygradc.fit(loss, XS, YS, optim.SGD(parameters, lr=0.1), epochs=5, callback=restore)
    assert {(p.data, p.grad) for p in parameters} == {(0.25, 0.25)}


def test_what_the_callback_sets_stays_when_it_raises() -> None:
    parameters, loss = network()

    def restore(epoch: int, mean: float) -> None:
        for p in parameters:
            p.data = 0.25
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        pygradc.fit(loss, XS, YS, optim.SGD(parameters, lr=0.1), epochs=5, callback=restore)
    assert {p.data for p in parameters} == {0.25}


def test_the_callback_may_use_the_function() -> None:
    (ours, loss), (theirs, same) = network(), network()
    means = []
    pygradc.fit(
        loss, XS, YS, optim.SGD(ours, lr=0.1), epochs=3,
        callback=lambda *_: means.append(loss.mean(XS, YS).data),
    )  # fmt: skip
    history = pygradc.fit(same, XS, YS, optim.SGD(theirs, lr=0.1), epochs=4)
    assert means == pytest.approx(history[1:], rel=1e-14)


# ---- Whose parameters ----------------------------------------------------------------------------


def test_a_parameter_that_the_function_does_not_use() -> None:
    for make in OPTIMISERS.values():
        (ours, loss), (theirs, same) = network(), network()
        mine, other = Value(3.0), Value(3.0)
        mine.grad = other.grad = 5.0
        optimizer, expected = make([mine, *ours]), make([other, *theirs])
        pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=9, shuffle=False)
        by_hand(same, expected, XS, YS, 9, in_turn(ROWS, 3))
        assert state(optimizer) == state(expected)
        assert mine.grad == 0.0


def test_a_parameter_that_is_not_the_optimisers_stands() -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.Adam(ours[::2]), optim.Adam(theirs[::2])
    before = [p.data for p in ours[1::2]]
    pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=9, shuffle=False)
    by_hand(same, expected, XS, YS, 9, in_turn(ROWS, 3))
    assert [p.data for p in ours[1::2]] == before
    assert state(optimizer) == state(expected)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_optimisers_order_is_its_own(backwards: bool) -> None:
    (ours, loss), (theirs, same) = network(), network()
    turn = slice(None, None, -1 if backwards else 1)
    optimizer, expected = optim.Adam(ours[turn]), optim.Adam(theirs[turn])
    pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=9, shuffle=False)
    by_hand(same, expected, XS, YS, 9, in_turn(ROWS, 3))
    assert state(optimizer) == state(expected)


@each_optimiser
def test_a_parameter_that_is_listed_twice_is_refused(optimiser: str) -> None:
    """By the optimiser, and by fit where it was appended later."""
    parameters, loss = network()
    with pytest.raises(ValueError, match="parameter 17 is parameter 0 again"):
        OPTIMISERS[optimiser](parameters + parameters[:3])
    optimizer = OPTIMISERS[optimiser](parameters)
    optimizer.parameters.append(parameters[2])
    with pytest.raises(ValueError, match="fit: parameter 17 is parameter 2 again"):
        pygradc.fit(loss, XS, YS, optimizer)
    assert optimizer.steps == 0


@pytest.mark.parametrize("batch_size", [None, 1, 9])
def test_an_optimiser_of_the_users(batch_size: int | None) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = Signs(ours), Signs(theirs)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=batch_size, shuffle=False)
    assert history == by_hand(same, expected, XS, YS, batch_size, in_turn(ROWS, 3))
    assert state(optimizer) == state(expected)


def test_a_subclass_of_ours_keeps_its_step() -> None:
    class Clipped(optim.SGD):
        def step(self) -> None:
            for p in self.parameters:
                p.grad = max(-0.01, min(p.grad, 0.01))
            super().step()

    parameters, loss = network()
    before = [p.data for p in parameters]
    pygradc.fit(loss, XS, YS, Clipped(parameters, lr=1.0), epochs=1)
    assert max(abs(p.data - x) for p, x in zip(parameters, before)) <= 0.01 + 1e-12


def test_no_parameters_at_all() -> None:
    """Neither the optimiser's nor the program's."""
    with pytest.raises(ValueError, match="no parameters to train"):
        optim.Adam([])
    parameters, loss = network()
    optimizer = optim.Adam(parameters)
    optimizer.parameters.clear()
    with pytest.raises(ValueError, match="no parameters to train"):
        pygradc.fit(loss, XS, YS, optimizer)
    with pytest.raises(ValueError, match="uses no parameters"):
        pygradc.fit(pygradc.compile(lambda x: x * x), YS, optim.Adam(parameters))


# ---- What is trained, and on what ----------------------------------------------------------------


@each_kind
def test_a_loaded_program_can_be_trained(tmp_path: Path, make: Callable[[Any], Any]) -> None:
    parameters, loss = network()
    loss.mean(XS, YS)
    loss.programs[0].save(tmp_path / "loss.pgp")
    program = pygradc.load(tmp_path / "loss.pgp")
    place = {id(p): i for i, p in enumerate(parameters)}
    own = dict(zip((place[id(p)] for p in loss.programs[0].parameters()), program.parameters()))
    loaded = [own[i] for i in range(len(parameters))]
    optimizer, expected = make(loaded), make(parameters)
    history = pygradc.fit(program, XS, YS, optimizer, epochs=3, batch_size=5, seed=1)
    assert history == pygradc.fit(loss, XS, YS, expected, epochs=3, batch_size=5, seed=1)
    assert state(optimizer) == state(expected)


@pytest.mark.parametrize("convert", [
    lambda a: a.tolist(), lambda a: tuple(map(list, a)) if a.ndim == 2 else tuple(a.tolist()),
    lambda a: a.astype(np.float32), np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2],
])  # fmt: skip
def test_rows_are_whatever_an_array_is_made_of(convert: Callable[[Any], Any]) -> None:
    xs, ys = (a.astype(np.float32).astype(np.float64) for a in (XS, YS))
    (ours, loss), (theirs, same) = network(), network()
    pygradc.fit(loss, convert(xs), convert(ys), optim.SGD(ours, lr=0.1), batch_size=5, seed=1)
    pygradc.fit(same, xs, ys, optim.SGD(theirs, lr=0.1), batch_size=5, seed=1)
    assert bits(ours) == bits(theirs)


def test_integers_one_number_for_all_rows_dicts_and_static_arguments() -> None:
    w = Value(1.0)

    @pygradc.compile
    def loss(row: Any, scale: Any, power: int = 1) -> Any:
        return (w * row["x"] * scale - row["y"][0]) ** power

    data = {"x": np.arange(4), "y": np.array([[2], [4], [6], [8]])}
    optimizer = optim.SGD([w], lr=0.01)
    history = pygradc.fit(
        loss, data, 0.5, optimizer, epochs=2, batch_size=3, shuffle=False, power=2
    )
    by_hand, expected = Value(1.0), []
    for _ in range(2):
        total = 0.0
        for rows in ([0, 1, 2], [3]):
            terms = [(by_hand * x * 0.5 - (2 * x + 2)) ** 2 for x in rows]
            mean = pygradc.sum(terms) * (1 / len(rows))
            by_hand.grad = 0.0
            mean.backward()
            by_hand.data -= 0.01 * by_hand.grad
            total += mean.data * len(rows)
        expected.append(total / 4)
    assert history == pytest.approx(expected, rel=1e-12)
    assert w.data == pytest.approx(by_hand.data, rel=1e-12)


def test_the_optimiser_may_come_by_name() -> None:
    (ours, loss), (theirs, same) = network(), network()
    pygradc.fit(loss, XS, YS, optimizer=optim.SGD(ours, lr=0.1))
    pygradc.fit(same, XS, YS, optim.SGD(theirs, lr=0.1))
    assert bits(ours) == bits(theirs)


def test_the_arrays_are_not_changed() -> None:
    xs, ys = XS.copy(), YS.copy()
    parameters, loss = network()
    pygradc.fit(loss, xs, ys, optim.SGD(parameters, lr=0.1), epochs=2, batch_size=4)
    assert np.array_equal(xs, XS) and np.array_equal(ys, YS)


def test_fit_leaves_no_nodes() -> None:
    parameters, loss = network()
    optimizer = optim.Adam(parameters)
    pygradc.fit(loss, XS, YS, optimizer, batch_size=4)
    before = pygradc.live_nodes()
    pygradc.fit(loss, XS, YS, optimizer, epochs=5, batch_size=4)
    assert pygradc.live_nodes() == before


# ---- What isn't as it should be ------------------------------------------------------------------


def two(x: Any, y: Any) -> Any:
    return [Value(1.0) * x[0], Value(2.0) * y]


WRONG: dict[str, tuple[type[Exception], str, Callable[[Any, Any], Any]]] = {
    "no optimiser": (TypeError, "optimizer", lambda f, o: pygradc.fit(f, XS, YS)),
    "an optimiser that is none": (
        TypeError, "optimizer", lambda f, o: pygradc.fit(f, XS, YS, optimizer=o.parameters),
    ),
    "a plain function": (
        TypeError, "compiled function", lambda f, o: pygradc.fit(f.__wrapped__, XS, YS, o),
    ),
    "two outputs": (
        ValueError, "one Value", lambda f, o: pygradc.fit(pygradc.compile(two), XS, YS, o),
    ),
    "no rows": (ValueError, "no rows", lambda f, o: pygradc.fit(f, XS[:0], YS[:0], o)),
    "no arrays": (ValueError, "array", lambda f, o: pygradc.fit(f, o)),
    "only numbers": (ValueError, "array", lambda f, o: pygradc.fit(f, 1.0, 2.0, o)),
    "different rows": (ValueError, "22 rows", lambda f, o: pygradc.fit(f, XS, YS[1:], o)),
    "a wrong shape": (ValueError, "3", lambda f, o: pygradc.fit(f, np.ones((4, 3)), YS[:4], o)),
    "ragged rows": (ValueError, "argument 0", lambda f, o: pygradc.fit(f, [[1.0], [1, 2]], YS, o)),
    "words": (TypeError, "argument 1", lambda f, o: pygradc.fit(f, XS, ["a"] * ROWS, o)),
    "a Value": (TypeError, "Value", lambda f, o: pygradc.fit(f, XS, Value(1.0), o)),
    "negative epochs": (ValueError, "epochs=-1", lambda f, o: pygradc.fit(f, XS, YS, o, epochs=-1)),
    "an empty batch": (
        ValueError, "batch_size=0", lambda f, o: pygradc.fit(f, XS, YS, o, batch_size=0),
    ),
    "half a row": (TypeError, "batch_size", lambda f, o: pygradc.fit(f, XS, YS, o, batch_size=2.5)),
    "half an epoch": (TypeError, "epochs", lambda f, o: pygradc.fit(f, XS, YS, o, epochs=2.5)),
    "an unknown keyword": (TypeError, "power", lambda f, o: pygradc.fit(f, XS, YS, o, power=2)),
    "a callback that is none": (
        TypeError, "callback", lambda f, o: pygradc.fit(f, XS, YS, o, callback="stop"),
    ),
}  # fmt: skip


@each_kind
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_named_and_changes_nothing(wrong: str, make: Any) -> None:
    kind, message, call = WRONG[wrong]
    parameters, loss = network()
    for p in parameters:
        p.grad = 2.5
    optimizer = make(parameters)
    before = state(optimizer)
    with pytest.raises(kind, match=message) as error:
        call(loss, optimizer)
    assert str(error.value)
    assert state(optimizer) == before


def test_a_wrong_shape_for_a_program_names_both() -> None:
    parameters, loss = network()
    loss.mean(XS, YS)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        pygradc.fit(loss.programs[0], np.ones((4, 3)), np.ones(4), optim.SGD(parameters, lr=0.1))


@pytest.mark.parametrize("make", KINDS[:2], ids=["SGD", "Adam"])
def test_state_of_another_length_than_the_parameters_is_refused_as_by_step(make: Any) -> None:
    """A parameter was appended: C must not write beyond the state's end."""
    w, v = Value(1.0), Value(2.0)
    loss = pygradc.compile(lambda x: (w * x - v) ** 2)
    optimizer = make([w])
    optimizer.parameters.append(v)
    for call in (optimizer.step, lambda: pygradc.fit(loss, np.ones(4), optimizer)):
        with pytest.raises(ValueError, match="2"):
            call()
    assert (w.data, v.data, optimizer.steps) == (1.0, 2.0, 0)


# ---- A row that leaves an op's domain ------------------------------------------------------------


def logarithm(make: Any) -> tuple[Value, Any, Any]:
    w = Value(1.0)
    return w, pygradc.compile(lambda x: (w * w * x).log()), make([w], 0.001)


@each_kind
@pytest.mark.parametrize("batch_size", [1, 3, 40, None])
@pytest.mark.parametrize("bad", [0, 29, 38, 49])
def test_a_bad_row_is_named_and_the_steps_before_it_stand(
    make: Any, batch_size: int | None, bad: int
) -> None:
    xs = np.linspace(1.0, 2.0, 50)
    xs[bad] = -2.0
    w, loss, optimizer = logarithm(make)
    with pytest.raises(FloatingPointError, match=rf"row {bad}: .*log\(-[\d.]+\)"):
        pygradc.fit(loss, xs, optimizer, batch_size=batch_size, shuffle=False)
    steps = bad // (batch_size or 50)
    assert optimizer.steps == steps
    _, same, expected = logarithm(make)
    if steps:
        pygradc.fit(same, xs[: steps * (batch_size or 50)], expected, batch_size=batch_size,
                    shuffle=False)  # fmt: skip
    assert state(optimizer) == state(expected)
    assert math.isfinite(w.data) and loss.mean(xs[steps and 0 : bad] if bad else xs[1:]).data < 9.0


@each_kind
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_bad_row_is_named_when_rows_are_shuffled(make: Any, batch_size: int) -> None:
    xs = np.linspace(1.0, 2.0, 50)
    xs[17] = -2.0
    _, loss, optimizer = logarithm(make)
    with pytest.raises(FloatingPointError, match="row 17: "):
        pygradc.fit(loss, xs, optimizer, batch_size=batch_size, seed=4)
    assert optimizer.steps == orders(50, 1, seed=4)[0].index(17) // batch_size > 0


@each_kind
def test_of_two_bad_rows_in_a_batch_the_first_is_named(make: Any) -> None:
    """Also where the second fails in an op that comes before."""
    w = Value(1.0)
    xs = np.ones((40, 2))
    xs[21, 1] = xs[22, 0] = -1.0
    loss = pygradc.compile(lambda x: (w * x[0]).log() + (w * x[1]).log())
    with pytest.raises(FloatingPointError, match="row 21: "):
        pygradc.fit(loss, xs, make([w], 0.01), batch_size=20, shuffle=False)


def test_what_depends_on_parameters_only_may_fail_too() -> None:
    w, v = Value(1.0), Value(1.0)
    optimizer = optim.SGD([w, v], lr=0.6)
    loss = pygradc.compile(lambda x: w.sqrt() + v * x)  # w goes below 0 in the fourth step
    with pytest.raises(FloatingPointError, match=r"parameters only: .*sqrt\(-"):
        pygradc.fit(loss, np.ones(4), optimizer, epochs=10)
    assert w.data < 0.0 and v.data == pytest.approx(1.0 - 0.6 * optimizer.steps)


def test_a_bad_row_in_a_later_epoch_comes_after_the_callbacks() -> None:
    w = Value(1.0)
    seen: list[float] = []
    loss = pygradc.compile(lambda x: w * x + w.log() * 0.0)
    with pytest.raises(FloatingPointError):
        pygradc.fit(
            loss, np.ones(2), optim.SGD([w], lr=0.3), epochs=9,
            callback=lambda *_: seen.append(w.data),
        )  # fmt: skip
    assert seen == pytest.approx([0.7, 0.4, 0.1, -0.2]) and w.data == seen[-1]


def test_ignored_errors_train_on() -> None:
    w = Value(1.0)
    loss = pygradc.compile(lambda x: (w * x).log(), errors="ignore")
    history = pygradc.fit(loss, np.array([1.0, -1.0]), optim.SGD([w], lr=0.1))
    assert math.isnan(history[0])


# ---- The order of very many rows is drawn in a thread --------------------------------------------


def test_a_long_order_is_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for long in (10**6, 2):
        monkeypatch.setattr(pygradc.recorded.fitting, "_LONG_ORDER", long)
        params, loss = network()
        optimizer = optim.SGD(params, lr=0.01)
        history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=3, seed=5)
        found.append((history, [p.data for p in params]))
    assert found[0] == found[1]


# ---- Ctrl-C --------------------------------------------------------------------------------------


FOREVER = 10**7


@needs_alarm
@pytest.mark.parametrize("batch_size", [None, 1, 7])
@pytest.mark.parametrize("shuffle", [False, True])
def test_ctrl_c_comes_out_between_two_steps(batch_size: int | None, shuffle: bool) -> None:
    """And what was trained is what so many steps give."""
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.Adam(ours, lr=1e-4), optim.Adam(theirs, lr=1e-4)
    settings: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "seed": 1}
    with alarm(0.1):
        pygradc.fit(loss, XS, YS, optimizer, epochs=FOREVER, **settings)
    epochs, rest = divmod(optimizer.steps, math.ceil(ROWS / (batch_size or ROWS)))
    assert optimizer.steps > 0
    rest *= batch_size or ROWS
    if not shuffle:
        pygradc.fit(same, XS, YS, expected, epochs=epochs, **settings)
        if rest:
            pygradc.fit(same, XS[:rest], YS[:rest], expected, **settings)
        assert state(optimizer) == state(expected)
    assert all(math.isfinite(p.data) for p in ours)
    assert len(pygradc.fit(loss, XS, YS, optimizer, epochs=2)) == 2


@needs_alarm
def test_ctrl_c_comes_out_of_one_long_step() -> None:
    w = Value(0.5)
    loss = pygradc.compile(lambda x, y: slow(w * x - y))
    optimizer = optim.SGD([w], lr=0.1)
    xs = np.linspace(-1.0, 1.0, 3_000_000)
    with alarm(0.2):
        pygradc.fit(loss, xs, xs, optimizer)
    assert optimizer.steps == 0 and w.data == 0.5


@needs_alarm
@pytest.mark.parametrize("make", KINDS[:2], ids=["SGD", "Adam"])
def test_ctrl_c_comes_out_where_most_of_the_work_is_not_the_rows(make: Any) -> None:
    """A wide layer, a row a step: the parameters are many more than a row's numbers."""
    random.seed(1)
    model = nn.MLP(256, [256, 1], "tanh", "linear")
    loss = pygradc.compile(lambda x, y: losses.mse(model(x), y))
    xs = np.random.default_rng(1).normal(size=(64, 256)) / 16
    ys = np.zeros(64)
    pygradc.fit(loss, xs[:1], ys[:1], make(model.parameters(), 1e-5))
    with alarm(0.1):
        pygradc.fit(loss, xs, ys, make(model.parameters(), 1e-5), epochs=200, batch_size=1,
                    shuffle=False)  # fmt: skip


@needs_alarm
def test_ctrl_c_comes_out_where_most_of_the_work_is_the_penalty() -> None:
    weights = [Value(0.01 * i) for i in range(20_000)]
    loss = pygradc.compile(lambda x: pygradc.sum([w * w for w in weights]) + weights[0] * x)
    optimizer = optim.SGD(weights, lr=1e-6)
    pygradc.fit(loss, np.ones(1), optimizer)
    with alarm(0.3):
        pygradc.fit(loss, np.ones(1), optimizer, epochs=20_000)
    assert all(0.0 < w.data < 0.01 * i for i, w in enumerate(weights) if i)


@needs_alarm
def test_ctrl_c_with_an_optimiser_of_the_users_and_a_callback() -> None:
    parameters, loss = network()
    for settings in ({}, {"callback": lambda *_: None}):
        with alarm(0.05):
            pygradc.fit(loss, XS, YS, Signs(parameters), epochs=FOREVER, **settings)
    assert len(pygradc.fit(loss, XS, YS, Signs(parameters), epochs=2)) == 2


# ---- The bar -------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize(
    "settings", [{}, {"batch_size": 4}, {"callback": lambda *_: None}], ids=str
)
def test_the_bar_goes_to_stderr_and_changes_nothing(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    settings: dict[str, Any],
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = make(ours), make(theirs)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=40, seed=1, progress=True, **settings)
    out, error = capsys.readouterr()
    assert out == "" and "100%" in error and "920/920" in error and "loss=" in error
    assert history == pygradc.fit(same, XS, YS, expected, epochs=40, seed=1, **settings)
    assert capsys.readouterr() == ("", "")
    assert state(optimizer) == state(expected)


def shown(capsys: pytest.CaptureFixture[str], **settings: Any) -> str:
    parameters, loss = network()
    pygradc.fit(loss, XS, YS, optim.Adam(parameters), epochs=7, **settings)
    return capsys.readouterr().err


def test_the_bar_counts_epochs_or_rows_and_stays_out_of_pipes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    for progress in (True, "rows", "epochs"):
        assert shown(capsys, progress=progress) == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "7/7" in shown(capsys, progress="epochs") and shown(capsys, progress=False) == ""
    assert shown(capsys, progress="rows").count("161/161") >= 1
    for odd in ("yes", "epoch"):
        with pytest.raises(TypeError, match="True, False, 'epochs' or 'rows', not"):
            shown(capsys, progress=odd)


def test_the_bar_is_shown_in_a_notebook(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    assert "7/7" in shown(capsys, progress="epochs")
    shell.config = {"TerminalIPythonApp": {}}
    assert shown(capsys, progress="epochs") == ""


@pytest.mark.parametrize("how", ["stopped", "raised", "refused"])
def test_the_bar_is_closed_when_training_ends_early(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    tqdm = pytest.importorskip("tqdm.auto")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bars = []

    class Kept(tqdm.tqdm):  # type: ignore[misc,name-defined]
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            bars.append(self)

    def callback(epoch: int, _: float) -> bool:
        if how == "raised":
            raise KeyError("mine")
        if how == "refused":
            optimizer.lr = 1e300
        return how == "stopped"

    monkeypatch.setattr(tqdm, "tqdm", Kept)
    parameters, loss = network()
    optimizer = optim.SGD(parameters, lr=0.01)
    expected = {"raised": pytest.raises(KeyError), "refused": pytest.raises(FloatingPointError)}
    with expected.get(how, contextlib.nullcontext()):
        pygradc.fit(loss, XS, YS, optimizer, epochs=9, progress="epochs", callback=callback)
    assert len(bars) == 1 and 1 <= bars[0].n < 9 and bars[0].disable  # tqdm's mark of a closed one


def test_without_tqdm_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    parameters, loss = network()
    optimizer = optim.Adam(parameters)
    before = state(optimizer)
    with pytest.raises(ImportError, match="needs tqdm: pip install tqdm"):
        pygradc.fit(loss, XS, YS, optimizer, progress=True)
    assert state(optimizer) == before
    assert len(pygradc.fit(loss, XS, YS, optimizer)) == 1


# ---- Cross-entropy -------------------------------------------------------------------------------

LOGITS = [
    [0.5, -1.5, 2.0], [3.0, 3.0, 3.0], [1000.0, -1000.0, 0.0], [-1000.0, -999.0, -1001.0],
    [1000.0, 1000.0, -1000.0],
]  # fmt: skip


def value_and_gradients(loss: Callable[[list[Value]], Value], row: list[float]) -> list[float]:
    logits = [Value(x) for x in row]
    result = loss(logits)
    result.backward()
    return [result.data, *(x.grad for x in logits)]


@pytest.mark.parametrize("row", LOGITS, ids=str)
@pytest.mark.parametrize("label", range(3))
def test_soft_cross_entropy_of_a_one_hot_row_is_cross_entropy(row: list[float], label: int) -> None:
    one_hot = np.eye(3)[label].tolist()
    soft = value_and_gradients(lambda logits: losses.soft_cross_entropy(logits, one_hot), row)
    assert soft == pytest.approx(
        value_and_gradients(lambda logits: losses.cross_entropy(logits, label), row),
        rel=1e-14, abs=1e-15,
    )  # fmt: skip
    largest = max(row)
    total = math.log(math.fsum(math.exp(x - largest) for x in row))
    assert soft[0] == pytest.approx(total - (row[label] - largest), rel=1e-14, abs=1e-15)
    recorded = pygradc.compile(losses.soft_cross_entropy)
    assert soft == value_and_gradients(lambda logits: recorded(logits, one_hot), row)


@pytest.mark.parametrize("math_mode", ["exact", "fast"])
def test_soft_cross_entropy_of_many_recorded_rows(math_mode: str) -> None:
    recorded = pygradc.compile(losses.soft_cross_entropy, math=math_mode)
    rows, labels = np.repeat(LOGITS, 3, axis=0), np.tile(np.eye(3), (len(LOGITS), 1))
    means, (gradients, _) = recorded.gradients(rows, labels)
    for row, one_hot, mean, gradient in zip(rows, labels, means, gradients):
        expected = value_and_gradients(
            lambda logits, p=one_hot: losses.soft_cross_entropy(logits, p.tolist()), row.tolist()
        )
        assert [mean, *gradient] == pytest.approx(expected, rel=1e-13, abs=1e-15)


def test_soft_cross_entropy_of_a_distribution() -> None:
    loss, *gradients = value_and_gradients(
        lambda logits: losses.soft_cross_entropy(logits, [0.2, 0.3, 0.5]), [1.0, 2.0, 3.0]
    )
    total = sum(map(math.exp, (1, 2, 3)))
    softmax = [math.exp(x) / total for x in (1, 2, 3)]
    assert loss == pytest.approx(-sum(p * math.log(q) for p, q in zip((0.2, 0.3, 0.5), softmax)))
    assert gradients == pytest.approx([q - p for p, q in zip((0.2, 0.3, 0.5), softmax)])
    with pytest.raises(ValueError, match="soft_cross_entropy"):
        losses.soft_cross_entropy([Value(1.0)], [0.5, 0.5])


def test_classes_are_learned_from_labels() -> None:
    weights = [Value(0.0) for _ in range(6)]

    @pygradc.compile
    def loss(x: list[Value], label: Value) -> Value:
        logits = [x[0] * w + x[1] * v for w, v in zip(weights[:3], weights[3:])]
        return losses.cross_entropy(logits, label)

    angles = np.random.default_rng(0).uniform(0, 2 * math.pi, 300)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    labels = np.floor(angles / (2 * math.pi / 3)).astype(int)
    optimizer = optim.Adam(weights, lr=0.1)
    found = pygradc.fit(loss, points, labels, optimizer, epochs=50, batch_size=50)
    assert found[-1] < 0.5 * found[0]


def test_classes_are_learned() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=120)
    xs = rng.normal(size=(120, 2)) * 0.3 + np.array([[0, 1], [1, -1], [-1, -1]])[labels]
    model = nn.MLP(2, [3], output_activation="linear")
    loss = pygradc.compile(lambda x, y: losses.soft_cross_entropy(model(x), y))
    pygradc.fit(loss, xs, np.eye(3)[labels], optim.Adam(model.parameters(), lr=0.1), epochs=30,
                batch_size=20, seed=1)  # fmt: skip
    scores = pygradc.compile(lambda x: model(x)).map(xs)
    assert np.mean(scores.argmax(axis=1) == labels) > 0.97


# ---- training.train, which is made of it ---------------------------------------------------------


@pytest.mark.parametrize(("name", "least"), [("digits", 0.95), ("iris", 0.9), ("moons", 0.9)])
def test_training_reaches_its_accuracy_quickly(name: str, least: float) -> None:
    result = train(load(name))
    assert result.test_score >= least
    assert result.seconds < 60.0
