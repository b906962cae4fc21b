"""Do Values and numpy get along: scalars of every kind on either side, object arrays in numpy's
functions, and many Values' numbers to and from arrays at once?"""

from __future__ import annotations

import math
import operator
from fractions import Fraction

import numpy as np
import pytest

import pygradc
from pygradc import Value
from pygradc import reference as oracle
from pygradc.core.scalar import ALIASES

REAL = [
    np.float16,
    np.float32,
    np.float64,
    np.longdouble,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.longlong,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.ulonglong,
    np.bool_,
]
ARITHMETIC = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.pow),
    *(operator.mod, operator.floordiv),
]
ORDER = [operator.lt, operator.le, operator.gt, operator.ge]


@pytest.fixture
def array():
    """Shape (2, 3): 0.5, 0.75 ... 1.75."""
    return np.array([[Value(0.5 + 0.25 * (3 * i + j)) for j in range(3)] for i in range(2)])


def numbers(values) -> list[float]:
    return [v.data if isinstance(v, Value) else float(v) for v in np.ravel(values)]


# ---- scalars ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda x: x, np.array], ids=["scalar", "0-d array"])
@pytest.mark.parametrize("kind", REAL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("compute", ARITHMETIC, ids=lambda f: f.__name__)
def test_every_real_scalar_is_a_number_on_either_side(compute, kind, wrap):
    v, plain = Value(3.0), oracle.Value(3.0)
    number = wrap(kind(1))
    for ours, theirs in (
        (compute(v, number), compute(plain, 1.0)),
        (compute(number, v), compute(1.0, plain)),
    ):
        assert type(ours) is Value and ours.data == theirs.data
        v.grad = plain.grad = 0.0
        ours.backward()
        theirs.backward()
        assert v.grad == plain.grad


@pytest.mark.parametrize("kind", REAL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("compare", ORDER, ids=lambda f: f.__name__)
def test_every_real_scalar_can_be_compared_on_either_side(compare, kind):
    v = Value(0.5)
    assert bool(compare(v, kind(1))) is compare(0.5, 1.0)
    assert bool(compare(kind(1), v)) is compare(1.0, 0.5)


def test_complex_scalars_are_refused():
    for compute in ARITHMETIC:
        with pytest.raises(TypeError):
            compute(Value(1.0), np.complex128(1j))


# ---- object arrays ------------------------------------------------------------------------------

UNARY = {
    "tanh": math.tanh,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "arctan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "arcsinh": math.asinh,
    "log1p": math.log1p,
    "expm1": math.expm1,
    "log2": math.log2,
    "log10": math.log10,
    "exp2": lambda x: 2.0**x,
    "abs": abs,
    "absolute": abs,
    "negative": lambda x: x * -1.0,
    "positive": lambda x: x,
    "square": lambda x: x * x,
    "reciprocal": lambda x: x**-1.0 * 1.0,
    "conjugate": lambda x: x,
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array(array, name):
    out = getattr(np, name)(array)
    assert out.dtype == object and out.shape == array.shape
    assert all(type(v) is Value for v in out.ravel())
    assert numbers(out) == [UNARY[name](x) for x in numbers(array)]
    np.sum(out).backward()
    assert all(v.grad != 0.0 for v in array.ravel())


@pytest.mark.parametrize(
    ("name", "ours", "shift", "scale"),
    [
        ("arcsin", "asin", 0.0, 0.5),
        ("arccos", "acos", 0.0, 0.5),
        ("arctanh", "atanh", 0.0, 0.5),
        ("arccosh", "acosh", 1.0, 1.0),
        ("cbrt", "cbrt", -1.1, 1.0),
    ],
)
def test_functions_of_an_array_in_their_domain(array, name, ours, shift, scale):
    inside = array * scale + shift
    out = getattr(np, name)(inside)
    assert [v._op for v in out.ravel()] == [ours] * 6
    assert np.allclose(numbers(out), getattr(np, name)(np.array(numbers(inside))), rtol=1e-14)
    np.sum(out).backward()
    assert all(v.grad != 0.0 for v in array.ravel())


@pytest.mark.parametrize(("name", "ours"), [("arctan2", "atan2"), ("hypot", "hypot")])
def test_functions_of_two_arrays_of_values(array, name, ours):
    row = np.array([Value(x) for x in (0.7, 1.1, 1.3)])
    out = getattr(np, name)(array, row)
    assert out.shape == (2, 3) and [v._op for v in out.ravel()] == [ours] * 6
    expected = getattr(np, name)(np.array(numbers(array)).reshape(2, 3), numbers(row))
    assert np.allclose(numbers(out), expected.ravel(), rtol=1e-14)


def test_numpys_names_are_the_same_methods():
    for alias, name in ALIASES.items():
        assert getattr(Value, alias) is getattr(Value, name) and hasattr(np, alias)
    assert "arctan2" in ALIASES and len(ALIASES) == 7


STEPS = {"floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "rint": round, "round": round}


@pytest.mark.parametrize("name", STEPS)
def test_functions_that_round(array, name):
    for values in (array, array * -2.5, array[0, 0]):
        out = getattr(np, name)(values)
        assert all(type(v) is Value and v._children for v in np.ravel(out))
        assert numbers(out) == [STEPS[name](x) for x in numbers(values)]


def test_functions_that_divide(array):
    expected = [divmod(x, 0.375) for x in numbers(array)]
    for function, wanted in (
        (np.mod, [rest for _, rest in expected]),
        (np.remainder, [rest for _, rest in expected]),
        (np.floor_divide, [quotient for quotient, _ in expected]),
        (np.fmod, [math.fmod(x, 0.375) for x in numbers(array)]),
    ):
        out = function(array, 0.375)
        assert all(type(v) is Value for v in out.ravel()) and numbers(out) == wanted
        assert numbers(function(array, Value(0.375))) == wanted


def test_numpys_sign_compares(array):
    """It asks each object whether it is above 0, and calls no method."""
    assert np.sign(array).tolist() == [[1] * 3] * 2


@pytest.mark.parametrize("name", ["tanh", "exp", "log", "sqrt", "abs", "sin", "cos", "arcsin"])
def test_functions_of_one_value(name):
    v = Value(0.5)
    out = getattr(np, name)(v)
    assert type(out) is Value and out._children == (v,)


BINARY = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": lambda a, b: a * b**-1.0,
    "true_divide": lambda a, b: a * b**-1.0,
    "power": operator.pow,
    "maximum": max,
    "minimum": min,
    "fmax": max,
    "fmin": min,
}


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays_broadcast(array, name):
    row = np.array([Value(x) for x in (0.7, 1.1, 1.3)])
    for other in (row, np.array([0.7, 1.1, 1.3])):
        for left, right in ((array, other), (other, array)):
            out = getattr(np, name)(left, right)
            assert out.dtype == object and out.shape == (2, 3)
            pairs = zip(*map(numbers, np.broadcast_arrays(left, right)))
            expected = [BINARY[name](a, b) for a, b in pairs]
            assert numbers(out) == pytest.approx(expected, rel=1e-15)


def test_maximum_passes_the_gradient_to_the_one_chosen(array):
    np.sum(np.maximum(array, 1.0)).backward()
    assert [v.grad for v in array.ravel()] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def expected_gradients(compute, array) -> list[float]:
    """The same with plain Python on the oracle's Values."""
    plain = [[oracle.Value(v.data) for v in row] for row in array]
    compute(plain).backward()
    return [v.grad for row in plain for v in row]


REDUCTIONS = {
    "np.sum": (np.sum, lambda m: sum(v for row in m for v in row)),
    "np.mean": (np.mean, lambda m: sum(v for row in m for v in row) / 6),
    "np.prod": (np.prod, lambda m: math.prod(v for row in m for v in row)),
    "np.dot": (lambda a: np.dot(a[0], a[1]), lambda m: sum(a * b for a, b in zip(*m))),
    "@": (lambda a: a[0] @ a[1], lambda m: sum(a * b for a, b in zip(*m))),
    "matrix @": (lambda a: np.sum(a @ a.T), lambda m: sum(row_products(m))),
    "np.max": (np.max, lambda m: max(v for row in m for v in row)),
    "np.trace": (lambda a: np.trace(a[:, :2]), lambda m: m[0][0] + m[1][1]),
    "np.einsum": (lambda a: np.einsum("ij,ij->", a, a), lambda m: sum_of_squares(m)),
    "np.var": (np.var, lambda m: variance([v for row in m for v in row])),
    "np.std": (np.std, lambda m: variance([v for row in m for v in row]).sqrt()),
    "np.linalg.norm": (np.linalg.norm, lambda m: sum(v * v for row in m for v in row).sqrt()),
}  # fmt: skip


def row_products(m):
    return [a * b for r in m for s in m for a, b in zip(r, s)]


def sum_of_squares(m):
    return sum(v * v for row in m for v in row)


def variance(values):
    mean = sum(values) / len(values)
    return sum((v - mean) * (v - mean) for v in values) / len(values)


@pytest.mark.parametrize("ours, theirs", REDUCTIONS.values(), ids=REDUCTIONS)
def test_reductions_have_the_gradients_of_plain_python(array, ours, theirs):
    out = ours(array)
    assert type(out) is Value
    out.backward()
    expected = expected_gradients(theirs, array)
    assert [v.grad for v in array.ravel()] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert any(expected)


def test_sorting_and_searching(array):
    flat = array.ravel()[::-1]
    assert np.sort(flat)[0] is array[0, 0] and np.argmax(flat) == 0
    assert list(np.argsort(flat)) == [5, 4, 3, 2, 1, 0]
    assert (array > 1.0).tolist() == [[False, False, False], [True, True, True]]


def test_a_ufunc_without_a_method_is_a_type_error(array):
    for function in (np.deg2rad, np.rad2deg, np.spacing):
        with pytest.raises(TypeError, match=r"no callable|not supported"):
            function(array)


def test_an_array_of_values_stays_one_of_objects(array):
    values = array.tolist()
    assert all(v is w for row, again in zip(array, values) for v, w in zip(row, again))
    assert np.array(values).dtype == np.asarray(array).dtype == object
    assert np.array(values[0][0]).shape == () and np.array(values[0][0])[()] is values[0][0]
    with pytest.raises(TypeError):
        np.ones(2).__iadd__(values[0][0])  # floats in place can't hold a graph


def test_arrays_to_values_and_back(array):
    again = np.vectorize(Value)(pygradc.data(array))
    assert again.dtype == object and numbers(again) == numbers(array)
    for convert in (
        lambda: np.asarray(array, dtype=float),
        lambda: np.array([array[0, 0]], dtype=np.float32),
        lambda: array.astype(np.float32),
        lambda: array.astype(int),
        lambda: np.float64(array[0, 0]),
        lambda: np.interp(array[0, 0], [0.0, 1.0], [0.0, 1.0]),
        lambda: np.zeros(2).__setitem__(0, array[0, 0]),
        lambda: np.zeros(2).fill(array[0, 0]),
    ):
        with pytest.raises(TypeError, match=r"v\.data for its number.*v\.exp\(\)"):
            convert()


@pytest.mark.parametrize("compute", ARITHMETIC, ids=lambda f: f.__name__)
def test_a_value_and_an_array_broadcast(compute):
    v, floats = Value(3.0), np.array([[1.0, 2.0], [4.0, 0.5]])
    for left, right in ((v, floats), (floats, v), (v, np.array([1, 2])), (v, floats[:, :0])):
        out = compute(left, right)
        assert out.dtype == object and out.shape == np.broadcast(left, right).shape
        if out.size:
            np.sum(out).backward()


# ---- many numbers at once -----------------------------------------------------------------------


def nested(array):
    return array.tolist()


SHAPES = {
    "a Value": (lambda a: a[0, 0], lambda x: x[0, 0]),
    "a list": (lambda a: list(a[0]), lambda x: x[0]),
    "nested lists": (nested, lambda x: x),
    "tuples": (lambda a: tuple(map(tuple, a)), lambda x: x),
    "an array": (lambda a: a, lambda x: x),
    "a transposed array": (lambda a: a.T, lambda x: x.T),
    "a reversed array": (lambda a: a[::-1, ::-2], lambda x: x[::-1, ::-2]),
    "a 0-d array": (lambda a: np.array(a[1, 2]), lambda x: x[1, 2]),
    "a list of arrays": (lambda a: list(a), lambda x: x),
    "an array and a list": (lambda a: [a[0], list(a[1])], lambda x: x),
    "deep": (lambda a: [[[nested(a)]]], lambda x: x.reshape(1, 1, 1, 2, 3)),
    "nothing": (lambda a: [], lambda x: np.empty(0)),
    "lists of nothing": (lambda a: [[], []], lambda x: np.empty((2, 0))),
    "an empty array": (lambda a: a[:0], lambda x: x[:0]),
    "the same twice": (lambda a: [a[0, 0], a[0, 0]], lambda x: x[0, [0, 0]]),
}


@pytest.mark.parametrize("take, expected", SHAPES.values(), ids=SHAPES)
def test_data_and_gradients_as_arrays(array, take, expected):
    data = np.vectorize(lambda v: v.data)(array)
    for i, v in enumerate(array.ravel()):
        v.grad = -float(i)
    for found, source in (
        (pygradc.data(take(array)), data),
        (pygradc.grads(take(array)), -np.arange(6.0).reshape(2, 3)),
    ):
        wanted = np.asarray(expected(source))
        assert found.dtype == np.float64 and found.shape == wanted.shape
        assert np.array_equal(found, wanted)
        assert found.flags.writeable and found.flags.c_contiguous


@pytest.mark.parametrize("take, expected", SHAPES.values(), ids=SHAPES)
def test_data_can_be_set_from_an_array(array, take, expected):
    new = np.arange(10.0, 16.0).reshape(2, 3)
    pygradc.set_data(take(array), np.asarray(expected(new)))
    changed = np.vectorize(lambda v: v.data)(array)
    assert np.array_equal(pygradc.data(take(array)), np.asarray(expected(new)))
    old = 0.5 + 0.25 * np.arange(6.0).reshape(2, 3)
    assert np.all((changed == new) | (changed == old))


def test_bits_come_and_go_unchanged():
    odd = [math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1]
    values = [Value(0.0) for _ in odd]
    pygradc.set_data(values, odd)
    assert [v.data.hex() for v in values] == [x.hex() for x in odd]
    assert pygradc.data(values).tobytes() == np.array(odd).tobytes()
    pygradc.set_data(values[0], math.nan)
    assert math.isnan(pygradc.data(values[0]))


def test_data_takes_numbers_among_values():
    values = [Value(1.0), 2, 2.5, np.float32(3), Fraction(7, 2), True]
    assert pygradc.data(values).tolist() == [1.0, 2.0, 2.5, 3.0, 3.5, 1.0]
    assert pygradc.data(np.maximum(np.array([Value(1.0), Value(3.0)]), 2.0)).tolist() == [2.0, 3.0]
    for call in (pygradc.grads, lambda v: pygradc.set_data(v, [0.0] * 6)):
        with pytest.raises(TypeError, match=r"expected Values .* got int"):
            call(values)


@pytest.mark.parametrize(
    "source",
    [[1, 2], np.array([1, 2], np.int8), (True, False), np.float32([1, 2]), [Value(1.0), 2]],
    ids=repr,
)
def test_data_are_set_from_any_real_numbers(source):  # fmt: skip
    values = [Value(0.0), Value(0.0)]
    pygradc.set_data(values, source)
    assert [v.data for v in values] == numbers(source)


V = Value(1.0)
NO_VALUES = {
    "text": ["x"],
    "a string": "xy",
    "None": [V, None],
    "a complex number": [1j],
    "a dict": {V: V},
    "a set": {V},
    "an iterator": iter([V]),
    "floats in an array": [V, np.ones(2)],
    "an array of floats": np.ones(2),
    "an array of strings": np.array(["x"]),
    "an array with None": np.array([V, None]),
    "nowhere": np.empty(2, dtype=object),
}


@pytest.mark.parametrize("values", NO_VALUES.values(), ids=NO_VALUES)
def test_what_is_no_value_is_named(values):
    for name, call in (("data", pygradc.data), ("grads", pygradc.grads)):
        with pytest.raises(TypeError, match=f"{name}: expected Values in lists"):
            call(values)


RAGGED = {
    "a longer list": [[V], [V, V]],
    "a shorter list": [[V, V], [V]],
    "an empty list": [[V], []],
    "a list after nothing": [[], [V]],
    "a Value after a list": [[V], V],
    "a list after a Value": [V, [V]],
    "arrays": [np.array([V, V]), np.array([V])],
    "an array of more axes": [np.array([V]), np.array([[V]])],
    "a list of another depth": [[[V]], [V]],
}


@pytest.mark.parametrize("values", RAGGED.values(), ids=RAGGED)
def test_ragged_lists_are_refused(values):
    for call in (pygradc.data, pygradc.grads):
        with pytest.raises(ValueError, match="ragged"):
            call(values)


def test_a_list_in_itself_is_refused():
    values: list = []
    values.append(values)
    with pytest.raises(ValueError, match="nested deeper than 32"):
        pygradc.data(values)


def test_shapes_that_differ_are_both_named_and_nothing_is_set(array):
    before = numbers(array)
    for shape in [(3, 2), (6,), (2, 3, 1), (2,), ()]:
        with pytest.raises(ValueError) as caught:
            pygradc.set_data(array, np.ones(shape))
        assert "(2, 3)" in str(caught.value) and repr(shape) in str(caught.value)
    assert numbers(array) == before


@pytest.mark.parametrize(
    "source",
    [[1j, 1.0], ["1", "2"], [None, 1.0], [[1.0], 2.0], np.array(["a", None], dtype=object)],
    ids=repr,
)
def test_what_is_no_array_of_real_numbers_sets_nothing(source):
    values = [Value(1.0), Value(2.0)]
    with pytest.raises((TypeError, ValueError)):
        pygradc.set_data(values, source)
    assert [v.data for v in values] == [1.0, 2.0]


def test_one_wrong_item_sets_nothing():
    values = [Value(1.0), Value(2.0), 3.0]
    with pytest.raises(TypeError):
        pygradc.set_data(values, [7.0, 8.0, 9.0])
    assert [v.data for v in values[:2]] == [1.0, 2.0]


class Meddler(Fraction):
    """A number that changes the list it stands in while it is read."""

    def __new__(cls, values):
        self = super().__new__(cls, 1)
        self.values = values
        return self

    def __float__(self) -> float:
        self.values.clear()
        return 1.0


def test_a_list_that_changes_while_it_is_read_is_refused():
    values: list = [Value(1.0)]
    values += [Meddler(values), Value(2.0), Value(3.0)]
    with pytest.raises(ValueError, match="ragged"):
        pygradc.data(values)


def test_in_a_recorded_function_numbers_of_inputs_are_refused():
    w = Value(2.0)
    for call in (
        lambda x: pygradc.data([1.0, x]),
        lambda x: pygradc.data(w),
        lambda x: pygradc.grads([w]),
        lambda x: pygradc.grads(np.array([Value(1.0), x])),
        lambda x: pygradc.set_data([Value(1.0), x], [1.0, 1.0]),
        lambda x: pygradc.set_data([w], [1.0]),
    ):
        with pytest.raises(pygradc.TraceError):
            pygradc.compile(lambda x, call=call: (call(x), x * w)[1])(3.0)
    assert pygradc.compile(lambda x: x * pygradc.data([Value(2.0)])[0])(3.0).data == 6.0
    assert w.data == 2.0


def test_object_arrays_in_a_recorded_function():
    W = np.array([[Value(0.1 * (i + j)) for j in range(2)] for i in range(2)])
    f = pygradc.compile(lambda x: np.sum(np.tanh(W @ x + 0.5) ** 2))
    row = np.array([0.3, -0.7])
    out = f(row)
    again = f.__wrapped__(np.array([Value(x) for x in row]))
    assert out.data == again.data
    out.backward()
    recorded = pygradc.grads(W)
    for w in W.ravel():
        w.grad = 0.0
    again.backward()
    assert np.array_equal(recorded, pygradc.grads(W))
