"""The network of `mnist.py` in JAX, for its `--jax`: the same rows, the same steps, float64.

An epoch is one jitted call: a scan over minibatches that gathers its shuffled rows, as `fit` does;
a loop of jitted steps from Python, which dispatches beside the arithmetic, takes a second thread.
Cost: the rows a second time, as JAX's array.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

# Read when JAX starts its backend, at its first array.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
tree = jax.tree_util.tree_map


def loss(w: Any, x: Any, y: Any) -> Any:
    """The mean over a batch: x (rows, pixels), y (rows,)."""
    hidden = jax.nn.relu(x @ w["layers.0.weight"].T + w["layers.0.bias"])
    logits = hidden @ w["layers.1.weight"].T + w["layers.1.bias"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()


def step(x: Any, y: Any, lr: Any, state: Any, rows: Any) -> Any:
    """Adam, as `optim.Adam`; the state, and the sum of the rows' losses before the step."""
    w, mean, square, t = state
    value, g = jax.value_and_grad(loss)(w, x[rows], y[rows])
    t = t + 1.0
    mean = tree(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
    square = tree(lambda s, g: 0.999 * s + 0.001 * g * g, square, g)
    rate, root = lr / (1.0 - 0.9**t), jnp.sqrt(1.0 - 0.999**t)
    w = tree(lambda w, m, s: w - rate * m / (jnp.sqrt(s) / root + 1e-8), w, mean, square)
    return (w, mean, square, t), value * len(rows)


def epoch(batch: int, state: Any, x: Any, y: Any, order: Any, lr: Any) -> Any:
    """All rows in this order; the last batch may be smaller."""
    whole = len(order) // batch * batch
    one = partial(step, x, y, lr)
    state, sums = jax.lax.scan(one, state, order[:whole].reshape(-1, batch))
    if whole < len(order):
        state, last = one(state, order[whole:])
        sums = jnp.append(sums, last)
    return state, sums.sum() / len(order)


def trainer(weights: Any, pixels: Any, labels: Any, batch: int) -> Callable[[int, float], float]:
    """A function that trains for an epoch, of a seed and a learning rate, and returns its loss."""
    zeros = tree(np.zeros_like, weights)
    state, x, y = tree(jnp.array, ((weights, zeros, zeros, 0.0), pixels, labels))
    rows = len(labels)
    jitted = jax.jit(partial(epoch, min(batch, rows)), donate_argnums=0)
    compiled = jitted.lower(state, x, y, np.arange(rows), 0.0).compile()

    def train(seed: int, lr: float) -> float:
        nonlocal state
        order = np.random.default_rng(seed).permutation(rows)  # as `fit` draws it
        state, mean = compiled(state, x, y, order, lr)
        return float(mean)

    return train
