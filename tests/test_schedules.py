"""Do schedules give the right rates to fit, to C and to a loop, also after a resume?"""

from __future__ import annotations

import doctest
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import LRSchedule, Value, load_state, optim, save_state, schedules

XS = np.random.default_rng(3).normal(size=(10, 2))
YS = np.random.default_rng(4).normal(size=10)
STEPS = 3  # an epoch has, in batches of 4


class Steady(optim.Optimizer):
    """A step in Python."""

    def __init__(self, parameters: Any, lr: float = 1.0) -> None:
        super().__init__(parameters)
        self.lr = lr

    def step(self) -> None:
        for p in self.parameters:
            p.data -= self.lr * p.grad
        self.steps += 1


KINDS: dict[str, Any] = {
    "SGD": lambda ps: optim.SGD(ps, lr=1.0),
    "momentum": lambda ps: optim.SGD(ps, lr=1.0, momentum=0.5),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=1.0),
    "AdamW": lambda ps: optim.AdamW(ps, lr=1.0),
    "in Python": Steady,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
SCHEDULES = {
    "step": LRSchedule.step(0.1, every=4, factor=0.5),
    "cosine": LRSchedule.cosine(0.1, steps=25, lowest=0.01),
    "warm-up": LRSchedule.warmup(5, then=LRSchedule.cosine(0.1, steps=20)),
    "by epoch": LRSchedule.step(0.1, every=2, by="epoch"),
    "a function": LRSchedule(lambda n: 0.1 / (1 + n)),
}
each_schedule = pytest.mark.parametrize("name", SCHEDULES)


def task(kind: str) -> tuple[Any, Any]:
    w = [Value(0.5, label="a"), Value(-0.5, label="b")]
    return pygradc.compile(lambda x, y: (pygradc.dot(w, x).tanh() - y) ** 2), KINDS[kind](w)


def fit(loss: Any, optimizer: Any, epochs: int, **how: Any) -> Any:
    return pygradc.fit(loss, XS, YS, optimizer, epochs=epochs, batch_size=4, **how)


def state(optimizer: Any) -> dict[str, Any]:
    arrays = {k: np.asarray(v).tolist() for k, v in optimizer.state_dict().items()}
    return {**arrays, "lr": optimizer.lr, "p": [(p.data, p.grad) for p in optimizer.parameters]}


# ---- The rates -----------------------------------------------------------------------------------


def test_each_is_its_formula() -> None:
    step, cosine = SCHEDULES["step"], SCHEDULES["cosine"]
    assert [step(n) for n in range(9)] == [0.1] * 4 + [0.05] * 4 + [0.025]
    assert cosine(0) == 0.1 and cosine(25) == cosine(10**9) == 0.01
    for n in range(25):
        assert cosine(n) == 0.01 + (0.1 - 0.01) * (1.0 + math.cos(math.pi * n / 25)) / 2.0
    warm = SCHEDULES["warm-up"]
    assert [warm(n) for n in range(5)] == [0.1 * n / 5 for n in range(1, 6)]
    assert [warm(n + 5) for n in range(25)] == [LRSchedule.cosine(0.1, 20)(n) for n in range(25)]
    constant = LRSchedule.warmup(2, then=0.4)
    assert [constant(n) for n in range(4)] == [0.2, 0.4, 0.4, 0.4]
    assert LRSchedule.warmup(2, then=SCHEDULES["by epoch"]).by == "epoch"


def test_step_and_cosine_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    scheduler = torch.optim.lr_scheduler
    for ours, theirs in (
        (LRSchedule.step(0.1, every=3, factor=0.7), lambda o: scheduler.StepLR(o, 3, 0.7)),
        (LRSchedule.cosine(0.1, 20, 0.01), lambda o: scheduler.CosineAnnealingLR(o, 20, 0.01)),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = theirs(optimizer)
        for n in range(20):
            assert ours(n) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
            optimizer.step()
            schedule.step()


def test_docstrings_and_reprs() -> None:
    assert doctest.testmod(schedules).failed == 0 < doctest.testmod(schedules).attempted
    assert doctest.testmod(optim).failed == 0
    assert repr(LRSchedule.warmup(3, then=LRSchedule.step(0.1, 2, by="epoch"))) == (
        "LRSchedule.warmup(3, then=LRSchedule.step(0.1, every=2, factor=0.1, by='epoch'), "
        "by='epoch')"
    )
    assert eval(repr(SCHEDULES["warm-up"]))(7) == SCHEDULES["warm-up"](7)
    assert "by='step'" in repr(SCHEDULES["a function"])
    copy = pickle.loads(pickle.dumps(SCHEDULES["warm-up"]))
    assert copy(7) == SCHEDULES["warm-up"](7) and repr(copy) == repr(SCHEDULES["warm-up"])


# ---- In fit, and in a loop -----------------------------------------------------------------------


@each_kind
@each_schedule
def test_fit_is_the_loop_written_out(kind: str, name: str) -> None:
    schedule = SCHEDULES[name]
    loss, optimizer = task(kind)
    history = fit(loss, optimizer, 5, shuffle=False, schedule=schedule)
    same, other = task(kind)
    for epoch in range(5):
        for first in range(0, 10, 4):
            other.lr = schedule(epoch if schedule.by == "epoch" else other.steps)
            mean = same.mean(XS[first : first + 4], YS[first : first + 4])
            other.zero_grad()
            mean.backward()
            other.step()
        assert history.lr[epoch] == other.lr
    assert state(optimizer) == state(other)
    assert len(set(history.lr)) > 1


@each_kind
@each_schedule
def test_ten_epochs_are_five_and_five(kind: str, name: str, tmp_path: Path) -> None:
    schedule = SCHEDULES[name]
    loss, optimizer = task(kind)
    whole = fit(loss, optimizer, 10, shuffle=False, schedule=schedule)
    expected = state(optimizer)

    loss, optimizer = task(kind)
    first = fit(loss, optimizer, 5, shuffle=False, schedule=schedule)
    save_state(optimizer.state_dict(), tmp_path / "o.npz")
    weights = [p.data for p in optimizer.parameters]
    loss, optimizer = task(kind)
    optimizer.load_state_dict(load_state(tmp_path / "o.npz"))
    pygradc.set_data(optimizer.parameters, weights)
    second = fit(loss, optimizer, 5, shuffle=False, schedule=schedule)
    assert state(optimizer) == expected
    assert first + second == whole and first.lr + second.lr == whole.lr

    file = tmp_path / "run.npz"
    how: dict[str, Any] = {"schedule": schedule, "seed": 1, "checkpoint": file}
    loss, optimizer = task(kind)
    fit(loss, optimizer, 5, **how)
    loss, optimizer = task(kind)
    resumed = fit(loss, optimizer, 10, resume=True, **how)
    loss, other = task(kind)
    straight = fit(loss, other, 10, schedule=schedule, seed=1)
    assert state(optimizer) == state(other)
    assert resumed == straight and resumed.lr == straight.lr
    loss, optimizer = task(kind)
    assert fit(loss, optimizer, 10, resume=True, **how) == straight
    assert state(optimizer) == state(other)


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    loss, optimizer = task("SGD")
    fit(loss, optimizer, 2, schedule=SCHEDULES["step"], checkpoint=file, seed=0)
    for other in (SCHEDULES["cosine"], None):
        loss, optimizer = task("SGD")
        with pytest.raises(ValueError, match=r"the schedule is LRSchedule\.step\(0\.1"):
            fit(loss, optimizer, 4, schedule=other, checkpoint=file, resume=True, seed=0)


def test_a_run_interrupted_between_checkpoints_resumes(tmp_path: Path) -> None:
    """Weights and lr are then those of no epoch in the file."""
    how: dict[str, Any] = {"schedule": SCHEDULES["cosine"], "seed": 2, "checkpoint_every": 2}
    loss, optimizer = task("SGD")

    def failing(epoch: int, _: float) -> None:
        if epoch == 3:
            raise KeyError

    file = tmp_path / "run.npz"
    with pytest.raises(KeyError):
        fit(loss, optimizer, 6, checkpoint=file, callback=failing, **how)
    resumed = fit(loss, optimizer, 6, checkpoint=file, resume=True, **how)
    loss, other = task("SGD")
    assert resumed == fit(loss, other, 6, checkpoint=tmp_path / "b.npz", **how)
    assert state(optimizer) == state(other)


def test_epochs_still_go_to_c_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from pygradc.recorded import fitting

    calls = []
    run = fitting._InC.run

    def counted(self: Any, epochs: int, index: Any, done: int) -> list[float]:
        calls.append(epochs)
        return run(self, epochs, index, done)

    monkeypatch.setattr(fitting._InC, "run", counted)
    loss, optimizer = task("SGD")
    fit(loss, optimizer, 500, shuffle=False, schedule=SCHEDULES["cosine"])
    assert calls == [500]
    monkeypatch.setattr("pygradc.recorded.rates._MOST_AT_ONCE", 7)
    loss, other = task("SGD")
    fit(loss, other, 500, shuffle=False, schedule=SCHEDULES["cosine"])
    assert calls[1:] == [2] * 250 and state(other) == state(optimizer)


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SGD", "in Python"])
def test_a_step_that_fails_names_its_rate(kind: str) -> None:
    w = Value(0.5)
    loss, optimizer = pygradc.compile(lambda x, y: (w * x[0] - y) ** 2), KINDS[kind]([w])
    schedule = LRSchedule(lambda n: 1e308 if n == 4 else 1e-12)
    with pytest.raises(FloatingPointError, match=r"epoch 2, batch 2: .*lr=1e\+308"):
        pygradc.fit(
            loss, XS * 1e4, YS * 1e4, optimizer, epochs=3, batch_size=4, shuffle=False,
            schedule=schedule,
        )  # fmt: skip
    assert optimizer.steps == 4


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: LRSchedule(0.1), TypeError, "expected a function"),  # type: ignore[arg-type]
    (lambda: LRSchedule(SCHEDULES["step"]), TypeError, "not a schedule"),
    (lambda: LRSchedule(abs, by="row"), ValueError, "by must be"),  # type: ignore[arg-type]
    (lambda: LRSchedule.step(-0.1, 3), ValueError, r"LRSchedule\.step: lr must be"),
    (lambda: LRSchedule.step(0.1, 0), ValueError, "every must be"),
    (lambda: LRSchedule.step(0.1, 3, math.nan), ValueError, "factor must be"),
    (lambda: LRSchedule.cosine(0.1, 1.5), ValueError, "steps must be"),  # type: ignore[arg-type]
    (lambda: LRSchedule.cosine("0.1", 3), TypeError, "without quotes"),  # type: ignore[arg-type]
    (lambda: LRSchedule.warmup(3, then="x"), TypeError, "then must"),  # type: ignore[arg-type]
    (lambda: LRSchedule.warmup(3, SCHEDULES["step"], "epoch"), ValueError, "then counts by 'step'"),
    (lambda: LRSchedule(lambda _: math.nan)(3), ValueError, "rate of step 3 must be finite"),
    (lambda: LRSchedule(lambda _: "a")(3), TypeError, "rate of step 3"),  # type: ignore
    (lambda: fit(*task("SGD"), 1, schedule=0.1), TypeError, "schedule must be an LRSchedule"),
    (lambda: fit(*task("SGD"), 1, scheduler=0.1), TypeError, "schedule=pygradc"),
    (lambda: optim.SGD([Value(1.0)], SCHEDULES["step"]), TypeError, r"fit\(\.\.\., schedule=\)"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_what_is_wrong_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_callback_that_sets_lr_beside_a_schedule_is_refused() -> None:
    loss, optimizer = task("SGD")

    def callback(*_: Any) -> None:
        optimizer.lr = 0.5

    with pytest.raises(ValueError, match=r"a callback set lr=0\.5, which schedule= sets"):
        fit(loss, optimizer, 3, schedule=SCHEDULES["step"], callback=callback)


def test_an_optimizer_that_cannot_follow_is_refused() -> None:
    class Uncounted(Steady):
        def step(self) -> None:
            pass

    class Rateless(Steady):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters)
            del self.lr

    loss, optimizer = task("SGD")
    with pytest.raises(TypeError, match=r"Uncounted doesn't count: end it with self\.steps \+= 1"):
        fit(loss, Uncounted(optimizer.parameters), 1, schedule=SCHEDULES["step"])
    with pytest.raises(TypeError, match="lr, which Rateless doesn't have"):
        fit(loss, Rateless(optimizer.parameters), 1, schedule=SCHEDULES["step"])
