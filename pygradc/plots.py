"""Plots with matplotlib: the course of a training, and a function with its tangent.

matplotlib is an extra, imported inside the functions, so that importing this module is cheap.
`save_training` draws on its own Agg canvas, without a display or pyplot. `plot_tangent` draws on
the caller's axes or a new pyplot figure, in a notebook or a window.
Colours: Okabe & Ito (2008), distinguishable by colour-blind readers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from . import Value
from .datasets import Array
from .training import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
MOST_NUMBERED = 20  # classes; a larger confusion matrix has no numbers or names
MESH = 200  # points per side for a decision boundary


def save_training(result: Result, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write a PNG: the loss curve, then results on the test rows.

    For classification the confusion matrix and, with two inputs, the decision boundary; for
    regression the predicted against the true values.

    Args:
        result: the result of `training.train`.
        file: path or binary file to write to.
    Raises:
        ImportError: matplotlib is not installed.
    """
    _need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: list[Callable[[Result, Any], None]] = [draw_history]
    if result.dataset.class_names is None:
        panels.append(draw_regression)
    else:
        panels.append(draw_confusion)
        if result.dataset.features.shape[1] == 2:
            panels.append(draw_boundary)
    figure = Figure(figsize=(5.6 * len(panels), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for place, draw in enumerate(panels, start=1):
        draw(result, figure.add_subplot(1, len(panels), place))
    layers = "-".join(str(size) for size in result.sizes)
    score = f"{_metric(result)} {result.test_score:.3f}"
    figure.suptitle(f"{result.dataset.name}: MLP {layers}, test {score}")
    figure.savefig(file, format="png", dpi=120)


def draw_history(result: Result, axes: Axes) -> None:
    """The training loss, and the test score on a second axis, over the epochs."""
    epochs = [record.number for record in result.history]
    mark = "o" if len(epochs) <= 30 else ""
    axes.plot(epochs, [r.loss for r in result.history], BLUE, marker=mark, markersize=4)
    axes.set(xlabel="epoch", title="Loss and score", ylim=(0.0, None))
    axes.set_ylabel("training loss", color=BLUE)
    axes.locator_params(axis="x", integer=True)
    scores = axes.twinx()
    values = np.array([record.test_score for record in result.history])
    scores.plot(epochs, values, ORANGE, marker=mark, markersize=4)
    lowest = float(np.nanmin(values, initial=1.0))
    scores.set_ylim(max(lowest - 0.05, -1.0), 1.02)
    scores.set_ylabel(f"test {_metric(result)}", color=ORANGE)
    for side in (axes, scores):
        side.spines["top"].set_visible(False)


def draw_confusion(result: Result, axes: Axes) -> None:
    """The confusion matrix: counts of test rows by true and predicted class."""
    names = result.dataset.class_names or ()
    counts = confusion(result.split.test_labels, result.predictions, len(names))
    axes.imshow(counts, cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix, test rows")
    if len(names) > MOST_NUMBERED:
        return
    short = [name if len(name) <= 14 else name[:13] + "…" for name in names]
    slant: dict[str, Any] = {"rotation": 40, "ha": "right"} if max(map(len, short)) > 3 else {}
    axes.set_xticks(range(len(short)), short, **slant)
    axes.set_yticks(range(len(short)), short)
    middle = counts.max() / 2
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if count > middle else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=ink)


def confusion(true: Any, predicted: Any, classes: int) -> Any:
    """Count pairs of class indices: int64, shape (classes, classes); rows are the true classes."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


def draw_boundary(result: Result, axes: Axes) -> None:
    """The plane of the two inputs, coloured by the predicted class of each point."""
    features, names = result.dataset.features, result.dataset.class_names or ()
    margin = 0.1 * np.ptp(features, axis=0) + 1e-9
    low, high = features.min(axis=0) - margin, features.max(axis=0) + margin
    x, y = np.meshgrid(np.linspace(low[0], high[0], MESH), np.linspace(low[1], high[1], MESH))
    classes = result.predict(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    colours = _colours(len(names))
    levels = np.arange(len(names) + 1) - 0.5
    axes.contourf(x, y, classes, levels=levels, colors=colours, alpha=0.25)
    rows = result.split.test_features * result.split.scale + result.split.mean
    for number, name in enumerate(names):
        points = rows[result.split.test_labels == number]
        label = name if len(names) <= MOST_NUMBERED else None
        style = {"color": colours[number], "edgecolors": "white", "lw": 0.5, "label": label}
        axes.scatter(points[:, 0], points[:, 1], 18, **style)
    if len(names) <= MOST_NUMBERED:
        axes.legend(fontsize="small")
    x_name, y_name = result.dataset.feature_names
    axes.set(xlabel=x_name, ylabel=y_name, title="Decision boundary, test rows")


def draw_regression(result: Result, axes: Axes) -> None:
    """Predicted against true values of the test rows; the dashed line marks correct predictions."""
    true, predicted = result.split.test_labels, result.predictions
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, "--", color=GREY, lw=1)
    axes.scatter(true, predicted, 18, color=BLUE, edgecolors="white", lw=0.5)
    name = result.dataset.target_name
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title="Test rows")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plot_tangent(
    f: Callable[[Value], Any],
    x0: float,
    lo: float = -5.0,
    hi: float = 5.0,
    ax: Axes | None = None,
) -> float:
    """Plot f and, dashed, its tangent at x0, with the slope from `backward()`.

    Args:
        f: maps a Value to a Value; the curve has a gap where it is undefined.
        x0: the point of tangency.
        lo, hi: the curve is drawn over np.arange(lo, hi, 0.25).
        ax: the axes to draw on; None for a new figure.
    Returns:
        df/dx at x0.
    Raises:
        ImportError: matplotlib is not installed.
        ValueError, ArithmeticError: x0 is outside f's domain.
    """
    x = Value(x0)
    y = f(x)
    y.backward()
    slope, height = float(x.grad), float(y.data)
    if ax is None:
        _need_matplotlib()
        from matplotlib import pyplot

        ax = pyplot.figure().add_subplot()
    xs = np.arange(lo, hi, 0.25)
    ys = _curve(f, xs)
    ax.plot(xs, ys, color=BLUE, label="f(x)")
    ax.plot(xs, slope * (xs - x0) + height, "--", color=ORANGE, label=f"slope {slope:.4g}")
    ax.plot([x0], [height], "o", color=ORANGE)
    seen = np.append(ys[np.isfinite(ys)], height)
    margin = 0.1 * float(np.ptp(seen)) or 1.0
    ax.set(xlabel="x", ylim=(seen.min() - margin, seen.max() + margin))
    ax.grid(alpha=0.3)
    ax.legend()
    return slope


def _metric(result: Result) -> str:
    return result.task.metric.replace("^2", "²")


def _curve(f: Callable[[Value], Any], xs: Array) -> Array:
    def at(x: float) -> float:
        try:
            return float(getattr(f(Value(x)), "data", np.nan))
        except (ArithmeticError, ValueError):
            return float("nan")

    return np.array([at(float(x)) for x in xs])


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError("plots need matplotlib: pip install matplotlib") from None


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    okabe_ito = [BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000"]
    if count <= len(okabe_ito):
        return okabe_ito[:count]
    return [colormaps["turbo"](place) for place in np.linspace(0.0, 1.0, count)]
