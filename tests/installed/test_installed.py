"""Does what was installed work: the core, its kernels, files, threads, the command line?

A few seconds, for wheels: `make wheels` and the release run it where the sources aren't. It needs
pytest and numpy only, and none of the other files of the tests.
"""

from __future__ import annotations

import math
import random
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import pygradc
from pygradc import Value, datasets, nn, optim, reference

XS = np.random.default_rng(0).uniform(-1.0, 1.0, (100, 2))
YS = XS[:, 0] * XS[:, 1]


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def test_what_is_imported_is_what_is_installed() -> None:
    assert pygradc.__version__ == version("pygradc") == pygradc.info()["pygradc"]
    assert (Path(pygradc.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("engine", [Value, reference.Value])
def test_the_readme_s_first_lines(engine: type) -> None:
    a, b, c, f = engine(2.0), engine(-3.0), engine(10.0), engine(-2.0)
    L = (a * b + c) * f
    L.backward()
    assert (L.data, a.grad, b.grad, c.grad, f.grad) == (-8.0, 6.0, -4.0, -2.0, 4.0)


@pytest.mark.parametrize("op", ["exp", "tanh", "relu", "sigmoid", "sin", "cos", "sqrt", "log"])
@pytest.mark.parametrize("x", [0.3, 1.0, 2.5])
def test_ops_have_the_oracle_s_bits(op: str, x: float) -> None:
    ours, theirs = Value(x), reference.Value(x)
    y, wanted = getattr(ours, op)() ** 3, getattr(theirs, op)() ** 3
    y.backward()
    wanted.backward()
    assert bits(y.data) == bits(wanted.data) and bits(ours.grad) == bits(theirs.grad)


def test_errors_are_python_s() -> None:
    for call, error in [
        (lambda: Value(1.0) / 0, ZeroDivisionError),
        (lambda: Value(-1.0).log(), ValueError),
        (lambda: Value(1000.0).exp(), OverflowError),
    ]:
        with pytest.raises(error):
            call()


def new_loss() -> tuple[nn.MLP, object]:
    random.seed(1337)
    model = nn.MLP(2, [8, 1], output_activation="linear")
    return model, lambda x, y: (model(x) - y) ** 2


@pytest.mark.parametrize("rows", [1, 7, 8, 32, 100])
def test_a_replay_has_the_bits_of_the_function(rows: int) -> None:
    _, loss = new_loss()
    wanted = [loss(x.tolist(), y).data for x, y in zip(XS[:rows], YS[:rows])]
    exact = pygradc.compile(loss).map(XS[:rows], YS[:rows])
    assert [bits(x) for x in exact] == [bits(x) for x in wanted]
    fast = pygradc.compile(loss, math="fast").map(XS[:rows], YS[:rows])
    assert np.allclose(fast, exact, rtol=1e-12, atol=1e-15)


def test_threads_give_the_same_bits() -> None:
    from concurrent.futures import ThreadPoolExecutor

    rows, products = np.tile(XS, (100, 1)), np.tile(YS, 100)
    _, loss = new_loss()
    alone = pygradc.compile(loss).map(rows, products)
    with ThreadPoolExecutor(2) as pool:
        shared = pygradc.compile(loss).map(rows, products, executor=pool)
    assert alone.tobytes() == shared.tobytes()


def test_training_saving_and_reading_again(tmp_path: Path) -> None:
    model, loss = new_loss()
    history = pygradc.fit(
        pygradc.compile(loss), XS, YS, optim.Adam(model.parameters(), lr=0.02), epochs=100,
        batch_size=20, seed=0,
    )  # fmt: skip
    assert history[-1] < 0.01 * history[0]
    path = tmp_path / "model.npz"
    pygradc.save_state(model.state_dict(), path)
    again, _ = new_loss()
    again.load_state_dict(pygradc.load_state(path))
    assert [p.data for p in again.parameters()] == [p.data for p in model.parameters()]


def test_second_derivatives() -> None:
    x = Value(0.7)
    (slope,) = pygradc.grad(x.sin() * x, [x])
    (second,) = pygradc.grad(slope, [x])
    assert math.isclose(second.data, 2.0 * math.cos(0.7) - 0.7 * math.sin(0.7), rel_tol=1e-14)


def test_the_data_came_along() -> None:
    assert len(datasets.load("digits").features) == 1797
    assert len(datasets.load("iris").features) == 150


def test_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pygradc", "info"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pygradc") and pygradc.__version__ in done.stdout
