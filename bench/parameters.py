"""What each parameter costs besides the arithmetic: `python bench/parameters.py` prints a table.

An MLP of about 1,000, 10,000 and 100,000 parameters, and SGD. In nanoseconds a parameter, medians:
a call of `fit` beyond its steps; `zero_grad`, `backward` of a recorded loss, which distributes
finished gradients, and `step` from Python. Then one step of training from Python, in milliseconds,
and what remains of it beside the replay alone, `fit`'s step on the same batch. The last row has the
limits, for 101,770 parameters.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

import pygradc
from pygradc import losses, nn, optim

SHAPES = ((30, 25, 10), (64, 128, 10), (784, 128, 10))
LIMITS = {"fit": "30", "zero_grad": "3", "backward": "3", "step": "3", "whole": "2.5", "replay": ""}
BATCH = 32
STEPS = 10  # of a long fit, beyond the one of a short


def seconds(f: Callable[[], Any]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


class Case:
    """A model, its recorded loss of one row, a batch, an optimizer."""

    def __init__(self, nin: int, hidden: int, nout: int) -> None:
        random.seed(1)
        self.model = model = nn.MLP(nin, [hidden, nout], output_activation="linear")
        rows = np.random.default_rng(0)
        self.X = rows.uniform(-1.0, 1.0, (BATCH, nin))
        self.Y = rows.integers(nout, size=BATCH).astype(float)
        self.loss = pygradc.compile(lambda x, y: losses.cross_entropy(model(x), y))
        self.optimizer = optim.SGD(model.parameters(), lr=1e-6)
        self.count = len(self.optimizer.parameters)

    def fit(self, rows: int, epochs: int) -> None:
        X, Y = self.X[:rows], self.Y[:rows]
        pygradc.fit(self.loss, X, Y, optimizer=self.optimizer, epochs=epochs)

    def step(self) -> None:
        loss = self.loss.mean(self.X, self.Y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def fit_step(self, rows: int) -> tuple[float, float]:
        """Seconds of a call of `fit` beyond its step, and of one step in it."""
        short = seconds(lambda: self.fit(rows, 1))
        step = (seconds(lambda: self.fit(rows, 1 + STEPS)) - short) / STEPS
        return short - step, step


def measure(shape: tuple[int, int, int], rounds: int) -> tuple[int, dict[str, float]]:
    """The number of parameters, and seconds of each part: medians of the rounds."""
    case = Case(*shape)
    loss = case.loss.mean(case.X, case.Y)
    parts: dict[str, Callable[[], float]] = {
        "fit": lambda: case.fit_step(1)[0],
        "zero_grad": lambda: seconds(case.optimizer.zero_grad),
        "backward": lambda: seconds(loss.backward),
        "step": lambda: seconds(case.optimizer.step),
        "whole": lambda: seconds(case.step),
        "replay": lambda: case.fit_step(BATCH)[1],
    }
    for part in parts.values():
        part()  # records, and makes plans and workspaces
    samples: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            samples[name].append(part())
    return case.count, {name: median(times) for name, times in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    names = ("fit", "zero_grad", "backward", "step")
    heads = " | ".join(f"{name}, ns" for name in names)
    print(f"| parameters | {heads} | a step of batch {BATCH}, ms | its replay in fit, ms |")
    print("|" + "--:|" * (len(names) + 3))
    for shape in SHAPES:
        count, times = measure(shape, rounds)
        cells = [f"{times[name] / count * 1e9:.1f}" for name in names]
        cells += [f"{times[name] * 1e3:.3f}" for name in ("whole", "replay")]
        print(f"| {count:,} | {' | '.join(cells)} |")
    print(f"| at most | {' | '.join(LIMITS.values())} |")


if __name__ == "__main__":
    main()
