"""The named parts of a module: the Values reachable through its attributes.

Attributes are followed in the order of assignment, those in `__slots__` first; through lists,
tuples, dicts and object arrays; through modules, and other objects with a method `parameters`,
which is called if their class defines it. Each object is visited once, so that cycles end. Compiled
functions and optimizers have parameters, too, but belong to other modules, and aren't followed.
Cost: one visit to each object on the way; no recursion over modules.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple, Union

import numpy as np

from pygradc.core.scalar import core
from pygradc.optim import Optimizer
from pygradc.recorded.compiled import Compiled
from pygradc.value import Value


class Leaves(NamedTuple):
    """Values under one name: a single one, or those of a regular list, in C order of shape."""

    values: list[Value]
    shape: tuple[int, ...]


class Other(NamedTuple):
    """An object with its own definition of its parameters."""

    object: Any


Part = Union[Leaves, Other]


def is_leaf(value: Any) -> bool:
    """Can it be trained? Not if it was computed, is detached, or belongs to a recording."""
    return (
        isinstance(value, Value)
        and not value._children
        and not core.is_detached(value)
        and core.role(value) not in ("input", "leftover")
    )


def parts(
    module: Any, is_other: Callable[[Any], bool], known: Iterable[Any] = ()
) -> Iterator[tuple[str, Part]]:
    """The parts reachable from module's attributes, with dotted names: ("layers.0.w", Leaves(...)).

    Args:
        is_other: whether an object defines its parameters itself.
        known: objects to skip.
    """
    seen = {id(item): item for item in (module, *known)}  # held, so that no id is reused
    stack = [attributes(module)]
    while stack:
        name, item = next(stack[-1], ("", _END))
        if item is _END:
            stack.pop()
        elif id(item) not in seen:
            found = _look_at(name, item, seen, is_other)
            if isinstance(found, (Leaves, Other)):
                yield name, found
            elif found is not None:
                stack.append(found)


_END = object()
_Items = Iterator[tuple[str, Any]]


def _look_at(
    name: str, item: Any, seen: dict[int, Any], is_other: Callable[[Any], bool]
) -> Part | _Items | None:
    """A part, or an iterator over items to follow, or None."""
    if isinstance(item, (Value, list, tuple, np.ndarray)):
        leaves = _regular(item, frozenset())
        if leaves is not None and _are_new(leaves.values, seen):
            seen.update((id(v), v) for v in leaves.values)
            return leaves
    if isinstance(item, Value) or not may_hold(item):
        return None
    seen[id(item)] = item
    if isinstance(item, (list, tuple)):
        return ((f"{name}.{i}", part) for i, part in enumerate(list(item)))
    if isinstance(item, dict):
        return ((name + _key(key), part) for key, part in list(item.items()))
    if isinstance(item, np.ndarray):
        rows = list(item) if item.ndim else [item.item()]
        return ((f"{name}.{i}", part) for i, part in enumerate(rows))
    if is_other(item):
        return Other(item) if not is_asked(item) else None
    return ((f"{name}.{attribute}", part) for attribute, part in attributes(item))


def may_hold(item: Any) -> bool:
    """Can parameters be among its items or attributes?"""
    if isinstance(item, np.ndarray):
        return bool(item.dtype == object)
    if isinstance(item, (type, Compiled, Optimizer)):
        return False
    is_container = isinstance(item, (list, tuple, dict))
    return is_container or any(
        callable(getattr(holder, "parameters", None)) for holder in (item, type(item))
    )


def _are_new(values: list[Value], seen: dict[int, Any]) -> bool:
    ids = set(map(id, values))
    return len(ids) == len(values) and ids.isdisjoint(seen)


def _regular(item: Any, above: frozenset[int]) -> Leaves | None:
    """The leaves of a Value, a regular nested list or an object array; None if it is none of these.

    Args:
        above: ids of the enclosing lists, to end cycles.
    """
    if isinstance(item, Value):
        return Leaves([item], ()) if is_leaf(item) else None
    if isinstance(item, np.ndarray):
        flat = item.ravel().tolist() if item.dtype == object else []
        return Leaves(flat, item.shape) if flat and all(map(is_leaf, flat)) else None
    if not isinstance(item, (list, tuple)) or not item or id(item) in above:
        return None
    above = above | {id(item)}
    values: list[Value] = []
    shape: tuple[int, ...] | None = None
    for part in item:
        leaves = _regular(part, above)
        if leaves is None or shape not in (None, leaves.shape):
            return None
        values += leaves.values
        shape = leaves.shape
    return Leaves(values, (len(item), *(shape or ())))


def _key(key: Any) -> str:
    """A dict's key in a dotted name: `.key` if it is a plain string or an int, else `[repr]`."""
    is_plain = type(key) is int or (
        isinstance(key, str) and key and not key.isdigit() and not {".", "["} & set(key)
    )
    return f".{key}" if is_plain else f"[{key!r}]"


def attributes(item: Any) -> _Items:
    """The names and values of an object's attributes, those in `__slots__` first."""
    found: dict[str, Any] = {}
    for kind in reversed(type(item).__mro__):
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{kind.__name__.lstrip('_')}{slot}" if private else slot
            if name != "__dict__" and hasattr(item, name):
                found[name] = getattr(item, name)
    found.update(getattr(item, "__dict__", {}))
    return iter(found.items())


# ---- guard against infinite recursion -----------------------------------------------------------


class _Asked(threading.local):
    def __init__(self) -> None:
        self.frames: dict[int, FrameType] = {}  # the frame that asks an item, by the item's id


_asked = _Asked()


class asking:
    """While this block runs, parts of the item that lead back to it don't ask it again.

    Ctrl-C may prevent `__exit__` from running; so the mark is valid only while the function that
    contains the block runs.
    """

    def __init__(self, item: Any) -> None:
        self._item = item

    def __enter__(self) -> None:
        self._is_first = not is_asked(self._item)
        if self._is_first:
            _asked.frames[id(self._item)] = sys._getframe(1)

    def __exit__(self, *error: object) -> None:
        if self._is_first:
            _asked.frames.pop(id(self._item), None)


def is_asked(item: Any) -> bool:
    asks = _asked.frames.get(id(item))
    frame: FrameType | None = sys._getframe(1) if asks is not None else None
    while frame is not None and frame is not asks:
        frame = frame.f_back
    return frame is not None
