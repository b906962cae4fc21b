"""The branch that wasn't taken: does it stay out of the results, and of the gradients?

In a recording a row fails only by what its results are made of, through the choices that it takes;
everywhere a product slope * g with g = 0 passes 0 on, be the slope infinite, undefined or an error.
Random programs full of poles and overflows are held against an interpreter of a few lines that
evaluates lazily, as Python's own `if` does: exact, fast and ignoring errors, in blocks and alone,
by executors, saved, and as C. Then the cases that people write, each with its right number.
"""

from __future__ import annotations

import copy
import ctypes
import math
import pickle
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import pygradc
from pygradc import Value, detach, maximum, minimum, nn, optim, reference, where
from pygradc.core.ops import OPS

# ---- Random programs -----------------------------------------------------------------------------

INPUTS, PARAMS = 2, 2
NUMBERS = (-2.0, -1.0, -0.5, -0.0, 0.0, 1e-200, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 30.0, 800.0, 1e200)
FAILING = ("log", "sqrt", "exp", "pow")
UNARY = [op.name for op in OPS if op.arity == 1 and not op.takes_number]
BINARY = [op.name for op in OPS if op.arity == 2]
EXPONENTS = (2.0, -1.0, 0.5, -2.0, 3.0, 0.0)


class Compared(NamedTuple):
    """left < right, by the numbers of values."""

    left: int
    right: int


class Combined(NamedTuple):
    """Conditions joined by "&", "|" or, of one, "~"."""

    how: str
    parts: tuple[Any, ...]


class Step(NamedTuple):
    """An op of values that come before it; of "where" also the condition; a number for "pown"."""

    op: str
    operands: tuple[int, ...]
    condition: Any = None
    number: float = 0.0


def a_condition(rng: random.Random, count: int, depth: int = 0) -> Any:
    if depth < 2 and rng.random() < 0.4:
        how = rng.choice("&|~")
        parts = [a_condition(rng, count, depth + 1) for _ in range(1 if how == "~" else 2)]
        return Combined(how, tuple(parts))
    return Compared(rng.randrange(count), rng.randrange(count))


def a_step(rng: random.Random, count: int) -> Step:
    """Poles and choices come often; operands are rather recent."""
    pick = lambda: max(rng.randrange(count), rng.randrange(count))  # noqa: E731
    kind = rng.random()
    if kind < 0.35:
        return Step("where", (pick(), pick()), a_condition(rng, count))
    if kind < 0.55:
        return Step(rng.choice(FAILING[:3]), (pick(),))
    if kind < 0.65:
        return Step("pown", (pick(),), number=rng.choice(EXPONENTS))
    if kind < 0.75:
        return Step(rng.choice(UNARY), (pick(),))
    return Step(rng.choice(BINARY), (pick(), pick()))


@cache
def a_program(seed: int) -> tuple[Step, ...]:
    rng = random.Random(seed)
    first = INPUTS + PARAMS
    return tuple(a_step(rng, first + i) for i in range(rng.randrange(3, 14)))


def written(program: Sequence[Step]) -> Callable[..., Any]:
    """The program as a function to record, of its inputs and these parameters."""

    def holds(condition: Any, values: list[Any]) -> Any:
        if isinstance(condition, Compared):
            return values[condition.left] < values[condition.right]
        parts = [holds(part, values) for part in condition.parts]
        if condition.how == "~":
            return ~parts[0]
        return parts[0] & parts[1] if condition.how == "&" else parts[0] | parts[1]

    def function(*given: Any) -> Any:
        values = list(given)
        for step in program:
            operands = [values[i] for i in step.operands]
            if step.op == "where":
                values.append(where(holds(step.condition, values), *operands))
            elif step.op == "pown":
                values.append(operands[0] ** step.number)
            elif len(operands) == 1:
                values.append(getattr(operands[0], step.op)())
            else:
                values.append(apply(step.op, *operands))
        return values[-1]

    return function


def apply(op: str, a: Any, b: Any) -> Any:
    if op not in ("add", "mul", "pow"):
        return getattr(a, op)(b)
    return {"add": lambda: a + b, "mul": lambda: a * b, "pow": lambda: a**b}[op]()


# ---- The lazy interpreter ------------------------------------------------------------------------


class Lazy:
    """One row: values on demand, and gradients of the graph in which they stand.

    A value that fails and that no result needs is there all the same, as nan: gradients are sums,
    and the graph says in which order.
    """

    def __init__(self, program: Sequence[Step], row: Sequence[float]) -> None:
        self.program, self.row = program, row
        self.known: dict[int, float] = {}

    def value(self, i: int) -> float:
        if i < len(self.row):
            return self.row[i]
        if i not in self.known:
            self.known[i] = self.compute(self.program[i - len(self.row)])
        return self.known[i]

    def compute(self, step: Step) -> float:
        if step.op == "where":
            return self.value(step.operands[0 if self.holds(step.condition) else 1])
        rule = reference.OPS[step.op]
        numbers = [self.value(i) for i in step.operands]
        b = numbers[1] if len(numbers) == 2 else step.number
        return reference._judge(rule, rule.value, numbers[0], b)

    def holds(self, condition: Any) -> bool:
        if isinstance(condition, Compared):
            return self.value(condition.left) < self.value(condition.right)
        if condition.how == "~":
            return not self.holds(condition.parts[0])
        first, second = condition.parts
        if condition.how == "&":
            return self.holds(first) and self.holds(second)
        return self.holds(first) or self.holds(second)

    def gradients(self) -> list[float]:
        """By inputs and parameters."""
        nodes = [reference.Value(x) for x in self.row]
        for step in self.program:
            nodes.append(self.node(step, [nodes[i] for i in step.operands]))
        nodes[-1].backward()
        return [node.grad for node in nodes[: len(self.row)]]

    def node(self, step: Step, operands: list[reference.Value]) -> reference.Value:
        try:
            if step.op == "where":
                return reference.where(self.holds(step.condition), *operands)
            if step.op == "pown":
                return operands[0] ** step.number
            return operands[0]._make(step.op, *operands[1:])
        except (ValueError, ZeroDivisionError, OverflowError):
            return reference.Value(math.nan, operands, [math.nan] * len(operands))


class Row(NamedTuple):
    """What a row gives: nan is no number here, but None where it fails."""

    output: float | None
    gradients: list[float] | None


def expected(program: Sequence[Step], row: Sequence[float]) -> Row:
    lazy = Lazy(program, row)
    try:
        output = lazy.value(len(row) + len(program) - 1)
    except (ValueError, ZeroDivisionError, OverflowError):
        return Row(None, None)
    try:
        return Row(output, lazy.gradients())
    except (ValueError, ZeroDivisionError, OverflowError):
        return Row(output, None)


def bits(numbers: Any) -> list[Any]:
    """All that floats are; every nan is the same."""
    return [
        "nan" if math.isnan(x) else struct.pack("<d", x)
        for x in np.asarray(numbers, float).reshape(-1)
    ]


class Trial:
    """A random program, its parameters, some rows and what they should give."""

    def __init__(self, seed: int, rows: int = 70, **options: Any) -> None:
        rng = random.Random(seed * 7919 + 1)
        self.program = a_program(seed)
        self.numbers = [rng.choice(NUMBERS) for _ in range(PARAMS)]
        self.params = [Value(x) for x in self.numbers]
        self.table = np.array([[rng.choice(NUMBERS) for _ in range(INPUTS)] for _ in range(rows)])
        self.rows = [expected(self.program, [*row, *self.numbers]) for row in self.table.tolist()]
        body = written(self.program)
        params = self.params
        self.function = pygradc.compile(lambda x, y: body(x, y, *params), **options)

    def where(self, wanted: Callable[[Row], bool]) -> list[int]:
        return [i for i, row in enumerate(self.rows) if wanted(row)]

    def columns(self, some: Sequence[int]) -> list[Any]:
        return [np.ascontiguousarray(self.table[list(some), k]) for k in range(INPUTS)]

    def differentiable(self) -> list[int]:
        """Rows whose gradients are numbers: an infinite one spreads even to branches not taken."""
        return self.where(
            lambda r: r.gradients is not None and bool(np.isfinite(r.gradients).all())
        )


SEEDS = range(400)
COUNTS = (1, 2, 8, 9, 32, 33, 70)


def test_the_programs_are_what_they_should_be() -> None:
    """Rows that fail, rows that don't though something did, and slopes that fail by themselves."""
    failing = spared = steep = 0
    for seed in SEEDS:
        trial = Trial(seed, 10)
        for row, numbers in zip(trial.rows, trial.table.tolist()):
            failing += row.output is None
            steep += row.output is not None and row.gradients is None
            if row.output is not None:
                nodes = [reference.Value(x) for x in (*numbers, *trial.numbers)]
                lazy = Lazy(trial.program, [*numbers, *trial.numbers])
                for step in trial.program:
                    nodes.append(lazy.node(step, [nodes[i] for i in step.operands]))
                spared += any(math.isnan(node.data) for node in nodes)
    assert failing > 300 and spared > 300 and steep > 20


@pytest.mark.parametrize("part", range(8))
def test_a_row_gives_what_plain_python_gives(part: int) -> None:
    for seed in SEEDS[part::8]:
        trial = Trial(seed)
        good = trial.where(lambda r: r.output is not None)
        for count in COUNTS:
            some = good[:count]
            outputs = trial.function.map(*trial.columns(some))
            assert bits(outputs) == bits([trial.rows[i].output for i in some]), seed


@pytest.mark.parametrize("part", range(8))
def test_gradients_are_plain_pythons(part: int) -> None:
    for seed in SEEDS[part::8]:
        trial = Trial(seed)
        good = trial.differentiable()
        for count in COUNTS:
            some = good[:count]
            outputs, by_input = trial.function.gradients(*trial.columns(some))
            assert bits(outputs) == bits([trial.rows[i].output for i in some]), seed
            wanted = [trial.rows[i].gradients[:INPUTS] for i in some]
            assert bits(np.stack(by_input, -1)) == bits(wanted), seed
        for i in good[:5]:
            check_alone(trial, i)
        check_sum(trial, good)


def check_alone(trial: Trial, i: int) -> None:
    """Of one row the parameters' gradients are exact too, whatever was hoisted."""
    row, wanted = [Value(x) for x in trial.table[i].tolist()], trial.rows[i]
    for p in trial.params:
        p.grad = 0.0
    y = trial.function(*row)
    y.backward()
    assert bits(y.data) == bits(wanted.output)
    assert bits([v.grad for v in (*row, *trial.params)]) == bits(wanted.gradients)


def check_sum(trial: Trial, some: Sequence[int]) -> None:
    for p in trial.params:
        p.grad = 0.0
    trial.function.sum(*trial.columns(some)).backward()
    rows = np.array([trial.rows[i].gradients[INPUTS:] for i in some]).reshape(-1, PARAMS)
    for p, column in zip(trial.params, rows.T):
        # A row's gradient may be 0 but for rounding, as of atan2(hypot(p, p), p): so is the sum's.
        noise = 1e-9 * abs(column).sum() + 1e-12
        assert p.grad == pytest.approx(math.fsum(column), rel=1e-9, abs=noise)


@pytest.mark.parametrize("part", range(8))
def test_the_first_row_that_fails_is_named(part: int) -> None:
    for seed in SEEDS[part::8]:
        trial = Trial(seed)
        bad = trial.where(lambda r: r.output is None)
        if bad:
            with pytest.raises(FloatingPointError) as raised:
                trial.function.map(*trial.columns(range(len(trial.rows))))
            assert raised.value.row == bad[0] or (raised.value.row == -1 and bad[0] == 0)
        check_slopes(trial)


def check_slopes(trial: Trial) -> None:
    """A derivative by an input that fails, too; by a parameter nobody asks here."""
    good = trial.differentiable()
    bad = trial.where(lambda r: r.output is None)
    if not good or not bad:
        return
    some = [*good[:11], bad[0], *good[11:]]
    with pytest.raises(FloatingPointError) as raised:
        trial.function.gradients(*trial.columns(some))
    assert raised.value.row in (min(11, len(good)), -1)


@pytest.mark.parametrize("part", range(4))
def test_a_slope_that_fails_fails_the_row(part: int) -> None:
    """Where plain Python's backward() raises."""
    for seed in SEEDS[part::4]:
        trial = Trial(seed)
        for i in trial.where(lambda r: r.output is not None and r.gradients is None)[:3]:
            with pytest.raises(FloatingPointError, match="derivative"):
                trial.function(*[Value(x) for x in trial.table[i].tolist()])


@pytest.mark.parametrize("part", range(4))
def test_ignoring_errors_changes_no_row_that_has_none(part: int) -> None:
    for seed in SEEDS[part::4]:
        trial = Trial(seed, errors="ignore")
        everything = trial.columns(range(len(trial.rows)))
        outputs, by_input = trial.function.gradients(*everything)
        assert bits(trial.function.map(*everything)) == bits(outputs)
        for i in trial.where(lambda r: r.output is not None):
            assert bits(outputs[i]) == bits(trial.rows[i].output)
        for i in trial.differentiable():
            assert bits([g[i] for g in by_input]) == bits(trial.rows[i].gradients[:INPUTS]), seed


def test_fast_mode_takes_the_same_branches() -> None:
    """A last bit may turn a comparison round, so a few rows may differ; powers that are products
    there don't overflow, so that a row may pass which fails in exact mode.
    """
    same = compared = 0
    for seed in SEEDS[::2]:
        trial = Trial(seed, math="fast", errors="ignore")
        good = trial.differentiable()
        outputs, by_input = trial.function.gradients(*trial.columns(good))
        for k, i in enumerate(good):
            wanted = [trial.rows[i].output, *trial.rows[i].gradients[:INPUTS]]
            found = [outputs[k], *(g[k] for g in by_input)]
            same += np.allclose(found, wanted, rtol=1e-6, atol=1e-300, equal_nan=True)
            compared += 1
    assert compared > 3000 and same > 0.99 * compared


def test_fast_mode_judges_as_exact_mode_does() -> None:
    for seed in SEEDS[::4]:
        trial = Trial(seed, math="fast")
        if any(s.op == "pown" for s in trial.program):
            continue
        bad = trial.where(lambda r: r.output is None)
        good = trial.where(lambda r: r.output is not None)
        trial.function.map(*trial.columns(good))
        if bad:
            with pytest.raises(FloatingPointError):
                trial.function.map(*trial.columns(bad))


def a_recording(trial: Trial) -> Any:
    (program,) = trial.function.programs
    return program


def test_it_does_not_depend_on_who_computes() -> None:
    """Threads, processes, a saved copy: the same bits, and the same row is named."""
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(1) as processes:
        for seed in range(0, 40, 2):
            trial = Trial(seed, 40)
            good = trial.differentiable() * 70
            if not good:
                continue
            columns = trial.columns(good)
            here = [trial.function.map(*columns), *trial.function.gradients(*columns)[1]]
            program = a_recording(trial)
            for executor in (threads, processes):
                there = trial.function.gradients(*columns, executor=executor)
                assert bits(trial.function.map(*columns, executor=executor)) == bits(here[0])
                assert [bits(g) for g in there[1]] == [bits(g) for g in here[1:]]
            again = pickle.loads(pickle.dumps(program))
            assert [bits(g) for g in again.gradients(*columns)[1]] == [bits(g) for g in here[1:]]
            check_row_of_executor(trial, good, threads)


def check_row_of_executor(trial: Trial, good: list[int], executor: Any) -> None:
    bad = trial.where(lambda r: r.output is None)
    if not bad:
        return
    some = [*good[: len(good) // 2], bad[0], *good[len(good) // 2 :], bad[0]]
    with pytest.raises(FloatingPointError) as raised:
        trial.function.map(*trial.columns(some), executor=executor)
    assert raised.value.row in (len(good) // 2, -1)


@pytest.mark.parametrize("part", range(2))
def test_eager_gradients_are_the_oracles(part: int) -> None:
    """Where no op that is called fails, in either branch."""
    checked = 0
    for seed in SEEDS[part::2]:
        trial = Trial(seed, 20)
        for i in trial.differentiable():
            leaves = [Value(x) for x in (*trial.table[i].tolist(), *trial.numbers)]
            lazy = Lazy(trial.program, [v.data for v in leaves])
            values = list(leaves)
            try:
                for step in trial.program:
                    operands = [values[k] for k in step.operands]
                    if step.op == "where":
                        values.append(where(lazy.holds(step.condition), *operands))
                    elif step.op == "pown":
                        values.append(operands[0] ** step.number)
                    elif len(operands) == 1:
                        values.append(getattr(operands[0], step.op)())
                    else:
                        values.append(apply(step.op, *operands))
            except (ValueError, ZeroDivisionError, OverflowError):
                continue
            values[-1].backward()
            assert bits([v.grad for v in leaves]) == bits(trial.rows[i].gradients), seed
            checked += 1
    assert checked > 500


# ---- As C ----------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_c_file_says_the_same(tmp_path: Path) -> None:
    seeds = range(0, 120, 2)
    trials = {seed: Trial(seed, 40) for seed in seeds}
    parts = []
    for seed, trial in trials.items():
        path = tmp_path / f"p{seed}.c"
        trial.function.map(*trial.columns([]))  # records
        path.write_text(a_recording(trial).to_c(f"p{seed}"))
        parts.append(str(path))
    library = tmp_path / "all.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-ffp-contract=off", "-fPIC"]
    subprocess.run(["cc", *flags, "-shared", *parts, "-lm", "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for seed, trial in trials.items():
        order = [trial.params.index(p) for p in a_recording(trial).parameters()]
        for i in trial.differentiable():
            check_c(getattr(loaded, f"p{seed}_gradient"), trial, i, order)


def check_c(function: Any, trial: Trial, i: int, order: list[int]) -> None:
    inputs = trial.table[i].copy()
    params = np.array([trial.numbers[k] for k in order] or [0.0])
    output, by_input, by_param = np.zeros(1), np.zeros(INPUTS), np.zeros(len(params))
    pointer = lambda a: a.ctypes.data_as(ctypes.c_void_p)  # noqa: E731
    function(*map(pointer, (inputs, params, output, by_input, by_param)))
    wanted = trial.rows[i]
    assert bits(output) == bits(wanted.output)
    assert bits(by_input) == bits(wanted.gradients[:INPUTS])
    assert bits(by_param[: len(order)]) == bits([wanted.gradients[INPUTS + k] for k in order])


# ---- What people write ---------------------------------------------------------------------------

MODES: dict[str, dict[str, Any]] = {
    "exact": {},
    "fast": {"math": "fast"},
    "ignore": {"errors": "ignore"},
}
modes = pytest.mark.parametrize("options", MODES.values(), ids=MODES)


def row_of(f: Any, *row: float) -> tuple[float, list[float]]:
    """A row's output and gradients, in a block and alone."""
    values = [Value(x) for x in row]
    y = f(*values)
    y.backward()
    alone = (y.data, [v.grad for v in values])
    outputs, by_input = f.gradients(*[np.full(40, x) for x in row])
    assert (outputs[17], [g[17] for g in by_input]) == alone
    return alone


@modes
def test_a_root_that_is_not_taken(options: dict[str, Any]) -> None:
    f = pygradc.compile(lambda x: where(x > 0, x.sqrt(), 0.0), **options)
    assert row_of(f, -1.0) == (0.0, [0.0])
    assert row_of(f, 0.0) == (0.0, [0.0])
    assert row_of(f, 4.0) == (2.0, [0.25])


@modes
def test_a_norm_at_the_origin(options: dict[str, Any]) -> None:
    f = pygradc.compile(lambda x, y: maximum((x * x + y * y).sqrt(), 1e-10), **options)
    assert row_of(f, 0.0, 0.0) == (1e-10, [0.0, 0.0])
    assert row_of(f, 6.0, 8.0) == (10.0, [6.0 * 0.1, 8.0 * 0.1])


@modes
def test_an_overflow_that_is_not_taken(options: dict[str, Any]) -> None:
    f = pygradc.compile(lambda x: where(x > 0, x + 1, x.exp()), **options)
    assert row_of(f, 1000.0) == (1001.0, [1.0])


def test_the_same_in_eager_code() -> None:
    x = Value(0.0)
    y = where(x > 0, x.sqrt(), 0.0)
    y.backward()
    assert (y.data, x.grad) == (0.0, 0.0)
    x, y = Value(0.0), Value(0.0)
    maximum((x * x + y * y).sqrt(), 1e-10).backward()
    assert (x.grad, y.grad) == (0.0, 0.0)
    x = Value(-1.0)
    with pytest.raises(ValueError, match=r"sqrt\(-1\.0\): outside the real domain"):
        where(x > 0, x.sqrt(), 0.0)  # an op that is called raises


def test_by_hand_and_with_closures() -> None:
    x = Value(0.0)
    y = x.sqrt()
    y._backward()  # its gradient is 0
    assert x.grad == 0.0
    y.grad = 1.0
    with pytest.raises(ZeroDivisionError, match="derivative of sqrt"):
        y._backward()
    called = []
    z = Value(1.0, (x,), "mine")
    z._backward = lambda: called.append(z.grad)
    where(False, z, 0.0).backward()
    assert called == [0.0]
    inner = Value(2.0)
    Value(0.0, (Value(1.0, (inner,), (math.inf,)),), (0.0,)).backward()
    assert inner.grad == 0.0


def test_an_infinite_gradient_is_passed_on_as_before() -> None:
    x = Value(1.0)
    (x * Value(0.0) * math.inf).backward()
    assert math.isnan(x.grad)


@modes
def test_conditions_that_guard_conditions(options: dict[str, Any]) -> None:
    """What is compared always counts; behind & and | only where the first part leaves it open."""
    f = pygradc.compile(lambda x: where((x > 0) & (x.log() > 1), x, 0.0), **options)
    assert f.map(np.array([-1.0, 1.0, 3.0])).tolist() == [0.0, 0.0, 3.0]
    g = pygradc.compile(lambda x: where((x <= 0) | (x.log() > 1), x, 0.0), **options)
    assert g.map(np.array([-1.0, 1.0, 3.0])).tolist() == [-1.0, 0.0, 3.0]
    h = pygradc.compile(lambda x: where((x.log() > 1) & (x > 0), x, 0.0), **options)
    if options != MODES["ignore"]:
        with pytest.raises(FloatingPointError, match=r"^row 1: log\(-1\.0\)"):
            h.map(np.array([3.0, -1.0]))


def test_only_where_chooses() -> None:
    for choose in (maximum, minimum):
        f = pygradc.compile(lambda x, choose=choose: choose(x.log(), x))
        with pytest.raises(FloatingPointError, match=r"^row 0: log\(-1\.0\)"):
            f.map(np.array([-1.0]))
    f = pygradc.compile(lambda x: where(x > 0, 1.0, 0.0) * x.log())
    with pytest.raises(FloatingPointError, match=r"^row 0: log\(-1\.0\)"):
        f.map(np.array([-1.0]))
    f = pygradc.compile(lambda x: 1 / x.exp())  # an overflow counts, be its reciprocal 0
    with pytest.raises(FloatingPointError, match=r"^row 0: exp\(1000\.0\)"):
        f.map(np.array([1000.0]))


def test_any_output_counts() -> None:
    f = pygradc.compile(lambda x: (where(x > 0, x.log(), 0.0), where(x > 1, 0.0, x.log())))
    with pytest.raises(FloatingPointError, match=r"^row 1: log\(-1\.0\)"):
        f.map(np.array([2.0, -1.0]))
    assert f.map(np.array([2.0, 1.0]))[0].tolist() == [math.log(2.0), 0.0]


def test_a_chain_of_choices() -> None:
    """Each guards the next; the ops are shared by branches that need them and that don't."""
    f = pygradc.compile(lambda x: where(x < 0, -x, where(x <= x.abs(), x.sqrt(), x.log())))
    assert f.map(np.array([-4.0, 4.0])).tolist() == [4.0, 2.0]


def test_layers_and_sums_in_a_branch() -> None:
    """Fused and joined instructions pass the need on to all that they read."""
    model = nn.MLP(2, [8, 8, 1])
    f = pygradc.compile(lambda x, y: where(x > 0, model([x.sqrt(), y.log()]), x * y))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100))
    y = np.where(x > 0, abs(y), y)
    plain = [
        model([Value(a).sqrt(), Value(b).log()]).data if a > 0 else a * b for a, b in zip(x, y)
    ]
    assert bits(f.map(x, y)) == bits(plain)
    total = f.sum(x, y)
    total.backward()
    recorded = [p.grad for p in model.parameters()]
    for p in model.parameters():
        p.grad = 0.0
    pygradc.sum(
        [model([Value(a).sqrt(), Value(b).log()]) for a, b in zip(x, y) if a > 0]
    ).backward()
    assert recorded == pytest.approx([p.grad for p in model.parameters()], rel=1e-12)
    y[50], x[50] = -1.0, 1.0
    with pytest.raises(FloatingPointError, match=r"^row 50: log\(-1\.0\)"):
        f.map(x, y)


# ---- What is hoisted -----------------------------------------------------------------------------


@modes
def test_hoisted_code_counts_for_rows_that_reach_it(options: dict[str, Any]) -> None:
    w = Value(-1.0)
    f = pygradc.compile(lambda x: where(x > 0, x * w.log(), 0), **options)
    down = np.full(50, -1.0)
    assert f.map(down).tolist() == [0.0] * 50 and f(-1.0).data == 0.0
    f.mean(down).backward()
    assert w.grad == 0.0
    mixed = down.copy()
    mixed[33] = 1.0
    if options == MODES["ignore"]:
        assert math.isnan(f.map(mixed)[33]) and f.map(mixed)[32] == 0.0
        return
    for call in (f.map, f.sum, f.mean, f.gradients):
        with pytest.raises(FloatingPointError, match=r"^row 33: log\(-1\.0\)") as raised:
            call(mixed)
        assert raised.value.row == 33
    with pytest.raises(FloatingPointError, match=r"^row 0: log\(-1\.0\)"):
        f(2.0)


def test_what_every_row_reaches_has_no_row() -> None:
    w = Value(-1.0)
    f = pygradc.compile(lambda x: x * w.log())
    with pytest.raises(FloatingPointError, match=r"parameters only: log\(-1") as e:
        f.map(np.ones(3))
    assert e.value.row == -1
    assert f.map(np.zeros(0)).shape == (0,) and f.sum(np.zeros(0)).data == 0.0
    g = pygradc.compile(lambda x: x + where(w > 0, w.log(), 0.0))
    assert g.map(np.ones(3)).tolist() == [1.0] * 3
    w.data = 1.0
    assert g.map(np.ones(3)).tolist() == [1.0] * 3 and f.map(np.ones(3)).tolist() == [0.0] * 3


def test_parameters_are_judged_by_the_replay() -> None:
    """Whatever they are while the function is recorded; constants made inside are known then."""
    w, zero, large = Value(-1.0), Value(0.0), Value(1000.0)
    bodies: list[Callable[[Any], Any]] = [
        lambda x: where(x > 0, w.log() + w.sqrt(), x),
        lambda x: where(x > 0, x / zero + 1 / zero + zero**-1 + zero ** Value(-1.0), x),
        lambda x: where(x > 0, large.exp() + 0.0**w + w**0.5 + large**400, x),
        lambda x: where(x > 0, pygradc.sum([w.log(), 1.0]) + (2 * w).log(), x),
        lambda x: where(x > 0, where(w > 0, w, 0.0).log(), x),
    ]  # fmt: skip
    for body in bodies:
        f = pygradc.compile(body)
        assert f(-2.0).data == -2.0
        with pytest.raises(FloatingPointError):
            f(2.0)
    with pytest.raises(ValueError, match=r"^log\(-2\.0\)"):
        pygradc.compile(lambda x: where(x > 0, (Value(-1.0) * 2).log(), x))(1.0)
    with pytest.raises(ZeroDivisionError):
        pygradc.compile(lambda x: x / 0)(1.0)


def test_other_threads_are_judged_while_one_records() -> None:
    w, seen = Value(-1.0), []

    def elsewhere() -> None:
        try:
            w.log()
        except ValueError as error:
            seen.append(str(error))

    def body(x: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(elsewhere).result()
        return where(x > 0, w.log(), x)

    assert pygradc.compile(body)(-1.0).data == -1.0
    assert seen == ["log(-1.0): outside the real domain"]


@modes
def test_rows_that_cancel_still_reach_a_pole(options: dict[str, Any]) -> None:
    """The sum of the gradients is 0, though each row's isn't: each would divide by zero."""
    w = Value(0.0)
    f = pygradc.compile(lambda x: x * w.sqrt(), **options)
    if options == MODES["ignore"]:
        f.sum(np.array([1.0, -1.0])).backward()
        assert math.isnan(w.grad)
    else:
        with pytest.raises(FloatingPointError, match=r"derivative of sqrt\(0\.0\)"):
            f.sum(np.array([1.0, -1.0]))
        with pytest.raises(FloatingPointError, match=r"derivative of sqrt\(0\.0\)"), \
                ThreadPoolExecutor(2) as pool:  # fmt: skip
            f.sum(np.array([1.0, -1.0] * 2000), executor=pool)
    w.grad = 0.0
    f.sum(np.zeros(70)).backward()
    assert w.grad == 0.0
    g = pygradc.compile(lambda x: where(x > 0, x * w.sqrt(), x), **options)
    g.sum(np.full(70, -1.0)).backward()
    assert w.grad == 0.0


def test_fit_passes_over_what_is_not_taken() -> None:
    w, scale = Value(0.0), Value(1.0)
    loss = pygradc.compile(
        lambda x, y: (where(x > 0, x.sqrt() * scale, w.sqrt() * 0.0 + x) - y) ** 2
    )
    x = np.linspace(0.1, 2.0, 64)
    pygradc.fit(loss, x, 3 * np.sqrt(x), optimizer=optim.SGD([scale, w], lr=0.1), epochs=60)
    assert scale.data == pytest.approx(3.0, rel=1e-6) and w.data == 0.0
    with pytest.raises(FloatingPointError, match="derivative of sqrt"):
        bad = pygradc.compile(lambda x: where(x > 0, x, w.sqrt()))
        pygradc.fit(bad, np.array([1.0, -1.0]), optimizer=optim.SGD([w], lr=0.1))


# ---- Tangents ------------------------------------------------------------------------------------


@modes
def test_tangents_of_what_is_not_taken(options: dict[str, Any]) -> None:
    """A product with 0 counts 0, whichever factor it is."""
    w = Value(0.0)
    f = pygradc.compile(lambda x: where(x > 0, x * w, w.sqrt()) + w * w, **options)
    outputs, tangents = f.jvp([1.0], np.array([2.0, 3.0]))
    assert outputs.tolist() == [0.0, 0.0] and tangents.tolist() == [2.0, 3.0]
    assert f.hvp([1.0], np.array([2.0, 3.0])).tolist() == [4.0]
    g = pygradc.compile(lambda x: w * x.exp(), **options)
    if options == MODES["ignore"]:
        assert g.jvp([0.0], np.array([1000.0]))[1].tolist() == [0.0]
    norm = pygradc.compile(lambda x: maximum((w * w + x * x).sqrt(), 1e-10) + w**3, **options)
    assert norm.jvp([1.0], np.zeros(3))[1].tolist() == [0.0] * 3
    assert norm.hvp([1.0], np.zeros(3)).tolist() == [0.0]


def test_a_gradient_that_begins_to_change_at_a_pole_fails() -> None:
    v, w = Value(0.0), Value(0.0)
    f = pygradc.compile(lambda x: x * v * w.sqrt())
    f.sum(np.ones(3)).backward()
    assert v.grad == 0.0 and w.grad == 0.0
    with pytest.raises(FloatingPointError, match=r"derivative of sqrt\(0\.0\)"):
        f.hvp([1.0, 0.0], np.ones(3))


# ---- Derivatives that nobody can receive ---------------------------------------------------------


def test_a_detached_divisor_is_asked_for_nothing() -> None:
    m = Value(4e-200)
    for divided in (
        lambda x: x / detach(m),
        lambda x: x / (2 * detach(m)) * 2,
        lambda x: -(x / -detach(m)),
        lambda x: x * (1 / detach(m)),
        lambda x: x / where(True, detach(m), detach(m)),
        lambda x: x / maximum(detach(m), 1e-300),
        lambda x: x / maximum(1e-300, detach(m)),
        lambda x: x / where(True, detach(m), 1.0),
        lambda x: x / pygradc.sum([detach(m), detach(m)]) * 2,
    ):
        x = Value(5.0)
        divided(x).backward()
        assert x.grad == pytest.approx(2.5e199) and m.grad == 0.0
        recorded = pygradc.compile(divided)
        y = Value(5.0)
        recorded(y).backward()
        assert y.grad == x.grad
    with pytest.raises(OverflowError, match="with respect to its second operand, the divisor"):
        (Value(5.0) / m).backward()


def test_a_detached_exponent() -> None:
    for base, slope in ((0.0, 0.0), (-2.0, -4.0)):
        x = Value(base)
        (x ** detach(Value(2.0))).backward()
        assert x.grad == slope
    x = Value(-2.0)
    with pytest.raises(
        ValueError, match=r"derivative of -2\.0 \*\* 2\.0 with respect to its second operand"
    ):
        (x ** Value(2.0)).backward()


def test_what_is_detached_receives_nothing() -> None:
    x, d = Value(3.0), detach(Value(2.0))
    other = Value(5.0)
    (x * d + d * other).backward()
    assert (d.grad, x.grad, other.grad) == (0.0, 2.0, 2.0)
    inner = d * 4
    (inner * x).backward()
    assert inner.grad == 0.0 and d.grad == 0.0
    six = Value(6.0)
    (six * d).backward()  # a constant that stands by itself receives as ever
    assert six.grad == 2.0
    lone = 2 * d
    lone.backward()
    assert lone.grad == 1.0 and d.grad == 0.0 and all(v.grad == 0.0 for v in lone._prev)
    Value(1.0, (d, x), (7.0, 7.0)).backward()
    assert d.grad == 0.0


def test_a_closure_of_what_is_detached_runs() -> None:
    """It may know whom else to give something to."""
    d, secret = detach(Value(2.0)), Value(1.0)
    out = Value(d.data * secret.data, (d,), "mine")
    out._backward = lambda: setattr(secret, "grad", secret.grad + d.data * out.grad)
    (out * 3).backward()
    assert secret.grad == 6.0


def copies_of(value: Value) -> list[Value]:
    return [copy.deepcopy(value), pickle.loads(pickle.dumps(value))]


def test_copies_stay_detached() -> None:
    x = Value(0.0, label="x")
    for y in copies_of(x ** (detach(Value(2.0)) + 1)):
        y.backward()
        (base,) = (v for v in y._prev if v.label == "x")
        assert base.grad == 0.0
    for d in (*copies_of(detach(Value(4e-200))), copy.copy(detach(Value(4e-200)))):
        z = Value(5.0)
        (z / d).backward()
        assert z.grad == pytest.approx(2.5e199) and d.grad == 0.0
    for d in copies_of(3 * detach(Value(4e-200))):
        z = Value(5.0)
        (z / d).backward()
        assert z.grad == pytest.approx(1 / 1.2e-199)


def test_a_recording_knows_what_was_detached_before() -> None:
    m = detach(Value(4e-200))
    f = pygradc.compile(lambda x: x / m)
    x = Value(5.0)
    f(x).backward()
    assert x.grad == pytest.approx(2.5e199) and m.grad == 0.0
    f.sum(np.ones(40)).backward()
    assert m.grad == 0.0


# ---- Messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: 1 / x, r"derivative of division by 1e-200.* its second operand, the divisor"),
        (lambda x: (x + 1) / x, r"division by 1e-200.* its second operand, the divisor"),
        (lambda x: x.log() ** x, r"outside the real domain|with respect to its second operand"),
        (lambda x: (x - x).sqrt(), r"derivative of sqrt\(0\.0\) with respect to its first operand"),
        (lambda x: (2 * x * 0.5) ** -1, r"derivative of division by 1e-200, 1e-200 \*\* -1\.0"),
    ],
)  # fmt: skip
def test_messages_name_what_the_user_wrote(body: Callable[[Any], Any], message: str) -> None:
    with pytest.raises((ArithmeticError, ValueError), match=message):
        body(Value(1e-200)).backward()
    for options in (MODES["exact"], MODES["fast"]):
        with pytest.raises(FloatingPointError, match=message):
            pygradc.compile(body, **options).gradients(np.array([1e-200]))


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_square_fails_as_the_power_that_it_is(mode: str) -> None:
    """Fast mode computes a * a, alone or in a dot."""
    w = Value(3.0)
    for function in (
        lambda x: 1 / x**2,
        lambda x: x**2 + 1.0,
        lambda x: x**2 + (x * 1e-200) ** 2 + x * w,
        lambda x: sum([x**2, w**2, x]),
    ):
        f = pygradc.compile(function, math=mode)
        with pytest.raises(FloatingPointError, match=r"row 2: 1e\+200 \*\* 2\.0: result too large"):
            f.map([1.0, -2.0, 1e200, 1.0])
        with pytest.raises(FloatingPointError, match="row 40: "):
            f.sum([1.0] * 40 + [1e200] + [2.0] * 9)
        assert np.isfinite(f.map([1.0, 1e150])).all()
    g = pygradc.compile(lambda x: where(x < 1e150, x**2 + (2 * x) ** 2, x), math=mode)
    assert g.map([2.0, 1e200]).tolist() == [20.0, 1e200]
    assert np.isinf(pygradc.compile(lambda x: x * x + 1.0, math=mode).map([1e200])).all()
    h = pygradc.compile(lambda x: x * (w**2 + w), math=mode)
    w.data = 1e200
    with pytest.raises(FloatingPointError, match=r"parameters only: .* result too large"):
        h.sum([1.0, 2.0])
    lenient = pygradc.compile(lambda x: x**2 + x, math=mode, errors="ignore")
    assert np.isinf(lenient.map([1e200])).all()
