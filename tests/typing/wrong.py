"""Wrong uses, each of which mypy and pyright reject; tests/test_typing.py and `make lint` check it.

Of each line marked `type: ignore`, mypy checks that it is wrong, and wrong in this way; pyright,
that it is wrong. Nothing here is run.
"""

from __future__ import annotations

import numpy as np

import pygradc
from pygradc import Compiled, Program, Value, losses, nn, optim

v, X, Y = Value(1.0), np.ones((3, 2)), np.ones(3)


# ---- Values

Value("2")  # type: ignore[arg-type]
Value(1j)  # type: ignore[arg-type]
v + "2"  # type: ignore[operator]
v < "2"  # type: ignore[operator]
v.data = "2"  # type: ignore[assignment]
v.bakward()  # type: ignore[attr-defined]
v.elu("2")  # type: ignore[arg-type]
v.tanh(2)  # type: ignore[call-arg]
v.polygamma()  # type: ignore[call-arg]
float(v)  # type: ignore[arg-type]
[1.0][v]  # type: ignore[call-overload]
round(v, 2)  # type: ignore[call-overload]
pygradc.tanh("2")  # type: ignore[arg-type]
pygradc.tanh(v, v)  # type: ignore[call-arg]
pygradc.maximum(v)  # type: ignore[call-arg]
number: float = v * 2.0  # type: ignore[assignment]


# ---- compiled functions


@pygradc.compile
def loss(x: list[Value], y: Value, *, scale: float = 1.0) -> Value:
    return (x[0] - y) * scale


@pygradc.compile(math="fast")
def pair(x: Value) -> tuple[Value, Value]:
    return x, x


class Model:
    @pygradc.compile
    def loss(self, x: Value) -> Value:
        return x


loss([v, v])  # type: ignore[call-arg]
loss(v, v)  # type: ignore[arg-type]
loss([v, v], v, scal=2.0)  # type: ignore[call-arg]
loss([v, v], v, scale="2")  # type: ignore[arg-type]
loss([v, v], v).bakward()  # type: ignore[attr-defined]
loss.maen(X, Y)  # type: ignore[attr-defined]
loss.map(X, Y).backward()  # type: ignore[attr-defined]
loss.mean(X, Y).shape  # type: ignore[attr-defined]
loss.mean(object(), Y)  # type: ignore[arg-type]
loss.gradients(X, Y, wrt="outputs")  # type: ignore[call-overload]
loss.hessian(X, Y, wrt="outputs")  # type: ignore[arg-type]
loss.map(X, Y, workers="all")  # type: ignore[call-overload]
pair.mean(Y).backward()  # type: ignore[attr-defined]
pair.map(Y).shape  # type: ignore[attr-defined]
Model().loss(v, v)  # type: ignore[call-arg]
Model().loss("x")  # type: ignore[arg-type]
pygradc.compile(3)  # type: ignore[call-overload]
pygradc.compile(math="quick")  # type: ignore[call-overload]
pygradc.compile(loss.__wrapped__, errors="hide")  # type: ignore[call-overload]
other: Compiled[[int], list[Value]] = loss  # type: ignore[assignment]
program: Program[list[Value]] = loss.programs[0]  # type: ignore[assignment]
pygradc.load("loss.pgc").mean(X, Y).backward()  # type: ignore[union-attr]


# ---- training

pygradc.fit(loss.__wrapped__, X, Y)  # type: ignore[arg-type]
pygradc.fit(pair, Y)  # type: ignore[arg-type]
pygradc.fit(loss, X, Y, optimizer="adam")  # type: ignore[arg-type]
pygradc.fit(loss, X, Y, epochs=1.5)  # type: ignore[arg-type]
optim.Adam([1.0])  # type: ignore[list-item]
optim.SGD([v], lr="0.1")  # type: ignore[arg-type]


# ---- networks

nn.MLP(2, 16)  # type: ignore[arg-type]
nn.MLP("2", [16])  # type: ignore[arg-type]
nn.MLP(2, [16, 1])([1.0, 2.0]).backward()  # type: ignore[union-attr]
nn.Layer(2, 16)([1.0, 2.0])[0]  # type: ignore[index]
nn.Layer(2, 1, init="zeros")  # type: ignore[call-overload]
nn.Linear(2, 1)([1.0, 2.0])[0]  # type: ignore[index]
nn.Neuron(2)(object())  # type: ignore[arg-type]
nn.Sequential(2)  # type: ignore[call-overload]
losses.log_softmax([v, v]).backward()  # type: ignore[attr-defined]
losses.huber(v, 1.0, delta="1")  # type: ignore[arg-type]


# ---- derivatives

pygradc.grad(v, 2.0)  # type: ignore[call-overload]
pygradc.grad(v, [v]).data  # type: ignore[attr-defined]
pygradc.jacobian(v, [v])  # type: ignore[arg-type]
pygradc.where("x", v, v)  # type: ignore[arg-type]
pygradc.take(3, v)  # type: ignore[call-overload]
