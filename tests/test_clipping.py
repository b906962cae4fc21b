"""Are gradients clipped as a plain formula and PyTorch do, in a loop and in fit?"""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import ClipGradients, Value, optim

XS = np.random.default_rng(5).normal(size=(12, 3))
YS = np.random.default_rng(6).normal(size=12)
CLIPS = {
    "norm": ClipGradients(norm=0.3),
    "never": ClipGradients(norm=1e6),
    "value": ClipGradients(value=0.1),
}
each_clip = pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
KINDS: dict[str, Any] = {
    "SGD": lambda ps, **how: optim.SGD(ps, lr=0.1, momentum=0.5, **how),
    "plain SGD": lambda ps, **how: optim.SGD(ps, lr=0.1, **how),
    "RMSprop": lambda ps, **how: optim.RMSprop(ps, lr=0.1, **how),
    "Adam": lambda ps, **how: optim.Adam(ps, lr=0.1, **how),
    "AdamW": lambda ps, **how: optim.AdamW(ps, lr=0.1, **how),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def oracle(gradients: list[float], clip: ClipGradients) -> list[float]:
    """The formula, in floats."""
    if clip.value is not None:
        return [max(-clip.value, min(clip.value, g)) for g in gradients]
    squares = 0.0
    for g in gradients:
        squares += g * g
    assert clip.norm is not None
    factor = clip.norm / (math.sqrt(squares) + 1e-6)
    return [g * factor for g in gradients] if factor < 1.0 else gradients


def with_gradients(gradients: list[float]) -> list[Value]:
    values = [Value(float(i)) for i in range(len(gradients))]
    for v, g in zip(values, gradients):
        v.grad = g
    return values


def task() -> tuple[list[Value], Any]:
    w = [Value(x) for x in (0.5, -0.5, 2.0)]
    return w, pygradc.compile(lambda x, y: (pygradc.dot(w, x) - y) ** 2)


# ---- One call ------------------------------------------------------------------------------------


@each_clip
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_a_call_is_the_formula_to_the_last_bit(clip: ClipGradients, count: int) -> None:
    gradients = np.random.default_rng(count).normal(size=count).tolist()
    values = with_gradients(gradients)
    data = [v.data for v in values]
    clip(values)
    assert [v.grad for v in values] == oracle(gradients, clip)
    assert [v.data for v in values] == data


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e9])
def test_a_call_is_torchs(size: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = (size * np.random.default_rng(0).normal(size=50)).tolist()
    ours = with_gradients(gradients)
    theirs = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    for mine, call in (
        (ClipGradients(norm=0.5), lambda: torch.nn.utils.clip_grad_norm_([theirs], 0.5)),
        (ClipGradients(value=0.2), lambda: torch.nn.utils.clip_grad_value_([theirs], 0.2)),
    ):
        theirs.grad = torch.tensor(gradients, dtype=torch.float64)
        for v, g in zip(ours, gradients):
            v.grad = g
        norm, expected = mine(ours), call()
        assert [v.grad for v in ours] == pytest.approx(theirs.grad.tolist(), rel=1e-12)
        assert expected is None or norm == pytest.approx(float(expected), rel=1e-12)


def test_squares_out_of_range() -> None:
    values = with_gradients([3e200, -4e200])
    assert ClipGradients(norm=10.0)(values) == pytest.approx(5e200)
    assert [v.grad for v in values] == pytest.approx([6.0, -8.0])
    values = with_gradients([3e-200, -4e-200])
    assert ClipGradients(norm=1.0)(values) == pytest.approx(5e-200)
    assert [v.grad for v in values] == [3e-200, -4e-200]
    assert ClipGradients(norm=1.0)(with_gradients([0.0, -0.0])) == 0.0


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan])
def test_infinite_gradients_and_nan_stay(odd: float) -> None:
    values = with_gradients([3.0, odd, 4.0])
    assert not math.isfinite(ClipGradients(norm=1.0)(values))
    assert str([v.grad for v in values]) == str([3.0, odd, 4.0])
    ClipGradients(value=1.0)(values)
    assert str([v.grad for v in values]) == str([1.0, odd, 1.0])


# ---- Steps ---------------------------------------------------------------------------------------


@each_kind
@each_clip
def test_a_clipped_step_is_clipping_and_a_step(kind: str, clip: ClipGradients) -> None:
    gradients = [3.0, -0.2, 0.05]
    ours, theirs = with_gradients(gradients), with_gradients(oracle(gradients, clip))
    KINDS[kind](ours, clip=clip).step()
    KINDS[kind](theirs).step()
    assert [(v.data, v.grad) for v in ours] == [(v.data, v.grad) for v in theirs]


@each_kind
@each_clip
@pytest.mark.parametrize("workers", [1, 2])
def test_fit_is_the_loop_written_out(kind: str, clip: ClipGradients, workers: int) -> None:
    parameters, loss = task()
    spare = Value(1.0)  # which the program doesn't have
    optimizer = KINDS[kind]([spare, *reversed(parameters)], clip=clip)
    how: dict[str, Any] = {"batch_size": 5, "shuffle": False, "workers": workers}
    pygradc.fit(loss, XS, YS, optimizer, epochs=4, **how)
    theirs, same = task()
    other = KINDS[kind]([Value(1.0), *reversed(theirs)])
    clipped = 0
    for first in [0, 5, 10] * 4:
        other.zero_grad()
        same.mean(XS[first : first + 5], YS[first : first + 5]).backward()
        gradients = [p.grad for p in other.parameters]
        for p, g in zip(other.parameters, oracle(gradients, clip)):
            clipped += p.grad != g
            p.grad = g
        other.step()
    assert (clipped > 0) == (clip is not CLIPS["never"])
    got, expected = ([(p.data, p.grad) for p in o.parameters] for o in (optimizer, other))
    assert got == expected


def test_a_wide_layer_is_clipped_as_a_whole() -> None:
    """SGD would step such a layer's weights while their sums are formed."""
    w = [Value(0.01 * (i % 7)) for i in range(3000)]
    x = np.random.default_rng(0).normal(size=(4, 3000))
    loss = pygradc.compile(lambda row: (pygradc.dot(w, row) - 1.0) ** 2)
    pygradc.fit(loss, x, optim.SGD(w, lr=0.1, clip=ClipGradients(norm=0.5)), epochs=1)
    after = [p.data for p in w]
    assert math.sqrt(sum(p.grad * p.grad for p in w)) == pytest.approx(0.5, rel=1e-5)
    pygradc.set_data(w, [0.01 * (i % 7) for i in range(3000)])
    optimizer = optim.SGD(w, lr=0.1)
    optimizer.zero_grad()
    loss.mean(x).backward()
    for p, g in zip(w, oracle([p.grad for p in w], ClipGradients(norm=0.5))):
        p.grad = g
    optimizer.step()
    assert [p.data for p in w] == after


@each_clip
def test_a_gradient_that_is_not_finite_is_refused(clip: ClipGradients) -> None:
    w = Value(0.0)
    loss = pygradc.compile(lambda x: (w * x) ** 0.5 + w)
    optimizer = optim.SGD([w], lr=0.1, clip=clip)
    with pytest.raises((FloatingPointError, ZeroDivisionError)):
        pygradc.fit(loss, [1.0, 1.0], optimizer)
    assert w.data == 0.0 and optimizer.steps == 0


# ---- The setting ---------------------------------------------------------------------------------


def test_a_checkpoint_keeps_the_clip(tmp_path: Path) -> None:
    file, results = tmp_path / "run.npz", []
    for parts in ([6], [3, 6]):
        parameters, loss = task()
        for epochs in parts:
            optimizer = optim.Adam(parameters, lr=0.1, clip=ClipGradients(norm=0.2))
            pygradc.fit(
                loss, XS, YS, optimizer, epochs=epochs, batch_size=5, seed=0, checkpoint=file,
                resume=epochs == 6 and len(parts) == 2,
            )  # fmt: skip
            assert optimizer.clip == ClipGradients(norm=0.2)
        results.append([p.data for p in parameters])
    assert results[0] == results[1]
    with pytest.raises(ValueError, match="clip is"):
        pygradc.fit(
            loss, XS, YS, optim.Adam(parameters, lr=0.1), epochs=9, batch_size=5, seed=0,
            checkpoint=file, resume=True,
        )  # fmt: skip


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, TypeError, "give one of norm and value"),
    ({"norm": 1.0, "value": 1.0}, TypeError, "give one of norm and value"),
    ({"norm": 0.0}, ValueError, "norm must be finite and above 0"),
    ({"value": -1.0}, ValueError, "value must be finite and above 0"),
    ({"norm": math.nan}, ValueError, "norm must be finite"),
    ({"value": math.inf}, ValueError, "value must be finite"),
    ({"norm": "1"}, TypeError, "without quotes"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_a_wrong_limit_is_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ClipGradients(**arguments)


@each_kind
def test_a_clip_that_is_none_is_refused(kind: str) -> None:
    with pytest.raises(TypeError, match=r"clip must be a ClipGradients, not float 1\.0"):
        KINDS[kind]([Value(1.0)], clip=1.0)
    parameters, loss = task()
    with pytest.raises(TypeError, match=r"clip=ClipGradients\(norm=1\.0\)"):
        pygradc.fit(loss, XS, YS, KINDS[kind](parameters), clip=CLIPS["norm"])
    clip = CLIPS["norm"]
    assert copy.copy(clip) == pickle.loads(pickle.dumps(clip)) == clip
    assert repr(clip) == "ClipGradients(norm=0.3, value=None)"
