"""Data sets to train on: two that are shipped, one generated at random, and any CSV file.

A `Dataset` is numeric only: features in a (rows, n) array, labels as class indices or real numbers.
Any fault in a file is detected before training, and raises a `DataError` that names the file, the
line and the column (`tables.py`).
The arrays belong to the `Dataset`; a `Split` holds standardized copies.
Cost: one pass over the text, about a second for two million fields.
Sources of the shipped data: `pygradc/data/README.md`.
"""

from __future__ import annotations

import gzip
import math
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NoReturn, Union

import numpy as np
import numpy.typing as npt

from pygradc.tables import DataError as DataError
from pygradc.tables import Table, has_decimal_comma, is_number, read, shown

Array = npt.NDArray[np.float64]
Labels = Union[npt.NDArray[np.int64], npt.NDArray[np.float64]]
Rows = npt.NDArray[np.int64]

MOONS_ROWS, MOONS_NOISE = 500, 0.15

SOURCES = {
    "digits": "UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, "
    "doi:10.24432/C50P49, CC BY 4.0",
    "iris": "R. A. Fisher, 1936; UCI Iris, doi:10.24432/C56C76, CC BY 4.0",
    "moons": "drawn by numpy from the seed",
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table to learn from.

        >>> from pygradc import datasets
        >>> iris = datasets.load("iris")
        >>> iris.name, iris.features.shape, iris.labels[:3].tolist(), iris.class_names
        ('iris', (150, 4), [0, 0, 0], ('setosa', 'versicolor', 'virginica'))
        >>> iris.feature_names[0], iris.target_name, iris.source.startswith("R. A. Fisher")
        ('sepal_length', 'species', True)

    Attributes:
        name: what was loaded: "digits", "iris", "moons" or the file's name without its extension.
        features: shape (rows, n), float64, in the units of the source.
        labels: shape (rows,); class indices (int64) or, for regression, real numbers (float64).
        class_names: one name per class index; None for regression.
        feature_names: n names.
        target_name: the name of the labels' column.
        source: the source of the data; empty for a user's file.
    """

    name: str
    features: Array
    labels: Labels
    class_names: tuple[str, ...] | None
    feature_names: tuple[str, ...]
    target_name: str = "label"
    source: str = ""


@dataclass(frozen=True, eq=False)
class Split:
    """A data set split in two; features are standardized by the training part's mean and scale.

        >>> from pygradc import datasets
        >>> split = datasets.train_test_split(datasets.load("iris"))
        >>> split.train_features.shape, split.test_features.shape
        ((120, 4), (30, 4))
        >>> split.train_labels.shape, split.test_labels.shape
        ((120,), (30,))
        >>> split.mean.round(1).tolist(), split.scale.round(1).tolist()
        ([5.8, 3.1, 3.6, 1.2], [0.8, 0.4, 1.8, 0.8])

    Attributes:
        train_features, test_features: shapes (train rows, n) and (test rows, n), no units.
        train_labels, test_labels: as in the `Dataset`.
        mean, scale: shape (n,); a feature is (raw - mean) / scale.
    """

    train_features: Array
    train_labels: Labels
    test_features: Array
    test_labels: Labels
    mean: Array
    scale: Array


def load(
    name_or_path: str | os.PathLike[str],
    target: str | None = None,
    seed: int = 0,
    task: str | None = None,
    drop: Sequence[str] = (),
    separator: str | None = None,
) -> Dataset:
    """Load a shipped data set by name, or a CSV file by path.

        >>> from pygradc import datasets
        >>> moons = datasets.load("moons", seed=1)
        >>> moons.features.shape, moons.class_names
        ((500, 2), ('upper', 'lower'))

    A file has numeric columns; the last column, or the one named `target`, is the label. The first
    line is a header unless a feature in it is a number; without one, columns are called "column 1",
    "column 2" and so on. Text labels, and few distinct integers, are classes; other numbers mean
    regression. `.csv.gz` is read too.

    Args:
        name_or_path: "digits", "iris", "moons", or a path (`./iris` for a file with such a name).
        target: the name of the label's column; None for the last column.
        seed: generates "moons"; the others ignore it.
        task: "classify" or "regress": what the labels are; None decides by what they look like.
        drop: names of columns that are no features; these may hold anything.
        separator: of fields, one character; None for a comma, semicolon or tab: the file decides.
    Returns:
        The data set, rows in the order of the file.
    Raises:
        DataError: the file cannot be used; names file, line and column.
        ValueError: task is neither.
    """
    if task not in (None, "classify", "regress"):
        raise ValueError(f"task must be 'classify' or 'regress', not {task!r}")
    name = os.fspath(name_or_path)
    if name == "moons":
        if target not in (None, "label"):
            raise DataError(f"moons: no column named {target!r}; it has x, y and label")
        if drop or task == "regress":
            raise DataError("moons: x and y are its features, and two classes its labels")
        return _moons(seed)
    known = (*drop, *([] if target is None else [target]))
    stem = re.sub(r"(\.[ct]sv|\.txt)?(\.gz)?$", "", Path(name).name, flags=re.IGNORECASE)
    return _dataset(table(name, known, separator), stem or "data", target, task, drop)


def table(
    name_or_path: str, known: Collection[str] = (), separator: str | None = None, fewest: int = 2
) -> Table:
    """The fields of a shipped data set or of a file, with the columns' names.

    Args:
        known, separator, fewest: as in `Table`.
    Raises:
        DataError: it can't be read; or it is moons, which is no file.
    """
    name = name_or_path
    if name == "digits":
        pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
        return Table(name, _shipped("digits.csv.gz"), [*pixels, "digit"])
    if name == "iris":
        return Table(name, _shipped("iris.csv"))
    if name == "moons":
        raise DataError("moons: drawn at random for training, and in no file")
    return Table(name, read(name, SOURCES), None, known, separator, fewest)


def train_test_split(
    dataset: Dataset, test: float = 0.2, seed: int = 0, stratify: bool = False
) -> Split:
    """Split the rows at random into a training and a test part, and standardize.

        >>> from pygradc import datasets
        >>> split = datasets.train_test_split(datasets.load("moons"), test=0.1)
        >>> len(split.train_labels), len(split.test_labels)
        (450, 50)

    A column that is constant in the training part is only shifted: its scale is 1.

    Args:
        dataset: at least two rows.
        test: fraction of the rows to hold out, between 0 and 1; each part gets at least one row.
        seed: the same seed gives the same split.
        stratify: hold out that fraction of each class, so that classes of two rows or more are in
            both parts; the row of a class with only one is for training.
    Returns:
        Both parts, and the mean and scale used to standardize them.
    Raises:
        ValueError: `test` is not between 0 and 1; or to stratify there are no classes.
        DataError: fewer than two rows; or to stratify no class has two.
    """
    if not 0.0 < test < 1.0:
        raise ValueError(f"test is the fraction to hold out, between 0 and 1, not {test!r}")
    rows = len(dataset.features)
    if rows < 2:
        raise DataError(f"{dataset.name}: {rows} row(s) cannot be split; at least 2 are needed")
    order = np.random.default_rng(seed).permutation(rows)
    if stratify:
        test_rows, train_rows = _stratified(dataset, order, test)
    else:
        test_rows, train_rows = np.split(order, [held_out(rows, test)])
    mean, scale = mean_and_scale(dataset.features[train_rows])
    standard = (dataset.features - mean) / scale
    return Split(
        standard[train_rows],
        dataset.labels[train_rows],
        standard[test_rows],
        dataset.labels[test_rows],
        mean,
        scale,
    )


def _stratified(dataset: Dataset, order: Rows, test: float) -> tuple[Rows, Rows]:
    """The first rows of each class, in this order, are held out."""
    if dataset.class_names is None:
        raise ValueError(f"{dataset.name}: stratify needs classes, and the labels are numbers")
    labels = dataset.labels[order]
    is_test = np.zeros(len(order), dtype=np.bool_)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        is_test[places[: held_out(len(places), test)]] = True
    if not is_test.any():
        raise DataError(f"{dataset.name}: no class has two rows, one to train on and one to test")
    return order[is_test], order[~is_test]


def held_out(rows: int, test: float = 0.2) -> int:
    """How many of `rows` go to the test part: of two or more, neither none nor all."""
    return min(max(round(rows * test), 1), rows - 1)


def mean_and_scale(columns: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column; 1 where the column does not vary.

        >>> import numpy as np
        >>> from pygradc import datasets
        >>> mean, scale = datasets.mean_and_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> mean.tolist(), scale.tolist()
        ([2.0, 5.0], [1.0, 1.0])

    Args:
        columns: shape (rows, n), at least one row.
    Returns:
        Two arrays of shape (n,), in the columns' units; no scale is zero.
    """
    mean = columns.mean(axis=0)
    scale = columns.std(axis=0)
    flat = (columns.max(axis=0) == columns.min(axis=0)) | (scale == 0.0)
    return mean, np.where(flat, 1.0, scale)


# ---- reading bytes ------------------------------------------------------------------------------


def _shipped(file: str) -> bytes:
    raw = resources.files("pygradc").joinpath("data").joinpath(file).read_bytes()
    return gzip.decompress(raw) if file.endswith(".gz") else raw


def _moons(seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    half = MOONS_ROWS // 2
    angle = random.uniform(0.0, math.pi, MOONS_ROWS)
    x, y = np.cos(angle), np.sin(angle)
    x[half:], y[half:] = 1.0 - x[half:], 0.5 - y[half:]
    features = np.column_stack([x, y]) + random.normal(0.0, MOONS_NOISE, (MOONS_ROWS, 2))
    labels = np.repeat(np.arange(2), half).astype(np.int64)
    names = ("upper", "lower")
    return Dataset("moons", features, labels, names, ("x", "y"), "label", SOURCES["moons"])


# ---- fields -> numbers --------------------------------------------------------------------------


def _dataset(
    table: Table, name: str, target: str | None, task: str | None, drop: Sequence[str]
) -> Dataset:
    """Convert the fields to numbers; raise DataError at the first that isn't one."""
    label = len(table.names) - 1 if target is None else table.column(target)
    dropped = {*table.columns(drop)}
    if label in dropped:
        table.fail(table.first_line, label, "the column to predict cannot be dropped")
    features = [column for column in range(len(table.names)) if column not in {label, *dropped}]
    if not features:
        table.fail(table.first_line, label, "no feature is left beside the column to predict")
    table.columns([table.names[column] for column in features])  # raises if two have one name
    if len(table.rows) < 2:
        table.fail(table.lines[0], 0, "only one row; at least two are needed")
    labels, class_names = _labels(table, label, task)
    return Dataset(
        name,
        table.numbers(features),
        labels,
        class_names,
        tuple(table.names[column] for column in features),
        table.names[label],
        SOURCES.get(name, "") if table.file == name else "",
    )


def _labels(table: Table, column: int, task: str | None) -> tuple[Labels, tuple[str, ...] | None]:
    """Decide between classes and regression; see `load`."""
    fields = table.fields(column)
    for line, field in zip(table.lines, fields):
        if not field:
            table.fail(line, column, "empty label")
    if task == "classify":
        return _classes(table, column, [class_name(field) for field in fields])
    if task is None and not any(map(_is_numeric, fields)):
        return _classes(table, column, fields)
    if task is None and not all(map(_is_numeric, fields)):
        _fail_mixed(table, column, fields)
    return _numbers(table, column, fields, task)


def _numbers(
    table: Table, column: int, fields: list[str], task: str | None
) -> tuple[Labels, tuple[str, ...] | None]:
    """Numeric labels: without a task, few different whole numbers are classes."""
    if task == "regress" and not any(map(_is_numeric, fields)):
        what = f"label {shown(fields[0])} is not a number, as for regression"
        table.fail(table.lines[0], column, what)
    values = np.array([table.number(line, column, f) for line, f in zip(table.lines, fields)])
    whole = bool(np.all(values == np.round(values)))
    few = len(np.unique(values)) <= max(20, math.isqrt(len(values)))
    if task is None and whole and few:
        return _classes(table, column, [int(value) for value in values])
    if len(np.unique(values)) < 2:
        table.fail(table.lines[0], column, "every label is the same; nothing to learn")
    return values, None


def class_name(field: str) -> str:
    """The name of the class that a field says: whole numbers are the same however written."""
    if is_number(field) and math.isfinite(value := float(field)) and value == round(value):
        return str(int(value))
    return field


def _classes(
    table: Table, column: int, labels: Sequence[str] | Sequence[int]
) -> tuple[Labels, tuple[str, ...]]:
    """Assign class indices to the distinct labels, in sorted order."""
    if all(isinstance(label, int) or re.fullmatch(r"-?\d{1,18}", label) for label in labels):
        labels = [int(label) for label in labels]
    names, numbers = np.unique(np.array(labels), return_inverse=True)
    if len(names) < 2:
        what = f"only one class, {names[0]}; at least two are needed"
        table.fail(table.lines[0], column, what)
    if len(names) > max(20, len(labels) // 2):
        what = f"{len(names)} different labels in {len(labels)} rows; are these classes?"
        table.fail(table.lines[0], column, what)
    return numbers.reshape(-1).astype(np.int64), tuple(str(name) for name in names)


def _is_numeric(field: str) -> bool:
    """Also with a decimal comma, which is then refused."""
    return is_number(field) or has_decimal_comma(field)


def _fail_mixed(table: Table, column: int, fields: list[str]) -> NoReturn:
    """Some labels are numbers and some are text: name the first of the rarer kind."""
    numeric = [_is_numeric(field) for field in fields]
    mostly_numbers = 2 * sum(numeric) >= len(numeric)
    odd = numeric.index(not mostly_numbers)
    kind = "not a number, but other labels are" if mostly_numbers else "a number among text"
    table.fail(table.lines[odd], column, f"label {shown(fields[odd])} is {kind}")
