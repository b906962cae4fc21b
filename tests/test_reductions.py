"""Are logsumexp, softmax, norm and clip right, at any size, at every order, recorded and not?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import pygradc
from pygradc import Value, check_grad, clip, grad, hessian, logsumexp, norm, softmax

INF, NAN = math.inf, math.nan
MODES = ("exact", "fast")


def of(numbers: Any) -> list[Value]:
    return [Value(x) for x in numbers]


def everything(function: Callable[..., Any], row: list[float]) -> list[float]:
    """The value, the gradient of backward(), that of `grad`, and the Hessian by rows."""
    xs = of(row)
    y = function(xs)
    y.backward()
    second = [d for ds in hessian(y, xs) for d in ds]
    return [y.data, *(x.grad for x in xs), *(d.data for d in [*grad(y, xs), *second])]


def everything_recorded(function: Callable[..., Any], row: list[float], mode: Any) -> list[float]:
    """The same by replays: `gradients`, and a recording of `grad` and `hessian`."""

    @pygradc.compile(math=mode)
    def derivatives(xs: list[Value]) -> list[Value]:
        y = function(xs)
        return [*grad(y, xs), *(d for ds in hessian(y, xs) for d in ds)]

    value, (gradient,) = pygradc.compile(function, math=mode).gradients([row])
    return [value.tolist()[0], *gradient.tolist()[0], *derivatives.map([row]).tolist()[0]]


def same(found: list[float], wanted: list[float]) -> bool:
    """Bit for bit, but for the sign of a zero."""
    return len(found) == len(wanted) and all(
        x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(found, wanted)
    )


def rows_of(size: float) -> list[list[float]]:
    draw = random.Random(7)
    return [[draw.uniform(-size, size) for _ in range(n)] for n in (1, 2, 3, 5, 9)]


ROWS = [*rows_of(1.0), *rows_of(30.0), [0.5, 0.5, 0.5], [-0.0, 2.0]]
SHIFTED = [
    [1000.0, 999.0, 1000.0], [-1000.0, -1001.0], [1000.0, -1000.0], [1e308, 1e308],
    [1.7e308, -1.7e308, 0.0], [-INF, 1.0, 0.0], [0.0, -745.0],
]  # fmt: skip
SCALED = [
    [3e200, 4e200], [3e-200, -4e-200], [1e308, -1e308, 0.0], [1e-160, 1e-150], [1e-120, 1e160],
    [2.0**480, 2.0**481], [2.0**-400, 2.0**-401], [1e200, 1.0],
]  # fmt: skip
EDGES: list[list[float]] = [
    [-INF, -INF], [INF, 1.0], [1.0, INF, INF], [-INF, INF], [NAN, 1.0], [1.0, NAN, INF], [0.0, 0.0],
    [-0.0],
]  # fmt: skip


# ---- one graph, every mode -----------------------------------------------------------------------


@pytest.mark.parametrize("function", [logsumexp, norm])
def test_recordings_have_the_bits_of_eager_code(function: Any) -> None:
    for row in (*ROWS, *SHIFTED, *SCALED, *EDGES):
        eager = everything(function, row)
        assert same(everything_recorded(function, row, "exact"), eager), row
        fast = everything_recorded(function, row, "fast")
        assert fast == pytest.approx(eager, rel=1e-12, abs=1e-290, nan_ok=True), row


@pytest.mark.parametrize("function", [logsumexp, norm])
@pytest.mark.parametrize("mode", MODES)
def test_of_parameters(function: Any, mode: Any) -> None:
    for row in (*ROWS, *SHIFTED, *SCALED, *EDGES):
        weights = of(row)
        recorded = pygradc.compile(lambda x, ws=tuple(weights): function(ws) * x, math=mode)
        recorded.mean([1.0, 1.0]).backward()
        found = [recorded(1.0).data, *(w.grad for w in weights)]
        expected = everything(function, row)[: len(found)]
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-300, nan_ok=True), row


def test_a_recording_serves_rows_of_any_size() -> None:
    """No branch on data is frozen: one program for ordinary rows, large, small and none."""
    rows = [row for row in (*ROWS, *SHIFTED, *SCALED, *EDGES) if len(row) == 2]
    assert len(rows) > 12
    for function in (logsumexp, norm):
        recorded = pygradc.compile(function)
        values, (gradients,) = recorded.gradients(np.array(rows))
        for row, value, gradient in zip(rows, values.tolist(), gradients.tolist()):
            assert same([value, *gradient], everything(function, row)[:3])
        assert len(recorded.programs) == 1


@pytest.mark.parametrize("mode", MODES)
def test_softmax_recorded(mode: Any) -> None:
    for row in (*ROWS, *SHIFTED):
        found = pygradc.compile(softmax, math=mode).map([row]).tolist()[0]
        eager = [p.data for p in softmax(of(row))]
        assert found == (eager if mode == "exact" else pytest.approx(eager, rel=1e-13, abs=1e-300))


@pytest.mark.parametrize("function", [logsumexp, norm, softmax])
def test_central_differences(function: Any) -> None:
    for row in ROWS:
        assert max(x or 0.0 for x in check_grad(function, row)) < 1e-6
    if function is not softmax:
        for row in ([0.3, -1.2, 2.0], [1.0]):
            assert max(x or 0.0 for x in check_grad(lambda xs: grad(function(xs), xs), row)) < 1e-6


# ---- logsumexp and softmax -----------------------------------------------------------------------


def log_of_sum(row: list[float]) -> float:
    with mpmath.workdps(60):
        return float(mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(x)) for x in row)))


def shares(row: list[float]) -> list[float]:
    with mpmath.workdps(60):
        exps = [mpmath.exp(mpmath.mpf(x) - max(row)) for x in row]
        return [float(e / mpmath.fsum(exps)) for e in exps]


def test_logsumexp_and_its_derivatives_are_exact_to_rounding() -> None:
    for row in (*ROWS, *(row for row in SHIFTED if max(map(abs, row)) < 1e300)):
        value, *derivatives = everything(logsumexp, row)
        n, p = len(row), np.array(shares(row))
        assert value == pytest.approx(log_of_sum(row), rel=1e-15, abs=1e-15)
        assert derivatives[:n] == pytest.approx(p.tolist(), rel=1e-14, abs=1e-300)
        assert derivatives[n : 2 * n] == pytest.approx(p.tolist(), rel=1e-14, abs=1e-300)
        second = np.diag(p) - np.outer(p, p)
        assert derivatives[2 * n :] == pytest.approx(second.ravel().tolist(), rel=1e-12, abs=1e-15)


def test_softmax_is_the_gradient_of_logsumexp() -> None:
    for row in (*ROWS, *SHIFTED):
        ps = softmax(of(row))
        assert [p.data for p in ps] == pytest.approx(shares(row), rel=1e-14, abs=1e-300)
        assert math.fsum(p.data for p in ps) == pytest.approx(1.0, rel=1e-15)


def test_logsumexp_of_infinite_values() -> None:
    """The value itself, and maximum's derivative: 1 for the first that has it."""
    for row, value, gradient in (
        ([-INF], -INF, [1.0]), ([-INF, -INF], -INF, [1.0, 0.0]), ([INF], INF, [1.0]),
        ([1.0, INF, -INF, INF], INF, [0.0, 1.0, 0.0, 0.0]), ([-INF, 2.0], 2.0, [0.0, 1.0]),
    ):  # fmt: skip
        n = len(row)
        assert everything(logsumexp, row) == [value, *gradient, *gradient, *[0.0] * (n * n)]


@pytest.mark.parametrize("row", [[-INF, -INF], [INF, 1.0], [NAN, 1.0]], ids=str)
def test_softmax_without_a_number_is_nan(row: list[float]) -> None:
    assert all(math.isnan(p.data) for p in softmax(of(row)))
    assert all(np.isnan(pygradc.compile(softmax, math=mode).map([row])).all() for mode in MODES)


# ---- norm ----------------------------------------------------------------------------------------


def test_norm_and_its_derivatives_are_exact_to_rounding() -> None:
    for row in (*ROWS, *SCALED):
        value, *derivatives = everything(norm, row)
        n = len(row)
        with mpmath.workdps(60):
            size = mpmath.norm([mpmath.mpf(x) for x in row])
            unit = [mpmath.mpf(x) / size for x in row]
            second = [((i == j) - unit[i] * unit[j]) / size for i in range(n) for j in range(n)]
        assert value == pytest.approx(float(size), rel=1e-15)
        assert derivatives[:n] == pytest.approx(list(map(float, unit)), rel=1e-14, abs=1e-300)
        assert derivatives[n : 2 * n] == pytest.approx(
            list(map(float, unit)), rel=1e-14, abs=1e-300
        )
        rounding = 1e-15 / float(size)
        assert derivatives[2 * n :] == pytest.approx(
            list(map(float, second)), rel=1e-12, abs=rounding
        )


def test_an_ordinary_norm_has_the_bits_of_the_formula() -> None:
    for row in rows_of(100.0):
        xs, ys = of(row), of(row)
        ours, theirs = norm(xs), pygradc.sum([y * y for y in ys]).sqrt()
        ours.backward()
        theirs.backward()
        assert ours.data == theirs.data and [x.grad for x in xs] == [y.grad for y in ys]


def test_norm_of_the_smallest_numbers() -> None:
    assert everything(norm, [5e-324, 0.0])[:3] == [5e-324, 1.0, 0.0]
    assert everything(norm, [3e-310, 4e-310])[:3] == pytest.approx([5e-310, 0.6, 0.8], rel=1e-10)


def test_norm_at_the_origin_and_of_infinities() -> None:
    for n in (1, 2, 5):
        assert everything(norm, [0.0] * n) == [0.0] * (1 + 2 * n + n * n)
    for row, gradient in (
        ([INF, 1.0], [1.0, 0.0]), ([1.0, -INF], [0.0, -1.0]), ([-INF, INF], [-1.0, 0.0]),
    ):  # fmt: skip
        assert everything(norm, row) == [INF, *gradient, *gradient, *[0.0] * 4]


def test_a_distance_in_a_loss_starts_at_the_origin() -> None:
    """Where sqrt's own derivative would be a ZeroDivisionError."""
    w = [Value(0.0), Value(0.0)]
    loss = pygradc.compile(lambda x: (norm([w[0] - x[0], w[1] - x[1]]) - 1.0) ** 2)
    loss.mean([[0.0, 0.0], [3.0, 4.0]]).backward()
    assert [v.grad for v in w] == pytest.approx([-0.6 * 4, -0.8 * 4])


# ---- clip ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (0.0, 0.0), (-INF, INF), (None, 1.0), (0.0, None)])
def test_clip_is_numpys(bounds: Any) -> None:
    xs = [-INF, -3.0, -1.0, -0.5, 0.0, 1.0, 2.0, 2.5, INF, NAN]
    lo, hi = (given if given is not None else sign * INF for given, sign in zip(bounds, (-1, 1)))
    expected = np.clip(xs, lo, hi)
    inside = [1.0 if lo <= x <= hi or math.isnan(x) else 0.0 for x in xs]
    for x, wanted, slope in zip(xs, expected.tolist(), inside):
        v = Value(x)
        y = clip(v, *bounds)
        y.backward()
        assert same([y.data, v.grad, grad(y, v).data], [wanted, slope, slope])
    for mode in MODES:
        recorded = pygradc.compile(lambda x: clip(x, *bounds), math=mode)
        values, (slopes,) = recorded.gradients(xs)
        assert same(values.tolist(), expected.tolist()) and slopes.tolist() == inside


@pytest.mark.parametrize("x", [-2.0, -1.0, 0.5, 3.0, 4.0])
def test_the_bound_that_is_taken_gets_the_derivative(x: float) -> None:
    lo, hi, v = Value(-1.0), Value(3.0), Value(x)
    clip(v, lo, hi).backward()
    assert (v.grad, lo.grad, hi.grad) == (float(-1 <= x <= 3), float(x < -1), float(x > 3))
    found = pygradc.compile(clip).gradients([x], [-1.0], [3.0])[1]
    assert [g.tolist()[0] for g in found] == [v.grad, lo.grad, hi.grad]


def test_nan_bounds_show() -> None:
    for bounds in ((NAN, 1.0), (0.0, NAN)):
        assert math.isnan(clip(Value(0.5), *bounds).data)
        assert math.isnan(pygradc.compile(clip)(0.5, *bounds).data)


@pytest.mark.parametrize("kind", [float, Value], ids=lambda kind: kind.__name__)
def test_bounds_in_the_wrong_order(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"clip: lo = 2\.0 is larger than hi = 1\.0"):
        clip(Value(0.5), kind(2.0), kind(1.0))


@pytest.mark.parametrize("mode", MODES)
def test_bounds_in_the_wrong_order_in_a_recording(mode: Any) -> None:
    with pytest.raises(ValueError, match=r"clip: lo = 2\.0 is larger than hi = 1\.0"):
        pygradc.compile(lambda x: clip(x, 2.0, 1.0), math=mode)(0.5)
    of_inputs = pygradc.compile(clip, math=mode)
    assert of_inputs.map([0.0, 5.0], [1.0, 1.0], [2.0, 2.0]).tolist() == [1.0, 2.0]
    with pytest.raises(FloatingPointError, match=r"row 1: sqrt\(-1\.0\): outside"):
        of_inputs.map([0.0, 5.0], [1.0, 2.0], [2.0, 1.0])
    lo = Value(0.0)
    of_a_parameter = pygradc.compile(lambda x: clip(x, lo, 1.0), math=mode)
    assert of_a_parameter(2.0).data == 1.0
    lo.data = 1.5
    with pytest.raises(FloatingPointError, match=r"sqrt\(-0\.5\): outside"):
        of_a_parameter(2.0)


def test_clip_of_conditions() -> None:
    f = pygradc.compile(lambda x: clip(x > 0.0, 0.25, x > -5.0))
    assert [f(x).data for x in (-1.0, 6.0)] == [0.25, 1.0]


# ---- operands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [list, tuple, iter, np.array, lambda xs: [np.float32(x) for x in xs]]
)
def test_numbers_of_any_kind(make: Any) -> None:
    numbers = [0.5, -1.0, 2.0]
    for function in (logsumexp, norm):
        assert function(make(numbers)).data == function(of(numbers)).data
    assert [p.data for p in softmax(make(numbers))] == [p.data for p in softmax(of(numbers))]


def test_values_among_numbers_get_their_gradients() -> None:
    x = Value(0.5)
    for function in (logsumexp, norm, lambda row: softmax(row)[0]):
        x.grad = 0.0
        function([x, 2, np.int8(1)]).backward()
        assert x.grad == everything(function, [0.5, 2.0, 1.0])[1]


def test_conditions_are_numbers() -> None:
    f = pygradc.compile(lambda x: [logsumexp([x > 1.0, x]), norm([x > 1.0, x])])
    assert [y.data for y in f(2.0)] == [logsumexp([1.0, 2.0]).data, norm([1.0, 2.0]).data]


@pytest.mark.parametrize("function", [logsumexp, norm, softmax])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (Value(1.0), "expected a list of Values and numbers, not a Value"),
        (1.0, "not a float"), ("12", "not a str"), ({"a": 1.0}, "not a dict"), ({1.0}, "not a set"),
        ([1.0, "2"], "item 1: expected a Value or a number, got '2' of type str"),
        ([[1.0, 2.0]], r"item 0: .* of type list; call it for each of its items"),
        (np.ones((2, 2)), r"item 0: .* of type ndarray; call it for each of its items"),
        ([1.0, 1j], "item 1: .* of type complex"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_numbers(function: Any, values: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"{function.__name__}: .*{message}"):
        function(values)


@pytest.mark.parametrize("function", [logsumexp, norm, softmax])
def test_nothing_and_masked_entries(function: Any) -> None:
    with pytest.raises(ValueError, match=f"{function.__name__}: expected at least one"):
        function([])
    with pytest.raises(ValueError, match=r"1 masked entry without a number"):
        function(np.ma.array([1.0, 2.0], mask=[False, True]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("1", 0, 2), TypeError, "clip: x: expected a Value or a number, got '1' of type str"),
        ((1.0, "0", 2), TypeError, "clip: lo: .* got '0'"), ((1.0, 0, [2]), TypeError, "clip: hi"),
        ((np.ones(2), 0, 2), TypeError, "clip: x: .* call it for each of its items"),
        ((1.0, None, None), ValueError, "clip: lo and hi are both None"),
    ],
)  # fmt: skip
def test_what_clip_refuses(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        clip(*arguments)


# ---- PyTorch -------------------------------------------------------------------------------------


def test_pytorch_gets_the_same() -> None:
    torch = pytest.importorskip("torch")
    for row in (*ROWS, [1000.0, 999.0], [-1000.0, -1001.0, 0.0]):
        for ours, theirs in (
            (logsumexp, lambda t: torch.logsumexp(t, 0)), (norm, torch.linalg.norm),
            (lambda xs: softmax(xs)[0], lambda t: torch.softmax(t, 0)[0]),
            (lambda xs: clip(xs[0], -0.5, 0.5), lambda t: torch.clip(t[0], -0.5, 0.5)),
        ):  # fmt: skip
            leaf = torch.tensor(row, dtype=torch.float64, requires_grad=True)
            result = theirs(leaf)
            result.backward()
            expected = [result.item(), *leaf.grad.tolist()]
            xs = of(row)
            y = ours(xs)
            y.backward()
            found = [y.data, *(x.grad for x in xs)]
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_softplus_has_the_derivative_one_half_at_0() -> None:
    x = Value(0.0)
    y = x.softplus()
    y.backward()
    assert (y.data, x.grad, grad(grad(y, x), x).data) == (math.log(2.0), 0.5, 0.25)


def test_of_detached_values_and_numbers_nothing_is_differentiated() -> None:
    """As in an expression: a divisor without derivative can't fail, not even a tiny one."""
    for function in (
        lambda d: logsumexp([d, -1e200]), lambda d: norm([d, 0.0]), lambda d: clip(d, -1.0, None),
        lambda d: clip(d, -1.0, 1.0), lambda d: softmax([d, 0.0])[0] * d,
    ):  # fmt: skip
        x, small = Value(2.0), Value(1e-200)
        divisor = function(pygradc.detach(small))
        (x / divisor).backward()
        assert x.grad == 1.0 / divisor.data and small.grad == divisor.grad == 0.0


def test_programs_of_them_are_saved_and_written_as_c(tmp_path: Any) -> None:
    f = pygradc.compile(lambda a, b: [logsumexp([a, b]), norm([a, b]), clip(a, b, 5.0)])
    rows = np.array([[1000.0, 1.0], [0.0, 0.0], [3e200, -4e200]])
    expected = f.map(*rows.T)
    (program,) = f.programs
    program.save(tmp_path / "program.npz")
    assert pygradc.load(tmp_path / "program.npz").map(*rows.T).tobytes() == expected.tobytes()
    assert "sqrt" in program.to_c()
