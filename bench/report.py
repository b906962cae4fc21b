"""Samples in, words out: tables, verdicts on the targets, RESULTS.md and the plot.

A figure is a median; the range beside it is the smallest and largest sample. A target that was not
measured says so: it neither holds nor fails.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from statistics import median

from bench.measure import MOST_WARM_STEPS, Graph, Import, Multiplication
from bench.workloads import BASE, OP_BY_OP, USER_LOOP

LONG_CHAIN = 10_000_000
ABSENT = "not installed"


@dataclass
class StepTimes:
    """Seconds of each step, garbage collector on and off; empty where not installed."""

    on: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)


@dataclass
class Results:
    """What one run measured; None where it did not."""

    steps: dict[str, StepTimes] | None = None
    muls: dict[str, Multiplication] | None = None
    graph: Graph | None = None
    chain: Graph | None = None
    base_chain: Graph | None = None
    imports: Import | None = None
    shared: dict[str, StepTimes] | None = None  # as steps, all in one process

    def step(self, name: str, shared: bool = False) -> float:
        """Median seconds of a step, collector on; nan where not measured."""
        times = ((self.shared if shared else self.steps) or {}).get(name)
        return median(times.on) if times and times.on else math.nan

    def speedup(self, name: str, shared: bool = False) -> float:
        """How many times faster than the base."""
        return self.step(BASE, shared) / self.step(name, shared)


# --- targets --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A promise: the figure is `at_least`, or `at_most`, the limit."""

    text: str
    figure: float
    unit: str
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def verdict(self) -> str:
        if math.isnan(self.figure):
            return "not measured"
        return "holds" if self.at_least <= self.figure <= self.at_most else "**missed**"

    @property
    def limit(self) -> str:
        if self.at_least > -math.inf:
            return f"at least {self.at_least:g} {self.unit}"
        return f"at most {self.at_most:g} {self.unit}"


def targets(results: Results) -> list[Target]:
    muls, graph, chain = results.muls, results.graph, results.chain

    def extra(samples: Callable[[Multiplication], list[float]]) -> float:
        if not muls:
            return math.nan
        return median(samples(muls["pygradc"])) - median(samples(muls["float"]))

    demo = median(graph.backward) if graph else math.nan
    long = median(chain.backward) if chain and chain.nodes >= LONG_CHAIN - 1 else math.nan
    load = results.imports.alone if results.imports else math.nan
    times = "times"
    against_base = [
        Target(
            f"{text}, against slots pure Python (gc on), {where}",
            results.speedup(name, shared),
            times,
            at_least=limit,
        )
        for text, name, limit in (
            ("the user's loop, MLP per sample", USER_LOOP, 60),
            ("the same network op by op", OP_BY_OP, 30),
        )
        for where, shared in (("all in one process", True), ("each in its own process", False))
    ]
    return [
        *against_base,
        Target(
            "`a * b` beyond floats, result dropped", extra(lambda m: m.dropped), "ns", at_most=30
        ),
        Target("`a * b` beyond floats, results kept", extra(lambda m: m.kept), "ns", at_most=30),
        Target("backward, the demo's graph", demo, "ns a node", at_most=12),
        Target(f"backward, a chain of {LONG_CHAIN:,} nodes", long, "ns a node", at_most=30),
        Target("`import pygradc`, beyond the bare interpreter", load, "s", at_most=0.2),
    ]


# --- tables ---------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it reads in a terminal too; numbers to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def number(x: float) -> str:
    """Three digits that mean something: 1,331 / 145 / 2.71 / 0.0312."""
    if math.isnan(x):
        return "-"
    return f"{x:,.0f}" if abs(x) >= 99.95 else f"{x:.3g}"


def spread(samples: Sequence[float], scale: float = 1.0) -> str:
    """Median and range: `2.71 (2.6-3.2)`."""
    if not samples or math.isnan(samples[0]):
        return "-"
    low, middle, high = (scale * f(samples) for f in (min, median, max))
    return f"{number(middle)} ({number(low)}-{number(high)})"


def step_table(results: Results) -> str:
    rows = []
    for name, times in (results.steps or {}).items():
        row = [ABSENT] + ["-"] * 4
        if times.on:
            row = [spread(times.on, 1e3), spread(times.off, 1e3), number(results.speedup(name))]
            shared = (results.shared or {}).get(name, StepTimes())
            row += [spread(shared.on, 1e3), number(results.speedup(name, shared=True))]
        rows.append([name, *row])
    header = [
        "one training step",
        "own process: ms, gc on",
        "ms, gc off",
        f"times faster than {BASE}, gc on",
        "one process: ms, gc on",
        f"times faster than {BASE}",
    ]
    return table(header, rows)


def mul_table(muls: dict[str, Multiplication]) -> str:
    rows = [
        [kind, spread(times.dropped), spread(times.kept), spread(times.released)]
        for kind, times in muls.items()
    ]
    return table(["`x * y`, ns with the loop", "dropped", "kept", "kept, then released"], rows)


def graph_table(results: Results) -> str:
    graphs = {
        "pygradc, the demo's graph": results.graph,
        "pygradc, chain": results.chain,
        f"{BASE}, chain": results.base_chain,
    }
    rows = [
        [
            name,
            f"{g.nodes:,}",
            *map(spread, (g.build, g.backward, g.release)),
            number(g.built_bytes),
            number(g.peak_bytes),
        ]
        for name, g in graphs.items()
        if g
    ]
    header = ["ns a node", "nodes", "build", "backward", "release", "bytes, built", "bytes, peak"]
    return table(header, rows)


def import_table(imports: Import) -> str:
    rows = [
        ["interpreter alone", spread(imports.bare)],
        ["with `import pygradc`", spread(imports.whole)],
        ["difference of the medians", number(imports.alone)],
    ]
    return table(["fresh process", "s"], rows)


def target_table(results: Results) -> str:
    rows = [[t.text, t.limit, number(t.figure), t.verdict] for t in targets(results)]
    return table(["target", "limit", "here", "verdict"], rows)


def tables(results: Results) -> str:
    """All that was measured, targets last."""
    parts = []
    if results.steps:
        parts.append(step_table(results))
    if results.muls:
        parts.append(mul_table(results.muls))
    if results.graph or results.chain or results.base_chain:
        parts.append(graph_table(results))
    if results.imports:
        parts.append(import_table(results.imports))
    return "\n\n".join([*parts, target_table(results)])


# --- RESULTS.md -----------------------------------------------------------------------------


def cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def compiler() -> str:
    """The C compiler that an extension is built with here, as it names itself."""
    words = (sysconfig.get_config_var("CC") or "cc").split()
    program = shutil.which(os.environ.get("CC", words[0]))
    if not program:
        return "none found"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return (said.stdout.splitlines() or ["unknown"])[0]


def versions() -> str:
    """Installed competitors, with their versions."""
    found = []
    for package in ("pygradc", "micrograd", "xad", "torch", "jax"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found) or "none"


def losses(results: Results) -> str:
    """Says which competitors beat the user's loop, and by how much."""
    ours = results.step(USER_LOOP)
    faster = [
        f"{name} ({number(ours / results.step(name))} times)"
        for name in results.steps or {}
        if name not in (OP_BY_OP, USER_LOOP) and results.step(name) < ours
    ]
    if math.isnan(ours):
        return "pygradc was not measured."
    if not faster:
        return "No competitor that was measured here is faster on this step."
    return f"Faster than pygradc's per-sample loop on this step: {', '.join(faster)}."


def markdown(
    results: Results, command: str, rounds: int, paces: Sequence[float], plotted: bool
) -> str:
    """The whole of RESULTS.md. Paces: before and after."""
    picture = "\n![one training step, log scale](results.png)\n" if plotted else ""
    return f"""# Results

Written by `{command}` on {date.today().isoformat()}.

- CPU: {cpu()}, {os.cpu_count()} cores
- Python {platform.python_version()} ({platform.python_implementation()}, \
{platform.python_compiler()}), {platform.system()}
- C compiler: {compiler()}
- installed packages: {versions()}
- how fast this machine was: ten million additions in a Python loop took {paces[0]:.2f} s before \
it all, {paces[1]:.2f} s afterwards

## Targets

{target_table(results)}

## Tables

The step is micrograd's demo: MLP 2-16-16-1, ReLU, 100 samples, hinge loss plus 1e-4 L2; forward,
backward and update, in float64. Every competitor starts from the same weights and computes the same
loss and gradients (`tests/test_bench.py`). The race is run twice: each competitor in a process of
its own, and all of them in one process, where the garbage collector also walks what the others
imported, as it does in a program that imports much; that slows those most who make most objects.
Each warms up for a second or {MOST_WARM_STEPS} steps, and then they take turns for {rounds} rounds.
Figures are medians, with the smallest and largest sample in brackets. With "gc off" the collector
runs between turns, outside the time. A shared machine drifts: compare figures inside one run,
not with another run's.

{losses(results)}
PyTorch, where installed, works on the whole batch as tensors, the others on one number at a time.

{_without_targets(results)}
{picture}"""


def _without_targets(results: Results) -> str:
    return tables(results)[: -len(target_table(results))].strip()


def pace() -> float:
    """Seconds for ten million additions: shared machines are slow when others are busy."""

    def add() -> float:
        started, total = time.perf_counter(), 0
        for i in range(10_000_000):
            total += i
        return time.perf_counter() - started

    return median(add() for _ in range(3))


# --- the plot -------------------------------------------------------------------------------


def plot(results: Results, path: Path) -> bool:
    """Bars of one training step, log scale. False, and no file, without matplotlib or times."""
    shown = {name: times for name, times in (results.steps or {}).items() if times.on}
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    if not shown:
        return False
    figure = Figure(figsize=(8, 0.5 * len(shown) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    for shift, label, color in ((-0.2, "gc on", "tab:blue"), (0.2, "gc off", "lightsteelblue")):
        samples = [t.on if label == "gc on" else t.off for t in shown.values()]
        middles = [1e3 * median(s) for s in samples]
        places = [i + shift for i in range(len(shown))]
        bars = axes.barh(places, middles, height=0.38, color=color, label=label)
        axes.bar_label(bars, labels=list(map(number, middles)), padding=3, fontsize=8)
    axes.set_yticks(range(len(shown)), list(shown))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("ms a training step (log scale; less is better)")
    axes.set_title("micrograd's demo step: MLP 2-16-16-1, 100 samples", fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=120)
    return True
