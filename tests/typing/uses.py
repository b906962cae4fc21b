"""Every public name, used as it is meant to be, with the types that a checker should see.

mypy and pyright check it (tests/test_typing.py, `make lint`), and the tests run it: what a type
promises is true of the objects. tests/test_typing.py also requires that each public name is here.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

import pygradc
from pygradc import Compiled, Program, Value, compat, functions, losses, models, nn, optim

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from pygradc.typed import Column, Flat, Returned, Row, Stacked
else:

    def assert_type(item: Any, kind: Any) -> Any:
        """Check what can be: the class of the item, and of a list's first item."""
        kinds = [getattr(k, "__origin__", k) for k in getattr(kind, "__args__", ())]
        outer = getattr(kind, "__origin__", kind)
        if outer is Union:
            assert type(item) in [getattr(k, "__origin__", k) for k in kind.__args__]
        elif isinstance(outer, type):
            assert isinstance(item, outer), (item, kind)
            if outer in (list, tuple) and item and isinstance(kinds[0], type):
                assert isinstance(item[0], kinds[0]), (item, kind)
        return item


Floats = npt.NDArray[np.float64]
Outputs = Union[Value, list[Value]]
X, Y = np.array([[1.0, 2.0], [3.0, 4.0], [0.5, -1.0]]), np.array([1.0, -1.0, 0.0])


def values() -> None:
    v = Value(2.0, label="v")
    assert_type(Value(np.float32(0.5)) * Value(np.array(2.0)), Value)
    other: Value = (
        (v + 1) * 2 - v / 3 + v**2 - 2**v + v // 2 % 3 + -abs(+v) + round(v) + math.floor(v)
    )
    assert_type(other.data, float)
    assert_type(other.grad, float)
    assert_type(other.label, str)
    assert_type(divmod(v, 2.0), tuple[Value, Value])
    assert_type(v > 1.0, bool)
    other.backward()
    assert_type(other._prev, set[Value])
    v.data, v.grad, v.label = 1.0, 0.0, "w"
    for method in (v.exp, v.tanh, v.relu, v.sigmoid, v.arcsinh, v.elu, v.conjugate):
        assert_type(method(), Value)
    assert_type(v.atan2(2.0).pow(2).maximum(v).leaky_relu(0.1), Value)
    assert_type(v.polygamma(1), Value)


def functions_of_values() -> None:
    a, b = Value(0.5), Value(0.25)
    unary: list[Callable[[Union[Value, float]], Value]] = [
        pygradc.exp, pygradc.log, pygradc.tanh, pygradc.relu, pygradc.sigmoid, pygradc.sqrt,
        pygradc.sin, pygradc.cos, pygradc.erf, pygradc.softplus, pygradc.log1p, pygradc.expm1,
        pygradc.log2, pygradc.log10, pygradc.exp2, pygradc.cbrt, pygradc.tan, pygradc.asin,
        pygradc.acos, pygradc.atan, pygradc.sinh, pygradc.cosh, pygradc.asinh, pygradc.atanh,
        pygradc.erfc, pygradc.sign, pygradc.floor, pygradc.ceil, pygradc.trunc, pygradc.rint,
        pygradc.gelu, pygradc.silu, pygradc.leaky_relu, pygradc.elu, pygradc.log_ndtr,
        pygradc.lgamma, pygradc.digamma, functions.abs, functions.round,
    ]  # fmt: skip
    for function in unary:
        assert_type(function(a), Value)
        assert_type(function(0.5), Value)
    binary: list[Callable[[Union[Value, float], Union[Value, float]], Value]] = [
        pygradc.add, pygradc.mul, pygradc.atan2, pygradc.hypot, pygradc.fmod, pygradc.mod,
        pygradc.floordiv, pygradc.maximum, pygradc.minimum, functions.pow,
    ]  # fmt: skip
    for two in binary:
        assert_type(two(a, 2.0), Value)
    assert_type(pygradc.acosh(2.0), Value)
    assert_type(pygradc.polygamma(a, 1), Value)
    assert_type(pygradc.sum([a, b, 1.0]), Value)
    assert_type(pygradc.dot([a, b], [1.0, 2.0], 0.5), Value)
    assert_type(pygradc.clip(a, 0.0, 1.0), Value)
    assert_type(pygradc.norm([a, b]), Value)
    assert_type(pygradc.logsumexp([a, b]), Value)
    assert_type(pygradc.softmax([a, b]), list[Value])
    assert_type(pygradc.detach(a), Value)
    assert_type(pygradc.where(a > b, a, 0.0), Value)
    assert_type(pygradc.logical_and(a > 0, b > 0), bool)
    assert_type(pygradc.logical_or(a > 0, b > 0), bool)
    assert_type(pygradc.logical_not(a > 0), bool)
    assert_type(pygradc.take([a, b], 1), Value)
    assert_type(pygradc.take([[a], [b]], a * 0.0), list[Value])
    assert_type(pygradc.take([1.0, 2.0], 1), Union[Value, float])
    assert_type(pygradc.searchsorted([0.0, 1.0], a), Union[Value, int])
    assert_type(pygradc.interp(a, [0.0, 1.0], [2.0, 3.0]), Value)
    assert_type(pygradc.interp(0.5, [0.0, 1.0], [2.0, 3.0]), Union[Value, float])


def graphs() -> None:
    a, b = Value(2.0), Value(3.0)
    y = a * b
    assert_type(pygradc.grad(y, a), Value)
    assert_type(pygradc.grad(y, [a, b]), list[Value])
    assert_type(pygradc.jacobian([y, a], [a, b]), list[list[Value]])
    assert_type(pygradc.hessian(y, [a, b]), list[list[Value]])
    value, slopes = pygradc.value_and_grad(lambda x: x * x)(2.0)
    assert_type(value, Value)
    assert isinstance(slopes, Value)
    pygradc.check_grad(lambda x: x * x, 2.0)
    assert_type(pygradc.data([a, [b][0]]), Floats)
    assert_type(pygradc.grads([a, b]), Floats)
    pygradc.set_data([a, b], np.array([1.0, 2.0]))
    pygradc.clear_grads(y)
    assert_type(pygradc.live_nodes(), int)
    with pygradc.no_grad():
        assert_type(a * b, Value)

    @pygradc.no_grad
    def product(x: Value) -> Value:
        return x * b

    assert_type(product(a), Value)
    for line in pygradc.info().items():
        assert_type(line, tuple[str, str])
    drawing: Callable[[Value], object] = pygradc.draw_dot
    assert callable(drawing)
    square = pygradc.op(lambda x: x * x, lambda x, y: 2.0 * x)
    assert_type(square(a), Value)

    @pygradc.op(derivatives=lambda x, y: -1.0 * x)
    def strange(x: float) -> float:
        return -x

    assert_type(strange(a), Value)


# ---- Recordings ----------------------------------------------------------------------------------

w = Value(0.5)


@pygradc.compile
def loss(x: list[Value], y: Value, *, scale: float = 1.0) -> Value:
    return (w * x[0] * x[1] - y) ** 2 * scale


@pygradc.compile(math="fast", errors="ignore", max_programs=8)
def both(x: list[Value]) -> tuple[Value, Value]:
    return x[0] * w, x[1]


@pygradc.compile
def several(x: list[Value]) -> list[Value]:
    return [x[0] * w, x[1]]


@pygradc.compile
def named(x: list[Value]) -> dict[str, Value]:
    return {"a": x[0], "b": x[1]}


class Line:
    def __init__(self) -> None:
        self.slope = Value(1.0)

    @pygradc.compile
    def at(self, x: Union[Value, float], bias: float = 0.0) -> Value:
        return self.slope * x + bias


def recordings() -> None:
    x = [Value(1.0), Value(2.0)]
    assert_type(loss(x, Value(1.0)), Value)
    assert_type(loss(x, Value(1.0), scale=2.0), Value)
    assert_type(both(x), tuple[Value, Value])
    assert_type(several(x), list[Value])
    assert_type(loss.__wrapped__(x, Value(1.0)), Value)
    assert_type(loss.mean(X, Y), Value)
    assert_type(loss.sum(X, Y, workers=2, scale=2.0), Value)
    assert_type(both.mean(X), tuple[Value, Value])
    assert_type(loss.map(X, Y), Floats)
    assert_type(several.map(X), Floats)
    first, second = both.map(X)
    assert_type(first, Floats)
    assert_type(second, Floats)
    stacked: Stacked = named.map(X)
    assert isinstance(stacked, dict)
    outputs, (by_x, by_y) = loss.gradients(X, Y)
    assert_type(outputs, Floats)
    assert_type(by_x, Floats)
    assert_type(by_y, Floats)
    assert_type(loss.gradients(X, Y, wrt="parameters"), tuple[Floats, Floats])
    assert_type(several.jacobian(X), Floats)
    assert_type(several.vjp([1.0, 2.0], X), Floats)
    assert_type(loss.hessian(X, Y), Floats)
    assert_type(loss.jvp([1.0], X, Y), tuple[Floats, Floats])
    assert_type(loss.hvp([1.0], X, Y, mean=True), Floats)
    assert_type(loss.parameters(), list[Value])
    program = loss.programs[0]
    assert_type(program, Program[Value])
    assert_type(program(x, 1.0), Value)
    assert_type(program.map(X, Y), Floats)
    assert_type(program.mean(X, Y), Value)
    assert_type(program.native, bool)
    assert_type(len(program), int)
    assert_type(program.to_c(), str)
    anything: Compiled = loss
    exactly: Compiled[[list[Value], Value], Value] = pygradc.compile(lambda x, y: x[0] * y)
    columns: list[Column] = [X, Y.tolist()]
    row: Row = [1.0, Value(2.0)]
    flat: Flat = several(x)
    assert anything is loss and row and flat
    assert_type(exactly.mean(*columns), Value)
    assert_type(pygradc.compile(nn.MLP(2, [1])).map(X), Floats)
    in_columns = pygradc.compile(lambda row: row["a"] * row["b"])
    assert_type(in_columns.map({"a": Y, "b": 2.0}), Floats)


def methods() -> None:
    line = Line()
    assert_type(line.at(2.0), Value)
    assert_type(line.at(2.0, bias=1.0), Value)
    assert_type(line.at.mean(Y), Value)
    assert_type(line.at.map(Y), Floats)


def files() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loss.pgc"
        loss.mean(X, Y)
        loss.programs[0].save(path)
        program = pygradc.load(path)
        total: Returned = program.mean(X, Y)
        assert isinstance(total, Value)
        model = nn.MLP(2, [2, 1], seed=0)
        path = Path(folder) / "model.npz"
        pygradc.save_state(model.state_dict(), path)
        model.load_state_dict(pygradc.load_state(path))
        scaling = models.Scaling(np.zeros(2), np.ones(2))
        pygradc.save_model(model, path, scaling)
        saved = pygradc.load_model(path)
        assert_type(saved, models.SavedModel)
        assert_type(saved.model, nn.Module)
        assert saved.predict(X).shape == Y.shape
        assert models.from_state(models.to_state(model)).scaling is None
        assert models.save_model is pygradc.save_model and models.load_model is pygradc.load_model


# ---- Training ------------------------------------------------------------------------------------


class Report:
    def __call__(self, epoch: pygradc.Epoch) -> bool:
        assert_type(epoch.loss, float)
        assert_type(epoch.validation_loss, Union[float, None])
        assert_type(epoch.weights, Floats)
        assert_type(epoch.parameters, list[Value])
        return False


def training() -> None:
    optimizers: list[optim.Optimizer] = [
        optim.SGD([w], lr=0.01, momentum=0.9),
        optim.Adam([w], lr=0.01),
        optim.AdamW([w], lr=0.01),
        optim.RMSprop([w], lr=0.01, clip=optim.ClipGradients(norm=1.0)),
    ]
    for optimizer in optimizers:
        stop = pygradc.EarlyStopping(patience=2, restore_best=True)
        history = pygradc.fit(
            loss, X, Y, optimizer=optimizer, epochs=2, batch_size=2, seed=0,
            validation_data=(X, Y), metrics={"squares": loss}, callbacks=[stop, Report()],
        )  # fmt: skip
        assert_type(history, pygradc.History)
        pygradc.plots.plot_history(history)
        assert_type(history[0], float)
        assert_type(history.loss, list[float])
        assert_type(history.validation_loss, list[float])
        assert_type(history.metrics, dict[str, list[float]])
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.zero_grad()
        loss.mean(X, Y).backward()
        optimizer.step()
    assert_type(optim.number("lr", 0.1), float)
    assert_type(optim.check_clip(None), Union[optim.ClipGradients, None])
    assert_type(pygradc.ClipGradients(value=1.0)([w]), float)
    schedule = pygradc.LRSchedule.warmup(2, then=pygradc.LRSchedule.cosine(0.1, steps=10))
    assert_type(schedule(3), float)
    optim.check_parameters("uses", [w])


def minimizing() -> None:
    found = pygradc.minimize(loss, [w], X, Y)
    assert_type(found.x, Floats)
    assert_type(found.fun, float)


def networks() -> None:
    assert_type(nn.Neuron(2)([1.0, Value(2.0)]), Value)
    assert_type(nn.Layer(2, 1)(X[0]), Value)
    assert_type(nn.Layer(2, 3)(X[0]), Outputs)
    assert_type(nn.Linear(2, 1, bias=False)(X[0]), Value)
    assert_type(nn.Embedding(4, 2)(3), list[Value])
    assert_type(nn.MLP(2, [3, 1])(X[0]), Outputs)
    one: nn.MLP[Value] = nn.MLP(2, [3, 1], activation=Value.gelu, seed=0, init="he")
    many: nn.MLP[list[Value]] = nn.MLP(2, [4, 3], output_activation="linear", seed=0)
    assert_type(one(X[0]), Value)
    assert_type(many(X[0])[0], Value)
    assert_type(nn.MLP[Value](2, [1])(X[0]), Value)
    chain = nn.Sequential(nn.Layer(2, 4, "relu"), nn.Linear(4, 1))
    assert_type(chain(X[0]), Value)
    assert_type(nn.Sequential(nn.Embedding(4, 2))(1), list[Value])
    model: nn.Module = chain
    assert_type(model.parameters(), list[Value])
    assert_type(model.named_parameters(), list[tuple[str, Value]])
    assert_type(model.predict(X), Floats)
    assert_type(model.score(X, Y), float)
    assert_type(model.summary(), str)
    model.zero_grad()

    @pygradc.compile
    def of_row(x: list[Value], y: Value) -> Value:
        return losses.mse(one(x), y)

    assert_type(of_row.mean(X, Y), Value)


def all_losses() -> None:
    logits, targets = [Value(0.5), Value(-0.5)], [1.0, 0.0]
    for loss in (losses.mse, losses.mae, losses.hinge, losses.huber, losses.bce_with_logits):
        assert_type(loss(logits, targets), Value)
    assert_type(losses.bce([Value(0.25)], [1.0]), Value)
    assert_type(losses.log_softmax(logits), list[Value])
    assert_type(losses.cross_entropy(logits, 1), Value)
    assert_type(losses.soft_cross_entropy(logits, targets), Value)
    assert_type(losses.nll(losses.log_softmax(logits), 1), Value)


def errors() -> None:
    assert issubclass(pygradc.RecordingWarning, Warning)
    try:
        pygradc.compile(lambda x: x.data).map(Y)
    except pygradc.TraceError as error:
        assert_type(str(error), str)


def compatibility() -> None:
    compat.install()
    compat.uninstall()


def main() -> None:
    values()
    functions_of_values()
    graphs()
    recordings()
    methods()
    files()
    training()
    networks()
    all_losses()
    errors()
    compatibility()


PARTS: Sequence[Callable[[], None]] = (main, minimizing)

if __name__ == "__main__":
    main()
