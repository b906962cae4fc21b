"""How far is each op's value and derivative from the true one, and do the documents say so?

The truth is mpmath's, at 50 digits; bench/accuracy_ops.py measures, and says where it looks.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import re
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mpmath")
from mpmath import mp

import pygradc
from bench import accuracy_ops
from pygradc import Value, losses, reference
from pygradc.core.ops import BY_NAME, OPS

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]
POINTS = 300
glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another libm has errors of its own"
)
each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


@pytest.fixture(autouse=True)
def fifty_digits() -> Any:
    with mp.workdps(accuracy_ops.DIGITS):
        yield


def broken(name: str, kind: str) -> list[int]:
    """Which of the op's promises don't hold on these points: 0 for the value, then derivatives."""
    interval, everywhere = (
        accuracy_ops.errors(BY_NAME[name], POINTS, where, kind, seed=5) for where in (False, True)
    )
    promises = accuracy_ops.promises_of(name, kind)
    assert len(promises) == len(interval) == len(everywhere)
    return [i for i, p in enumerate(promises) if p.broken(interval[i], everywhere[i])]


@glibc
@each_op
def test_values_and_derivatives_are_as_near_as_stated(op: Any) -> None:
    assert broken(op.name, "exact") == []


@glibc
@pytest.mark.parametrize("name", sorted(accuracy_ops.FAST))
def test_fast_mode_is_as_near_as_stated(name: str) -> None:
    assert broken(name, "fast") == []


@each_op
def test_a_derivative_a_little_off_would_be_noticed(
    op: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, slope, *rest = accuracy_ops.TRUTHS[op.name]

    def steeper(a: Any, b: Any) -> Any:
        right = slope(a, b)
        return right + (right or 1) * mp.mpf(2) ** -40

    off = [value, steeper, *rest]
    monkeypatch.setitem(accuracy_ops.TRUTHS, op.name, off)
    assert broken(op.name, "exact") == [1]


@each_op
def test_these_are_the_bits_of_eager_code_and_of_the_oracle(op: Any) -> None:
    """Edges and all; where an op raises, the replay has inf or nan, or a derivative that is."""

    def eagerly(engine: Any, row: tuple[float, ...]) -> list[float]:
        values = [engine(x) for x in row[: op.arity]]
        if op.name in ("add", "mul"):
            out = values[0] + values[1] if op.name == "add" else values[0] * values[1]
        elif op.takes_number:
            out = getattr(values[0], op.method)(row[1])
        else:
            out = getattr(values[0], op.name)(*values[1:])
        out.backward()
        return [out.data, *(value.grad for value in values)]

    columns = accuracy_ops.arguments(op, 30, everywhere=True, seed=6)
    replayed = np.stack(accuracy_ops.computed(op, "exact", columns), axis=1).tolist()
    compared = 0
    for row, expected in zip(zip(*(x.tolist() for x in columns)), replayed):
        try:
            found = eagerly(Value, row)
        except (ArithmeticError, ValueError):
            assert not all(map(math.isfinite, expected))
            with pytest.raises((ArithmeticError, ValueError)):
                eagerly(reference.Value, row)
            continue
        compared += 1
        assert repr(found) == repr(eagerly(reference.Value, row)) == repr(expected)
    assert compared > 20


def test_the_slope_of_erf_needs_what_the_square_leaves_out() -> None:
    """exp(-(a * a)) alone would be off by more than is promised."""
    a = 26.3 + 1e-3 * np.arange(50.0)
    rounded = 1.1283791670955126 * np.exp(-(a * a))
    ours = accuracy_ops.computed(BY_NAME["erf"], "exact", (a,))[1]
    truth, rows = accuracy_ops.TRUTHS["erf"][1], [(x,) for x in a.tolist()]
    promised = accuracy_ops.PROMISES["erf"][1].everywhere
    assert accuracy_ops._worst(ours.tolist(), truth, rows).ulp <= promised
    assert accuracy_ops._worst(rounded.tolist(), truth, rows).ulp > 20 * promised


@pytest.mark.parametrize("a", [28.0, 27.999999999999996, 1e155, 1e300, math.inf, math.nan])
def test_the_slope_of_erf_far_out(a: float) -> None:
    for x in (a, -a):
        for engine in (Value, reference.Value):
            v = engine(x)
            v.erf().backward()
            assert repr(v.grad) == repr(math.nan if math.isnan(a) else 0.0)


def test_tan_of_fast_mode_wherever_its_method_changes() -> None:
    """Near multiples of pi/2, where its reduction ends, and far beyond; 0 keeps its sign."""
    quarters = [*range(70), *(2**i + j for i in range(7, 31) for j in (-1, 0, 1))]
    x = [float(k * mp.pi / 2) for k in quarters]
    x += [0.0, 5e-324, 2.2250738585072014e-308, 1e-8, 1e22, 1e300, sys.float_info.max]
    near = [math.nextafter(a, to) for a in x for to in (0.0, math.inf)]
    x += [a for a in near if a < math.inf]
    x += [-a for a in x]

    f = pygradc.compile(lambda a: a.tan(), math="fast")
    found = f.map(np.array(x)).tolist()
    for a, y in zip(x, found):
        if a == 0.0:
            assert repr(y) == repr(a)
        else:
            assert accuracy_ops.error_in_ulp(y, mp.tan(mp.mpf(a))) < 1.1, a
    for rows in (1, 7, 8, 33):  # whatever a lane's neighbours are
        for at in range(0, len(x), rows):
            assert f.map(np.array(x[at : at + rows])).tolist() == found[at : at + rows]


@pytest.mark.parametrize("rows", [1, 8, 40])
def test_tan_of_fast_mode_at_infinity_and_of_nan(rows: int) -> None:
    f = pygradc.compile(lambda a: a.tan(), math="fast", errors="ignore")
    for odd in (math.inf, -math.inf, math.nan):
        x = np.full(rows, 0.5)
        x[-1] = odd
        y, (slope,) = f.gradients(x)
        assert np.isnan(y[-1]) and np.isnan(slope[-1])
        assert np.isfinite(y[:-1]).all() and np.isfinite(slope[:-1]).all()


SATURATING = {"tanh": lambda y: 1.0 - y * y, "sigmoid": lambda y: y * (1.0 - y)}
both_engines = pytest.mark.parametrize("engine", [Value, reference.Value])


def slope_of(engine: Any, name: str, x: float) -> tuple[float, float]:
    v = engine(x)
    y = getattr(v, name)()
    y.backward()
    return y.data, v.grad


@glibc
@both_engines
@pytest.mark.parametrize(("name", "last"), [("tanh", 372.5), ("sigmoid", 745.0)])
def test_the_slopes_of_the_saturated_have_all_their_digits(
    engine: Any, name: str, last: float
) -> None:
    for x in [3.5, 5.0, 10.0, 19.1, 37.0, 100.0, 300.0, 354.0, last]:
        slope = slope_of(engine, name, x)[1]
        assert accuracy_ops.error_in_ulp(slope, accuracy_ops.TRUTHS[name][1](mp.mpf(x), 0)) < 4.0
        assert name == "sigmoid" or slope_of(engine, name, -x)[1] == slope


@both_engines
@pytest.mark.parametrize("name", SATURATING)
def test_other_slopes_are_micrograds_to_the_last_bit(engine: Any, name: str) -> None:
    kept = replaced = 0
    for x in np.linspace(-6.0, 6.0, 2001).tolist():
        y, slope = slope_of(engine, name, x)
        if abs(y) <= 31 / 32:
            assert slope == SATURATING[name](y)
            kept += 1
        replaced += slope != SATURATING[name](y)
    assert kept > 600 and replaced > 100


@both_engines
@pytest.mark.parametrize("name", SATURATING)
def test_slopes_at_the_very_end(engine: Any, name: str) -> None:
    assert [slope_of(engine, name, x)[1] for x in (1e3, math.inf, -1e3)] == [0.0] * 3
    assert math.isnan(slope_of(engine, name, math.nan)[1])
    late = engine(50.0)
    out = getattr(late, name)()
    late.data = -800.0  # operands are read when backward() runs
    out.backward()
    assert late.grad == 0.0


# ---- Losses --------------------------------------------------------------------------------------


@glibc
def test_cross_entropy_is_as_near_as_stated() -> None:
    for what, error in accuracy_ops.loss_errors(POINTS, seed=5).items():
        assert 0.0 < error <= accuracy_ops.LOSS_PROMISES[what]


@pytest.mark.parametrize("target", [1, -1])
def test_hinge_is_exact_about_its_kink(target: int) -> None:
    """The margin is 1: there, and above, no gradient; below, all of it."""
    for margin, loss, slope in (
        (1.0 - 2.0**-53, 2.0**-53, -1.0),
        (1.0, 0.0, 0.0),
        (1.0 + 2.0**-52, 0.0, 0.0),
    ):
        score = Value(target * margin)
        out = losses.hinge(score, target)
        out.backward()
        assert (out.data, score.grad) == (loss, target * slope)


# ---- The document --------------------------------------------------------------------------------


def test_the_document_states_these_promises() -> None:
    text = accuracy_ops.DOCUMENT.read_text(encoding="utf-8")
    stated = re.findall(
        r"^\| ([\w, ]+) \| (?:value|by [ab]) \| (\S+) \|.*?\| ([^|]*?) \|", text, re.M
    )
    promised = [
        (name + mark, accuracy_ops._number(p.interval), accuracy_ops._everywhere(p))
        for kind, mark, names in (("exact", "", BY_NAME), ("fast", ", fast", accuracy_ops.FAST))
        for name in names
        for p in accuracy_ops.promises_of(name, kind)
    ]
    assert sorted(stated) == sorted(promised)
    assert set(accuracy_ops.PROMISES) == set(BY_NAME) == set(accuracy_ops.TRUTHS)
    for what, bound in accuracy_ops.LOSS_PROMISES.items():
        assert f"| {what} | {accuracy_ops._number(bound)} |" in text


def test_a_promise_that_does_not_hold_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    value, slope = accuracy_ops.PROMISES["tanh"]
    tight = dataclasses.replace(value, interval=0.6)
    monkeypatch.setitem(accuracy_ops.PROMISES, "tanh", (tight, slope))
    assert broken("tanh", "exact") == [0]


@pytest.mark.parametrize(
    ("interval", "everywhere", "of_1", "message"),
    [
        (2.6, 2.9, False, "interval: 2.6 ulp at (1.0,), but at most 2.5 was promised"),
        (2.5, 3.1, False, "everywhere: 3.1 ulp at (2.0,), but at most 3 was promised"),
        (2.5, 3.1, True, "everywhere: 7 ulp of 1 at (4.0,), but at most 3 was promised"),
        (math.inf, 1.0, False, "interval: inf ulp at (1.0,), but at most 2.5 was promised"),
        (math.nan, 1.0, False, "interval: nan ulp at (1.0,), but at most 2.5 was promised"),
    ],
)
def test_a_broken_promise_names_the_range_and_what_was_measured_there(
    interval: float, everywhere: float, of_1: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of relu's derivative, whose value keeps its promise."""
    kept = accuracy_ops.Worst(0.0, 0.0, (0.0,))
    near = accuracy_ops.Worst(interval, 0.5, (1.0,), (3.0,))
    far = accuracy_ops.Worst(everywhere, 7.0, (2.0,), (4.0,))
    promises = accuracy_ops.Promise(0.0, 0.0), accuracy_ops.Promise(2.5, 3.0, of_1)
    monkeypatch.setitem(accuracy_ops.PROMISES, "relu", promises)
    monkeypatch.setattr(
        accuracy_ops,
        "errors",
        lambda op, points, where, kind: [kept, far if where else near],
    )
    with pytest.raises(SystemExit) as ended:
        list(accuracy_ops._rows(BY_NAME["relu"], 1))
    assert str(ended.value) == f"relu, by a, exact: {message}"


def test_a_promise_broken_twice_says_both() -> None:
    near, far = (accuracy_ops.Worst(e, e, (e,), (e,)) for e in (2.0, 3.0))
    assert len(accuracy_ops.Promise(1.0, 1.0).broken(near, far)) == 2
    assert accuracy_ops.Promise(2.0, 3.0).broken(near, far) == []
