"""Ten minutes of random use: are memory, nodes and speed at the end those after the first minute?

    python bench/soak.py [--seconds 600] [--seed 1]

Jobs of all kinds are drawn at random, and each must give what it gave the first time, bit for bit.
A table shows what is left after each tenth of the time. Nodes must be as many as after the first
tenth; memory may be 2% and 2 MB more; the fastest of many equal steps, in time of the processor,
may take 15% longer. The status is 1 if anything of this doesn't hold.
"""

from __future__ import annotations

import argparse
import copy
import gc
import math
import os
import pickle
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pygradc
from pygradc import Value, live_nodes, losses, nn, optim

ROWS = np.random.default_rng(1).uniform(-1.0, 1.0, (300, 3))
SEEDS = range(8)

# --- jobs: each makes what it uses, and says what came of it --------------------------------


def network(seed: int) -> nn.MLP:
    model, dice = nn.MLP(3, [4, 1]), random.Random(seed)
    for p in model.parameters():
        p.data = dice.uniform(-1.0, 1.0)
    return model


def numbers_of(model: nn.MLP) -> list[float]:
    return [number for p in model.parameters() for number in (p.data, p.grad)]


def halved(x: Value) -> Value:
    """A custom op as micrograd's: its closure and its node are a cycle."""
    out = Value(x.data * 0.5, (x,), "halved")

    def _backward() -> None:
        x.grad += 0.5 * out.grad

    out._backward = _backward
    return out


@pygradc.op(derivatives=lambda x, y: 0.5)
def halfway(x: float) -> float:
    return 0.5 * x


def train(seed: int) -> Any:
    """Layers, closures, labels, an optimiser."""
    model = network(seed)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(3):
        outputs = [halved(model(row)) for row in ROWS[:5].tolist()]
        outputs[seed % 5].label = "one of them"
        loss = losses.mse(outputs, [1.0, -1.0, 1.0, -1.0, 1.0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return numbers_of(model)


def record_and_fit(seed: int) -> Any:
    model = network(seed)
    loss = pygradc.compile(lambda x: (model(x) - 1.0) ** 2)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    pygradc.fit(loss, ROWS, optimizer, epochs=3, batch_size=100, seed=seed)
    return numbers_of(model)


def copy_and_drop(seed: int) -> Any:
    """Closures that go unswept, copies of a graph, a rule in Python."""
    x = Value(float(seed))
    y, dropped = x, x
    for _ in range(100 * (1 + seed)):
        y, dropped = y + 1.0, halved(dropped)
    twin = pickle.loads(pickle.dumps((halfway(y), x)))
    twin[0].backward()
    other = copy.deepcopy(twin[1])
    return twin[0].data, twin[1].grad, other.grad, x.grad, dropped.data


def without_a_graph(seed: int) -> Any:
    x = Value(float(seed))
    with pygradc.no_grad():
        y = x * 3.0 + 1.0
    return y.data, len(y._prev), len((x * 2.0)._prev)


def fail(seed: int) -> Any:
    """Errors, eager and in replays, with graphs on the way."""
    x, found = Value(-1.0 - seed), []
    f = pygradc.compile(lambda a: (a * x).log())
    jobs: list[Callable[[], Any]] = [
        lambda: (x * 2.0 + 1.0).log(),
        lambda: (x * 1000.0 * x).exp() * 2.0,
        lambda: x + "x",
        lambda: ((x - x.data).sqrt() + x * x).backward(),
        lambda: f.map(np.array([-1.0, -2.0, 3.0])),
        lambda: f.map(np.ones(2), np.ones(3)),
    ]
    for job in jobs:
        try:
            job()
        except (ArithmeticError, ValueError, TypeError) as error:
            found.append(type(error).__name__)
    return found


def long_chain(seed: int) -> Any:
    x = Value(1.0)
    y = x
    for i in range(1000 * (1 + seed) ** 2):
        y = y * -1.0 if i % 2 else y + 1.0
    y.backward()
    return y.data, x.grad


def garbage(seed: int) -> Any:
    """What only the collector can find, with attributes that hold graphs."""
    for i in range(20):
        x = Value(float(i))
        x.me, x.other = x, [Value(1.0) * float(seed)]
        y = halved(x) * 2.0
        y.label = "held by nobody"
    return y.data


def save_and_load(seed: int) -> Any:
    model = network(seed)
    f = pygradc.compile(lambda x: model(x))
    f.map(ROWS[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program"
        f.programs[0].save(path)
        return pygradc.load(path).map(ROWS).tobytes()


def replay_in_threads(seed: int) -> Any:
    w = Value(float(seed))
    f = pygradc.compile(lambda x: (w * x).tanh())
    with ThreadPoolExecutor(2) as executor:
        total = f.sum(np.linspace(0.0, 1.0, 1000), executor=executor)
    total.backward()
    return total.data, w.grad


JOBS: list[Callable[[int], Any]] = [
    train,
    record_and_fit,
    copy_and_drop,
    without_a_graph,
    fail,
    long_chain,
    garbage,
    save_and_load,
    replay_in_threads,
]

# --- what is measured -----------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """After so many seconds and jobs: living nodes, MB of memory, us of two kinds of step."""

    seconds: float
    jobs: int
    nodes: int
    memory: float
    eager: float
    replay: float


def memory() -> float:
    """What the process holds, in MB; 0.0 where the system doesn't say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    except OSError:
        return 0.0


class Probe:
    """Two steps that are always the same; the fastest of each, in us of the processor's time."""

    def __init__(self) -> None:
        self.best = {self.eager: math.inf, self.replay: math.inf}
        model = self.model = network(0)
        self.loss = pygradc.compile(lambda x: (model(x) - 1.0) ** 2)
        self.rows = ROWS.tolist()[:30]

    def eager(self) -> None:
        losses.mse([self.model(row) for row in self.rows], [1.0] * len(self.rows)).backward()

    def replay(self) -> None:
        for _ in range(5):
            self.loss.sum(ROWS).backward()

    def measure(self) -> None:
        for step, best in self.best.items():
            start = time.process_time_ns()
            step()
            self.best[step] = min(best, (time.process_time_ns() - start) / 1e3)

    def take(self) -> list[float]:
        """The fastest since the last time."""
        found = list(self.best.values())
        self.best = dict.fromkeys(self.best, math.inf)
        return found


class Soak:
    """Random jobs, and what is left of them."""

    def __init__(self, seed: int, jobs: list[Callable[[int], Any]] = JOBS) -> None:
        self.jobs, self.dice, self.probe, self.done = jobs, random.Random(seed), Probe(), 0
        self.expected = {(job, seed): job(seed) for job in jobs for seed in SEEDS}

    def run(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            job, seed = self.dice.choice(self.jobs), self.dice.choice(SEEDS)
            found = job(seed)
            if found != self.expected[job, seed]:
                raise AssertionError(f"{job.__name__}({seed}) gave {found!r}")
            self.done += 1
            self.probe.measure()

    def state(self, seconds: float) -> State:
        gc.collect()
        return State(seconds, self.done, live_nodes(), memory(), *self.probe.take())


def faults(first: State, last: State) -> list[str]:
    """What has changed since, and should not have."""
    found = []
    if last.nodes != first.nodes:
        found.append(f"{last.nodes - first.nodes:+d} nodes")
    if last.memory > 1.02 * first.memory + 2.0:
        found.append(f"{last.memory - first.memory:+.1f} MB")
    for name in ("eager", "replay"):
        ratio = getattr(last, name) / getattr(first, name)
        if ratio > 1.15:
            found.append(f"{name} steps take {ratio:.2f} times as long")
    return found


ROW = "| {:>6} | {:>9} | {:>7} | {:>10} | {:>13} | {:>14} |"


def soak(seconds: float, seed: int = 1) -> tuple[State, State]:
    """The states after the first tenth of the time and at the end; prints all of them."""
    print(ROW.format("s", "jobs", "nodes", "memory, MB", "eager step, us", "replay, us"))
    print(ROW.format(*("---:",) * 6))
    trial, states = Soak(seed), []
    for i in range(1, 11):
        trial.run(seconds / 10)
        now = trial.state(seconds * i / 10)
        states.append(now)
        shown = f"{now.memory:.1f}", f"{now.eager:.0f}", f"{now.replay:.0f}"
        print(ROW.format(f"{now.seconds:.0f}", now.jobs, now.nodes, *shown), flush=True)
    return states[0], states[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, seed {options.seed}\n")
    found = faults(*soak(options.seconds, options.seed))
    print("\nnot as after the first tenth: " + ", ".join(found) if found else "\nall as before")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
