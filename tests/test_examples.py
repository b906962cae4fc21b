"""Do the examples run, print what they promise, and do what they are there to show?"""

from __future__ import annotations

import gzip
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
from pygradc.datasets import DataError

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
        "mnist.py",
        *MNIST_PARTS,
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


# ---- MNIST: files are made here, since none is shipped -------------------------------------------

MNIST_PARTS = ("mnist_data.py", "mnist_jax.py")  # which mnist.py imports
MNIST_LINE = r"^epoch +(\d+)  (\w+) +loss ([\d.]+)  [\d.]+ s$"


def mnist_right(out: str) -> float:
    """Of the digits, the percentage that the network got right."""
    (percentage,) = re.findall(r"^right: ([\d.]+)% of 299 other pictures$", out, re.M)
    return float(percentage)


def test_mnist_learns_the_shipped_digits() -> None:
    out = run("mnist.py", "--epochs", "30")
    assert out.startswith("1498 pictures, 9610 parameters\n")
    means = [float(mean) for _, _, mean in re.findall(MNIST_LINE, out, re.M)]
    assert len(means) == 30
    assert means[-1] < 0.05 < 1.0 < means[0]
    assert mnist_right(out) > 97.5
    assert "JAX" not in out


def test_mnist_in_jax_has_the_same_losses() -> None:
    """Each digit of both: the same weights at first, the same batches, the same steps."""
    pytest.importorskip("jax")
    out = run("mnist.py", "--jax", "--epochs", "3")
    lines = re.findall(MNIST_LINE, out, re.M)
    assert [name for _, name, _ in lines] == ["pygradc", "JAX"] * 3
    means = np.array([float(mean) for _, _, mean in lines]).reshape(3, 2)
    np.testing.assert_allclose(means[:, 0], means[:, 1], atol=1.5e-6)
    (ratio,) = re.findall(r"^fastest epoch, as a multiple of JAX's: ([\d.]+)$", out, re.M)
    assert float(ratio) > 0.0


@pytest.fixture
def mnist_data() -> Any:
    return loaded("mnist_data")


def idx(array: Any) -> bytes:
    """Unsigned bytes in the format of http://yann.lecun.com/exdb/mnist."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.astype(np.uint8).tobytes()


def pictures(rows: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(rows)
    return rng.integers(0, 256, (rows, 28, 28)), np.arange(rows) % 10


def write_idx(folder: Path, name: str = "{}-idx{}-ubyte", packed: bool = False) -> None:
    for part, rows in (("train", 12), ("t10k", 5)):
        for what, array in zip(("images", "labels"), pictures(rows)):
            raw = gzip.compress(idx(array)) if packed else idx(array)
            (folder / name.format(f"{part}-{what}", array.ndim)).write_bytes(raw)


def write_csv(path: Path, rows: int, header: str = "") -> Path:
    images, labels = pictures(rows)
    lines = [",".join(map(str, [y, *x.ravel()])) for x, y in zip(images, labels)]
    path.write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def assert_pictures(found: Any, rows: int) -> None:
    images, labels = pictures(rows)
    np.testing.assert_array_equal(found[0], images.reshape(rows, 784) / 255.0)
    np.testing.assert_array_equal(found[1], labels)


@pytest.mark.parametrize("name", ["{}-idx{}-ubyte", "{}.idx{}-ubyte"])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_idx_files(mnist_data: Any, tmp_path: Path, name: str, packed: bool) -> None:
    write_idx(tmp_path, name + ".gz" * packed, packed)
    train, test = mnist_data.read(tmp_path, None)
    assert_pictures(train, 12)
    assert_pictures(test, 5)


HEADER = "label," + ",".join(f"{i}x{j}" for i in range(1, 29) for j in range(1, 29)) + "\n"


@pytest.mark.parametrize("header", ["", HEADER, "\ufeff", "\ufeff" + HEADER])
def test_mnist_csv_files(mnist_data: Any, tmp_path: Path, header: str) -> None:
    paths = [write_csv(tmp_path / f"{rows}.csv", rows, header) for rows in (12, 5)]
    train, test = mnist_data.read(*paths)
    assert_pictures(train, 12)
    assert_pictures(test, 5)
    packed = tmp_path / "12.csv.gz"
    packed.write_bytes(gzip.compress(paths[0].read_bytes()))
    assert_pictures(mnist_data.of_csv(packed), 12)


def test_mnist_holds_out_a_sixth_of_one_table(mnist_data: Any, tmp_path: Path) -> None:
    train, test = mnist_data.read(write_csv(tmp_path / "all.csv", 12), None)
    assert [len(labels) for _, labels in (train, test)] == [10, 2]
    together = np.concatenate([train[0], test[0]])
    expected = pictures(12)[0].reshape(12, 784) / 255.0
    assert sorted(map(bytes, together)) == sorted(map(bytes, expected))  # each row once


IMAGES, LABELS = map(idx, pictures(12))
BAD_IDX = {  # what a file's name ends with, its bytes, and the error
    "missing": ("images", None, r"no file train-images-idx3-ubyte, .*ubyte\.gz$"),
    "magic": ("images", b"\x89PNG" + IMAGES[4:], "begins with 89 50 4e 47, not with 00 00 08 03$"),
    "labels for images": ("images", LABELS, "begins with 00 00 08 01, not with 00 00 08 03$"),
    "empty": ("images", b"", "begins with , not with 00 00 08 03$"),
    "short header": ("images", IMAGES[:9], r"9 bytes, not the \d+ that its header"),
    "truncated": ("images", IMAGES[:-1], r"9423 bytes, not the 9424 .*\[12, 28, 28\] says$"),
    "longer": ("labels", LABELS + b"\0", "21 bytes, not the 20 that"),
    "fewer": ("labels", idx(np.arange(3)), "train: 12 pictures and 3 labels$"),
    "class": ("labels", idx(np.arange(12)), "train: picture 12 has the label 11$"),
    "size": ("images", idx(np.zeros((12, 8, 8))), "train: 64 pixels beside a label, not 784$"),
    "no pixels": ("images", idx(np.zeros((12, 0, 0))), "train: 0 pixels beside a label, not 784$"),
}


@pytest.mark.parametrize("fault", BAD_IDX)
def test_mnist_refuses_idx_files(mnist_data: Any, tmp_path: Path, fault: str) -> None:
    write_idx(tmp_path)
    what, raw, message = BAD_IDX[fault]
    (path,) = tmp_path.glob(f"train-{what}-*")
    if raw is None:
        path.unlink()
    else:
        path.write_bytes(raw)
    with pytest.raises(DataError, match=message) as error:
        mnist_data.read(tmp_path, None)
    assert str(tmp_path) in str(error.value)


def test_mnist_refuses_damaged_gzip(mnist_data: Any, tmp_path: Path) -> None:
    write_idx(tmp_path, "{}-idx{}-ubyte.gz", packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    raw = path.read_bytes()
    for damaged in (raw[:-9], b"no" + raw[2:], raw[:99] + bytes(99) + raw[198:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"ubyte\.gz: cannot be read: "):
            mnist_data.read(tmp_path, None)


ROW = ",".join(["7"] * 785)
BAD_CSV = {
    "narrow": (ROW[:-2], "783 pixels beside a label, not 784$"),
    "wide": (ROW + ",7", "785 pixels beside a label, not 784$"),
    "ragged": (f"{ROW}\n{ROW[:-2]}", "number of columns changed from 785 to 784 at row 2"),
    "word": (f"{ROW}\n{ROW[:-1]}x", "could not convert string 'x' to float64 at row 1, column 785"),
    "label": ("x" + ROW[1:], "could not convert string 'x' to float64 at row 0, column 1"),
    "large": ("7,256" + ROW[3:], "row 1, column 2: 256 is no whole number up to 255$"),
    "broken": (f"{ROW}\n{ROW[:-1]}.5", "row 2, column 785: 0.5 is no whole number up to 255$"),
    "below": (f"{ROW[:-1]}-1", "row 1, column 785: -1 is no whole number up to 255$"),
    "class": (f"{ROW}\n10{ROW[1:]}", "picture 2 has the label 10$"),
}


@pytest.mark.parametrize("fault", BAD_CSV)
def test_mnist_refuses_csv_files(mnist_data: Any, tmp_path: Path, fault: str) -> None:
    text, message = BAD_CSV[fault]
    path = tmp_path / "bad.csv"
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.csv: .*" + message):
        mnist_data.read(path, None)


def test_mnist_says_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "mnist.py"), str(tmp_path / "none.csv")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert "none.csv" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
