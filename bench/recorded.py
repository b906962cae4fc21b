"""Measure recorded programs: `python bench/recorded.py` prints the tables.

A function of Values that was recorded once and is replayed in C, against tensors and C by hand:
micrograd's demo step, a gradient over 100,000 rows, and what a row, a node, a thread, a wider layer
and the recording itself cost. The competitors are in `baselines.py`, the words for figures in
`report.py`.

Everything that is compared is measured in one run. Each competitor lives in a process of its own,
whose libraries are held to one thread (two where its name says so), and is held against NumPy
before it is timed. Then they take turns; a turn repeats the work for some 30 ms and gives one
sample, the time of one piece of work. Figures are medians over the rounds, with the smallest and
largest sample in brackets. Whoever is not installed is named under the table.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import baselines, report, workloads
from bench.baselines import Rows, Trainer
from bench.measure import timed
from bench.report import Target
from bench.workloads import L2, Case

TURN = 0.03  # seconds
TWO_THREADS = ", 2 threads"
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
ROW_COUNTS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
NODE_COUNTS = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
MATHS = ("exact", "fast")


# --- pygradc's side -------------------------------------------------------------------------


def _model(weights: list[list[list[float]]], activation: str, last: str) -> Any:
    """An `nn.MLP` with these weights."""
    from pygradc import nn

    sizes = [len(weights[0][0]) - 1, *map(len, weights)]
    model = nn.MLP(sizes[0], sizes[1:], activation=activation, output_activation=last)
    for p, number in zip(model.parameters(), workloads.flatten(weights)):
        p.data = number
    return model


def _compile(function: Callable[..., Any], math: str) -> Any:
    """Raises ImportError where this pygradc doesn't record."""
    import pygradc

    try:
        return pygradc.compile(function, math=math)
    except AttributeError as missing:
        raise ImportError(str(missing)) from None


class RecordedStep(Trainer):
    """The demo's step as users write it: a recorded loss, its mean, `backward`, an optimiser."""

    def __init__(self, case: Case, activation: str, math: str) -> None:
        from pygradc import optim

        model = _model(case.weights, activation, "linear")
        parameters = model.parameters()

        def loss(x: Any, y: Any) -> Any:
            return (1 + -y * model(x)).relu() + L2 * sum(p * p for p in parameters)

        self.parameters, self.loss = parameters, _compile(loss, math)
        self.optimizer = optim.SGD(parameters, lr=case.lr)
        self.points, self.labels = np.array(case.points), np.array(case.labels)

    def step(self) -> float:
        total = self.loss.mean(self.points, self.labels)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return float(total.data)

    def weights(self) -> list[float]:
        return [p.data for p in self.parameters]


class RecordedFit(RecordedStep):
    """The same inside `fit`: the whole batch an epoch, the loop is pygradc's."""

    per_call = 100

    def __init__(self, case: Case, activation: str, math: str) -> None:
        import pygradc

        super().__init__(case, activation, math)
        if not hasattr(pygradc, "fit"):
            raise ImportError("this pygradc has no fit")
        self.fit = pygradc.fit

    def run(self, steps: int) -> float:
        count = len(self.labels)
        settings = {"epochs": steps, "batch_size": count, "shuffle": False}
        history = self.fit(self.loss, self.points, self.labels, self.optimizer, **settings)
        last = history[-1]
        return float(getattr(last, "loss", last))

    def step(self) -> float:
        return self.run(1)


class RecordedRows:
    """The rows' gradient: a recorded squared error, summed."""

    def __init__(self, rows: Rows, math: str, workers: int = 1) -> None:
        self.model = _model(rows.weights, "tanh", "tanh")
        self.error = _compile(lambda x, y: (self.model(x) - y) ** 2, math)
        self.points, self.targets = rows.points, rows.targets
        self.how = {"workers": workers} if workers > 1 else {}

    def gradient(self) -> Sequence[float]:
        self.model.zero_grad()
        self.error.sum(self.points, self.targets, **self.how).backward()
        return [p.grad for p in self.model.parameters()]


class Chain:
    """`y = (y * a + b).tanh()`, three nodes a link, for one number.

    With a = 1 and b = 0 gradients fall slowly; they must not reach the subnormals, on which any
    arithmetic takes many times longer.
    """

    def __init__(self, nodes: int) -> None:
        from pygradc import Value

        self.a, self.b, self.links = Value(1.0), Value(0.0), max(1, nodes // 3)
        self.nodes = 3 * self.links

    def __call__(self, y: Any) -> Any:
        a, b = self.a, self.b
        for _ in range(self.links):
            y = (y * a + b).tanh()
        return y

    def gradients(self, function: Callable[[Any], Any]) -> list[float]:
        """Of `function`, which is the chain or a recording of it."""
        self.a.grad = self.b.grad = 0.0
        function(0.5).backward()
        return [self.a.grad, self.b.grad]

    def checked(self, math: str) -> Any:
        """A recording of the chain whose gradients are the chain's own."""
        recorded = _compile(self, math)
        if baselines.apart(self.gradients(recorded), self.gradients(self)) > baselines.TOLERANCE:
            raise ArithmeticError("the recorded chain has other gradients")
        return recorded


class Network:
    """The demo's loss over many samples, unrolled into one function of their coordinates."""

    def __init__(self, nodes: int) -> None:
        from pygradc import live_nodes

        case = workloads.make_case(samples=max(1, nodes // 648))  # nodes a sample
        model = _model(case.weights, "relu", "linear")
        self.points = case.points

        def loss(points: Any) -> Any:
            scores = [model(x) for x in points]
            return sum((1 + -y * s).relu() for y, s in zip(case.labels, scores))

        before = live_nodes()
        total = loss(self.points)
        self.loss, self.nodes = loss, live_nodes() - before
        del total

    def __call__(self, _: Any) -> Any:
        return self.loss(self.points)

    def gradients(self, function: Callable[[Any], Any]) -> None:
        function(self.points).backward()


PYGRADC = {kind: f"pygradc, {kind}" for kind in MATHS}
FIT = {kind: f"pygradc's fit, {kind}" for kind in MATHS}
EAGER = "pygradc, not recorded"

TRAINERS: dict[str, Callable[[Case, str], Trainer]] = {
    **baselines.TRAINERS,
    **{FIT[kind]: partial(RecordedFit, math=kind) for kind in MATHS},
    **{PYGRADC[kind]: partial(RecordedStep, math=kind) for kind in MATHS},
}
ROWS: dict[str, Callable[[Rows], baselines.RowGradient]] = {
    **baselines.ROWS,
    **{PYGRADC[kind]: partial(RecordedRows, math=kind) for kind in MATHS},
    **{PYGRADC[kind] + TWO_THREADS: partial(RecordedRows, math=kind, workers=2) for kind in MATHS},
}


# --- in a competitor's process --------------------------------------------------------------


@dataclass
class Seat:
    """The work of a competitor in this process, and how often it does it in a turn."""

    call: Callable[[], Any]
    pieces: int = 1  # of work in a call
    repeats: int = 1

    def turn(self) -> float:
        """Seconds a piece."""
        seconds = timed(lambda: [self.call() for _ in range(self.repeats)])
        return seconds / (self.repeats * self.pieces)

    def warm_up(self) -> None:
        """Find how many repeats last for a turn."""
        self.call()
        while (seconds := self.turn() * self.repeats * self.pieces) < TURN:
            self.repeats = max(self.repeats + 1, int(self.repeats * min(2.0, TURN / seconds)))


_seats: list[Seat] = []


def take_seat(make: Callable[[], Seat]) -> str:
    """Build a competitor, check it, warm it up. Returns: "" or why it doesn't take part."""
    _seats.clear()
    try:
        seat = make()
        seat.warm_up()
    except Exception as problem:  # one that fails must not end the others' race
        lines = str(problem).strip().splitlines() or [""]
        return f"{type(problem).__name__}: {lines[0]}"
    _seats.append(seat)
    return ""


def take_turn() -> float:
    return _seats[0].turn()


def leave_seat() -> None:
    _seats.clear()


def wide_case(width: int) -> Case:
    """The demo's case with wider layers: weights and rate so small that nothing diverges."""
    case = workloads.make_case(hidden=(width, width))
    if width == 16:
        return case
    scaled = [[[w / math.sqrt(len(row)) for w in row] for row in layer] for layer in case.weights]
    return replace(case, weights=scaled, lr=1e-4)


def seat_of_trainer(name: str, activation: str, width: int) -> Seat:
    trainer = baselines.checked_trainer(TRAINERS[name], wide_case(width), activation)
    return Seat(lambda: trainer.run(trainer.per_call), trainer.per_call)


def seat_of_rows(name: str, count: int) -> Seat:
    competitor = baselines.checked_rows(ROWS[name], baselines.make_rows(count))
    return Seat(competitor.gradient)


def seat_of_chain(name: str, nodes: int) -> Seat:
    chain = Chain(nodes)
    kinds = {full: kind for kind, full in PYGRADC.items()}
    function = chain.checked(kinds[name]) if name in kinds else chain
    return Seat(lambda: chain.gradients(function))


@dataclass
class Recording:
    """Nanoseconds a node of one function: run, swept, recorded, replayed."""

    nodes: int
    run: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    record: list[float] = field(default_factory=list)  # the first call: run, passes, a replay
    replay: list[float] = field(default_factory=list)  # a later call, gradients included


def record_anew(make: Callable[[int], Any], nodes: int, rounds: int) -> Recording:
    """A function of so many nodes, recorded anew each round. Raises ImportError as `_compile`."""
    function = make(nodes)
    argument = getattr(function, "points", 0.5)
    result = Recording(function.nodes)
    scale = 1e9 / function.nodes
    for _ in range(rounds + 1):
        result.run.append(scale * timed(lambda: function(argument)))
        y = function(argument)
        result.backward.append(scale * timed(y.backward))
        del y
        recorded = _compile(getattr(function, "loss", function), "exact")
        result.record.append(scale * timed(partial(recorded, argument)))
        result.replay.append(scale * timed(partial(function.gradients, recorded)))
    for samples in (result.run, result.backward, result.record, result.replay):
        del samples[0]  # memory was cold
    return result


# --- the race -------------------------------------------------------------------------------


@dataclass
class Times:
    """Seconds of a piece of work, one sample a round; empty, with a reason, where not measured."""

    samples: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def median(self) -> float:
        return median(self.samples) if self.samples else math.nan


Race = dict[str, Times]


@contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    """What a process that starts meanwhile inherits."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Hall:
    """A process for each competitor, which stays from race to race."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._processes: dict[str, ProcessPoolExecutor] = {}

    def __enter__(self) -> Hall:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def process(self, name: str) -> ProcessPoolExecutor:
        if name not in self._processes:
            threads = 2 if name.endswith(TWO_THREADS) else 1
            process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            with environment(baselines.thread_limits(threads)):
                self._processes[name] = self._stack.enter_context(process)
                process.submit(os.getpid).result()
        return self._processes[name]

    def race(self, seats: dict[str, Callable[[], Seat]], rounds: int) -> Race:
        """Everybody sits down, then all take turns, every second round in the other order."""
        times: Race = {}
        for name, make in seats.items():
            times[name] = Times(missing=self.process(name).submit(take_seat, make).result())
            if times[name].missing:
                print(f"{name}: not measured ({times[name].missing})", file=sys.stderr)
        ready = [name for name in seats if not times[name].missing]
        for turn in range(rounds):
            for name in ready if turn % 2 else reversed(ready):
                times[name].samples.append(self.process(name).submit(take_turn).result())
        for name in ready:
            self.process(name).submit(leave_seat).result()
        return times


def steps(hall: Hall, rounds: int) -> dict[str, Race]:
    """The demo's step: for each activation, seconds a step of each competitor."""
    return {
        activation: hall.race(
            {name: partial(seat_of_trainer, name, activation, 16) for name in TRAINERS}, rounds
        )
        for activation in ("relu", "tanh")
    }


def wide_layers(hall: Hall, rounds: int, widths: Iterable[int]) -> dict[int, Race]:
    """The step with wider hidden layers: for each width, seconds a step."""
    names = (
        *PYGRADC.values(),
        baselines.NUMPY,
        baselines.TORCH,
        baselines.TORCH_COMPILED,
        baselines.JAX,
    )
    return {
        width: hall.race(
            {name: partial(seat_of_trainer, name, "relu", width) for name in names}, rounds
        )
        for width in widths
    }


def many_rows(hall: Hall, rounds: int, count: int = 100_000) -> Race:
    """Seconds of the gradient over all rows."""
    return hall.race({name: partial(seat_of_rows, name, count) for name in ROWS}, rounds)


def row_costs(hall: Hall, rounds: int, counts: Iterable[int]) -> dict[int, Race]:
    """For each number of rows, seconds of the gradient over them."""
    ours = [PYGRADC[kind] + threads for kind in MATHS for threads in ("", TWO_THREADS)]
    names = (*ours, baselines.C_LIBM, baselines.C_VECTOR, baselines.NUMPY, baselines.JAX)
    return {
        count: hall.race({name: partial(seat_of_rows, name, count) for name in names}, rounds)
        for count in counts
    }


def node_costs(hall: Hall, rounds: int, counts: Iterable[int]) -> dict[int, Race]:
    """For each length of the chain, seconds of its value and gradients, for one row."""
    names = (*PYGRADC.values(), EAGER)
    return {
        count: hall.race({name: partial(seat_of_chain, name, count) for name in names}, rounds)
        for count in counts
    }


def second_core(hall: Hall, rounds: int) -> list[float]:
    """How much longer two processes take at once than one alone: 1 with two cores, 2 with one.

    Figures for two threads mean something only where this is near 1.
    """
    first, second = hall.process("one core"), hall.process("another core")
    ratios = []
    for _ in range(rounds):
        alone = first.submit(spin).result()
        both = [first.submit(spin), second.submit(spin)]
        ratios.append(max(spinning.result() for spinning in both) / alone)
    return ratios


def spin() -> float:
    """Seconds of a loop that does nothing."""
    return timed(lambda: [None for _ in range(1_000_000)])


# --- all of it ------------------------------------------------------------------------------


@dataclass
class Results:
    """What one run measured; None where it did not."""

    steps: dict[str, Race] | None = None
    rows: Race | None = None
    row_costs: dict[int, Race] | None = None
    node_costs: dict[int, Race] | None = None
    wide: dict[int, Race] | None = None
    recordings: dict[str, Recording] = field(default_factory=dict)
    row_count: int = 100_000
    cores: list[float] = field(default_factory=list)  # see `second_core`


PARTS = ("step", "rows", "row-costs", "node-costs", "wide", "recording")


def measure(only: Iterable[str], rounds: int, quick: bool = False) -> Results:
    """Measure what is asked for, of PARTS; `quick` leaves the large sizes out."""
    wanted, results = set(only), Results()
    with Hall() as hall:
        results.cores += second_core(hall, rounds)
        if "step" in wanted:
            results.steps = steps(hall, rounds)
        if "rows" in wanted:
            results.rows = many_rows(hall, rounds, results.row_count)
        if "row-costs" in wanted:
            results.row_costs = row_costs(hall, rounds, ROW_COUNTS[: 5 if quick else None])
        if "node-costs" in wanted:
            results.node_costs = node_costs(hall, rounds, NODE_COUNTS[: 4 if quick else None])
        if "wide" in wanted:
            results.wide = wide_layers(hall, rounds, WIDTHS[: 3 if quick else None])
        if "recording" in wanted:
            results.recordings = _recordings(hall, 100_000 if quick else 1_000_000, rounds)
        results.cores += second_core(hall, rounds)
    return results


def _recordings(hall: Hall, nodes: int, rounds: int) -> dict[str, Recording]:
    kinds = {"the demo's loss, unrolled": Network, "a chain of tanh": Chain}
    try:
        return {
            name: hall.process(EAGER).submit(record_anew, make, nodes, rounds).result()
            for name, make in kinds.items()
        }
    except ImportError as missing:
        print(f"recording: not measured ({missing})", file=sys.stderr)
        return {}


# --- targets --------------------------------------------------------------------------------


def _median(race: Race | None, name: str) -> float:
    return race[name].median if race and name in race else math.nan


def _c_by_hand(race: Race | None) -> float:
    """The quickest C, whatever its flags."""
    names = (baselines.C_LIBM, baselines.C_VECTOR, baselines.C_FAST)
    return min(_median(race, name) for name in names)


def targets(results: Results) -> list[Target]:
    """What was promised of recorded programs.

    Microseconds were promised for a machine where C by hand takes 2.9 us a step and 1.1 ms for the
    rows. Beside them stands what that is in multiples of C, which holds, or doesn't, anywhere.
    """
    relu, tanh = ((results.steps or {}).get(kind) for kind in ("relu", "tanh"))
    rows, network = results.rows, results.recordings.get("the demo's loss, unrolled")
    exact, fast = PYGRADC["exact"], PYGRADC["fast"]
    step, fitted = _median(relu, exact), _median(relu, FIT["exact"])
    beyond = [r - e for r, e in zip(network.record, network.run)] if network else [math.nan]
    return [
        Target("one step from Python, ReLU", 1e6 * step, "us", at_most=25),
        Target("beside C by hand", step / _c_by_hand(relu), "times", at_most=8.6),
        Target("JAX's jit beside it", _median(relu, baselines.JAX) / step, "times", at_least=1),
        Target("NumPy beside it", _median(relu, baselines.NUMPY) / step, "times", at_least=1),
        Target("one step inside `fit`, ReLU", 1e6 * fitted, "us", at_most=15),
        Target("beside C by hand", fitted / _c_by_hand(relu), "times", at_most=5.2),
        Target("tanh, fast, beside ReLU", _median(tanh, fast) / step, "times", at_most=1.5),
        Target("100,000 rows, fast", 1e3 * _median(rows, fast), "ms", at_most=3.5),
        Target("beside C by hand", _median(rows, fast) / _c_by_hand(rows), "times", at_most=3.2),
        Target("recording, beyond running", median(beyond), "ns a node", at_most=1000),
        Target(
            "recording a million nodes",
            median(network.record) * network.nodes / 1e9 if network else math.nan,
            "s",
            at_most=3,
        ),
        Target(
            "replaying them for one row",
            median(network.replay) if network else math.nan,
            "ns a node",
            at_most=6,
        ),
    ]


def target_table(results: Results) -> str:
    rows = [[t.text, t.limit, report.number(t.figure), t.verdict] for t in targets(results)]
    return report.table(["recorded programs", "limit", "here", "verdict"], rows)


# --- tables ---------------------------------------------------------------------------------


def step_table(races: dict[str, Race]) -> str:
    names = next(iter(races.values()))
    rows = [
        [name, *(report.spread(race[name].samples, 1e6) for race in races.values())]
        for name in names
    ]
    labels = {"relu": "ReLU", "tanh": "tanh"}
    header = ["one training step, us", *(labels[activation] for activation in races)]
    return report.table(header, rows)


def rows_table(race: Race, count: int) -> str:
    rows = [
        [name, report.spread(t.samples, 1e3), report.number(1e9 * t.median / count)]
        for name, t in race.items()
    ]
    return report.table([f"gradient over {count:,} rows", "ms", "ns a row"], rows)


def cost_table(what: str, races: dict[int, Race], scale: Callable[[int], float]) -> str:
    """Sizes downwards, competitors across; seconds are multiplied by `scale(size)`."""
    names = list(next(iter(races.values())))
    rows = [
        [f"{size:,}", *(report.spread(race[name].samples, scale(size)) for name in names)]
        for size, race in races.items()
    ]
    return report.table([what, *names], rows)


def recording_table(recordings: dict[str, Recording]) -> str:
    rows = [
        [
            f"{name}: {r.nodes:,} nodes",
            *(report.spread(samples) for samples in (r.run, r.backward, r.record, r.replay)),
        ]
        for name, r in recordings.items()
    ]
    header = ["ns a node, one row", "run eagerly", "its backward", "first call", "later call"]
    return report.table(header, rows)


def absent(results: Results) -> str:
    """A line for each competitor that some race was without."""
    races = [results.rows or {}]
    for group in (results.steps, results.row_costs, results.node_costs, results.wide):
        races += list((group or {}).values())
    why = {name: t.missing for race in races for name, t in race.items() if t.missing}
    return "\n".join(f"- {name} is missing somewhere: {reason}" for name, reason in why.items())


def tables(results: Results) -> str:
    """Targets, all that was measured, and at the end who was missing."""
    parts = [target_table(results)]
    if results.steps:
        parts.append(step_table(results.steps))
    if results.rows:
        parts.append(rows_table(results.rows, results.row_count))
    if results.row_costs:
        what = "rows; ns a row, MLP 3-4-4-1"
        parts.append(cost_table(what, results.row_costs, lambda rows: 1e9 / rows))
    if results.node_costs:
        what = "nodes; ns a node, one row"
        parts.append(cost_table(what, results.node_costs, _per_node))
    if results.wide:
        what = "hidden width; us a step, 100 samples"
        parts.append(cost_table(what, results.wide, lambda _: 1e6))
    if results.recordings:
        parts.append(recording_table(results.recordings))
    parts.append(
        "Two processes at once, before and after, took "
        f"{report.spread(results.cores)} times as long as one alone; figures for two threads "
        "mean something where this is near 1."
    )
    return "\n\n".join([*parts, absent(results)]).rstrip()


def markdown(results: Results, plotted: bool) -> str:
    """The part of RESULTS.md that is about recorded programs."""
    picture = "\n![cost of a row and of a node](recorded.png)\n" if plotted else ""
    return f"""
## Recorded programs

The step is the demo's again, forward, backward and SGD, called from Python each time but for `fit`
and JAX's scan; the rows are those of a squared error of MLP 3-4-4-1, tanh. Each competitor has a
process of its own, held to one thread where its name doesn't say otherwise, gets its data in the
layout it likes best, and is held against NumPy (1e-9) before it is timed.

{tables(results)}

Where it loses: wide layers. A recorded program goes through all weights again every 32 rows, and
fuses no multiply-adds, which exact bits forbid. From a hidden width of some 100 on, use tensors.
{picture}"""


def _per_node(count: int) -> float:
    return 1e9 / (3 * max(1, count // 3))


# --- the plot -------------------------------------------------------------------------------


def plot(results: Results, path: Path) -> bool:
    """Cost of a row and of a node against their number, log scales.

    Returns: False, and no file, without matplotlib or figures.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    panels = [
        (what, races, scale)
        for what, races, scale in (
            ("row", results.row_costs, lambda rows: 1e9 / rows),
            ("node", results.node_costs, _per_node),
        )
        if races and any(t.samples for race in races.values() for t in race.values())
    ]
    if not panels:
        return False
    figure = Figure(figsize=(5.5 * len(panels), 4.2), layout="constrained")
    for axes, (what, races, scale) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels
    ):
        _draw_costs(axes, what, races, scale)
    figure.savefig(path, dpi=120)
    return True


def _draw_costs(
    axes: Any, what: str, races: dict[int, Race], scale: Callable[[int], float]
) -> None:
    for name in next(iter(races.values())):
        points = [(n, scale(n), race[name].samples) for n, race in races.items()]
        points = [point for point in points if point[2]]
        if not points:
            continue
        sizes = [n for n, _, _ in points]
        style = "-" if name.startswith("pygradc") else "--"
        (line,) = axes.plot(
            sizes, [k * median(s) for _, k, s in points], style, marker=".", label=name
        )
        low, high = ([k * f(s) for _, k, s in points] for f in (min, max))
        axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel=f"{what}s", ylabel=f"ns a {what}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


# --- the command ----------------------------------------------------------------------------


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmarks of recorded programs.")
    parser.add_argument("--quick", action="store_true", help="a rough look: small sizes, 3 rounds")
    parser.add_argument("--rounds", type=int, help="turns of each competitor (default 9, quick 3)")
    parser.add_argument("--only", action="append", choices=PARTS, help="just this part; repeatable")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the costs into this file")
    args = parser.parse_args(argv)
    args.rounds = args.rounds or (3 if args.quick else 9)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    return args


def main() -> None:
    args = arguments()
    results = measure(args.only or PARTS, args.rounds, args.quick)
    print(tables(results))
    if args.plot and plot(results, args.plot):
        print(f"wrote {args.plot}")


if __name__ == "__main__":
    main()
