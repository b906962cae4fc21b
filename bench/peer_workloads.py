"""Functions in the style of users, each written twice: in `Value`s, and for a peer.

A workload gives two `Side`s that compute the same from the same numbers: pygradc's, a function of
one sample that is recorded, and the peer's, which is vectorised code for JAX, or C by hand for
micrograd's demo. `peers.py` holds the two against each other and times them; importing this file
imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bench import baselines, recorded, workloads
from bench.baselines import Array

Answer = list[Any]  # arrays and numbers; each is compared by itself


@dataclass(frozen=True)
class Side:
    """The work of one competitor, and what a call of it gives."""

    call: Callable[[], Any]
    answer: Callable[[Any], Answer]  # of what `call` returned
    pieces: int = 1  # of work in a call


class Workload(Protocol):
    """Written for pygradc and for a peer, from the same numbers."""

    @property
    def title(self) -> str: ...

    def ours(self, math: str) -> Side: ...

    def peer(self) -> Side:
        """Raises ImportError where it is not installed."""


def _awaited(compiled: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """A call of a jitted function that returns when its results are there."""
    jax: Any = baselines._jax()
    return lambda: jax.block_until_ready(compiled(*arguments))


# --- an epoch of a network ------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """An MLP, ReLU, the cross-entropy of its scores, SGD over batches in order."""

    sizes: tuple[int, ...]
    batch: int
    rows: int
    scale: float  # of the first weights
    lr: float

    @property
    def title(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        return f"MLP {sizes}, batch {self.batch:,}, an epoch of {self.rows:,} rows"

    def data(self) -> tuple[Array, Array]:
        """Points (rows, inputs), and for each a row with a one at its class."""
        draw = np.random.default_rng(4)
        points = draw.random((self.rows, self.sizes[0]))
        return points, np.eye(self.sizes[-1])[draw.integers(0, self.sizes[-1], self.rows)]

    def weights(self) -> list[Array]:
        """A matrix (nout, nin + 1) a layer, the bias last."""
        draw = np.random.default_rng(5)
        return [
            self.scale * draw.uniform(-1.0, 1.0, (nout, nin + 1))
            for nin, nout in zip(self.sizes, self.sizes[1:])
        ]

    def ours(self, math: str) -> Side:
        import pygradc

        model = recorded._model([w.tolist() for w in self.weights()], "relu", "linear")
        points, classes = self.data()

        def loss(x: Any, y: Any) -> Any:
            scores = model(x)
            return pygradc.sum([s.exp() for s in scores]).log() - pygradc.dot(list(y), scores)

        compiled = pygradc.compile(loss, math=math)
        optimizer = pygradc.optim.SGD(model.parameters(), lr=self.lr)
        settings: dict[str, Any] = {"epochs": 1, "batch_size": self.batch, "shuffle": False}
        return Side(
            lambda: pygradc.fit(compiled, points, classes, optimizer, **settings),
            lambda losses: [losses[0], [p.data for p in model.parameters()]],
        )

    def peer(self) -> Side:
        jax = baselines._jax()
        epoch = jax.jit(self._epoch(jax))
        batches = [a.reshape(-1, self.batch, a.shape[1]) for a in map(jax.numpy.array, self.data())]
        layers = [(jax.numpy.array(w[:, :-1].T), jax.numpy.array(w[:, -1])) for w in self.weights()]
        state = [layers]

        def call() -> Any:
            state[0], losses = jax.block_until_ready(epoch(state[0], batches))
            return losses

        def answer(losses: Any) -> Answer:
            flat = [np.vstack([w, b]).T.ravel() for w, b in state[0]]
            return [losses.mean(), np.concatenate(flat)]

        return Side(call, answer)

    def _epoch(self, jax: Any) -> Callable[..., Any]:
        """(layers, batches) to (layers, losses)."""

        def loss(layers: Any, x: Any, y: Any) -> Any:
            *hidden, (w, b) = layers
            for u, c in hidden:
                x = jax.nn.relu(x @ u + c)
            scores = x @ w + b
            return (jax.nn.logsumexp(scores, axis=1) - (y * scores).sum(axis=1)).mean()

        def step(layers: Any, batch: Any) -> Any:
            value, slopes = jax.value_and_grad(loss)(layers, *batch)
            return jax.tree_util.tree_map(lambda p, g: p - self.lr * g, layers, slopes), value

        return lambda layers, batches: jax.lax.scan(step, layers, batches)


# --- one row of a long program --------------------------------------------------------------


def _fitted(loss: Callable[[Any], Any], parameters: Sequence[Any], row: Array, math: str) -> Side:
    """pygradc's value and gradients of one row's loss."""
    import pygradc

    compiled = pygradc.compile(loss, math=math)

    def call() -> float:
        for p in parameters:
            p.grad = 0.0
        total = compiled.sum(row[None])
        total.backward()
        return float(total.data)

    return Side(call, lambda value: [value, *(p.grad for p in parameters)])


def _fitted_by_jax(loss: Callable[..., Any], parameters: Sequence[float], row: Array) -> Side:
    """The same of `loss(parameters, row)` in JAX."""
    jax = baselines._jax()

    compiled = jax.jit(jax.value_and_grad(loss))
    call = _awaited(compiled, jax.numpy.array(parameters), jax.numpy.array(row))
    return Side(call, lambda result: [result[0], *result[1]])


@dataclass(frozen=True)
class Pendulum:
    """A damped pendulum by Runge and Kutta's fourth order, and how far it is from a curve.

    Parameters: the first angle and speed, gravity over length, damping.
    """

    steps: int = 500
    first = (1.0, 0.0, 9.81, 0.1)
    dt = 0.01

    @property
    def title(self) -> str:
        return f"pendulum, RK4, {self.steps:,} steps, one row"

    @property
    def observed(self) -> Array:
        curve: Array = np.cos(3.0 * self.dt * np.arange(self.steps))
        return curve

    def step(self, state: Any, pull: Any, damping: Any, sin: Any) -> tuple[Any, Any]:
        """The next angle and speed."""
        (angle, speed), dt = state, self.dt

        def slopes(a: Any, s: Any) -> tuple[Any, Any]:
            return s, -pull * sin(a) - damping * s

        a1, s1 = slopes(angle, speed)
        a2, s2 = slopes(angle + 0.5 * dt * a1, speed + 0.5 * dt * s1)
        a3, s3 = slopes(angle + 0.5 * dt * a2, speed + 0.5 * dt * s2)
        a4, s4 = slopes(angle + dt * a3, speed + dt * s3)
        angle = angle + dt / 6.0 * (a1 + 2.0 * a2 + 2.0 * a3 + a4)
        return angle, speed + dt / 6.0 * (s1 + 2.0 * s2 + 2.0 * s3 + s4)

    def ours(self, math: str) -> Side:
        import pygradc

        parameters = [pygradc.Value(x) for x in self.first]
        start, (pull, damping) = tuple(parameters[:2]), parameters[2:]

        def misfit(observed: Any) -> Any:
            state, total = start, 0.0
            for seen in observed:
                state = self.step(state, pull, damping, pygradc.sin)
                total = total + (state[0] - seen) ** 2
            return total

        return _fitted(misfit, parameters, self.observed, math)

    def peer(self) -> Side:
        jax = baselines._jax()

        def misfit(parameters: Any, observed: Any) -> Any:
            def body(state: Any, seen: Any) -> Any:
                state = self.step(state, parameters[2], parameters[3], jax.numpy.sin)
                return state, (state[0] - seen) ** 2

            return jax.lax.scan(body, (parameters[0], parameters[1]), observed)[1].sum()

        return _fitted_by_jax(misfit, self.first, self.observed)


@dataclass(frozen=True)
class Garch:
    """The negative log-likelihood of returns whose variance follows h' = w + a r^2 + b h."""

    returns: int = 1_000
    first = (1e-6, 0.08, 0.9)

    @property
    def title(self) -> str:
        return f"GARCH(1,1), {self.returns:,} returns, one row"

    @property
    def drawn(self) -> Array:
        return 0.01 * np.random.default_rng(2).standard_normal(self.returns)

    def ours(self, math: str) -> Side:
        import pygradc

        w, a, b = parameters = [pygradc.Value(x) for x in self.first]

        def likelihood(returns: Any) -> Any:
            h, total = w / (1.0 - a - b), 0.0
            for r in returns:
                square = r * r
                total = total + h.log() + square / h
                h = w + a * square + b * h
            return 0.5 * total

        return _fitted(likelihood, parameters, self.drawn, math)

    def peer(self) -> Side:
        jax = baselines._jax()

        def likelihood(parameters: Any, returns: Any) -> Any:
            w, a, b = parameters

            def body(h: Any, square: Any) -> Any:
                return w + a * square + b * h, jax.numpy.log(h) + square / h

            return 0.5 * jax.lax.scan(body, w / (1.0 - a - b), returns * returns)[1].sum()

        return _fitted_by_jax(likelihood, self.first, self.drawn)


# --- gradients by inputs, row by row --------------------------------------------------------


@dataclass(frozen=True)
class BlackScholes:
    """A European call, and its slopes by price, strike, rate, volatility and time."""

    rows: int = 200_000
    between = ((80.0, 120.0), (80.0, 120.0), (0.0, 0.05), (0.1, 0.5), (0.1, 2.0))

    @property
    def title(self) -> str:
        return f"Black-Scholes, five sensitivities, {self.rows:,} rows"

    def columns(self) -> list[Array]:
        draw = np.random.default_rng(0)
        return [draw.uniform(low, high, self.rows) for low, high in self.between]

    @staticmethod
    def price(m: Any, erf: Any, spot: Any, strike: Any, rate: Any, vol: Any, years: Any) -> Any:
        """`m` has log, exp and sqrt."""

        def normal(x: Any) -> Any:
            return 0.5 * (1.0 + erf(0.7071067811865476 * x))

        spread = vol * m.sqrt(years)
        d = (m.log(spot / strike) + (rate + 0.5 * vol * vol) * years) / spread
        return spot * normal(d) - strike * m.exp(-rate * years) * normal(d - spread)

    def ours(self, math: str) -> Side:
        import pygradc

        f = pygradc.compile(lambda *row: self.price(pygradc, pygradc.erf, *row), math=math)
        columns = self.columns()
        return Side(lambda: f.gradients(*columns), lambda result: [result[0], *result[1]])

    def peer(self) -> Side:
        jax = baselines._jax()

        def one(*row: Any) -> Any:
            return self.price(jax.numpy, jax.scipy.special.erf, *row)

        compiled = jax.jit(jax.vmap(jax.value_and_grad(one, argnums=(0, 1, 2, 3, 4))))
        call = _awaited(compiled, *map(jax.numpy.array, self.columns()))
        return Side(call, lambda result: [result[0], *result[1]])


@dataclass(frozen=True)
class LennardJones:
    """The energy of particles whose squared distances are softened by a half, and the forces."""

    particles: int = 20
    rows: int = 64

    @property
    def title(self) -> str:
        return f"Lennard-Jones forces, {self.particles} particles, {self.rows} rows"

    @property
    def places(self) -> Array:
        return np.random.default_rng(3).uniform(0.0, 6.0, (self.rows, self.particles, 3))

    @staticmethod
    def pair(squared: Any) -> Any:
        """The energy of pairs at these squared distances."""
        s = 1.0 / squared
        cubed = s * s * s
        return 4.0 * (cubed * cubed - cubed)

    def ours(self, math: str) -> Side:
        import pygradc

        def energy(x: Any) -> Any:
            total = 0.0
            for i in range(self.particles):
                for j in range(i):
                    dx, dy, dz = (a - b for a, b in zip(x[i], x[j]))
                    total = total + self.pair(dx**2 + dy**2 + dz**2 + 0.5)
            return total

        compiled, places = pygradc.compile(energy, math=math), self.places
        return Side(lambda: compiled.gradients(places), lambda result: [result[0], *result[1]])

    def peer(self) -> Side:
        jax = baselines._jax()
        one, other = np.tril_indices(self.particles, -1)

        def energy(x: Any) -> Any:
            return self.pair(((x[one] - x[other]) ** 2).sum(axis=-1) + 0.5).sum()

        compiled = jax.jit(jax.vmap(jax.value_and_grad(energy)))
        return Side(_awaited(compiled, jax.numpy.array(self.places)), list)


# --- the demo's step ------------------------------------------------------------------------


@dataclass(frozen=True)
class Demo:
    """micrograd's demo step, ReLU; the loop over steps is the competitor's own.

    The peer is C by hand, built with -ffp-contract=off: no multiply-add is fused there either.
    """

    title = "micrograd's demo step in fit, beside strict C by hand"

    def ours(self, math: str) -> Side:
        return self._side(recorded.RecordedFit(workloads.make_case(), "relu", math))

    def peer(self) -> Side:
        return self._side(baselines.C(workloads.make_case(), "relu", "libm"))

    def _side(self, trainer: baselines.Trainer) -> Side:
        steps = trainer.per_call
        return Side(lambda: trainer.run(steps), lambda loss: [loss, trainer.weights()], steps)
