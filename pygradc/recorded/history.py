"""The history of a training run, as `fit` returns it: a list of losses, and what came with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pygradc import states
from pygradc.core.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS, VALIDATION_LOSS = "loss", "validation_loss"
"""The names of the losses among other figures."""


class History(list[float]):
    """The losses of the epochs: a list of floats, whose other figures are lists of equal length.

        >>> from pygradc import Value, compile, fit, optim
        >>> w = Value(1.0)
        >>> history = fit(compile(lambda x: (w * x) ** 2), [1.0, 2.0], optim.SGD([w], lr=0.1))
        >>> history, history.loss, history.validation_loss, history.lr
        ([2.5], [2.5], [], [0.1])

    Operators and slices of it give plain lists, without the other figures.

    Attributes:
        validation_loss: The mean loss over the validation rows with the weights after each epoch;
            [] without validation data.
        metrics: For each metric, by its name, its figures after each epoch.
        lr: The optimizer's learning rate in each epoch's last step; nan if it has none.
        seconds: The time of each epoch's steps, without validation, metrics and callbacks.
    """

    validation_loss: list[float]
    metrics: dict[str, list[float]]
    lr: list[float]
    seconds: list[float]

    def __init__(self, losses: Iterable[float] = (), metrics: Iterable[str] = ()) -> None:
        super().__init__(losses)
        self.validation_loss, self.lr, self.seconds = [], [], []
        self.metrics = {name: [] for name in metrics}

    @property
    def loss(self) -> list[float]:
        """The losses as a plain list: the mean of each row's loss before its batch's step."""
        return list(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw losses by epoch, and metrics, if there are any, on a second axis.

            >>> from pygradc import History
            >>> axes = History([2.5, 1.0]).plot()
            >>> axes.lines[0].get_ydata().tolist()
            [2.5, 1.0]

        Args:
            ax: The axes to draw on; None for a new figure.
        Returns:
            The axes of the losses.
        Raises:
            ImportError: matplotlib is not installed.
        """
        from pygradc import plots

        losses = {"training loss": self.loss}
        if self.validation_loss:
            losses["validation loss"] = self.validation_loss
        return plots.plot_curves(losses, self.metrics, ax)

    # ---- for fit and its checkpoints

    def record(self, losses: Sequence[float], lr: float | Sequence[float], seconds: float) -> None:
        """Append epochs that took `seconds` together; lr of all, or of each."""
        self.extend(losses)
        self.lr += [lr] * len(losses) if isinstance(lr, float) else lr
        self.seconds += [seconds / len(losses)] * len(losses)

    def of(self, name: str) -> list[float]:
        """The figures of the validation loss or of a metric."""
        return self.validation_loss if name == VALIDATION_LOSS else self.metrics[name]

    def state_dict(self, names: Sequence[str]) -> dict[str, Floats]:
        """Its arrays, shape (epochs,); figures of these names (names, epochs)."""
        figures = [self.of(name) for name in names]
        return {
            "history": np.array(self, dtype=np.float64),
            "history.figures": np.array(figures, dtype=np.float64).reshape(len(names), len(self)),
            "history.lr": np.array(self.lr, dtype=np.float64),
            "history.seconds": np.array(self.seconds, dtype=np.float64),
        }

    def read(self, names: Sequence[str], state: Mapping[str, Any]) -> int:
        """Take the epochs of such a state in place of its own; returns how many.

        A state of an earlier version has losses only: rates and times are nan.
        Raises:
            ValueError: arrays are missing, or of other shapes. Nothing is changed.
        """
        losses = states.numbers("history", state["history"], (np.size(state["history"]),))
        count = len(losses)
        unknown = np.full(count, np.nan)
        lr, seconds = (
            states.numbers(name, state.get(name, unknown), (count,))
            for name in ("history.lr", "history.seconds")
        )
        figures = state.get("history.figures", np.empty((0, count)))
        figures = states.numbers("history.figures", figures, (len(names), count))
        self[:], self.lr, self.seconds = losses.tolist(), lr.tolist(), seconds.tolist()
        for name, row in zip(names, figures.tolist()):
            self.of(name)[:] = row
        return count
