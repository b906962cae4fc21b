"""One training step, written for every competitor: same data, same weights, same loss.

The step is micrograd's demo: an MLP 2-16-16-1 (ReLU, linear output) on 100 points of two moons,
hinge loss plus 1e-4 L2, forward + backward + gradient descent.

A competitor is an `Engine`: `step()` trains once and returns the loss, `gradients()` and
`weights()` give flat lists in one common order (layer by layer, neuron by neuron, weights then
bias), so that tests can hold them against each other. Whatever is specific to a competitor stays
inside its class; importing this file imports none of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

L2 = 1e-4


# --- the case: data and weights, plain floats -----------------------------------------------


@dataclass(frozen=True)
class Case:
    """Points (n x 2), labels (-1.0 or 1.0), and weights[layer][neuron] = [w0, w1, ..., bias]."""

    points: list[list[float]]
    labels: list[float]
    weights: list[list[list[float]]]
    lr: float = 0.05

    @property
    def sizes(self) -> list[int]:
        """Width of each layer, the input first: [2, 16, 16, 1]."""
        return [len(self.weights[0][0]) - 1, *map(len, self.weights)]


def moons(count: int, noise: float, rng: random.Random) -> tuple[list[list[float]], list[float]]:
    """Two interleaved half circles, alternating labels."""
    points, labels = [], []
    for i in range(count):
        angle, label = math.pi * rng.random(), 1.0 if i % 2 else -1.0
        x, y = math.cos(angle), math.sin(angle)
        if label > 0:
            x, y = 1.0 - x, 0.5 - y
        points.append([x + rng.gauss(0.0, noise), y + rng.gauss(0.0, noise)])
        labels.append(label)
    return points, labels


def make_case(samples: int = 100, hidden: Sequence[int] = (16, 16), seed: int = 1337) -> Case:
    """The demo's case; weights uniform in (-1, 1), biases zero, as micrograd draws them."""
    rng = random.Random(seed)
    points, labels = moons(samples, 0.1, rng)
    widths = [2, *hidden, 1]
    weights = [
        [[rng.uniform(-1.0, 1.0) for _ in range(nin)] + [0.0] for _ in range(nout)]
        for nin, nout in zip(widths, widths[1:])
    ]
    return Case(points, labels, weights)


def flatten(weights: Iterable[Iterable[Iterable[float]]]) -> list[float]:
    return [number for layer in weights for neuron in layer for number in neuron]


# --- the step, as people write it -----------------------------------------------------------


class Neuron:
    """One unit written op by op, the way micrograd's `nn.py` does it."""

    def __init__(self, w: list[Any], b: Any, nonlinear: bool) -> None:
        self.w, self.b, self.nonlinear = w, b, nonlinear

    def __call__(self, x: Sequence[Any]) -> Any:
        act = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return act.relu() if self.nonlinear else act


class MLP:
    """Layers of `Neuron`, for any class with `*`, `+` and `relu`."""

    def __init__(self, value: Callable[[float], Any], weights: list[list[list[float]]]) -> None:
        self.layers = []
        for depth, layer in enumerate(weights):
            hidden = depth < len(weights) - 1
            rows = [list(map(value, row)) for row in layer]
            self.layers.append([Neuron(row[:-1], row[-1], hidden) for row in rows])

    def __call__(self, x: Sequence[Any]) -> Any:
        for layer in self.layers:
            x = [neuron(x) for neuron in layer]
        return x[0] if len(x) == 1 else x

    def parameters(self) -> list[Any]:
        return [p for layer in self.layers for neuron in layer for p in (*neuron.w, neuron.b)]


def demo_loss(value: Callable[[float], Any], model: Any, case: Case) -> Any:
    """micrograd's demo loss; only `value` and `model` say whose nodes these are."""
    inputs = [list(map(value, point)) for point in case.points]
    scores = [model(x) for x in inputs]
    losses = [(1 + -yi * score).relu() for yi, score in zip(case.labels, scores)]
    data_loss = sum(losses) * (1.0 / len(losses))
    reg_loss = L2 * sum(p * p for p in model.parameters())
    return data_loss + reg_loss


# --- the competitors ------------------------------------------------------------------------


class Engine(Protocol):
    """What the runner and the tests need of a competitor."""

    def step(self) -> float: ...

    def gradients(self) -> list[float]: ...

    def weights(self) -> list[float]: ...


class OpByOp:
    """The network written with `zip` and `+`, the update as a loop: any micrograd-like Value."""

    def __init__(self, value: Callable[[float], Any], case: Case) -> None:
        self.value, self.case = value, case
        self.model = MLP(value, case.weights)

    def forward(self) -> Any:
        return demo_loss(self.value, self.model, self.case)

    def step(self) -> float:
        total = self.forward()
        for p in self.model.parameters():
            p.grad = 0.0
        total.backward()
        for p in self.model.parameters():
            p.data -= self.case.lr * p.grad
        loss: float = total.data
        return loss

    def gradients(self) -> list[float]:
        return [p.grad for p in self.model.parameters()]

    def weights(self) -> list[float]:
        return [p.data for p in self.model.parameters()]


class UserLoop:
    """The loop as users write it: an `MLP` from the library called per sample, and its `SGD`."""

    def __init__(self, value: Callable[[float], Any], mlp: Any, sgd: Any, case: Case) -> None:
        self.value, self.case = value, case
        nin, *nouts = case.sizes
        self.model = mlp(nin, nouts, activation="relu", output_activation="linear")
        for layer, rows in zip(self.model.layers, case.weights):
            for neuron, row in zip(layer.neurons, rows):
                for p, number in zip((*neuron.w, neuron.b), row):
                    p.data = number
        self.optimizer = sgd(self.model.parameters(), case.lr)

    def forward(self) -> Any:
        return demo_loss(self.value, self.model, self.case)

    def step(self) -> float:
        total = self.forward()
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        loss: float = total.data
        return loss

    def _in_order(self) -> list[Any]:
        neurons = (n for layer in self.model.layers for n in layer.neurons)
        return [p for neuron in neurons for p in (*neuron.w, neuron.b)]

    def gradients(self) -> list[float]:
        return [p.grad for p in self._in_order()]

    def weights(self) -> list[float]:
        return [p.data for p in self._in_order()]


class Xad:
    """XAD's adjoint type on its C++ tape. It has no `relu`, so the network uses `max`."""

    def __init__(self, case: Case) -> None:
        import xad.adj_1st as adjoint
        import xad.math

        self.adjoint, self.max, self.case = adjoint, xad.math.max, case
        self._weights = flatten(case.weights)
        self._gradients = [0.0] * len(self._weights)

    def _loss(self, params: list[Any]) -> Any:
        real, maximum, case = self.adjoint.Real, self.max, self.case
        losses = []
        for point, label in zip(case.points, case.labels):
            x, rest = list(map(real, point)), iter(params)
            for depth, nout in enumerate(case.sizes[1:]):
                neurons = [([next(rest) for _ in x], next(rest)) for _ in range(nout)]
                x = [sum((wi * xi for wi, xi in zip(w, x)), b) for w, b in neurons]
                if depth < len(case.weights) - 1:
                    x = [maximum(unit, 0.0) for unit in x]
            losses.append(maximum(1 + -label * x[0], 0.0))
        return sum(losses) * (1.0 / len(losses)) + L2 * sum(p * p for p in params)

    def step(self) -> float:
        with self.adjoint.Tape() as tape:
            params = list(map(self.adjoint.Real, self._weights))
            for p in params:
                tape.registerInput(p)
            tape.newRecording()
            total = self._loss(params)
            tape.registerOutput(total)
            total.derivative = 1.0
            tape.computeAdjoints()
            self._gradients = [p.derivative for p in params]
            loss: float = total.value
        lr = self.case.lr
        self._weights = [w - lr * g for w, g in zip(self._weights, self._gradients)]
        return loss

    def gradients(self) -> list[float]:
        return list(self._gradients)

    def weights(self) -> list[float]:
        return list(self._weights)


class Torch:
    """PyTorch eager, float64, the whole batch as tensors: what vectorising by hand would give."""

    def __init__(self, case: Case) -> None:
        import torch

        torch.set_num_threads(
            1
        )  # as the others; for so small a batch more only wait for each other
        self.torch, self.case = torch, case
        self.x = torch.tensor(case.points, dtype=torch.float64)
        self.y = torch.tensor(case.labels, dtype=torch.float64)
        self.layers = [  # one matrix a layer: (nout, nin) weights and (nout,) biases
            (self._parameter([n[:-1] for n in layer]), self._parameter([n[-1] for n in layer]))
            for layer in case.weights
        ]
        self.params = [p for layer in self.layers for p in layer]
        self.optimizer = torch.optim.SGD(self.params, lr=case.lr)

    def _parameter(self, numbers: Any) -> Any:
        return self.torch.tensor(numbers, dtype=self.torch.float64, requires_grad=True)

    def step(self) -> float:
        h = self.x
        for depth, (w, b) in enumerate(self.layers):
            h = self.torch.nn.functional.linear(h, w, b)
            h = h.relu() if depth < len(self.layers) - 1 else h
        data_loss = (1.0 - self.y * h[:, 0]).relu().mean()
        total = data_loss + L2 * sum((p * p).sum() for p in self.params)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        loss: float = total.item()
        return loss

    def _in_order(self, pick: Callable[[Any], Any]) -> list[float]:
        layers = ((pick(w).tolist(), pick(b).tolist()) for w, b in self.layers)
        return flatten([[*row, bias] for row, bias in zip(w, b)] for w, b in layers)

    def gradients(self) -> list[float]:
        return self._in_order(lambda p: p.grad)

    def weights(self) -> list[float]:
        return self._in_order(lambda p: p.detach())


def _pure(case: Case) -> Engine:
    from bench import pure

    return OpByOp(pure.Value, case)


def _micrograd(case: Case) -> Engine:
    from micrograd.engine import Value

    return OpByOp(Value, case)


def _oracle(case: Case) -> Engine:
    from pygradc.reference import Value

    return OpByOp(Value, case)


def _oracle_loop(case: Case) -> Engine:
    from pygradc.reference import MLP, SGD, Value

    return UserLoop(Value, MLP, SGD, case)


def _pygradc(case: Case) -> Engine:
    from pygradc import Value

    return OpByOp(Value, case)


def _pygradc_loop(case: Case) -> Engine:
    from pygradc import Value
    from pygradc.nn import MLP
    from pygradc.optim import SGD

    return UserLoop(Value, MLP, SGD, case)


BASE = "pure Python, slots"
OP_BY_OP = "pygradc, op by op"
USER_LOOP = "pygradc, MLP per sample"

ENGINES: dict[str, Callable[[Case], Engine]] = {
    "micrograd": _micrograd,
    "oracle, op by op": _oracle,
    "oracle, MLP per sample": _oracle_loop,
    BASE: _pure,
    "XAD (C++ tape)": Xad,
    OP_BY_OP: _pygradc,
    USER_LOOP: _pygradc_loop,
    "PyTorch, whole batch": Torch,
}
"""Name to factory. A factory raises ImportError where its library is not installed."""
