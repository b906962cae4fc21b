"""Is each op right, and would we notice if it weren't?

For every row of the table: the core against the oracle to the last bit, where the row samples, at
the edges of the floats, and where data were changed by hand; and against central differences, by a
checker that must itself reject a wrong derivative.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpmath import mp

from bench import accuracy_ops
from pygradc import Value, compile, reference
from pygradc.core.ops import BY_NAME, OPS, ROWS, Op

SAMPLES = 300
# fmt: off
SPECIAL = (0.0, -0.0, 1.0, -1.0, 1.5, -3.0, 5e-324, -1e-310, 1e308, -1e308,
           math.inf, -math.inf, math.nan)
# fmt: on
# Where libm has easy answers, and a compiler may be tempted to know better.
ROUND = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)

ROOT = Path(__file__).resolve().parent.parent
each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
Point = tuple[float, ...]


def bits(x: float) -> bytes:
    """All that a float is; every nan is the same."""
    return b"nan" if math.isnan(x) else struct.pack("<d", x)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What the call returns, or the type of what it raises."""
    try:
        return function(*args)
    except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
        return type(error)


def generator(op: Op) -> np.random.Generator:
    return np.random.default_rng(op.number)


def sampled(op: Op) -> list[Point]:
    low, high = zip(*op.intervals)
    points = generator(op).uniform(low, high, (SAMPLES, len(low)))
    if op.name == "polygamma":
        points[:, 1] = np.rint(points[:, 1])  # an order
    return [tuple(point) for point in points.tolist()]


def round_points(op: Op) -> list[Point]:
    """Sampled points whose last operand is a round number."""
    firsts = [point[:-1] for point in sampled(op)[:30]]
    return [(*first, last) for first in firsts for last in ROUND]


def special_points(op: Op) -> list[Point]:
    return list(itertools.product(SPECIAL, repeat=len(op.intervals)))


def apply(engine: Any, op: Op, point: Point) -> tuple[Any, list[Any]]:
    """The op's node, and the operands that are nodes."""
    operands = [engine(x) for x in point[: op.arity]]
    if op.takes_number:
        return getattr(operands[0], op.method)(point[1]), operands
    return getattr(operands[0], op.name)(*operands[1:]), operands


def numeric(points: Callable[[Op], list[Point]]) -> Any:
    """As a parameter: many points, none of them odd, so that sanitizers needn't see them."""
    return pytest.param(points, marks=pytest.mark.unsanitized)


def value(engine: Any, op: Op, point: Point) -> bytes:
    return bits(apply(engine, op, point)[0].data)


def derivatives(engine: Any, op: Op, point: Point) -> list[bytes]:
    y, operands = apply(engine, op, point)
    y.backward()
    return [bits(x.grad) for x in operands]


def behaviour(engine: Any, op: Op, point: Point) -> tuple[Any, Any]:
    return outcome(value, engine, op, point), outcome(derivatives, engine, op, point)


# ---- Is it the oracle's, bit for bit? ------------------------------------------------------------


@each_op
@pytest.mark.parametrize("points", [numeric(sampled), numeric(round_points), special_points])
def test_value_and_derivatives_are_the_oracles(op: Op, points: Callable[[Op], list[Point]]) -> None:
    different = [
        (point, ours, oracles)
        for point in points(op)
        if (ours := behaviour(Value, op, point))
        != (oracles := behaviour(reference.Value, op, point))
    ]
    assert different == []


def derivatives_after_changes(engine: Any, op: Op, changed: Point) -> list[bytes]:
    """Derivatives read data as they are at backward time, not as they were when y was made."""
    y, operands = apply(engine, op, (1.0,) * len(op.intervals))
    for node, data in zip([y, *operands], changed):
        node.data = data
    y.backward()
    return [bits(x.grad) for x in operands]


@each_op
def test_derivatives_of_changed_data_are_the_oracles(op: Op) -> None:
    different = []
    for changed in itertools.product(SPECIAL, repeat=1 + op.arity):
        ours = outcome(derivatives_after_changes, Value, op, changed)
        oracles = outcome(derivatives_after_changes, reference.Value, op, changed)
        if ours != oracles:
            different.append((changed, ours, oracles))
    assert different == []


@pytest.mark.unsanitized
@each_op
def test_the_gradient_above_is_passed_on_to_the_last_bit(op: Op) -> None:
    def through_a_factor(engine: Any, point: Point, factor: float) -> list[bytes]:
        y, operands = apply(engine, op, point)
        (y * factor + y).backward()
        return [bits(x.grad) for x in operands]

    for point, factor in zip(sampled(op), generator(op).uniform(-3, 3, SAMPLES).tolist()):
        ours = through_a_factor(Value, point, factor)
        assert ours == through_a_factor(reference.Value, point, factor), (point, factor)


@pytest.mark.parametrize("op", [op for op in OPS if op.arity == 2], ids=lambda op: op.name)
def test_both_operands_may_be_the_same_node(op: Op) -> None:
    def of_itself(engine: Any, a: float) -> tuple[bytes, bytes]:
        x = engine(a)
        y = getattr(x, op.name)(x)
        y.backward()
        return bits(y.data), bits(x.grad)

    for a in [point[0] for point in sampled(op)] + list(SPECIAL):
        ours, oracles = outcome(of_itself, Value, a), outcome(of_itself, reference.Value, a)
        assert ours == oracles, a


COMPOSED: dict[str, Callable[[Any, float, float], Any]] = {
    "-a": lambda engine, a, b: -engine(a),
    "a - b": lambda engine, a, b: engine(a) - engine(b),
    "a - number": lambda engine, a, b: engine(a) - b,
    "number - a": lambda engine, a, b: b - engine(a),
    "a / b": lambda engine, a, b: engine(a) / engine(b),
    "a / number": lambda engine, a, b: engine(a) / b,
    "number / a": lambda engine, a, b: b / engine(a),
    "number ** a": lambda engine, a, b: abs(b) ** engine(a),
}


@pytest.mark.unsanitized
@pytest.mark.parametrize("expression", COMPOSED)
def test_composed_operators_are_the_oracles(expression: str) -> None:
    """Many points: 1/b and pow(b, -1) differ in the last bit for one b in some thousands."""
    build = COMPOSED[expression]
    points = np.random.default_rng(7).uniform(-1000, 1000, (20_000, 2)).tolist()
    if expression == "number ** a":
        points = [(a / 500, b) for a, b in points]
    different = [
        (a, b)
        for a, b in points
        if bits(build(Value, a, b).data) != bits(build(reference.Value, a, b).data)
    ]
    assert different == []


# ---- Is it the derivative at all? ----------------------------------------------------------------


def near_a_kink(op: Op, point: Point) -> bool:
    if op.name in ("relu", "abs", "sign", "leaky_relu", "elu"):
        return abs(point[0]) < 1e-3
    if op.name in ("floor", "ceil", "trunc", "rint"):  # jumps at the whole numbers, or halfway
        return abs(math.remainder(point[0] + 0.5 * (op.name == "rint"), 1.0)) < 1e-3
    if op.name in ("fmod", "mod", "floordiv"):
        return abs(math.remainder(*point)) < 1e-3
    return op.name in ("maximum", "minimum") and abs(point[0] - point[1]) < 1e-3


def central_difference(function: Callable[..., Any], point: Point, i: int) -> float:
    h = 1e-5
    ends = [(*point[:i], point[i] + step, *point[i + 1 :]) for step in (h, -h)]
    above, below = (function(*map(Value, end)).data for end in ends)
    return (above - below) / (ends[0][i] - ends[1][i])


def wrong_gradients(function: Callable[..., Any], point: Point) -> list[tuple[int, float, float]]:
    """The checker: which operand, the gradient that backward gave, and the central difference."""
    operands = [Value(x) for x in point]
    function(*operands).backward()
    expected = [central_difference(function, point, i) for i in range(len(point))]
    return [
        (i, x.grad, slope)
        for i, (x, slope) in enumerate(zip(operands, expected))
        if not math.isclose(x.grad, slope, rel_tol=1e-6, abs_tol=1e-9)
    ]


def as_function(op: Op, point: Point) -> Callable[..., Any]:
    """The op as a function of its nodes; a number is taken from the point."""
    if op.takes_number:
        return lambda a: getattr(a, op.method)(point[1])
    return lambda *operands: getattr(operands[0], op.name)(*operands[1:])


def smooth(op: Op) -> list[Point]:
    return [point for point in sampled(op) if not near_a_kink(op, point)]


@pytest.mark.unsanitized
@each_op
def test_derivatives_agree_with_central_differences(op: Op) -> None:
    assert len(smooth(op)) > SAMPLES * 0.9
    for point in smooth(op):
        assert wrong_gradients(as_function(op, point), point[: op.arity]) == [], point


def imitation(
    function: Callable[..., Any], point: Point, change: Callable[[float], float]
) -> Callable[..., Any]:
    """The same value at every point, from a custom node whose first derivative is changed."""
    operands = [Value(x) for x in point]
    function(*operands).backward()
    slopes = (change(operands[0].grad), *(x.grad for x in operands[1:]))
    return lambda *nodes: Value(function(*nodes).data, nodes, slopes)


WRONG: dict[str, Callable[[float], float]] = {
    "a hair too steep": lambda slope: slope + math.copysign(1e-5 * abs(slope) + 1e-6, slope),
    "wrong sign": lambda slope: -slope - 1e-6,
    "forgotten": lambda slope: 0.0 if slope else 1.0,
}


@pytest.mark.unsanitized
@each_op
@pytest.mark.parametrize("mistake", WRONG)
def test_the_checker_notices_a_wrong_derivative(op: Op, mistake: str) -> None:
    for point in smooth(op)[:20]:
        function, nodes = as_function(op, point), point[: op.arity]
        faithful = imitation(function, nodes, lambda slope: slope)
        assert wrong_gradients(faithful, nodes) == []
        wrong = wrong_gradients(imitation(function, nodes, WRONG[mistake]), nodes)
        assert [i for i, *_ in wrong] == [0]


# ---- What the table promises ---------------------------------------------------------------------


def test_no_table_misses_an_op() -> None:
    """docs/adding-an-op.md: what is written by hand, besides the row in csrc/ops/ops.def."""
    tables = {
        "OPS in pygradc/reference.py": set(reference.OPS),
        "ENTRIES in bench/accuracy_ops.py": set(accuracy_ops.ENTRIES),
        "the table in docs/ops.md (make docs)": written_in("docs/ops.md")
        | {"add", "mul", "mod", "floordiv"},
        "the stub pygradc/_core.pyi (make docs)": written_in("pygradc/_core.pyi"),
        "docs/accuracy.md (python -m bench.accuracy_ops --write)": written_in("docs/accuracy.md"),
    }
    for table, names in tables.items():
        missing = sorted(set(BY_NAME) - names - {"pow", "pown"})
        assert not missing, f"{table} lacks {', '.join(missing)}"
    assert set(reference.OPS) == set(accuracy_ops.ENTRIES) == set(BY_NAME)


@pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="no sources here")
def test_each_row_has_a_rule() -> None:
    text = (ROOT / "csrc" / "ops" / "ops.def").read_text(encoding="utf-8")
    rows = re.findall(
        r"^PG_(?:HIDDEN_)?(?:UNARY|(?:METHOD_)?NUMBER|BINARY) *\((\w+)", text, re.MULTILINE
    )
    rules = re.findall(r"^PG_RULE\((\w+)", text, re.MULTILINE)
    assert sorted(rows) == sorted(rules) and len(rows) == len(ROWS)


def test_table_and_oracle_say_the_same_of_each_op() -> None:
    table = [(op.name, op.symbol, op.arity) for op in OPS]
    oracle = [
        (name, op.symbol + "n" * (name == "pown"), len(op.derivatives))
        for name, op in reference.OPS.items()
    ]
    assert table == oracle


def written_in(path: str) -> set[str]:
    return set(re.findall(r"\w+", (ROOT / path).read_text(encoding="utf-8")))


@each_op
def test_a_row_says_all_that_it_should(op: Op) -> None:
    assert BY_NAME[op.name] is op
    assert op.number == OPS.index(op) + 1
    assert op.doc and op.value and all(op.derivatives)
    assert len(op.derivatives) == op.arity
    assert len(op.intervals) == op.arity + op.takes_number
    assert all(low < high for low, high in op.intervals)


@each_op
def test_a_row_is_a_method_unless_it_takes_a_number(op: Op) -> None:
    assert hasattr(Value, op.name) == hasattr(reference.Value, op.name) == (op.name == op.method)
    if op.name == op.method:
        assert getattr(Value, op.name).__doc__ == op.doc


@each_op
def test_a_node_says_what_it_is(op: Op) -> None:
    point = sampled(op)[0]
    y, operands = apply(Value, op, point)
    assert y._op == (f"**{point[1]}" if op.name == "pown" else op.symbol)
    assert len(y._children) == op.arity
    assert all(child is operand for child, operand in zip(y._children, operands))


def gradients(function: Callable[..., Value], *point: float) -> list[float]:
    operands = [Value(x) for x in point]
    function(*operands).backward()
    return [x.grad for x in operands]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_and_abs_are_flat_at_zero(zero: float) -> None:
    assert gradients(Value.relu, zero) == [0.0]
    assert gradients(abs, zero) == [0.0]
    assert gradients(Value.abs, zero) == [0.0]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (0.0, -0.0), (-0.0, 0.0), (math.inf, math.inf)])
def test_a_tie_goes_to_the_first(name: str, a: float, b: float) -> None:
    first, second = Value(a), Value(b)
    y = getattr(first, name)(second)
    y.backward()
    assert bits(y.data) == bits(a)
    assert (first.grad, second.grad) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_with_itself_counts_once(name: str) -> None:
    assert gradients(lambda x: getattr(x, name)(x), 2.0) == [1.0]


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize(("a", "b"), [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)])
def test_nan_wins_every_comparison(name: str, a: float, b: float) -> None:
    y = getattr(Value(a), name)(b)
    assert math.isnan(y.data)
    assert gradients(getattr(Value, name), a, b) == ([1.0, 0.0] if math.isnan(a) else [0.0, 1.0])


DIVIDENDS = (*SPECIAL, 7.0, -7.0, 0.1, 6.5, 2.5, -2.5, 0.7)
DIVISORS = (*SPECIAL, 0.1, -0.1, 2.0, -2.0, 1e-300, 0.35)


@pytest.mark.parametrize("a", DIVIDENDS)
@pytest.mark.parametrize("b", DIVISORS)
def test_divisions_are_those_of_floats(a: float, b: float) -> None:
    """On either side of a number, and of two Values; by a method, in place and by divmod."""
    for floats, ours in (
        (lambda: a % b, (lambda x, y: x % y, Value.mod, operator.imod)),
        (lambda: a // b, (lambda x, y: x // y, Value.floordiv, operator.ifloordiv)),
        (lambda: divmod(a, b)[0], (lambda x, y: divmod(x, y)[0],)),
        (lambda: divmod(a, b)[1], (lambda x, y: divmod(x, y)[1],)),
    ):  # fmt: skip
        expected = outcome(lambda f=floats: bits(f()))
        for divide in ours:
            for x, y in ((Value(a), Value(b)), (Value(a), b), (a, Value(b))):
                if isinstance(x, Value) or divide not in (Value.mod, Value.floordiv):
                    assert outcome(lambda f=divide, x=x, y=y: bits(f(x, y).data)) == expected


@pytest.mark.parametrize("a", DIVIDENDS)
def test_whole_numbers_are_those_of_math(a: float) -> None:
    for name, function in (("floor", math.floor), ("ceil", math.ceil), ("trunc", math.trunc)):
        expected = float(function(a)) if math.isfinite(a) else a
        assert bits(function(Value(a)).data) == bits(getattr(Value(a), name)().data)
        assert bits(abs(function(Value(a)).data)) == bits(abs(expected))
    expected = float(round(a)) if math.isfinite(a) else a
    assert {bits(abs(v.data)) for v in (round(Value(a)), Value(a).round(), Value(a).rint())} == {
        bits(abs(expected))
    }


@pytest.mark.parametrize("a", [-9.0, -40.0, -1e5, -1e10])
def test_log_ndtr_is_right_in_the_tail(a: float) -> None:
    """-a^2/2 - log(-a sqrt(2 pi)) + log(1 - 1/a^2 + 3/a^4 ...)"""
    series = math.log1p(
        sum((-1) ** k * math.prod(range(1, 2 * k, 2)) / a ** (2 * k) for k in (1, 2, 3, 4))
    )
    expected = -0.5 * a * a - math.log(-a) - 0.5 * math.log(2 * math.pi) + series
    assert Value(a).log_ndtr().data == pytest.approx(expected, rel=1e-7 if a == -9.0 else 1e-15)
    x = Value(a)
    x.log_ndtr().backward()
    assert x.grad == pytest.approx(-a, rel=2.0 / a**2)


@pytest.mark.parametrize("a", [0.0, -0.0, -1.0, -7.0, 1e308, -1e300])
def test_lgamma_fails_where_maths_does(a: float) -> None:
    assert outcome(lambda: Value(a).lgamma().data) is outcome(math.lgamma, a)
    assert outcome(lambda: Value(a).digamma().data) in (ValueError, math.log(1e308))


@pytest.mark.parametrize("a", [1e17, 1e160, 1e300])
def test_polygamma_of_a_large_number_is_its_first_term(a: float) -> None:
    assert Value(a).polygamma(1).data == pytest.approx(1.0 / a, rel=1e-15, abs=0.0)


@pytest.mark.parametrize("n", [1, 2, 9, 28, 29, 60, 99, 100])
def test_polygamma_keeps_its_digits_where_its_sum_would_underflow(n: int) -> None:
    """The sum is n! times smaller than the result."""
    with mp.workdps(40):
        for exponent in (-280, -289, -291, -300, -307, -311, -323):
            a = float(mp.mpf(10) ** (-mp.mpf(exponent) / n))
            truth = mp.polygamma(n, a) if n * a < 1e9 else far_polygamma(n, mp.mpf(a))
            y = Value(a).polygamma(n)
            least = mp.mpf(math.ulp(float(truth)))
            assert abs(mp.mpf(y.data) - truth) <= 10 * least, (n, a)
            assert compile(lambda x: x.polygamma(n)).map([a])[0] == y.data == oracle(a, n)


def far_polygamma(n: int, a: Any) -> Any:
    """By its series of powers of 1 / a, far out."""
    first = (-1) ** (n + 1) * mp.factorial(n - 1) / a**n
    return first * (1 + mp.mpf(n) / (2 * a) + mp.mpf(n) * (n + 1) / (12 * a * a))


def oracle(a: float, n: int) -> float:
    return reference.Value(a).polygamma(n).data


def test_polygamma_takes_whole_orders() -> None:
    assert Value(1.0).polygamma(1).data == pytest.approx(math.pi**2 / 6, rel=1e-15)
    assert Value(2.5).polygamma(0).data == Value(2.5).digamma().data
    for order in (-1, 0.5, 101):
        with pytest.raises(ValueError, match=r"polygamma\(1.0, "):
            Value(1.0).polygamma(order)
    with pytest.raises(TypeError):
        Value(1.0).polygamma()


def test_a_divisor_of_zero_names_the_op() -> None:
    with pytest.raises(ZeroDivisionError, match=r"mod\(1.0, 0.0\)"):
        Value(1.0) % 0.0
    with pytest.raises(ZeroDivisionError, match=r"floordiv\(nan, 0.0\)"):
        Value(math.nan) // 0.0
    with pytest.raises(ValueError, match=r"fmod\(1.0, 0.0\)"):
        Value(1.0).fmod(0.0)


@pytest.mark.parametrize("a", [0.0, -0.0, 2.0, -2.0, math.inf])
@pytest.mark.parametrize("exponent", [0, 0.0, -0.0])
def test_a_to_the_zero_is_constant(a: float, exponent: float) -> None:
    assert (Value(a) ** exponent).data == 1.0
    assert gradients(lambda x: x**exponent, a) == [0.0]


@pytest.mark.parametrize("b", [1.0, 2.0, 2.5])
def test_zero_to_a_power_has_no_slope_in_the_exponent(b: float) -> None:
    assert gradients(Value.pow, 0.0, b) == [1.0 if b == 1.0 else 0.0, 0.0]


@pytest.mark.parametrize("a", [-1000.0, 1000.0, -math.inf, math.inf])
def test_sigmoid_and_tanh_saturate_without_overflow(a: float) -> None:
    assert Value(a).sigmoid().data == (0.0 if a < 0 else 1.0)
    assert Value(a).tanh().data == math.copysign(1.0, a)
    assert gradients(Value.sigmoid, a) == gradients(Value.tanh, a) == [0.0]


# ---- Any number on either side -------------------------------------------------------------------

NUMBERS: list[Any] = [
    0, 3, -2, 2**53 + 1, 10**20, True, False,
    0.0, -0.0, 2.5, -1.5, 0.1, 5e-324, 1e308, math.inf, -math.inf, math.nan,
    np.float64(1.5), np.float64(0.1), np.float32(0.1), np.float16(0.1),
    np.int64(7), np.int32(-7), np.uint8(200), np.bool_(True), np.bool_(False),
    np.longdouble("0.1"), np.longdouble(-3),
    Fraction(1, 3), Fraction(-7, 2),
]  # fmt: skip
OPERATORS = (
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.pow),
    *(operator.mod, operator.floordiv),
)
COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge)
BINARY_METHODS = tuple(op.name for op in OPS if op.arity == 2)

each_number = pytest.mark.parametrize("number", NUMBERS, ids=lambda x: f"{type(x).__name__}({x})")


def structure(node: Any) -> Any:
    """Data and op of a node and of all that it is made of."""
    return bits(node.data), node._op, tuple(structure(child) for child in node._children)


@each_number
@pytest.mark.parametrize("apply", OPERATORS, ids=lambda f: f.__name__)
def test_a_number_on_either_side(apply: Callable[[Any, Any], Any], number: Any) -> None:
    def both_sides(engine: Any, data: float) -> Any:
        on_the_right = outcome(lambda: structure(apply(engine(data), number)))
        return on_the_right, outcome(lambda: structure(apply(number, engine(data))))

    for data in (2.5, -1.5, 1.0):
        assert both_sides(Value, data) == both_sides(reference.Value, data)


@each_number
def test_an_operator_returns_a_value_whatever_the_number(number: Any) -> None:
    x = Value(1.5)
    results = [f(*pair) for f in OPERATORS[:3] for pair in ((x, number), (number, x))]
    assert {type(result) for result in results} == {Value}


@each_number
@pytest.mark.parametrize("name", BINARY_METHODS)
def test_a_method_takes_any_number(name: str, number: Any) -> None:
    ours = outcome(lambda: structure(getattr(Value(2.5), name)(number)))
    assert ours == outcome(lambda: structure(getattr(reference.Value(2.5), name)(number)))


@each_number
@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
def test_comparisons_with_any_number(compare: Callable[[Any, Any], Any], number: Any) -> None:
    for data in (2.5, -1.5, float(number), math.nan):
        for flip in (False, True):
            pair = (number, Value(data)) if flip else (Value(data), number)
            expected = compare(float(number), data) if flip else compare(data, float(number))
            assert bool(compare(*pair)) is expected


@each_number
def test_any_number_is_data(number: Any) -> None:
    x = Value(number)
    x.grad = number
    assert bits(x.data) == bits(x.grad) == bits(float(number))
    x.data = 0.0
    x.data = number
    assert type(x.data) is float and bits(x.data) == bits(float(number))


@pytest.mark.parametrize("odd", ["x", None, 1j, [1.0], object()], ids=lambda x: type(x).__name__)
def test_what_is_no_number_is_refused_as_the_oracle_does(odd: Any) -> None:
    for f in (*OPERATORS, *COMPARISONS):
        for engine in (Value, reference.Value):
            assert outcome(f, engine(2.0), odd) is TypeError
            assert outcome(f, odd, engine(2.0)) is TypeError
