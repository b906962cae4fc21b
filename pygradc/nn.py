"""Neurons, layers, multilayer perceptrons: the lessons' classes, with one C call per layer.

Weights are drawn with Python's `random.uniform(-1, 1)`, each neuron's weights and then its bias, so
that a seed reproduces the lessons' network. A call builds, node for node, the graph of
`sum((wi*xi for wi, xi in zip(self.w, x)), self.b)` followed by the activation.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Union, cast

import numpy as np
import numpy.typing as npt

from pygradc import states
from pygradc.core.ops import activation_number
from pygradc.core.refusals import refuse
from pygradc.core.scalar import core
from pygradc.recorded import modules
from pygradc.value import Number, Value

Input = Union[Value, Number]
_Parts = tuple[list[Value], Value, int]  # weights, bias, the activation's number


class Module:
    """The base class of models: holds parameters, its own Values and those of its submodules.

    If a class doesn't override `parameters`, they are found through its attributes: Values that are
    leaves (not stored outputs, nor detached Values), modules, other objects with a `parameters`
    method except compiled functions and optimizers, and lists, tuples, dicts and object arrays of
    these; in the order of assignment, each once.

        class Line(nn.Module):
            def __init__(self):
                self.w, self.b = Value(1.0), Value(0.0)

        Line().parameters()         # [w, b]
        Line().state_dict()         # {"w": array(1.), "b": array(0.)}
    """

    def parameters(self) -> list[Value]:
        """All parameters, always in the same order."""
        found: dict[int, Value] = {}
        with modules.asking(self):
            for _, part in modules.parts(self, _has_own_parameters):
                found.update((id(p), p) for p in _values_of(part))
        return list(found.values())

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        core.zero_grad(self.parameters())

    def state_dict(self) -> dict[str, npt.NDArray[np.float64]]:
        """The parameters' data by name, float64.

        If the class overrides `parameters`: one array "parameters", shape (parameters,). Otherwise
        one per attribute: for an attribute w the key "w", of shape () for a Value, (n,) for a list
        of n Values, (n, m) for n lists of m; dotted paths reach into submodules: "layers.0.w".
        """
        refuse("state_dict()")
        if type(self).parameters is not Module.parameters:
            return {"parameters": _data(self.parameters())}
        state: dict[str, npt.NDArray[np.float64]] = {}
        with modules.asking(self):
            for name, part in modules.parts(self, _has_own_state):
                for key, array in _state_of(name, part).items():
                    if key in state:
                        raise ValueError(f"state_dict: two parts are named {key!r}")
                    state[key] = array
        return state

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Set the parameters' data from the result of `state_dict` or `pygradc.load_state`.

        Raises:
            ValueError: a name or a shape differs; the message says which. Nothing is changed.
        """
        refuse("load_state_dict()")
        own = self.state_dict()
        states.check_names("state_dict", state, own)
        arrays = {
            name: states.numbers(f"state_dict: {name!r}", state[name], array.shape)
            for name, array in own.items()
        }
        try:
            self._load(arrays)
        except BaseException:  # from a submodule that checks more of its state
            self._load(own)
            raise

    def _load(self, arrays: Mapping[str, npt.NDArray[np.float64]]) -> None:
        if type(self).parameters is not Module.parameters:
            _assign(self.parameters(), arrays["parameters"])
            return
        with modules.asking(self):
            for name, part in modules.parts(self, _has_own_state):
                _load_part(name, part, arrays)


def _has_own_parameters(part: Any) -> bool:
    """Does this object define its own `parameters`?"""
    return (
        not isinstance(part, Module)
        or type(part).parameters is not Module.parameters
        or callable(getattr(part, "__dict__", {}).get("parameters"))
    )


def _has_own_state(part: Any) -> bool:
    return _has_own_parameters(part) or any(
        getattr(type(part), name) is not getattr(Module, name)
        for name in ("state_dict", "load_state_dict", "_load")
    )


def _values_of(part: modules.Part) -> list[Value]:
    if isinstance(part, modules.Leaves):
        return part.values
    with modules.asking(part.object):
        return list(filter(modules.is_leaf, part.object.parameters()))


def _state_of(name: str, part: modules.Part) -> dict[str, npt.NDArray[np.float64]]:
    if isinstance(part, modules.Leaves):
        return {name: _data(part.values).reshape(part.shape)}
    if not isinstance(part.object, Module):
        values = _values_of(part)
        return {f"{name}.parameters": _data(values)} if values else {}
    with modules.asking(part.object):
        state = part.object.state_dict()
    return {f"{name}.{key}": array for key, array in state.items()}


def _load_part(
    name: str, part: modules.Part, arrays: Mapping[str, npt.NDArray[np.float64]]
) -> None:
    if isinstance(part, modules.Leaves):
        _assign(part.values, arrays[name])
    elif not isinstance(part.object, Module):
        if values := _values_of(part):
            _assign(values, arrays[f"{name}.parameters"])
    else:
        start = f"{name}."
        state = {key[len(start) :]: arrays[key] for key in arrays if key.startswith(start)}
        with modules.asking(part.object):
            part.object.load_state_dict(state)


def _data(values: Iterable[Value]) -> npt.NDArray[np.float64]:
    return np.array([v.data for v in values], dtype=np.float64)


def _assign(parameters: Sequence[Value], data: npt.NDArray[np.float64]) -> None:
    for parameter, number in zip(parameters, data.ravel().tolist()):
        parameter.data = number


def _size(name: str, size: Any) -> int:
    try:
        return operator.index(size)
    except TypeError:
        raise TypeError(f"{name}: sizes must be whole numbers, not {size!r}") from None


def _row(module: Module, x: Any) -> Any:
    """One row as a sequence: a number is a row of one.

    Raises:
        TypeError: x iterates over names or characters, or has no order.
    """
    if type(x) is tuple or (type(x) is np.ndarray and x.ndim == 1):
        return x
    if isinstance(x, (Value, float, int)) or (
        getattr(x, "shape", None) == () and hasattr(x, "item")
    ):
        return (x,)
    if isinstance(x, (Mapping, Set, str, bytes)):
        remedy = "model(list(x.values()))" if isinstance(x, Mapping) else "model(list_of_numbers)"
        raise TypeError(
            f"{type(module).__name__}: expected one row of numbers in order, not a "
            f"{type(x).__name__}: write {remedy}"
        )
    if type(x) is not np.ndarray and getattr(x, "ndim", 1) > 1:  # a table iterates over its names
        _refuse_rows(module, x)
    return x


def _refuse_rows(module: Module, x: Any) -> None:
    """Raise a TypeError that explains a failed call, if x is a batch of rows.

    Otherwise the caller re-raises the original error. It isn't passed in: a frame in its traceback
    that held it would form a cycle, and keep its Values alive until the next garbage collection.
    """
    try:
        axes = np.ndim(x)
    except ValueError:  # ragged
        axes = 0
    if axes < 2:
        return
    name = type(module).__name__
    raise TypeError(
        f"{name}: expected one row, got {len(x)} at once ({axes} axes): write "
        "[model(x) for x in X], or pygradc.compile(model).map(X) for all rows in C"
    ) from None


class Neuron(Module):
    """activation(b + w[0]*x[0] + w[1]*x[1] + ...).

    Args:
        nin: Number of inputs.
        activation: A unary op of the table, or "linear".
    Raises:
        ValueError: unknown activation; a call with a number of inputs other than nin.
    """

    def __init__(self, nin: int, activation: str = "tanh") -> None:
        w = [Value(random.uniform(-1, 1)) for _ in range(_size("Neuron", nin))]
        # One tuple, as the C call takes it: a layer gathers these faster than three attributes.
        self._parts: _Parts = (w, Value(random.uniform(-1, 1)), activation_number(activation))
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

    def __call__(self, x: Any) -> Value:
        row = x if type(x) is list else _row(self, x)
        try:
            outs = core.layer([self._parts], row)
        except (TypeError, ValueError):
            _refuse_rows(self, x)
            raise
        return cast(Value, self._expression(row) if outs is NotImplemented else outs[0])

    def _expression(self, x: Sequence[Input]) -> Any:
        """The same in Python's operators, for when some of them are patched."""
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
        self.neurons = [Neuron(nin, activation) for _ in range(_size("Layer", nout))]
        self.activation = activation

    def __call__(self, x: Any) -> Any:
        neurons = self.neurons
        outs: Any = NotImplemented
        row = x if type(x) is list else _row(self, x)
        if Neuron.__call__ is _neuron_call and core.all_exactly(neurons, Neuron):
            try:
                outs = core.layer([n._parts for n in neurons], row)
            except (TypeError, ValueError):
                _refuse_rows(self, x)
                raise
        if outs is NotImplemented:  # Neuron.__call__, or a Value operator, is patched
            outs = [neuron(row) for neuron in neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self) -> list[Value]:
        found: list[Value] = []
        for neuron in self.neurons:
            found += neuron.parameters()
        return found

    def __repr__(self) -> str:
        nin = len(self.neurons[0].w) if self.neurons else 0
        return f"Layer({nin}, {len(self.neurons)}, {self.activation!r})"


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


class MLP(Module):
    """A multilayer perceptron.

    Args:
        nin: Number of inputs.
        nouts: Number of neurons of each layer; the last layer gives the outputs.
        activation: Of the hidden layers: a unary op of the table, or "linear".
        output_activation: Of the last layer; None for the same.
    A call takes one row, nin numbers or Values (or a single number if nin is 1), and returns one
    Value for one output, else a list.
    Raises:
        ValueError: unknown activation, no layers, or a call with the wrong number of inputs.
        TypeError: a size isn't an integer; a call with a batch of rows.
    """

    def __init__(
        self,
        nin: int,
        nouts: Iterable[int],
        activation: str = "tanh",
        output_activation: str | None = None,
    ) -> None:
        sizes = _sizes(nin, nouts)
        last = activation if output_activation is None else output_activation
        activations = [activation] * (len(sizes) - 2) + [last]
        self.layers = [Layer(*shape) for shape in zip(sizes, sizes[1:], activations)]

    def __call__(self, x: Any) -> Any:
        out: Any = x if type(x) is list else _row(self, x)
        for layer in self.layers:
            out = layer([out] if type(out) is Value else out)
        return out

    def parameters(self) -> list[Value]:
        own: list[Value] = []
        for layer in self.layers:
            own += layer.parameters()
        if type(self) is MLP and len(vars(self)) == 1:
            return own
        found = {id(p): p for p in own}
        for _, part in self._more():
            found.update((id(p), p) for p in _values_of(part))
        return list(found.values())

    def _more(self) -> Iterator[tuple[str, modules.Part]]:
        """The attributes with parameters besides the layers, added by a subclass or the user."""
        with modules.asking(self):
            known = (self.layers, *self.layers, *(p for n in self.layers for p in n.parameters()))
            yield from modules.parts(self, _has_own_state, known)

    def state_dict(self) -> dict[str, npt.NDArray[np.float64]]:
        """For each layer i: "layers.i.weight", shape (nout, nin), and "layers.i.bias", (nout,).

        Other attributes with parameters follow, under their names.
        """
        refuse("state_dict()")
        state = {}
        for i, layer in enumerate(self.layers):
            state[f"layers.{i}.weight"] = np.array([[w.data for w in n.w] for n in layer.neurons])
            state[f"layers.{i}.bias"] = np.array([n.b.data for n in layer.neurons])
        for name, part in self._more():
            state.update(_state_of(name, part))
        return state

    def _load(self, arrays: Mapping[str, npt.NDArray[np.float64]]) -> None:
        for i, layer in enumerate(self.layers):
            _assign([w for n in layer.neurons for w in n.w], arrays[f"layers.{i}.weight"])
            _assign([n.b for n in layer.neurons], arrays[f"layers.{i}.bias"])
        for name, part in self._more():
            _load_part(name, part, arrays)

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"
