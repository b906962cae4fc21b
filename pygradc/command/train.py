"""`python -m pygradc train`: from a data set to a trained MLP, its weights and a picture.

`training.py` trains, `reports.py` says how it goes, `picture.py` draws. Files are written by
`atomic.py`, so none is ever half-written. tqdm (progress bar) and matplotlib (picture) are extras:
without them, plain lines and no picture.
"""

from __future__ import annotations

import argparse
import io
import shlex
from pathlib import Path
from typing import Any

from pygradc.command import arguments as types
from pygradc.command import reports, training
from pygradc.command.errors import CommandError, UsageError
from pygradc.datasets import DataError, Dataset, load
from pygradc.files import atomic
from pygradc.recorded.checkpoint import CheckpointError

READING = ("target", "seed", "task", "drop", "separator")
FITTING = (
    *("hidden", "epochs", "lr", "batch_size", "seed"),
    *("checkpoint", "checkpoint_every", "resume"),
)

EXAMPLES = """\
examples:
  python -m pygradc train
  python -m pygradc train --data houses.csv --target price --drop id
  python -m pygradc train --data visits.csv.gz --task regress --hidden 64,64
  python -m pygradc predict runs/houses/weights.npz new.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Train an MLP on a table; write its weights, with all that `predict` needs, and a\n"
        "picture. All columns must be numbers, but for the one to predict and those that are\n"
        "dropped. A fifth of the rows is held out for testing; of a file, a fifth of each class."
    )
    parser.epilog = EXAMPLES
    _add_data(parser)
    _add_training(parser)
    _add_files(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("data").add_argument
    told = "digits (default), iris, moons or a CSV file; .gz is unpacked"
    add("--data", metavar="DATA", default="digits", help=told)
    add("--target", metavar="COLUMN", help="the column to predict (default: the last)")
    add("--drop", metavar="COLUMN", action="append", default=[], help="ignore it; may be repeated")
    told = "what the target is (default: text and few whole numbers are classes)"
    add("--task", choices=("classify", "regress"), help=told)
    told = "between fields, or tab (default: a comma, semicolon or tab, as found)"
    add("--separator", metavar="CHARACTER", type=types.separator, help=told)


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training").add_argument
    told = "widths of the hidden layers, or none (default: %(default)s)"
    hidden = ",".join(map(str, training.HIDDEN))
    add("--hidden", metavar="N,N", type=types.widths, default=hidden, help=told)
    told = "passes over the rows (default: %(default)s)"
    add("--epochs", metavar="N", type=types.count, default=training.EPOCHS, help=told)
    told = "Adam's learning rate (default: %(default)s)"
    add("--lr", metavar="X", type=types.rate, default=training.LEARNING_RATE, help=told)
    told = "rows per step (default: %(default)s)"
    add("--batch-size", metavar="N", type=types.count, default=training.BATCH_SIZE, help=told)
    told = "seed of split, weights and row order (default: 0)"
    add("--seed", metavar="S", type=types.seed, default=0, help=told)


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("files").add_argument
    add("--out", metavar="DIR", type=Path, help="where to write (default: runs/<data>)")
    told = "save the run to this file, to resume it"
    add("--checkpoint", metavar="FILE", type=Path, help=told)
    told = "epochs between checkpoints (default: 1)"
    add("--checkpoint-every", metavar="N", type=types.count, default=1, help=told)
    told = "continue from the checkpoint, if it exists"
    add("--resume", action="store_true", help=told)


def run(arguments: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    if arguments.resume and arguments.checkpoint is None:
        raise UsageError("--resume needs --checkpoint, the file to resume from")
    try:
        _train(arguments)
    except (DataError, CheckpointError, training.TrainingError) as error:
        raise CommandError(str(error)) from error
    return 0


def _train(arguments: argparse.Namespace) -> None:
    dataset = load(arguments.data, **_taken(arguments, READING))
    out: Path = arguments.out or Path("runs") / dataset.name
    out.mkdir(parents=True, exist_ok=True)  # before training, so that a bad --out fails at once
    reports.say_data(dataset, arguments.task)
    progress = reports.progress(arguments.epochs)
    how: dict[str, Any] = {"progress": progress, "stratify": _is_stratified(dataset)}
    try:
        result = training.train(dataset, **how, **_taken(arguments, FITTING))
    finally:
        progress.close()
    weights = out / "weights.npz"
    result.save(weights)  # first: the reader of what is printed may be gone
    reports.say_result(result)
    print(f"weights   {weights}")
    _write_picture(result, out / "training.png")
    print(f"predict   python -m pygradc predict {shlex.quote(str(weights))} TABLE.csv")


def _taken(arguments: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _is_stratified(dataset: Dataset) -> bool:
    """Files of classes are; the shipped sets, of equal classes, keep the split that others know."""
    return dataset.class_names is not None and not dataset.source


def _write_picture(result: training.Result, path: Path) -> None:
    try:
        from pygradc.command.picture import save_training
    except ImportError:
        print("picture   none: matplotlib is not installed (pip install matplotlib)")
        return
    picture = io.BytesIO()
    save_training(result, picture)
    atomic.write(path, picture.getvalue())
    print(f"picture   {path}")
