"""`python -m pygradc train`: from a data set to a trained MLP, its weights and a picture.

This file parses the options, reports progress and writes files; `training.py` trains, `plots.py`
draws. Files are written by `atomic.py`, so none is ever half-written.
tqdm (progress bar) and matplotlib (picture) are extras: without them, plain lines and no picture.
"""

from __future__ import annotations

import argparse
import importlib
import io
import math
import sys
from pathlib import Path
from typing import Any

from pygradc.command import training
from pygradc.datasets import DataError, Dataset, load
from pygradc.files import atomic
from pygradc.recorded.checkpoint import CheckpointError

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
FITTING = ("epochs", "batch_size", "seed", "checkpoint", "checkpoint_every", "resume")
MOST_LINES = 20  # progress lines, without a bar


def run(options: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    if options.resume and options.checkpoint is None:
        options.refuse("--resume needs --checkpoint, the file to resume from")
    try:
        return _train(options)
    except (DataError, CheckpointError) as error:
        return _say_error(str(error), BAD_INPUT)
    except training.TrainingError as error:
        return _say_error(str(error), FAILED)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _say_error(f"{name}{error.strerror or error}", BAD_INPUT)
    except KeyboardInterrupt:
        return _say_error("interrupted; nothing more is written", INTERRUPTED)


def _train(options: argparse.Namespace) -> int:
    dataset = load(options.data, target=options.target, seed=options.seed)
    out: Path = options.out or Path("runs") / dataset.name
    out.mkdir(parents=True, exist_ok=True)  # before training, so that a bad --out fails at once
    _say_data(dataset)
    progress = _progress(options.epochs)
    try:
        settings = {name: getattr(options, name) for name in (*FITTING, "hidden", "lr")}
        result = training.train(dataset, progress=progress, **settings)
    finally:
        progress.close()
    _say_result(result)
    _write_weights(result, out / "weights.npz")
    _write_picture(result, out / "training.png")
    return OK


# ---- the command line ---------------------------------------------------------------------------


def add_to(commands: Any) -> None:
    """Add the command and its options to the parser."""
    train = commands.add_parser(
        "train",
        help="train an MLP on a table",
        description="Train an MLP on a table; write its weights and a picture.",
    )
    defaults = {
        "hidden": ",".join(map(str, training.HIDDEN)),
        "epochs": training.EPOCHS,
        "lr": training.LEARNING_RATE,
        "batch_size": training.BATCH_SIZE,
    }

    def add(name: str, metavar: str, told: str, **more: Any) -> None:
        train.add_argument(name, metavar=metavar, help=told, **more)

    add(
        "--data", "DATA", "digits (default), iris, moons or a CSV file of numbers", default="digits"
    )
    add("--target", "NAME", "the column to predict (default: the last)")
    add(
        "--hidden",
        "N,N",
        "widths of the hidden layers, or none (default: %(default)s)",
        type=_widths,
    )
    add("--epochs", "N", "passes over the rows (default: %(default)s)", type=_count)
    add("--lr", "X", "Adam's learning rate (default: %(default)s)", type=_rate)
    add("--batch-size", "N", "rows per step (default: %(default)s)", type=_count)
    add("--seed", "S", "seed of split, weights and row order (default: 0)", type=_seed, default=0)
    add("--out", "DIR", "where to write (default: runs/<data>)", type=Path)
    add("--checkpoint", "FILE", "save the run to this file, to resume it", type=Path)
    add(
        "--checkpoint-every",
        "N",
        "epochs between checkpoints (default: 1)",
        type=_count,
        default=1,
    )
    train.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint, if it exists"
    )
    train.set_defaults(**defaults, call=run, refuse=train.error)


def _count(text: str) -> int:
    return _whole(text, 1, "a whole number of at least 1")


def _seed(text: str) -> int:
    return _whole(text, 0, "a whole number of at least 0")


def _whole(text: str, least: int, wanted: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _widths(text: str) -> tuple[int, ...]:
    if text.strip().lower() == "none":
        return ()
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        wanted = "'none' or widths of at least 1, separated by commas, such as 16,16"
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return tuple(int(part) for part in parts)


# ---- reports ------------------------------------------------------------------------------------


class _Lines:
    """Progress without tqdm: one line every few epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.every = math.ceil(epochs / MOST_LINES)

    def epoch(self, record: training.Epoch) -> None:
        if record.number % self.every == 0 or record.number in (1, self.epochs):
            width = len(str(self.epochs))
            print(
                f"epoch {record.number:{width}}/{self.epochs}  loss {record.loss:.4f}"
                f"  test {record.test_score:.3f}",
                flush=True,
            )

    def close(self) -> None:
        pass


class _Bar:
    """Progress by tqdm, on stderr."""

    def __init__(self, tqdm: Any, epochs: int) -> None:
        shape = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        self.bar = tqdm(total=epochs, bar_format=shape, desc=f"epoch 0/{epochs}")
        self.epochs = epochs

    def epoch(self, record: training.Epoch) -> None:
        self.bar.update(record.number - self.bar.n)
        self.bar.set_description(f"epoch {record.number}/{self.epochs}", refresh=False)
        self.bar.set_postfix(loss=f"{record.loss:.4f}", test=f"{record.test_score:.3f}")

    def close(self) -> None:
        self.bar.close()


def _progress(epochs: int) -> _Bar | _Lines:
    try:
        tqdm = importlib.import_module("tqdm")
    except ImportError:
        return _Lines(epochs)
    return _Bar(tqdm.tqdm, epochs)


def _say_data(dataset: Dataset) -> None:
    rows, columns = dataset.features.shape
    kind = f"{len(dataset.class_names)} classes" if dataset.class_names else "regression"
    print(f"{dataset.name}: {rows} rows, {columns} features, target {dataset.target_name}, {kind}")
    if dataset.source:
        print(f"source: {dataset.source}", flush=True)


def _say_result(result: training.Result) -> None:
    layers = "-".join(str(size) for size in result.sizes)
    parameters = sum(array.size for array in result.model.state_dict().values())
    train_rows, test_rows = len(result.split.train_labels), len(result.split.test_labels)
    print(f"MLP {layers}: {parameters} parameters, {result.seconds:.1f} s")
    print(f"loss      {result.history[-1].loss:.4f} in the last epoch")
    trained, tested = _score(result, result.train_score), _score(result, result.test_score)
    where = f"{trained} on {train_rows} training rows, {tested} on {test_rows} test rows"
    print(f"{result.task.metric:<9} {where}", flush=True)


def _score(result: training.Result, score: float) -> str:
    return f"{score:.1%}" if result.task.metric == "accuracy" else f"{score:.3f}"


def _say_error(message: str, code: int) -> int:
    print(f"pygradc: {' '.join(message.split())}", file=sys.stderr)
    return code


# ---- output files -------------------------------------------------------------------------------


def _write_weights(result: training.Result, path: Path) -> None:
    result.save(path)
    print(f"weights   {path}")


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
