"""Measure pygradc beside its peers, with limits: `python bench/peers.py` prints the table.

    mlp-*          an epoch of cross-entropy in `fit`, ReLU; JAX's epoch is one jitted `lax.scan`
    pendulum       RK4, 500 steps, its misfit by four parameters; one row, the call included
    garch          GARCH(1,1), the likelihood of 1,000 returns by three parameters; one row
    black-scholes  a call's price and its five sensitivities, 200,000 rows
    lennard-jones  energy and forces of 20 particles, 64 rows
    demo           micrograd's demo step in `fit`, beside C by hand that fuses no multiply-add

JAX: jit, float64, one thread. A workload (`peer_workloads.py`) has a process of its own, in which
both sides give the same numbers (1e-9, relative) before they take turns; a turn repeats the work
for some 30 ms. A ratio is taken inside a round, and held against its limit as the median over the
rounds. Beside it stands the ratio of CPU times: a short call of JAX waits for another thread, which
on a busy machine takes long, and only where the two ratios are near each other does a verdict mean
something. What can't be measured, as where JAX isn't installed, says why.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import baselines, recorded, report
from bench.peer_workloads import (
    Answer,
    BlackScholes,
    Demo,
    Garch,
    LennardJones,
    Network,
    Pendulum,
    Side,
    Workload,
)
from bench.report import Target

TURN = 0.03  # seconds
WARM_UPS = 3  # turns: a recording is made in the first call, and its machine code in a later one

# --- all of them ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A workload, and how many times the peer's time it may take in these kinds of math."""

    workload: Workload
    limits: dict[str, float]


def _small(width: int) -> Network:
    return Network((64, width, 10), batch=32, rows=1_408, scale=0.1, lr=0.05)


def _large(batch: int) -> Network:
    return Network((784, 128, 10), batch=batch, rows=4_096, scale=0.05, lr=0.01)


ROWS: dict[str, Row] = {
    "mlp-64-64": Row(_small(64), {"fast": 0.9, "exact": 1.0}),
    "mlp-64-128": Row(_small(128), {"fast": 0.9, "exact": 1.0}),
    "mlp-784-32": Row(_large(32), {"fast": 1.15}),
    "mlp-784-128": Row(_large(128), {"fast": 1.15}),
    "mlp-784-1024": Row(_large(1_024), {"fast": 1.15}),
    "pendulum": Row(Pendulum(), {"fast": 0.8}),
    "garch": Row(Garch(), {"fast": 0.6}),
    "black-scholes": Row(BlackScholes(), {"fast": 0.7, "exact": 1.8}),
    "lennard-jones": Row(LennardJones(), {"exact": 1.0}),
    "demo": Row(Demo(), {"fast": 1.4}),
}


# --- the race -------------------------------------------------------------------------------


@dataclass
class Samples:
    """Seconds of a piece of work, one of each a round: by the clock, and of the processor."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, side: Side) -> None:
        """Repeat the work for about TURN, and add what a piece took."""
        began, used, calls = time.perf_counter(), time.process_time(), 0
        while not calls or time.perf_counter() - began < TURN:
            side.call()
            calls += 1
        self.wall.append((time.perf_counter() - began) / (calls * side.pieces))
        self.cpu.append((time.process_time() - used) / (calls * side.pieces))


@dataclass
class Times:
    """Samples of both sides; none, with a reason, where not measured."""

    ours: dict[str, Samples] = field(default_factory=dict)
    peer: Samples = field(default_factory=Samples)
    missing: str = ""

    def ratios(self, kind: str) -> list[float]:
        """pygradc's time as a multiple of the peer's, round by round."""
        return _ratios(self.samples(kind).wall, self.peer.wall)

    def cpu_ratios(self, kind: str) -> list[float]:
        """The same of the processor's time: near `ratios`, or the machine had other work to do."""
        return _ratios(self.samples(kind).cpu, self.peer.cpu)

    def samples(self, kind: str) -> Samples:
        return self.ours.get(kind, Samples())


def _ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    return [x / y for x, y in zip(ours, peer)]


def difference(ours: Answer, peer: Answer) -> float:
    """The largest of any part of two answers, relative to the largest number of that part."""
    if len(ours) != len(peer):
        return math.inf
    flat = ([np.ravel(a).tolist(), np.ravel(b).tolist()] for a, b in zip(ours, peer))
    return max(baselines.apart(a, b) for a, b in flat)


def agreeing(workload: Workload, maths: Iterable[str]) -> tuple[dict[str, Side], Side]:
    """pygradc's sides and the peer's, called once.

    Raises:
        ArithmeticError: they don't give the same numbers.
        ImportError: the peer is not installed.
    """
    peer = workload.peer()
    answer = peer.answer(peer.call())
    sides = {kind: workload.ours(kind) for kind in maths}
    for kind, side in sides.items():
        apart = difference(side.answer(side.call()), answer)
        if not apart <= baselines.TOLERANCE:
            raise ArithmeticError(f"{kind} differs from the peer by {apart:.1e}, relative")
    return sides, peer


def race(row: Row, rounds: int) -> Times:
    """Both sides in this process, every second round in the other order."""
    try:
        sides, peer = agreeing(row.workload, row.limits)
    except Exception as problem:  # a peer that fails must not end the other rows
        said = str(problem).strip().splitlines() or [""]
        return Times(missing=f"{type(problem).__name__}: {said[0]}")
    times = Times({kind: Samples() for kind in sides})
    seats = [(side, times.ours[kind]) for kind, side in sides.items()] + [(peer, times.peer)]
    for side, _ in seats:
        for _ in range(WARM_UPS):
            Samples().turn(side)
    for turn in range(rounds):
        for side, samples in seats if turn % 2 else reversed(seats):
            samples.turn(side)
    return times


def measure(names: Iterable[str], rounds: int) -> dict[str, Times]:
    """Each workload in a process of its own, held to one thread."""
    results = {}
    for name in names:
        with recorded.Hall() as hall:
            results[name] = hall.process(name).submit(race, ROWS[name], rounds).result()
    return results


# --- tables ---------------------------------------------------------------------------------


def target(name: str, kind: str, times: Times) -> Target:
    row, ratios = ROWS[name], times.ratios(kind)
    figure = median(ratios) if ratios else math.nan
    return Target(f"{row.workload.title}, {kind}", figure, "times", at_most=row.limits[kind])


def tables(results: dict[str, Times]) -> str:
    """Times, ratios and limits; below them what was not measured, and why."""
    rows, missing = [], []
    for name, times in results.items():
        for kind in ROWS[name].limits:
            goal = target(name, kind, times)
            spreads = [report.spread(s.wall, 1e6) for s in (times.samples(kind), times.peer)]
            ratios = [report.spread(r) for r in (times.ratios(kind), times.cpu_ratios(kind))]
            rows.append([goal.text, *spreads, *ratios, goal.limit, goal.verdict])
        if times.missing:
            missing.append(f"- {ROWS[name].workload.title}: not measured ({times.missing})")
    header = [
        "beside JAX's jit",
        "pygradc, us",
        "the peer, us",
        "ratio",
        "of CPU time",
        "limit",
        "verdict",
    ]
    return "\n".join([report.table(header, rows), *(["", *missing] if missing else [])])


def markdown(results: dict[str, Times]) -> str:
    """The part of RESULTS.md that is about peers."""
    return f"""
## Beside JAX, with limits

`bench/peers.py`: per-sample functions of `Value`s, and the same as vectorised code for JAX (jit,
float64, one thread). Both sides are in one process, and give the same numbers (1e-9, relative)
before they are timed. An epoch is timed as one call of `fit`, or of a jitted scan; all else with
the call from Python. The demo's step is held against C by hand that fuses no multiply-add. A ratio
is taken inside a round; a limit is for the median over the rounds. Where the ratio of CPU times is
far from it, other work on the machine decided: a short call of JAX waits for another thread.

{tables(results)}
"""


# --- the command ----------------------------------------------------------------------------


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="pygradc beside JAX and C, with limits.")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each competitor")
    parser.add_argument("--only", action="append", choices=ROWS, help="just this one; repeatable")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    return args


def main() -> None:
    args = arguments()
    print(tables(measure(args.only or ROWS, args.rounds)))


if __name__ == "__main__":
    main()
