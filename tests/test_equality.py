"""== and != of Values: by data with numbers, by identity with each other; the same when recorded.

And what a Value is not: a number that float(), math or numpy could compute with.
"""

# ruff: noqa: SIM201, SIM202, SIM300, B033, UP031 - in the forms that people use
from __future__ import annotations

import cmath
import functools
import math
import operator
import pickle
import statistics
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpys import HANDS_ON

import pygradc
from pygradc import TraceError, Value, compile, reference, where

DATA = (0.0, -0.0, 1.0, -1.5, 2.0**53, 2.0**53 + 2, 1e300, 5e-324, math.inf, -math.inf, math.nan)
NUMBERS = (
    *DATA,
    0,
    1,
    True,
    False,
    2**53,
    2**53 + 1,
    -(10**400),
    10**400,
    10**300,
    Fraction(1),
    Fraction(1, 3),
    Fraction(10**400),
    np.float64(1.0),
    np.float32(1.0),
    np.float16(-1.5),
    np.int8(1),
    np.uint64(2**63),
    np.bool_(True),
    np.float64(math.nan),
    np.longdouble(1.0),
)
each_comparison = pytest.mark.parametrize("compare", [operator.eq, operator.ne])


@each_comparison
@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_value_is_equal_to_a_number_if_its_data_are(compare: Any, number: Any) -> None:
    for data in DATA:
        right = bool(compare(data, number))
        for found in (compare(Value(data), number), compare(number, Value(data))):
            assert type(found) in (bool, np.bool_) and bool(found) is right, data
        assert bool(compare(reference.Value(data), number)) is right
        assert compare(Value(data) * 1.0, number) == right


def test_a_number_that_no_float_is_equal_to_is_equal_to_no_value() -> None:
    third = Value(1.0) / 3.0
    assert third.data == float(Fraction(1, 3)) and third != Fraction(1, 3)
    assert reference.Value(third.data) != Fraction(1, 3)
    assert Value(0.1) != np.float32(0.1) and Value(float(np.float32(0.1))) == np.float32(0.1)


@pytest.mark.parametrize("other", ["1.0", None, 1j, [1.0], (1.0,), object(), Value, math], ids=repr)
def test_what_is_no_number_is_never_equal(other: Any) -> None:
    v = Value(1.0)
    assert not v == other and v != other and not other == v and other != v
    assert v.__eq__(other) is NotImplemented and v.__ne__(other) is NotImplemented


@pytest.mark.parametrize("other", ["1.0", None, 1j, [1.0], object(), Value], ids=repr)
def test_nor_when_recording(other: Any) -> None:
    f = compile(lambda x: x * 2.0 if x != other and not other == x else x)
    assert f(3.0).data == 6.0


def test_arrays_compare_their_items() -> None:
    array = np.array([Value(1.0), Value(2.0), 2.0], dtype=object)
    assert (array == 2.0).tolist() == [False, True, True] == (2.0 == array).tolist()
    assert (array != 2.0).tolist() == [True, False, False]
    assert (np.array([1.0, 2.0]) == Value(2.0)).tolist() == [False, True]
    assert (Value(2.0) == np.array([1.0, 2.0])).tolist() == [False, True]
    assert np.array(2.0) == Value(2.0) and Value(2.0) == np.array(2.0)
    assert np.flatnonzero(array == 2).tolist() == [1, 2]


def test_lists_and_sets() -> None:
    a, b = Value(1.0), Value(1.0)
    assert 1.0 in [a] and a in (1, 2) and [a] == [1.0] and [a] != [b] and (a, 2) == (a, 2)
    assert a not in {1.0} and 1.0 not in {a} and {a: 2}.get(1.0) is None
    assert [0.0, a, b].index(1.0) == 1 and [a, b, 1].count(1.0) == 3 and [b, a].index(a) == 1
    assert len({a, b, 1.0, True}) == 3


def test_an_own_equality_is_respected() -> None:
    class Near(Value):
        def __eq__(self, other: object) -> Any:
            return abs(self.data - getattr(other, "data", other)) < 0.1  # type: ignore[operator]

        __hash__ = Value.__hash__

    assert Near(1.0) == 1.05 and Value(1.05) == Near(1.0) and Near(1.0) == Near(1.01)
    assert not Near(1.0) != 1.05 and Value(1.0) != Value(1.0)


def run(code: str) -> None:
    """Patches stay in a Python of its own."""
    root = Path(pygradc.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_patched_equality_is_respected() -> None:
    run("""
from pygradc import Value, compile
Value.__eq__ = lambda self, other: self is other
Value.__hash__ = object.__hash__
a = Value(1.0)
assert a == a and a != 1.0 and not a == 1.0 and 1.0 != a and not a == Value(1.0)
assert compile(lambda x: x * 2 if x == 1.0 else x * 3)(1.0).data == 3.0
""")


# ---- recorded -----------------------------------------------------------------------------------


def choices(x: Value, w: Value) -> Any:
    return [
        where(x == 1.0, w * x, -w * x),
        where(x != 1, w * x, -w * x),
        where(~(x == 1.0), w * x, -w * x),
        where(np.float64(1.0) == x if HANDS_ON else x == np.float64(1.0), w * x, -w * x),
        where((x == 1) | (x == 2), w * x, -w * x),
        where((x != 1) & (w == 3), w * x, -w * x),
        where(w == 3.0, w * x, -w * x),
        where(x.tanh() != 0, w * x, x * x),
    ]


def right(x: float, w: float) -> list[float]:
    conditions = [x == 1, x != 1, x != 1, x == 1, x in (1, 2), x != 1 and w == 3, w == 3]
    last = w * x if math.tanh(x) != 0 else x * x
    return [*(w * x if holds else -w * x for holds in conditions), last]


ROWS = [0.0, 1.0, 2.0, -0.0, 0.5, math.inf, 1.0]


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("errors", ["raise", "ignore"])
def test_recorded_choices_by_equality(mode: str, errors: str, tmp_path: Path) -> None:
    w = Value(3.0)
    f = compile(lambda x: choices(x, w), math=mode, errors=errors)
    f.map(ROWS)
    for program in (f, f.programs[0], pickle.loads(pickle.dumps(f.programs[0])), reload(f)):
        parameter = w if program in (f, f.programs[0]) else program.parameters()[0]
        for number in (3.0, 4.0):
            parameter.data = number
            found = program.map(ROWS)
            assert found.tolist() == [right(x, number) for x in ROWS]
        parameter.data = 3.0
    _, along = f.jvp([1.0], ROWS[:3])
    assert along.tolist() == [
        [0.0, -0.0, -0.0, -0.0, -0.0, 0.0, 0.0, 0.0],
        [1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0],
        [-2.0, 2.0, 2.0, -2.0, 2.0, 2.0, 2.0, 2.0],
    ]


def reload(f: Any) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        f.programs[0].save(f"{folder}/f")
        return pygradc.load(f"{folder}/f")


def test_the_listing_and_c_say_it() -> None:
    f = compile(lambda x: where(x == 1.0, x, 2.0) + where(x != 2.0, x, 3.0) + where(~(x < 3), x, 1))
    f(1.0)
    text, c = str(f.programs[0]), f.programs[0].to_c()
    assert "if in0 == 1.0 else" in text and "if in0 != 2.0 else" in text
    assert "== 1.0)" in c and "!= 2.0)" in c


def test_a_condition_of_constants_is_known() -> None:
    def function(x: Value) -> Value:
        assert Value(1.0) == 1 and Value(1.0) != 2 and not Value(1.0) == 1.5
        assert Value(2.0) * 2 in (3, 4) and Value(2.0) not in [1.0]
        return x * (2.0 if Value(math.nan) == math.nan else 3.0)

    assert compile(function)(1.0).data == 3.0


def test_a_cross_entropy_with_labels_learns() -> None:
    """`if y == 1` froze the first row's answer, and the loss went to 0 with wrong predictions."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=200)
    Y = (X > 0.3).astype(float)
    w, b = Value(0.0), Value(0.0)

    def loss(x: Any, y: Any) -> Any:
        p = (w * x + b).sigmoid()
        return where(y == 1, -p.log(), -(1 - p).log())

    def branching(x: Any, y: Any) -> Any:
        p = (w * x + b).sigmoid()
        return -p.log() if y == 1 else -(1 - p).log()

    with pytest.raises(TraceError, match=r"test_equality\.py:\d+: .*bool.*where"):
        compile(branching).mean(X, Y)
    f = compile(loss)
    for p in (w, b):
        p.grad = 0.0
    f.mean(X, Y).backward()
    gradients = w.grad, b.grad
    w.grad = b.grad = 0.0
    (sum(branching(Value(x), Value(y)) for x, y in zip(X, Y)) / 200.0).backward()
    np.testing.assert_allclose((w.grad, b.grad), gradients, rtol=1e-12)
    pygradc.fit(f, X, Y, pygradc.optim.Adam([w, b], lr=0.1), epochs=30, batch_size=50, seed=0)
    predicted = w.data * X + b.data > 0
    assert np.mean(predicted == (Y == 1)) > 0.95


@pytest.mark.parametrize("of", ["input", "parameter", "constant"])
def test_two_values_are_not_compared_when_recording(of: str) -> None:
    w, v = Value(1.0), Value(1.0)

    def pair(x: Value) -> tuple[Value, Value]:
        return {"input": (x, x * 2), "parameter": (w, v), "constant": (Value(1.0), Value(1.0))}[of]

    for ask in (operator.eq, operator.ne, lambda a, b: a in [b], lambda a, b: [b].index(a)):
        with pytest.raises(TraceError, match=r"(==|!=) of a Value"):
            compile(lambda x, ask=ask: (x, ask(*pair(x)))[0])(1.0)
    f = compile(lambda x: x * 2.0 if (a := pair(x)[0]) == a and not a != a and a in [a] else x)
    assert f(1.0).data == 2.0


# ---- no plain number ----------------------------------------------------------------------------

CONVERSIONS: dict[str, Any] = {
    "float": float,
    "int": int,
    "complex": complex,
    "math.exp": math.exp,
    "math.isclose": lambda v: math.isclose(v, 1.0),
    "math.fsum": lambda v: math.fsum([v]),
    "cmath.exp": cmath.exp,
    "statistics.fmean": lambda v: statistics.fmean([v]),
    "an item of an array": lambda v: np.zeros(2).__setitem__(0, v),
    "np.array": lambda v: np.array([v], dtype=float),
    "np.interp": lambda v: np.interp(v, [0.0, 1.0], [0.0, 1.0]),
    "np.float64": np.float64,
    "astype": lambda v: np.array([v]).astype(np.float32),
    "'%f'": lambda v: "%f" % v,
}
INTEGERS: dict[str, Any] = {
    "range": range,
    "operator.index": operator.index,
    "an index": lambda v: [1.0, 2.0][v],
    "a slice": lambda v: [1.0, 2.0][:v],
    "repetition": lambda v: [1.0] * v,
    "chr": chr,
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_no_conversion_loses_a_gradient(convert: Any) -> None:
    for v in (Value(1.0), Value(0.5) * 2):
        with pytest.raises(TypeError, match=r"v\.data for its number.*v\.exp") as caught:
            convert(v)
        assert not isinstance(caught.value, TraceError)


def test_a_value_is_not_rounded_to_digits() -> None:
    assert round(Value(2.5), None).data == 2.0
    for digits in (0, 2, -1):
        with pytest.raises(TypeError, match=r"no number of digits.*\(v \* 10\*\*n\)\.round"):
            round(Value(1.0), digits)
        with pytest.raises(TraceError, match=r"round\(\) to digits.*\.round\(\) / 10"):
            compile(lambda x, n=digits: round(x, n))(1.0)


@pytest.mark.parametrize("convert", INTEGERS.values(), ids=INTEGERS)
def test_a_value_is_no_integer(convert: Any) -> None:
    with pytest.raises(TypeError, match=r"is not an integer or index; int\(v\.data\) is one"):
        convert(Value(1.0))


@pytest.mark.parametrize("convert", {**CONVERSIONS, **INTEGERS}.values())
@pytest.mark.parametrize("of_parameter", [False, True])
def test_nor_when_it_is_recorded(convert: Any, of_parameter: bool) -> None:
    w = Value(1.0)
    with pytest.raises(TraceError, match=r"^.*test_equality\.py:\d+: .*Instead"):
        compile(lambda x: (x, convert(w if of_parameter else x * 2))[0])(1.0)


def test_formats_and_order_stay() -> None:
    v = Value(1.0) * 2.5
    assert f"{v:.3f}" == "2.500" and format(v, ">8") == "     2.5" and f"{v}" == repr(v)
    assert v > 2 and v < Value(3.0) and sorted([Value(2.0), 1.0, v]) == [1.0, 2.0, 2.5]


def test_an_own_conversion_stays() -> None:
    class Convertible(Value):
        def __float__(self) -> float:
            return self.data

        def __int__(self) -> int:
            return int(self.data)

        def __index__(self) -> int:
            return int(self.data)

        def __round__(self, digits: Any = None) -> Any:
            return round(self.data, digits)

        def __floor__(self) -> int:
            return math.floor(self.data)

    v = Convertible(1.75)
    assert (float(v), int(v), round(v), math.floor(v), [3, 4][v]) == (1.75, 1, 2, 1, 4)
    assert math.sqrt(Convertible(4.0)) == 2.0 and np.array([v], dtype=float)[0] == 1.75
    run("""
import math
from pygradc import Value
Value.__float__ = lambda self: self.data
assert float(Value(4.0)) == 4.0 and math.sqrt(Value(2.0) * 2) == 2.0
""")


def test_math_is_refused_where_the_gradient_would_be_wrong() -> None:
    x = Value(1.0)
    with pytest.raises(TypeError, match=r"v\.exp\(\)"):
        x * math.exp(x)  # type: ignore[arg-type]
    y = x * x.exp()
    y.backward()
    assert x.grad == 2 * math.e
    assert functools.reduce(operator.add, [x, x.exp()]).data == 1 + math.e
