"""Neurons, layers, multilayer perceptrons: the lessons' classes, a layer in one C call.

Weights are drawn with Python's `random.uniform(-1, 1)`, each neuron's weights and then its bias, so
that a seed gives the lessons' network. The graph of a call is, node for node, that of
`sum((wi*xi for wi, xi in zip(self.w, x)), self.b)` and the activation.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union, cast

import numpy as np
import numpy.typing as npt

from pygradc import states
from pygradc._ops import activation_number
from pygradc._scalar import Scalar
from pygradc.value import Number, Value

Input = Union[Value, Number]
_Parts = tuple[list[Value], Value, int]  # weights, bias, the activation's number


class Module:
    """Something with parameters. A subclass overrides `parameters`."""

    def parameters(self) -> list[Value]:
        """All parameters, always in the same order."""
        return []

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        Scalar._zero_grad(self.parameters())

    def state_dict(self) -> dict[str, npt.NDArray[np.float64]]:
        """The parameters' data by name. Here: one array, shape (parameters,), float64."""
        return {"parameters": np.array([p.data for p in self.parameters()], dtype=np.float64)}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Set the parameters' data from what `state_dict`, or `pygradc.load_state`, gave.

        Raises:
            ValueError: a name or a shape differs; says which. Nothing is changed.
        """
        own = self.state_dict()
        states.check_names("state_dict", state, own)
        self._load(
            {
                name: states.numbers(f"state_dict: {name!r}", state[name], array.shape)
                for name, array in own.items()
            }
        )

    def _load(self, arrays: Mapping[str, npt.NDArray[np.float64]]) -> None:
        _assign(self.parameters(), arrays["parameters"])


def _assign(parameters: Sequence[Value], data: npt.NDArray[np.float64]) -> None:
    for parameter, number in zip(parameters, data.ravel().tolist()):
        parameter.data = number


class Neuron(Module):
    """activation(b + w[0]*x[0] + w[1]*x[1] + ...).

    Args:
        nin: Number of inputs.
        activation: A unary op of the table, or "linear".
    Raises:
        ValueError: unknown activation; a call with another number of inputs than nin.
    """

    def __init__(self, nin: int, activation: str = "tanh") -> None:
        w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        # One tuple, as the C call takes it: a layer collects these faster than three attributes.
        self._parts: _Parts = (w, Value(random.uniform(-1, 1)), activation_number(activation))
        self._name = activation

    @property
    def w(self) -> list[Value]:
        """The weights, one an input: a list, whose items may be replaced; or set another."""
        return self._parts[0]

    @w.setter
    def w(self, w: list[Value]) -> None:
        self._parts = (w, *self._parts[1:])

    @property
    def b(self) -> Value:
        """The bias; may be set."""
        return self._parts[1]

    @b.setter
    def b(self, b: Value) -> None:
        self._parts = (self._parts[0], b, self._parts[2])

    @property
    def activation(self) -> str:
        """The activation's name; may be set."""
        return self._name

    @activation.setter
    def activation(self, name: str) -> None:
        self._parts = (*self._parts[:2], activation_number(name))
        self._name = name

    def __call__(self, x: Sequence[Input]) -> Value:
        outs = Scalar._layer([self._parts], x)
        return cast(Value, self._expression(x) if outs is NotImplemented else outs[0])

    def _expression(self, x: Sequence[Input]) -> Any:
        """The same in Python's operators, for a class of which somebody has patched some."""
        out: Any = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return out if self.activation == "linear" else getattr(out, self.activation)()

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]

    def __repr__(self) -> str:
        return f"Neuron({len(self.w)}, {self.activation!r})"


_neuron_call = Neuron.__call__


class Layer(Module):
    """Neurons side by side over the same inputs.

    A call returns one Value for one neuron, else a list of them.
    """

    def __init__(self, nin: int, nout: int, activation: str = "tanh") -> None:
        self.neurons = [Neuron(nin, activation) for _ in range(nout)]
        self.activation = activation

    def __call__(self, x: Sequence[Input]) -> Any:
        neurons = self.neurons
        outs: Any = NotImplemented
        if Neuron.__call__ is _neuron_call and Scalar._all_exactly(neurons, Neuron):
            outs = Scalar._layer([n._parts for n in neurons], x)
        if outs is NotImplemented:  # somebody taught neurons, or Values, another trick
            outs = [neuron(x) for neuron in neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self) -> list[Value]:
        return [p for neuron in self.neurons for p in neuron.parameters()]

    def __repr__(self) -> str:
        nin = len(self.neurons[0].w) if self.neurons else 0
        return f"Layer({nin}, {len(self.neurons)}, {self.activation!r})"


class MLP(Module):
    """A multilayer perceptron.

    Args:
        nin: Number of inputs.
        nouts: Neurons of each layer, the last being the outputs.
        activation: Of the hidden layers: a unary op of the table, or "linear".
        output_activation: Of the last layer; None: the same.
    A call takes nin numbers or Values and returns one Value for one output, else a list.
    Raises:
        ValueError: unknown activation, no layers, or a call with another number of inputs.
    """

    def __init__(
        self,
        nin: int,
        nouts: Iterable[int],
        activation: str = "tanh",
        output_activation: str | None = None,
    ) -> None:
        sizes = [nin, *nouts]
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"MLP: sizes must be at least 1, with at least one layer, not {sizes}")
        last = activation if output_activation is None else output_activation
        activations = [activation] * (len(sizes) - 2) + [last]
        self.layers = [Layer(*shape) for shape in zip(sizes, sizes[1:], activations)]

    def __call__(self, x: Sequence[Input]) -> Any:
        out: Any = x
        for layer in self.layers:
            out = layer([out] if type(out) is Value else out)
        return out

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for p in layer.parameters()]

    def state_dict(self) -> dict[str, npt.NDArray[np.float64]]:
        """For each layer i: "layers.i.weight", shape (nout, nin), and "layers.i.bias", (nout,)."""
        state = {}
        for i, layer in enumerate(self.layers):
            state[f"layers.{i}.weight"] = np.array([[w.data for w in n.w] for n in layer.neurons])
            state[f"layers.{i}.bias"] = np.array([n.b.data for n in layer.neurons])
        return state

    def _load(self, arrays: Mapping[str, npt.NDArray[np.float64]]) -> None:
        for i, layer in enumerate(self.layers):
            _assign([w for n in layer.neurons for w in n.w], arrays[f"layers.{i}.weight"])
            _assign([n.b for n in layer.neurons], arrays[f"layers.{i}.bias"])

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"
