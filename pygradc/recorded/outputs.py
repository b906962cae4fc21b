"""The outputs of a module for many rows: its call, recorded, and again when the module has changed.

A recording refers to the parameters that it met, and holds numbers as constants; so it is outdated
once an attribute refers to another object. Beside each module lies what its attributes referred to
when it was recorded: what can't change is compared by identity, arrays by their content, and lists,
dicts and modules by what they hold. Neither this nor the recording is part of the module, nor keeps
it alive (`instances.py`).
Cost: a visit to each attribute before a replay, a few ns a parameter.
"""

from __future__ import annotations

import operator
import weakref
from typing import Any

import numpy as np

from pygradc.core.scalar import core
from pygradc.recorded import modules
from pygradc.recorded.compiled import Compiled, compile
from pygradc.recorded.instances import Beside
from pygradc.recorded.rows import Floats
from pygradc.value import Value


def of_rows(model: Any, X: Any) -> Floats:
    """What model(x) returns for each row x of X, as an array; see `nn.Module.predict`."""
    kept = _kept.of(model, _Kept)
    is_new = kept.seen != _Attributes(model)
    if is_new:
        _recorded._at.pop(id(model), None)
    calls: Compiled = _recorded.__get__(model, type(model))
    try:
        result = calls.map(X)
    except ValueError:
        _refuse_one_row(X)
        raise
    if is_new:
        kept.seen = _Attributes(model)  # the call may have set some
    if not isinstance(result, np.ndarray):
        raise TypeError(
            f"predict: {type(model).__name__} returns a {type(result).__name__}, not a Value or a "
            "list of Values: write pygradc.compile(model).map(X)"
        )
    return result[:, 0] if result.ndim == 2 and result.shape[1] == 1 else result


@compile
def predict(self: Any, x: Any) -> Any:
    return self(x)


_recorded: Any = predict


def _refuse_one_row(X: Any) -> None:
    """Raise a ValueError that explains a failed call, if X is one row of several numbers."""
    try:
        shape = np.shape(X)
    except ValueError:  # ragged
        return
    if len(shape) == 1 and shape[0]:
        raise ValueError(
            f"predict: expected rows, shape (n, inputs), not {shape}: for one row write "
            "model.predict([x]), or model(x)"
        ) from None


# ---- has the module changed? --------------------------------------------------------------------


class _Attributes:
    """What a module's attributes refer to.

    Attributes:
        same: Values, plain data, methods, and weak references to other objects: by identity.
        equal: kinds, lengths, contents of arrays: by equality.
    """

    __slots__ = ("equal", "same")

    def __init__(self, module: Any) -> None:
        self.same: list[Any] = []
        self.equal: list[Any] = []
        met: set[int] = set()  # containers and modules, which may form cycles
        stack = [module]
        while stack:
            item = stack.pop()
            if id(item) not in met:
                stack += self._look_at(item, met)

    def _look_at(self, item: Any, met: set[int]) -> list[Any]:
        """Note an item; returns what it holds."""
        kind = type(item)
        if kind in _PLAIN or isinstance(item, Value):
            self.same.append(item)
            return []
        self.equal.append(kind)
        if kind is list and core.all_exactly(item, Value):
            self.equal.append(len(item))
            self.same += item
            return []
        if isinstance(item, np.ndarray):
            self.equal += [item.dtype.str, item.shape]
            if item.dtype == object:
                return item.ravel().tolist()  # type: ignore[no-any-return]
            self.equal.append(_content(item))
            return []
        holds = _held_by(item)
        if holds is None:
            self._refer_to(item)
            return []
        met.add(id(item))
        self.equal.append(len(holds))
        return holds

    def _refer_to(self, item: Any) -> None:
        try:
            self.same.append(weakref.ref(item))  # the same one, as long as the item lives
        except TypeError:
            self.equal.append(id(item))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Attributes)
            and len(self.same) == len(other.same)
            and all(map(operator.is_, self.same, other.same))
            and self.equal == other.equal
        )

    __hash__ = None  # type: ignore[assignment]


_MOST_BYTES = 1024  # of an array's content; of longer ones, a digest


def _content(array: Any) -> bytes:
    if array.nbytes <= _MOST_BYTES:
        return array.tobytes()  # type: ignore[no-any-return]
    import hashlib  # takes 3 ms

    return hashlib.sha256(array.tobytes()).digest()


_PLAIN = frozenset((int, float, complex, bool, str, bytes, type(None)))


def _held_by(item: Any) -> list[Any] | None:
    """The items of a container, the attributes of a module and its call; None for other objects."""
    if isinstance(item, (list, tuple)):
        return list(item)
    if isinstance(item, dict):
        return [part for pair in list(item.items()) for part in pair]
    if modules.may_hold(item):
        calls = [vars(kind)["__call__"] for kind in type(item).__mro__ if "__call__" in vars(kind)]
        return [*calls[:1], *(part for pair in modules.attributes(item) for part in pair)]
    return None


class _Kept:
    """Beside a module: its attributes when it was recorded last."""

    seen: _Attributes | None = None


_kept = Beside()
