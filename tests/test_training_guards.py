"""Does training stop where it would go wrong, loudly and in time, and does a callback's word count?

nan in the data, steps out of the finite numbers, optimisers of other parameters than the
program's, calls that mean something else than they say.
"""

from __future__ import annotations

import math
import random
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, nn, optim

XS = np.random.default_rng(1).normal(size=(24, 2))
YS = np.sin(XS[:, 0])


class Signs(optim.Optimizer):
    """An optimiser of the user's, with a state of its own kinds."""

    def __init__(self, parameters: Any, lr: float = 0.01) -> None:
        super().__init__(parameters)
        self.lr, self.seen, self.sums = lr, [0.0] * len(self.parameters), {"all": [np.zeros(2)]}

    def step(self) -> None:
        for i, p in enumerate(self.parameters):
            self.seen[i] += p.grad
            p.data -= self.lr * p.grad
        self.sums["all"][0] += 1.0
        self.steps += 1


KINDS: dict[str, Callable[..., Any]] = {
    "SGD": lambda ps, lr: optim.SGD(ps, lr=lr),
    "momentum": lambda ps, lr: optim.SGD(ps, lr=lr, momentum=0.9),
    "Adam": lambda ps, lr: optim.Adam(ps, lr=lr),
    "in Python": Signs,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_mode = pytest.mark.parametrize("mode", ["exact", "fast"])


def network(activation: str = "tanh", **settings: Any) -> tuple[list[Value], Any]:
    random.seed(3)
    model = nn.MLP(2, [4, 1], activation, "linear")
    return model.parameters(), pygradc.compile(lambda x, y: losses.mse(model(x), y), **settings)


def state(optimizer: Any) -> str:
    numbers = [(p.data, p.grad) for p in optimizer.parameters]
    arrays = {name: np.asarray(x).tolist() for name, x in optimizer.state_dict().items()}
    own = [getattr(optimizer, name, None) for name in ("seen", "sums", "lr")]
    return repr((numbers, arrays, own))


# ---- nan in the data -----------------------------------------------------------------------------


Row = namedtuple("Row", "a b")


def pair() -> Any:
    w = Value(1.0)
    return w, pygradc.compile(lambda x, y: w * x["a"] * x["b"][1] + y)


@each_kind
@each_mode
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("row", [0, 17, 23])
def test_nan_is_refused_by_argument_row_and_column(
    kind: str, mode: str, batch_size: int | None, row: int
) -> None:
    parameters, loss = network(math=mode)
    optimizer = KINDS[kind](parameters, 0.1)
    before = state(optimizer)
    xs, ys = XS.copy(), YS.copy()
    xs[row, 1] = ys[row] = math.nan
    with pytest.raises(ValueError, match=rf"nan in the data: argument 0, row {row}, column 1"):
        pygradc.fit(loss, xs, YS, optimizer, batch_size=batch_size)
    with pytest.raises(ValueError, match=rf"nan in the data: argument 1, row {row} "):
        pygradc.fit(loss, XS, ys.tolist(), optimizer, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"nan in the data: argument 1 \("):
        pygradc.fit(loss, XS, math.nan, optimizer, batch_size=batch_size)
    assert state(optimizer) == before


def test_nan_in_columns_of_their_own_names() -> None:
    w, loss = pair()
    optimizer = optim.SGD([w], lr=0.1)
    data = {"a": np.ones(4), "b": np.ones((4, 3))}
    data["b"][2, 0] = math.nan
    with pytest.raises(ValueError, match=r"argument 0\['b'\], row 2, column 0"):
        pygradc.fit(loss, data, np.ones(4), optimizer)
    cube = np.ones((4, 2, 3))
    cube[3, 1, 2] = math.nan
    with pytest.raises(ValueError, match=r"argument 0, row 3, element \(1, 2\)"):
        pygradc.fit(pygradc.compile(lambda x: w * x[0][0]), cube, optimizer)
    assert w.data == 1.0


def test_nan_in_a_table_names_its_column() -> None:
    pandas = pytest.importorskip("pandas")
    parameters, loss = network()
    table = pandas.DataFrame(XS, columns=["age", "height"])
    table.loc[3, "height"] = None
    with pytest.raises(ValueError, match=r"argument 0, row 3, column 1 \('height'\)"):
        pygradc.fit(loss, table, YS, optim.SGD(parameters, lr=0.1))


@each_kind
def test_infinities_may_enter(kind: str) -> None:
    """As masks: exp(-inf) is 0."""
    w = Value(0.5)
    loss = pygradc.compile(lambda x, mask: (w * x - 1) ** 2 * mask.exp())
    masks = np.array([0.0, -math.inf, 0.0])
    history = pygradc.fit(loss, np.array([1.0, 7.0, 1.0]), masks, KINDS[kind]([w], 0.1), epochs=3)
    assert all(map(math.isfinite, history)) and 0.5 < w.data < 1.0


@each_kind
def test_ignored_errors_train_on_with_nan(kind: str) -> None:
    parameters, loss = network(errors="ignore")
    xs = XS.copy()
    xs[3, 0] = math.nan
    history = pygradc.fit(loss, xs, YS, KINDS[kind](parameters, 0.1), epochs=2)
    assert all(map(math.isnan, history)) and math.isnan(parameters[0].data)


@pytest.mark.parametrize("place", [0, 255, 256, 4095, 5000, 9999])
def test_the_first_nan_is_found_wherever_it_is(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    xs = np.ones(10_000)
    xs[place] = xs[-1] = math.nan
    w = Value(1.0)
    for step in (pygradc.recorded.fit_arguments._LOOKED_AT, 300):  # type: ignore[attr-defined]
        monkeypatch.setattr("pygradc.recorded.fit_arguments._LOOKED_AT", step)
        with pytest.raises(ValueError, match=f"argument 0, row {place} "):
            pygradc.fit(pygradc.compile(lambda x: w * x), xs, optim.SGD([w], lr=0.1))


# ---- steps out of the finite numbers -------------------------------------------------------------


def by_steps(kind: str, lr: float, steps: int, batch_size: int | None) -> str:
    """So many steps of the same run, one call each."""
    parameters, loss = network("linear")
    optimizer = KINDS[kind](parameters, lr)
    size = batch_size or len(XS)
    for i in range(steps):
        first = i * size % len(XS)
        pygradc.fit(loss, XS[first : first + size], YS[first : first + size], optimizer)
    return state(optimizer)


@each_kind
@pytest.mark.parametrize("batch_size", [None, 6])
@pytest.mark.parametrize("how", ["plain", "callback", "checkpoint"])
def test_a_step_out_of_the_finite_numbers_is_not_taken(
    kind: str, batch_size: int | None, how: str, tmp_path: Path
) -> None:
    if kind == "in Python" and how == "checkpoint":
        pytest.skip("its lists are in no state_dict")
    lr = 1e100 if kind == "Adam" else 1e4
    parameters, loss = network("linear")
    optimizer = KINDS[kind](parameters, lr)
    more: dict[str, Any] = {"plain": {}, "callback": {"callback": lambda *_: None}}.get(
        how, {"checkpoint": tmp_path / "run.npz"}
    )
    with pytest.raises(FloatingPointError) as caught:
        pygradc.fit(
            loss, XS, YS, optimizer, epochs=500, batch_size=batch_size, shuffle=False, **more
        )
    error: Any = caught.value
    assert f"epoch {error.epoch}, batch {error.batch}: " in str(error)
    assert "A smaller learning rate usually helps (lr=" in str(error)
    assert all(math.isfinite(p.data) for p in parameters)
    steps = (error.epoch - 1) * (4 if batch_size else 1) + error.batch - 1
    assert optimizer.steps == steps > 0
    assert state(optimizer) == by_steps(kind, lr, steps, batch_size)
    if how == "checkpoint":
        assert len(pygradc.load_state(tmp_path / "run.npz")["history"]) == error.epoch - 1


def line(kind: str, lr: float, w: float = 1.0) -> tuple[Value, Any, Any]:
    """The loss w * x, whose gradient is x."""
    p = Value(w)
    return p, pygradc.compile(lambda x: p * x), KINDS[kind]([p], lr)


@each_kind
@pytest.mark.parametrize("before", [0, 3])
def test_a_parameter_that_would_overflow_is_named_and_everything_is_as_before(
    kind: str, before: int
) -> None:
    w, loss, optimizer = line(kind, 0.5)
    w.label = "slope"
    pygradc.fit(loss, np.ones(before or 1), optimizer, batch_size=1, epochs=1 if before else 0)
    optimizer.lr = 1e308
    expected = state(optimizer)
    with pytest.raises(
        FloatingPointError,
        match=r"epoch 1, batch 1: the step would make parameter 0 \(slope\) -inf",
    ):
        pygradc.fit(loss, np.array([1e10]), optimizer)
    assert state(optimizer) == expected and optimizer.steps == before


@pytest.mark.parametrize("kind", ["SGD", "momentum", "Adam"])
def test_a_loss_that_overflows_is_named_before_its_step(kind: str) -> None:
    w, _, optimizer = line(kind, 1e-3)
    twice = pygradc.compile(lambda x: w * x + x * 1e10)
    with pytest.raises(FloatingPointError, match="epoch 1, batch 2: the loss is inf"):
        pygradc.fit(twice, np.array([1.0, 1e308]), optimizer, shuffle=False, batch_size=1)
    assert optimizer.steps == 1 and math.isfinite(w.data)


def test_adams_state_that_would_overflow_is_named() -> None:
    """The parameter itself would stay finite, and never move again."""
    w, loss, optimizer = line("Adam", 1e-3)
    pygradc.fit(loss, np.ones(1), optimizer)
    expected = state(optimizer)
    with pytest.raises(FloatingPointError, match="the optimizer's state of parameter 0 inf"):
        pygradc.fit(loss, np.array([1e200]), optimizer)
    assert state(optimizer) == expected

    class Mine(optim.Adam):
        """The same, in Python."""

    mine = Mine([w])
    before = state(mine)
    with pytest.raises(FloatingPointError, match="the optimizer's square of parameter 0 inf"):
        pygradc.fit(loss, np.array([1e200]), mine)
    assert state(mine) == before


@each_kind
def test_a_parameter_that_the_function_does_not_use_may_overflow_too(kind: str) -> None:
    w, unused = Value(1.0), Value(1e300)
    optimizer = KINDS[kind]([w, unused], 0.1)
    optimizer.weight_decay = 1e300
    if kind == "in Python":
        pytest.skip("it has no decay")
    before = state(optimizer)
    with pytest.raises(
        FloatingPointError, match=r"parameter [01] -?(inf|nan)|state of parameter 1"
    ):
        pygradc.fit(pygradc.compile(lambda x: w * x), np.ones(2), optimizer, epochs=4)
    assert state(optimizer) == before


def test_a_state_that_a_step_makes_is_taken_back_with_it() -> None:
    class Late(optim.SGD):
        """Whose momentum comes with its first step."""

        def step(self) -> None:
            self.momentum = 0.9
            super().step()

    w, loss, _ = line("SGD", 0.1)
    optimizer = Late([w], lr=1e300)
    with pytest.raises(FloatingPointError, match="parameter 0 -inf"):
        pygradc.fit(loss, np.array([1e300]), optimizer)
    assert (w.data, optimizer.momentum, optimizer.state_dict()) == (1.0, 0.0, {"steps": 0})
    optimizer.lr = 0.5
    assert pygradc.fit(loss, np.ones(2), optimizer) == [1.0] and w.data == 0.5


@each_kind
def test_what_is_infinite_already_may_stay_so(kind: str) -> None:
    """A mask among the parameters, whose gradient is 0."""
    w, mask = Value(0.5), Value(-math.inf)
    loss = pygradc.compile(lambda x: (w * x - 1) ** 2 + mask.exp())
    pygradc.fit(loss, np.ones(4), KINDS[kind]([w, mask], 0.1), epochs=3)
    assert mask.data == -math.inf and 0.5 < w.data < 1.0


@each_kind
def test_a_parameter_that_is_nan_already_is_to_blame(kind: str) -> None:
    w, v = Value(1.0), Value(math.nan)
    loss = pygradc.compile(lambda x: w * x + v)
    message = (
        r"epoch 1, batch 1: parameter 1 that the function captured is nan, and the loss is nan"
    )
    for parameters in ([w, v], [w]):
        optimizer = KINDS[kind](parameters, 0.1)
        with pytest.raises(FloatingPointError, match=message):
            pygradc.fit(loss, np.ones(4), optimizer, epochs=3)
        assert optimizer.steps == 0 and w.data == 1.0


@each_kind
def test_ignored_errors_leave_the_finite_numbers(kind: str) -> None:
    """As the loop written out does."""
    w = Value(1.0)
    loss = pygradc.compile(lambda x: (w * x) ** 2, errors="ignore")
    optimizer = KINDS[kind]([w], 1e200 if kind == "Adam" else 1e10)
    history = pygradc.fit(loss, np.ones(3), optimizer, epochs=100)
    v = Value(1.0)
    same = pygradc.compile(lambda x: (v * x) ** 2, errors="ignore")
    expected, losses_ = KINDS[kind]([v], optimizer.lr), []
    for _ in range(100):
        mean = same.mean(np.ones(3))
        expected.zero_grad()
        mean.backward()
        expected.step()
        losses_.append(mean.data * 3 / 3)
    assert not math.isfinite(history[-1]) and optimizer.steps == 100
    assert repr([*history]) == repr(losses_) and repr(w.data) == repr(v.data)


# ---- a callback's word counts --------------------------------------------------------------------


class Best:
    """Goes back to the best epoch at the end, as one does."""

    def __init__(self, optimizer: Any, stop: Any) -> None:
        self.optimizer, self.stop, self.best = optimizer, stop, math.inf
        self.kept: Any = None

    def __call__(self, epoch: int, loss: float) -> Any:
        optimizer = self.optimizer
        if epoch == 2:
            self.best = loss
            self.kept = [p.data for p in optimizer.parameters], optimizer.state_dict()
        if epoch < 5:
            return None
        for p, x in zip(optimizer.parameters, self.kept[0]):
            p.data, p.grad = x, 0.125
        optimizer.load_state_dict(self.kept[1])
        self.after = state(optimizer)
        if isinstance(self.stop, Exception):
            raise self.stop
        return self.stop


@each_kind
@pytest.mark.parametrize("stop", [True, np.True_, np.bool_(True), RuntimeError("enough")], ids=repr)
@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_what_the_callback_restored_stays(
    kind: str, stop: Any, with_checkpoint: bool, tmp_path: Path
) -> None:
    parameters, loss = network()
    optimizer = KINDS[kind](parameters, 0.01)
    best = Best(optimizer, stop)
    file = tmp_path / "run.npz"
    more = {"checkpoint": file} if with_checkpoint and kind != "in Python" else {}
    if isinstance(stop, Exception):
        with pytest.raises(RuntimeError, match="enough"):
            pygradc.fit(loss, XS, YS, optimizer, epochs=9, callback=best, **more)
    else:
        history = pygradc.fit(loss, XS, YS, optimizer, epochs=9, callback=best, **more)
        assert len(history) == 5
        if more:
            written = pygradc.load_state(file)
            assert written["parameters"].tolist() == best.kept[0]
            assert int(written["optimizer.steps"]) == 2
    assert state(optimizer) == best.after


@each_kind
@pytest.mark.parametrize("answer", [False, np.False_, None, 1, np.int64(1), "yes", np.ones(1)])
def test_nothing_but_a_true_bool_stops(kind: str, answer: Any) -> None:
    parameters, loss = network()
    optimizer = KINDS[kind](parameters, 0.01)
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, callback=lambda *_: answer)
    assert len(history) == 3


@each_kind
@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_training_goes_on_from_what_the_callback_restored(
    kind: str, with_checkpoint: bool, tmp_path: Path
) -> None:
    """Also through a file that was written in between."""
    if kind == "in Python" and with_checkpoint:
        pytest.skip("its lists are in no state_dict")
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = KINDS[kind](ours, 0.05), KINDS[kind](theirs, 0.05)
    first = [p.data for p in ours], optimizer.state_dict()

    def back(epoch: int, mean: float) -> None:
        if epoch == 3:
            for p, x in zip(ours, first[0]):
                p.data = x
            optimizer.load_state_dict(first[1])

    file = {"checkpoint": tmp_path / "run.npz"} if with_checkpoint else {}
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=5, callback=back, **file)
    again = pygradc.fit(same, XS, YS, expected, epochs=2)
    assert history[3:] == again == history[:2]
    assert [p.data for p in ours] == [p.data for p in theirs]
    assert optimizer.steps == expected.steps == 2


@each_kind
def test_a_fit_within_the_callback_counts(kind: str) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = KINDS[kind](ours, 0.05), KINDS[kind](theirs, 0.05)
    inner: list[float] = []

    def more(epoch: int, mean: float) -> bool:
        inner.extend(pygradc.fit(loss, XS, YS, optimizer, epochs=2))
        return epoch == 2

    history = pygradc.fit(loss, XS, YS, optimizer, epochs=7, callback=more)
    by_hand = pygradc.fit(same, XS, YS, expected, epochs=6)
    assert [history[0], *inner[:2], history[1], *inner[2:]] == by_hand
    assert state(optimizer) == state(expected)


def test_the_callback_may_change_which_parameters_are_trained() -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = optim.SGD(ours, lr=0.1), optim.SGD(theirs, lr=0.1)

    def freeze(epoch: int, mean: float) -> None:
        optimizer.parameters = optimizer.parameters[-5:]

    pygradc.fit(loss, XS, YS, optimizer, epochs=3, callback=freeze)
    pygradc.fit(same, XS, YS, expected, epochs=1)
    expected.parameters = expected.parameters[-5:]
    pygradc.fit(same, XS, YS, expected, epochs=2)
    assert [p.data for p in ours] == [p.data for p in theirs]


# ---- a patched step ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SGD", "momentum", "Adam"])
@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_patched_step_is_called(kind: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (ours, loss), (theirs, same) = network(), network()
    optimizer, expected = KINDS[kind](ours, 0.05), KINDS[kind](theirs, 0.05)
    before = pygradc.fit(same, XS, YS, expected, epochs=3, batch_size=8, shuffle=False)
    calls, step = [], type(optimizer).step

    def counted(self: Any = optimizer) -> None:
        calls.append(self)
        step(self)

    if where == "class":
        monkeypatch.setattr(type(optimizer), "step", counted)
    else:
        optimizer.step = counted
    history = pygradc.fit(loss, XS, YS, optimizer, epochs=3, batch_size=8, shuffle=False)
    assert history == before and calls == [optimizer] * 9
    assert [p.data for p in ours] == [p.data for p in theirs]


def test_a_step_that_the_callback_patches_is_called_from_then_on() -> None:
    parameters, loss = network()
    optimizer = optim.SGD(parameters, lr=0.1)
    calls: list[int] = []

    def patch(epoch: int, mean: float) -> None:
        if epoch == 2:
            optimizer.step = lambda: calls.append(epoch)  # type: ignore[method-assign]
            self.kept = [p.data for p in parameters]  # type: ignore[attr-defined]

    self = patch
    pygradc.fit(loss, XS, YS, optimizer, epochs=5, callback=patch)
    assert len(calls) == 3 and optimizer.steps == 2
    assert [p.data for p in parameters] == patch.kept  # type: ignore[attr-defined]


# ---- a model made anew ---------------------------------------------------------------------------


@each_kind
def test_the_parameters_of_another_model_are_refused(kind: str) -> None:
    """A cell that makes model and optimizer was run again; the one with the loss wasn't."""
    world: dict[str, Any] = {}

    def cell(compiles: bool) -> Any:
        world["model"] = nn.MLP(2, [4, 1])
        world["optimizer"] = KINDS[kind](world["model"].parameters(), 0.01)
        if compiles:
            world["loss"] = pygradc.compile(lambda x, y: losses.mse(world["model"](x), y))
        return pygradc.fit(world["loss"], XS, YS, world["optimizer"], epochs=2)

    cell(compiles=True)
    with pytest.raises(
        ValueError, match=r"none of the optimizer's 17.*made again.*compile the function again"
    ):
        cell(compiles=False)
    assert world["optimizer"].steps == 0
    assert len(cell(compiles=True)) == 2


def test_a_programs_own_parameters_are_named(tmp_path: Path) -> None:
    parameters, loss = network()
    loss.mean(XS, YS)
    loss.programs[0].save(tmp_path / "loss.pgp")
    program = pygradc.load(tmp_path / "loss.pgp")
    with pytest.raises(
        ValueError, match=r"pass the program's own to the optimizer: program\.parameters\(\)"
    ):
        pygradc.fit(program, XS, YS, optim.SGD(parameters, lr=0.1))
    pygradc.fit(program, XS, YS, optim.SGD(program.parameters(), lr=0.1))


@each_kind
def test_some_of_the_parameters_are_enough(kind: str) -> None:
    parameters, loss = network()
    stranger = Value(3.0)
    pygradc.fit(loss, XS, YS, KINDS[kind]([parameters[0], stranger], 0.01))
    assert stranger.data == 3.0


ANCESTORS: dict[str, Callable[[Value, Value], Any]] = {
    "a product": lambda u, a: a * 2,
    "further up": lambda u, a: ((a * 2).tanh() + 1.0).exp(),
    "of both": lambda u, a: u * a,
    "chosen": lambda u, a: pygradc.where(a > 0, a, 1.0),
    "a program's result": lambda u, a: pygradc.compile(lambda x: x * a)(3.0),
    "with a closure": lambda u, a: Value(2.0, (a,)),
    "one of many": lambda u, a: pygradc.sum([Value(1.0), u.tanh(), a, Value(2.0)]),
}


@each_kind
@pytest.mark.parametrize("made", ANCESTORS)
@pytest.mark.parametrize("also", ["another parameter", "itself", "nothing"])
def test_what_a_parameter_was_made_of_before_the_recording_is_refused(
    kind: str, made: str, also: str
) -> None:
    u, a = Value(1.0), Value(2.0)
    a.label = "gain"
    tw = ANCESTORS[made](u, a)
    loss = pygradc.compile(lambda x: (u * x * tw - 1) ** 2)
    with_a = {"another parameter": [Value(7.0), a], "itself": [tw, a], "nothing": [a]}[also]
    optimizer = KINDS[kind](with_a, 0.01)
    before = state(optimizer)
    place = len(with_a) - 1
    with pytest.raises(
        ValueError, match=rf"optimizer's parameter {place} \(gain\) would not be tr"
    ):
        pygradc.fit(loss, [1.0, 2.0], optimizer, epochs=3, batch_size=2)
    assert state(optimizer) == before

    inside = pygradc.compile(lambda x: (u * x * ANCESTORS["a product"](u, a) - 1) ** 2)
    pygradc.fit(inside, [1.0, 2.0], KINDS[kind]([u, a], 0.01), epochs=3, batch_size=2)
    assert a.data != 2.0


def test_a_refused_ancestor_is_named_with_what_was_made_of_it() -> None:
    u, a = Value(1.0), Value(2.0)
    tw = a * 2
    tw.label = "twice"
    loss = pygradc.compile(lambda x: u * x * tw)
    with pytest.raises(ValueError) as caught:
        pygradc.fit(loss, [1.0], optim.SGD([u, a], lr=0.01))
    assert str(caught.value) == (
        "fit: the optimizer's parameter 1 would not be trained: the program's parameter 1 "
        "(twice), a result of '*', was computed from it before the function was recorded. "
        "Compute it inside the compiled function instead"
    )


@each_kind
def test_a_parameter_that_was_computed_may_be_trained_itself(kind: str) -> None:
    """And so may others be, if it was detached from what it was made of."""
    u, a = Value(1.0), Value(2.0)
    with pygradc.no_grad():
        fixed = a * 2
    for tw in (a * 2, pygradc.detach(a) * 2, fixed, Value((a * 2).data)):
        loss = pygradc.compile(lambda x, tw=tw: (u * x * tw - 1) ** 2)
        is_alone = a not in tw._children
        pygradc.fit(loss, [1.0], KINDS[kind]([u, a if is_alone else Value(3.0), tw], 0.01))
        assert (tw.data == 4.0) == bool(tw._children and is_alone) and a.data == 2.0


def test_a_callback_cant_have_an_ancestor_trained_either() -> None:
    u, a = Value(1.0), Value(2.0)
    tw = a * 2
    loss, optimizer = pygradc.compile(lambda x: u * x * tw), optim.SGD([u], lr=0.01)

    def thaw(epoch: int, mean: float) -> None:
        optimizer.parameters = [u, a]

    with pytest.raises(ValueError, match="optimizer's parameter 1 would not be trained"):
        pygradc.fit(loss, [1.0], optimizer, epochs=3, callback=thaw)
    assert u.data != 1.0 and a.data == 2.0


def test_a_long_history_is_walked_once() -> None:
    u, a = Value(1.0), Value(2.0)
    root = a
    for _ in range(20_000):
        root = root + root
        root.data = 1.0
    many = [root * float(i) for i in range(50)]
    loss = pygradc.compile(lambda x: pygradc.sum([m * u * x for m in many]))
    pygradc.fit(loss, [1.0], optim.SGD([u], lr=0.01))
    with pytest.raises(ValueError, match="optimizer's parameter 1 would not be trained"):
        pygradc.fit(loss, [1.0], optim.SGD([u, a], lr=0.01))


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1), optim.Adam, Signs])
def test_optimizers_refuse_what_they_cannot_train(make: Callable[[Any], Any]) -> None:
    a, b = Value(1.0), Value(2.0)
    empty: list[Any] = [[], (), iter([]), {}.values(), (p for p in ()), np.array([], dtype=object)]
    for nothing in empty:
        with pytest.raises(ValueError, match="no parameters to train"):
            make(nothing)
    for twice in ([a, b, a], iter((a, b, a)), {1: a, 2: b, 3: a}.values(), np.array([a, b, a])):
        with pytest.raises(ValueError, match="parameter 2 is parameter 0 again"):
            make(twice)
    used = iter([a])
    assert make(used).parameters == [a]
    with pytest.raises(ValueError, match="exhausted iterator"):
        make(used)
    model = nn.MLP(2, [1])
    for wrong, message in (
        (model, r"not the MLP that has them: \w+\(model\.parameters\(\), lr=0\.01\)"),
        (a, r"expected a list of Values, not one: \w+\(\[w\], lr=0\.01\)"),
        ({"a": a}, r"pass its values\(\)"),
        (None, "expected parameters, not NoneType"),
        (model.parameters, "expected parameters, not method"),
        ([[a, b]], "parameter 0 must be a Value, not list; pass one flat list"),
        ([a, 2.0], "parameter 1 must be a Value, not float"),
    ):
        with pytest.raises(TypeError, match=message):
            make(wrong)


def test_an_iterator_that_fails_says_so_itself() -> None:
    def broken() -> Any:
        yield Value(1.0)
        raise TypeError("broken in the middle")

    with pytest.raises(TypeError, match="broken in the middle"):
        optim.Adam(broken())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": "0.1"}, "lr must be a number, not str '0.1': write lr=0.1, without quotes"),
        ({"lr": "fast"}, "lr must be a number, not str 'fast'"),
        ({"lr": True}, "lr must be a number, not bool True"),
        ({"lr": np.True_}, "lr must be a number, not bool"),
        ({"lr": [0.1]}, "lr must be a number, not list"),
        ({"lr": np.array([0.1])}, "lr must be a number, not ndarray"),
        ({"lr": 1j}, "lr must be a number, not complex"),
        ({"lr": Value(0.1)}, r"lr must be a number, not Value .*write lr=v\.data"),
        ({"lr": 0.1, "weight_decay": "1"}, "weight_decay must be a number"),
        ({}, r"lr, the learning rate, is missing: SGD\(parameters, lr=0\.01\)"),
        ({"lr": None}, "lr, the learning rate, is missing"),
    ],
)
def test_settings_that_are_no_numbers(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        optim.SGD([Value(1.0)], **settings)


@pytest.mark.parametrize("betas", [0.9, "ab", (0.9,), (0.9, 0.99, 0.999), None, ("a", 0.9)])
def test_betas_that_are_no_pair_of_numbers(betas: Any) -> None:
    with pytest.raises(TypeError, match="betas"):
        optim.Adam([Value(1.0)], betas=betas)


@pytest.mark.parametrize("lr", [np.float32(0.25), np.float64(0.25), np.array(0.25), 0.25, 0])
def test_settings_that_are_numbers(lr: Any) -> None:
    assert optim.SGD([Value(1.0)], lr).lr == optim.Adam([Value(1.0)], lr).lr == float(lr)


# ---- what fit is called with ---------------------------------------------------------------------


def mean_of(x: Any, y: Any, power: int = 1) -> Any:
    return (VALUE * x - y) ** power


VALUE = Value(1.0)
F = pygradc.compile(mean_of)
MODEL = nn.MLP(1, [1])
ONE = np.ones(4)


def optimizer() -> Any:
    return optim.SGD([VALUE], lr=0.1)


CALLS: dict[str, tuple[type[Exception], str, Callable[[Any], Any]]] = {
    "epoch": (
        TypeError,
        r"unknown keyword 'epoch': did you mean epochs=\?",
        lambda o: pygradc.fit(F, ONE, ONE, o, epoch=3),
    ),
    "batchsize": (
        TypeError,
        r"'batchsize': did you mean batch_size=\?",
        lambda o: pygradc.fit(F, ONE, ONE, o, batchsize=3),
    ),
    "the function's own": (
        TypeError,
        r"'powr': did you mean power=\?",
        lambda o: pygradc.fit(F, ONE, ONE, o, powr=3),
    ),
    "callback_": (
        TypeError,
        r"did you mean callback=\?",
        lambda o: pygradc.fit(F, ONE, ONE, o, callback_=[]),
    ),
    "validation_split": (
        TypeError,
        r"'validation_split': split the arrays, and pass validation_data=\(X, Y\)",
        lambda o: pygradc.fit(F, ONE, ONE, o, validation_split=0.2),
    ),
    "patience": (
        TypeError,
        r"'patience': callbacks=\[pygradc\.EarlyStopping\(patience=10\)\]",
        lambda o: pygradc.fit(F, ONE, ONE, o, patience=3),
    ),
    "lr": (
        TypeError,
        r"'lr': set it on the optimizer",
        lambda o: pygradc.fit(F, ONE, ONE, o, lr=0.1),
    ),
    "executor": (
        TypeError,
        r"'executor'",
        lambda o: pygradc.fit(F, ONE, ONE, o, executor=None),
    ),
    "something else": (
        TypeError,
        r"'colour': fit takes optimizer, .*and the function x, y, power",
        lambda o: pygradc.fit(F, ONE, ONE, o, colour="red"),
    ),
    "arrays by keyword": (
        TypeError,
        r"x= holds a ndarray: .*pass arrays by position.*fit\(loss, X, Y, optimizer\)",
        lambda o: pygradc.fit(F, x=ONE, y=ONE, optimizer=o),
    ),
    "a list by keyword": (
        TypeError,
        r"y= holds a list: .*pass arrays by position",
        lambda o: pygradc.fit(F, ONE, y=[1.0] * 4, optimizer=o),
    ),
    "unknown arrays": (
        TypeError,
        r"weights= holds a ndarray: .*by position",
        lambda o: pygradc.fit(F, ONE, ONE, o, weights=ONE),
    ),
    "too few arrays": (
        TypeError,
        r"mean_of\(x.*, y.*\).*can't take 1 array: missing a required argument: 'y'",
        lambda o: pygradc.fit(F, ONE, o),
    ),
    "too many arrays": (
        TypeError,
        r"can't take 4 arrays: too many positional",
        lambda o: pygradc.fit(F, ONE, ONE, ONE, ONE, o),
    ),
    "a lambda": (
        TypeError,
        r"not a plain one \(<lambda>\): .* or loss = pygradc\.compile\(lambda \.\.\.\)",
        lambda o: pygradc.fit(lambda x, y: x, ONE, ONE, o),
    ),
    "a function": (
        TypeError,
        r"not a plain one \(mean_of\): .*or mean_of = pygradc\.compile\(mean_of\)",
        lambda o: pygradc.fit(mean_of, ONE, ONE, o),
    ),
    "a model": (
        TypeError,
        r"not a model \(MLP\): compile a loss of one row first: .*losses\.mse\(model\(x\), y\)",
        lambda o: pygradc.fit(MODEL, ONE, ONE, o),
    ),
    "no function": (
        TypeError,
        r"expected a compiled function, not ndarray",
        lambda o: pygradc.fit(ONE, ONE, o),
    ),
    "the optimizer first": (
        TypeError,
        r"after the arrays, not before them \(it is argument 0\)",
        lambda o: pygradc.fit(F, o, ONE, ONE),
    ),
    "epochs by place": (
        TypeError,
        r"by keyword: fit\(loss, X, Y, optimizer, epochs=5\)",
        lambda o: pygradc.fit(F, ONE, ONE, o, 5),
    ),
    "two optimizers": (
        TypeError,
        r"expected one optimizer, got two",
        lambda o: pygradc.fit(F, ONE, ONE, o, optimizer=o),
    ),
    "an optimizer's class": (
        TypeError,
        r"the class SGD itself",
        lambda o: pygradc.fit(F, ONE, ONE, optimizer=optim.SGD),
    ),
    "an optimizer's name": (
        TypeError,
        r"optim\.SGD\(model\.parameters\(\), lr=0\.01\), not str",
        lambda o: pygradc.fit(F, ONE, ONE, optimizer="sgd"),
    ),
    "batch_size 0": (
        ValueError,
        r"batch_size=0 must be at least 1, or None: all rows",
        lambda o: pygradc.fit(F, ONE, ONE, o, batch_size=0),
    ),
    "epochs 1.5": (
        TypeError,
        r"epochs must be a whole number, not 1\.5",
        lambda o: pygradc.fit(F, ONE, ONE, o, epochs=1.5),
    ),
    "epochs None": (
        TypeError,
        r"epochs must be a whole number, not None",
        lambda o: pygradc.fit(F, ONE, ONE, o, epochs=None),
    ),
    "epochs True": (
        TypeError,
        r"epochs must be a whole number, not True",
        lambda o: pygradc.fit(F, ONE, ONE, o, epochs=True),
    ),
    "epochs '3'": (
        TypeError,
        r"epochs must be a whole number, not '3'",
        lambda o: pygradc.fit(F, ONE, ONE, o, epochs="3"),
    ),
    "shuffle 'no'": (
        TypeError,
        r"shuffle must be True or False, not 'no'",
        lambda o: pygradc.fit(F, ONE, ONE, o, shuffle="no"),
    ),
    "seed 'a'": (TypeError, r"seed='a'", lambda o: pygradc.fit(F, ONE, ONE, o, seed="a")),
    "a class": (
        TypeError,
        r"not a model \(the class MLP itself\)",
        lambda o: pygradc.fit(nn.MLP, ONE, ONE, o),
    ),
    "epochs -1": (
        ValueError,
        r"epochs=-1 must be at least 0",
        lambda o: pygradc.fit(F, ONE, ONE, o, epochs=-1),
    ),
    "masked": (
        ValueError,
        r"argument 0: 2 masked entries",
        lambda o: pygradc.fit(F, np.ma.array(ONE, mask=[0, 1, 1, 0]), ONE, o),
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_means_something_else_says_what_to_write(call: str) -> None:
    kind, message, run = CALLS[call]
    programs = F.programs
    with pytest.raises(kind, match=message):
        run(optimizer())
    assert VALUE.data == 1.0 and F.programs == programs  # nothing was recorded for it


def test_keywords_that_the_function_takes_are_its_own() -> None:
    w = Value(1.0)
    anything = pygradc.compile(lambda x, **how: w * x * how["scale"])
    assert pygradc.fit(anything, ONE, optim.SGD([w], lr=0.1), scale=2.0) == [2.0]
    only = pygradc.compile(lambda x, *, power=1: (w * x) ** power)
    pygradc.fit(only, ONE, optim.SGD([w], lr=0.1), power=2)
    with pytest.raises(TypeError, match=r"did you mean power=\?"):
        pygradc.fit(only, ONE, optim.SGD([w], lr=0.1), pover=2)


def test_a_type_error_of_the_functions_own_comes_out() -> None:
    w = Value(1.0)

    def wrong(x: Any) -> Any:
        return w * x + "1"

    with pytest.raises(TypeError, match="str"):
        pygradc.fit(pygradc.compile(wrong), ONE, optim.SGD([w], lr=0.1))


def test_integers_of_numpy_are_whole_numbers() -> None:
    w = Value(1.0)
    loss = pygradc.compile(lambda x: w * x)
    history = pygradc.fit(
        loss, ONE, optim.SGD([w], lr=0.1), epochs=np.int64(2), batch_size=np.uint8(2)
    )
    assert len(history) == 2


def test_named_tuples_of_columns_have_names() -> None:
    """Where they are taken as columns, a nan in one is named by its field."""
    from pygradc.recorded.fit_arguments import _leaves
    from pygradc.recorded.structure import LEAF, Array, Sequence

    structure = Sequence(Row, (LEAF, Array((3,))))
    assert list(_leaves(structure, ())) == [(".a",), (".b",)]


# ---- What can't be meant -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 10**30}, "epochs=1000.* is more than"),
        ({"checkpoint": 5}, "checkpoint must be a file's path, not 5 of type int"),
        ({"checkpoint_every": 2}, "checkpoint_every needs checkpoint="),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], message: str) -> None:
    w = Value(1.0)
    loss = pygradc.compile(lambda x: (w * x) ** 2)
    with pytest.raises((TypeError, ValueError), match=message):
        pygradc.fit(loss, [1.0, 2.0], optim.SGD([w], lr=0.1), **options)
    assert w.data == 1.0


def test_a_learning_rate_that_became_a_string_is_named() -> None:
    w = Value(1.0)
    optimizer = optim.SGD([w], lr=0.1)
    optimizer.lr = "0.1"  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"lr must be a number, not str '0\.1': write lr=0\.1"):
        pygradc.fit(pygradc.compile(lambda x: (w * x) ** 2), [1.0], optimizer)


def test_what_no_learning_rate_mends_is_not_blamed_on_it() -> None:
    w, k = Value(1.0), Value(float("nan"))
    loss = pygradc.compile(lambda x: (w * x + k) ** 2)
    with pytest.raises(FloatingPointError, match="No step has been taken yet: check"):
        pygradc.fit(loss, [1.0], optim.SGD([w], lr=0.1))


def test_a_batch_larger_than_the_rows_is_all_of_them() -> None:
    w = Value(1.0)
    loss = pygradc.compile(lambda x: (w * x) ** 2)
    assert len(pygradc.fit(loss, [1.0, 2.0], optim.SGD([w], lr=0.1), batch_size=10**30)) == 1


# ---- Parameters that were replaced after the recording -------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_head_of_an_old_model_is_not_left_untrained(kind: str) -> None:
    random.seed(3)
    model = nn.MLP(2, [3, 1])
    loss = pygradc.compile(lambda x, y: losses.mse(model(x), y))
    loss.mean(XS, YS)
    loss.mean(XS[:, :2].tolist(), YS)
    model.layers[-1] = nn.Layer(3, 1)
    optimizer = KINDS[kind](model.parameters(), 0.1)
    before = [p.data for p in model.parameters()]
    with pytest.raises(ValueError, match=r"doesn't have the optimizer's parameter 9.*it was repl"):
        pygradc.fit(loss, XS, YS, optimizer)
    assert [p.data for p in model.parameters()] == before
    again = pygradc.compile(lambda x, y: losses.mse(model(x), y))
    pygradc.fit(again, XS, YS, optimizer)
    assert all(p.data != number for p, number in zip(model.parameters(), before))


def test_a_replaced_parameter_that_somebody_still_has_is_warned_of() -> None:
    table = {"w": Value(1.0), "b": Value(0.0)}
    loss = pygradc.compile(lambda x, y: (table["w"] * x[0] + table["b"] - y) ** 2)
    loss.mean(XS, YS)
    old = table["w"]
    table["w"] = Value(2.0)
    with pytest.warns(
        RuntimeWarning, match="the optimizer doesn't have 1 of the program's"
    ) as caught:
        pygradc.fit(loss, XS, YS, optim.SGD(list(table.values()), lr=0.01))
    assert caught[0].filename == __file__
    assert old.data == 1.0


def test_parameters_that_only_one_of_both_has_are_usual() -> None:
    w, scale, other = Value(1.0), Value(2.0), Value(3.0)
    loss = pygradc.compile(lambda x, y: (w * x[0] * scale - y) ** 2)
    loss.mean(XS, YS).backward()
    pygradc.fit(loss, XS, YS, optim.SGD([w], lr=0.01))  # the rest is frozen
    pygradc.fit(loss, XS, YS, optim.SGD([w, scale, other], lr=0.01))  # another program's
    assert scale.data != 2.0 and other.data == 3.0
