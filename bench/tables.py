"""Measure interpolation in a table: `python bench/tables.py` prints times beside JAX's.

100,000 rows, 200 knots, one thread each, float64. All take turns in one process, and figures are
the medians of the turns, with the smallest and the largest in brackets. In the end, for contrast,
the same with a `where` for each knot, which is what a recording had to write without
`pygradc.interp`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

import numpy as np

import pygradc

ROWS, KNOTS, TURNS = 100_000, 200, 30

random = np.random.default_rng(0)
xs = np.sort(random.normal(size=KNOTS))
ys = np.sin(xs)
X = random.normal(size=ROWS)


def chain(x: Any) -> Any:
    """The segment by a comparison with each knot."""
    slopes = np.diff(ys) / np.diff(xs)
    y = ys[0] + 0.0 * x
    for x0, y0, slope in zip(xs, ys, slopes):
        y = pygradc.where(x >= x0, slope * (x - x0) + y0, y)
    return pygradc.where(x >= xs[-1], ys[-1] + 0.0 * x, y)


def of_pygradc(function: Any, math: Any) -> dict[str, Callable[[], Any]]:
    compiled = pygradc.compile(function, math=math)
    return {"value": lambda: compiled.map(X), "and gradient": lambda: compiled.gradients(X)}


def of_jax() -> dict[str, Callable[[], Any]]:
    import jax

    jax.config.update("jax_enable_x64", True)

    def one(x: Any) -> Any:
        return jax.numpy.interp(x, xs, ys)

    value, both = jax.jit(jax.vmap(one)), jax.jit(jax.vmap(jax.value_and_grad(one)))
    return {
        "value": lambda: value(X).block_until_ready(),
        "and gradient": lambda: jax.block_until_ready(both(X)),
    }


def main() -> None:
    work = {
        f"pygradc, {math}": of_pygradc(lambda x: pygradc.interp(x, xs, ys), math)
        for math in ("exact", "fast")
    }
    try:
        work["JAX, jit"] = of_jax()
    except ImportError as missing:
        print(f"JAX: not installed ({missing})", file=sys.stderr)
    work["pygradc, a chain of where"] = of_pygradc(chain, "fast")
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(TURNS + 1):
        for name, calls in work.items():
            for what, call in calls.items():
                start = time.perf_counter()
                call()
                if turn > 0:  # the first one records, or compiles
                    times.setdefault((name, what), []).append(time.perf_counter() - start)
    for (name, what), samples in times.items():
        low, middle, high = (1e3 * f(samples) for f in (min, median, max))
        print(f"{name:26} {what:13} {middle:7.2f} ms [{low:.2f} ... {high:.2f}]")


if __name__ == "__main__":
    main()
