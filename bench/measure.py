"""What is timed, and how. Nothing here runs in the process of `run.py`.

The garbage collector's work depends on everything that lives in a process: a library imported for
one competitor slows another (PyTorch's objects double the time of slots pure Python). So `run.py`
holds the race twice, with a process for each competitor and with one for all, and the competitors
take turns; one works while the others wait.

Times are lists of samples, so that the report can take medians and show the spread.
"""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FunctionType
from typing import Any

from bench import workloads

ROOT = str(Path(__file__).resolve().parent.parent)
TURN = 0.1  # seconds: how long a fast competitor may repeat its step before the next one's turn
MOST_REPEATS = 50
WARM_UP = 1.0  # seconds, or MOST_WARM_STEPS: memory that is freed and reused settles by then
MOST_WARM_STEPS = 300


def timed(f: Callable[[], Any]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


# --- one training step ----------------------------------------------------------------------


@dataclass
class Seat:
    """A competitor that this process holds, and how many steps it takes in a turn."""

    engine: workloads.Engine
    collect: bool
    repeats: int = 1

    def turn(self) -> list[float]:
        """Seconds of each step. With `collect` false, garbage waits until after the turn."""
        if not self.collect:
            gc.disable()
        samples = [timed(self.engine.step) for _ in range(self.repeats)]
        if not self.collect:
            gc.enable()
            gc.collect()
        return samples

    def warm_up(self) -> None:
        samples = self.turn()
        while sum(samples) < WARM_UP and len(samples) < MOST_WARM_STEPS:
            samples += self.turn()
        self.repeats = max(1, min(MOST_REPEATS, int(TURN / median(samples))))


_seats: dict[tuple[str, bool], Seat] = {}


def take_seat(name: str, collect: bool) -> str:
    """Build a competitor and warm it up. Returns: "" or why it is not installed."""
    try:
        seat = Seat(workloads.ENGINES[name](workloads.make_case()), collect)
    except ImportError as missing:
        return str(missing) or "ImportError"
    seat.warm_up()
    _seats[name, collect] = seat
    return ""


def take_turn(name: str, collect: bool) -> list[float]:
    return _seats[name, collect].turn()


# --- one multiplication ---------------------------------------------------------------------


def drop(count: int, x: Any, y: Any) -> None:
    for _ in range(count):
        x * y


def keep(count: int, x: Any, y: Any) -> list[Any]:
    results = [None] * count
    for i in range(count):
        results[i] = x * y
    return results


def own_copy(f: Any) -> Any:
    """The same function with bytecode of its own.

    The interpreter specialises bytecode for the types that it meets, so sharing it would let one
    kind of operand slow another.
    """
    return FunctionType(f.__code__.replace(), f.__globals__)


@dataclass
class Multiplication:
    """Nanoseconds of `x * y` with its loop: result dropped, kept in a list, kept and released."""

    dropped: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    released: list[float] = field(default_factory=list)

    def sample(self, loops: tuple[Any, Any], count: int, x: Any, y: Any) -> None:
        dropping, keeping = loops
        scale = 1e9 / count
        self.dropped.append(scale * timed(lambda: dropping(count, x, y)))
        start = time.perf_counter()
        results = keeping(count, x, y)
        middle = time.perf_counter()
        del results
        end = time.perf_counter()
        self.kept.append(scale * (middle - start))
        self.released.append(scale * (end - start))


def multiplications(samples: int, count: int = 100_000) -> dict[str, Multiplication]:
    """Plain floats, pygradc and the base, taking turns. Raises ImportError without pygradc."""
    from bench import pure
    from pygradc import Value

    kinds: dict[str, Callable[[float], Any]] = {
        "float": float,
        "pygradc": Value,
        workloads.BASE: pure.Value,
    }
    loops = {kind: (own_copy(drop), own_copy(keep)) for kind in kinds}
    times = {kind: Multiplication() for kind in kinds}
    for _ in range(samples):
        for kind, make in kinds.items():
            times[kind].sample(loops[kind], count, make(1.5), make(2.5))
    return times


# --- a graph: build, backward, release -----------------------------------------------------


@dataclass
class Graph:
    """Nanoseconds a node, and bytes a node where they were measured."""

    nodes: int
    build: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    release: list[float] = field(default_factory=list)
    built_bytes: float = math.nan
    peak_bytes: float = math.nan

    def add(self, build: float, backward: float, release: float) -> None:
        for samples, seconds in (
            (self.build, build),
            (self.backward, backward),
            (self.release, release),
        ):
            samples.append(1e9 * seconds / self.nodes)


def demo_graph(samples: int, warm_up: int = MOST_WARM_STEPS) -> Graph:
    """The demo step's graph, rebuilt for each sample in one process, so memory is warm.

    As in the race, samples start when freed memory has settled.
    """
    from pygradc import Value, live_nodes

    case, empty = workloads.make_case(), live_nodes()
    engine = workloads.OpByOp(Value, case)
    graph = None
    for sample in range(warm_up + samples):
        start = time.perf_counter()
        total = engine.forward()
        built = time.perf_counter()
        nodes = live_nodes() - empty
        backward = timed(total.backward)
        dropped = time.perf_counter()
        del total
        release = time.perf_counter() - dropped
        graph = graph or Graph(nodes)
        assert nodes == graph.nodes, "the graph of the last step was not released"
        if sample >= warm_up:
            graph.add(built - start, backward, release)
    assert graph is not None
    return graph


def peak_memory() -> int:
    """Most bytes this process ever had in memory.

    Linux: `VmHWM`, because `ru_maxrss` would start from the parent's peak.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def chain(nodes: int) -> Graph:
    """`y = y * a + b` until there are `nodes` nodes, in a fresh process: memory is cold.

    dy/db is the sum of the powers of a, which checks the sweep.
    """
    from pygradc import Value, live_nodes

    empty, before = live_nodes(), peak_memory()
    a, b, y = Value(1.0 - 1e-6), Value(1e-6), Value(0.5)
    links = (nodes - 3) // 2
    start = time.perf_counter()
    for _ in range(links):
        y = y * a + b
    build = time.perf_counter() - start
    graph = Graph(live_nodes() - empty)
    graph.built_bytes = (peak_memory() - before) / graph.nodes
    backward = timed(y.backward)
    graph.peak_bytes = (peak_memory() - before) / graph.nodes
    expected = (1.0 - a.data**links) / (1.0 - a.data)
    assert math.isclose(b.grad, expected, rel_tol=1e-6), (b.grad, expected)
    dropped = time.perf_counter()
    del y
    release = time.perf_counter() - dropped
    assert live_nodes() == empty + 2, "the chain was not released"
    graph.add(build, backward, release)
    return graph


def chain_of_the_base(nodes: int) -> Graph:
    """The same chain in pure Python; its recursive `backward` can't sweep it."""
    from bench.pure import Value

    before = peak_memory()
    a, b, y = Value(1.0 - 1e-6), Value(1e-6), Value(0.5)
    start = time.perf_counter()
    for _ in range((nodes - 3) // 2):
        y = y * a + b
    build = time.perf_counter() - start
    graph = Graph(nodes)
    graph.peak_bytes = graph.built_bytes = (peak_memory() - before) / nodes
    dropped = time.perf_counter()
    del y
    graph.add(build, math.nan, time.perf_counter() - dropped)
    return graph


# --- import ---------------------------------------------------------------------------------


@dataclass
class Import:
    """Seconds of a whole interpreter that runs nothing, and of one that imports pygradc."""

    bare: list[float]
    whole: list[float]

    @property
    def alone(self) -> float:
        return median(self.whole) - median(self.bare)


def imports(samples: int = 9) -> Import:
    """Fresh interpreters, taking turns. Raises ImportError without pygradc."""
    path = f"import sys; sys.path.append({ROOT!r}); "
    times = Import([], [])
    for _ in range(samples + 1):
        for code, seconds in (
            (path, times.bare),
            (path + "import pygradc; pygradc.Value", times.whole),
        ):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=tempfile.gettempdir(),
                capture_output=True,
                text=True,
                check=False,
            )
            seconds.append(time.perf_counter() - start)
            if done.returncode:
                raise ImportError(done.stderr.strip().splitlines()[-1])
    return Import(times.bare[1:], times.whole[1:])  # the first one fills the disk cache
