"""Measure examples/microgpt: `python bench/microgpt.py` prints the tables.

One training step of a GPT with 4,192 parameters on one name: forward, backward, Adam. The model is
written once, in plain Values (examples/microgpt/gpt.py), and every competitor runs that: pure
Python with slots, the oracle, pygradc op by op, and pygradc recorded.

First all of them train on the same names from the same weights, and every loss must be the same to
the last digit. Then they take turns, each in a process of its own, at the same few names; a ratio
is taken inside a round. The garbage collector is on, but where a name says otherwise.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc
sys.path.append(str(Path(__file__).resolve().parent.parent / "examples" / "microgpt"))

import names
import train

from bench import pure, report
from bench.recorded import Hall, Race, Seat
from bench.report import Target

TIMED = 5  # names
COMPARED = 30  # steps whose losses are held against each other

SLOTS = "pure Python, slots"
SLOTS_OFF = "pure Python, slots, gc off"
ORACLE = "pygradc's oracle, pure Python"
EAGER = "pygradc, op by op"
RECORDED = "pygradc, recorded"


def slots() -> train.Engine:
    return train.Engine(pure.Value, pure.Adam)


COMPETITORS: dict[str, Callable[[], train.Engine]] = {
    SLOTS: slots,
    SLOTS_OFF: slots,
    ORACLE: train.reference,
    EAGER: train.eager,
    RECORDED: train.recorded,
}


# --- in a competitor's process --------------------------------------------------------------


class Untidy(Seat):
    """Garbage waits until after the turn."""

    def turn(self) -> float:
        gc.disable()
        try:
            return super().turn()
        finally:
            gc.enable()
            gc.collect()


def beginner(name: str) -> train.Trainer:
    return train.start(COMPETITORS[name](), names.load(names.FILE))


def seat(name: str, count: int) -> Seat:
    """Trains on the first `count` names again and again; recordings are made in the warm-up."""
    trainer = beginner(name)
    words = trainer.data.words[:count]
    kind = Untidy if name == SLOTS_OFF else Seat
    return kind(lambda: [trainer.step(word) for word in words], count)


def outside(count: int, rounds: int = 200) -> float:
    """Seconds a step of the recorded engine takes in zero_grad, backward and Adam: the median."""
    trainer = beginner(RECORDED)
    words = trainer.data.words[:count]
    losses: list[Any] = []
    call = trainer.loss
    trainer.loss = lambda letters, targets: losses.append(call(letters, targets)) or losses[-1]
    samples: list[float] = []
    for _ in range(rounds):
        for word in words:
            trainer.step(word)
            start = time.perf_counter()
            trainer.optimizer.zero_grad()
            losses.pop().backward()
            trainer.optimizer.step()
            samples.append(time.perf_counter() - start)
    return median(samples)


def training(name: str, steps: int, samples: int = 20) -> list[str]:
    """What `train.py` prints: the loss of each step, and the names that are made up then."""
    trainer, said = beginner(name), []
    for i in range(steps):
        loss = trainer.step(trainer.data.words[i], train.RATE * (1 - i / steps))
        said.append(repr(loss))
    return [*said, *(trainer.sample() for _ in range(samples))]


# --- all of it ------------------------------------------------------------------------------


@dataclass
class Results:
    """What one run measured."""

    race: Race = field(default_factory=dict)
    letters: float = 0.0  # mean length of the names that were timed
    outside: float = float("nan")  # seconds of a recorded step beside the call
    steps: int = 0  # compared
    said: dict[str, list[str]] = field(default_factory=dict)  # see `training`

    def speedups(self, name: str) -> list[float]:
        """How many times faster than slots in pure Python, round by round."""
        samples = (self.race[who].samples if who in self.race else [] for who in (SLOTS, name))
        return [base / ours for base, ours in zip(*samples)]

    @property
    def agree(self) -> bool:
        return len(set(map(tuple, self.said.values()))) == 1


def measure(rounds: int, steps: int = COMPARED, timed: int = TIMED) -> Results:
    results = Results(steps=steps)
    words = beginner(RECORDED).data.words[:timed]
    results.letters = mean(map(len, words))
    with Hall() as hall:
        for name in COMPETITORS:
            if name != SLOTS_OFF and steps:
                results.said[name] = hall.process(name).submit(training, name, steps).result()
        seats: dict[str, Callable[[], Seat]] = {
            name: partial(seat, name, timed) for name in COMPETITORS
        }
        results.race = hall.race(seats, rounds)
        results.outside = hall.process(RECORDED).submit(outside, timed).result()
    return results


# --- tables ---------------------------------------------------------------------------------


def targets(results: Results) -> list[Target]:
    def figure(name: str) -> float:
        return median(results.speedups(name) or [float("nan")])

    text = "against slots pure Python (gc on)"
    recorded = results.race[RECORDED].samples if RECORDED in results.race else []
    step = median(recorded or [float("nan")])
    return [
        Target(f"microgpt, op by op, {text}", figure(EAGER), "times", at_least=12),
        Target(f"microgpt, recorded, {text}", figure(RECORDED), "times", at_least=150),
        Target("microgpt, recorded, a step on one name", step * 1e3, "ms", at_most=0.08),
        Target("of it zero_grad, backward, Adam", results.outside * 1e6, "us", at_most=15),
    ]


def agreement(results: Results) -> str:
    """Says whether the digits are the same."""
    if not results.said:
        return "Digits were not compared."
    who = "; ".join(results.said)
    if results.agree:
        return (
            f"The same to the last digit on all of them: {results.steps:,} losses and, after them, "
            f"20 names made up ({who})."
        )
    base = results.said[SLOTS]
    wrong = [f"{who}, at {first_other(base, said)}" for who, said in results.said.items()]
    return f"**Digits differ** from those of {SLOTS}: {'; '.join(wrong)}."


def first_other(base: list[str], said: list[str]) -> str:
    """Where two lists begin to differ."""
    places = (i for i, pair in enumerate(zip(base, said), start=1) if len(set(pair)) > 1)
    return next(map(str, places), "none")


def tables(results: Results) -> str:
    goals = [[t.text, t.limit, report.number(t.figure), t.verdict] for t in targets(results)]
    rows = [
        [name, report.spread(times.samples, 1e3), report.spread(results.speedups(name))]
        for name, times in results.race.items()
    ]
    header = ["one training step on one name", "ms", f"times faster than {SLOTS}"]
    return "\n\n".join(
        [
            report.table(["microgpt", "limit", "here", "verdict"], goals),
            report.table(header, rows),
            agreement(results),
        ]
    )


def markdown(results: Results) -> str:
    """The part of RESULTS.md that is about the GPT."""
    return f"""
## microgpt

The GPT of `examples/microgpt`, 4,192 parameters: forward, backward and Adam on one name, averaged
over {TIMED} names of {results.letters:.1f} letters. All run the same model, op for op, each in a \
process of its own;
a ratio is taken inside a round.

{tables(results)}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Benchmarks of examples/microgpt.")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each competitor")
    parser.add_argument(
        "--steps",
        type=int,
        default=COMPARED,
        help="how many losses are compared; a thousand take the oracle a quarter of an hour",
    )
    args = parser.parse_args(argv)
    if args.rounds < 0 or args.steps < 0:
        parser.error("--rounds and --steps can't be negative")
    print(tables(measure(args.rounds, args.steps)))


if __name__ == "__main__":
    main()
