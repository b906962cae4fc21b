"""`python -m pygradc predict`: the rows of a table through a model in a file, as CSV.

The model's file, from `train` or `save_model`, names its columns: they are found in the table by
name, whatever their order. Predictions alone go to stdout; scores and remarks go to stderr.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pygradc.command import arguments as types
from pygradc.command.errors import CommandError, say
from pygradc.command.scoring import score
from pygradc.core.refusals import TraceError
from pygradc.datasets import DataError, table
from pygradc.files import atomic
from pygradc.models import SavedModel, load_model
from pygradc.nn.descriptions import describe, inputs_of
from pygradc.tables import Table

MOST_NAMES = 10  # of ignored columns

EXAMPLES = """\
examples:
  python -m pygradc predict runs/iris/weights.npz new.csv
  python -m pygradc predict runs/iris new.csv --probabilities --out predicted.csv
  python -m pygradc predict runs/iris iris >/dev/null
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Predict the rows of a table by a model that `train` or pygradc.save_model wrote;\n"
        "print CSV. Columns are matched by name. If the table has the target's column, too,\n"
        "the score is printed to stderr."
    )
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="weights.npz, or the folder that it is in")
    add("data", metavar="DATA", help="a CSV file; or digits or iris")
    add("--probabilities", action="store_true", help="a column for each class, too: softmax")
    add("--out", metavar="FILE", type=Path, help="write to this file instead of stdout")
    add("--target", metavar="COLUMN", help="the column to compare with (default: the model's)")
    told = "between fields, or tab (default: a comma, semicolon or tab, as found)"
    add("--separator", metavar="CHARACTER", type=types.separator, help=told)


def run(arguments: argparse.Namespace) -> int:
    """Predict; returns the exit code."""
    path: Path = arguments.model
    try:
        saved = load_model(path / "weights.npz" if path.is_dir() else path)
        if arguments.probabilities and saved.class_names is None:
            raise CommandError(f"{path}: the model has no classes, and so no probabilities")
        _predict(saved, arguments)
    except (TypeError, ValueError, ArithmeticError, TraceError) as error:  # DataError, too
        raise CommandError(str(error)) from error
    return 0


def _predict(saved: SavedModel, arguments: argparse.Namespace) -> None:
    target = _target(saved, arguments.target)
    known = (*_names(saved), target)
    rows = table(arguments.data, known, arguments.separator, fewest=1)
    if arguments.target is not None:
        rows.column(arguments.target)  # raises, if there is none
    columns = _columns(saved, rows, target)
    X = rows.numbers(columns)
    try:
        predictions = saved.predict(X)
    except FloatingPointError as error:
        raise CommandError(f"{rows.file}: {error} (rows count from 0)") from error
    found = {"prediction": predictions} if predictions.ndim == 1 else _each(predictions)
    if arguments.probabilities:
        found.update(_probabilities(saved, X))
    is_scored = target in rows.names and predictions.ndim == 1
    told = score(rows, rows.column(target), predictions, saved.class_names) if is_scored else ""
    _write(found, arguments.out)  # after what may fail
    if told:
        say("predict", told)


# ---- which columns ------------------------------------------------------------------------------


def _names(saved: SavedModel) -> tuple[str, ...]:
    return saved.scaling.feature_names if saved.scaling else ()


def _target(saved: SavedModel, given: str | None) -> str:
    return given or (saved.scaling.target_name if saved.scaling else "")


def _columns(saved: SavedModel, rows: Table, target: str) -> list[int]:
    """The model's inputs in the table; says what is ignored, or what is assumed."""
    names = _names(saved)
    others = [column for column, name in enumerate(rows.names) if name != target]
    if not names:
        return _in_order(saved, rows, others)
    columns = rows.columns(names)
    ignored = [rows.names[column] for column in others if column not in columns]
    if ignored:
        more = ", ..." if len(ignored) > MOST_NAMES else ""
        said = f"ignored, as the model has no such columns: {', '.join(ignored[:MOST_NAMES])}"
        say("predict", said + more)
    return columns


def _in_order(saved: SavedModel, rows: Table, others: list[int]) -> list[int]:
    wanted = inputs_of(describe(saved.model))
    if wanted is not None and len(others) != wanted:
        raise DataError(
            f"{rows.file}: line {rows.first_line}: {len(others)} columns for a model of {wanted} "
            "inputs, which has no names of columns"
        )
    say("predict", "the model has no names of columns: they are taken in order")
    return others


# ---- what is written ----------------------------------------------------------------------------


def _each(predictions: npt.NDArray[Any]) -> dict[str, Any]:
    """Of a model with several outputs."""
    return {f"prediction {i}": column for i, column in enumerate(predictions.T, start=1)}


def _probabilities(saved: SavedModel, X: Any) -> dict[str, Any]:
    """Softmax of the outputs, a column a class; those of a row sum to 1."""
    outputs = saved.model.predict(X if saved.scaling is None else saved.scaling.of_features(X))
    outputs = outputs.reshape(len(outputs), -1)
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return {f"P({name})": column for name, column in zip(saved.class_names or (), shares.T)}


def _write(columns: dict[str, Any], out: Path | None) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values())))
    if out is None:
        sys.stdout.write(text.getvalue())
        sys.stdout.flush()  # before what goes to stderr
        return
    atomic.write(out, text.getvalue().encode())
    say("predict", f"predictions are in {out}")
