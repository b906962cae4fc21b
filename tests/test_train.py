"""Does `python -m pygradc train` learn, report, write its files, and fail with one clear line?"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, plots
from pygradc.__main__ import main
from pygradc.command import training
from pygradc.command.training import Classes, Regression, TrainingError, train
from pygradc.datasets import Dataset, load

ROOT = Path(pygradc.__file__).resolve().parent.parent
HIDE = "import sys; sys.modules[{!r}] = None; from pygradc.__main__ import main; sys.exit(main())"


def run(*arguments, cwd, code=None):
    """Run the command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    entry = ["-c", code] if code else ["-m", "pygradc"]
    command = [sys.executable, *entry, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def line_through(rows: int = 120) -> Dataset:
    """Regression whose answer is known: y = 300 + 20 a - 10 b; the third column is constant."""
    features = np.random.default_rng(0).normal(size=(rows, 3)) * [1.0, 2.0, 0.0] + [5.0, 0.0, 7.0]
    labels = 300.0 + 20.0 * features[:, 0] - 10.0 * features[:, 1]
    return Dataset("line", features, labels, None, ("a", "b", "c"))


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """The command with its default settings, as a newcomer types it."""
    where = tmp_path_factory.mktemp("digits")
    started = time.perf_counter()
    done = run("train", cwd=where)
    return where, done, time.perf_counter() - started


# ---- does it learn ------------------------------------------------------------------------------


@pytest.mark.once
def test_digits_by_default_reach_90_percent_in_a_minute(digits_run):
    _, done, seconds = digits_run
    assert done.returncode == 0, done.stderr
    found = re.search(r"accuracy .* ([\d.]+)% on 359 test rows", done.stdout)
    assert found and float(found[1]) >= 90.0
    assert seconds < 60.0


def test_the_command_names_source_loss_and_files(digits_run):
    where, done, _ = digits_run
    assert "digits: 1797 rows, 64 features" in done.stdout
    assert "10.24432/C50P49" in done.stdout
    assert re.search(r"loss +\d\.\d{4} in the last epoch", done.stdout)
    weights = re.search(r"weights +(\S+)", done.stdout)[1]
    assert (where / weights).samefile(where / "runs" / "digits" / "weights.npz")


def test_the_weights_file_is_enough_to_predict(digits_run):
    where, done, _ = digits_run
    with np.load(where / "runs" / "digits" / "weights.npz", allow_pickle=False) as file:
        saved = dict(file)
    about = (
        "model",
        "sizes",
        "mean",
        "scale",
        "target_mean",
        "target_scale",
        "class_names",
        "feature_names",
        "target_name",
    )
    rest = {name: saved.pop(name) for name in about}
    digits = load("digits")
    outputs = forward(saved, (digits.features - rest["mean"]) / rest["scale"])
    right = np.mean(rest["class_names"][outputs.argmax(axis=1)].astype(int) == digits.labels)
    shown = re.search(
        r"accuracy +([\d.]+)% on (\d+) training rows, ([\d.]+)% on (\d+)", done.stdout
    )
    train_score, train_rows, test_score, test_rows = map(float, shown.groups())
    assert right * 100 == pytest.approx(
        (train_score * train_rows + test_score * test_rows) / (train_rows + test_rows), abs=0.06
    )
    assert rest["sizes"].tolist() == [64, 32, 10]
    assert rest["feature_names"][9] == "pixel_1_1" and rest["target_name"] == "digit"


@pytest.mark.parametrize(("name", "least"), [("iris", 0.85), ("moons", 0.9)])
def test_the_other_sets_are_learned_with_the_default_settings(name, least):
    for seed in (0, 1):
        result = train(load(name, seed=seed), seed=seed)
        assert result.test_score >= least
        assert result.history[-1].loss < result.history[0].loss


def test_a_line_is_learned_by_regression_without_hidden_layers():
    data = line_through()
    result = train(data, hidden=(), epochs=60, lr=0.05)
    assert result.task.metric == "R^2" and result.sizes == (3, 1)
    assert result.test_score > 0.9999
    np.testing.assert_allclose(result.predictions, result.split.test_labels, atol=1.0)
    np.testing.assert_allclose(result.predict(data.features), data.labels, atol=1.0)


# ---- is it what the engine computes, and the same each time -------------------------------------


def forward(state: dict[str, Any], rows: Any) -> Any:
    """The MLP of a `state_dict()` in numpy: tanh between the layers, none after the last."""
    for depth in range(len(state) // 2):
        rows = np.tanh(rows) if depth else rows
        rows = rows @ state[f"layers.{depth}.weight"].T + state[f"layers.{depth}.bias"]
    return rows


@pytest.mark.parametrize("hidden", [(), (5,), (4, 4), (6, 3, 2)])
def test_the_forward_pass_in_numpy_agrees_with_the_model(hidden):
    model = training.first_model((3, *hidden, 3), seed=4)
    generator = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data = float(generator.normal())
    rows = generator.normal(size=(7, 3))
    by_model = [[value.data for value in model(row)] for row in rows.tolist()]
    np.testing.assert_allclose(forward(model.state_dict(), rows), by_model, rtol=1e-12)
    assert training.outputs_of(model)(rows).tolist() == by_model


def test_the_same_seed_gives_the_same_numbers():
    def run_once(seed):
        result = train(load("iris"), hidden=(4,), epochs=3, seed=seed)
        return [(r.loss, r.test_score) for r in result.history], result.arrays()

    (history, arrays), (again, same), (other, _) = run_once(1), run_once(1), run_once(2)
    assert history == again and history != other
    assert arrays.keys() == same.keys()
    assert all(np.array_equal(arrays[name], same[name]) for name in arrays)


def test_the_files_are_the_same_bytes_each_time(tmp_path):
    for out in ("a", "b"):
        arguments = ["train", "--data", "moons", "--epochs", "2", "--hidden", "4,3", "--seed", "7"]
        assert main([*arguments, "--out", str(tmp_path / out)]) == 0
    for name in ("weights.npz", "training.png"):
        if (tmp_path / "a" / name).exists():
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_minibatch_has_the_gradient_of_its_mean_loss():
    model, task = training.first_model((2, 4, 3), seed=0), Classes(3)
    xs, ys = [[0.5, -1.0], [2.0, 0.25], [-1.0, 1.0]], [0, 2, 1]
    total = training.recorded_loss(model, task).mean(xs, task.targets(np.array(ys)))
    total.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    mean = losses.cross_entropy([model(x) for x in xs], ys)
    mean.backward()
    assert total.data == pytest.approx(mean.data, rel=1e-12)
    expected = [parameter.grad for parameter in model.parameters()]
    np.testing.assert_allclose(gradients, expected, rtol=1e-12, atol=1e-15)


def test_training_leaves_the_random_module_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    train(load("iris"), hidden=(2,), epochs=1)
    assert random.random() == expected


def test_progress_is_told_of_every_epoch():
    class Recorder:
        def __init__(self):
            self.epochs = []

        def epoch(self, record):
            self.epochs.append(record)

    recorder = Recorder()
    result = train(load("iris"), hidden=(2,), epochs=2, batch_size=50, progress=recorder)
    assert recorder.epochs == result.history and [r.number for r in result.history] == [1, 2]


# ---- what it writes -----------------------------------------------------------------------------


def pictures_are_possible() -> None:
    pytest.importorskip("matplotlib")


def test_pictures_for_each_kind_of_data(tmp_path):
    pictures_are_possible()
    rows = "".join(f"{x},{x * x / 7},{x + 0.5}\n" for x in range(30))
    (tmp_path / "r.csv").write_text("a,b,price\n" + rows)
    widths = {}
    for data in ("iris", "moons", str(tmp_path / "r.csv")):
        out = tmp_path / Path(data).stem
        assert main(["train", "--data", data, "--epochs", "2", "--out", str(out)]) == 0
        assert sorted(path.name for path in out.iterdir()) == ["training.png", "weights.npz"]
        raw = (out / "training.png").read_bytes()
        assert raw.startswith(b"\x89PNG")
        widths[out.name] = int.from_bytes(raw[16:20], "big")
    assert widths["iris"] == widths["r"] < widths["moons"]  # two panels, and three


def test_the_confusion_matrix_counts_truth_in_rows():
    from pygradc.plots import confusion

    assert confusion([0, 0, 1, 2], [0, 1, 1, 0], 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_the_tangent_has_the_slope_that_backward_finds():
    pictures_are_possible()
    from matplotlib.figure import Figure

    from pygradc.plots import plot_tangent

    axes = Figure().add_subplot()
    assert plot_tangent(lambda x: 3 * x**2 - 4 * x + 5, 2.0, ax=axes) == 8.0
    curve, tangent, _ = axes.get_lines()
    assert curve.get_xdata()[[0, -1]].tolist() == [-5.0, 4.75]
    at = curve.get_xdata().tolist().index(2.0)
    assert curve.get_ydata()[at] == tangent.get_ydata()[at] == 9.0
    assert tangent.get_linestyle() == "--"
    axes = Figure().add_subplot()
    assert plot_tangent(lambda x: x.log(), 2.0, ax=axes) == 0.5
    assert np.isnan(axes.get_lines()[0].get_ydata()[0])  # no logarithm of -5: a gap


def test_without_matplotlib_it_says_what_to_install_and_writes_the_weights(tmp_path):
    arguments = ("train", "--data", "iris", "--epochs", 1, "--out", "o")
    done = run(*arguments, cwd=tmp_path, code=HIDE.format("matplotlib"))
    assert done.returncode == 0, done.stderr
    assert "matplotlib is not installed (pip install matplotlib)" in done.stdout
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["weights.npz"]


def test_without_tqdm_it_prints_plain_lines(tmp_path):
    arguments = ("train", "--data", "iris", "--hidden", "2", "--epochs", 45)
    done = run(*arguments, cwd=tmp_path, code=HIDE.format("tqdm"))
    assert done.returncode == 0 and done.stderr == ""
    lines = re.findall(r"^epoch +(\d+)/45  loss \d\.\d{4}  test [01]\.\d{3}$", done.stdout, re.M)
    assert lines[0] == "1" and lines[-1] == "45" and 10 <= len(lines) <= 20


# ---- how it fails -------------------------------------------------------------------------------


def test_a_bad_file_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "bad.csv").write_text("a,b,c\n1,2,x\n3,oops,y\n")
    done = run("train", "--data", "bad.csv", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    message = "bad.csv: line 3, column 2 ('b'): 'oops' is not a number"
    assert done.stderr == f"pygradc train: error: {message}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_missing_file_and_a_missing_target(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "nowhere.csv"]) == 1
    assert capsys.readouterr().err.startswith("pygradc train: error: nowhere.csv: no such file")
    assert main(["train", "--data", "iris", "--target", "colour"]) == 1
    assert "no column named 'colour', only sepal_length" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--epochs", text] for text in ("0", "-1", "1.5", "x")),
        *(["--batch-size", text] for text in ("0", "many")),
        *(["--lr", text] for text in ("0", "-0.1", "nan", "inf", "fast")),
        *(["--hidden", text] for text in ("", "0", "16,", "16,-2", "16 16", "wide")),
        *(["--seed", text] for text in ("-1", "x")),
        *(["--separator", text] for text in ("", "::", "a", '"')),
    ],
    ids=" ".join,
)
def test_a_bad_argument_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    told = f"argument {arguments[0]}: {arguments[1]!r} is not "
    assert error.startswith(f"pygradc train: error: {told}") and error.count("\n") == 1


def test_no_hidden_layer_is_called_none(tmp_path, capsys):
    arguments = ["--data", "iris", "--hidden", "none", "--epochs", "1", "--out", str(tmp_path)]
    assert main(["train", *arguments]) == 0
    assert "MLP 4-3: 15 parameters" in capsys.readouterr().out


def test_an_output_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert main(["train", "--data", "iris", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_loss_that_overflows_is_a_message(tmp_path, capsys):
    rows = "".join(f"{x},{x + 0.5}\n" for x in range(30))
    (tmp_path / "r.csv").write_text("a,price\n" + rows)
    arguments = ["--data", str(tmp_path / "r.csv"), "--lr", "1e300", "--hidden", "none"]
    assert main(["train", *arguments, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "finite" in error and "smaller learning rate" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_the_library_names_what_is_not_positive():
    iris = load("iris")
    for wrong in ({"epochs": 0}, {"lr": -1.0}, {"lr": float("nan")}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be positive"):
            train(iris, **wrong)
    with pytest.raises(ValueError, match=r"hidden\[1\] must be positive, not 0"):
        train(iris, hidden=(3, 0))
    with pytest.raises(TrainingError, match="epoch 1"):
        train(line_through(), hidden=(), lr=1e300)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_stops_with_130_and_leaves_nothing_half_written(tmp_path):
    command = [sys.executable, "-c", HIDE.format("tqdm"), "train", "--epochs", "100000"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe) as process:
        for line in itertools.takewhile(bool, iter(process.stdout.readline, b"")):
            if line.startswith(b"epoch"):
                break
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in error and error.count(b"\n") == 1
    assert list((tmp_path / "runs" / "digits").iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    arguments = ["train", "--data", "iris", "--epochs", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    assert main([*arguments, "--seed", "1"]) == 130
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


# ---- the two tasks ------------------------------------------------------------------------------


def test_classes_score_by_the_largest_output():
    task = Classes(3)
    outputs = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    assert task.decode(outputs).tolist() == [1, 0]
    assert task.score(np.array([1, 0]), np.array([1, 2])) == 0.5
    even = task.loss([Value(0.0)] * 3, task.targets(np.array([2]))[0])
    assert even.data == pytest.approx(np.log(3))
    assert even.data == losses.cross_entropy([Value(0.0)] * 3, 2).data


def test_regression_works_in_standard_units_and_reports_in_the_targets():
    task = Regression(np.array([10.0, 30.0]))
    assert task.targets(np.array([10.0, 20.0])).tolist() == [-1.0, 0.0]
    assert task.decode(np.array([[0.0], [1.0]])).tolist() == [20.0, 30.0]
    assert task.loss(Value(3.0), 1.0).data == 4.0
    assert task.score(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 1.0
    assert task.score(np.array([1.5, 1.5]), np.array([1.0, 2.0])) == 0.0
    assert np.isnan(task.score(np.array([1.0]), np.array([1.0])))


@pytest.mark.parametrize("call", ["plot_history([1.0])", "plot_tangent(abs, 1.0)"])
def test_plots_without_matplotlib_say_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="plots need matplotlib: pip install matplotlib"):
        eval(call, {**vars(plots), "abs": lambda x: x * x})
