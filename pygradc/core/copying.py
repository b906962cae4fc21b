"""Copies and pickles of Values with the graphs below them.

A leaf is pickled by itself: its data, gradient and attributes. Any other Value is an index into a
`Part`: the subgraph below it serialized to one byte string, without the nodes of other live parts
and without leaves that Python references; both are pickled as separate Values next to the bytes.
Pickle and deepcopy memoize the part, so that Values in one list, model or dict keep sharing their
common nodes. Neither direction recurses over the graph.
Source: csrc/graph/graph_bytes.c, csrc/python/scalar_pack.c.
"""

from __future__ import annotations

import copy
import copyreg
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from pygradc.core.forks import in_child
from pygradc.core.scalar import core

_parts: weakref.WeakValueDictionary[int, Part] = weakref.WeakValueDictionary()
_lock = threading.RLock()  # keeps the core's part numbers and `_parts` consistent


@in_child
def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


class Part:
    """A subgraph being copied; keeps its nodes alive."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __reduce_ex__(self, protocol: Any) -> Any:
        content, ends, tags = core.pack(self._capsule)
        names = tuple(tag if isinstance(tag, str) else _op_of(tag) for tag in tags)
        with_state = core.with_state(self._capsule)
        classes = tuple(
            (place, type(v), *_new_arguments(v))
            for place, v in with_state
            if type(v) is not core.Value
        )
        states = [(place, v.__getstate__()) for place, v in with_state]
        return _read, (content, ends, names, classes), states or None

    def __deepcopy__(self, memo: Any) -> Part:
        """As deepcopy's default, but safe if an attribute of a node leads back to this part."""
        _, arguments, states = self.__reduce_ex__(None)
        arguments = copy.deepcopy(arguments, memo)
        if id(self) not in memo:
            part = memo[id(self)] = _read(*arguments)
            if states is not None:
                part.__setstate__([(place, _deep(state, memo)) for place, state in states])
        return memo[id(self)]  # type: ignore[no-any-return]

    def __setstate__(self, states: Any) -> None:
        for place, state in states:
            if state is not None:
                core.value_at(self._capsule, place).__setstate__(state)


def _op_of(rule: Any) -> tuple[Any, int]:
    """A custom op in the form that is pickled: the op and its number of operands."""
    return rule[0], rule[0]._count(rule)


def _read(content: bytes, ends: Any, names: Any, classes: Any) -> Part:
    """Rebuild a part from what `Part.__reduce_ex__` returned."""
    tags = tuple(name if isinstance(name, str) else name[0]._rule(name[1]) for name in names)
    part = Part(core.unpack(content, ends, tags))
    for place, kind, *arguments in classes:
        if arguments or kind.__new__ is not core.Value.__new__:
            core.stand_for(part._capsule, place, _new(kind, *arguments))
        else:
            core.embody(part._capsule, place, kind)
    return part


def _at(part: Part, place: int) -> core.Value:
    return core.value_at(part._capsule, place)


def _leaf(data: float, grad: float = 0.0, kind: Any = None, *arguments: Any) -> core.Value:
    value = core.Value.__new__(core.Value) if kind is None else _new(kind, *arguments)
    value.data, value.grad = data, grad
    return value


def _detached_leaf(data: float, grad: float = 0.0) -> core.Value:
    value: core.Value = core.detach(core.Value(data))
    value.grad = grad
    return value


def _maker_of(value: core.Value) -> Callable[..., core.Value]:
    return _detached_leaf if type(value) is core.Value and core.is_detached(value) else _leaf


def _new(kind: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
    """Make an instance without calling __init__, as pickle does."""
    return kind.__new__(kind, *args, **(kwargs or {}))


def _new_arguments(value: core.Value) -> tuple[Any, ...]:
    """The arguments for a subclass's __new__: (), (args,) or (args, kwargs)."""
    if hasattr(value, "__getnewargs_ex__"):
        args, kwargs = value.__getnewargs_ex__()
        return tuple(args), dict(kwargs)
    if hasattr(value, "__getnewargs__"):
        return (tuple(value.__getnewargs__()),)
    return ()


def reduce(value: core.Value) -> Any:
    """The result of `__reduce_ex__`, for pickle and deepcopy."""
    core.ask(value, "a copy")
    found = _find(value)
    if found is None:
        return (_maker_of(value), _arguments_of_leaf(value), value.__getstate__())
    return _at, found


def _find(value: core.Value) -> tuple[Part, int] | None:
    """The live part that contains it, or a new one, and its index there; None for a leaf."""
    with _lock:
        number, place = core.place(value)
        part = _parts.get(number)
        if part is None:
            if not value._children:
                return None
            part = Part(core.collect(value))
            number, place = core.place(value)
            _parts[number] = part
        return part, place


def _arguments_of_leaf(value: core.Value) -> tuple[Any, ...]:
    if type(value) is not core.Value:
        return (value.data, value.grad, type(value), *_new_arguments(value))
    grad = value.grad
    return (value.data,) if grad == 0.0 < math.copysign(1.0, grad) else (value.data, grad)


# ---- Attributes of a Value -----------------------------------------------------------------------


def state_of(value: core.Value) -> Any:
    """Its attributes and its class's slots; None if it has neither."""
    attributes = core.attributes(value)
    slots = dict(_slots(value)) if type(value) is not core.Value else None
    if attributes and _holds_values(attributes.get("_backward")):
        attributes = {**attributes, "_backward": _Caught(value, attributes["_backward"])}
    if slots:
        return dict(attributes or {}), slots
    return dict(attributes) if attributes else None


def set_state(value: core.Value, state: Any) -> None:
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    for name, attribute in (*(attributes or {}).items(), *(slots or {}).items()):
        if not isinstance(attribute, _Caught):
            setattr(value, name, attribute)


_ATOMIC = frozenset((str, float, int, bool, type(None)))


def _deep(state: Any, memo: Any) -> Any:
    """A deep copy; a state of atomic values only is returned as it is."""
    if type(state) is dict and _ATOMIC.issuperset(map(type, state.values())):
        return state
    return copy.deepcopy(state, memo)


def _slots(value: core.Value) -> Iterator[tuple[str, Any]]:
    """The slots that a subclass declared and that are set, with their values."""
    for name in copyreg._slotnames(type(value)) or ():  # type: ignore[attr-defined]
        if hasattr(value, name):
            yield name, getattr(value, name)


def _holds_values(closure: Any) -> bool:
    """May this function have captured Values? In a copy it would still refer to the originals."""
    return isinstance(closure, FunctionType) and bool(
        closure.__closure__ or closure.__defaults__ or closure.__kwdefaults__
    )


class _Caught:
    """Wraps a closure over Values in a state: pickle refuses it, a deep copy drops it."""

    __slots__ = ("_complaint",)

    def __init__(self, value: core.Value, closure: Any) -> None:
        self._complaint = (
            f"{value!r} has a _backward closure, {closure.__qualname__}, which captured the "
            "original Values: a copy would pass its gradient to those. Pass local_grads, or use "
            "pygradc.op"
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(self._complaint)

    def __deepcopy__(self, memo: Any) -> _LeftBehind:
        return _LeftBehind(self._complaint)


class _LeftBehind:
    """Replaces such a closure in a deep copy; the copy's data and gradients remain readable.

    deepcopy returns functions unchanged, so the copy's `backward()` would pass the original's
    gradient to the original's operands, and none to the copy's.
    """

    __slots__ = ("_complaint",)

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint

    def __call__(self) -> None:
        raise TypeError(f"{self._complaint}; or compute this output again from the copies")


# ---- A shallow copy ------------------------------------------------------------------------------


def leaf_of(value: core.Value) -> core.Value:
    """A new leaf with the same data, gradient, label, attributes and class.

    A subclass that defines its own reduction is copied through that.
    """
    core.ask(value, "a copy")
    kind = type(value)
    if kind is not core.Value and _reduces_itself(kind):
        made = value.__reduce_ex__(4)
        if isinstance(made, str):
            return value
        if made[0] is not _at:
            return copy._reconstruct(value, None, *made)  # type: ignore[attr-defined, no-any-return]
    leaf = _maker_of(value)(*_arguments_of_leaf(value))
    state = _without_graph(value.__getstate__())
    if state is not None:
        leaf.__setstate__(state)
    return leaf


def _reduces_itself(kind: type[core.Value]) -> bool:
    return (
        kind.__reduce__ is not object.__reduce__
        or kind.__reduce_ex__ is not core.Value.__reduce_ex__
    )


def _without_graph(state: Any) -> Any:
    """Drop the closure and the op, which a leaf lacks; keep a subclass's own kind of state."""
    if isinstance(state, tuple) and len(state) == 2:
        return (_without_graph(state[0]), state[1])
    if isinstance(state, dict):
        return {name: x for name, x in state.items() if name not in ("_backward", "_op")}
    return state
