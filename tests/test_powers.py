"""Has a power over many rows, which rarely asks libm's pow, the bits and errors of one row's?

tests/c/test_powers.c and `make prove-powers` compare many more points with pow itself.
"""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

import pygradc
from pygradc import Value, reference

EXPONENTS = (2, -1, 0.5, -0.5, -2, 3, -3, 1.5, -1.5, 1, 0, 6, -7, 12, 2.5, 31.5, 1 / 3, 33.5)


def points(exponent: float) -> list[float]:
    """With powers in range, out of range, and next to the ends of the range; 101 of them."""
    rng = random.Random(5)
    found = [1.0, 2.0, 0.5, 3.0, 1e-300, 1e300, 5e-324, 1.7e308]
    most = 140 / abs(exponent or 1)
    found += [2.0 ** rng.uniform(-most, most) for _ in range(93)]
    return found


def eagerly(x: float, exponent: float) -> tuple[float, float] | None:
    a = reference.Value(x)
    try:
        y = a**exponent
        y.backward()
    except (OverflowError, ZeroDivisionError):
        return None
    return y.data, a.grad


def bits(numbers: list[float]) -> list[bytes]:
    return [struct.pack("d", number) for number in numbers]


@pytest.mark.parametrize("math", ["exact", "fast"])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_many_rows_have_the_bits_of_one(exponent: float, math: str) -> None:
    if math == "fast" and exponent in (2, -1):
        pytest.skip("fast mode writes a * a and 1 / a")
    f = pygradc.compile(lambda x: x**exponent, math=math)
    wanted = {x: eagerly(x, exponent) for x in points(exponent)}
    xs = [x for x, result in wanted.items() if result is not None]
    ys, (grads,) = f.gradients(np.array(xs))
    results = [wanted[x] for x in xs]
    assert bits(ys.tolist()) == bits([r[0] for r in results if r])
    assert bits(grads.tolist()) == bits([r[1] for r in results if r])


def test_several_powers_of_several_inputs() -> None:
    """A run of neighbouring instructions has an exponent each."""

    def f(a: Value, b: Value, c: Value) -> Value:
        return a**2 + b**-1 + c**0.5

    data = np.random.default_rng(2).uniform(0.1, 9.0, (3, 77))
    ys, grads = pygradc.compile(f).gradients(*data)
    for row in range(77):
        inputs = [reference.Value(float(x)) for x in data[:, row]]
        y = f(*inputs)  # type: ignore[arg-type]
        y.backward()
        assert bits([ys[row]]) == bits([y.data])
        assert bits([g[row] for g in grads]) == bits([v.grad for v in inputs])


@pytest.mark.parametrize(
    ("exponent", "x", "says"),
    [(-1, 0.0, "row 50"), (2, 1e200, "row 50"), (0.5, -1.0, "row 50"), (-2, 1e-200, "row 50")],
)
def test_the_row_that_fails_is_named(exponent: float, x: float, says: str) -> None:
    f = pygradc.compile(lambda x: x**exponent)
    xs = np.linspace(1.0, 2.0, 99)
    f.map(xs)
    xs[50] = x
    with pytest.raises(FloatingPointError, match=says):
        f.map(xs)
