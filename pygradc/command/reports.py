"""What `train` says: of the data, of each epoch, of the result.

Progress goes to stderr as a bar if tqdm, an extra, is installed; else to stdout as lines.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from pygradc.command.errors import warn
from pygradc.command.scoring import amount
from pygradc.command.training import Epoch, Result
from pygradc.datasets import Dataset, Labels, held_out

MOST_LINES = 20  # progress lines, without a bar
FEW = 5  # rows of a class, so that its score says little
MOST_NAMES = 10  # in a warning


class _Lines:
    """Progress without tqdm: one line every few epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.every = math.ceil(epochs / MOST_LINES)

    def epoch(self, record: Epoch) -> None:
        if record.number % self.every == 0 or record.number in (1, self.epochs):
            width = len(str(self.epochs))
            name, loss = _loss(record)
            print(
                f"epoch {record.number:{width}}/{self.epochs}  {name} {loss}"
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

    def epoch(self, record: Epoch) -> None:
        self.bar.update(record.number - self.bar.n)
        self.bar.set_description(f"epoch {record.number}/{self.epochs}", refresh=False)
        name, loss = _loss(record)
        self.bar.set_postfix({name: loss, "test": f"{record.test_score:.3f}"})

    def close(self) -> None:
        self.bar.close()


def progress(epochs: int) -> _Bar | _Lines:
    """Where epochs are reported."""
    try:
        tqdm = importlib.import_module("tqdm")
    except ImportError:
        return _Lines(epochs)
    return _Bar(tqdm.tqdm, epochs)


def _loss(record: Epoch) -> tuple[str, str]:
    """The loss of an epoch, of regression in the target's units, and what it is called."""
    if record.rmse is None:
        return "loss", f"{record.loss:.4f}"
    return "RMSE", amount(record.rmse)


def say_data(dataset: Dataset, task: str | None) -> None:
    """Size and task; and of a file whether the task was guessed, and why."""
    rows, columns = dataset.features.shape
    kind = f"{len(dataset.class_names)} classes" if dataset.class_names else "regression"
    why = "" if task or dataset.source else f" ({_guess(dataset)})"
    target = dataset.target_name
    print(f"{dataset.name}: {rows} rows, {columns} features, target {target}, {kind}{why}")
    if dataset.source:
        print(f"source: {dataset.source}")
    _warn_of_small_classes(dataset)


def _guess(dataset: Dataset) -> str:
    if dataset.class_names is None:
        return "guessed from its numbers; for classes: --task classify"
    if not all(name.lstrip("-").isdecimal() for name in dataset.class_names):
        return "guessed from its text"
    return "guessed from its few whole numbers; for amounts: --task regress"


def _warn_of_small_classes(dataset: Dataset) -> None:
    if dataset.class_names is None:
        return
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names)).tolist()
    small = [
        f"{name!r} has {count}, {held_out(count)} of them for testing"
        for name, count in zip(dataset.class_names, counts)
        if count < FEW
    ]
    if small and max(counts) > 1:  # else there will be an error
        more = f"; and {len(small) - MOST_NAMES} more" if len(small) > MOST_NAMES else ""
        told = "; ".join(small[:MOST_NAMES]) + more
        warn("train", f"the score says little about classes of few rows: {told}")


def say_result(result: Result) -> None:
    """Size of the network, last loss and scores."""
    layers = "-".join(str(size) for size in result.sizes)
    parameters = sum(array.size for array in result.model.state_dict().values())
    print(f"MLP {layers}: {parameters} parameters, {result.seconds:.1f} s")
    last = result.history[-1]
    if last.rmse is None:
        print(f"loss      {last.loss:.4f} in the last epoch")
    else:
        units = f"in the units of {result.dataset.target_name}"
        print(f"RMSE      {amount(last.rmse)} in the last epoch, {units}")
        _say_scores(result, "RMSE", *(amount(_rmse(*part)) for part in _parts(result)))
    scores = (result.train_score, result.test_score)
    _say_scores(result, result.task.metric, *(_score(result.task.metric, x) for x in scores))


def _parts(result: Result) -> tuple[tuple[Labels, Labels], ...]:
    """Predictions and labels of the training rows, and of the test rows."""
    split = result.split
    return (result.fitted, split.train_labels), (result.predictions, split.test_labels)


def _rmse(predictions: Labels, labels: Labels) -> float:
    return float(np.sqrt(np.mean((predictions - labels) ** 2)))


def _say_scores(result: Result, metric: str, trained: str, tested: str) -> None:
    """One metric on both parts."""
    train_rows, test_rows = len(result.split.train_labels), len(result.split.test_labels)
    where = f"{trained} on {train_rows} training rows, {tested} on {test_rows} test rows"
    print(f"{metric:<9} {where}", flush=True)


def _score(metric: str, value: float) -> str:
    """A score in print; R^2 of equal labels is nan."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.3f}"
