"""Plots with matplotlib: losses, predictions, weights, a function with its tangent.

Each function draws on the axes that it is given, or on those of a new pyplot figure, in a notebook
or a window, and returns them: `plot_history(losses).figure.savefig("losses.png")`. To show a window
is left to the caller's `pyplot.show()`.
matplotlib is an extra, imported inside the functions, so that importing this module is cheap.
Colors: Okabe & Ito (2008), distinguishable by color-blind readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pygradc.value import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
MOST_NUMBERED = 20  # classes; a larger confusion matrix has no numbers or names
MESH = 200  # points per side for a decision boundary
BINS = 40  # of a histogram


def plot_history(
    losses: Sequence[float],
    scores: Sequence[float] | None = None,
    ax: Axes | None = None,
    metric: str = "score",
) -> Axes:
    """The losses over the epochs, as `fit` returns them, and a score on a second axis.

        >>> from pygradc import plots
        >>> axes = plots.plot_history([0.5, 0.2, 0.1], scores=[0.6, 0.8, 0.9])
        >>> axes.get_xlabel(), axes.lines[0].get_ydata().tolist()
        ('epoch', [0.5, 0.2, 0.1])

    Args:
        losses: one per epoch; of a `pygradc.History` its validation losses and metrics, too.
        scores: one per epoch, at most 1, such as accuracy or R^2; or None.
        ax: the axes to draw on; None for a new figure.
        metric: the name of the score.
    Returns:
        The axes of the losses.
    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: losses or scores aren't a number per epoch, or a score is above 1.
    """
    epochs = len(_numbers("plot_history: losses", losses, 1))
    curves: dict[str, Sequence[float]] = {"training loss": losses}
    if held_out := getattr(losses, "validation_loss", None):
        curves["validation loss"] = held_out
    metrics: dict[str, Sequence[float]] = dict(getattr(losses, "metrics", {}))
    if scores is not None:
        found = _numbers("plot_history: scores", scores, 1)
        if len(found) != epochs:
            raise ValueError(f"plot_history: scores has {len(found)} numbers for {epochs} epochs")
        if (found > 1.0).any():
            raise ValueError(
                "plot_history: scores must be at most 1, as accuracy and R^2 are, not "
                f"{found.max()}: write plot_curves({{'loss': losses}}, {{'name': figures}})"
            )
        metrics[metric] = scores
    return _draw("plot_history", curves, metrics, ax, scores is not None)


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

    The axis of metrics ends at 1, if they are at most 1 and are named as scores are: "accuracy",
    "test R^2", "F1".

    Args:
        losses, metrics: a curve for each name, one number per epoch.
        ax: the axes to draw on; None for a new figure.
    Returns:
        The axes of the losses.
    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: a curve isn't a number per epoch.
    """
    return _draw("plot_curves", losses, metrics, ax, False)


_SCORE = re.compile(r"acc(uracy)?\b|score|\br(\^2|²|2)(?!\d)|precision|recall|\bf1\b|\bauc\b", re.I)
"""Names of metrics of which 1 is the best."""


def _draw(
    caller: str,
    losses: Mapping[str, Sequence[float]],
    metrics: Mapping[str, Sequence[float]],
    ax: Axes | None,
    are_scores: bool,
) -> Axes:
    """Losses and metrics; the axis of the metrics ends at 1 if they are scores."""
    named = {**losses, **metrics}
    curves = {name: _numbers(f"{caller}: {name!r}", curve, 1) for name, curve in named.items()}
    ax = _axes(caller, ax)
    colours = _colours(len(losses) + len(metrics))
    drawn = _draw_curves(ax, {name: curves[name] for name in losses}, colours, "-")
    ax.set(xlabel="epoch", ylabel="loss" if len(losses) > 1 else next(iter(losses), ""))
    seen = [loss for name in losses for loss in curves[name]]
    if seen and min(seen) >= 0.0:
        ax.set_ylim(bottom=0.0)
    ax.locator_params(axis="x", integer=True)
    sides = [ax]
    if metrics:
        sides.append(ax.twinx())
        own = {name: curves[name] for name in metrics}
        drawn += _draw_curves(sides[1], own, colours[len(losses) :], "--")
        sides[1].set_ylabel(", ".join(metrics))
        if are_scores or all(map(_SCORE.search, metrics)):
            _end_at_1(sides[1], np.concatenate([*own.values()]))
    for side in sides:
        side.spines["top"].set_visible(False)
    if len(drawn) > 1:
        above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 4}
        ax.legend(handles=drawn, fontsize="small", frameon=False, **above)
    return ax


def _end_at_1(ax: Axes, scores: Array) -> None:
    """Limit the axis to 1 above, and below to the least score, or -1: R^2 has no lower bound."""
    finite = scores[np.isfinite(scores)]
    lowest = float(finite.min(initial=1.0))
    if not (finite > 1.0).any():
        ax.set_ylim(max(lowest - 0.05, -1.0), 1.0)
        for line in ax.lines:
            line.set_clip_on(lowest < -1.0)  # else markers at 1 would be halves


def _draw_curves(
    ax: Axes, curves: Mapping[str, Array], colours: Sequence[Any], style: str
) -> list[Any]:
    lines = []
    for (name, curve), colour in zip(curves.items(), colours):
        marker = "o" if len(curve) <= 30 else ""
        how: dict[str, Any] = {"marker": marker, "markersize": 4, "label": name, "color": colour}
        lines += ax.plot(range(1, len(curve) + 1), curve, style, **how)
    return lines


def plot_confusion(
    true: Any, predicted: Any, names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """The confusion matrix: counts of rows by true and predicted class.

        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> from pygradc import plots
        >>> axes = Figure().add_subplot()
        >>> _ = plots.plot_confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), ["no", "yes"], axes)
        >>> [label.get_text() for label in axes.get_xticklabels()]
        ['no', 'yes']

    Args:
        true, predicted: classes, shape (rows,): indices into names, or names. Without names, labels
            of any kind, in their order.
        names: of the classes, in the order of their indices.
        ax: the axes to draw on; None for a new figure.
    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: true and predicted differ in length or kind, or a class has no name;
            says which.
    """
    labels = {"true": true, "predicted": predicted}
    (rows, columns), known = _classes("plot_confusion", labels, names)
    names = known.names
    ax = _axes("plot_confusion", ax)
    counts = confusion(rows, columns, len(names))
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
    predict: Any,
    features: Any,
    labels: Any,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The plane of two inputs, colored by the predicted class of each point, with the rows.

        >>> from pygradc import datasets, nn, plots
        >>> moons = datasets.load("moons")
        >>> names, above = moons.class_names, lambda rows: (rows[:, 1] < 0.25).astype(int)
        >>> axes = plots.plot_boundary(above, moons.features, moons.labels, names)
        >>> model = nn.MLP(2, [2], seed=0)                   # a score for each class
        >>> axes = plots.plot_boundary(model, moons.features, moons.labels)

    Args:
        predict: maps rows of features, shape (n, 2), to classes, shape (n,), or to a score for each
            class, shape (n, classes): the largest wins. Or a model with such a `predict`. Where the
            labels are -1 and 1, numbers: their sign is the class.
        features: shape (rows, 2).
        labels: classes, shape (rows,): indices into names, or names. Without names, labels of any
            kind, in their order.
        names: of the classes, in the order of their indices.
        ax: the axes to draw on; None for a new figure.
    Raises:
        ImportError: matplotlib is not installed.
        TypeError, ValueError: an argument has another shape, or predict returns something else;
            says which.
    """
    rows = _numbers("plot_boundary: features", features, 2)
    if rows.shape[1] != 2 or not len(rows):
        hint = ": choose two, features[:, [0, 1]]" if rows.shape[1] > 2 else ""
        raise ValueError(f"plot_boundary: features must be (rows, 2), not {rows.shape}{hint}")
    (given,), known = _classes("plot_boundary", {"labels": labels}, names)
    names = known.names
    if len(given) != len(rows):
        raise ValueError(f"plot_boundary: {len(given)} labels for {len(rows)} rows of features")
    margin = 0.1 * np.ptp(rows, axis=0) + 1e-9
    low, high = rows.min(axis=0) - margin, rows.max(axis=0) + margin
    x, y = np.meshgrid(np.linspace(low[0], high[0], MESH), np.linspace(low[1], high[1], MESH))
    classes = _predicted(predict, np.column_stack([x.ravel(), y.ravel()]), known)
    ax = _axes("plot_boundary", ax)
    colours, levels = _colours(len(names)), np.arange(len(names) + 1) - 0.5
    ax.contourf(x, y, classes.reshape(x.shape), levels=levels, colors=colours, alpha=0.25)
    for number, name in enumerate(names):
        points = rows[given == number]
        label = name if len(names) <= MOST_NUMBERED else None
        style = {"color": colours[number], "edgecolors": "white", "lw": 0.5, "label": label}
        ax.scatter(points[:, 0], points[:, 1], 18, **style)
    if len(names) <= MOST_NUMBERED:
        ax.legend(fontsize="small")
    return ax


def _predicted(predict: Any, points: Array, known: _Classes) -> Array:
    """The class indices of these points."""
    call = getattr(predict, "predict", predict)
    if not callable(call):
        raise TypeError(
            f"plot_boundary: predict must be a function of rows, or a model, not {_kind(predict)}"
        )
    found, count = np.asarray(call(points)), len(known.names)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.shape == (len(points), count) and count > 1:
        winners: Array = found.argmax(axis=1)
        return winners
    if found.shape != (len(points),):
        raise ValueError(
            f"plot_boundary: predict must give a class, or {count} scores, for each of "
            f"{len(points)} rows, not the shape {found.shape}"
        )
    if found.dtype.kind == "f" and not known.are_indices and [*known.names] == ["-1", "1"]:
        found = np.where(found > 0.0, 1, -1)  # a margin, as the hinge loss has it
    return known.of("plot_boundary: predict", found, _OF_ONE)


_OF_ONE = "; of a model with one output write predict=lambda rows: model.predict(rows) > 0.5"


def plot_weights(model: Any, name: str | None = None, ax: Axes | None = None) -> Axes:
    """How the weights of each array of a model are distributed; or one array as a picture.

        >>> from pygradc import nn, plots
        >>> model = nn.MLP(2, [16, 1], seed=0)
        >>> axes = plots.plot_weights(model)
        >>> [text.get_text() for text in axes.get_legend().get_texts()][:2]
        ['layers.0.weight', 'layers.0.bias']
        >>> axes = plots.plot_weights(model, "layers.0.weight")
        >>> axes.get_title(), axes.images[0].get_array().shape
        ('layers.0.weight', (16, 2))

    Args:
        model: a module, or what else has `state_dict()`; or a mapping from names to arrays.
        name: an array of the state: drawn as an image, a row for each neuron, red above 0, blue
            below; None for a histogram of each array, its counts over the weights.
        ax: the axes to draw on; None for a new figure.
    Raises:
        ImportError: matplotlib is not installed.
        TypeError: model has no arrays.
        ValueError: no array has this name, or it has more than two dimensions; a weight is nan or
            infinite.
    """
    arrays = _arrays_of(model)
    if name is not None and name not in arrays:
        raise ValueError(f"plot_weights: name must be one of {[*arrays]}, not {name!r}")
    for key, array in arrays.items():
        if name in (None, key) and not np.isfinite(array).all():
            raise ValueError(f"plot_weights: {key!r} has weights that are nan or infinite")
    if name is not None and arrays[name].ndim > 2:
        raise ValueError(f"plot_weights: {name!r} has the shape {arrays[name].shape}, no image")
    ax = _axes("plot_weights", ax)
    if name is None:
        _draw_histograms(ax, arrays)
    else:
        _draw_image(ax, name, np.atleast_2d(arrays[name]))
    return ax


def _arrays_of(model: Any) -> dict[str, Array]:
    has_state = callable(getattr(model, "state_dict", None)) and not isinstance(model, type)
    state = model.state_dict() if has_state else model
    if not isinstance(state, Mapping):
        raise TypeError(
            f"plot_weights: model must be a module, or a mapping of arrays, not {_kind(model)}"
        )
    arrays = {key: np.asarray(array) for key, array in state.items()}
    found = {key: a.astype(float) for key, a in arrays.items() if a.dtype.kind in "fiu" and a.size}
    if not found:
        raise TypeError(f"plot_weights: {_kind(model)} has no arrays of numbers")
    return found


def _draw_histograms(ax: Axes, arrays: Mapping[str, Array]) -> None:
    edges = np.histogram_bin_edges(np.concatenate([a.ravel() for a in arrays.values()]), BINS)
    for (key, array), colour in zip(arrays.items(), _colours(len(arrays))):
        ax.stairs(np.histogram(array, edges)[0], edges, color=colour, label=key)
    ax.set(xlabel="weight", ylabel="count", ylim=(0, None))
    if len(arrays) <= MOST_NUMBERED:
        ax.legend(fontsize="small")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _draw_image(ax: Axes, name: str, array: Array) -> None:
    most = float(np.abs(array).max()) or 1.0
    image = ax.imshow(array, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    ax.set(xlabel="input", ylabel="neuron", title=name)
    for axis in ("x", "y"):
        ax.locator_params(axis=axis, integer=True)
    ax.figure.colorbar(image, ax=ax)


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
        TypeError, ValueError: they aren't as many numbers.
    """
    true, predicted = (
        _numbers(f"plot_predictions: {name}", given, 1)
        for name, given in (("true", true), ("predicted", predicted))
    )
    if len(true) != len(predicted) or not len(true):
        raise ValueError(f"plot_predictions: {len(predicted)} predicted for {len(true)} true")
    ax = _axes("plot_predictions", ax)
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
    ax = _axes("plot_tangent", ax)
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


def _axes(caller: str, ax: Axes | None) -> Axes:
    """The axes that were given, or those of a new figure."""
    if ax is not None:
        if not callable(getattr(ax, "twinx", None)):
            several = isinstance(ax, (np.ndarray, list, tuple))
            hint = "ax=axes[0]" if several else "ax=figure.add_subplot()"
            raise TypeError(
                f"{caller}: ax must be matplotlib's Axes, not {_kind(ax)}: write {hint}"
            )
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(
            'plots need matplotlib: pip install matplotlib, or "pygradc[plot]"'
        ) from None
    return pyplot.figure().add_subplot()


def _kind(item: Any) -> str:
    return f"the class {item.__name__}" if isinstance(item, type) else type(item).__name__


def _numbers(name: str, given: Any, dimensions: int) -> Array:
    """Numbers of so many dimensions, float64; name is that of the argument, for messages."""
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be numbers: {error}") from None
    if found.ndim != dimensions:
        wanted = "one after the other" if dimensions == 1 else "in rows"
        raise ValueError(f"{name} must be numbers {wanted}, not of the shape {found.shape}")
    return found


class _Classes(NamedTuple):
    """Names of classes; `places`: the index of each label, where labels aren't the indices."""

    names: Sequence[str]
    places: Mapping[str, int]
    are_indices: bool

    def of(self, argument: str, labels: Array, hint: str = "") -> Array:
        """The indices of labels, int64.

        Raises:
            ValueError: a label has none; names the argument.
        """
        if self.are_indices and labels.dtype.kind not in "OSU":
            whole = labels == np.floor(labels)
            found = np.where(whole & (labels >= 0) & (labels < len(self.names)), labels, -1)
        else:
            found = np.array([self.places.get(_text(label), -1) for label in labels])
        odd = np.flatnonzero(found < 0)
        if len(odd):
            few = len(self.names) <= MOST_NUMBERED
            known = f"of {[*self.names]}" if few else f"of {len(self.names)} classes"
            raise ValueError(
                f"{argument}: row {odd[0]} has {_text(labels[odd[0]])}, none {known}{hint}"
            )
        return found.astype(np.int64)


def _classes(
    caller: str, given: Mapping[str, Any], names: Sequence[str] | None
) -> tuple[list[Array], _Classes]:
    """The class indices of each of these labels, all of one length, and the classes."""
    labels = {
        f"{caller}: {key}": _labels(f"{caller}: {key}", value) for key, value in given.items()
    }
    if len({*map(len, labels.values())}) > 1:
        told = ", ".join(f"{len(found)} of {key}" for key, found in zip(given, labels.values()))
        raise ValueError(f"{caller}: expected a label for each row, not {told}")
    if names is not None:
        known = _Classes(names, {str(name): i for i, name in enumerate(names)}, True)
    else:
        if len({found.dtype.kind in "OSU" for found in labels.values()}) > 1:
            raise TypeError(f"{caller}: {' and '.join(given)} must be both text, or both numbers")
        own = [*map(_text, np.unique(np.concatenate([*labels.values()])))]
        known = _Classes(own, {name: i for i, name in enumerate(own)}, False)
    return [known.of(key, found) for key, found in labels.items()], known


def _labels(argument: str, given: Any) -> Array:
    """Labels, shape (rows,): text, or whole numbers."""
    found = np.asarray(given)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"{argument} must be a class for each row, not of the shape {found.shape}")
    if found.dtype.kind == "f" and not (found == np.floor(found)).all():
        odd = found[found != np.floor(found)][0]
        raise ValueError(
            f"{argument} must be classes, whole numbers or text, not {odd}: plot_predictions draws "
            "numbers"
        )
    if found.dtype.kind not in "biufOSU":
        raise TypeError(f"{argument} must be classes, whole numbers or text, not {found.dtype}")
    return found


def _text(label: Any) -> str:
    """A label as a name: whole numbers without a point, True as 1."""
    is_number = isinstance(label, (int, float, np.number, np.bool_))
    return str(int(label) if is_number and label == np.floor(label) else label)


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    okabe_ito = [BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000"]
    if count <= len(okabe_ito):
        return okabe_ito[:count]
    return [colormaps["turbo"](place) for place in np.linspace(0.0, 1.0, count)]
