"""A double pendulum from its Lagrangian: nobody has to derive the equations of motion.

Two weights m hang on two rods l, one below the other, at the angles q = (q1, q2). The Lagrangian
L(q, w) is kinetic less potential energy, w the angles' velocities. The motion obeys Lagrange's
equations d/dt dL/dw = dL/dq. By the chain rule the left side is

    M a + C w,    M = d2L/dw2 (the mass matrix),    C = d2L/dw dq,

and so the accelerations are a = M^-1 (dL/dq - C w). `pygradc.grad` and `jacobian` write down dL/dq,
M and C; a millisecond's steps of Runge-Kutta, each of which needs four such accelerations, are
recorded as one program.

Nothing drives or damps the pendulum: its energy has to stay what it was, and this is asserted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

import pygradc
from pygradc import Value, grad, jacobian

G = 9.81  # m/s^2; the rods are 1 m long, the weights 1 kg
UNIT = G  # m g l, in which energies are compared
STEP = 2e-4  # s; five of them are one call
STEPS_A_CALL = 5
SECONDS = 10.0
START = [2.0, 2.5, 0.0, 0.0]  # both weights above the pivot's height, at rest: it will tumble

Pair = Sequence[Value]


def energies(q: Pair, w: Pair) -> tuple[Value, Value]:
    """Kinetic and potential energy, in joules."""
    kinetic = w[0] ** 2 + 0.5 * w[1] ** 2 + w[0] * w[1] * (q[0] - q[1]).cos()
    potential = -G * (2.0 * q[0].cos() + q[1].cos())
    return kinetic, potential


def accelerations(q: Pair, w: Pair) -> list[Value]:
    kinetic, potential = energies(q, w)
    lagrangian = kinetic - potential
    momenta = grad(lagrangian, w)
    (m11, m12), (m21, m22) = jacobian(momenta, w)
    coupling = jacobian(momenta, q)
    f1, f2 = (
        force - (row[0] * w[0] + row[1] * w[1])
        for force, row in zip(grad(lagrangian, q), coupling)
    )  # fmt: skip
    determinant = m11 * m22 - m12 * m21  # Cramer's rule, for M a = f
    return [(f1 * m22 - m12 * f2) / determinant, (m11 * f2 - f1 * m21) / determinant]


def rates(state: Sequence[Value]) -> list[Value]:
    """How fast the state (q1, q2, w1, w2) changes."""
    q, w = state[:2], state[2:]
    return [*w, *accelerations(q, w)]


def moved(state: Sequence[Value], by: Sequence[Value], seconds: float) -> list[Value]:
    return [x + rate * seconds for x, rate in zip(state, by)]


def runge_kutta(state: Sequence[Value]) -> list[Value]:
    """The state STEP seconds later, with an error of fourth order. Source: Kutta, 1901."""
    k1 = rates(state)
    k2 = rates(moved(state, k1, STEP / 2))
    k3 = rates(moved(state, k2, STEP / 2))
    k4 = rates(moved(state, k3, STEP))
    mean = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4)]
    return moved(state, mean, STEP)


@pygradc.compile
def advance(state: list[Value]) -> list[Value]:
    for _ in range(STEPS_A_CALL):
        state = runge_kutta(state)
    return state


@pygradc.compile
def energy(state: list[Value]) -> Value:
    kinetic, potential = energies(state[:2], state[2:])
    return kinetic + potential


def simulate(start: list[float]) -> npt.NDArray[np.float64]:
    """The states from start to end, one a row."""
    states = [np.array([start])]
    for _ in range(round(SECONDS / (STEP * STEPS_A_CALL))):
        states.append(advance.map(states[-1]))
    return np.concatenate(states)


def main() -> None:
    states = simulate(START)
    gained = (energy.map(states) - energy.map(states[:1])) / UNIT
    print(f"{STEPS_A_CALL} steps: a program of {len(advance.programs[0]):,} instructions")
    for i in range(0, len(states), len(states) // 10):
        q1, q2 = states[i, :2]
        seconds = i * STEP * STEPS_A_CALL
        print(f"{seconds:4.0f} s   q1 {q1:8.4f}   q2 {q2:8.4f}   energy {gained[i]:+.1e} m g l")
    drift = np.abs(gained).max()
    print(f"energy kept to {drift:.1e} m g l")
    assert drift < 1e-9


if __name__ == "__main__":
    main()
