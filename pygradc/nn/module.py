"""The base class of models: parameters, their names and states, predictions.

What a class says of its parts is said once, by `_entries`: names, with the Values behind each. The
state, loading it, and the names of parameters follow from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from pygradc import states
from pygradc.core.refusals import refuse
from pygradc.core.scalar import core
from pygradc.nn import scores, summaries
from pygradc.recorded import modules, outputs
from pygradc.value import Value

Floats = npt.NDArray[np.float64]
Entry = tuple[str, Union[modules.Leaves, "Module"]]
"""A name in the state, with its Values; or the prefix of a module that defines its own state."""


class Module:
    """The base class of models: holds parameters, its own Values and those of its submodules.

    If a class doesn't override `parameters`, they are found through its attributes: Values that are
    leaves (not stored outputs, nor detached Values), modules, other objects with a `parameters`
    method except compiled functions and optimizers, and lists, tuples, dicts and object arrays of
    these; in the order of assignment, each once.

        >>> from pygradc import Value, nn
        >>> class Line(nn.Module):
        ...     def __init__(self):
        ...         self.w, self.b = Value(1.0), Value(0.0)
        ...     def __call__(self, x):
        ...         return self.w * x + self.b
        >>> line = Line()
        >>> line.parameters() == [line.w, line.b], line.state_dict()
        (True, {'w': array(1.), 'b': array(0.)})
        >>> line.load_state_dict({"w": 3.0, "b": 1.0})
        >>> line.predict([1.0, 2.0]).tolist()
        [4.0, 7.0]
        >>> line(2.0).backward()
        >>> line.zero_grad()
        >>> line.w.grad
        0.0

    A class that defines a call of one row, `__call__(self, x)`, has `predict` and `score`, too.
    """

    __module__ = "pygradc.nn"

    def parameters(self) -> list[Value]:
        """All parameters, always in the same order."""
        found: dict[int, Value] = {}
        with modules.asking(self):
            for _, part in modules.parts(self, has_own_parameters):
                found.update((id(p), p) for p in values_of(part))
        return list(found.values())

    def named_parameters(self) -> list[tuple[str, Value]]:
        """Each parameter with a name, in the order of `parameters()`.

        The name is that of the array in `state_dict()`, and the place in it.

            >>> from pygradc import nn
            >>> [name for name, _ in nn.MLP(2, [1]).named_parameters()]
            ['layers.0.weight.0.0', 'layers.0.weight.0.1', 'layers.0.bias.0']
        """
        names = self._names()
        return [(names.get(id(p), f"parameters.{i}"), p) for i, p in enumerate(self.parameters())]

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0."""
        core.zero_grad(self.parameters())

    # ---- predictions

    def predict(self, X: Any) -> Floats:
        """The outputs for an array of rows, without gradients: recorded once, replayed in C.

        The recording is kept beside the model. It is made anew after an attribute of the model, or
        of a module in it, was replaced: a parameter, an activation, a number. New data of a
        parameter need no new one. What the model reads elsewhere is fixed when it is recorded, as
        in `pygradc.compile`.

        Args:
            X: Shape (n, inputs); or (n,), if the model takes a number.
        Returns:
            Shape (n,) for one output, (n, outputs) for several; float64.
        Raises:
            ValueError: the rows have another number of inputs than the model.
            TypeError: X isn't an array of numbers; or the model returns something else than a Value
                or a list of them.
            FloatingPointError: a row leaves an op's domain; names row, op and operand.
            TraceError: the model can't be recorded, or this is a recorded function.

            >>> from pygradc import nn
            >>> nn.MLP(2, [4, 1], seed=0).predict([[0.5, -1.0], [2.0, 0.25]]).shape
            (2,)
        """
        refuse("predict()")
        return outputs.of_rows(self, X)

    def score(self, X: Any, y: Any) -> float:
        """Accuracy of the largest output, if there are several and y has one label a row; else R^2.

        R^2 is scikit-learn's `r2_score`: 1 minus the squared errors by the squares of y's
        deviations from its mean; where y doesn't vary, 1 if all outputs are right, else 0. Of
        several outputs, the mean of theirs.

        Args:
            X: Rows, as in `predict`.
            y: Shape (n,): class numbers from 0 to outputs - 1 if there are several outputs, else
                numbers. Shape (n, outputs): numbers.
        Raises:
            ValueError: y has another shape, is no class number, or nan; an output is nan; there is
                no row, or for R^2 only one.
            As `predict`.

            >>> from pygradc import nn
            >>> model = nn.MLP(2, [4, 3], seed=0)
            >>> X = [[0.5, -1.0], [2.0, 0.25]]
            >>> model.score(X, model.predict(X).argmax(axis=1))
            1.0
        """
        refuse("score()")
        return scores.score(outputs.of_rows(self, X), y)

    def summary(self) -> str:
        """A table of the layers: shape, activation, parameters and their memory.

        Memory is that of the parameters' nodes and objects, in bytes; not that of recordings.

            >>> from pygradc import nn
            >>> print(nn.MLP(2, [4, 1]).summary())
            part      kind   shape   activation  parameters   memory
            layers.0  Layer  2 -> 4  tanh                12  1,152 B
            layers.1  Layer  4 -> 1  tanh                 5    480 B
            total     MLP                                17  1,632 B
        """
        return summaries.table(self._all_rows())

    def _all_rows(self) -> list[summaries.Row]:
        """Rows of the summary, and the total."""
        total = summaries.row("total", type(self).__name__, ("", ""), self.parameters())
        return [*self._rows(""), total]

    def __repr__(self) -> str:
        try:
            count = len(self.parameters())
        except Exception:  # half built, such as before the attributes are assigned
            return object.__repr__(self)
        return f"<{type(self).__name__}: {count:,} parameter{'s' * (count != 1)}>"

    def _repr_html_(self) -> str | None:
        """The summary, for notebooks."""
        from pygradc.core import notebook

        if not notebook.is_ours(self):
            return None  # then they show the text
        return notebook.table(summaries.HEADS, self._all_rows(), type(self).__name__)

    def _about(self) -> tuple[str, str] | None:
        """Shape and activation, if it is one row of the summary."""
        return None

    def _rows(self, name: str) -> list[summaries.Row]:
        """Rows of the summary: for each layer, Value or list of Values, and any other object."""
        about, kind = self._about(), type(self).__name__
        if about is not None or not self._is_found_through_attributes():
            return [summaries.row(name or "model", kind, about or ("", ""), self.parameters())]
        rows: list[summaries.Row] = []
        with modules.asking(self):
            for key, part in modules.parts(self, _is_whole):
                rows += _rows_of(f"{name}.{key}" if name else key, part)
        return rows

    def _is_found_through_attributes(self) -> bool:
        """Are its parameters those that its attributes hold?"""
        found = {
            id(v) for _, part in modules.parts(self, has_own_parameters) for v in values_of(part)
        }
        return found == set(map(id, self.parameters()))

    # ---- names and states

    def state_dict(self) -> dict[str, Floats]:
        """The parameters' data by name, float64.

        If the class overrides `parameters`: one array "parameters", shape (parameters,). Otherwise
        one per attribute: for an attribute w the key "w", of shape () for a Value, (n,) for a list
        of n Values, (n, m) for n lists of m; dotted paths reach into submodules: "layers.0.w".
        Layers in an MLP or a Sequential: for each layer i "layers.i.weight", shape (nout, nin), and
        "layers.i.bias", (nout,).
        """
        refuse("state_dict()")
        state: dict[str, Floats] = {}
        for name, part in self._entries():
            for key, array in _state_of(name, part).items():
                if key in state:
                    raise ValueError(f"state_dict: two parts are named {key!r}")
                state[key] = array
        return state

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike | states.Saved]) -> None:
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

    def _load(self, arrays: Mapping[str, Floats]) -> None:
        for name, part in self._entries():
            if isinstance(part, modules.Leaves):
                _assign(part.values, arrays[name])
                continue
            start = f"{name}."
            state = {key[len(start) :]: arrays[key] for key in arrays if key.startswith(start)}
            with modules.asking(part):
                part.load_state_dict(state)

    def _entries(self) -> list[Entry]:
        """The entries of the state, in its order."""
        if type(self).parameters is not Module.parameters:
            return [("parameters", _row_of(self.parameters()))]
        with modules.asking(self):
            parts = modules.parts(self, has_own_state)
            return [entry for name, part in parts for entry in entries_of(name, part)]

    def _names(self) -> dict[int, str]:
        """From the id of each Value in `_entries` to its name."""
        names: dict[int, str] = {}
        for name, part in self._entries():
            if isinstance(part, modules.Leaves):
                places = np.ndindex(part.shape)
                found = [(id(v), _dotted(name, at)) for v, at in zip(part.values, places)]
            else:
                with modules.asking(part):
                    found = [(key, f"{name}.{own}") for key, own in part._names().items()]
            for key, full in found:
                names.setdefault(key, full)
        return names


def _dotted(name: str, place: Iterable[int]) -> str:
    return ".".join((name, *map(str, place)))


def has_own_parameters(part: Any) -> bool:
    """Does this object define its own `parameters`?"""
    return (
        not isinstance(part, Module)
        or type(part).parameters is not Module.parameters
        or callable(getattr(part, "__dict__", {}).get("parameters"))
    )


def has_own_state(part: Any) -> bool:
    """Does it define its parameters, or its state?"""
    return has_own_parameters(part) or _has_other(
        part, "state_dict", "load_state_dict", "_load", "_entries"
    )


def _rows_of(name: str, part: modules.Part) -> list[summaries.Row]:
    if isinstance(part, modules.Leaves):
        shape = " x ".join(map(str, part.shape))
        return [summaries.row(name, "Value", (shape, ""), part.values)]
    if isinstance(part.object, Module):
        return part.object._rows(name)
    return [summaries.row(name, type(part.object).__name__, ("", ""), values_of(part))]


def _is_whole(part: Any) -> bool:
    return isinstance(part, Module) or has_own_parameters(part)


def _has_other(part: Any, *methods: str) -> bool:
    return any(getattr(type(part), name) is not getattr(Module, name) for name in methods)


def values_of(part: modules.Part) -> list[Value]:
    """The parameters of a part."""
    if isinstance(part, modules.Leaves):
        return part.values
    with modules.asking(part.object):
        return list(filter(modules.is_leaf, part.object.parameters()))


def entries_of(name: str, part: modules.Part) -> Iterator[Entry]:
    """The entries of a part of this name."""
    if isinstance(part, modules.Leaves):
        yield name, part
    elif not isinstance(part.object, Module):
        if values := values_of(part):
            yield f"{name}.parameters", _row_of(values)
    elif _has_other(part.object, "state_dict", "load_state_dict", "_load"):
        yield name, part.object
    else:
        with modules.asking(part.object):
            entries = part.object._entries()
        for key, entry in entries:
            yield f"{name}.{key}", entry


def _row_of(values: Sequence[Value]) -> modules.Leaves:
    return modules.Leaves(list(values), (len(values),))


def _state_of(name: str, part: modules.Leaves | Module) -> Mapping[str, Floats]:
    if isinstance(part, modules.Leaves):
        return {name: _data(part.values).reshape(part.shape)}
    with modules.asking(part):
        state = part.state_dict()
    return {f"{name}.{key}": array for key, array in state.items()}


def _data(values: Iterable[Value]) -> Floats:
    return np.array([v.data for v in values], dtype=np.float64)


def _assign(parameters: Sequence[Value], data: Floats) -> None:
    for parameter, number in zip(parameters, data.ravel().tolist()):
        parameter.data = number
