"""Plots with matplotlib: losses, predictions, a function with its tangent.

Each function draws on the axes that it is given, or on those of a new pyplot figure, in a notebook
or a window, and returns them: `plot_history(losses).figure.savefig("losses.png")`.
matplotlib is an extra, imported inside the functions, so that importing this module is cheap.
Colors: Okabe & Ito (2008), distinguishable by color-blind readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pygradc.value import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
MOST_NUMBERED = 20  # classes; a larger confusion matrix has no numbers or names
MESH = 200  # points per side for a decision boundary


def plot_history(
    losses: Sequence[float],
    scores: Sequence[float] | None = None,
    ax: Axes | None = None,
    metric: str = "score",
) -> Axes:
    """The loss over the epochs, as `fit` returns it, and a score on a second axis.

        >>> from pygradc import plots
        >>> axes = plots.plot_history([0.5, 0.2, 0.1], scores=[0.6, 0.8, 0.9])
        >>> axes.get_xlabel()
        'epoch'

    Args:
        losses: one per epoch.
        scores: one per epoch, at most 1, such as accuracy or R^2; or None.
        ax: the axes to draw on; None for a new figure.
        metric: the name of the score.
    Returns:
        The axes of the loss.
    Raises:
        ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    epochs = range(1, len(losses) + 1)
    style: dict[str, Any] = {"marker": "o" if len(losses) <= 30 else "", "markersize": 4}
    ax.plot(epochs, losses, BLUE, **style)
    ax.set(xlabel="epoch", ylim=(0.0, None))
    ax.set_ylabel("training loss", color=BLUE)
    ax.locator_params(axis="x", integer=True)
    sides = [ax]
    if scores is not None:
        other = ax.twinx()
        other.plot(epochs, scores, ORANGE, **style)
        lowest = float(np.nanmin(np.asarray(scores), initial=1.0))
        other.set_ylim(max(lowest - 0.05, -1.0), 1.02)
        other.set_ylabel(metric, color=ORANGE)
        sides.append(other)
    for side in sides:
        side.spines["top"].set_visible(False)
    return ax


def plot_curves(
    losses: Mapping[str, Sequence[float]],
    metrics: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
) -> Axes:
    """Losses by epoch, and metrics, dashed, on a second axis; the legend is above.

        >>> from pygradc import plots
        >>> axes = plots.plot_curves({"training": [0.5, 0.2], "validation": [0.6, 0.4]}, {})
        >>> [line.get_label() for line in axes.lines]
        ['training', 'validation']

    Args:
        losses, metrics: a curve for each name, one number per epoch.
        ax: the axes to draw on; None for a new figure.
    Returns:
        The axes of the losses.
    Raises:
        ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    colours = _colours(len(losses) + len(metrics))
    drawn = _draw_curves(ax, losses, colours, "-")
    seen = [loss for curve in losses.values() for loss in curve]
    ax.set(xlabel="epoch", ylabel="loss")
    if seen and min(seen) >= 0.0:
        ax.set_ylim(bottom=0.0)
    ax.locator_params(axis="x", integer=True)
    sides = [ax]
    if metrics:
        sides.append(ax.twinx())
        drawn += _draw_curves(sides[1], metrics, colours[len(losses) :], "--")
        sides[1].set_ylabel(", ".join(metrics))
    for side in sides:
        side.spines["top"].set_visible(False)
    above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 4}
    ax.legend(handles=drawn, fontsize="small", frameon=False, **above)
    return ax


def _draw_curves(
    ax: Axes, curves: Mapping[str, Sequence[float]], colours: Sequence[Any], style: str
) -> list[Any]:
    lines = []
    for (name, curve), colour in zip(curves.items(), colours):
        marker = "o" if len(curve) <= 30 else ""
        how: dict[str, Any] = {"marker": marker, "markersize": 4, "label": name, "color": colour}
        lines += ax.plot(range(1, len(curve) + 1), curve, style, **how)
    return lines


def plot_confusion(true: Any, predicted: Any, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """The confusion matrix: counts of rows by true and predicted class.

        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> from pygradc import plots
        >>> axes = Figure().add_subplot()
        >>> _ = plots.plot_confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), ["no", "yes"], axes)
        >>> [label.get_text() for label in axes.get_xticklabels()]
        ['no', 'yes']

    Args:
        true, predicted: class indices, shape (rows,).
        names: of the classes, in the order of their indices.
        ax: the axes to draw on; None for a new figure.
    Raises:
        ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    counts = confusion(true, predicted, len(names))
    ax.imshow(counts, cmap="Blues")
    ax.set(xlabel="predicted", ylabel="true")
    if len(names) > MOST_NUMBERED:
        return ax
    short = [name if len(name) <= 14 else name[:13] + "…" for name in names]
    slant: dict[str, Any] = {"rotation": 40, "ha": "right"} if max(map(len, short)) > 3 else {}
    ax.set_xticks(range(len(short)), short, **slant)
    ax.set_yticks(range(len(short)), short)
    middle = counts.max() / 2
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if count > middle else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=ink)
    return ax


def confusion(true: Any, predicted: Any, classes: int) -> Any:
    """Count pairs of class indices: int64, shape (classes, classes); rows are the true classes.

    >>> import numpy as np
    >>> from pygradc import plots
    >>> plots.confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


def plot_boundary(
    predict: Callable[[Array], Array],
    features: Array,
    labels: Array,
    names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """The plane of two inputs, colored by the predicted class of each point, with the rows.

        >>> from pygradc import datasets, plots
        >>> moons = datasets.load("moons")
        >>> names, above = moons.class_names, lambda rows: (rows[:, 1] < 0.25).astype(int)
        >>> axes = plots.plot_boundary(above, moons.features, moons.labels, names)

    Args:
        predict: maps rows of features, shape (n, 2), to class indices, shape (n,).
        features: shape (rows, 2).
        labels: class indices, shape (rows,).
        names: of the classes, in the order of their indices.
        ax: the axes to draw on; None for a new figure.
    Raises:
        ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    margin = 0.1 * np.ptp(features, axis=0) + 1e-9
    low, high = features.min(axis=0) - margin, features.max(axis=0) + margin
    x, y = np.meshgrid(np.linspace(low[0], high[0], MESH), np.linspace(low[1], high[1], MESH))
    classes = predict(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    colours = _colours(len(names))
    ax.contourf(x, y, classes, levels=np.arange(len(names) + 1) - 0.5, colors=colours, alpha=0.25)
    for number, name in enumerate(names):
        points = features[labels == number]
        label = name if len(names) <= MOST_NUMBERED else None
        style = {"color": colours[number], "edgecolors": "white", "lw": 0.5, "label": label}
        ax.scatter(points[:, 0], points[:, 1], 18, **style)
    if len(names) <= MOST_NUMBERED:
        ax.legend(fontsize="small")
    return ax


def plot_predictions(true: Any, predicted: Any, ax: Axes | None = None) -> Axes:
    """Predicted against true numbers; the dashed line marks correct predictions.

        >>> import numpy as np
        >>> from pygradc import plots
        >>> axes = plots.plot_predictions(np.array([1.0, 2.0]), np.array([1.1, 1.9]))

    Args:
        true, predicted: shape (rows,).
        ax: the axes to draw on; None for a new figure.
    Raises:
        ImportError: matplotlib is not installed.
    """
    ax = _axes(ax)
    ends = [min(np.min(true), np.min(predicted)), max(np.max(true), np.max(predicted))]
    ax.plot(ends, ends, "--", color=GREY, lw=1)
    ax.scatter(true, predicted, 18, color=BLUE, edgecolors="white", lw=0.5)
    ax.set(xlabel="true", ylabel="predicted")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def plot_tangent(
    f: Callable[[Value], Any],
    x0: float,
    lo: float = -5.0,
    hi: float = 5.0,
    ax: Axes | None = None,
) -> float:
    """Plot f and, dashed, its tangent at x0, with the slope from `backward()`.

        >>> from pygradc import plots
        >>> plots.plot_tangent(lambda x: x ** 2, x0=1.5, lo=-3.0, hi=3.0)
        3.0

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
    ax = _axes(ax)
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


def _curve(f: Callable[[Value], Any], xs: Array) -> Array:
    def at(x: float) -> float:
        try:
            return float(getattr(f(Value(x)), "data", np.nan))
        except (ArithmeticError, ValueError):
            return float("nan")

    return np.array([at(float(x)) for x in xs])


def _axes(ax: Axes | None) -> Axes:
    """The axes that were given, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("plots need matplotlib: pip install matplotlib") from None
    return pyplot.figure().add_subplot()


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    okabe_ito = [BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000"]
    if count <= len(okabe_ito):
        return okabe_ito[:count]
    return [colormaps["turbo"](place) for place in np.linspace(0.0, 1.0, count)]
