"""Newton's method: a few steps, each with the whole Hessian, find the minimum to 12 digits.

Near a minimum a function is a parabola, f(x + s) = f + g s + s H s / 2, with its gradient g and its
Hessian H, and the bottom of the parabola is at s = -H^-1 g. `pygradc.hessian` writes H down as
Values; recorded together with f and g it is one program, which each step replays.

The function is Rosenbrock's: a narrow, bent valley, in which gradient descent crawls. Its minimum
is 0, where all coordinates are 1. Close to it, each step doubles the number of right digits. Far
from it the parabola says little, and may open downwards: there a real optimizer searches along the
step, or trusts it only so far.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import pygradc
from pygradc import Value

TOLERANCE = 1e-12
STARTS = ([-1.2, 1.0], [1.2] * 10)  # the usual one of two variables; one of ten, not far away
STEPS = (7, 8)  # that each of them takes


def rosenbrock(x: Sequence[Value]) -> Value:
    terms = [100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2 for a, b in zip(x, x[1:])]
    return pygradc.sum(terms)


@pygradc.compile
def derivatives(x: Sequence[Value]) -> list[Value]:
    """f, its gradient, and its Hessian row by row: all the numbers that a step needs."""
    y = rosenbrock(x)
    rows = pygradc.hessian(y, x)
    return [y, *pygradc.grad(y, x), *(entry for row in rows for entry in row)]


def newton(start: list[float]) -> list[float]:
    """Step until all coordinates are right to TOLERANCE; the distance at each point on the way."""
    x, n = np.array(start), len(start)
    distances = [float(np.abs(x - 1.0).max())]
    while distances[-1] > TOLERANCE and len(distances) <= 50:
        (numbers,) = derivatives.map([x])
        gradient, hessian = numbers[1 : n + 1], numbers[n + 1 :].reshape(n, n)
        x = x - np.linalg.solve(hessian, gradient)
        distances.append(float(np.abs(x - 1.0).max()))
        print(f"step {len(distances) - 1}: f was {numbers[0]:9.3e}, distance {distances[-1]:.1e}")
    return distances


def main() -> None:
    for start, steps in zip(STARTS, STEPS):
        print(f"Rosenbrock's function of {len(start)} variables")
        distances = newton(start)
        print(f"minimum found to {distances[-1]:.1e} in {len(distances) - 1} steps")
        assert len(distances) - 1 == steps and distances[-1] <= TOLERANCE
    print(f"{len(derivatives.programs)} programs, one a number of variables")


if __name__ == "__main__":
    main()
