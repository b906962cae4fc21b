"""What recorded programs are compared with: tensors and C by hand, on the same two workloads.

The step is micrograd's demo of `workloads.py` with a choice of hidden units, ReLU or tanh. The rows
are many: the gradient of a squared error, summed over 100,000 rows, of an MLP 3-4-4-1 with tanh on
every layer. Everything is float64, and every competitor gets the data in the layout it likes best,
before the clock starts.

A competitor on the step is a `Trainer`, one on the rows a `RowGradient`. Both speak one order of
parameters (layer by layer, neuron by neuron, weights then bias), so a layer is a matrix of shape
(nout, nin + 1) in one flat vector, and `checked_trainer` and `checked_rows` can hold a competitor
against NumPy before it is timed. Whatever is specific to a competitor stays inside its class; a
factory raises ImportError where its library, or a C compiler, is missing.

The C is `baselines.c`, compiled when it is first wanted. It knows the demo's
sizes only, and takes rows in groups of 64: fewer cost as much.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench import workloads
from bench.workloads import L2, Case

HERE = Path(__file__).resolve().parent
Array = npt.NDArray[np.float64]
TOLERANCE = 1e-9  # relative, between competitors
ROW_SIZES = (3, 4, 4, 1)


def thread_limits(threads: int) -> dict[str, str]:
    """Environment of a process whose libraries are to use so many threads."""
    flags = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    return {"XLA_FLAGS": flags, **dict.fromkeys(names, str(threads))}


# --- the rows -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Points (n, 3), targets (n,), and weights[layer][neuron] = [w0, w1, ..., bias]."""

    points: Array
    targets: Array
    weights: list[list[list[float]]]

    @property
    def flat(self) -> Array:
        return np.array(workloads.flatten(self.weights))


def make_rows(count: int = 100_000, seed: int = 1337) -> Rows:
    """Points and weights uniform in (-1, 1), targets a smooth function of the points."""
    numbers, rng = np.random.default_rng(seed), random.Random(seed)
    points = numbers.uniform(-1.0, 1.0, (count, ROW_SIZES[0]))
    targets = np.sin(points @ np.array([1.0, -2.0, 0.5]))
    weights = [
        [[rng.uniform(-1.0, 1.0) for _ in range(nin + 1)] for _ in range(nout)]
        for nin, nout in zip(ROW_SIZES, ROW_SIZES[1:])
    ]
    return Rows(points, targets, weights)


# --- what a competitor is -------------------------------------------------------------------


class Trainer:
    """One competitor on the demo's step. A subclass has `step`, or `run` for many in one call."""

    per_call = 1  # steps that a turn asks for at a time

    def step(self) -> float:
        """Train once. Returns: the loss before the update."""
        return self.run(1)

    def run(self, steps: int) -> float:
        """Train so many times. Returns: the loss before the last update."""
        loss = math.nan
        for _ in range(steps):
            loss = self.step()
        return loss

    def weights(self) -> list[float]:
        raise NotImplementedError


class RowGradient(Protocol):
    """One competitor on the rows."""

    def gradient(self) -> Sequence[float]:
        """Of the summed squared error, one number a parameter."""


def apart(ours: Sequence[float], base: Sequence[float]) -> float:
    """The largest difference, relative to the largest number of the base."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if a.shape != b.shape:
        return math.inf
    worst = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
    return math.inf if math.isnan(worst) else worst


def checked_trainer(make: Callable[[Case, str], Trainer], case: Case, activation: str) -> Trainer:
    """A competitor whose loss and weights are NumPy's after a few steps.

    Raises:
        ArithmeticError: they aren't.
        ImportError: what it needs is not installed.
    """
    ours, base = make(case, activation), NumPy(case, activation)
    _hold("loss", [ours.run(3), ours.step()], [base.run(3), base.step()])
    _hold("weights", ours.weights(), base.weights())
    return ours


def checked_rows(make: Callable[[Rows], RowGradient], rows: Rows) -> RowGradient:
    """A competitor whose gradient is NumPy's. Raises as `checked_trainer`."""
    ours = make(rows)
    _hold("gradient", ours.gradient(), NumPyRows(rows).gradient())
    return ours


def _hold(what: str, ours: Sequence[float], base: Sequence[float]) -> None:
    worst = apart(ours, base)
    if not worst <= TOLERANCE:
        raise ArithmeticError(f"{what}: differs from NumPy's by {worst:.1e}, relative")


def _shapes(weights: list[list[list[float]]]) -> list[tuple[int, int]]:
    """(nout, nin + 1) of each layer's matrix."""
    return [(len(layer), len(layer[0])) for layer in weights]


def _matrices(p: Any, shapes: Sequence[tuple[int, int]]) -> Iterator[Any]:
    """The layers' matrices as views of the flat parameters: arrays of any library."""
    start = 0
    for nout, width in shapes:
        yield p[start : start + nout * width].reshape(nout, width)
        start += nout * width


# --- NumPy by hand --------------------------------------------------------------------------


class _Tape:
    """Layers in NumPy, into arrays made once.

    Samples lie innermost and every input has a last row of ones, so that a bias is a weight.
    """

    def __init__(self, p: Array, shapes: list[tuple[int, int]], activations: list[str]) -> None:
        self.grads = np.zeros_like(p)
        self.layers = list(zip(_matrices(p, shapes), _matrices(self.grads, shapes), activations))

    def start(self, x: Array) -> None:
        """Take inputs, shape (nin, samples)."""
        count = x.shape[1]
        self.inputs = [np.ones((w.shape[1], count)) for w, _, _ in self.layers]
        self.inputs[0][:-1] = x
        self.outs = [h[:-1] for h in self.inputs[1:]] + [np.empty((1, count))]
        self.slopes = [np.empty((w.shape[0], count)) for w, _, _ in self.layers]
        self.masks = [np.empty((w.shape[0], count), dtype=bool) for w, _, _ in self.layers]

    def forward(self) -> Array:
        """Outputs, shape (samples,)."""
        for (w, _, activation), h, out in zip(self.layers, self.inputs, self.outs):
            np.matmul(w, h, out=out)
            if activation == "tanh":
                np.tanh(out, out=out)
            elif activation == "relu":
                np.maximum(out, 0.0, out=out)
        outputs: Array = self.outs[-1][0]
        return outputs

    def backward(self, gout: Array) -> None:
        """Leave in `grads` what belongs to d loss / d outputs, shape (samples,)."""
        self.slopes[-1][0] = gout
        for i in range(len(self.layers) - 1, -1, -1):
            w, gw, activation = self.layers[i]
            gz = self.slopes[i]
            self._through(activation, gz, self.outs[i], self.masks[i])
            np.matmul(gz, self.inputs[i].T, out=gw)
            if i:
                np.matmul(w[:, :-1].T, gz, out=self.slopes[i - 1])

    @staticmethod
    def _through(activation: str, gz: Array, y: Array, mask: npt.NDArray[np.bool_]) -> None:
        """gz *= dy/dz; overwrites y where nobody needs it again."""
        if activation == "relu":
            np.greater(y, 0.0, out=mask)
            np.multiply(gz, mask, out=gz)
        elif activation == "tanh":
            gz -= gz * y * y


class NumPy(Trainer):
    """The demo's step in NumPy by hand."""

    def __init__(self, case: Case, activation: str) -> None:
        self.p = np.array(workloads.flatten(case.weights))
        shapes = _shapes(case.weights)
        hidden = [activation] * (len(shapes) - 1)
        self.tape = _Tape(self.p, shapes, [*hidden, "linear"])
        self.tape.start(np.array(case.points).T)
        self.labels, self.lr = np.array(case.labels), case.lr
        self.pull = -self.labels / len(case.labels)

    def step(self) -> float:
        p, grads = self.p, self.tape.grads
        margin = 1.0 - self.labels * self.tape.forward()
        self.tape.backward(self.pull * (margin > 0.0))
        loss = np.maximum(margin, 0.0).mean() + L2 * p.dot(p)
        grads += 2.0 * L2 * p
        grads *= self.lr
        p -= grads
        return float(loss)

    def weights(self) -> list[float]:
        return list(self.p.tolist())


class NumPyRows:
    """The rows in NumPy by hand: blocks of rows that stay in the cache."""

    def __init__(self, rows: Rows, block: int = 2_000) -> None:
        self.p, self.x, self.y = rows.flat, np.ascontiguousarray(rows.points.T), rows.targets
        self.shapes, self.block = _shapes(rows.weights), min(block, len(rows.targets))
        self.tapes: dict[int, _Tape] = {}

    def _tape(self, x: Array) -> _Tape:
        """The tape of that many rows, holding these."""
        count = x.shape[1]
        if count not in self.tapes:
            self.tapes[count] = _Tape(self.p, self.shapes, ["tanh"] * len(self.shapes))
            self.tapes[count].start(x)
        self.tapes[count].inputs[0][:-1] = x
        return self.tapes[count]

    def gradient(self) -> Sequence[float]:
        total = np.zeros_like(self.p)
        for start in range(0, len(self.y), self.block):
            tape = self._tape(self.x[:, start : start + self.block])
            error = tape.forward() - self.y[start : start + self.block]
            error *= 2.0
            tape.backward(error)
            total += tape.grads
        return list(total.tolist())


# --- C by hand ------------------------------------------------------------------------------

CDEF = """
int width(void);
double demo_relu(double *p, const double *x, const double *labels, double lr, int steps);
double demo_tanh(double *p, const double *x, const double *labels, double lr, int steps);
void rows_gradient(double *gp, const double *p, const double *x, const double *y, long groups,
                   int valid);
"""
GROUP = 64  # rows in a group of baselines.c
FLAGS = {
    "libm": ["-ffp-contract=off"],
    "vector": ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno", "-DVECTOR_TANH"],
    "fast-math": ["-ffast-math"],
}


@cache
def c_library(variant: str) -> Any:
    """cffi's module and library of baselines.c; `variant` is one of FLAGS.

    Raises:
        ImportError: no cffi, no compiler, or it doesn't compile.
    """
    import cffi

    fastmath = HERE.parent / "csrc" / "ops" / "fastmath.h"
    if variant == "vector" and not fastmath.exists():
        raise ImportError("csrc/ops/fastmath.h is missing")
    ffi = cffi.FFI()
    ffi.cdef(CDEF)
    with tempfile.TemporaryDirectory() as folder:
        return ffi, ffi.dlopen(str(_compile(Path(folder), FLAGS[variant])))


def _compile(folder: Path, flags: list[str]) -> Path:
    """In two calls: linked with -ffast-math, a library changes the whole process' rounding mode."""
    compiler = shutil.which(os.environ.get("CC", "cc").split()[0])
    if not compiler:
        raise ImportError("no C compiler")
    program, unit, library = [compiler], folder / "baselines.o", folder / "baselines.so"
    flags = ["-O3", "-march=native", "-fPIC", "-w", f"-I{HERE.parent / 'csrc'}", *flags]
    wide = ["-mprefer-vector-width=512"]  # x86 only: whole vectors of eight, not two halves
    for extra in (wide, []):
        done = subprocess.run(
            [*program, *flags, *extra, "-c", str(HERE / "baselines.c"), "-o", str(unit)],
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.returncode:
            break
    else:
        raise ImportError(f"baselines.c does not compile: {done.stderr.strip()[:200]}")
    subprocess.run([*program, "-shared", str(unit), "-o", str(library), "-lm"], check=True)
    return library


def _blocks(x: Array, size: int, lanes: int) -> Array:
    """(n, inputs) to (blocks, inputs, lanes), filled up with zeros to a multiple of `size` rows."""
    filled = np.zeros((-(-len(x) // size) * size, x.shape[1]))
    filled[: len(x)] = x
    blocks = filled.reshape(-1, lanes, x.shape[1])
    return np.ascontiguousarray(blocks.transpose(0, 2, 1))


class C(Trainer):
    """The demo's step in C by hand: the loop over steps is C, too."""

    per_call = 100

    def __init__(self, case: Case, activation: str, variant: str) -> None:
        if case.sizes != [2, 16, 16, 1] or len(case.points) != 100:
            raise ValueError("baselines.c knows the demo's sizes only")
        self.ffi, library = c_library(variant)
        self.function = {"relu": library.demo_relu, "tanh": library.demo_tanh}[activation]
        self.p, self.lr = np.array(workloads.flatten(case.weights)), case.lr
        lanes = library.width()
        self.arrays = [
            self.p,
            _blocks(np.array(case.points), lanes, lanes),
            _blocks(np.array(case.labels)[:, None], lanes, lanes),
        ]
        self.pointers = [_pointer(self.ffi, array) for array in self.arrays]

    def run(self, steps: int) -> float:
        return float(self.function(*self.pointers, self.lr, steps))

    def weights(self) -> list[float]:
        return list(self.p.tolist())


class CRows:
    """The rows in C by hand."""

    def __init__(self, rows: Rows, variant: str) -> None:
        ffi, library = c_library(variant)
        count = len(rows.targets)
        lanes = library.width()
        x, y = (_blocks(a, GROUP, lanes) for a in (rows.points, rows.targets[:, None]))
        groups = -(-count // GROUP)
        self.grads = np.zeros(len(rows.flat))
        self.arrays = [self.grads, rows.flat, x, y]
        pointers = [_pointer(ffi, array) for array in self.arrays]
        valid = count - GROUP * (groups - 1)
        self.function = partial(library.rows_gradient, *pointers, groups, valid)

    def gradient(self) -> Sequence[float]:
        self.function()
        return list(self.grads.tolist())


def _pointer(ffi: Any, array: Array) -> Any:
    """Valid as long as the array lives."""
    return ffi.from_buffer("double[]", array)


# --- PyTorch --------------------------------------------------------------------------------


def _tensor_outputs(p: Any, shapes: Sequence[tuple[int, int]], x: Any, activations: Any) -> Any:
    """Outputs, shape (samples,), of inputs (nin, samples); for PyTorch and JAX alike."""
    h = x
    for w, activation in zip(_matrices(p, shapes), activations):
        h = activation(w[:, :-1] @ h + w[:, -1:])
    return h[0]


def _same(h: Any) -> Any:
    return h


def _torch(threads: int = 1) -> Any:
    import torch

    torch.set_num_threads(threads)
    return torch


class Torch(workloads.Torch, Trainer):
    """PyTorch eager, the whole batch as tensors, as people write it."""

    def __init__(self, case: Case, activation: str) -> None:
        torch = _torch()
        super().__init__(case)
        self.activation = {"relu": torch.relu, "tanh": torch.tanh}[activation]

    def step(self) -> float:
        h = self.x
        for depth, (w, b) in enumerate(self.layers):
            h = self.torch.nn.functional.linear(h, w, b)
            h = self.activation(h) if depth < len(self.layers) - 1 else h
        data_loss = (1.0 - self.y * h[:, 0]).relu().mean()
        total = data_loss + L2 * sum((p * p).sum() for p in self.params)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return float(total.item())


class TorchCompiled(Trainer):
    """torch.compile of the whole step as one function of the flat parameters."""

    def __init__(self, case: Case, activation: str) -> None:
        torch = _torch()
        self.p = torch.tensor(workloads.flatten(case.weights), dtype=torch.float64)
        x, y = torch.tensor(np.array(case.points).T.copy()), torch.tensor(np.array(case.labels))
        shapes, lr, act = _shapes(case.weights), case.lr, getattr(torch, activation)
        activations = [act] * (len(shapes) - 1) + [_same]

        def loss(p: Any) -> Any:
            score = _tensor_outputs(p, shapes, x, activations)
            return (1.0 - y * score).relu().mean() + L2 * (p * p).sum()

        def step(p: Any) -> Any:
            gp, value = torch.func.grad_and_value(loss)(p)
            return p - lr * gp, value

        self.compiled = torch.compile(step)

    def step(self) -> float:
        self.p, loss = self.compiled(self.p)
        return float(loss)

    def weights(self) -> list[float]:
        return list(self.p.tolist())


class TorchRows:
    """The rows in PyTorch, eager or compiled."""

    def __init__(self, rows: Rows, compiled: bool, threads: int = 1) -> None:
        torch = _torch(threads)
        self.p = torch.tensor(rows.flat, requires_grad=not compiled)
        x, y = torch.tensor(rows.points.T.copy()), torch.tensor(rows.targets)
        shapes = _shapes(rows.weights)

        def loss(p: Any) -> Any:
            error = _tensor_outputs(p, shapes, x, [torch.tanh] * len(shapes)) - y
            return (error * error).sum()

        self.loss, self.compiled = loss, compiled
        self.function = torch.compile(torch.func.grad(loss)) if compiled else None

    def gradient(self) -> Sequence[float]:
        if self.function:
            return list(self.function(self.p).tolist())
        self.p.grad = None
        self.loss(self.p).backward()
        return list(self.p.grad.tolist())


# --- JAX ------------------------------------------------------------------------------------


def _jax() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # no thread to wake: twice as fast
    return jax


class Jax(Trainer):
    """JAX: the whole step jitted, and called once a step."""

    def __init__(self, case: Case, activation: str) -> None:
        self.jax = jax = _jax()
        np_ = jax.numpy
        self.p = np_.array(workloads.flatten(case.weights))
        self.x, self.y = np_.array(np.array(case.points).T), np_.array(case.labels)
        shapes, lr = _shapes(case.weights), case.lr
        act = {"relu": jax.nn.relu, "tanh": np_.tanh}[activation]
        activations = [act] * (len(shapes) - 1) + [_same]

        def loss(p: Any, x: Any, y: Any) -> Any:
            score = _tensor_outputs(p, shapes, x, activations)
            return jax.nn.relu(1.0 - y * score).mean() + L2 * (p * p).sum()

        def step(p: Any, x: Any, y: Any) -> Any:
            value, gp = jax.value_and_grad(loss)(p, x, y)
            return p - lr * gp, value

        self.one, self.compiled = step, jax.jit(step, donate_argnums=0)

    def step(self) -> float:
        self.p, loss = self.compiled(self.p, self.x, self.y)
        return float(loss)

    def weights(self) -> list[float]:
        return list(self.p.tolist())


class JaxScan(Jax):
    """JAX: many steps inside one jitted call."""

    per_call = 100

    def __init__(self, case: Case, activation: str) -> None:
        super().__init__(case, activation)

        def many(p: Any, x: Any, y: Any, steps: int) -> Any:
            return self.jax.lax.scan(lambda p, _: self.one(p, x, y), p, None, length=steps)

        self.many = self.jax.jit(many, static_argnums=3)

    def run(self, steps: int) -> float:
        self.p, losses = self.many(self.p, self.x, self.y, steps)
        return float(losses[-1])

    def step(self) -> float:
        return self.run(1)


class JaxRows:
    """The rows in JAX: the gradient jitted."""

    def __init__(self, rows: Rows) -> None:
        jax = _jax()
        np_ = jax.numpy
        self.arrays = [np_.array(a) for a in (rows.flat, rows.points.T, rows.targets)]
        shapes = _shapes(rows.weights)

        def loss(p: Any, x: Any, y: Any) -> Any:
            error = _tensor_outputs(p, shapes, x, [np_.tanh] * len(shapes)) - y
            return (error * error).sum()

        self.compiled = jax.jit(jax.grad(loss))

    def gradient(self) -> Sequence[float]:
        return list(self.compiled(*self.arrays).tolist())


# --- their names ----------------------------------------------------------------------------

C_LIBM, C_VECTOR, C_FAST = (
    "C by hand, libm's tanh",
    "C by hand, vector tanh",
    "C by hand, -ffast-math",
)
JAX, JAX_SCAN, NUMPY = "JAX, jit", "JAX, 100 steps in one jit", "NumPy by hand"
TORCH, TORCH_COMPILED = "PyTorch, eager", "PyTorch, torch.compile"

TRAINERS: dict[str, Callable[[Case, str], Trainer]] = {
    C_FAST: partial(C, variant="fast-math"),
    C_VECTOR: partial(C, variant="vector"),
    C_LIBM: partial(C, variant="libm"),
    JAX_SCAN: JaxScan,
    JAX: Jax,
    NUMPY: NumPy,
    TORCH_COMPILED: TorchCompiled,
    TORCH: Torch,
}
"""Name to factory of (case, "relu" or "tanh")."""

ROWS: dict[str, Callable[[Rows], RowGradient]] = {
    C_FAST: partial(CRows, variant="fast-math"),
    C_VECTOR: partial(CRows, variant="vector"),
    C_LIBM: partial(CRows, variant="libm"),
    JAX: JaxRows,
    f"{JAX}, 2 threads": JaxRows,
    NUMPY: NumPyRows,
    TORCH_COMPILED: partial(TorchRows, compiled=True),
    TORCH: partial(TorchRows, compiled=False),
}
"""Name to factory; a name that ends in "2 threads" wants a process with `thread_limits(2)`."""
