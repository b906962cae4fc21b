"""Is this build slower than another one? `python bench/run.py --against FOLDER` says so.

FOLDER is another checkout, built for this Python (`python setup.py build_ext --inplace`). The
figures are those of the other benchmarks; what is timed is this folder's bench, with one pygradc or
the other.

Invariant: a ratio compares what was measured within a second. A round starts three fresh processes:
this build, the other, and the other once more, each with a copy of its package; so where memory
happens to lie differs from round to round, for each of them. (It matters: one file of the extension
ran libm's functions 12% slower than another with the same bytes.) Figure by figure they take turns,
and each one's sample is the best of its turns: what else the machine does only adds. A figure's
ratio is the median over the rounds of this/other; the other build's ratio to itself says what a
ratio is worth here.
A figure is slower if its ratio is above LIMIT by more than that spread, in two measurements: with
some thirty figures, chance alone would find one now and then.
Cost: 9 rounds take some 6 minutes, and at most 3 more for figures that are measured again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench import baselines, measure, microgpt, recorded, report, workloads

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1.03
TURNS = 5  # of each process, a figure and round
FEWEST_SAMPLES = 3  # for a spread
LEAST_PARTS = 3  # calls in a turn, where only a part of each is timed
THIS, OTHER, AGAIN = "this", "other", "other again"
SIDES = (THIS, OTHER, AGAIN)

Sampler = Callable[[], float]  # one turn: seconds a piece of work


class Unbuilt(Exception):
    """The folder holds no pygradc that this Python can import."""


# --- the figures, in a worker's process -----------------------------------------------------


def whole(call: Callable[[], Any], pieces: int = 1) -> Sampler:
    """All of a call is timed, as `recorded.Seat` does it."""
    seat = recorded.Seat(call, pieces)
    seat.warm_up()
    return seat.turn


def part(prepare: Callable[[], Any], timed: Callable[[Any], Any], pieces: int = 1) -> Sampler:
    """Only what is done with what was prepared is timed; its release isn't."""

    def turn() -> float:
        spent, count = 0.0, 0
        while count < LEAST_PARTS or spent < recorded.TURN / 3:
            subject = prepare()
            spent += measure.timed(partial(timed, subject))
            count += 1
        return spent / (count * pieces)

    turn()
    return turn


def multiplication(loop: Callable[[int, Any, Any], Any]) -> Sampler:
    from pygradc import Value

    count, own = 10_000, measure.own_copy(loop)
    x, y = Value(1.5), Value(2.5)
    return whole(lambda: own(count, x, y), count)


def eager_step(name: str) -> Sampler:
    return whole(workloads.ENGINES[name](workloads.make_case()).step)


def eager_backward() -> Sampler:
    from pygradc import Value

    engine = workloads.OpByOp(Value, workloads.make_case())
    return part(engine.forward, lambda total: total.backward())


def links(count: int) -> Any:
    from pygradc import Value

    a, b, y = Value(1.0 - 1e-6), Value(1e-6), Value(0.5)
    for _ in range(count):
        y = y * a + b
    return y


def chain(count: int = 100_000) -> Sampler:
    """Its way back, and its release."""

    def sweep_and_drop(held: list[Any]) -> None:
        held.pop().backward()

    return part(lambda: [links(count)], sweep_and_drop, 2 * count)


def recorded_step(trainer: type[recorded.RecordedStep], activation: str, math: str) -> Sampler:
    return whole_steps(trainer(workloads.make_case(), activation, math))


def wide_step(math: str, width: int = 64) -> Sampler:
    return whole_steps(recorded.RecordedStep(recorded.wide_case(width), "relu", math))


def whole_steps(trainer: recorded.RecordedStep) -> Sampler:
    return whole(lambda: trainer.run(trainer.per_call), trainer.per_call)


def minibatches(math: str) -> Sampler:
    """An epoch of `fit` over shuffled batches of 10 rows."""
    import pygradc

    trainer = recorded.RecordedFit(workloads.make_case(), "relu", math)
    adam = pygradc.optim.Adam(trainer.parameters, lr=1e-4)
    data = trainer.loss, trainer.points, trainer.labels, adam
    return whole(lambda: pygradc.fit(*data, epochs=10, batch_size=10, seed=1), 100)


def many_rows(math: str, ask: str, count: int = 100_000) -> Sampler:
    """`sum` with its gradients, `map`, or each row's `gradients`."""
    rows = baselines.make_rows(count)
    competitor = recorded.RecordedRows(rows, math)
    if ask == "sum":
        return whole(competitor.gradient)
    call = getattr(competitor.error, ask)
    return whole(lambda: call(rows.points, rows.targets))


def one_row(nodes: int) -> Sampler:
    return recorded_seat(recorded.seat_of_chain(recorded.PYGRADC["exact"], nodes))


def second_order(ask: str, count: int = 1_000) -> Sampler:
    """`jvp` or `hvp`."""
    rows = baselines.make_rows(count)
    competitor = recorded.RecordedRows(rows, "exact")
    direction = [1.0] * len(competitor.model.parameters())
    call = getattr(competitor.error, ask)
    return whole(lambda: call(direction, rows.points, rows.targets))


def recording(make: Callable[[int], Any], nodes: int) -> Sampler:
    """A function's first call: run, passes, a replay."""
    function = make(nodes)
    argument = getattr(function, "points", 0.5)

    def compiled() -> Any:
        return recorded._compile(getattr(function, "loss", function), "exact")

    return part(compiled, lambda new: new(argument), function.nodes)


def gpt(name: str) -> Sampler:
    return recorded_seat(microgpt.seat(name, 2))


def recorded_seat(seat: recorded.Seat) -> Sampler:
    seat.warm_up()
    return seat.turn


def fresh_interpreter(*lines: str, folder: str | None = None) -> Sampler:
    """A whole interpreter that runs these lines, with this worker's pygradc."""
    import pygradc

    package = str(Path(str(pygradc.__file__)).parent.parent)
    code = "; ".join([f"import sys; sys.path.insert(0, {package!r})", *lines])
    command = [sys.executable, "-c", code]
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # or the package would be compiled each time
    how = {"cwd": folder or tempfile.gettempdir(), "env": env, "capture_output": True}
    return whole(partial(subprocess.run, command, check=True, **how))  # type: ignore[call-overload]


_program_folders = ExitStack()  # which end with the worker


def run_command() -> Sampler:
    """`python -m pygradc run` on a program that has a class Value of its own."""
    folder = _program_folders.enter_context(tempfile.TemporaryDirectory())
    clients = ROOT / "tests" / "clients"
    for name, source in (("engine", "engines/closures"), ("moons", "programs/moons")):
        text = (clients / f"{source}.py").read_text(encoding="utf-8")
        (Path(folder) / f"{name}.py").write_text(text, encoding="utf-8")
    main = "from pygradc.__main__ import main", "sys.exit(main(['run', 'moons.py']))"
    return fresh_interpreter(*main, folder=folder)


def _recorded_figures() -> dict[str, Callable[[], Sampler]]:
    figures: dict[str, Callable[[], Sampler]] = {}
    for math in recorded.MATHS:
        for activation in ("relu", "tanh"):
            figures[f"recorded step from Python, {activation}, {math}"] = partial(
                recorded_step, recorded.RecordedStep, activation, math
            )
        figures[f"step in fit, {math}"] = partial(recorded_step, recorded.RecordedFit, "relu", math)
        figures[f"step in fit, batches of 10, Adam, {math}"] = partial(minibatches, math)
        figures[f"recorded step, width 64, {math}"] = partial(wide_step, math)
        for ask in ("sum", "map", "gradients"):
            figures[f"100,000 rows, {ask}, {math}"] = partial(many_rows, math, ask)
    return figures


FIGURES: dict[str, Callable[[], Sampler]] = {
    "a * b, dropped": partial(multiplication, measure.drop),
    "a * b, kept and released": partial(multiplication, measure.keep),
    "eager step, op by op": partial(eager_step, workloads.OP_BY_OP),
    "eager step, MLP per sample": partial(eager_step, workloads.USER_LOOP),
    "backward, the demo's graph": eager_backward,
    "backward and release, a chain, a node": chain,
    **_recorded_figures(),
    "one row, 10 nodes, exact": partial(one_row, 10),
    "one row, 10,000 nodes, exact": partial(one_row, 10_000),
    "jvp, 1,000 rows": partial(second_order, "jvp"),
    "hvp, 1,000 rows": partial(second_order, "hvp"),
    "recording the demo's loss, a node": partial(recording, recorded.Network, 30_000),
    "recording a chain, a node": partial(recording, recorded.Chain, 30_000),
    "microgpt, op by op": partial(gpt, microgpt.EAGER),
    "microgpt, recorded": partial(gpt, microgpt.RECORDED),
    "import pygradc": partial(fresh_interpreter, "import pygradc"),
    "the command run": run_command,
}
"""Name to factory; a factory warms its work up, and returns what takes a turn."""


# --- a worker -------------------------------------------------------------------------------

# pygradc comes from one folder, bench from another; what is imported first has its path.
WORKER = """
import sys
sys.path.insert(0, {folder!r})
import pygradc
sys.path[0] = {root!r}
from bench import against
against.serve()
"""


def serve() -> None:
    """Answer the parent, a line of JSON for each of its lines, until there are no more.

    `prepare NAME` answers "" or why the figure can't be measured; `turn` seconds, or a reason.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anybody prints
    sampler: Sampler | None = None

    def answer(line: str) -> Any:
        nonlocal sampler
        command, _, name = line.partition(" ")
        if command == "where":
            return str(sys.modules["pygradc"].__file__)
        if command == "prepare":
            sampler = None
            sampler = FIGURES[name]()
            return ""
        assert sampler is not None
        return sampler()

    with _program_folders:
        for line in sys.stdin:
            try:
                reply = answer(line.rstrip("\n"))
            except Exception as problem:  # a figure that one build hasn't must not end the others
                reply = f"{type(problem).__name__}: {problem}".splitlines()[0]
            print(json.dumps(reply), file=answers, flush=True)


class Worker:
    """A process with a copy of a folder's pygradc.

    Raises:
        Unbuilt: there is none that this Python can import.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = tempfile.TemporaryDirectory()
        place = Path(self.copy.name).resolve()
        if (folder / "pygradc").is_dir():
            shutil.copytree(folder / "pygradc", place / "pygradc")
        code = WORKER.format(folder=str(place), root=str(ROOT))
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        with recorded.environment(baselines.thread_limits(1)):
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.said,
                text=True,
                cwd=tempfile.gettempdir(),
            )
        try:
            where = self.ask("where")
            if Path(where).resolve().parent.parent != place:
                raise Unbuilt(f"{folder}: holds no pygradc; {where} was imported")
        except BaseException:
            self.close()
            raise

    def ask(self, line: str) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(line + "\n")
            stdin.flush()
            reply = stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            raise Unbuilt(f"{self.folder}: {self._last_words()}")
        return json.loads(reply)

    def _last_words(self) -> str:
        self.process.wait()
        self.said.seek(0)
        return (self.said.read().strip().splitlines() or ["a worker ended without a word"])[-1]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Its input ends, and so does it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()
        self.said.close()
        self.copy.cleanup()


# --- ratios ---------------------------------------------------------------------------------


@dataclass
class Figure:
    """Seconds of each side, one sample a round; or why there are none."""

    samples: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    missing: str = ""

    def _ratios(self, side: str) -> list[float]:
        return [a / b for a, b in zip(self.samples[side], self.samples[OTHER])]

    @property
    def ratio(self) -> float:
        """This build's time in multiples of the other's."""
        return median(self._ratios(THIS))

    @property
    def itself(self) -> float:
        """The other build's time in multiples of its own."""
        return median(self._ratios(AGAIN))

    @property
    def spread(self) -> float:
        """How far the other build is from itself: the distance of its ratio from 1, or half of the
        interquartile range, whichever is larger.
        """
        ratios = self._ratios(AGAIN)
        off = abs(median(ratios) - 1.0)
        if len(ratios) < FEWEST_SAMPLES:
            return off
        low, _, high = quantiles(ratios, n=4, method="inclusive")
        return max(off, (high - low) / 2)

    @property
    def slower(self) -> bool:
        return not self.missing and self.ratio > LIMIT + self.spread


def measure_round(
    figures: dict[str, Figure], folders: dict[str, Path], names: Iterable[str], turn: int
) -> None:
    """One more sample of each side for each figure, from fresh processes."""
    with ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(folder)) for side, folder in folders.items()}
        for i, name in enumerate(names):
            figure = figures[name]
            if figure.missing:
                continue
            first = (turn + i) % len(SIDES)
            order = [*SIDES[first:], *SIDES[:first]]
            best, figure.missing = _samples(workers, name, order)
            for side, seconds in best.items():
                figure.samples[side].append(seconds)


def _samples(
    workers: dict[str, Worker], name: str, order: Sequence[str]
) -> tuple[dict[str, float], str]:
    """Each side's best turn; or nothing, and why."""
    for side in order:
        reason = workers[side].ask(f"prepare {name}")
        if reason:
            return {}, f"{side}: {reason}"
    turns: dict[str, list[float]] = {side: [] for side in order}
    for i in range(TURNS):
        for side in order if i % 2 else reversed(order):
            seconds = workers[side].ask("turn")
            if isinstance(seconds, str):
                return {}, f"{side}: {seconds}"
            turns[side].append(seconds)
    return {side: min(samples) for side, samples in turns.items()}, ""


def compare(this: Path, other: Path, rounds: int, names: Sequence[str]) -> dict[str, Figure]:
    """Measure these figures of two builds.

    Raises:
        Unbuilt: a folder has no pygradc that this Python can import.
    """
    figures = {name: Figure() for name in names}
    folders = {THIS: this, OTHER: other, AGAIN: other}
    for turn in range(rounds):
        measure_round(figures, folders, names, turn)
    return figures


# --- the report -----------------------------------------------------------------------------


def chosen(words: Sequence[str]) -> list[str]:
    """The figures whose names hold one of these words; all, without words."""
    return [name for name in FIGURES if not words or any(word in name for word in words)]


def verdict(figure: Figure) -> str:
    if figure.missing:
        return f"not measured ({figure.missing})"
    return "**slower**" if figure.slower else "holds"


def table(figures: dict[str, Figure]) -> str:
    rows = []
    for name, figure in figures.items():
        if figure.missing:
            rows.append([name, "-", "-", "-", "-", verdict(figure)])
            continue
        times = (f"{1e6 * median(figure.samples[side]):.4g}" for side in (THIS, OTHER))
        itself = f"{figure.itself:.3f} ± {figure.spread:.3f}"
        rows.append([name, *times, f"{figure.ratio:.3f}", itself, verdict(figure)])
    header = ["us, median", "this", "other", "this/other", "other/itself", f"at most {LIMIT}"]
    return report.table(header, rows)


def run(other: Path, rounds: int, words: Sequence[str]) -> int:
    """Print the figures of this build and another. Returns: 0; 1 if one is slower or missing in
    this build, 2 if a folder isn't built.
    """
    import pygradc

    this = Path(str(pygradc.__file__)).resolve().parent.parent
    print(f"this: {this}\nother: {other.resolve()}", flush=True)
    try:
        figures = compare(this, other, rounds, chosen(words))
        doubtful = [name for name, figure in figures.items() if figure.slower]
        print(table(figures), flush=True)
        if doubtful:
            print("\nmeasured again:", flush=True)
            figures.update(compare(this, other, rounds, doubtful))
            print(table({name: figures[name] for name in doubtful}), flush=True)
    except Unbuilt as problem:
        print(f"against: {problem}", file=sys.stderr)
        return 2
    slower = [name for name, figure in figures.items() if figure.slower]
    lost = [name for name, figure in figures.items() if figure.missing.startswith(f"{THIS}: ")]
    print(f"\nslower: {', '.join(slower) or 'none'}; lost: {', '.join(lost) or 'none'}")
    return 1 if slower or lost else 0
