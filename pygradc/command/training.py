"""Train an MLP on a data set: a recorded loss, minibatches, Adam.

The loss of one row, written with Values, is recorded; `fit` runs the lessons' training loop on it
in C. A `Task` holds what differs between classification (one output per class, cross-entropy,
accuracy) and regression (one output, squared error, R^2). After each epoch the model, recorded, is
mapped over the test rows.
Nothing is printed and no file but a checkpoint is written here; all randomness comes from the seed.
Cost: rows * epochs replays of about two nodes per weight; digits, 64-32-10: 4,900 nodes per row.
Kingma & Ba (2015), Adam; LeCun et al. (1998), Efficient BackProp, 4.6: scale of initial weights.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pygradc import losses, nn, optim, states
from pygradc.datasets import Array, Dataset, Labels, Split, mean_and_scale, train_test_split
from pygradc.models import Scaling, save_model, to_state
from pygradc.recorded.compiled import Compiled, compile
from pygradc.recorded.fitting import fit

HIDDEN = (32,)
EPOCHS = 20
LEARNING_RATE = 0.01
BATCH_SIZE = 16


class TrainingError(RuntimeError):
    """The loss is no longer finite; the message names the epoch."""


@dataclass(frozen=True)
class Epoch:
    """One line of the history.

    Attributes:
        number: counts from 1.
        loss: mean over the training rows, each evaluated when its minibatch is used.
        test_score: accuracy (0 to 1), or R^2 for regression, on the test rows after the epoch.
        rmse: of regression, the root of the loss in the target's units; else None.
    """

    number: int
    loss: float
    test_score: float
    rmse: float | None = None


class Progress(Protocol):
    """Receives the progress of training."""

    def epoch(self, record: Epoch) -> None:
        """An epoch has ended; the first one after a resumed run is any."""


class Task(Protocol):
    """The parts of training that depend on the kind of label. Outputs: shape (rows, width),
    or (rows,) for one.
    """

    metric: str
    width: int

    def targets(self, labels: Labels) -> Array:
        """The labels in the form that `loss` takes, row by row."""

    def loss(self, output: Any, target: Any) -> Any:
        """The loss of the model's output for one row, a Value."""

    def decode(self, outputs: Array) -> Labels:
        """Predictions, in the labels' units."""

    def score(self, predictions: Labels, labels: Labels) -> float:
        """The metric; 1 is perfect."""

    def rmse(self, loss: float) -> float | None:
        """The root of a mean loss, in the labels' units; None if they have none."""


class Classes:
    """Classification: one output per class; the largest wins."""

    metric = "accuracy"

    def __init__(self, count: int) -> None:
        self.width = count

    def targets(self, labels: Labels) -> Array:
        """One-hot rows, shape (rows, classes)."""
        return np.eye(self.width)[labels.astype(np.int64)]

    def loss(self, output: Any, target: Any) -> Any:
        return losses.soft_cross_entropy(output, target)

    def decode(self, outputs: Array) -> Labels:
        winners: Labels = np.argmax(outputs.reshape(-1, self.width), axis=1).astype(np.int64)
        return winners

    def score(self, predictions: Labels, labels: Labels) -> float:
        return float(np.mean(predictions == labels))

    def rmse(self, loss: float) -> float | None:
        return None


class Regression:
    """One output: the target, standardized over the training rows."""

    metric = "R^2"
    width = 1

    def __init__(self, labels: Labels) -> None:
        mean, scale = mean_and_scale(labels.astype(np.float64)[:, None])
        self.mean, self.scale = float(mean[0]), float(scale[0])

    def targets(self, labels: Labels) -> Array:
        return (labels.astype(np.float64) - self.mean) / self.scale

    def loss(self, output: Any, target: Any) -> Any:
        return losses.mse(output, target)

    def decode(self, outputs: Array) -> Labels:
        return outputs.reshape(-1) * self.scale + self.mean

    def score(self, predictions: Labels, labels: Labels) -> float:
        """R^2; nan when the labels do not vary."""
        spread = float(np.sum((labels - labels.mean()) ** 2))
        return 1.0 - float(np.sum((labels - predictions) ** 2)) / spread if spread else math.nan

    def rmse(self, loss: float) -> float | None:
        return math.sqrt(loss) * self.scale


@dataclass(frozen=True, eq=False)
class Result:
    """A trained model, with its data and its scores.

    Attributes:
        dataset, split: the data that it was trained and tested on.
        task: `Classes` or `Regression`.
        model: the MLP; its inputs are standardized features.
        sizes: inputs, hidden layers, outputs.
        history: one record per epoch.
        train_score, test_score: `task.metric` after the last epoch.
        fitted, predictions: of the training and of the test rows: class indices, or numbers in the
            target's units.
        seconds: wall time of the epochs.
    """

    dataset: Dataset
    split: Split
    task: Task
    model: nn.MLP
    sizes: tuple[int, ...]
    history: list[Epoch]
    train_score: float
    test_score: float
    fitted: Labels
    predictions: Labels
    seconds: float

    def predict(self, features: Array) -> Labels:
        """Predict rows of raw features.

        Args:
            features: shape (rows, n), in the data set's units.
        Returns:
            Class indices or numbers in the target's units, shape (rows,).
        """
        standard = (features - self.split.mean) / self.split.scale
        return self.task.decode(outputs_of(self.model)(standard))

    @property
    def scaling(self) -> Scaling:
        """How features, and the target of regression, were scaled."""
        mean, scale = getattr(self.task, "mean", 0.0), getattr(self.task, "scale", 1.0)
        names, target = self.dataset.feature_names, self.dataset.target_name
        return Scaling(self.split.mean, self.split.scale, mean, scale, names, target)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that a prediction needs, for `pygradc.load_model`: `weights.npz`."""
        save_model(self.model, path, self.scaling, self.dataset.class_names)

    def arrays(self) -> dict[str, Any]:
        """The content of that file, by name."""
        return to_state(self.model, self.scaling, self.dataset.class_names)


def train(
    dataset: Dataset,
    hidden: Sequence[int] = HIDDEN,
    epochs: int = EPOCHS,
    lr: float = LEARNING_RATE,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    stratify: bool = False,
) -> Result:
    """Train a tanh MLP with Adam; a fifth of the rows is held out for testing.

    Args:
        dataset: at least two rows.
        hidden: widths of the hidden layers, first to last; () for a linear model.
        epochs: number of passes over the training rows, at least 1.
        lr: Adam's learning rate.
        seed: for the split, the initial weights and the minibatches; it determines the result.
        batch_size: rows per step, at least 1.
        progress: receives each epoch.
        checkpoint, checkpoint_every, resume: as in `fit`.
        stratify: as in `train_test_split`.
    Returns:
        The model and its scores.
    Raises:
        DataError: as `train_test_split`.
        ValueError: epochs, lr, batch_size or a width is not positive.
        CheckpointError, OSError: as in `fit`.
        TrainingError: the loss is no longer finite; a smaller lr may help.
    """
    _check_positive(epochs=epochs, lr=lr, batch_size=batch_size, **_widths(hidden))
    split = train_test_split(dataset, seed=seed, stratify=stratify)
    names = dataset.class_names
    task: Task = Classes(len(names)) if names else Regression(split.train_labels)
    sizes = (split.mean.size, *hidden, task.width)
    model = first_model(sizes, seed)
    after = _Measuring(model, task, split, progress)
    started = time.perf_counter()
    _run_epochs(
        after,
        lr,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    seconds = time.perf_counter() - started

    fitted = task.decode(after.outputs(split.train_features))
    predictions = task.decode(after.outputs(split.test_features))
    return Result(
        dataset,
        split,
        task,
        model,
        sizes,
        after.history,
        task.score(fitted, split.train_labels),
        task.score(predictions, split.test_labels),
        fitted,
        predictions,
        seconds,
    )


def first_model(sizes: Sequence[int], seed: int) -> nn.MLP:
    """An untrained MLP; its weights depend on the seed only, and the state of `random` is restored.

    Weights are divided by the square root of the fan-in, so that a sum over many inputs doesn't
    saturate tanh at the start. On digits that gains two to four points of accuracy.

    Args:
        sizes: inputs, hidden widths, outputs.
    """
    before = random.getstate()
    try:
        random.seed(seed)
        model = nn.MLP(sizes[0], list(sizes[1:]), activation="tanh", output_activation="linear")
    finally:
        random.setstate(before)
    state = model.state_dict()
    for name in state:
        if name.endswith(".weight"):
            state[name] = state[name] / math.sqrt(state[name].shape[1])
    model.load_state_dict(state)
    return model


def outputs_of(model: nn.MLP) -> Callable[[Array], Array]:
    """The model's outputs for rows of standardized features, recorded once."""
    recorded = compile(model, errors="ignore")
    return recorded.map


class _Measuring:
    """The callback after each epoch: requires a finite loss, scores the model on the test rows."""

    def __init__(self, model: nn.MLP, task: Task, split: Split, progress: Progress | None) -> None:
        self.model, self.task, self.split, self.progress = model, task, split, progress
        self.outputs = outputs_of(model)
        self.history: list[Epoch] = []

    def __call__(self, number: int, mean_loss: float) -> None:
        if not math.isfinite(mean_loss):
            raise TrainingError(_diverged(number, f"it is {mean_loss}"))
        task, split = self.task, self.split
        tested = task.decode(self.outputs(split.test_features))
        self.history.append(self._epoch(number, mean_loss, task.score(tested, split.test_labels)))
        self._tell()

    def _epoch(self, number: int, loss: float, test_score: float) -> Epoch:
        return Epoch(number, loss, test_score, self.task.rmse(loss))

    def _tell(self) -> None:
        if self.progress and self.history:
            self.progress.epoch(self.history[-1])

    def state_dict(self) -> dict[str, Any]:
        """The history, for a checkpoint."""
        return {
            "loss": np.array([epoch.loss for epoch in self.history]),
            "test_score": np.array([epoch.test_score for epoch in self.history]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        states.check_names("callback", state, ("loss", "test_score"))
        shape = (np.size(state["loss"]),)
        loss, score = (states.numbers(name, state[name], shape) for name in ("loss", "test_score"))
        numbers = zip(loss.tolist(), score.tolist())
        self.history = [self._epoch(i, *both) for i, both in enumerate(numbers, 1)]
        self._tell()


def _run_epochs(after: _Measuring, lr: float, **how: Any) -> None:
    model, task, split = after.model, after.task, after.split
    loss, targets = recorded_loss(model, task), task.targets(split.train_labels)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    try:
        fit(loss, split.train_features, targets, optimizer, callback=after, **how)
    except FloatingPointError as error:
        raise TrainingError(_diverged(len(after.history) + 1, str(error))) from error


def recorded_loss(model: nn.MLP, task: Task) -> Compiled:
    """The loss of one row, compiled, as a function of its features and its target."""

    def loss(x: Any, y: Any) -> Any:
        return task.loss(model(x), y)

    recorded: Compiled = compile(loss, math="fast")
    return recorded


def _diverged(epoch: int, why: str) -> str:
    return f"the loss isn't finite any more in epoch {epoch} ({why}); try a smaller learning rate"


def _widths(hidden: Sequence[int]) -> dict[str, float]:
    return {f"hidden[{place}]": width for place, width in enumerate(hidden)}


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive, not {value!r}")
