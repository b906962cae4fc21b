"""Run the benchmarks: `python bench/run.py` prints the tables and writes bench/RESULTS.md.

`--against FOLDER` compares this build with another one instead; see `against.py`.

Everything that is compared is measured in one run, taking turns, because a shared machine's speed
drifts.
What is timed is in `measure.py`, the step itself in `workloads.py`, the wording in `report.py`;
recorded programs and their competitors are in `recorded.py` and `baselines.py`, what `workers=`
gains in `workers.py`, the GPT of `examples/microgpt` in `microgpt.py`, the rows beside JAX that
have limits in `peers.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import against, measure, microgpt, peers, recorded, report, workers
from bench.report import Results, StepTimes
from bench.workloads import ENGINES

HERE = Path(__file__).resolve().parent
T = TypeVar("T")


def fresh_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def alone(function: Callable[..., T], *args: Any) -> T | None:
    """Run in a fresh process; None where pygradc is not installed."""
    with fresh_process() as process:
        try:
            return process.submit(function, *args).result()
        except ImportError as missing:
            print(f"{function.__name__}: not installed ({missing})", file=sys.stderr)
            return None


def race(rounds: int, one_process: bool) -> dict[str, StepTimes]:
    """Every competitor with the collector on and off, interleaved."""
    times = {name: StepTimes() for name in ENGINES}
    with ExitStack() as stack:
        shared = stack.enter_context(fresh_process())
        seats = []
        for name in ENGINES:
            for collect, samples in ((True, times[name].on), (False, times[name].off)):
                process = shared if one_process else stack.enter_context(fresh_process())
                missing = process.submit(measure.take_seat, name, collect).result()
                if missing:
                    print(f"{name}: not installed ({missing})", file=sys.stderr)
                    break
                seats.append((process, name, collect, samples))
        for turn in range(rounds):
            for process, name, collect, samples in seats if turn % 2 else reversed(seats):
                samples += process.submit(measure.take_turn, name, collect).result()
    return times


def chains(nodes: int, rounds: int) -> measure.Graph | None:
    """A fresh process for each round; peak bytes of the last."""
    graphs = [alone(measure.chain, nodes) for _ in range(rounds)]
    total, *rest = graphs
    for graph in rest:
        if total is None or graph is None:
            return None
        total.build += graph.build
        total.backward += graph.backward
        total.release += graph.release
        total.built_bytes, total.peak_bytes = graph.built_bytes, graph.peak_bytes
    return total


def run(only: set[str], rounds: int, quick: bool) -> Results:
    """Measure what is asked for; what is not stays None."""
    results = Results()
    if "step" in only:
        results.steps = race(rounds, one_process=False)
        results.shared = race(rounds, one_process=True)
    if "mul" in only:
        results.muls = alone(measure.multiplications, 7 if quick else 31)
    if "graph" in only:
        results.graph = alone(measure.demo_graph, 5 * rounds)
    if "chain" in only:
        results.chain = chains(1_000_000 if quick else report.LONG_CHAIN, 1 if quick else 3)
        results.base_chain = alone(measure.chain_of_the_base, 100_000 if quick else 1_000_000)
    if "import" in only:
        results.imports = alone(measure.imports, 3 if quick else 9)
    return results


BENCHMARKS = (
    "step",
    "mul",
    "graph",
    "chain",
    "import",
    "recorded",
    "workers",
    "microgpt",
    "peers",
)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmarks of pygradc against its competitors.")
    parser.add_argument("--quick", action="store_true", help="a rough look; writes nothing")
    parser.add_argument("--rounds", type=int, help="rounds of the race (default 9, quick 3)")
    parser.add_argument(
        "--only",
        action="append",
        choices=BENCHMARKS,
        help="just this one; repeatable; writes nothing",
    )
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help="write RESULTS.md and results.png (default: for a full run)",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="compare with the pygradc of another checkout, which is built; exit code 1 if a "
        f"figure is slower by more than {against.LIMIT:g} and the spread; writes nothing",
    )
    parser.add_argument(
        "--figure",
        action="append",
        default=[],
        metavar="WORD",
        help="with --against: only figures whose name holds this; repeatable",
    )
    args = parser.parse_args(argv)
    args.rounds = args.rounds or (3 if args.quick else 9)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if args.figure and args.against is None:
        parser.error("--figure goes with --against")
    if not against.chosen(args.figure):
        parser.error(f"no figure is called so; there are {', '.join(against.FIGURES)}")
    if args.against is not None and (args.only or args.write):
        parser.error("--against takes neither --only nor --write")
    if args.write is None:
        args.write = not (args.quick or args.only or args.against)
    return args


def main() -> None:
    args = arguments()
    if args.against is not None:
        raise SystemExit(against.run(args.against, args.rounds, args.figure))
    only = set(args.only or BENCHMARKS)
    pace = report.pace()
    results = run(only, args.rounds, args.quick)
    if only - {"recorded", "workers", "microgpt", "peers"}:
        print(report.tables(results))
    programs = None
    if "recorded" in only:
        programs = recorded.measure(recorded.PARTS, args.rounds, args.quick)
        print(recorded.tables(programs))
    shared = None
    if "workers" in only:
        shared = workers.measure(workers.COUNTS, 0.5 if args.quick else 3.0, args.rounds)
        print(workers.tables(shared))
    gpt = None
    if "microgpt" in only:
        gpt = microgpt.measure(args.rounds, 3 if args.quick else microgpt.COMPARED)
        print(microgpt.tables(gpt))
    beside = None
    if "peers" in only:
        beside = peers.measure(peers.ROWS, args.rounds)
        print(peers.tables(beside))
    if args.write:
        plotted = report.plot(results, HERE / "results.png")
        command = " ".join(["python bench/run.py", *sys.argv[1:]])
        paces = pace, report.pace()
        text = report.markdown(results, command, args.rounds, paces, plotted)
        if programs is not None:
            drawn = recorded.plot(programs, HERE / "recorded.png")
            text += recorded.markdown(programs, drawn)
        if shared is not None:
            text += workers.markdown(shared)
        if gpt is not None:
            text += microgpt.markdown(gpt)
        if beside is not None:
            text += peers.markdown(beside)
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
        print("wrote bench/RESULTS.md" + (" and bench/results.png" if plotted else ""))


if __name__ == "__main__":
    main()
