"""Is what is plotted what was given? The data of the artists are read, and no image is compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import History, Value, datasets, losses, nn, optim, plots

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

pytestmark = pytest.mark.unsanitized
ROOT = Path(pygradc.__file__).resolve().parent.parent
ROWS = np.array([[0.0, 0.0], [1.0, 0.5], [0.25, 1.0], [2.0, 2.0]])


def new_axes() -> Any:
    return Figure().add_subplot()


def ys(axes: Any) -> list[list[float]]:
    return [line.get_ydata().tolist() for line in axes.lines]


def above(rows: Any) -> Any:
    return (rows[:, 1] > 0.75).astype(int)


def history(**metrics: list[float]) -> History:
    found = History([4.0, 2.0, 1.0], metrics)
    found.validation_loss = [5.0, 3.0, 2.0]
    for name, figures in metrics.items():
        found.metrics[name] = figures
    return found


# ---- all of them ---------------------------------------------------------------------------------

CALLS = {
    "plot_history": lambda ax: plots.plot_history([1.0, 0.5], [0.5, 0.75], ax=ax),
    "plot_curves": lambda ax: plots.plot_curves({"loss": [1.0, 0.5]}, {}, ax=ax),
    "plot_confusion": lambda ax: plots.plot_confusion([0, 1], [0, 0], ax=ax),
    "plot_boundary": lambda ax: plots.plot_boundary(above, ROWS, [0, 0, 1, 1], ax=ax),
    "plot_predictions": lambda ax: plots.plot_predictions([1.0, 2.0], [1.5, 2.0], ax=ax),
    "plot_weights": lambda ax: plots.plot_weights(nn.MLP(2, [3, 1], seed=0), ax=ax),
}


@pytest.mark.parametrize("name", CALLS)
def test_axes_are_taken_and_returned_and_none_is_shown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("shown"))
    axes = new_axes()
    assert CALLS[name](axes) is axes and axes.has_data()
    before = pyplot.get_fignums()
    own: Any = CALLS[name](None)
    assert isinstance(own, Axes) and len(pyplot.get_fignums()) == len(before) + 1
    pyplot.close(own.figure)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_axes_is_refused(name: str) -> None:
    several = Figure().subplots(1, 2)
    with pytest.raises(TypeError, match=rf"^{name}: ax must be .* not ndarray: write ax=axes\[0\]"):
        CALLS[name](several)
    with pytest.raises(TypeError, match=rf"^{name}: ax must be .* not Figure: .*add_subplot"):
        CALLS[name](Figure())


def test_the_module_needs_no_matplotlib_until_it_draws() -> None:
    code = (
        "import sys, pygradc; p = pygradc.plots; print('matplotlib' in sys.modules)\n"
        "sys.modules['matplotlib'] = None\n"
        "try: p.plot_weights(pygradc.nn.MLP(1, [1]))\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    wanted = 'plots need matplotlib: pip install matplotlib, or "pygradc[plot]"'
    assert done.stdout.splitlines() == ["False", wanted]


# ---- losses --------------------------------------------------------------------------------------


def test_losses_and_a_score() -> None:
    axes = plots.plot_history([3.0, 2.0, 1.5], [0.5, 0.75, 1.0], new_axes(), "test accuracy")
    loss, score = axes.figure.axes
    assert ys(loss) == [[3.0, 2.0, 1.5]] and ys(score) == [[0.5, 0.75, 1.0]]
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert loss.get_ylim()[0] == 0.0 and score.get_ylim() == (0.45, 1.0)
    assert loss.get_ylabel() == "training loss" and score.get_ylabel() == "test accuracy"
    assert not score.lines[0].get_clip_on()  # the marker at 1 is whole


def test_the_axis_of_r2_ends_at_1_and_stops_at_minus_1() -> None:
    axes = plots.plot_history([3.0, 2.0], [-50.0, 0.5], new_axes(), "R²")
    score = axes.figure.axes[1]
    assert score.get_ylim() == (-1.0, 1.0) and score.lines[0].get_clip_on()


def test_a_history_brings_its_validation_losses_and_metrics() -> None:
    axes = plots.plot_history(history(accuracy=[0.25, 0.5, 0.75]), ax=new_axes())
    loss, metric = axes.figure.axes
    assert ys(loss) == [[4.0, 2.0, 1.0], [5.0, 3.0, 2.0]] and ys(metric) == [[0.25, 0.5, 0.75]]
    assert metric.get_ylim()[1] == 1.0 and loss.get_ylabel() == "loss"
    legend = loss.get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["training loss", "validation loss", "accuracy"]
    again = history(accuracy=[0.25, 0.5, 0.75]).plot(ax=new_axes())
    assert [ys(side) for side in again.figure.axes] == [ys(loss), ys(metric)]


@pytest.mark.parametrize(
    "name, figures, end",
    [
        ("accuracy", [0.2, 0.9], True),
        ("validation acc", [0.2, 0.9], True),
        ("R^2", [0.2, 0.9], True),
        ("r2", [0.2, 0.9], True),
        ("F1", [0.2, 0.9], True),
        ("f1 score", [0.2, 0.9], True),
        ("rmse", [0.2, 0.9], False),
        ("acceleration", [0.2, 0.9], False),
        ("r20", [0.2, 0.9], False),
        ("accuracy", [20.0, 90.0], False),  # in percent
    ],
)
def test_axes_of_scores_end_at_1(name: str, figures: list[float], end: bool) -> None:
    axes = plots.plot_curves({"loss": [1.0, 0.5]}, {name: figures}, new_axes())
    top = axes.figure.axes[1].get_ylim()[1]
    assert top == 1.0 if end else top > max(figures) and top != 1.0


def test_two_metrics_of_which_one_is_no_score_are_drawn_whole() -> None:
    axes = plots.plot_curves({"loss": [1.0]}, {"accuracy": [0.5], "rmse": [7.0]}, new_axes())
    assert axes.figure.axes[1].get_ylim()[1] > 7.0


def test_gaps_and_negative_losses() -> None:
    axes = plots.plot_history([-1.0, np.nan, -3.0], [np.nan, 0.5, np.nan], new_axes())
    assert axes.get_ylim()[0] < -3.0 and axes.figure.axes[1].get_ylim()[0] == 0.45
    plots.plot_history(History(), ax=new_axes())  # nothing yet


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plots.plot_history(3.0), "losses must be numbers one after the other, not of"),  # type: ignore[arg-type]
        (lambda: plots.plot_history([[1.0], [2.0]]), r"losses must be .* shape \(2, 1\)"),  # type: ignore[list-item]
        (lambda: plots.plot_history(["a"]), "losses must be numbers: .*'a'"),  # type: ignore[list-item]
        (lambda: plots.plot_history([Value(1.0)]), "losses must be numbers: .*write v.data"),  # type: ignore[list-item]
        (lambda: plots.plot_history([1.0, 2.0], [0.5]), "scores has 1 numbers for 2 epochs"),
        (lambda: plots.plot_history([1.0], [50.0]), r"at most 1.*not 50.0: write plot_curves"),
        (lambda: plots.plot_curves({"x": ["a"]}, {}), "plot_curves: 'x' must be numbers"),  # type: ignore[list-item]
    ],
)
def test_wrong_curves_are_named(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# ---- classes -------------------------------------------------------------------------------------


def confused(axes: Any) -> tuple[list[list[int]], list[str]]:
    names = [label.get_text() for label in axes.get_yticklabels()]
    return axes.images[0].get_array().tolist(), names


@pytest.mark.parametrize(
    "true, predicted, names, shown",
    [
        ([0, 0, 1], [0, 1, 1], ["no", "yes"], ["no", "yes"]),
        (["no", "no", "yes"], [0, 1, 1], ["no", "yes"], ["no", "yes"]),
        ([0.0, 0.0, 1.0], [False, True, True], ["3", "7"], ["3", "7"]),
        ([-1, -1, 1], [-1.0, 1.0, 1.0], None, ["-1", "1"]),
        ([5, 5, 10], [5, 10, 10], None, ["5", "10"]),
        (["a", "a", "b"], ["a", "b", "b"], None, ["a", "b"]),
        ([False, False, True], [0, 1, 1], None, ["0", "1"]),
    ],
)
def test_the_confusion_matrix(true: Any, predicted: Any, names: Any, shown: list[str]) -> None:
    axes = plots.plot_confusion(true, predicted, names, new_axes())
    assert confused(axes) == ([[1, 1], [0, 1]], shown)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1", (1, 0): "1", (1, 1): "1"}  # (column, row)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_a_class_that_was_only_predicted_has_a_row() -> None:
    counts, names = confused(plots.plot_confusion([1, 1], [2, 1], ax=new_axes()))
    assert counts == [[1, 1], [0, 0]] and names == ["1", "2"]


def test_many_classes_have_no_numbers() -> None:
    axes = plots.plot_confusion(range(30), range(30), ax=new_axes())
    assert axes.images[0].get_array().sum() == 30 and not axes.texts  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0, 1], [0]), "expected a label for each row, not 2 of true, 1 of predicted"),
        (([], []), r"plot_confusion: true must be a class for each row, not of the shape \(0,\)"),
        (([[0]], [0]), r"true must be a class for each row, not of the shape \(1, 1\)"),
        (([0, 1], [0, 2], ["a", "b"]), r"predicted: row 1 has 2, none of \['a', 'b'\]"),
        (([0, -1], [0, 1], ["a", "b"]), "true: row 1 has -1, none of"),
        ((["a", "c"], [0, 1], ["a", "b"]), "true: row 1 has c, none of"),
        (([0.5, 1.0], [0, 1]), "true must be classes, whole .* not 0.5: plot_predictions draws"),
        (([np.nan, 1.0], [0, 1]), "true must be classes, whole numbers or text, not nan"),
        ((["a", "b"], [0, 1]), "true and predicted must be both text, or both numbers"),
        (([1j, 0], [0, 1]), "true must be classes, whole numbers or text, not complex128"),
    ],
)
def test_wrong_labels_are_named(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        plots.plot_confusion(*arguments)


def region(axes: Any, point: tuple[float, float]) -> int | None:
    """The number of the class whose color the plane has there."""
    (contours,) = [c for c in axes.collections if type(c).__name__ == "QuadContourSet"]
    for number, path in enumerate(contours.get_paths()):
        if path.contains_point(point):
            return number
    return None


def points(axes: Any) -> list[list[list[float]]]:
    found = [c for c in axes.collections if type(c).__name__ == "PathCollection"]
    return [c.get_offsets().tolist() for c in found]


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


SCORES = {
    "classes": above,
    "bools": lambda rows: rows[:, 1] > 0.75,
    "column": lambda rows: above(rows)[:, None],
    "scores": lambda rows: np.column_stack([0.75 - rows[:, 1], rows[:, 1] - 0.75]),
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("names", [None, ["below", "above"]])
def test_the_boundary_and_the_rows(kind: str, names: list[str] | None) -> None:
    axes = plots.plot_boundary(SCORES[kind], ROWS, [0, 0, 1, 1], names, new_axes())
    assert [region(axes, (1.0, y)) for y in (0.0, 0.7, 0.8, 2.0)] == [0, 0, 1, 1]
    assert points(axes) == [ROWS[:2].tolist(), ROWS[2:].tolist()]
    assert legend(axes) == (names or ["0", "1"])
    low, high = axes.get_ylim()
    assert low <= 0.0 < 2.0 <= high


def test_labels_of_minus_1_and_1_take_the_sign_of_an_output() -> None:
    axes = plots.plot_boundary(lambda rows: rows[:, 1] - 0.75, ROWS, [-1, -1, 1, 1], ax=new_axes())
    assert [region(axes, (1.0, y)) for y in (0.0, 0.7, 0.8)] == [0, 0, 1]
    assert legend(axes) == ["-1", "1"]


def test_names_as_predictions() -> None:
    def predict(rows: Any) -> Any:
        return np.where(rows[:, 1] > 0.75, "up", "down")

    axes = plots.plot_boundary(predict, ROWS, [0, 0, 1, 1], ["down", "up"], new_axes())
    assert region(axes, (1.0, 0.0)) == 0 and region(axes, (1.0, 1.0)) == 1
    axes = plots.plot_boundary(predict, ROWS, ["down", "down", "up", "up"], ax=new_axes())
    assert region(axes, (1.0, 0.0)) == 0 and legend(axes) == ["down", "up"]


def test_the_boundary_of_a_trained_model_separates_its_rows() -> None:
    moons = datasets.load("moons")
    model = nn.MLP(2, [8, 2], output_activation="linear", seed=0)
    loss = pygradc.compile(lambda x, y: losses.cross_entropy(model(x), y))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    pygradc.fit(loss, moons.features, moons.labels, optimizer, epochs=20, batch_size=20, seed=0)
    axes = plots.plot_boundary(model, moons.features, moons.labels, moons.class_names, new_axes())
    right = [
        region(axes, tuple(row)) == label
        for row, label in zip(moons.features[:60], moons.labels[:60])
    ]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((above, ROWS[:, :1], [0, 0, 1, 1]), r"features must be \(rows, 2\), not \(4, 1\)$"),
        ((above, np.zeros((4, 3)), [0, 0, 1, 1]), r"\(4, 3\): choose two, features\[:, \[0, 1\]\]"),
        ((above, ROWS[:, 0], [0, 0, 1, 1]), r"features must be numbers in rows.*\(4,\)"),
        ((above, ROWS, [0, 1]), "2 labels for 4 rows of features"),
        ((3, ROWS, [0, 0, 1, 1]), "predict must be a function of rows, or a model, not int"),
        ((lambda r: r, ROWS, [0, 1, 2, 2]), r"a class, or 3 scores, .* 40000 rows.*\(40000, 2\)"),
        (
            (lambda r: r[:, 0], ROWS, [0, 0, 1, 1]),
            r"none of \['0', '1'\]; .*model.predict\(rows\) >",
        ),
        ((lambda r: r[:, 0], ROWS, [0, 0, 1, 1], ["a", "b"]), "predict: row 0 has -0.2.*, none of"),
        ((lambda r: above(r) + 1, ROWS, [0, 0, 1, 1]), "predict: row .* has 2, none of"),
    ],
)
def test_wrong_arguments_of_a_boundary_are_named(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        plots.plot_boundary(*arguments)


# ---- weights -------------------------------------------------------------------------------------


def test_the_histograms_count_every_weight() -> None:
    model = nn.MLP(3, [8, 2], seed=0)
    axes = plots.plot_weights(model, ax=new_axes())
    state = model.state_dict()
    assert legend(axes) == [*state]
    for steps, array in zip(axes.patches, state.values()):
        counts, edges, _ = steps.get_data()  # type: ignore[attr-defined]
        assert counts.sum() == array.size
        assert counts.tolist() == np.histogram(array, edges)[0].tolist()
    assert len({to_rgba(steps.get_edgecolor()) for steps in axes.patches}) == len(state)


def test_one_array_as_an_image_symmetric_about_0() -> None:
    model = nn.MLP(3, [8, 2], seed=0)
    axes = plots.plot_weights(model, "layers.0.weight", new_axes())
    (image,) = axes.images
    weights = model.state_dict()["layers.0.weight"]
    assert np.array_equal(np.asarray(image.get_array()), weights)
    low, high = image.get_clim()
    assert -low == high == np.abs(weights).max() and axes.get_title() == "layers.0.weight"
    bias = plots.plot_weights(model.state_dict(), "layers.0.bias", new_axes()).images[0]
    assert bias.get_array().shape == (1, 8)  # type: ignore[union-attr]
    zeros = plots.plot_weights({"w": np.zeros((2, 2))}, "w", new_axes())
    assert zeros.images[0].get_clim() == (-1.0, 1.0)


def test_arrays_that_are_no_numbers_are_left_out() -> None:
    state = {"names": np.array(["a"]), "w": np.arange(4), "none": np.empty(0)}
    assert legend(plots.plot_weights(state, ax=new_axes())) == ["w"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((nn.MLP(1, [1]), "w"), r"name must be one of \['layers.0.weight', .*\], not 'w'"),
        ((3.0,), "model must be a module, or a mapping of arrays, not float"),
        ((nn.MLP,), "not the class MLP"),
        (({},), "dict has no arrays of numbers"),
        (({"w": np.array([1.0, np.nan])},), "'w' has weights that are nan or infinite"),
        (({"w": np.zeros((2, 2, 2))}, "w"), r"'w' has the shape \(2, 2, 2\), no image"),
    ],
)
def test_wrong_weights_are_named(arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        plots.plot_weights(*arguments)


# ---- numbers, and the command --------------------------------------------------------------------


def test_predictions() -> None:
    axes = plots.plot_predictions([1.0, 2.0, 4.0], [1.5, 2.0, 5.0], new_axes())
    assert ys(axes) == [[1.0, 5.0]]
    assert points(axes) == [[[1.0, 1.5], [2.0, 2.0], [4.0, 5.0]]]
    with pytest.raises(ValueError, match="plot_predictions: 1 predicted for 2 true"):
        plots.plot_predictions([1.0, 2.0], [1.0])
    with pytest.raises(TypeError, match="predicted must be numbers"):
        plots.plot_predictions([1.0], ["a"])


def test_the_commands_picture_is_drawn_by_these_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pygradc.command import picture
    from pygradc.command.training import train

    drawn: list[Any] = []
    for name in ("plot_history", "plot_confusion", "plot_boundary"):
        own = getattr(picture, name)
        assert own is getattr(plots, name)

        def plot(*arguments: Any, own: Any = own) -> Any:
            drawn.append(own(*arguments))
            return drawn[-1]

        monkeypatch.setattr(picture, name, plot)
    result = train(datasets.load("moons"), hidden=(4,), epochs=3)
    picture.save_training(result, tmp_path / "training.png")
    history, confusion, boundary = drawn
    assert ys(history) == [[epoch.loss for epoch in result.history]]
    score = next(a for a in history.figure.axes if a.get_ylabel() == "test accuracy")
    assert ys(score) == [[epoch.test_score for epoch in result.history]]
    assert score.get_ylim()[1] == 1.0
    assert confusion.images[0].get_array().sum() == len(result.predictions)
    assert sum(map(len, points(boundary))) == len(result.predictions)
