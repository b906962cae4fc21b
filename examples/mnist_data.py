"""The data of `mnist.py`: MNIST as idx files or as CSV, or the digits that come with pygradc.

Every fault in a file raises a `DataError` that names the file, before any training.
Cost: 8 bytes a pixel, 376 MB for 60,000 pictures.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc import datasets
from pygradc.datasets import DataError

PIXELS, CLASSES = 28 * 28, 10
TEXT = "utf-8-sig"  # with or without a byte order mark
Array = npt.NDArray[Any]
Table = tuple[Array, Array]  # pixels from 0 to 1, shape (rows, pixels), and labels, (rows,)


def table(name: str, pixels: Array, labels: Array) -> Table:
    if len(pixels) != len(labels) or len(labels) == 0:
        raise DataError(f"{name}: {len(pixels)} pictures and {len(labels)} labels")
    pixels = pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
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
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    magic, start = bytes([0, 0, 8, axes]), 4 + 4 * axes
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
    """Whole numbers up to 255; a first line without any is a header."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding=TEXT) as file:
            header = not any(field.strip().isdigit() for field in file.readline().split(","))
        numbers = np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2, encoding=TEXT)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    odd = np.argwhere(~((numbers >= 0) & (numbers <= 255) & (numbers % 1 == 0)))
    if len(odd):
        row, column = map(int, odd[0])
        what = f"{numbers[row, column]:g} is no whole number up to 255"
        raise DataError(f"{path}: row {row + 1}, column {column + 1}: {what}")
    whole = numbers.astype(np.uint8)
    return table(str(path), whole[:, 1:], whole[:, 0])


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
