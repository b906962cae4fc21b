"""Does PyTorch, which shares no line with us, get the same numbers?"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pygradc import Value, losses, nn, optim
from pygradc.core.ops import OPS, Op

torch = pytest.importorskip("torch")

TIGHT = {"rel": 1e-12, "abs": 1e-14}
STEPS = 20

# What torch calls the rows of the table, or how it computes them; the rest have the same name.
NAMES = {"pown": "pow", "rint": "round", "mod": "remainder"}
COMPOSED: dict[str, Callable[..., Any]] = {
    "cbrt": lambda a: a.sign() * a.abs() ** (1 / 3),
    "floordiv": lambda a, b: (a / b).floor(),  # torch.floor_divide has no derivative
    "log_ndtr": lambda a: torch.special.log_ndtr(a),
    "polygamma": lambda a, order: torch.polygamma(int(order), a),
}
LOOSE = {"rel": 1e-9, "abs": 1e-14}  # torch's polygamma has 10 digits


def tensor(data: Any) -> Any:
    return torch.tensor(data, dtype=torch.float64, requires_grad=True)


def points(op: Op) -> list[tuple[float, ...]]:
    low, high = zip(*op.intervals)
    rng = np.random.default_rng(op.number)
    found = rng.uniform(low, high, (100, len(low)))
    if op.name == "polygamma":
        found[:, 1] = np.rint(found[:, 1])  # an order
    return [tuple(point) for point in found.tolist()]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_and_its_derivatives(op: Op) -> None:
    name = NAMES.get(op.name, op.name)
    function = COMPOSED.get(name) or getattr(torch, name, None)
    function = function or getattr(torch.nn.functional, name)
    near = LOOSE if op.name in ("digamma", "polygamma") else TIGHT
    for point in points(op):
        ours, theirs = [Value(x) for x in point], [tensor(x) for x in point]
        rest = point[1:] if op.takes_number else ours[1:]
        y = getattr(ours[0], op.method)(*rest)
        t = function(theirs[0], point[1]) if op.takes_number else function(*theirs)
        y.backward()
        t.backward()
        assert y.data == pytest.approx(t.item(), **near)
        for x, leaf in list(zip(ours, theirs))[: op.arity]:
            assert x.grad == pytest.approx(leaf.grad.item(), **near), point


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "a - b": lambda a, b: a - b,
    "a / b": lambda a, b: a / b,
    "a ** b": lambda a, b: a**b,
    "-a * abs(b)": lambda a, b: -a * abs(b),
    "numbers": lambda a, b: (2 - a / 3) * (1.5 / b) - 2**a + b**-2,
    "shared": lambda a, b: (a * b + a) * (a * b) + b * b * b,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    for point in np.random.default_rng(3).uniform(0.5, 3.0, (100, 2)).tolist():
        ours, theirs = [Value(x) for x in point], [tensor(x) for x in point]
        y, t = OPERATORS[name](*ours), OPERATORS[name](*theirs)
        y.backward()
        t.backward()
        assert y.data == pytest.approx(t.item(), **TIGHT)
        assert [x.grad for x in ours] == pytest.approx([x.grad.item() for x in theirs], **TIGHT)


# ---- The lessons' neuron -------------------------------------------------------------------------

INPUTS = {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": 6.8813735870195432}


def neuron(make: Callable[[float], Any]) -> tuple[Any, dict[str, Any]]:
    leaves = {name: make(x) for name, x in INPUTS.items()}
    x1, x2, w1, w2, b = leaves.values()
    return (x1 * w1 + x2 * w2 + b).tanh(), leaves


def test_the_lessons_neuron() -> None:
    (o, ours), (t, theirs) = neuron(Value), neuron(tensor)
    o.backward()
    t.backward()
    assert o.data == pytest.approx(t.item(), **TIGHT)
    assert o.data == pytest.approx(0.7071067811865476, **TIGHT)
    gradients = {name: x.grad for name, x in ours.items()}
    assert gradients == pytest.approx({n: x.grad.item() for n, x in theirs.items()}, **TIGHT)
    assert gradients == pytest.approx({"x1": -1.5, "w1": 1.0, "x2": 0.5, "w2": 0.0, "b": 0.5})


# ---- Networks and optimisers ---------------------------------------------------------------------

TORCH_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}


def model_of(sizes: list[int], activation: str) -> nn.MLP:
    random.seed(4)
    return nn.MLP(sizes[0], sizes[1:], activation, "linear")


def torch_model_of(model: nn.MLP, activation: str) -> Any:
    """The same network with the same weights."""
    layers: list[Any] = []
    state = {key: torch.tensor(array) for key, array in model.state_dict().items()}
    for i in range(len(model.layers)):
        weight, bias = state[f"layers.{i}.weight"], state[f"layers.{i}.bias"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, TORCH_ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*layers[:-1])


def in_our_order(tensors: list[Any]) -> list[float]:
    """What torch keeps by layer, weights and biases, as each neuron's weights and then its bias."""
    pairs = zip(tensors[::2], tensors[1::2])
    return [x for weight, bias in pairs for row in zip(weight, bias) for x in flat(row)]


def flat(row: tuple[Any, Any]) -> list[float]:
    return [*row[0].tolist(), row[1].item()]


def data(classes: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    xs = rng.normal(size=(8, 3))
    return xs, rng.integers(classes, size=8) if classes else rng.normal(size=8)


def our_loss(model: nn.MLP, classes: int) -> Value:
    xs, ys = data(classes)
    outs = [model(x) for x in xs.tolist()]
    loss: Value = (losses.cross_entropy if classes else losses.mse)(outs, ys.tolist())
    return loss


def torch_loss(model: Any, classes: int) -> Any:
    xs, ys = map(torch.tensor, data(classes))
    outs = model(xs)
    if classes:
        return torch.nn.functional.cross_entropy(outs, ys)
    return torch.nn.functional.mse_loss(outs[:, 0], ys)


@pytest.mark.parametrize("activation", TORCH_ACTIVATIONS)
@pytest.mark.parametrize("classes", [0, 4])
def test_loss_and_gradients_of_a_network(activation: str, classes: int) -> None:
    ours = model_of([3, 6, 5, classes or 1], activation)
    theirs = torch_model_of(ours, activation)
    loss, expected = our_loss(ours, classes), torch_loss(theirs, classes)
    loss.backward()
    expected.backward()
    assert loss.data == pytest.approx(expected.item(), **TIGHT)
    gradients = [p.grad for p in ours.parameters()]
    assert gradients == pytest.approx(in_our_order([p.grad for p in theirs.parameters()]), **TIGHT)
    assert sum(g != 0.0 for g in gradients) > len(gradients) / 2


OPTIMISERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "SGD": (
        lambda ps: optim.SGD(ps, lr=0.05),
        lambda ps: torch.optim.SGD(ps, lr=0.05),
    ),
    "SGD, momentum and weight decay": (
        lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=0.01),
        lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=0.01),
    ),
    "Adam": (
        lambda ps: optim.Adam(ps, lr=0.02),
        lambda ps: torch.optim.Adam(ps, lr=0.02),
    ),
    "Adam, betas, eps and weight decay": (
        lambda ps: optim.Adam(ps, lr=0.02, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
        lambda ps: torch.optim.Adam(ps, lr=0.02, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
    ),
    "AdamW": (
        lambda ps: optim.Adam(ps, lr=0.02, weight_decay=0.1, decoupled=True),
        lambda ps: torch.optim.AdamW(ps, lr=0.02, weight_decay=0.1),
    ),
    "RMSprop": (
        lambda ps: optim.RMSprop(ps, lr=0.02),
        lambda ps: torch.optim.RMSprop(ps, lr=0.02),
    ),
    "RMSprop, alpha, eps, weight decay and momentum": (
        lambda ps: optim.RMSprop(ps, 0.02, 0.9, 1e-4, weight_decay=0.1, momentum=0.5),
        lambda ps: torch.optim.RMSprop(ps, 0.02, 0.9, 1e-4, weight_decay=0.1, momentum=0.5),
    ),
}


def train(model: Any, optimiser: Any, loss_of: Callable[[Any, int], Any]) -> None:
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss_of(model, 0).backward()
        optimiser.step()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_twenty_steps_of_an_optimiser(name: str) -> None:
    ours = model_of([3, 6, 1], "tanh")
    theirs = torch_model_of(ours, "tanh")
    start = [p.data for p in ours.parameters()]
    make_ours, make_theirs = OPTIMISERS[name]
    train(ours, make_ours(ours.parameters()), our_loss)
    train(theirs, make_theirs(theirs.parameters()), torch_loss)
    weights = [p.data for p in ours.parameters()]
    expected = in_our_order([p.detach() for p in theirs.parameters()])
    assert weights == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert weights != pytest.approx(start, rel=1e-2)
