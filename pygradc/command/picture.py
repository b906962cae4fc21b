"""A picture of a training run: loss and score, then results on the test rows."""

from __future__ import annotations

import os
from typing import IO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg  # needs neither a display nor pyplot
from matplotlib.figure import Figure

from pygradc.command.training import Result
from pygradc.plots import plot_boundary, plot_confusion, plot_history, plot_predictions


def save_training(result: Result, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write a PNG: the loss curve, then results on the test rows.

    For classification the confusion matrix and, with two inputs, the decision boundary; for
    regression the predicted against the true values.
    """
    panels = [_draw_history]
    if result.dataset.class_names is None:
        panels.append(_draw_regression)
    else:
        panels.append(_draw_confusion)
        if result.dataset.features.shape[1] == 2:
            panels.append(_draw_boundary)
    figure = Figure(figsize=(5.6 * len(panels), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for place, draw in enumerate(panels, start=1):
        draw(result, figure.add_subplot(1, len(panels), place))
    layers = "-".join(str(size) for size in result.sizes)
    score = f"{_metric(result)} {result.test_score:.3f}"
    figure.suptitle(f"{result.dataset.name}: MLP {layers}, test {score}")
    figure.savefig(file, format="png", dpi=120)


def _draw_history(result: Result, axes: Axes) -> None:
    losses, scores = zip(*((epoch.loss, epoch.test_score) for epoch in result.history))
    plot_history(losses, scores, axes, f"test {_metric(result)}")


def _draw_confusion(result: Result, axes: Axes) -> None:
    names = result.dataset.class_names or ()
    plot_confusion(result.split.test_labels, result.predictions, names, axes)
    axes.set_title("Confusion matrix, test rows")


def _draw_boundary(result: Result, axes: Axes) -> None:
    split = result.split
    rows = split.test_features * split.scale + split.mean
    plot_boundary(result.predict, rows, split.test_labels, result.dataset.class_names or (), axes)
    x_name, y_name = result.dataset.feature_names
    axes.set(xlabel=x_name, ylabel=y_name, title="Decision boundary, test rows")


def _draw_regression(result: Result, axes: Axes) -> None:
    plot_predictions(result.split.test_labels, result.predictions, axes)
    name = result.dataset.target_name
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title="Test rows")


def _metric(result: Result) -> str:
    return result.task.metric.replace("^2", "²")
