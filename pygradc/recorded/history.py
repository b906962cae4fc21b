"""The history of a training run, as `fit` returns it: a list of losses, and what came with them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pygradc import states
from pygradc.core import notebook
from pygradc.core.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS, VALIDATION_LOSS = "loss", "validation_loss"
"""The names of the losses among other figures."""
_MOST_LOSSES = 10  # in a repr
_MOST_ROWS = 8  # with the heads, and a line for those between, ten lines


class History(list[float]):
    """The losses of the epochs: a list of floats, whose other figures are lists of equal length.

        >>> from pygradc import Value, compile, fit, optim
        >>> w = Value(1.0)
        >>> history = fit(compile(lambda x: (w * x) ** 2), [1.0, 2.0], optim.SGD([w], lr=0.1))
        >>> history, history.loss, history.validation_loss, history.lr
        ([2.5], [2.5], [], [0.1])

    Operators and slices of it give plain lists, without the other figures. A notebook shows the
    table of `summary()` and the curves; elsewhere it is shown as its list is, of more than ten
    losses the first and the last.

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
        Source: `pygradc.plots.plot_history`.
        """
        from pygradc import plots

        return plots.plot_history(self, ax=ax)

    # ---- how it is shown

    def __repr__(self) -> str:
        """That of the list; of a long one the first losses and the last."""
        if len(self) <= _MOST_LOSSES:
            return super().__repr__()
        ends = [", ".join(map(repr, part)) for part in (self[:3], self[-3:])]
        return f"[{ends[0]}, ... {len(self) - 6:,} more ..., {ends[1]}]"

    def summary(self) -> str:
        """A table of at most ten lines: the first epochs and the last, and all their figures.

        >>> from pygradc import History
        >>> print(History([2.5, 1.0]).summary())
        epoch  loss
            1   2.5
            2     1
        """
        heads, rows = self._table()
        first, omitted, last = notebook.abridged(rows, _MOST_ROWS)
        between = [("...", *[""] * (len(heads) - 1))] if omitted else []
        shown = [heads, *first, *between, *last]
        widths = [max(map(len, column)) for column in zip(*shown)]
        lines = ["  ".join(map(str.rjust, cells, widths)).rstrip() for cells in shown]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same table for notebooks, and the losses as curves."""
        heads, rows = self._table()
        title = f"History of {len(self):,} epoch{'s' * (len(self) != 1)}"
        losses = {"loss": self.loss, VALIDATION_LOSS: self.validation_loss}
        return notebook.table(heads, rows, title, _MOST_ROWS) + notebook.curves(losses)

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Heads, and a row for each epoch, of the figures that there are."""
        own = {VALIDATION_LOSS: self.validation_loss, **self.metrics}
        columns = {"loss": self.loss, **own, "lr": self.lr, "seconds": self.seconds}
        columns = {name: column for name, column in columns.items() if column or name == "loss"}
        texts = [map("{:.4g}".format, column) for column in columns.values()]
        epochs = map(str, range(1, len(self) + 1))
        rows = itertools.zip_longest(epochs, *texts, fillvalue="")
        return ("epoch", *columns), list(rows)

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
