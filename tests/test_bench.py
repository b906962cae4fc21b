"""Is the race fair: does every competitor compute the same loss, gradients and weights?

And is the report honest: does a missed target say so?
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import measure, microgpt, pure, recorded, report, run, workers, workloads
from bench.workloads import BASE, ENGINES, OP_BY_OP, USER_LOOP, Case, Engine

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]
STEPS = 3


def tiny() -> Case:
    return workloads.make_case(samples=7, hidden=(5, 4))


def build(name: str) -> Engine:
    try:
        return ENGINES[name](tiny())
    except ImportError as missing:
        pytest.skip(f"{name}: {missing}")


def trace(engine: Engine) -> list[tuple[float, list[float], list[float]]]:
    """Loss, gradients and weights after each of a few steps."""
    return [(engine.step(), engine.gradients(), engine.weights()) for _ in range(STEPS)]


@pytest.mark.parametrize("name", [name for name in ENGINES if name != BASE])
def test_every_competitor_computes_the_same_step(name: str) -> None:
    for ours, base in zip(trace(build(name)), trace(build(BASE))):
        assert ours[0] == pytest.approx(base[0], rel=1e-12)
        assert ours[1] == pytest.approx(base[1], rel=1e-12, abs=1e-14)
        assert ours[2] == pytest.approx(base[2], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [(OP_BY_OP, "oracle, op by op"), (USER_LOOP, "oracle, MLP per sample")],
)
def test_pygradc_equals_the_oracle_to_the_last_bit(name: str, oracle: str) -> None:
    assert trace(build(name)) == trace(build(oracle))


def test_the_base_agrees_with_central_differences() -> None:
    """Anchors the whole comparison: engines that agree could still all be wrong."""
    engine = workloads.OpByOp(pure.Value, tiny())
    total = engine.forward()
    total.backward()
    checked = engine.model.parameters()[::5]
    assert any(p.grad for p in checked)
    for p in checked:
        kept, h = p.data, 1e-6
        p.data = kept + h
        above = engine.forward().data
        p.data = kept - h
        below = engine.forward().data
        p.data = kept
        assert p.grad == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8)


OPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "add number": lambda a, b: 2 + a + 3.0,
    "sub": lambda a, b: a - b,
    "sub number": lambda a, b: (2 - a) - 3.0,
    "mul": lambda a, b: a * b,
    "square": lambda a, b: a * a,
    "div": lambda a, b: a / b,
    "div number": lambda a, b: 2 / a + a / 4.0,
    "pow": lambda a, b: a**3 + b**-0.5,
    "neg": lambda a, b: -a,
    "relu": lambda a, b: a.relu() + (-b).relu(),
    "tanh": lambda a, b: a.tanh(),
    "exp": lambda a, b: a.exp() * b.exp(),
    "log": lambda a, b: (a * b).log(),
}


@pytest.mark.parametrize("op", OPS)
def test_each_op_of_the_base_has_the_right_slope(op: str) -> None:
    f, a, b, h = OPS[op], pure.Value(0.7), pure.Value(1.3), 1e-6
    f(a, b).backward()

    def at(x: float, y: float) -> float:
        return f(pure.Value(x), pure.Value(y)).data

    assert a.grad == pytest.approx((at(0.7 + h, 1.3) - at(0.7 - h, 1.3)) / (2 * h), abs=1e-8)
    assert b.grad == pytest.approx((at(0.7, 1.3 + h) - at(0.7, 1.3 - h)) / (2 * h), abs=1e-8)


def test_a_case_comes_out_the_same_every_time() -> None:
    case = workloads.make_case()
    assert case == workloads.make_case()
    assert case.sizes == [2, 16, 16, 1]
    assert len(workloads.flatten(case.weights)) == 337
    assert len(case.points) == 100 and sum(case.labels) == 0.0
    assert all(math.isfinite(number) for point in case.points for number in point)


def fake(base: float, loop: float) -> report.Results:
    """Results with made-up step times, in seconds."""
    steps = {
        BASE: report.StepTimes([base], [base]),
        USER_LOOP: report.StepTimes([loop], [loop]),
        "absent": report.StepTimes(),
    }
    return report.Results(steps=steps)


def test_a_target_says_whether_it_holds() -> None:
    verdicts = [report.targets(fake(base=0.6, loop=t))[1].verdict for t in (0.009, 0.011)]
    assert verdicts == ["holds", "**missed**"]
    assert {t.verdict for t in report.targets(report.Results())} == {"not measured"}


def test_the_report_names_what_is_missing_and_where_pygradc_loses() -> None:
    results = fake(base=0.001, loop=0.002)
    text = report.markdown(results, "python bench/run.py", 9, (1.0, 2.0), plotted=False)
    assert f"Faster than pygradc's per-sample loop on this step: {BASE} (2 times)" in text
    assert "| absent" in text and report.ABSENT in text
    assert "**missed**" in text and "results.png" not in text


def test_a_short_chain_is_not_passed_off_as_the_long_one() -> None:
    long, short = (
        report.targets(report.Results(chain=measure.Graph(nodes, [1.0], [1.0], [1.0])))[7]
        for nodes in (report.LONG_CHAIN - 1, 1_000_000)
    )
    assert (long.verdict, short.verdict) == ("holds", "not measured")


def test_graphs_are_measured_and_released() -> None:
    try:
        from pygradc import live_nodes
    except ImportError as missing:
        pytest.skip(str(missing))
    gc.collect()
    before = live_nodes()
    assert measure.chain(1_001).nodes == 1_001
    assert measure.demo_graph(samples=2, warm_up=0).nodes > 60_000
    assert live_nodes() == before


def test_the_runner_writes_only_full_runs_unless_told() -> None:
    assert run.arguments([]).write
    assert not run.arguments(["--quick"]).write
    assert not run.arguments(["--only", "mul"]).write
    assert run.arguments(["--quick", "--write"]).write
    assert run.arguments(["--quick"]).rounds == 3


def test_two_workers_are_no_figure_without_a_second_core() -> None:
    turns = workers.Turns([1.0] * 10, [0.5] * 10)
    slow = workers.Turns([1.0] * 10, [1.1] * 10)
    results = workers.Results({100: slow, workers.W2: turns}, {workers.W2: turns}, [1.95])
    assert [t.verdict for t in workers.targets(results)] == ["holds", "**missed**", "holds"] + [
        "not measured"
    ] * 2
    results.fit = results.busy_fit = turns
    assert [t.verdict for t in workers.targets(results)][3:] == ["holds", "holds"]
    results.loops = [1.2]
    assert {t.verdict for t in workers.targets(results)} == {"not measured"}
    told = workers.markdown(results)
    assert "| 100,000 " in told and "0.50 (0.50)" in told and "did 1.20 times" in told
    assert {t.verdict for t in workers.targets(workers.Results())} == {"not measured"}


def test_workers_take_turns() -> None:
    for turns in (workers.race(2_000, 0.0), workers.race_fit(0.0)):
        assert len(turns.one) == len(turns.two) == 10 and min(turns.two) > 0.0


def gpt_results(said: dict[str, list[str]]) -> microgpt.Results:
    """With made-up times: the machine is half as fast in the second round."""
    seconds = {microgpt.SLOTS: 0.3, microgpt.EAGER: 0.02, microgpt.RECORDED: 0.003}
    race = {name: recorded.Times([s, 2 * s]) for name, s in seconds.items()}
    return microgpt.Results(race=race, steps=2, said=said)


def test_the_gpt_is_timed_round_by_round_and_a_missed_target_says_so() -> None:
    eager, replayed, step, outside = microgpt.targets(gpt_results({}))
    assert (eager.figure, eager.verdict) == (pytest.approx(15.0), "holds")
    assert (replayed.figure, replayed.verdict) == (pytest.approx(100.0), "**missed**")
    assert (step.figure, step.verdict) == (pytest.approx(4.5), "**missed**")
    assert outside.verdict == "not measured"
    assert {t.verdict for t in microgpt.targets(microgpt.Results())} == {"not measured"}


def test_digits_that_differ_are_told() -> None:
    same, other = ["3.25", "3.5", "anna"], ["3.25", "3.75", "anna"]
    told = microgpt.tables(gpt_results({microgpt.SLOTS: same, microgpt.RECORDED: same}))
    assert "The same to the last digit on all of them: 2 losses" in told
    told = microgpt.tables(gpt_results({microgpt.SLOTS: same, microgpt.RECORDED: other}))
    assert f"**Digits differ** from those of {microgpt.SLOTS}" in told
    assert f"{microgpt.RECORDED}, at 2" in told and f"{microgpt.SLOTS}, at none" in told
    assert "Digits were not compared" in microgpt.tables(gpt_results({}))


def test_the_gpt_on_slots_gives_the_digits_of_the_recorded_one() -> None:
    base, ours = (microgpt.training(name, 2, 1) for name in (microgpt.SLOTS, microgpt.RECORDED))
    assert base == ours and len(base) == 3
