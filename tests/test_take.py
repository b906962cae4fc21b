"""take, searchsorted and interp: eager code, recordings, and derivatives of every kind."""

from __future__ import annotations

import functools
import math
import operator
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, interp, losses, nn, optim, searchsorted, take
from pygradc._core import lib
from pygradc.core.scalar import core
from tests.programs import bits, first_difference

ROWS = (1, 7, 8, 9, 32, 33, 100, 5000)
BAD = {-1.0: "negative", 5.0: "out of range", 1.5: "no whole number", math.nan: "no whole number",
       math.inf: "out of range", -math.inf: "negative", 1e300: "out of range"}  # fmt: skip


def parameters(*numbers: float) -> list[Value]:
    return [Value(number, label=f"w{i}") for i, number in enumerate(numbers)]


W = parameters(0.5, -1.25, 2.0, 0.75, -0.5)


def of_parameters(i: Any, x: Any, y: Any) -> Any:
    return take(W, i) * x + y


def of_inputs(i: Any, x: Any, y: Any) -> Any:
    return take([x, y, x, y, x], i) * W[0]


def of_expressions(i: Any, x: Any, y: Any) -> Any:
    return take([x * y, x + W[0], (y * W[1]).tanh(), x - y, W[2] * W[3]], i) * x


def of_constants(i: Any, x: Any, y: Any) -> Any:
    return take([1.0, 2.5, -0.0, 4.0, -3.0], i) * x * W[0]


def of_a_mixture(i: Any, x: Any, y: Any) -> Any:
    return (take([x, W[0], 2.0, y * W[1], W[0]], i) * W[2]).tanh()


def of_rows(i: Any, x: Any, y: Any) -> Any:
    row = take([[W[k], W[(k + 1) % 5], x] for k in range(5)], i)
    return row[0] * x + row[1] * y + row[2]


def of_a_place(i: Any, x: Any, y: Any) -> Any:
    return take(W, searchsorted([-1.0, 0.0, 0.5, 1.0], x)) * (y + i)


def of_itself(i: Any, x: Any, y: Any) -> Any:
    return take(W, take([4.0, 3.0, 2.0, 1.0, 0.0], i)) * x + take(W, i) * y


FUNCTIONS = [of_parameters, of_inputs, of_expressions, of_constants, of_a_mixture, of_rows,
             of_a_place, of_itself]  # fmt: skip


def columns(count: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, count), rng.uniform(-2, 2, count), rng.uniform(-2, 2, count)


def by_row(function: Callable[..., Any], row: tuple[Any, ...]) -> tuple[float, list[float], Any]:
    """What eager code gives: the value, and the gradients of x and y and of the parameters."""
    i, x, y = int(row[0]), Value(float(row[1])), Value(float(row[2]))
    for p in W:
        p.grad = 0.0
    result = function(i, x, y)
    result.backward()
    return result.data, [x.grad, y.grad], [p.grad for p in W]


def clear() -> None:
    for p in W:
        p.grad = 0.0


# ---- Eager code ---------------------------------------------------------------------------------


def test_an_entry_is_the_object_itself() -> None:
    assert take(W, 2) is W[2]
    assert take(W, np.int64(2)) is W[2] and take(W, 2.0) is W[2] and take(W, Value(2.0)) is W[2]
    assert take(tuple(W), True) is W[1] and take(W, -0.0) is W[0]
    assert take([[W[0], 1.0], [W[1], 2.0]], 1) == [W[1], 2.0]
    assert take(np.arange(6.0).reshape(3, 2), 1) == [2.0, 3.0]


@pytest.mark.parametrize("index", BAD, ids=repr)
@pytest.mark.parametrize("as_value", [False, True])
def test_an_index_that_names_no_entry(index: float, as_value: bool) -> None:
    message = f"take: index {index!r} is {BAD[index]}"
    with pytest.raises(IndexError, match=rf"{re.escape(message)}.* table of 5"):
        take(W, Value(index) if as_value else index)


def test_what_is_no_table_or_no_index() -> None:
    for table in ({0: 1.0}, {1.0}, "abc", 3.0, None):
        with pytest.raises(TypeError, match="take: the table must be a list"):
            take(table, 0)
    with pytest.raises(ValueError, match="take: the table is empty"):
        take([], 0)
    with pytest.raises(ValueError, match="different lengths: 1, 2"):
        take([[1.0], [1.0, 2.0]], 0)
    with pytest.raises(ValueError, match="different lengths: no row, 2"):
        take([1.0, [1.0, 2.0]], 0)
    with pytest.raises(ValueError, match="masked"):
        take(np.ma.array([1.0, 2.0], mask=[False, True]), 0)
    for index in ("1", None, [0]):
        with pytest.raises(TypeError, match="take: the index must be a number"):
            take(W, index)


# ---- Recorded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("math_mode", ["exact", "fast"])
@pytest.mark.parametrize("passes", [None, ()])
def test_values_and_gradients_of_rows(function: Any, math_mode: Any, passes: Any) -> None:
    f = pygradc.compile(function, math=math_mode, passes=passes)
    rows = columns(100)
    expected = [by_row(function, row) for row in zip(*rows)]
    exact = math_mode == "exact"

    def agree(ours: Any, theirs: Any) -> bool:
        return bits(ours) == bits(theirs) if exact else np.allclose(ours, theirs, rtol=1e-14)

    assert agree(f.map(*rows), [value for value, *_ in expected])
    values, (_, gx, gy) = f.gradients(*rows)
    assert agree(values, [value for value, *_ in expected])
    assert agree(np.stack([gx, gy], 1), [inputs for _, inputs, _ in expected])
    for row, (value, _, of_params) in list(zip(zip(*rows), expected))[:12]:
        clear()
        result = f(*row)
        result.backward()
        assert agree(result.data, value) and agree([p.grad for p in W], of_params)


def sum_of_rows(v: Any) -> float:
    """The order of sums that docs/how-replay-works.md states."""
    chunks = core.lib.pg_chunk_count(len(v))
    if chunks == 1:
        return functools.reduce(operator.add, v, 0.0)
    middle = core.lib.pg_chunk_start(len(v), core.lib.pg_chunk_middle(0, chunks))
    return sum_of_rows(v[:middle]) + sum_of_rows(v[middle:])


@pytest.mark.parametrize("count", ROWS)
def test_a_scatter_adds_rows_in_the_order_of_all_sums(count: int) -> None:
    rows = columns(count)
    f = pygradc.compile(of_parameters)
    clear()
    total = f.sum(*rows)
    total.backward()
    expected = [sum_of_rows(np.where(rows[0] == k, rows[1], 0.0).tolist()) for k in range(5)]
    assert bits([p.grad for p in W]) == bits(expected)
    assert total.data == sum_of_rows(f.map(*rows).tolist())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("count", ROWS)
def test_gradients_of_a_mean(function: Any, count: int) -> None:
    rows = columns(count)
    f = pygradc.compile(function)
    clear()
    f.mean(*rows).backward()
    ours = [p.grad for p in W]
    expected = np.mean([by_row(function, row)[2] for row in zip(*rows)], 0)
    assert np.allclose(ours, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_threads_give_the_same_bits(function: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    rows = columns(5000)
    f = pygradc.compile(function)
    found = []
    with ThreadPoolExecutor(2) as pool:
        for executor in (None, pool):
            clear()
            total = f.mean(*rows, executor=executor)
            total.backward()
            found.append(bits([total.data, *(p.grad for p in W)]))
    assert found[0] == found[1]


def test_a_parameter_twice_in_a_table_gets_both() -> None:
    a, b = Value(1.0), Value(2.0)
    f = pygradc.compile(lambda i, x: take([a, b, a], i) * x)
    f.sum([0, 1, 2, 2], [1.0, 10.0, 100.0, 1000.0]).backward()
    assert (a.grad, b.grad) == (1101.0, 10.0)


def test_one_instruction_a_result() -> None:
    f = pygradc.compile(of_rows)
    f(1, 0.5, 0.25)
    listing = str(f.programs[0])
    assert listing.count(" = take in0 of: ") == 3
    assert "take in0 of: p0, p2, p3, p4, p1" in listing or "take in0 of: p0, " in listing
    long = pygradc.compile(lambda i: take([Value(float(k)) * 1.0 for k in range(200)], i))
    assert long(7).data == 7.0
    assert "... 194 more ..." in str(long.programs[0])


def test_an_index_that_no_input_decides_is_plain_indexing() -> None:
    f = pygradc.compile(lambda x: take([x, W[0], W[1]], Value(1.0)) * x)
    assert f(2.0).data == 1.0 and "take" not in str(f.programs[0])
    with pytest.raises(IndexError, match="index 3"):
        pygradc.compile(lambda x: take([x, W[0], W[1]], 3))(1.0)


def test_an_index_of_parameters_is_evaluated_at_each_replay() -> None:
    choice, x = Value(1.0), Value(3.0)
    f = pygradc.compile(lambda x: take(W, choice) * x)
    assert f(2.0).data == -2.5
    choice.data = 2.0
    assert f(2.0).data == 4.0 and "once per replay" in str(f.programs[0])
    choice.data = 9.0
    with pytest.raises(FloatingPointError, match="what depends on parameters only: take: index 9"):
        f(x)
    kept: list[Any] = []
    choice.data = 4.0

    def keep(x: Value) -> Value:
        kept.extend((take(W, choice), searchsorted([0.0, 4.0], choice)))
        return x

    pygradc.compile(keep)(1.0)
    taken, place = kept
    clear()
    (taken * place).backward()
    assert (taken.data, place.data, W[4].grad, W[1].grad) == (-0.5, 1.0, 1.0, 0.0)


def test_a_comparison_is_an_index() -> None:
    f = pygradc.compile(lambda x: take([W[0], W[1]], x > 0))
    assert f.map([-1.0, 1.0]).tolist() == [0.5, -1.25]
    assert take([W[0], W[1]], True) is W[1]


# ---- Rows that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("index", BAD, ids=repr)
@pytest.mark.parametrize("function", [of_parameters, of_expressions])
@pytest.mark.parametrize("count", [1, 8, 32, 100])
def test_a_row_with_such_an_index_fails(index: float, function: Any, count: int) -> None:
    i, x, y = columns(count)
    i = i.astype(float)
    i[count // 2 :] = index
    f = pygradc.compile(function)
    f(0, 1.0, 1.0)
    message = f"row {count // 2}: take: index.*{BAD[index]}"
    for call in (f.map, f.mean, f.gradients):
        with pytest.raises(FloatingPointError, match=message):
            call(i, x, y)


@pytest.mark.parametrize("index", BAD, ids=repr)
@pytest.mark.parametrize("count", [1, 8, 32, 100])
def test_ignored_errors_are_nan_and_give_nothing(index: float, count: int) -> None:
    i, x, y = columns(count)
    i = i.astype(float)
    i[::3] = index
    f = pygradc.compile(of_parameters, errors="ignore")
    found = f.map(i, x, y)
    assert np.isnan(found[::3]).all() and np.isfinite(np.delete(found, np.s_[::3])).all()
    clear()
    f.sum(i, x, y).backward()
    expected = [sum_of_rows(np.where(i == k, x, 0.0).tolist()) for k in range(5)]
    assert bits([p.grad for p in W]) == bits(expected)
    g = pygradc.compile(of_expressions, errors="ignore")
    _, (_, gx, _) = g.gradients(i, x, y)
    assert np.isfinite(np.delete(gx, np.s_[::3])).all()


def test_an_entry_that_is_not_taken_neither_fails_nor_gets_anything() -> None:
    a = Value(0.0)
    f = pygradc.compile(lambda i, x: take([x.log(), x, 1.0 / a, a.sqrt() + x], i))
    x = np.full(40, -1.0)
    assert f.map(np.ones(40), x).tolist() == [-1.0] * 40
    _, (_, gx) = f.gradients(np.ones(40), x)
    assert gx.tolist() == [1.0] * 40
    f.mean(np.ones(40), x).backward()
    assert a.grad == 0.0
    with pytest.raises(FloatingPointError, match=r"row 39: log\(-1.0\)"):
        f.map([1] * 39 + [0], x)
    with pytest.raises(FloatingPointError, match=r"row 39: .*division by"):
        f.map([1] * 39 + [2], x)
    with pytest.raises(FloatingPointError, match=r"derivative of sqrt\(0.0\)"):
        f.mean([1] * 39 + [3], x)


def test_an_entry_that_is_not_a_number_stands() -> None:
    f = pygradc.compile(lambda i, x: take([x, x * 2.0], i))
    assert bits(f.map([0, 1], [math.nan, math.inf])) == bits([math.nan, math.inf])


def test_the_choice_decides_what_a_row_needs() -> None:
    """The index fails only where a row needs it, too."""
    f = pygradc.compile(lambda i, x: pygradc.where(x > 0, take(W, i), x))
    assert f.map([7, 1], [-1.0, 1.0]).tolist() == [-1.0, -1.25]
    with pytest.raises(FloatingPointError, match=r"row 0: take: index 7\.0"):
        f.map([7, 1], [1.0, 1.0])


# ---- Derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("count", [1, 20, 100])
def test_jvp_and_hvp_agree_with_differences(function: Any, count: int) -> None:
    f = pygradc.compile(lambda i, x, y: function(i, x, y).sin())
    rows = columns(count)
    f(*(column[0] for column in rows))
    names = f.parameters()
    direction = np.linspace(0.5, -1.0, len(names))
    start = [p.data for p in names]

    def moved(step: float, what: Callable[[], Any]) -> Any:
        for p, at, d in zip(names, start, direction):
            p.data = at + step * d
        found = what()
        for p, at in zip(names, start):
            p.data = at
        return found

    def gradient() -> Any:
        for p in names:
            p.grad = 0.0
        f.sum(*rows).backward()
        return np.array([p.grad for p in names])

    h = 1e-5
    _, tangents = f.jvp(direction, *rows)
    numeric = (moved(h, lambda: f.map(*rows)) - moved(-h, lambda: f.map(*rows))) / (2 * h)
    assert np.allclose(tangents, numeric, atol=1e-8)
    product = f.hvp(direction, *rows)
    numeric = (moved(h, gradient) - moved(-h, gradient)) / (2 * h)
    assert np.allclose(product, numeric, atol=1e-6)


def test_grad_in_a_recording_and_twice() -> None:
    def slope(i: Any, x: Any) -> Any:
        return pygradc.grad(take([x * x, x * x * x, W[0] * x], i), x)

    def curvature(i: Any, x: Any) -> Any:
        return pygradc.grad(slope(i, x), x)

    x = np.array([2.0, 3.0, 4.0])
    assert pygradc.compile(slope).map([0, 1, 2], x).tolist() == [4.0, 27.0, 0.5]
    assert pygradc.compile(curvature).map([0, 1, 2], x).tolist() == [2.0, 18.0, 0.0]
    f = pygradc.compile(slope)
    clear()
    f.sum([0, 1, 2], x).backward()
    assert W[0].grad == 1.0
    assert [slope(i, Value(v)).data for i, v in ((0, 2.0), (1, 3.0))] == [4.0, 27.0]


# ---- Files, C and copies ------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_saved_program_is_the_same(function: Any, tmp_path: Path) -> None:
    f = pygradc.compile(function)
    rows = columns(100)
    expected = f.map(*rows)
    f.programs[0].save(tmp_path / "f.pygradc")
    loaded = pygradc.load(tmp_path / "f.pygradc")
    assert bits(loaded.map(*rows)) == bits(expected)
    assert str(loaded).splitlines()[1:] == str(f.programs[0]).splitlines()[1:]
    assert bits(pickle.loads(pickle.dumps(f.programs[0])).map(*rows)) == bits(expected)
    assert first_difference(loaded.gradients(*rows)[0], f.gradients(*rows)[0]) is None


# ---- searchsorted -------------------------------------------------------------------------------

KNOTS = [-2.0, -0.5, -0.5, 0.0, 1.0, 1.0, 3.5]
PLACES = [*KNOTS, -3.0, 4.0, 0.5, -0.0, math.inf, -math.inf, math.nan, 1e-300, 3.0]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_places_are_numpys(side: Any, count: int) -> None:
    knots = KNOTS[:count]
    expected = [int(k) for k in np.searchsorted(knots, PLACES, side)]
    assert [searchsorted(knots, x, side) for x in PLACES] == expected
    assert [searchsorted(np.array(knots), Value(x), side=side) for x in PLACES] == expected
    f = pygradc.compile(lambda x: searchsorted(knots, x, side) * 1.0)
    for rows in (PLACES, PLACES * 5, PLACES[:8], PLACES[:1]):
        assert f.map(rows).tolist() == np.searchsorted(knots, rows, side).tolist()
    _, (gradient,) = f.gradients(PLACES)
    assert not gradient.any()


def test_what_are_no_knots() -> None:
    with pytest.raises(ValueError, match=r"isn't sorted: 2.0 before xs\[1\], 1.0"):
        searchsorted([2.0, 1.0], 0.0)
    with pytest.raises(ValueError, match=r"xs\[1\] is nan"):
        searchsorted([2.0, math.nan], 0.0)
    with pytest.raises(ValueError, match=r"xs\[0\] is -inf"):
        searchsorted([-math.inf, 1.0], 0.0)
    with pytest.raises(ValueError, match="xs is empty"):
        searchsorted([], 0.0)
    with pytest.raises(TypeError, match="xs must be numbers, not Value"):
        searchsorted([Value(1.0)], 0.0)
    with pytest.raises(TypeError, match="x must be a number or a Value, not str"):
        searchsorted([1.0], "1")
    with pytest.raises(ValueError, match="side must be 'left' or 'right', not 'middle'"):
        searchsorted([1.0], 1.0, "middle")


# ---- interp -------------------------------------------------------------------------------------

XS = [-2.0, -0.5, 0.0, 1.0, 1.75, 3.5]
YS = [1.0, -0.25, 4.0, 0.1, 7.0, -3.0]


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("math_mode", ["exact", "fast"])
def test_interpolation_has_numpys_bits(count: int, math_mode: Any) -> None:
    xs, ys = XS[:count], YS[:count]
    points = [*PLACES, *np.random.default_rng(0).uniform(-3, 4, 200)]
    expected = np.where(np.isnan(points), np.nan, np.interp(points, xs, ys))
    assert bits([interp(x, xs, ys) for x in points]) == bits(expected)
    assert bits([interp(Value(x), xs, ys).data for x in points]) == bits(expected)
    f = pygradc.compile(lambda x: interp(x, xs, ys), math=math_mode)
    assert bits(f.map(points)) == bits(expected)


def test_slopes_of_an_interpolation() -> None:
    f = pygradc.compile(lambda x: interp(x, XS, YS))
    points = [-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 3.0, 3.5, 9.0]
    slopes = (np.diff(YS) / np.diff(XS)).tolist()
    expected = [0.0, slopes[0], slopes[0], slopes[1], slopes[2], slopes[3], slopes[4], 0.0, 0.0]
    _, (gradient,) = f.gradients(points)
    assert gradient.tolist() == expected
    for x, slope in zip(points, expected):
        point = Value(x)
        interp(point, XS, YS).backward()
        assert point.grad == slope


@pytest.mark.parametrize("count", [1, 2, 6])
def test_interpolation_in_parameters(count: int) -> None:
    xs, ys = XS[:count], parameters(*YS[:count])
    f = pygradc.compile(lambda x: interp(x, xs, ys) * 2.0)
    points = np.random.default_rng(0).uniform(-3, 4, 100)
    values, (gradient,) = f.gradients(points)
    assert np.allclose(values, 2.0 * np.interp(points, xs, YS[:count]), rtol=1e-14)
    for x, value, slope in zip(points.tolist(), values, gradient):
        for p in ys:
            p.grad = 0.0
        point = Value(x)
        eager = interp(point, xs, ys) * 2.0
        eager.backward()
        of_ys = [p.grad for p in ys]
        for p in ys:
            p.grad = 0.0
        result = f(x)
        result.backward()
        assert bits([eager.data, point.grad]) == bits([value, slope])
        assert np.allclose([p.grad for p in ys], of_ys, rtol=1e-15, atol=0.0)


def test_what_can_not_be_interpolated() -> None:
    with pytest.raises(ValueError, match="2 xs for 1 ys"):
        interp(0.0, [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"xs\[0\] and xs\[1\] are both 1.0"):
        interp(0.0, [1.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="isn't sorted"):
        interp(0.0, [1.0, 0.0], [1.0, 2.0])
    with pytest.raises(TypeError, match="x must be a number or a Value"):
        interp("1", [1.0, 2.0], [1.0, 2.0])


# ---- What it is for -----------------------------------------------------------------------------


@pytest.mark.parametrize("math_mode", ["exact", "fast"])
def test_labels_are_inputs(math_mode: Any) -> None:
    f = pygradc.compile(losses.cross_entropy, math=math_mode)
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(100, 4)), rng.integers(0, 4, 100)
    values, (gradients, _) = f.gradients(rows, labels)
    for row, label, value, gradient in zip(rows.tolist(), labels, values, gradients):
        logits = [Value(x) for x in row]
        loss = losses.cross_entropy(logits, label)
        loss.backward()
        assert value == pytest.approx(loss.data, rel=1e-14)
        assert gradient == pytest.approx([x.grad for x in logits], rel=1e-12, abs=1e-15)
        if math_mode == "exact":
            assert value == loss.data
    with pytest.raises(FloatingPointError, match=r"row 1: take: index 4\.0 is out of range"):
        f.map(rows[:2], [0, 4])
    batch = pygradc.compile(lambda rows, labels: losses.cross_entropy(rows, labels))
    assert batch(rows[:3], labels[:3]).data == pytest.approx(values[:3].mean())


def test_an_embedding_is_trained() -> None:
    rng = np.random.default_rng(0)
    table = [[Value(float(v)) for v in rng.normal(size=3)] for _ in range(6)]
    head = nn.Layer(3, 6, "linear")
    parameters = [v for row in table for v in row] + head.parameters()

    @pygradc.compile
    def loss(token: Any, target: Any) -> Any:
        return losses.cross_entropy(head(take(table, token)), target)

    tokens = rng.integers(0, 6, 200)
    targets = (tokens * 5 + 1) % 6
    optimizer = optim.Adam(parameters, lr=0.05)
    found = pygradc.fit(loss, tokens, targets, optimizer, epochs=60, batch_size=50)
    assert found[-1] < 0.1 < 1.0 < found[0]


def test_an_index_with_a_traced_number_is_refused_elsewhere() -> None:
    with pytest.raises(pygradc.TraceError):
        pygradc.compile(lambda i, x: [x, x * 2.0][i])(1, 2.0)


# ---- Parameters' gradients of each row -----------------------------------------------------------


@pytest.mark.parametrize("function", [of_parameters, of_itself])
def test_each_rows_gradients_by_the_table(function: Callable[..., Any]) -> None:
    """Of a lifted program: the table's entries are inputs there."""
    rows = columns(37)
    f = pygradc.compile(function)
    values, found = f.gradients(*rows, wrt="parameters")
    order = [next(i for i, w in enumerate(W) if w is p) for p in f.parameters()]
    for row, value, ours in zip(zip(*rows), values, found):
        expected, _, by_params = by_row(function, row)
        assert value == expected and ours.tolist() == [by_params[i] for i in order]
    clear()


# ---- Derivatives as Values: scatters -------------------------------------------------------------


def of_one_table(i: Any, x: Any, y: Any) -> Any:
    """Takes that repeat an index, meet and part, and come after each other."""
    first, second, third = take(W, i), take(W, 4 - i), take(W, take([2.0, 2.0, 0.0, 1.0, 4.0], i))
    return (first * second * x + third * third * y + first) * third


def of_two_tables(i: Any, x: Any, y: Any) -> Any:
    table = [x * y, x + W[0], (y * W[1]).tanh(), x * W[2] * W[3], y * y * y]
    return take(table, i) * take(W, i) * take(table, 4 - i) + take(W, 4 - i) * take(W[::-1], i)


def of_a_hoisted_index(i: Any, x: Any, y: Any) -> Any:
    squares, sign = [p * p for p in W], W[2].sign()
    return take(squares, sign) * take(squares, sign * 4.0) * (x + i * y)


def of_values_among_numbers(i: Any, x: Any, y: Any) -> Any:
    table = [1.5, W[0], -2.0, x, W[0]]
    return take(table, i) ** 2 * take(table, 4 - i) * y


SCATTERED = [*FUNCTIONS, of_one_table, of_two_tables, of_a_hoisted_index, of_values_among_numbers]


def slopes(function: Any, order: int = 1) -> Callable[..., list[Any]]:
    """The function's derivatives by x, y and the parameters, and their sum's."""

    def derivatives(i: Any, x: Any, y: Any) -> list[Any]:
        result = function(i, x, y)
        for _ in range(order):
            found = pygradc.grad(result, [x, y, *W])
            result = pygradc.sum([d * (k + 1.0) for k, d in enumerate(found)])
        return found

    return derivatives


def eager_slopes(function: Any, order: int, rows: Any) -> list[list[float]]:
    by = slopes(function, order)
    cells = ((int(i), Value(float(x)), Value(float(y))) for i, x, y in zip(*rows))
    return [[d.data for d in by(*cell)] for cell in cells]


def scatters(f: Any) -> int:
    return str(f.programs[0]).count(" = scatter: ")


@pytest.mark.parametrize("function", SCATTERED)
@pytest.mark.parametrize("count", [1, 31, 33])
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_takes_are_eager_codes(function: Any, count: int, order: int) -> None:
    rows = columns(count)
    expected = eager_slopes(function, order, rows)
    for options in ({}, {"passes": ()}, {"math": "fast"}):
        f = pygradc.compile(slopes(function, order), **options)
        found = f.map(*rows)
        assert np.allclose(found, expected, rtol=1e-13, atol=1e-14)
        program = f.programs[0]
        for level in range(lib.pg_replay_levels()):
            program._set_level(level)
            assert bits(f.map(*rows)) == bits(found)


@pytest.mark.parametrize("function", SCATTERED)
@pytest.mark.parametrize("count", [1, 31, 33])
def test_derivatives_of_takes_can_be_trained_through(function: Any, count: int) -> None:
    """Gradients of a sum of squared derivatives: those of eager code, at every level."""

    def loss(i: Any, x: Any, y: Any) -> Any:
        return pygradc.sum([d * d for d in slopes(function)(i, x, y)])

    rows = columns(count)
    expected = [by_row(loss, row) for row in zip(*rows)]
    f = pygradc.compile(loss)
    values, (_, gx, gy) = f.gradients(*rows)
    assert np.allclose(values, [value for value, *_ in expected], rtol=1e-13)
    assert np.allclose(np.stack([gx, gy], 1), [inputs for _, inputs, _ in expected], atol=1e-12)
    sums = []
    for level in range(lib.pg_replay_levels()):
        f.programs[0]._set_level(level)
        clear()
        f.sum(*rows).backward()
        sums.append([p.grad for p in W])
        again, (_, *inputs) = f.gradients(*rows)
        assert bits([again, *inputs]) == bits([values, gx, gy])
    assert all(bits(each) == bits(sums[0]) for each in sums)
    assert np.allclose(sums[0], np.sum([of_w for *_, of_w in expected], axis=0), atol=1e-11)


@pytest.mark.parametrize("function", SCATTERED)
@pytest.mark.parametrize("count", [1, 20])
def test_jvp_and_hvp_of_derivatives_of_takes(function: Any, count: int) -> None:
    def total(i: Any, x: Any, y: Any) -> Any:
        return pygradc.sum([d.sin() for d in slopes(function)(i, x, y)])

    test_jvp_and_hvp_agree_with_differences(total, count)


def test_takes_of_one_table_are_one_scatter() -> None:
    f = pygradc.compile(slopes(of_one_table))
    f(1, 0.5, 0.25)
    assert scatters(f) == 1
    g = pygradc.compile(slopes(of_two_tables))
    g(1, 0.5, 0.25)
    assert scatters(g) == 3  # the table of expressions, the parameters, these backwards
    table = [Value(float(k)) for k in range(200)]
    h = pygradc.compile(
        lambda x: pygradc.grad(sum(take(table, (x + k) % 200) for k in range(20)), table)
    )
    h(3.0)
    listing = str(h.programs[0])
    assert scatters(h) == 1 and "... 14 more ..." in listing and "select" not in listing
    assert listing.count(" = part ") == 200 and listing.count("\n") < 270
    hessian = pygradc.compile(lambda i, x: pygradc.hessian(take(W, i) * take(W, 4 - i) * x, W))
    ours = np.array(hessian.map([1, 2, 0], [3.0, 5.0, 7.0])).reshape(3, 5, 5)
    assert ours[0][1, 3] == ours[0][3, 1] == 3.0 and ours[1][2, 2] == 10.0 and ours[2][0, 4] == 7.0
    assert np.count_nonzero(ours) == 5


def test_an_entry_gets_its_gradient_to_the_last_bit() -> None:
    """-0.0 and nan, too; the others get 0 whatever that is."""
    f = pygradc.compile(lambda i, x: pygradc.grad(take(W, i) * x, W))
    numbers = [-0.0, math.nan, math.inf, 5e-324, 0.0]
    expected = np.zeros((5, 5))
    np.fill_diagonal(expected, numbers)
    assert bits(f.map(range(5), numbers)) == bits(expected)
    twice = pygradc.compile(lambda i, x: pygradc.grad(take(W, i) * x + take(W, i * 1.0) * x, W[0]))
    assert bits(twice.map([0, 0, 1], [-0.0, 0.1, 1.0])) == bits([-0.0, 0.2, 0.0])


@pytest.mark.parametrize("index", BAD, ids=repr)
@pytest.mark.parametrize("count", [1, 31, 33])
def test_an_index_that_names_no_entry_scatters_nothing(index: float, count: int) -> None:
    i, x, _ = columns(count)
    i = i.astype(float)
    i[::3] = index
    f = pygradc.compile(lambda i, x: pygradc.grad(take(W, i) * x, W), errors="ignore")
    expected = np.where(i[:, None] == np.arange(5), x[:, None], 0.0)
    assert bits(f.map(i, x)) == bits(expected)
    _, (_, gx) = f.gradients(i, x)
    assert bits(np.sum(gx, axis=-1)) == bits(np.sum(i[:, None] == np.arange(5), axis=1))


def test_only_what_a_part_adds_up_can_fail_a_row() -> None:
    f = pygradc.compile(lambda i, x: pygradc.grad(take(W, i) * x.log(), W)[1])
    assert f.map([0, 1, 2], [-1.0, 1.0, -1.0]).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(FloatingPointError, match=r"row 2: log\(-1.0\)"):
        f.map([0, 0, 1], [-1.0, 1.0, -1.0])


@pytest.mark.parametrize("function", SCATTERED)
def test_a_saved_scatter_is_the_same(function: Any, tmp_path: Path) -> None:
    f = pygradc.compile(slopes(function, 2))
    rows = columns(40)
    expected = f.map(*rows)
    f.programs[0].save(tmp_path / "f.pygradc")
    loaded = pygradc.load(tmp_path / "f.pygradc")
    assert bits(loaded.map(*rows)) == bits(expected)
    assert str(loaded).splitlines()[1:] == str(f.programs[0]).splitlines()[1:]
    assert bits(pickle.loads(pickle.dumps(f.programs[0])).map(*rows)) == bits(expected)


def test_a_curve_is_fitted_by_its_slope() -> None:
    """A loss with a derivative inside: an interpolation whose slope is that of a parabola."""
    xs = [-1.0, -0.5, 0.0, 0.5, 1.0]
    ys = parameters(*[0.0] * 5)

    @pygradc.compile
    def loss(x: Any) -> Any:
        return (pygradc.grad(interp(x, xs, ys), x) - 2.0 * x) ** 2 + 0.1 * interp(0.0, xs, ys) ** 2

    rows = np.linspace(-0.99, 0.99, 200)
    losses = pygradc.fit(loss, rows, optimizer=optim.Adam(ys, lr=0.05), epochs=600)
    assert losses[-1] < 0.1 < losses[0]
    assert np.allclose([p.data for p in ys], [1.0, 0.25, 0.0, 0.25, 1.0], atol=0.02)

    @pygradc.compile
    def by_values(x: Any) -> Any:
        return pygradc.sum([d * d for d in pygradc.grad(interp(x, xs, ys), ys)])

    weights = 1.0 - np.abs(rows[:, None] - xs) / 0.5
    assert np.allclose(by_values.map(rows), np.sum(np.maximum(weights, 0.0) ** 2, axis=1))
