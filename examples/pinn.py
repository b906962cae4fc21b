"""A network that solves a differential equation: it is trained on the equation, not on solutions.

A physics-informed network. u(x) should obey u'' = -u with u(0) = 0 and u'(0) = 1. The loss says
just that: at each point the residual u'' + u, squared, and the two conditions at 0. `pygradc.grad`
makes u' and u'' Values like any others, so that the loss may use them, and fit differentiates it
once more, by the network's parameters. The solution is the sine, which isn't in the training data.

Source: Raissi, Perdikaris & Karniadakis, Physics-informed neural networks, J. Comput. Phys. 2019.
"""

from __future__ import annotations

import random
import time

import numpy as np

import pygradc
from pygradc import Value, grad, nn, optim

STEPS = 3000
POINTS = np.linspace(0.0, 3.0, 64)


def main() -> None:
    random.seed(0)
    # tanh, which has derivatives of any order
    u: nn.MLP[Value] = nn.MLP(1, [8, 8, 1], output_activation="linear")

    @pygradc.compile
    def loss(x: Value) -> Value:
        y = u([x])
        residual = grad(grad(y, x), x) + y
        zero = Value(0.0)
        start = u([zero])  # u(0)
        at_zero = start**2 + (grad(start, zero) - 1.0) ** 2
        return residual**2 + at_zero

    optimizer = optim.Adam(u.parameters(), lr=0.01)
    began = time.perf_counter()
    history = pygradc.fit(loss, POINTS, optimizer=optimizer, epochs=STEPS)
    seconds = time.perf_counter() - began
    found = pygradc.compile(u).map(POINTS[:, None])
    error = np.abs(found - np.sin(POINTS)).max()
    print(f"{STEPS} steps over {len(POINTS)} points in {seconds:.2f} s")
    print(f"loss {history[0]:.2e} -> {history[-1]:.2e}")
    print(f"largest error {error:.1e}")
    assert error < 1e-3


if __name__ == "__main__":
    main()
