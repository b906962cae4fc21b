"""micrograd's networks: ReLU, zero biases, a linear last layer; one call into the core per layer.

A seed gives micrograd's weights: `random.uniform(-1, 1)`, neuron by neuron, in its order. A call
builds, node for node, the graph of `sum((wi*xi for wi, xi in zip(w, x)), b)`. Neurons keep plain
attributes, which may be set. If a call can't go through the core (patched operators, a different
number of inputs, inputs from an iterator), that expression itself is evaluated.
pygradc's own networks, in `pygradc.nn`, have more activations and named weights.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pygradc import nn
from pygradc.core.ops import activation_number
from pygradc.core.scalar import core
from pygradc.value import Value

__all__ = ["MLP", "Layer", "Module", "Neuron"]

_RELU, _LINEAR = activation_number("relu"), activation_number("linear")


def _native(neurons: Sequence[Neuron], x: Any) -> Any:
    """The outputs of these neurons from one call into the core; None if it can't compute them."""
    if not (isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.ndim == 1)):
        return None
    count = len(x)
    parts = [(n.w, n.b, _RELU if n.nonlin else _LINEAR) for n in neurons]
    if any(len(part[0]) != count for part in parts):
        return None
    outs = core.layer(parts, x)
    return None if outs is NotImplemented else outs


class Module(nn.Module):
    """micrograd's: without an override `parameters()` is empty; attributes are not searched."""

    def parameters(self) -> list[Value]:
        return []


class Neuron(Module):
    """b + w[0]*x[0] + w[1]*x[1] + ..., followed by ReLU if nonlin.

    Args:
        nin: Number of inputs. A call with more or fewer ignores the excess, as `zip` does.
        nonlin: True for ReLU, False for linear.
    """

    def __init__(self, nin: int, nonlin: bool = True) -> None:
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin

    def __call__(self, x: Iterable[Any]) -> Any:
        outs = _native([self], x)
        return self._expression(x) if outs is None else outs[0]

    def _expression(self, x: Iterable[Any]) -> Any:
        out: Any = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return out.relu() if self.nonlin else out

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]

    def __repr__(self) -> str:
        return f"{'ReLU' if self.nonlin else 'Linear'}Neuron({len(self.w)})"


_neuron_call = Neuron.__call__


class Layer(Module):
    """Neurons side by side over the same inputs; keyword arguments go to each Neuron.

    A call returns one Value for one neuron, else a list of them.
    """

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        self.neurons = [Neuron(nin, **kwargs) for _ in range(nout)]

    def __call__(self, x: Iterable[Any]) -> Any:
        outs = None
        if Neuron.__call__ is _neuron_call and core.all_exactly(self.neurons, Neuron):
            outs = _native(self.neurons, x)
        if outs is None:
            outs = [neuron(x) for neuron in self.neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self) -> list[Value]:
        return [p for neuron in self.neurons for p in neuron.parameters()]

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(map(str, self.neurons))}]"


class MLP(Module):
    """Layers one after the other, with ReLU on all but the last.

    Args:
        nin: Number of inputs.
        nouts: Number of neurons of each layer; the last layer gives the outputs.
    """

    def __init__(self, nin: int, nouts: Iterable[int]) -> None:
        sizes = [nin, *nouts]
        last = len(sizes) - 2
        self.layers = [
            Layer(*shape, nonlin=i != last) for i, shape in enumerate(zip(sizes, sizes[1:]))
        ]

    def __call__(self, x: Iterable[Any]) -> Any:
        out: Any = x
        for layer in self.layers:
            out = layer(out)
        return out

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for p in layer.parameters()]

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(str, self.layers))}]"
