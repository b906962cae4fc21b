"""Measure `workers=2`: `python bench/workers.py` prints the table.

The gradient over rows of an MLP 3-4-4-1 of 41 parameters, fast mode, by one thread and by two of
the library's own, in turns in one process; then the same while other processes keep all cores but
one busy. Before and after, two plain loops at once are held against one: where both together do
less than 1.9 times the work of one, the machine has no second core to speak of, and what two
threads take says nothing about them: "not measured", and the figures that came out.
Then the same for `fit` of an MLP 784-128-10 in batches of 128, where threads share each batch.
A figure is what two workers take as a multiple of what one does, at the lower tenth of all turns,
and in brackets at the median.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

import pygradc
from bench import baselines, report
from bench.measure import timed
from bench.recorded import Hall, RecordedRows, second_core, spin
from bench.report import Target
from pygradc import losses, nn, optim

COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)
W2 = 100_000
ENOUGH = 1.9  # times the work of one loop, by two at once
MOST_TURNS = 1_000


FIT = "fit, 784-128-10, batches of 128"
ROWS = 512


class Training:
    """Epochs of an MLP of 101,770 parameters, on noise."""

    def __init__(self, workers: int) -> None:
        model = nn.MLP(784, [128, 10])
        self.loss = pygradc.compile(lambda x, y: losses.cross_entropy(model(x), y), math="fast")
        self.optimizer = optim.SGD(model.parameters(), lr=0.001)
        random = np.random.default_rng(0)
        self.data = random.normal(size=(ROWS, 784)), random.integers(0, 10, size=ROWS).astype(float)
        self.workers = workers

    def gradient(self) -> None:
        how = {"epochs": 4, "batch_size": 128, "shuffle": False, "workers": self.workers}
        pygradc.fit(self.loss, *self.data, self.optimizer, **how)


@dataclass
class Turns:
    """Seconds of one and of two workers, turn by turn."""

    one: list[float] = field(default_factory=list)
    two: list[float] = field(default_factory=list)

    @property
    def low(self) -> float:
        return quantiles(self.two, n=10)[0] / quantiles(self.one, n=10)[0]

    @property
    def middle(self) -> float:
        return median(self.two) / median(self.one)

    def __str__(self) -> str:
        return f"{self.low:.2f} ({self.middle:.2f})"


@dataclass
class Results:
    idle: dict[int, Turns] = field(default_factory=dict)
    busy: dict[int, Turns] = field(default_factory=dict)
    loops: list[float] = field(default_factory=list)  # the work of two at once, in those of one
    fit: Turns | None = None
    busy_fit: Turns | None = None

    @property
    def cores(self) -> float:
        return median(self.loops) if self.loops else math.nan


def race(count: int, seconds: float) -> Turns:
    rows = baselines.make_rows(count)
    return in_turns(*(RecordedRows(rows, "fast", workers) for workers in (1, 2)), seconds)


def race_fit(seconds: float) -> Turns:
    return in_turns(Training(1), Training(2), seconds)


def in_turns(by_one: Any, by_two: Any, seconds: float) -> Turns:
    """Turns for so long, and at least ten of them."""
    for _ in range(3):  # recorded, compiled, and it is known how long the rows take
        by_one.gradient(), by_two.gradient()
    each = min(timed(by_one.gradient) for _ in range(3))
    turns = Turns()
    for _ in range(max(10, min(MOST_TURNS, int(seconds / (2 * each))))):
        turns.one.append(timed(by_one.gradient))
        turns.two.append(timed(by_two.gradient))
    return turns


def spin_on(turns: int) -> None:
    for _ in range(turns):
        spin()


def beside_others(hall: Hall, seconds: float, race: Callable[[], Turns]) -> Turns:
    """A race while other processes keep all cores but one busy."""
    others = range((os.cpu_count() or 2) - 1)
    loops = 1 + int(2 * seconds / spin())
    spinning = [hall.process(f"busy {i}").submit(spin_on, loops) for i in others]
    try:
        return race()
    finally:
        for one in spinning:
            one.result()


def measure(counts: Iterable[int], seconds: float, rounds: int) -> Results:
    results = Results()
    with Hall() as hall:
        results.loops += [2 / ratio for ratio in second_core(hall, rounds)]
        for count in counts:
            results.idle[count] = race(count, seconds)
        if W2 in results.idle:
            results.busy[W2] = beside_others(hall, seconds, partial(race, W2, seconds))
            results.fit = race_fit(seconds)
            results.busy_fit = beside_others(hall, seconds, partial(race_fit, seconds))
        results.loops += [2 / ratio for ratio in second_core(hall, rounds)]
    return results


def targets(results: Results) -> list[Target]:
    """nan, "not measured", without a second core."""
    here = results.cores >= ENOUGH

    def figure(turns: Turns | None) -> float:
        return turns.low if turns is not None and here else math.nan

    all_of_them = [figure(turns) for turns in results.idle.values()]
    w2, busy = results.idle.get(W2), results.busy.get(W2)
    return [
        Target("two workers, 100,000 rows", figure(w2), "times one", at_most=0.58),
        Target("of any number of rows", max(all_of_them, default=math.nan), "times", at_most=1.03),
        Target("beside a busy core, 100,000 rows", figure(busy), "times", at_most=1.3),
        Target(FIT, figure(results.fit), "times one", at_most=0.6),
        Target("the same beside a busy core", figure(results.busy_fit), "times", at_most=1.3),
    ]


def tables(results: Results) -> str:
    rows = [[f"{count:,}", str(turns)] for count, turns in results.idle.items()]
    rows += [[f"{count:,}, other cores busy", str(turns)] for count, turns in results.busy.items()]
    rows += [[FIT, str(results.fit)]] if results.fit else []
    rows += [[f"{FIT}, other cores busy", str(results.busy_fit)]] if results.busy_fit else []
    promised = [[t.text, t.limit, report.number(t.figure), t.verdict] for t in targets(results)]
    return "\n\n".join(
        [
            report.table(["workers=2", "limit", "here", "verdict"], promised),
            report.table(["rows; 41 parameters, fast", "two workers, times one"], rows),
            f"Two plain loops at once did {results.cores:.2f} times the work of one; from {ENOUGH} "
            "on what two workers take is a figure, and not only what came out.",
        ]
    )


def markdown(results: Results) -> str:
    """The part of RESULTS.md that is about workers."""
    return f"""
## Workers

The gradient over rows of an MLP 3-4-4-1, tanh, fast mode, and `fit` of an MLP 784-128-10, by
`workers=2` as a multiple of what one thread takes, in turns in one process: at the lower tenth of
all turns, in brackets at the median.

{tables(results)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of workers=2.")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each number of rows")
    parser.add_argument("--rounds", type=int, default=5, help="of the two plain loops")
    args = parser.parse_args()
    print(tables(measure(COUNTS, args.seconds, args.rounds)))


if __name__ == "__main__":
    main()
