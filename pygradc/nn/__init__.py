"""Neurons, layers, multilayer perceptrons: the lessons' classes, with one C call per layer.

Weights are drawn with Python's `random.uniform(-1, 1)`, each neuron's weights and then its bias, so
that a seed reproduces the lessons' network; `seed=` and `init=` choose otherwise. A call builds,
node for node, the graph of `sum((wi*xi for wi, xi in zip(self.w, x)), self.b)` followed by the
activation.
Models are composed of layers (`Sequential`), or are classes of one's own (`Module`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union, cast, overload

import numpy as np

from pygradc.core.ops import activation_number
from pygradc.core.scalar import core
from pygradc.nn.initial import LESSONS, Draw, Init, Seed, draw, generator
from pygradc.nn.module import Entry, Module, entries_of, has_own_state, values_of
from pygradc.nn.rows import refuse_rows, row_of
from pygradc.recorded import modules
from pygradc.recorded.tables import take
from pygradc.typed import Generic, Input, Out
from pygradc.value import Value

if TYPE_CHECKING:
    from pygradc.typed import Row

__all__ = ["MLP", "Embedding", "Layer", "Linear", "Module", "Neuron", "Sequential"]

Activation = Union[str, Callable[..., Value]]  # of one Value; [Value] fails in Python 3.9.1
_Inner = Callable[[list[Value]], object]
_Parts = tuple[list[Value], Any, Any]  # weights, bias, the activation's number; None: a function


def _number(activation: Any) -> int | None:
    """The op's number, 0 for "linear"; None for a function of a Value.

    Raises:
        ValueError: no op has this name; or it is math's function, which takes floats only.
    """
    if callable(activation) and getattr(activation, "__module__", None) != "math":
        return None
    return activation_number(activation)


def _written(activation: Any) -> str:
    """The activation as a representation shows it."""
    return repr(activation) if isinstance(activation, str) else _name(activation)


def _name(activation: Any) -> str:
    if isinstance(activation, str):
        return activation
    return str(getattr(activation, "__name__", type(activation).__name__))


def _size(name: str, size: Any) -> int:
    try:
        return operator.index(size)
    except TypeError:
        raise TypeError(f"{name}: sizes must be whole numbers, not {size!r}") from None


class Neuron(Module):
    """activation(b + w[0]*x[0] + w[1]*x[1] + ...).

        >>> from pygradc import nn
        >>> neuron = nn.Neuron(2)
        >>> neuron.w[0].data, neuron.w[1].data, neuron.b.data = 0.5, -0.25, 1.0
        >>> neuron.activation = "linear"
        >>> neuron([2.0, 4.0]).data, len(neuron.parameters())
        (1.0, 3)

    Args:
        nin: Number of inputs.
        activation: A unary op of the table, "linear", or a function from Value to Value.
        bias: Without one, b is the number 0, and no parameter.
        draw: Draws the weights, and then the bias.
    Raises:
        ValueError: unknown activation; a call with a number of inputs other than nin.
    """

    def __init__(
        self, nin: int, activation: Activation = "tanh", *, bias: bool = True, draw: Draw = LESSONS
    ) -> None:
        w = [Value(draw.weight()) for _ in range(_size("Neuron", nin))]
        # One tuple, as the C call takes it: a layer gathers these faster than three attributes.
        self._parts: _Parts = (w, Value(draw.bias()) if bias else 0.0, _number(activation))
        self._name = activation

    @property
    def w(self) -> list[Value]:
        """The weights, one per input. The list, or its items, may be replaced."""
        return self._parts[0]

    @w.setter
    def w(self, w: list[Value]) -> None:
        self._parts = (w, *self._parts[1:])

    @property
    def b(self) -> Value:
        """The bias; may be set."""
        return cast(Value, self._parts[1])

    @b.setter
    def b(self, b: Value) -> None:
        self._parts = (self._parts[0], b, self._parts[2])

    @property
    def activation(self) -> Activation:
        """The activation's name, or the function; may be set."""
        return self._name

    @activation.setter
    def activation(self, activation: Activation) -> None:
        self._parts = (*self._parts[:2], _number(activation))
        self._name = activation

    def __call__(self, x: Row) -> Value:
        row = x if type(x) is list else row_of(self, x)
        try:
            outs = _outputs([self], row)
        except (TypeError, ValueError):
            refuse_rows(self, x)
            raise
        return cast(Value, self._expression(row) if outs is NotImplemented else outs[0])

    def _expression(self, x: Sequence[Input]) -> Any:
        """The same in Python's operators, for when some of them are patched."""
        out: Any = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        if self._parts[2] is None:
            return self._activated(out)
        return out if self.activation == "linear" else getattr(out, cast(str, self._name))()

    def _activated(self, total: Value) -> Value:
        """The activation, a function, of the sum."""
        out = cast(Callable[..., Value], self._name)(total)
        if not isinstance(out, Value):
            raise TypeError(
                f"activation {_name(self._name)} returned a {type(out).__name__}, not a Value: "
                "compute with the Value itself"
            )
        return out

    def parameters(self) -> list[Value]:
        return [*self.w, self.b] if isinstance(self.b, Value) else [*self.w]

    def _about(self) -> tuple[str, str]:
        return f"{len(self.w)} -> 1", _name(self.activation)

    def __repr__(self) -> str:
        return f"Neuron({len(self.w)}, {_written(self.activation)})"


def _outputs(neurons: Sequence[Neuron], row: Sequence[Input]) -> Any:
    """The neurons' outputs by one call to C; NotImplemented where Value is patched."""
    parts = [n._parts for n in neurons]
    try:
        return core.layer(parts, row)
    except TypeError:
        if all(part[2] is not None for part in parts):
            raise
    # Activations that are functions, which C refuses before it builds anything.
    sums = core.layer([(w, b, op or 0) for w, b, op in parts], row)
    if sums is NotImplemented:
        return sums
    return [
        n._activated(out) if part[2] is None else out for n, part, out in zip(neurons, parts, sums)
    ]


_neuron_call = Neuron.__call__


class Layer(Module, Generic[Out]):
    """Neurons side by side over the same inputs.

        >>> from pygradc import nn
        >>> layer = nn.Layer(2, 3, "relu", seed=0)
        >>> print(layer, len(layer([1.0, 2.0])), len(layer.parameters()))
        Layer(2, 3, 'relu') 3 9

    Args:
        nin, nout: Number of inputs and of neurons.
        activation: A unary op of the table, "linear", or a function from Value to Value.
        bias: Has each neuron a bias?
        seed: A whole number from 0: weights are drawn by a generator of its own; or a random.Random
            to draw from; or None for Python's `random`.
        init: "uniform": weights and biases between -1 and 1. "xavier": weights up to
            sqrt(6 / (nin + nout)), biases 0 (Glorot & Bengio 2010). "he": weights up to
            sqrt(6 / nin), biases 0 (He et al. 2015).
    A call returns one Value for one neuron, else a list of them.
    """

    @overload
    def __init__(
        self: Layer[Value],
        nin: int,
        nout: Literal[1],
        activation: Activation = "tanh",
        *,
        bias: bool = True,
        seed: Seed = None,
        init: Init = "uniform",
    ) -> None: ...
    @overload
    def __init__(
        self,
        nin: int,
        nout: int,
        activation: Activation = "tanh",
        *,
        bias: bool = True,
        seed: Seed = None,
        init: Init = "uniform",
    ) -> None: ...
    def __init__(
        self,
        nin: int,
        nout: int,
        activation: Activation = "tanh",
        *,
        bias: bool = True,
        seed: Seed = None,
        init: Init = "uniform",
    ) -> None:
        inputs, count = _size("Layer", nin), _size("Layer", nout)
        how = draw(type(self).__name__, inputs, count, seed, init)
        self.neurons = [Neuron(inputs, activation, bias=bias, draw=how) for _ in range(count)]
        self.activation = activation

    def __call__(self, x: Row) -> Out:
        neurons = self.neurons
        outs: Any = NotImplemented
        row = x if type(x) is list else row_of(self, x)
        if Neuron.__call__ is _neuron_call and core.all_exactly(neurons, Neuron):
            try:
                outs = _outputs(neurons, row)
            except (TypeError, ValueError):
                refuse_rows(self, x)
                raise
        if outs is NotImplemented:  # Neuron.__call__, or a Value operator, is patched
            outs = [neuron(row) for neuron in neurons]
        return outs[0] if len(outs) == 1 else outs  # type: ignore[no-any-return]

    def parameters(self) -> list[Value]:
        found: list[Value] = []
        for neuron in self.neurons:
            found += neuron.parameters()
        return found

    def _arrays(self) -> list[Entry]:
        """Weights and biases, as a Sequential names them in its state."""
        neurons = self.neurons
        weights = [w for n in neurons for w in n.w]
        biases = [n.b for n in neurons if isinstance(n.b, Value)]
        found: list[Entry] = [("weight", modules.Leaves(weights, (len(neurons), self._inputs())))]
        return found + [("bias", modules.Leaves(biases, (len(biases),)))] * bool(biases)

    def _inputs(self) -> int:
        return len(self.neurons[0].w) if self.neurons else 0

    def _about(self) -> tuple[str, str]:
        return f"{self._inputs()} -> {len(self.neurons)}", _name(self.activation)

    def _without_bias(self) -> str:
        has_bias = any(isinstance(n.b, Value) for n in self.neurons) or not self.neurons
        return "" if has_bias else ", bias=False"

    def __repr__(self) -> str:
        activation = _written(self.activation)
        return f"Layer({self._inputs()}, {len(self.neurons)}, {activation}{self._without_bias()})"


class Linear(Layer[Out]):
    """A layer without activation: b + w[0]*x[0] + w[1]*x[1] + ... for each output.

        >>> from pygradc import nn
        >>> model = nn.Sequential(nn.Layer(2, 8, "relu"), nn.Linear(8, 1))
        >>> [name for name in model.state_dict()]
        ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']

    Its state is "weight", shape (nout, nin), and "bias", (nout,).

    Args:
        nin, nout, bias, seed, init: As in `Layer`.
    """

    @overload
    def __init__(
        self: Linear[Value],
        nin: int,
        nout: Literal[1],
        bias: bool = True,
        *,
        seed: Seed = None,
        init: Init = "uniform",
    ) -> None: ...
    @overload
    def __init__(
        self, nin: int, nout: int, bias: bool = True, *, seed: Seed = None, init: Init = "uniform"
    ) -> None: ...
    def __init__(
        self, nin: int, nout: int, bias: bool = True, *, seed: Seed = None, init: Init = "uniform"
    ) -> None:
        if not isinstance(bias, (bool, np.bool_)):  # an activation, as in Layer(nin, nout, "relu")
            raise TypeError(f"Linear: bias must be True or False, not {bias!r}")
        super().__init__(nin, nout, "linear", bias=bool(bias), seed=seed, init=init)

    def _entries(self) -> list[Entry]:
        return self._arrays()

    def __repr__(self) -> str:
        return f"Linear({self._inputs()}, {len(self.neurons)}{self._without_bias()})"


class Embedding(Module):
    """Rows of a table by index, such as a vector for each token.

        >>> from pygradc import nn
        >>> model = nn.Sequential(nn.Embedding(27, 4), nn.Layer(3 * 4, 16), nn.Linear(16, 27))
        >>> len(model([0, 5, 13]))                           # of three letters
        27

    Weights are between -1 and 1, row by row. The state is "weight", shape (count, size).

    Args:
        count: Number of rows.
        size: Numbers in a row.
        seed: As in `Layer`.
    A call takes an index, from 0 to count - 1, a number or a Value, and returns the row, a list of
    size Values; of a row of indices, their rows one after the other. In a recorded function an
    index may be an input.
    Raises:
        ValueError: count or size isn't at least 1.
        IndexError: no such row; a recorded one raises FloatingPointError, which names the row.
    Source: `pygradc.take`.
    """

    def __init__(self, count: int, size: int, *, seed: Seed = None) -> None:
        shape = _size("Embedding", count), _size("Embedding", size)
        if min(shape) < 1:
            raise ValueError(f"Embedding: count and size must be at least 1, not {shape}")
        how = draw("Embedding", *shape, seed, "uniform")
        self.weight = [[Value(how.weight()) for _ in range(shape[1])] for _ in range(shape[0])]

    def __call__(self, x: Row) -> list[Value]:
        try:
            rows = [take(self.weight, index) for index in row_of(self, x)]
        except TypeError:
            refuse_rows(self, x)
            raise
        return [value for row in rows for value in row]

    def _about(self) -> tuple[str, str]:
        return f"{len(self.weight)} x {len(self.weight[0])}", ""

    def __repr__(self) -> str:
        return f"Embedding({len(self.weight)}, {len(self.weight[0])})"


class Sequential(Module, Generic[Out]):
    """Layers one after the other, each taking what the one before it returns.

        >>> from pygradc import nn
        >>> model = nn.Sequential(nn.Layer(2, 8, "relu", seed=0), nn.Linear(8, 1, seed=1))
        >>> model.predict([[0.5, 1.0], [2.0, -1.0]]).shape
        (2,)

    Args:
        layers: Modules, or functions of a list of Values. `self.layers` holds them; it may be
            changed.
    A call takes one row, and returns what the last layer does.
    Raises:
        TypeError: a layer can't be called; a call with a batch of rows.
        ValueError: no layers.
    """

    @overload
    def __init__(self, last: Callable[[list[Value]], Out], /) -> None: ...
    @overload
    def __init__(self, a: _Inner, last: Callable[[list[Value]], Out], /) -> None: ...
    @overload
    def __init__(self, a: _Inner, b: _Inner, last: Callable[[list[Value]], Out], /) -> None: ...
    @overload
    def __init__(self, *layers: _Inner) -> None: ...
    def __init__(self, *layers: Any) -> None:
        if not layers:
            raise ValueError("Sequential: there must be at least one layer")
        for i, layer in enumerate(layers):
            if isinstance(layer, type) or not callable(layer):
                hint = ": write Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
                raise TypeError(
                    f"Sequential: layer {i} must be a module or a function, not {layer!r}{hint}"
                )
        self.layers: list[Any] = list(layers)

    def __call__(self, x: Row) -> Out:
        out: Any = x if type(x) is list else row_of(self, x)
        for layer in self.layers:
            out = layer([out] if type(out) is Value else out)
        return out  # type: ignore[no-any-return]

    def _more(self) -> Iterator[tuple[str, modules.Part]]:
        """The attributes with parameters besides the layers, added by a subclass or the user."""
        with modules.asking(self):
            own = [p for layer in self.layers for p in _parameters_of(layer)]
            yield from modules.parts(self, has_own_state, (self.layers, *self.layers, *own))

    def _entries(self) -> list[Entry]:
        found: list[Entry] = []
        for i, layer in enumerate(self.layers):
            name = f"layers.{i}"
            if isinstance(layer, Layer) and type(layer).parameters is Layer.parameters:
                found += [(f"{name}.{key}", part) for key, part in layer._arrays()]
            elif callable(getattr(layer, "parameters", None)):
                found += entries_of(name, modules.Other(layer))
        for name, part in self._more():
            found += entries_of(name, part)
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__} of [{', '.join(map(_shown, self.layers))}]"


def _shown(layer: Any) -> str:
    return repr(layer) if isinstance(layer, Module) else _name(layer)


def _parameters_of(layer: Any) -> list[Value]:
    return list(layer.parameters()) if callable(getattr(layer, "parameters", None)) else []


def _sizes(nin: Any, nouts: Any) -> list[int]:
    if isinstance(nouts, (str, bytes)) or not isinstance(nouts, Iterable):
        example = f"[{nouts}]" if isinstance(nouts, (int, np.integer)) else "[16, 1]"
        raise TypeError(
            "MLP: expected a list with the number of neurons of each layer, not "
            f"{nouts!r}: MLP({nin}, {example})"
        )
    sizes = [_size("MLP", size) for size in (nin, *nouts)]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"MLP: sizes must be at least 1, with at least one layer, not {sizes}")
    return sizes


class MLP(Sequential[Out]):
    """A multilayer perceptron.

        >>> from pygradc import nn
        >>> model = nn.MLP(2, [4, 1], output_activation="linear", seed=0, init="xavier")
        >>> print(model)
        MLP of [Layer(2, 4, 'tanh'), Layer(4, 1, 'linear')]
        >>> model([0.5, -1.0]).backward()
        >>> len(model.parameters()), model.parameters()[0].grad != 0.0
        (17, True)

    Args:
        nin: Number of inputs.
        nouts: Number of neurons of each layer; the last layer gives the outputs.
        activation: Of the hidden layers: a unary op of the table, "linear", or a function from
            Value to Value.
        output_activation: Of the last layer; None for the same.
        seed: A whole number from 0: weights are drawn by a generator of its own, and Python's
            `random` is left alone; or a random.Random to draw from. None: Python's `random`.
        init: Of the weights of each layer: "uniform", "xavier" or "he", as in `Layer`.
    A call takes one row, nin numbers or Values (or a single number if nin is 1), and returns one
    Value for one output, else a list.
    Raises:
        ValueError: unknown activation or init, no layers, or a call with the wrong number of
            inputs.
        TypeError: a size or the seed isn't an integer; a call with a batch of rows.
    """

    def __init__(
        self,
        nin: int,
        nouts: Iterable[int],
        activation: Activation = "tanh",
        output_activation: Activation | None = None,
        *,
        seed: Seed = None,
        init: Init = "uniform",
    ) -> None:
        sizes = _sizes(nin, nouts)
        last = activation if output_activation is None else output_activation
        activations = [activation] * (len(sizes) - 2) + [last]
        own = generator("MLP", seed)  # one for all layers
        self.layers = [
            Layer(*shape, seed=own, init=init) for shape in zip(sizes, sizes[1:], activations)
        ]

    def parameters(self) -> list[Value]:
        own: list[Value] = []
        for layer in self.layers:
            own += layer.parameters()
        if type(self) is MLP and len(vars(self)) == 1:
            return own
        found = {id(p): p for p in own}
        for _, part in self._more():
            found.update((id(p), p) for p in values_of(part))
        return list(found.values())
