"""Do the examples run, print what they promise, and do what they are there to show?"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value

pytestmark = pytest.mark.unsanitized
ROOT = Path(pygradc.__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: str) -> str:
    """In a process of its own, as one types it; what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def test_bigram_learns_what_counting_gives() -> None:
    out = run("bigram.py")
    (trained,) = re.findall(r"^after training ([\d.]+)$", out, re.M)
    (counted,) = re.findall(r"^by counting    ([\d.]+)$", out, re.M)
    assert float(counted) <= float(trained) < float(counted) + 0.01
    assert float(re.findall(r"^epoch +10  loss ([\d.]+)$", out, re.M)[0]) < 2.6
    (sampled,) = re.findall(r"^sampled: (.*)$", out, re.M)
    assert len(sampled.split()) == 10


def loaded(name: str) -> Any:
    """The example as a fresh module: nothing recorded."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def embedding() -> Any:
    """Its tables are as drawn."""
    return loaded("embedding")


def test_embedding_learns_words() -> None:
    out = run("embedding.py", "--steps", "1500")
    losses = [float(x) for x in re.findall(r"^step +\d+  loss ([\d.]+)$", out, re.M)]
    assert len(losses) == 10
    assert losses[-1] < 0.8 < 1.2 < losses[0]
    assert "\n7 programs" in out
    eager, recorded = map(float, re.findall(r"^a step \w+: ([\d.]+) ms$", out, re.M))
    assert recorded < eager
    (sampled,) = re.findall(r"^sampled: (.*)$", out, re.M)
    assert set(sampled) <= set("abcdefghijklmnopqrstuvwxyz ") and len(sampled.split()) > 8


@pytest.mark.parametrize("steps", ["0", "3"])
def test_embedding_takes_any_number_of_steps(steps: str) -> None:
    assert "sampled:" in run("embedding.py", "--steps", steps)


def gradients(rows: list[list[Value]]) -> Any:
    return np.array([[p.grad for p in row] for row in rows])


def test_embedding_gradients_reach_exactly_the_rows_that_were_passed(embedding: Any) -> None:
    for word in ("one", "two", "seven", "six"):  # "two" by the program that "one" made
        for p in embedding.parameters:
            p.grad = 0.0
        embedding.loss(*embedding.rows_and_targets(word)).backward()
        passed = {0, *(embedding.NUMBER[letter] for letter in word)}
        reached = gradients(embedding.tokens).any(axis=1)
        assert set(np.flatnonzero(reached).tolist()) == passed
        places = gradients(embedding.places).any(axis=1)
        assert places.tolist() == [i <= len(word) for i in range(embedding.LONGEST)]
        assert all(gradients(table).all() for table in (embedding.output, embedding.content))
    assert len(embedding.loss.programs) == 2


def losses_and_gradients(embedding: Any, function: Any, words: list[str]) -> Any:
    results = []
    for word in words:
        for p in embedding.parameters:
            p.grad = 0.0
        mean = function(*embedding.rows_and_targets(word))
        mean.backward()
        results.append([mean.data, *(p.grad for p in embedding.parameters)])
    return np.array(results)


def test_embedding_recorded_is_eager_to_the_last_bit(embedding: Any) -> None:
    """But for the order in which the gradients of a row that is passed twice are added up."""
    repeating = {word for word in embedding.WORDS if len(set(word)) < len(word)}
    once = [word for word in embedding.WORDS if word not in repeating]
    recorded, eager = embedding.loss, embedding.loss.__wrapped__
    ours, theirs = (losses_and_gradients(embedding, f, once) for f in (recorded, eager))
    assert ours.tobytes() == theirs.tobytes()
    twice = sorted(repeating)
    ours, theirs = (losses_and_gradients(embedding, f, twice) for f in (recorded, eager))
    assert ours[:, 0].tobytes() == theirs[:, 0].tobytes()
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


def test_embedding_keeps_one_program_a_length(embedding: Any) -> None:
    for word in embedding.WORDS:
        embedding.loss(*embedding.rows_and_targets(word))
    lengths = {len(word) for word in embedding.WORDS}
    assert len(embedding.loss.programs) == len(lengths) <= embedding.LONGEST
    assert len(set(map(len, embedding.loss.programs))) == len(lengths)


# ---- Derivatives of derivatives ------------------------------------------------------------------

# The examples assert their results themselves; python -O would leave that out.
PRINTED = {  # what they print at the end, and the largest number that may stand there
    "pinn.py": (r"^largest error (\S+)$", 1e-3),
    "double_pendulum.py": (r"^energy kept to (\S+) m g l$", 1e-9),
    "newton.py": (r"^minimum found to (\S+) in \d steps$", 1e-12),
    "black_scholes.py": (r"largest error (\S+)$", 1e-12),
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_number_that_an_example_is_about(name: str) -> None:
    pattern, largest = PRINTED[name]
    found = list(map(float, re.findall(pattern, run(name), re.M)))
    assert found and max(found) < largest


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "bigram.py",
        "embedding.py",
        *PRINTED,
    }


def test_an_example_fails_if_its_number_is_wrong() -> None:
    """A coarse step loses energy; a formula of another rate has other prices."""
    pendulum, options = loaded("double_pendulum"), loaded("black_scholes")
    pendulum.STEP = 2e-3
    with pytest.raises(AssertionError):
        pendulum.main()
    options.greeks.map(*options.options())  # recorded with the old rate
    options.RATE = 0.03 + 1e-9
    with pytest.raises(AssertionError):
        options.main()


def test_the_pendulum_swings_as_derived_by_hand() -> None:
    """Source: the accelerations of a double pendulum of equal weights and rods, from textbooks."""
    pendulum = loaded("double_pendulum")
    rng = np.random.default_rng(5)
    states = rng.uniform(-3.0, 3.0, (50, 4))
    found = pygradc.compile(lambda q, w: pendulum.accelerations(q, w))
    q1, q2, w1, w2 = states.T
    d, g = q1 - q2, pendulum.G
    below = 3.0 - np.cos(2.0 * d)
    first = -3.0 * g * np.sin(q1) - g * np.sin(q1 - 2.0 * q2)
    first -= 2.0 * np.sin(d) * (w2**2 + w1**2 * np.cos(d))
    second = 2.0 * np.sin(d) * (2.0 * w1**2 + 2.0 * g * np.cos(q1) + w2**2 * np.cos(d))
    expected = np.stack([first / below, second / below], axis=1)
    np.testing.assert_allclose(found.map(states[:, :2], states[:, 2:]), expected, rtol=1e-11)


def test_newtons_derivatives_are_recorded_once_a_size() -> None:
    newton = loaded("newton")
    for start in newton.STARTS:
        newton.newton(start)
    assert len(newton.derivatives.programs) == len(newton.STARTS)
    (numbers,) = newton.derivatives.map([[-1.2, 1.0]])  # in every textbook
    assert numbers == pytest.approx([24.2, -215.6, -88.0, 1330.0, 480.0, 480.0, 200.0], rel=1e-13)
