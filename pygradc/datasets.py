"""Data sets to train on: two that are shipped, one generated at random, and any CSV file.

A `Dataset` is numeric only: features in a (rows, n) array, labels as class indices or real numbers.
Any fault in a file is detected here, before training, and raises a `DataError` that names the file,
the line and the column; lines and columns count from 1, as in editors.
The arrays belong to the `Dataset`; a `Split` holds standardized copies.
Cost: one pass over the text, about a second for two million fields.
Sources of the shipped data: `pygradc/data/README.md`.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NoReturn, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = Union[npt.NDArray[np.int64], npt.NDArray[np.float64]]

LARGEST = 1e100  # the variance of larger features would overflow
MOONS_ROWS, MOONS_NOISE = 500, 0.15

SOURCES = {
    "digits": "UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, "
    "doi:10.24432/C50P49, CC BY 4.0",
    "iris": "R. A. Fisher, 1936; UCI Iris, doi:10.24432/C56C76, CC BY 4.0",
    "moons": "drawn by numpy from the seed",
}


class DataError(ValueError):
    """A table cannot be used; the message is one line that names file, line and column.

    >>> from pygradc import datasets
    >>> datasets.load("nowhere.csv")
    Traceback (most recent call last):
        ...
    pygradc.datasets.DataError: nowhere.csv: no such file (nor one of digits, iris, moons)
    """


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


def load(name_or_path: str | os.PathLike[str], target: str | None = None, seed: int = 0) -> Dataset:
    """Load a shipped data set by name, or a CSV file by path.

        >>> from pygradc import datasets
        >>> moons = datasets.load("moons", seed=1)
        >>> moons.features.shape, moons.class_names
        ((500, 2), ('upper', 'lower'))

    A file has numeric columns, separated by commas; the last column, or the one named `target`, is
    the label. The first line is a header unless a feature in it is a number. Text labels, and few
    distinct integers, are classes; other numbers mean regression. `.csv.gz` is read too.

    Args:
        name_or_path: "digits", "iris", "moons", or a path (`./iris` for a file with such a name).
        target: the name of the label's column; None for the last column.
        seed: generates "moons"; the others ignore it.
    Returns:
        The data set, rows in the order of the file.
    Raises:
        DataError: the file cannot be used; names file, line and column.
    """
    name = os.fspath(name_or_path)
    if name == "moons":
        if target not in (None, "label"):
            raise DataError(f"moons: no column named {target!r}; it has x, y and label")
        return _moons(seed)
    if name == "digits":
        pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
        return _Table(name, _shipped("digits.csv.gz"), [*pixels, "digit"], target).dataset(name)
    if name == "iris":
        return _Table(name, _shipped("iris.csv"), None, target).dataset(name)
    stem = re.sub(r"(\.csv)?(\.gz)?$", "", Path(name).name, flags=re.IGNORECASE)
    return _Table(name, _read(name), None, target).dataset(stem or "data")


def train_test_split(dataset: Dataset, test: float = 0.2, seed: int = 0) -> Split:
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
    Returns:
        Both parts, and the mean and scale used to standardize them.
    Raises:
        ValueError: `test` is not between 0 and 1.
        DataError: fewer than two rows.
    """
    if not 0.0 < test < 1.0:
        raise ValueError(f"test is the fraction to hold out, between 0 and 1, not {test!r}")
    rows = len(dataset.features)
    if rows < 2:
        raise DataError(f"{dataset.name}: {rows} row(s) cannot be split; at least 2 are needed")
    order = np.random.default_rng(seed).permutation(rows)
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


def held_out(rows: int, test: float = 0.2) -> int:
    """How many of `rows` (at least 2) go to the test part: neither none nor all."""
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


def _read(path: str) -> bytes:
    try:
        raw = Path(path).read_bytes()
        return gzip.decompress(raw) if path.lower().endswith(".gz") else raw
    except FileNotFoundError:
        raise DataError(f"{path}: no such file (nor one of {', '.join(SOURCES)})") from None
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from None
    except Exception as error:  # zlib.error, a direct subclass of Exception: a damaged .gz
        raise DataError(f"{path}: cannot be decompressed: {error}") from None


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


# ---- text -> numbers ----------------------------------------------------------------------------


class _Table:
    """The fields of one CSV text, with the positions that error messages need."""

    def __init__(self, file: str, raw: bytes, names: list[str] | None, target: str | None) -> None:
        """Split the bytes into rows of fields, all of one length; find names and target.

        Args:
            file: the name of the text in messages.
            raw: UTF-8, with or without a byte order mark.
            names: the columns' names if the text has no header; None to look for one.
            target: the label's column; None for the last.
        Raises:
            DataError: undecodable, empty, ragged, no rows, or no such target.
        """
        self.file = file
        self.names: list[str] = names or []
        self.lines: list[int] = []
        self.rows: list[list[str]] = []
        self._split(self._decode(raw))
        if not self.rows:
            raise DataError(f"{file}: line 1, column 1: the file is empty")
        first_line = self.lines[0]
        has_header = names is None and self._first_row_is_header(target)
        if has_header:
            self.names = [
                name or f"column {column}" for column, name in enumerate(self.rows[0], start=1)
            ]
        self._check_lengths()
        if has_header:
            del self.rows[0], self.lines[0]
            if not self.rows:
                self._fail(first_line + 1, 0, "no rows after the header")
        self.target = self._find_target(target, first_line)

    def dataset(self, name: str) -> Dataset:
        """Convert the fields to numbers; raise DataError at the first that isn't one."""
        others = [column for column in range(len(self.rows[0])) if column != self.target]
        features = np.array(
            [
                [self._number(line, column, row[column]) for column in others]
                for line, row in zip(self.lines, self.rows)
            ],
            dtype=np.float64,
        )
        labels, class_names = self._labels()
        return Dataset(
            name,
            features,
            labels,
            class_names,
            tuple(self._name(column) or f"column {column + 1}" for column in others),
            self._name(self.target) or "label",
            SOURCES.get(name, "") if self.file == name else "",
        )

    def _fail(self, line: int, column: int, what: str) -> NoReturn:
        name = self._name(column)
        where = f"column {column + 1}" + (f" ({name!r})" if name else "")
        raise DataError(f"{self.file}: line {line}, {where}: {what}")

    def _name(self, column: int) -> str:
        return self.names[column] if column < len(self.names) else ""

    def _decode(self, raw: bytes) -> str:
        bad = raw.find(b"\0")
        what = "a NUL byte; is this a UTF-8 text file?"
        if bad < 0:
            try:
                return raw.decode("utf-8-sig")
            except UnicodeDecodeError:
                pass
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                bad, what = error.start, f"byte 0x{raw[error.start]:02x} is not UTF-8 text"
        before = re.split(rb"\r\n|\r|\n", raw[:bad])
        self._fail(len(before), _last_column(before[-1].decode("utf-8", "replace")), what)

    def _split(self, text: str) -> None:
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        line = 1
        try:
            for fields in reader:
                if any(fields) or len(fields) > 1:
                    self._append(line, fields)
                line = reader.line_num + 1
        except csv.Error as error:
            start = re.split(r"\r\n|\r|\n", text)[line - 1]
            self._fail(line, _last_column(start), f"not a CSV line: {error}")

    def _append(self, line: int, fields: list[str]) -> None:
        fields = [field.strip() for field in fields]
        if fields == [""]:
            return
        for column, field in enumerate(fields):
            if "\n" in field or "\r" in field:
                self._fail(line, column, "a line break inside quotes; is the quote closed?")
        self.lines.append(line)
        self.rows.append(fields)

    def _first_row_is_header(self, target: str | None) -> bool:
        first = self.rows[0]
        numbers = [_is_number(field) for field in first]
        if target is not None and target in first:
            return True
        if target is not None and any(numbers[:-1]):
            self._fail(self.lines[0], 0, f"no header, so no column named {target!r}")
        return not any(numbers[:-1]) if len(first) > 1 else not numbers[0]

    def _check_lengths(self) -> None:
        expected = len(self.rows[0])
        if expected < 2:
            what = "only one column; features and a label are needed, separated by commas"
            self._fail(self.lines[0], 0, what)
        for line, row in zip(self.lines, self.rows):
            if len(row) != expected:
                what = f"{len(row)} field(s), but line {self.lines[0]} has {expected}"
                self._fail(line, min(len(row), expected), what)

    def _find_target(self, target: str | None, line: int) -> int:
        if target is None:
            return len(self.rows[0]) - 1
        found = [column for column, name in enumerate(self.names) if name == target]
        if not found:
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise DataError(f"{self.file}: line {line}: no column named {target!r}, only {known}")
        if len(found) > 1:
            self._fail(line, found[1], f"a second column named {target!r}")
        return found[0]

    def _number(self, line: int, column: int, field: str) -> float:
        if not _is_number(field):
            self._fail(line, column, f"{_shown(field)} is not a number" if field else "empty field")
        value = float(field)
        if not math.isfinite(value):
            self._fail(line, column, f"{_shown(field)} is not a finite number")
        if abs(value) > LARGEST:
            self._fail(line, column, f"{_shown(field)} is too large (over {LARGEST:g})")
        return value

    def _labels(self) -> tuple[Labels, tuple[str, ...] | None]:
        """Decide between classes and regression; see `load`."""
        fields = [row[self.target] for row in self.rows]
        for line, field in zip(self.lines, fields):
            if not field:
                self._fail(line, self.target, "empty label")
        numeric = [_is_number(field) for field in fields]
        if not any(numeric):
            return self._classes(fields, max(20, len(fields) // 2))
        if not all(numeric):
            self._fail_mixed(numeric, fields)
        values = np.array(
            [self._number(line, self.target, field) for line, field in zip(self.lines, fields)]
        )
        whole = bool(np.all(values == np.round(values)))
        if whole and len(np.unique(values)) <= max(20, math.isqrt(len(values))):
            return self._classes([int(value) for value in values], len(values))
        if len(np.unique(values)) < 2:
            self._fail(self.lines[0], self.target, "every label is the same; nothing to learn")
        return values, None

    def _classes(self, labels: list[str] | list[int], most: int) -> tuple[Labels, tuple[str, ...]]:
        """Assign class indices to the distinct labels, in sorted order."""
        names, numbers = np.unique(np.array(labels), return_inverse=True)
        if len(names) < 2:
            self._fail(
                self.lines[0], self.target, f"only one class, {names[0]}; at least two are needed"
            )
        if len(names) > most:
            what = f"{len(names)} different strings in {len(labels)} rows; are these labels?"
            self._fail(self.lines[0], self.target, what)
        return numbers.reshape(-1).astype(np.int64), tuple(str(name) for name in names)

    def _fail_mixed(self, numeric: list[bool], fields: list[str]) -> NoReturn:
        """Some labels are numbers and some are text: name the first of the rarer kind."""
        mostly_numbers = 2 * sum(numeric) >= len(numeric)
        odd = numeric.index(not mostly_numbers)
        kind = "not a number, but other labels are" if mostly_numbers else "a number among text"
        self._fail(self.lines[odd], self.target, f"label {_shown(fields[odd])} is {kind}")


def _last_column(line: str) -> int:
    """The column, from 0, in which the start of a line ends."""
    fields = next(csv.reader([line[: csv.field_size_limit() // 2]]), [])
    return max(len(fields) - 1, 0)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _shown(field: str) -> str:
    return repr(field if len(field) <= 40 else field[:37] + "...")
