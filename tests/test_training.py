"""What fit measures and calls after each epoch: validation, metrics, callbacks, early stopping.

Is each figure that of the weights it is said to be of, bit for bit, also in a run that resumed?
"""

from __future__ import annotations

import copy
import doctest
import json
import math
import pickle
import random
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import EarlyStopping, Epoch, History, Value, load_state, losses, nn, optim, save_state
from pygradc.recorded import callbacks as callbacks_module
from pygradc.recorded import fitting
from pygradc.recorded import history as history_module
from pygradc.recorded.measures import mean_of

ROWS, MORE = 23, 11
XS = np.random.default_rng(1).normal(size=(ROWS, 2))
YS = np.random.default_rng(2).normal(size=ROWS)
VX = np.random.default_rng(3).normal(size=(MORE, 2))
VY = np.random.default_rng(4).normal(size=MORE)
HELD = (VX, VY)


class Signs(optim.Optimizer):
    """An optimizer of the user's, which steps in Python."""

    def __init__(self, parameters: Any, lr: float = 0.05) -> None:
        super().__init__(parameters)
        self.lr = lr

    def step(self) -> None:
        for p in self.parameters:
            p.data -= self.lr * math.copysign(1.0, p.grad)
        self.steps += 1


KINDS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.3, momentum=0.5),
    "Adam": lambda ps: optim.Adam(ps, lr=0.1),
    "AdamW": lambda ps: optim.AdamW(ps, lr=0.1),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.05),
    "in Python": Signs,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def network(**settings: Any) -> tuple[list[Value], Any]:
    """Parameters, and one row's loss; each time the same, with Values of its own."""
    random.seed(3)
    model = nn.MLP(2, [4, 1], "tanh", "linear")
    return model.parameters(), pygradc.compile(lambda x, y: losses.mse(model(x), y), **settings)


def numbers(parameters: list[Value]) -> list[float]:
    return [p.data for p in parameters]


def run(kind: str = "Adam", **how: Any) -> tuple[History, list[float], Any, Any]:
    """The history, the weights, the optimizer, the loss."""
    parameters, loss = network()
    optimizer = KINDS[kind](parameters)
    how = {"epochs": 5, "batch_size": 6, "seed": 7, **how}
    history = pygradc.fit(loss, XS, YS, optimizer, **how)
    return history, numbers(parameters), optimizer, loss


# ---- Validation ----------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_validation_loss_is_mean_with_the_weights_after_the_epoch(
    kind: str, batch_size: int | None
) -> None:
    seen: list[float] = []
    parameters, loss = network()
    history = pygradc.fit(
        loss, XS, YS, KINDS[kind](parameters), epochs=4, batch_size=batch_size, seed=1,
        validation_data=HELD, callback=lambda *_: seen.append(loss.mean(*HELD).data),
    )  # fmt: skip
    assert history.validation_loss == seen and len(set(seen)) == 4
    assert loss.mean(*HELD).data == seen[-1]


@pytest.mark.parametrize("rows", [1, 2, 1024, 1025, 5000])
@pytest.mark.parametrize("settings", [{}, {"math": "fast"}, {"errors": "ignore"}])
def test_no_bit_of_it_depends_on_who_computes_it(rows: int, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(rows)
    held = rng.normal(size=(rows, 2)), rng.normal(size=rows)
    found = set()
    with ThreadPoolExecutor(2) as executor:
        for workers in (None, 1, 2, 3):
            parameters, loss = network(**settings)
            history = pygradc.fit(
                loss, XS, YS, optim.Adam(parameters), epochs=2, batch_size=5, seed=1,
                validation_data=held, metrics={"same": loss}, workers=workers,
            )  # fmt: skip
            last = history.validation_loss[-1]
            assert history.metrics["same"] == history.validation_loss
            assert loss.mean(*held).data == last == loss.mean(*held, workers=2).data
            assert loss.mean(*held, executor=executor).data == last
            found.add(tuple(history.validation_loss))
    assert len(found) == 1


SPECIAL = [0.1, -0.0, 1e300, 1e308, -1e308, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("rows", [1, 3, 1023, 1024, 1025, 2049, 3 * 1024, 7000])
@pytest.mark.parametrize("special", [None, *SPECIAL], ids=str)
def test_the_mean_of_outputs_is_that_of_a_replay(rows: int, special: float | None) -> None:
    x = np.random.default_rng(rows).normal(size=rows) * 10.0 ** np.arange(rows).clip(0, 12)
    if special is not None:
        x[rows // 2 :] = special
    same = pygradc.compile(lambda x: x * 1.0, errors="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean = mean_of(same.map(x))
    assert mean.hex() == same.mean(x).data.hex()


def test_an_infinite_derivative_fails_no_row_of_a_metric() -> None:
    w = Value(1.0)
    loss, root = pygradc.compile(lambda x: w * x), pygradc.compile(lambda x: (w * x).sqrt())
    history = pygradc.fit(loss, [0.0, 4.0], optim.SGD([w], lr=0.0), metrics={"root": root})
    assert history.metrics["root"] == [1.0]


@each_kind
def test_measuring_changes_nothing_that_is_learned(kind: str) -> None:
    plain, weights, *_ = run(kind)
    measured, same, *_ = run(
        kind, validation_data=HELD, metrics={"one": lambda: 1.0}, callbacks=[lambda at: None]
    )
    assert measured == plain and same == weights


def test_validation_data_are_converted_as_data_are() -> None:
    lists = [VX.tolist(), VY.astype(np.float32).tolist()]
    assert run(validation_data=lists)[0].validation_loss == (
        run(validation_data=(VX, VY.astype(np.float32)))[0].validation_loss
    )


def test_strings_none_and_bools_may_differ_for_validation() -> None:
    w = Value(1.0)
    loss = pygradc.compile(lambda x, noisy: (w * x - 1.0) ** 2 + (100.0 if noisy else 0.0))
    history = pygradc.fit(
        loss, [1.0, 2.0], True, optim.SGD([w], lr=0.0), validation_data=([1.0, 2.0], False)
    )
    assert history == [100.5] and history.validation_loss == [0.5]


def test_a_loaded_program_and_a_function_without_arrays(tmp_path: Path) -> None:
    _, loss = network()
    loss.mean(XS, YS)
    loss.programs[0].save(tmp_path / "program")
    program = pygradc.load(tmp_path / "program")
    history = pygradc.fit(
        program, XS, YS, optim.Adam(program.parameters()), epochs=2, validation_data=HELD
    )
    assert history.validation_loss[-1] == program.mean(*HELD).data
    w = Value(3.0)
    bowl = pygradc.compile(lambda: w * w)
    history = pygradc.fit(bowl, optim.SGD([w], lr=0.25), epochs=2, validation_data=())
    assert history == [9.0, 2.25] and history.validation_loss == [2.25, 0.5625]


def nan_at(array: Any, *place: int) -> Any:
    array = array.copy()
    array[place] = np.nan
    return array


WRONG_DATA: dict[str, tuple[Any, type[Exception], str]] = {
    "one array of two": ((VX,), ValueError, r"has 1 argument, but the training data have 2: "),
    "three": ((VX, VY, VY), ValueError, r"has 3 arguments, but the training data have 2"),
    "none": ((), ValueError, r"has 0 arguments"),
    "an array": (VX, TypeError, r"a tuple of the function's arguments, .*\(X, Y\), not ndarray"),
    "another width": (
        (np.ones((5, 3)), np.ones(5)),
        ValueError,
        r"a row of argument 0 is numbers of shape \(3,\), but in the training data .*\(2,\)",
    ),
    "a column too many": ((VX, np.ones((MORE, 1))), ValueError, r"a row of argument 1 is numbers"),
    "empty": ((VX[:0], VY[:0]), ValueError, r"validation_data has no rows"),
    "unequal": ((VX, VY[1:]), ValueError, r"validation_data: argument 1 has 10 rows, .* have 11"),
    "words": ((VX, ["a"] * MORE), TypeError, r"validation_data: argument 1: expected real numbers"),
    "nan": (
        (nan_at(VX, 4, 1), VY),
        ValueError,
        r"nan in validation_data: argument 0, row 4, column 1",
    ),
    "nan in the second": ((VX, nan_at(VY, 2)), ValueError, r"argument 1, row 2"),
    "a Value": ((VX, Value(1.0)), TypeError, r"a Value among the arrays"),
}


@pytest.mark.parametrize("what", WRONG_DATA)
def test_wrong_validation_data_are_named_before_training(what: str, tmp_path: Path) -> None:
    data, kind, message = WRONG_DATA[what]
    parameters, loss = network()
    before = numbers(parameters)
    optimizer = optim.Adam(parameters)
    with pytest.raises(kind, match=r"^fit: .*" + message):
        pygradc.fit(loss, XS, YS, optimizer, validation_data=data, checkpoint=tmp_path / "run.npz")
    assert numbers(parameters) == before and optimizer.steps == 0
    assert not list(tmp_path.iterdir())


def test_ignored_errors_take_nan_in_validation_data() -> None:
    parameters, loss = network(errors="ignore")
    history = pygradc.fit(
        loss, XS, YS, optim.Adam(parameters), validation_data=(nan_at(VX, 1, 1), VY)
    )
    assert math.isnan(history.validation_loss[0])


def test_a_validation_row_that_fails_names_epoch_and_row() -> None:
    w = Value(0.5)
    loss = pygradc.compile(lambda x: (w + x).log())
    with pytest.raises(
        FloatingPointError, match=r"^fit: after epoch 2, validation_data: row 1: log\(-0\.\d+\)"
    ) as caught:
        pygradc.fit(loss, [1.0], optim.SGD([w], lr=0.5), epochs=9, validation_data=([1.0, 0.1],))
    assert (caught.value.epoch, caught.value.row) == (2, 1)  # type: ignore[attr-defined]
    assert w.data < -0.1  # the epoch's step was taken


# ---- Metrics -------------------------------------------------------------------------------------


def test_a_compiled_metric_is_averaged_over_the_validation_rows_else_the_training_rows() -> None:
    for how, rows in (({"validation_data": HELD}, HELD), ({}, (XS, YS))):
        parameters, loss = network()
        far = pygradc.compile(lambda x, y, loss=loss: pygradc.where(loss(x, y) > 0.5, 1.0, 0.0))
        seen: list[float] = []
        history = pygradc.fit(
            loss, XS, YS, optim.Adam(parameters, lr=0.1), epochs=6, metrics={"far": far},
            callback=lambda *_, far=far, rows=rows, seen=seen: seen.append(far.mean(*rows).data),
            **how,
        )  # fmt: skip
        assert history.metrics == {"far": seen} and len(set(seen)) > 1
        assert bool(history.validation_loss) == bool(how)


def test_a_plain_metric_is_called_with_the_weights_after_the_epoch() -> None:
    parameters, loss = network()
    answers = iter([np.float32(0.5), True])
    seen: list[Any] = []
    history = pygradc.fit(
        loss, XS, YS, optim.Adam(parameters), epochs=2,
        metrics={
            "first": lambda: parameters[0].data,
            "a Value": lambda: loss.mean(*HELD),
            "others": lambda: next(answers),
        },
        validation_data=HELD,
        callback=lambda *_: seen.append(parameters[0].data),
    )  # fmt: skip
    assert history.metrics["first"] == seen
    assert history.metrics["a Value"] == history.validation_loss
    assert history.metrics["others"] == [0.5, 1.0]
    assert list(history.metrics) == ["first", "a Value", "others"]
    assert {type(x) for figures in history.metrics.values() for x in figures} == {float}


def test_a_metric_gets_those_keyword_arguments_that_it_takes() -> None:
    w = Value(2.0)
    loss = pygradc.compile(lambda x, scale: (w * x) ** 2 * scale)
    plain, scaled = pygradc.compile(lambda x: w * x), pygradc.compile(lambda x, scale: x * scale)
    history = pygradc.fit(
        loss, [1.0], optim.SGD([w], lr=0.0), scale=3.0, metrics={"p": plain, "s": scaled}
    )
    assert history == [12.0] and history.metrics == {"p": [2.0], "s": [3.0]}


two = pygradc.compile(lambda x, y: [y, y])
of_one = pygradc.compile(lambda x: x[0])
WRONG_METRICS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([abs], TypeError, r"metrics must be a dict of names and functions"),
    "a name": ({3: abs}, TypeError, r"a metric's name must be a string, not 3"),
    "loss": ({"loss": two}, ValueError, r"can't be called 'loss'"),
    "the other": ({"validation_loss": two}, ValueError, r"can't be called 'validation_loss'"),
    "a number": ({"a": 0.5}, TypeError, r"metric 'a' must be a function, not float"),
    "not compiled": (
        {"a": lambda x, y: y},
        TypeError,
        r"metric 'a' takes arguments, \(x, y\), .*: compile it",
    ),
    "two outputs": ({"a": two}, ValueError, r"metric 'a' must return one Value, not 2"),
    "one argument": ({"a": of_one}, TypeError, r"can't take 2 arrays"),
}


@pytest.mark.parametrize("what", WRONG_METRICS)
def test_wrong_metrics_are_named_before_training(what: str) -> None:
    metrics, kind, message = WRONG_METRICS[what]
    parameters, loss = network()
    before = numbers(parameters)
    with pytest.raises(kind, match=r"^fit: .*" + message):
        pygradc.fit(loss, XS, YS, optim.Adam(parameters), metrics=metrics)
    assert numbers(parameters) == before


@pytest.mark.parametrize("answer", [None, "0.5", [0.5], Exception])
def test_a_metric_that_gives_no_number_is_named(answer: Any) -> None:
    parameters, loss = network()
    with pytest.raises(TypeError, match=r"after epoch 1, metric 'a' must return a number, not "):
        pygradc.fit(loss, XS, YS, optim.Adam(parameters), metrics={"a": lambda: answer})


def test_a_row_of_a_metric_that_fails_is_named() -> None:
    w = Value(1.0)
    loss, root = pygradc.compile(lambda x: w * x), pygradc.compile(lambda x: (w - x).sqrt())
    with pytest.raises(FloatingPointError, match=r"after epoch 1, metric 'root': row 1: sqrt"):
        pygradc.fit(loss, [0.0, 2.0], optim.SGD([w], lr=0.1), metrics={"root": root})


# ---- Callbacks -----------------------------------------------------------------------------------


@each_kind
def test_what_callbacks_receive(kind: str) -> None:
    parameters, loss = network()
    optimizer = KINDS[kind](parameters)
    seen: list[Epoch] = []

    def look(at: Epoch) -> None:
        assert at.weights.tolist() == numbers(parameters)
        seen.append(at)
        optimizer.lr /= 2.0

    history = pygradc.fit(
        loss, XS, YS, optimizer, epochs=3, batch_size=6, callbacks=[look], validation_data=HELD,
        metrics={"one": lambda: 1.0},
    )  # fmt: skip
    assert [at.epoch for at in seen] == [1, 2, 3]
    assert [at.loss for at in seen] == history == history.loss
    assert [at.validation_loss for at in seen] == history.validation_loss
    assert [at.metrics for at in seen] == [{"one": 1.0}] * 3
    assert [at.lr for at in seen] == history.lr and history.lr[1] == history.lr[0] / 2.0
    assert [at.seconds for at in seen] == history.seconds
    assert all(at.optimizer is optimizer and at.training_loss is None for at in seen)
    assert not seen[0].weights.flags.writeable
    assert seen[0].weights.tolist() != seen[1].weights.tolist()  # a copy each time


def test_without_validation_there_is_none() -> None:
    seen: list[Any] = []
    run(callbacks=[lambda at: seen.append((at.validation_loss, at.metrics))], epochs=1)
    assert seen == [(None, {})]


def test_callbacks_run_in_order_after_the_callback_and_all_of_them() -> None:
    seen: list[str] = []
    history, *_ = run(
        epochs=9,
        metrics={"m": lambda: seen.append("m") or 0.0},
        callback=lambda epoch, loss: seen.append(f"0 {epoch}"),
        callbacks=[
            lambda at: seen.append("1") or (np.bool_(True) if at.epoch == 2 else None),
            lambda at: seen.append("2"),
        ],
    )
    assert seen == ["m", "0 1", "1", "2", "m", "0 2", "1", "2"] and len(history) == 2


def test_when_the_callback_stops_the_callbacks_still_see_the_epoch() -> None:
    seen: list[int] = []
    history, *_ = run(callback=lambda *_: True, callbacks=(lambda at: seen.append(at.epoch),))
    assert seen == [1] and len(history) == 1


@pytest.mark.parametrize("answer", [None, 1, "yes", 0.0, False])
def test_nothing_but_true_stops(answer: Any) -> None:
    assert len(run(callbacks=[lambda at: answer])[0]) == 5


@each_kind
def test_what_a_callback_sets_holds(kind: str) -> None:
    def reset(at: Epoch) -> bool:
        for p in at.optimizer.parameters:
            p.data = 0.25
        return at.epoch == 2

    _, weights, *_ = run(kind, callbacks=[reset])
    assert set(weights) == {0.25}


@pytest.mark.parametrize("where", ["callbacks", "metrics"])
def test_an_exception_comes_out_and_the_steps_so_far_stand(where: str) -> None:
    def enough(*_: Any) -> float:
        if len(seen) == 2:
            raise RuntimeError("enough")
        seen.append(0)
        return 0.0

    seen: list[int] = []
    how: dict[str, Any] = {"metrics": {"a": lambda: enough()}}
    if where == "callbacks":
        how = {"callbacks": [enough]}
    parameters, loss = network()
    optimizer = optim.Adam(parameters)
    with pytest.raises(RuntimeError, match="enough"):
        pygradc.fit(loss, XS, YS, optimizer, epochs=9, seed=7, batch_size=6, **how)
    (same, other) = network()
    pygradc.fit(other, XS, YS, optim.Adam(same), epochs=3, seed=7, batch_size=6)
    assert numbers(parameters) == numbers(same) and optimizer.steps == 12


def test_callbacks_and_metrics_may_fit() -> None:
    parameters, loss = network()
    inner = optim.SGD(parameters, lr=0.0)

    def again(*_: Any) -> float:
        return pygradc.fit(loss, XS, YS, inner)[0]

    history = pygradc.fit(
        loss, XS, YS, optim.Adam(parameters), epochs=2, metrics={"m": lambda: again()},
        callbacks=[again],
    )  # fmt: skip
    assert history.metrics["m"][0] == history[1] and inner.steps == 4


class Nothing:
    """Not called."""


WRONG_CALLBACKS: dict[str, tuple[dict[str, Any], str]] = {
    "a function": ({"callbacks": lambda at: None}, r"must be a list of functions, not function: "),
    "a stopper": ({"callbacks": EarlyStopping(3)}, r"must be a list .*not EarlyStopping"),
    "a class": ({"callbacks": [EarlyStopping]}, r"callbacks\[0\] .*not the class EarlyStopping"),
    "no function": ({"callbacks": [len, Nothing()]}, r"callbacks\[1\] must be a function"),
    "of two": (
        {"callbacks": [lambda epoch, loss: None]},
        r"called with one argument, an Epoch .*takes \(epoch, loss\).* is for callback=",
    ),
    "in the wrong place": ({"callback": EarlyStopping(3)}, r"callbacks=\[EarlyStopping"),
    "callback": ({"callback": 3}, r"callback must be a function, not int"),
}


@pytest.mark.parametrize("what", WRONG_CALLBACKS)
def test_wrong_callbacks_are_named_before_training(what: str) -> None:
    how, message = WRONG_CALLBACKS[what]
    parameters, loss = network()
    with pytest.raises(TypeError, match=r"^fit: .*" + message):
        pygradc.fit(loss, XS, YS, optim.Adam(parameters), **how)


# ---- Many epochs a call --------------------------------------------------------------------------


class Counting:
    """The core, which counts its trainings."""

    def __init__(self, lib: Any) -> None:
        self.lib, self.calls = lib, 0

    def __getattr__(self, name: str) -> Any:
        self.calls += name == "pg_fit"
        return getattr(self.lib, name)


@pytest.mark.parametrize(
    "how, calls",
    [
        ({}, 1),
        ({"callbacks": []}, 1),
        ({"metrics": {}}, 1),
        ({"callbacks": [lambda at: None]}, 40),
        ({"callback": lambda *_: None}, 40),
        ({"metrics": {"a": lambda: 0.0}}, 40),
        ({"validation_data": HELD}, 40),
    ],
)
def test_epochs_go_to_c_together_where_nothing_is_to_be_done_between(
    how: dict[str, Any], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Counting(fitting.lib)
    monkeypatch.setattr(fitting, "lib", core)
    history, *_ = run(epochs=40, batch_size=None, **how)
    assert core.calls == calls
    assert len(history) == len(history.lr) == len(history.seconds) == 40
    assert min(history.seconds) > 0.0


# ---- The history ---------------------------------------------------------------------------------


def test_the_history_is_a_list_of_losses() -> None:
    history, *_ = run(validation_data=HELD, metrics={"one": lambda: 1.0})
    plain = history.loss
    assert type(history) is History and isinstance(history, list) and type(plain) is list
    assert history == plain and plain == history and history != plain[1:]
    assert repr(history) == repr(plain) == str(history)
    assert json.loads(json.dumps(history)) == plain
    assert type(history[1:]) is list and history[1:] == plain[1:]
    assert history + [1.0] == [*plain, 1.0] and min(history) == min(plain)
    assert np.array_equal(history, plain)
    assert type(history[0]) is float


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))]
)
def test_copies_and_pickles_have_all_of_it(again: Callable[[Any], Any]) -> None:
    history, *_ = run(validation_data=HELD, metrics={"one": lambda: 1.0})
    other = again(history)
    assert type(other) is History and other == history
    assert vars(other) == vars(history)


def test_without_anything_else_the_lists_are_empty() -> None:
    history, *_ = run()
    assert history.validation_loss == [] and history.metrics == {}
    assert history.lr == [0.1] * 5 and len(history.seconds) == 5
    assert run(epochs=0)[0] == [] == run(epochs=0)[0].lr


def test_an_optimizer_without_a_rate_has_nan() -> None:
    parameters, loss = network()
    optimizer = Signs(parameters)
    optimizer.step = lambda: None  # type: ignore[method-assign]
    del optimizer.lr
    assert math.isnan(pygradc.fit(loss, XS, YS, optimizer).lr[0])


def test_the_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    history, *_ = run(validation_data=HELD, metrics={"one": lambda: 1.0, "two": lambda: 2.0})
    axes = Figure().add_subplot()
    assert history.plot(ax=axes) is axes
    drawn = [line.get_ydata().tolist() for line in axes.lines]  # type: ignore[union-attr]
    assert drawn == [history.loss, history.validation_loss]
    assert [line.get_xdata().tolist() for line in axes.lines] == [[1, 2, 3, 4, 5]] * 2  # type: ignore[union-attr]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels == ["training loss", "validation loss", "one", "two"]
    assert len(axes.figure.axes) == 2 and len({line.get_color() for line in axes.lines}) == 2
    axes = run()[0].plot(ax=Figure().add_subplot())
    assert len(axes.lines) == 1 and len(axes.figure.axes) == 1
    negative = History([-1.0, -2.0]).plot(ax=Figure().add_subplot())
    assert negative.get_ylim()[0] < -2.0
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="plots need matplotlib"):
        history.plot()


def test_the_docstrings_sessions() -> None:
    for module in (history_module, callbacks_module, optim):
        results = doctest.testmod(module)
        assert results.failed == 0 < results.attempted


# ---- Early stopping ------------------------------------------------------------------------------


def overfitting(kind: str, **how: Any) -> tuple[History, list[float], Any, EarlyStopping]:
    """A run whose validation loss has its minimum within."""
    stopper = how.pop("stopper", None) or EarlyStopping(patience=4)
    history, weights, _, loss = run(
        kind, epochs=60, callbacks=[*how.pop("before", []), stopper], validation_data=HELD, **how
    )
    return history, weights, loss, stopper


@each_kind
@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_weights_of_the_best_validation_loss_are_restored(
    kind: str, batch_size: int | None
) -> None:
    history, _, loss, stopper = overfitting(kind, batch_size=batch_size)
    best = min(history.validation_loss)
    assert loss.mean(*HELD).data == best == stopper.best < history.validation_loss[-1]
    assert stopper.best_epoch == history.validation_loss.index(best) + 1
    assert len(history) == stopper.best_epoch + 4 < 60


def test_without_restore_best_the_last_weights_stay() -> None:
    history, weights, loss, _ = overfitting("Adam", stopper=EarlyStopping(4, restore_best=False))
    assert loss.mean(*HELD).data == history.validation_loss[-1] != min(history.validation_loss)
    assert weights == run("Adam", epochs=len(history))[1]


def test_the_best_weights_are_restored_too_where_training_ends_otherwise() -> None:
    whole = overfitting("Adam")[0]
    epochs = len(whole) - 2
    parameters, loss = network()
    pygradc.fit(
        loss, XS, YS, optim.Adam(parameters, lr=0.1), epochs=epochs, batch_size=6, seed=7,
        validation_data=HELD, callbacks=[EarlyStopping(4)],
    )  # fmt: skip
    assert loss.mean(*HELD).data == min(whole.validation_loss)
    ended = overfitting("Adam", callback=lambda epoch, loss: epoch == epochs)
    assert ended[2].mean(*HELD).data == min(whole.validation_loss) and len(ended[0]) == epochs


def test_the_optimizers_state_stays_that_of_the_last_step() -> None:
    parameters, loss = network()
    optimizer = optim.Adam(parameters, lr=0.1)
    history = pygradc.fit(
        loss, XS, YS, optimizer, epochs=60, validation_data=HELD, callbacks=[EarlyStopping(4)]
    )
    assert optimizer.steps == len(history)


def test_weights_that_callbacks_set_are_not_those_that_were_measured() -> None:
    """A callback before or after it that goes to other weights does not deceive it."""

    def clip(at: Epoch) -> None:
        pygradc.set_data(at.optimizer.parameters, np.clip(at.weights, -0.5, 0.5))

    for how in ({"before": [clip]}, {"callback": lambda *_: None, "before": [clip, clip]}):
        history, _, loss, stopper = overfitting("SGD", **how)
        assert loss.mean(*HELD).data == min(history.validation_loss) == stopper.best


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["SGD", "in Python"])
@pytest.mark.parametrize("batch_size", [None, 1, 6])
def test_the_training_loss_is_measured_with_the_weights_that_are_restored(
    kind: str, batch_size: int | None
) -> None:
    """The trap: the history's loss of an epoch isn't that of the weights after it."""
    seen: list[float] = []
    parameters, loss = network()
    optimizer = optim.SGD(parameters, lr=0.1) if kind == "SGD" else Signs(parameters)
    stopper = EarlyStopping(patience=2, monitor="loss")

    def diverge(at: Epoch) -> None:
        seen.append(loss.mean(XS, YS).data)
        assert at.training_loss == seen[-1]
        optimizer.lr *= 1.5

    history = pygradc.fit(
        loss, XS, YS, optimizer, epochs=99, batch_size=batch_size, seed=1,
        callbacks=[diverge, stopper],
    )  # fmt: skip
    assert loss.mean(XS, YS).data == min(seen) == stopper.best
    assert len(history) < 99 and min(seen) < seen[-1]
    if batch_size is None:
        assert history[1:] == pytest.approx(seen[:-1], rel=1e-13)


def test_it_says_once_that_it_watches_the_training_loss() -> None:
    stopper = EarlyStopping(patience=3)
    with pytest.warns(
        RuntimeWarning, match="watches the training loss.*no validation_data"
    ) as seen:
        run(callbacks=[stopper])
    assert len(seen) == 1 and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(callbacks=[stopper])
        run(callbacks=[EarlyStopping(3, monitor="loss")])
        run(callbacks=[EarlyStopping(3)], validation_data=HELD)


def scripted(figures: list[float], stopper: EarlyStopping) -> tuple[int, float]:
    """Epochs, and the parameter at the end, which counts the steps, if these are measured."""
    w = Value(0.0)
    answers = iter(figures)
    history = pygradc.fit(
        pygradc.compile(lambda x: w * x), [-1.0], optim.SGD([w], lr=1.0), epochs=len(figures),
        metrics={"m": lambda: next(answers)}, callbacks=[stopper],
    )  # fmt: skip
    assert history.metrics["m"] == figures[: len(history)]
    return len(history), w.data


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "figures, how, epochs, weight",
    [
        ([3.0, 2.0, 2.0, 2.0, 1.0], {"patience": 2, "mode": "min"}, 4, 2.0),
        ([3.0, 2.0, 2.5, 1.0, 1.5], {"patience": 2, "mode": "min"}, 5, 4.0),
        ([3.0, 2.0, 4.0], {"patience": 1, "mode": "min"}, 3, 2.0),
        ([0.1, 0.5, 0.4, 0.5], {"patience": 2, "mode": "max"}, 4, 2.0),
        ([0.1, 0.5, 0.4, 0.3, 0.9], {"patience": 2, "mode": "max"}, 4, 2.0),
        # Too little to go on for, and still the best:
        ([3.0, 2.9, 2.8, 0.0], {"patience": 2, "mode": "min", "min_delta": 0.5}, 3, 3.0),
        ([3.0, 2.9, 2.4, 2.3, 2.2], {"patience": 2, "mode": "min", "min_delta": 0.5}, 5, 5.0),
        ([1.0, 1.25, 1.5], {"patience": 2, "mode": "max", "min_delta": 0.5}, 3, 3.0),
        ([NAN, NAN, 1.0], {"patience": 2, "mode": "min"}, 2, 2.0),
        ([NAN, 5.0, NAN, 7.0], {"patience": 2, "mode": "min"}, 4, 2.0),
        ([INF, INF, 1.0], {"patience": 2, "mode": "min"}, 3, 3.0),
        ([-INF, 0.0, 0.0], {"patience": 2, "mode": "max"}, 3, 2.0),
    ],
)
def test_when_it_stops_and_where_it_goes_back_to(
    figures: list[float], how: dict[str, Any], epochs: int, weight: float
) -> None:
    assert scripted(figures, EarlyStopping(monitor="m", **how)) == (epochs, weight)


def test_a_new_fit_begins_anew() -> None:
    stopper = EarlyStopping(2, monitor="m", mode="min")
    assert scripted([1.0, 2.0, 3.0], stopper) == (3, 1.0)
    assert scripted([9.0, 8.0, 9.0, 9.0], stopper) == (4, 2.0)
    assert (stopper.best, stopper.best_epoch) == (8.0, 2)


def test_a_resumed_stopper_begins_anew_in_the_next_fit(tmp_path: Path) -> None:
    file, stopper = tmp_path / "run.npz", EarlyStopping(50)
    for epochs in (3, 3):
        how: dict[str, Any] = {"checkpoint": file, "resume": True, "callbacks": [stopper]}
        run(epochs=epochs, validation_data=HELD, **how)
    assert stopper.best_epoch > 1
    run(epochs=1, validation_data=HELD, callbacks=[stopper])
    assert stopper.best_epoch == 1


def test_after_an_exception_the_last_weights_stay_and_end_restores_the_best() -> None:
    stopper = EarlyStopping(9)

    def enough(at: Epoch) -> None:
        if at.epoch > stopper.best_epoch + 1:
            raise KeyboardInterrupt

    parameters, loss = network()
    optimizer = optim.Adam(parameters, lr=0.1)
    with pytest.raises(KeyboardInterrupt):
        pygradc.fit(
            loss, XS, YS, optimizer, epochs=99, validation_data=HELD, callbacks=[stopper, enough]
        )
    assert loss.mean(*HELD).data > stopper.best
    stopper.end(optimizer)
    assert loss.mean(*HELD).data == stopper.best


def test_the_parameters_may_be_exchanged_meanwhile() -> None:
    parameters, loss = network()
    optimizer = optim.SGD(parameters, lr=0.1)
    figures = iter([1.0, 2.0, 3.0, 4.0])

    def fewer(at: Epoch) -> None:
        optimizer.parameters = parameters[1:]

    seen: list[Any] = []
    pygradc.fit(
        loss, XS, YS, optimizer, epochs=3, metrics={"m": lambda: next(figures)},
        callbacks=[lambda at: seen.append(at.weights.tolist()), fewer,
                   EarlyStopping(5, monitor="m", mode="min")],
    )  # fmt: skip
    assert numbers(parameters)[1:] == seen[0][1:]


WRONG_STOPPERS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "patience 0": ({"patience": 0}, ValueError, r"patience .* at least 1, not 0"),
    "patience 1.5": ({"patience": 1.5}, ValueError, r"patience .*not 1\.5"),
    "patience True": ({"patience": True}, ValueError, r"patience .*not True"),
    "monitor": ({"patience": 1, "monitor": abs}, TypeError, r"monitor must be a figure's name"),
    "mode": ({"patience": 1, "mode": "maximum"}, ValueError, r"'min' or 'max', not 'maximum'"),
    "no mode": ({"patience": 1, "monitor": "accuracy"}, ValueError, r"mode=\"max\""),
    "delta": ({"patience": 1, "min_delta": -1.0}, ValueError, r"min_delta must be at least 0"),
    "delta nan": ({"patience": 1, "min_delta": NAN}, ValueError, r"min_delta"),
    "delta in words": ({"patience": 1, "min_delta": "1"}, TypeError, r"min_delta"),
}


@pytest.mark.parametrize("what", WRONG_STOPPERS)
def test_settings_that_make_no_sense(what: str) -> None:
    how, kind, message = WRONG_STOPPERS[what]
    with pytest.raises(kind, match=message):
        EarlyStopping(**how)


@pytest.mark.parametrize(
    "monitor, message",
    [
        ("accuracy", r"no such figure, only 'loss', 'm'$"),
        ("validation_loss", r"no such figure, only 'loss', 'm'; pass validation_data="),
    ],
)
def test_a_figure_that_is_not_measured_is_named_before_training(
    monitor: str, message: str, tmp_path: Path
) -> None:
    stopper = EarlyStopping(3, monitor=monitor, mode="max")
    parameters, loss = network()
    optimizer = optim.Adam(parameters)
    with pytest.raises(ValueError, match=message):
        pygradc.fit(
            loss, XS, YS, optimizer, metrics={"m": lambda: 0.0}, callbacks=[stopper],
            checkpoint=tmp_path / "run.npz",
        )  # fmt: skip
    assert optimizer.steps == 0 and not list(tmp_path.iterdir())


# ---- Checkpoints ---------------------------------------------------------------------------------


class Falling:
    """A callback with a state: the learning rate falls with the waits."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, at: Epoch) -> None:
        self.seen += 1
        if self.seen % 3 == 0:
            at.optimizer.lr *= 0.7  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = int(state["seen"])


class Stop(Exception):
    """What ends a run early."""


def outcome(
    kind: str, epochs: int, at: int = 0, patience: int = 4, **how: Any
) -> tuple[list[Any], list[float], Any]:
    """Every bit of a run, and what the stopper knows; if `at` is given it raises in that epoch."""
    parameters, loss = network()
    optimizer, stopper = KINDS[kind](parameters), EarlyStopping(patience)

    def halt(epoch: Epoch) -> None:
        if epoch.epoch == at:
            raise Stop

    history = pygradc.fit(
        loss, XS, YS, optimizer, epochs=epochs, batch_size=6, seed=7, validation_data=HELD,
        metrics={"first": lambda: parameters[0].data, "same": loss},
        callbacks=[Falling(), halt, stopper], **how,
    )  # fmt: skip
    state = {name: np.asarray(x).tolist() for name, x in optimizer.state_dict().items()}
    known = {name: np.asarray(x).tolist() for name, x in stopper.state_dict().items()}
    figures = [history, history.validation_loss, history.metrics, history.lr]
    assert len(history) == len(history.seconds)
    return figures, numbers(parameters), (state, known, optimizer.lr)


@each_kind
@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_run_comes_to_the_same(kind: str, every: int, tmp_path: Path) -> None:
    whole = outcome(kind, 40)
    assert 5 < len(whole[0][0]) < 40
    file = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": every, "resume": True}
    for at in (2, 5, len(whole[0][0]) - 1):
        with pytest.raises(Stop):
            outcome(kind, 40, at=at, **file)
    assert outcome(kind, 40, **file) == whole
    assert outcome(kind, 40, **file) == whole  # and is over


def test_a_longer_run_goes_on_from_the_last_weights_not_the_best(tmp_path: Path) -> None:
    whole = outcome("Adam", 30, patience=99)
    file = {"checkpoint": tmp_path / "run.npz", "resume": True}
    for epochs in (0, 3, 9, 25):
        resumed = outcome("Adam", epochs, patience=99, **file)
        assert repr(resumed) == repr(outcome("Adam", epochs, patience=99))
    assert load_state(tmp_path / "run.npz")["parameters"].tolist() != whole[1]
    assert outcome("Adam", 30, patience=99, **file) == whole


def test_a_run_with_other_figures_or_callbacks_names_what_differs(tmp_path: Path) -> None:
    def begin(**change: Any) -> History:
        how: dict[str, Any] = {
            "validation_data": HELD, "metrics": {"m": lambda: 0.0}, "callbacks": [Falling()],
            "checkpoint": tmp_path / "run.npz", "resume": True, **change,
        }  # fmt: skip
        return run(**{name: x for name, x in how.items() if x is not None})[0]

    begin(epochs=2)
    before = (tmp_path / "run.npz").read_bytes()
    for change, message in (
        ({"validation_data": None}, r"the figures measured is \['validation_loss', 'm'\] there, "),
        ({"validation_data": (VX, VY + 1e-9)}, r"the content of validation array 1"),
        ({"validation_data": (VX[1:], VY[1:])}, r"the shape of validation array 0 is \[11, 2\]"),
        ({"metrics": {"other": lambda: 0.0}}, r"the figures measured"),
        ({"callbacks": None}, r"which of the callbacks have a state_dict is \[true\]|\[True\]"),
        ({"callbacks": [len]}, r"\[True\] there, \[False\] here"),
        ({"callbacks": [EarlyStopping(3)]}, r"EarlyStopping: "),
    ):
        with pytest.raises(ValueError, match=message):
            begin(**change)
        assert (tmp_path / "run.npz").read_bytes() == before
    assert len(begin(epochs=3)) == 3


def test_a_checkpoint_without_the_figures_of_this_version_is_read(tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    run(epochs=2, checkpoint=file)
    state = {k: v for k, v in load_state(file).items() if not k.startswith("history.")}
    save_state(state, file)
    history, weights, *_ = run(epochs=4, checkpoint=file, resume=True)
    whole, same, *_ = run(epochs=4)
    assert history == whole and weights == same
    assert np.isnan(history.lr).tolist() == [True, True, False, False]


def test_a_state_by_hand(tmp_path: Path) -> None:
    parameters, loss = network()
    optimizer, stopper = optim.Adam(parameters, lr=0.1), EarlyStopping(4)

    def go(epochs: int, stopper: EarlyStopping) -> None:
        pygradc.fit(
            loss, XS, YS, optimizer, epochs=epochs, validation_data=HELD, callbacks=[stopper]
        )

    save_state(stopper.state_dict(), tmp_path / "none.npz")
    stopper.load_state_dict(load_state(tmp_path / "none.npz"))
    assert math.isnan(stopper.best) and stopper.best_epoch == 0
    go(3, stopper)
    save_state(stopper.state_dict(), tmp_path / "some.npz")
    state = load_state(tmp_path / "some.npz")
    other = EarlyStopping(4)
    other.load_state_dict(state)
    assert (other.best, other.best_epoch) == (stopper.best, stopper.best_epoch)
    for p in parameters:
        p.data = 9.0
    go(2, other)
    assert other.best == stopper.best == loss.mean(*HELD).data
    with pytest.raises(ValueError, match=r"the state is of 'validation_loss', not 'loss'"):
        EarlyStopping(4, monitor="loss").load_state_dict(state)
    with pytest.raises(ValueError, match=r"EarlyStopping: \['best'\] missing"):
        other.load_state_dict({name: x for name, x in state.items() if name != "best"})
    other.load_state_dict(state)
    with pytest.raises(ValueError, match=r"watches 'loss', but the state .* 'validation_loss'"):
        pygradc.fit(loss, XS, YS, optimizer, callbacks=[other])


# ---- AdamW ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"weight_decay": 0.2, "betas": (0.8, 0.9), "eps": 1e-6}])
def test_adamw_is_adam_with_decoupled_decay(how: dict[str, Any]) -> None:
    def trained(make: Callable[[Any], Any], by_hand: bool) -> tuple[list[float], list[float]]:
        parameters, loss = network()
        optimizer = make(parameters)
        if not by_hand:
            return pygradc.fit(loss, XS, YS, optimizer, epochs=4), numbers(parameters)
        means = []
        for _ in range(4):
            mean = loss.mean(XS, YS)
            means.append(mean.data)
            optimizer.zero_grad()
            mean.backward()
            optimizer.step()
        return means, numbers(parameters)

    def adam(ps: Any) -> Any:
        return optim.Adam(ps, lr=0.1, decoupled=True, **{"weight_decay": 0.01, **how})

    expected = trained(adam, False)[1]
    for by_hand in (False, True):
        assert trained(lambda ps: optim.AdamW(ps, lr=0.1, **how), by_hand)[1] == expected
    assert trained(lambda ps: optim.Adam(ps, lr=0.1), False)[1] != expected
    assert optim.AdamW([Value(0.0)]).weight_decay == 0.01 and optim.AdamW([Value(0.0)]).lr == 0.001


def test_adamw_trains_in_c_and_its_state_is_adams() -> None:
    parameters, _ = network()
    optimizer = optim.AdamW(parameters)
    assert fitting._is_known(optimizer)
    optim.Adam(parameters).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="weight_decay"):
        optim.AdamW(parameters, weight_decay=-1.0)
