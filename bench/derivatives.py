"""Measure derivatives of second order: `python bench/derivatives.py` prints the table.

    d2y/dx2   of an MLP 1-16-16-1, tanh, 1,000 rows; beside its gradient, `f.gradients`
    PINN      a step of Adam on u'' + u = 0: MLP 1-8-8-1, 64 points (examples/pinn.py), in `fit`;
              JAX's steps run inside one jitted `lax.scan`
    hvp       Rosenbrock's function of 200 parameters: its Hessian times a vector

JAX: jit, float64, one thread; it is left out where it isn't installed. All take turns in one
process; figures are medians over the rounds, with the smallest and largest in brackets, and each
result is held against the others' before it is timed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from bench import baselines

TURN = 0.05  # seconds
PINN_STEPS = 200
MATHS = ("fast", "exact")

Work = Callable[[], Any]


def turn(work: Work) -> float:
    """Seconds for one call, over about TURN."""
    began, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - began < TURN:
        work()
        calls += 1
    return (time.perf_counter() - began) / calls


def race(works: dict[str, Work], rounds: int, pieces: int = 1) -> dict[str, list[float]]:
    """Microseconds a piece of work, one for each round."""
    for work in works.values():
        turn(work)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(turn(work) / pieces * 1e6)
    return times


def show(title: str, times: dict[str, list[float]], base: str, goals: dict[str, float]) -> None:
    """Rows of the table; a ratio is the median over the rounds."""
    for name, samples in times.items():
        ratio = median(x / y for x, y in zip(samples, times[base])) if base in times else None
        goal = goals.get(name)
        cells = [
            f"{title}, {name}",
            f"{median(samples):,.1f} ({min(samples):,.1f}-{max(samples):,.1f})",
            "" if ratio is None or name == base else f"{ratio:.2f} of {base}",
            "" if goal is None else f"at most {goal:g}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


# --- d2y/dx2 ------------------------------------------------------------------------------------


def second_derivatives(rounds: int) -> None:
    from pygradc import compile, grad, nn

    random.seed(1)
    model = nn.MLP(1, [16, 16, 1], output_activation="linear")
    xs = np.linspace(-1.0, 1.0, 1000)
    for math in MATHS:
        first = compile(lambda x: model([x]), math=math)
        second = compile(lambda x: grad(grad(model([x]), x), x), math=math)
        h = 1e-4
        slopes = [np.ravel(first.gradients(xs + d)[1]) for d in (h, -h)]
        assert np.allclose(second.map(xs), (slopes[0] - slopes[1]) / (2 * h), atol=1e-6)
        works = {"gradient": lambda f=first: f.gradients(xs), "d2y/dx2": lambda f=second: f.map(xs)}
        show(f"MLP 1-16-16-1, {math}", race(works, rounds), "gradient", {"d2y/dx2": 4.0})


# --- PINN ---------------------------------------------------------------------------------------

POINTS = np.linspace(0.0, 3.0, 64)
LEARNING_RATE = 0.01


def pinn(math: str) -> tuple[Work, list[float]]:
    """PINN_STEPS steps, and the losses of the first ones."""
    import pygradc
    from pygradc import Value, grad, nn, optim

    random.seed(0)
    u = nn.MLP(1, [8, 8, 1], output_activation="linear")

    @pygradc.compile(math=math)
    def loss(x: Value) -> Value:
        y = u([x])
        residual = grad(grad(y, x), x) + y
        zero = Value(0.0)
        start = u([zero])
        return residual**2 + start**2 + (grad(start, zero) - 1.0) ** 2

    optimizer = optim.Adam(u.parameters(), lr=LEARNING_RATE)

    def steps() -> Any:
        return pygradc.fit(loss, POINTS, optimizer=optimizer, epochs=PINN_STEPS)

    return steps, steps()[:5]


def jax_pinn() -> tuple[Work, list[float]]:
    from pygradc import nn

    jax = baselines._jax()
    np_ = jax.numpy
    random.seed(0)
    layers = nn.MLP(1, [8, 8, 1], output_activation="linear").layers
    params = [
        (
            np_.array([[w.data for w in neuron.w] for neuron in layer.neurons]),
            np_.array([neuron.b.data for neuron in layer.neurons]),
        )
        for layer in layers
    ]
    points = np_.array(POINTS)

    def u(params: Any, x: Any) -> Any:
        hidden = x.reshape(1)
        for i, (w, b) in enumerate(params):
            hidden = w @ hidden + b
            if i < len(params) - 1:
                hidden = np_.tanh(hidden)
        return hidden[0]

    du = jax.grad(u, argnums=1)
    ddu = jax.grad(du, argnums=1)

    def loss(params: Any) -> Any:
        residuals = jax.vmap(lambda x: ddu(params, x) + u(params, x))(points)
        return (
            (residuals**2).mean()
            + u(params, 0.0 * points[0]) ** 2
            + (du(params, 0.0 * points[0]) - 1.0) ** 2
        )

    def step(state: Any, _: Any) -> Any:
        params, m, v, t = state
        value, g = jax.value_and_grad(loss)(params)
        t = t + 1
        tree = jax.tree_util.tree_map
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        params = tree(
            lambda p, m, v: (
                p - LEARNING_RATE * (m / (1 - 0.9**t)) / (np_.sqrt(v / (1 - 0.999**t)) + 1e-8)
            ),
            params,
            m,
            v,
        )
        return (params, m, v, t), value

    zeros = jax.tree_util.tree_map(np_.zeros_like, params)
    many = jax.jit(lambda state: jax.lax.scan(step, state, None, length=PINN_STEPS))
    state = [(params, zeros, zeros, 0.0)]

    def steps() -> Any:
        state[0], losses = many(state[0])
        return losses.block_until_ready()

    return steps, [float(x) for x in steps()[:5]]


def pinns(rounds: int) -> None:
    works, losses = {}, {}
    for math in MATHS:
        works[math], losses[math] = pinn(math)
    try:
        works["JAX"], losses["JAX"] = jax_pinn()
    except ImportError:
        print("JAX is not installed")
    assert all(np.allclose(found, losses["exact"], rtol=1e-6) for found in losses.values()), losses
    goals = {"fast": 0.5, "exact": 1.2}
    show("PINN step in fit", race(works, rounds, PINN_STEPS), "JAX", goals)


# --- Hessian-vector products --------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return sum(
        (100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2 for i in range(len(x) - 1)), 0.0
    )


def rosenbrock_of_arrays(after: Any, before: Any) -> Any:
    return (100.0 * (after - before**2) ** 2 + (1.0 - before) ** 2).sum()


def products(rounds: int, count: int = 200) -> None:
    from pygradc import Value, compile

    draw = np.random.default_rng(0)
    at, direction = draw.normal(size=count), draw.normal(size=count)
    xs = [Value(float(x)) for x in at]
    works: dict[str, Work] = {}
    found = []
    for math in MATHS:
        f = compile(lambda: rosenbrock(xs), math=math)
        f.sum()  # records it: the parameters' order is known
        place = {id(x): i for i, x in enumerate(xs)}
        order = [place[id(x)] for x in f.parameters()]
        works[math] = lambda f=f, v=direction[order]: f.hvp(v)
        found.append(np.empty(count))
        found[-1][order] = np.ravel(works[math]())
    try:
        jax = baselines._jax()
        gradient = jax.grad(lambda x: rosenbrock_of_arrays(x[1:], x[:-1]))
        product = jax.jit(lambda x, v: jax.jvp(gradient, (x,), (v,))[1])
        a, v = jax.numpy.array(at), jax.numpy.array(direction)
        works["JAX"] = lambda: np.asarray(product(a, v))
        found.append(works["JAX"]())
    except ImportError:
        print("JAX is not installed")
    assert all(np.allclose(product, found[0], rtol=1e-9) for product in found)
    show("hvp, Rosenbrock 200", race(works, rounds), "JAX", {"fast": 1.0})


PARTS = {"mlp": second_derivatives, "pinn": pinns, "hvp": products}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=PARTS, action="append")
    arguments = parser.parse_args()
    os.environ.update(baselines.thread_limits(1))
    print("| us, median | time | ratio | goal |\n|---|--:|--:|--:|")
    for part in arguments.only or PARTS:
        PARTS[part](arguments.rounds)


if __name__ == "__main__":
    main()
