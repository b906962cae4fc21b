"""What `bench` measures: the same work by pure Python and by pygradc, and how it is timed.

Pure Python is `lean.Value`; pygradc runs the same program, and the same function recorded. Each
competitor's first result is compared, so that nothing is timed that computes something else.
Competitors take turns, so that a busy machine slows all of them; a turn repeats short work.
`bench/` in the sources measures more, beside other libraries.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pygradc
from pygradc import datasets, optim
from pygradc.command import lean

TURN = 0.05  # seconds; longer work is done once in a turn
ROWS = 32
SIZES = (2, 16, 16, 1)
RATE = 0.01
CLOSE = 1e-9  # a recording's sum over rows has another order

Work = Callable[[], float]


class WrongResult(Exception):
    """A competitor computes something else than pure Python; names both numbers."""


@dataclass
class Competitor:
    """A way of doing the work.

    Attributes:
        name: in print.
        work: does it once; returns a number by which results are compared.
        samples: seconds per work, one a turn.
    """

    name: str
    work: Work
    samples: list[float] = field(default_factory=list)
    repeats: int = 1

    def take_turn(self) -> None:
        """Time the work."""
        start = time.perf_counter()
        for _ in range(self.repeats):
            self.work()
        self.samples.append((time.perf_counter() - start) / self.repeats)


@dataclass
class Race:
    """A piece of work; pure Python is the first competitor."""

    name: str
    competitors: list[Competitor]

    def run(self, rounds: int) -> None:
        """Let the competitors take turns.

        Raises:
            WrongResult: their first results differ.
        """
        self._compare([competitor.work() for competitor in self.competitors])
        for competitor in self.competitors:
            competitor.take_turn()  # also warms up
            competitor.repeats = max(1, int(TURN / max(competitor.samples.pop(), 1e-7)))
        for _ in range(rounds):
            for competitor in self.competitors:
                gc.collect()
                competitor.take_turn()

    def _compare(self, results: Sequence[float]) -> None:
        for competitor, result in zip(self.competitors, results):
            if not math.isclose(result, results[0], rel_tol=CLOSE):
                raise WrongResult(f"{competitor.name} gives {result!r}, not {results[0]!r}")

    def ratios(self, competitor: Competitor) -> list[float]:
        """By how much it was faster than pure Python in each round, in rising order."""
        pairs = zip(self.competitors[0].samples, competitor.samples)
        return sorted(pure / its for pure, its in pairs)

    def seconds(self, competitor: Competitor) -> float:
        """The median time of its work."""
        return median(competitor.samples)


def races() -> list[Race]:
    """All of them, ready to run."""
    return [
        Race(
            "L = (a * b + c).tanh(); L.backward()",
            [
                Competitor("pure Python", lambda: _expression(lean.Value)),
                Competitor("pygradc", lambda: _expression(pygradc.Value)),
            ],
        ),
        _training(),
    ]


def _expression(value: Callable[[float], Any]) -> float:
    a, b, c = value(2.0), value(-3.0), value(6.5)
    L = (a * b + c).tanh()
    L.backward()
    return float(a.grad)


def _training() -> Race:
    """A training step of an MLP on moons: loss, gradients, weights."""
    moons = datasets.load("moons")
    every = len(moons.labels) // ROWS
    xs = moons.features[::every][:ROWS].tolist()
    ys = [2.0 * label - 1.0 for label in moons.labels[::every][:ROWS].tolist()]
    sizes = "-".join(map(str, SIZES))
    return Race(
        f"training step, MLP {sizes}, {ROWS} rows",
        [
            Competitor("pure Python", _by_ops(lean.Value, xs, ys)),
            Competitor("pygradc, op by op", _by_ops(pygradc.Value, xs, ys)),
            Competitor("pygradc, recorded", _recorded(xs, ys)),
        ],
    )


# ---- the training step, as people write it -------------------------------------------------------


class _Net:
    """An MLP of any class of values: tanh between the layers, none after the last."""

    def __init__(self, value: Callable[[float], Any]) -> None:
        draw = random.Random(1337).uniform
        self.layers = [
            [[value(draw(-1.0, 1.0)) for _ in range(inputs + 1)] for _ in range(neurons)]
            for inputs, neurons in zip(SIZES, SIZES[1:])
        ]

    def parameters(self) -> list[Any]:
        return [p for layer in self.layers for neuron in layer for p in neuron]

    def loss(self, x: Any, y: Any) -> Any:
        """The squared error of one row."""
        for depth, layer in enumerate(self.layers):
            x = [sum((w * xi for w, xi in zip(ws, x)), b) for *ws, b in layer]
            if depth < len(self.layers) - 1:
                x = [each.tanh() for each in x]
        return (x[0] + y * -1.0) ** 2

    def descend(self, loss: Any) -> float:
        """Gradients and one step; returns the loss."""
        parameters = self.parameters()
        for p in parameters:
            p.grad = 0.0
        loss.backward()
        for p in parameters:
            p.data -= RATE * p.grad
        return float(loss.data)


def _by_ops(value: Any, xs: list[list[float]], ys: list[float]) -> Work:
    net = _Net(value)

    def step() -> float:
        total: Any = sum((net.loss(x, y) for x, y in zip(xs, ys)), value(0.0))
        return net.descend(total * (1.0 / ROWS))

    return step


def _recorded(xs: list[list[float]], ys: list[float]) -> Work:
    net = _Net(pygradc.Value)
    row: Any = pygradc.compile(net.loss)
    optimizer = optim.SGD(net.parameters(), lr=RATE)

    def step() -> float:
        loss = row.mean(xs, ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.data)

    return step
