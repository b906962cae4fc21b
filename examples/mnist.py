"""MNIST in scalars: the loss of one picture, number by number, trained on all 60,000 of them.

    python examples/mnist.py --epochs 30          # the 1,797 digits that come with pygradc
    python examples/mnist.py FOLDER               # the four idx files, gzipped or not
    python examples/mnist.py TRAIN.csv TEST.csv   # a line: label, 784 pixels; or one file
    python examples/mnist.py FOLDER --jax         # after each epoch the same one in JAX

Nothing is downloaded. The loss is recorded once, and `fit` replays it over shuffled minibatches.
The label is an input: `cross_entropy` takes the logit that it names. One-hot rows would take the
same time, and make one more table.

Sources: LeCun et al., Gradient-based learning applied to document recognition, 1998 (the data);
He et al., Delving deep into rectifiers, 2015 (the scale of the first weights).
"""

from __future__ import annotations

import argparse
import gzip
import math
import random
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pygradc
from pygradc import Value, datasets, losses, nn, optim
from pygradc.datasets import DataError

PIXELS, HIDDEN, CLASSES = 28 * 28, 128, 10
LEARNING_RATE = 1e-3  # of the first epoch; it falls in a line
Array = npt.NDArray[Any]
Table = tuple[Array, Array]  # pixels from 0 to 1, shape (rows, pixels), and labels, (rows,)


def table(name: str, pixels: Array, labels: Array) -> Table:
    if len(pixels) != len(labels) or len(labels) == 0:
        raise DataError(f"{name}: {len(pixels)} pictures and {len(labels)} labels")
    pixels = pixels.reshape(len(pixels), -1)
    if pixels.shape[1] != PIXELS:
        raise DataError(f"{name}: {pixels.shape[1]} pixels beside a label, not {PIXELS}")
    if labels.max() >= CLASSES:
        raise DataError(f"{name}: picture {labels.argmax() + 1} has the label {labels.max()}")
    return pixels / 255.0, labels


def read_idx(folder: Path, name: str, axes: int) -> Array:
    """Bytes: two zeros, 8 for bytes, the number of axes; their lengths, big-endian; the data."""
    names = [f"{name}{dot}idx{axes}-ubyte{end}" for end in ("", ".gz") for dot in "-."]
    path = next((folder / each for each in names if (folder / each).is_file()), None)
    if path is None:
        raise DataError(f"{folder}: no file {', '.join(names)}")
    raw, magic, start = path.read_bytes(), bytes([0, 0, 8, axes]), 4 + 4 * axes
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be decompressed: {error}") from None
    if raw[:4] != magic:
        raise DataError(f"{path}: begins with {raw[:4].hex(' ')}, not with {magic.hex(' ')}")
    shape = [int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4)]
    size = start + math.prod(shape)
    if len(raw) != size:
        raise DataError(f"{path}: {len(raw)} bytes, not the {size} that its header {shape} says")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def of_idx(folder: Path, part: str) -> Table:
    images, labels = read_idx(folder, f"{part}-images", 3), read_idx(folder, f"{part}-labels", 1)
    return table(f"{folder}: {part}", images, labels)


def of_csv(path: Path) -> Table:
    """Whole numbers up to 255; a first line that begins otherwise is a header."""
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            header = not file.readline().split(",")[0].strip().isdigit()
        numbers = np.loadtxt(path, np.uint8, delimiter=",", skiprows=header, ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    return table(str(path), numbers[:, 1:], numbers[:, 0])


def of_digits() -> Table:
    digits = datasets.load("digits")  # 8 x 8 pixels from 0 to 16
    return digits.features / 16.0, digits.labels


def read(train: Path | None, test: Path | None) -> tuple[Table, Table]:
    """The pictures to train on, and those to test on: of a single table, a sixth at random."""
    if train and train.is_dir():
        return of_idx(train, "train"), of_idx(train, "t10k")
    if train and test:
        return of_csv(train), of_csv(test)
    pixels, labels = of_csv(train) if train else of_digits()
    held, rest = np.split(np.random.default_rng(0).permutation(len(labels)), [len(labels) // 6])
    return (pixels[rest], labels[rest]), (pixels[held], labels[held])


def new_model(pixels: int) -> nn.MLP:
    model = nn.MLP(pixels, [HIDDEN, CLASSES], "relu", output_activation="linear")
    for layer in model.layers:  # drawn between -1 and 1
        scale = math.sqrt(6.0 / len(layer.neurons[0].w))
        pygradc.set_data(layer.parameters(), scale * pygradc.data(layer.parameters()))
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path, nargs="?", help="a folder of idx files, or a CSV file")
    parser.add_argument("test", type=Path, nargs="?", help="a second CSV file")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--jax", action="store_true", help="race JAX, epoch by epoch")
    options = parser.parse_args()
    try:
        train, test = read(options.train, options.test)
    except DataError as error:
        parser.error(str(error))
    random.seed(0)
    model = new_model(train[0].shape[1])

    @pygradc.compile(math="fast")
    def loss(x: list[Value], label: Value) -> Value:
        return losses.cross_entropy(model(x), label)

    predict = pygradc.compile(model, math="fast")
    optimizer = optim.Adam(model.parameters())

    def ours(epoch: int, lr: float) -> float:
        optimizer.lr = lr
        return pygradc.fit(loss, *train, optimizer, batch_size=options.batch, seed=epoch)[0]

    racers = {"pygradc": ours}
    if options.jax:
        from mnist_jax import trainer

        racers["JAX"] = trainer(model.state_dict(), *train, options.batch)
    pygradc.fit(loss, *train, optimizer, epochs=0)  # records
    print(f"{len(train[1])} pictures, {len(model.parameters())} parameters")
    seconds: dict[str, list[float]] = {name: [] for name in racers}
    for epoch in range(options.epochs):
        for name, racer in racers.items():
            began = time.perf_counter()
            mean = racer(epoch, LEARNING_RATE * (1.0 - epoch / options.epochs))
            seconds[name].append(time.perf_counter() - began)
            print(f"epoch {epoch + 1:2}  {name:7}  loss {mean:.6f}  {seconds[name][-1]:.2f} s")
    right = predict.map(test[0]).argmax(axis=1) == test[1]
    print(f"right: {100.0 * right.mean():.2f}% of {len(right)} other pictures")
    if options.jax:
        ratio = min(seconds["pygradc"]) / min(seconds["JAX"])
        print(f"fastest epoch, as a multiple of JAX's: {ratio:.2f}")


if __name__ == "__main__":
    main()
