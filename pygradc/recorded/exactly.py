"""Dict keys that are equal only if type and bits are equal.

By `==`, 1 equals True and 1.0, 0.0 equals -0.0, a str-Enum equals its string, Decimal("1.0") equals
Decimal("1.00"), and nan doesn't equal itself: a program recorded for one would be replayed for the
other.
"""

from __future__ import annotations

import enum
import struct
from typing import Any

import numpy as np

from pygradc.value import Value

_IDENTITY: Any = object.__eq__
_PLAIN = frozenset((int, str, bytes, bool, type(None)))


def exactly(value: Any) -> Any:
    """A key that stands for value in hashing and comparison.

    An object of a class without its own `==` is keyed by identity; any other by its parts, found as
    pickle does.

    Raises:
        TypeError: value isn't hashable.
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is float:
        return kind, struct.pack("<d", value)
    if kind is tuple or kind is frozenset:
        return kind, kind(map(exactly, value))
    hash(value)
    if isinstance(value, np.generic):
        return kind, value.dtype.str, value.tobytes()
    if kind is complex:
        return kind, struct.pack("<2d", value.real, value.imag)
    if kind.__eq__ is _IDENTITY or isinstance(value, (Value, type, enum.Enum)):
        return kind, _Same(value)
    try:
        parts = _parts(value)
        return (kind, parts, _Equal(value)) if _pickles_its_own_way(kind) else (kind, parts)
    except Exception:  # anything: the class doesn't pickle, or the object contains itself
        return kind, value


class _Same:
    """An object by identity, whatever its class defines."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


class _Equal:
    """An object by its own `==`; in addition, any nan equals any other."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return 0  # the parts beside it in the key are hashed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Equal):
            return False
        return bool(self.value == other.value or self.value != self.value)


def _pickles_its_own_way(kind: type) -> bool:
    """Does the class customize pickling? Then the parts may lack what `==` compares."""
    names = ("__reduce__", "__reduce_ex__", "__getstate__")
    return any(getattr(kind, name, None) is not getattr(object, name, None) for name in names)


def _parts(value: Any) -> Any:
    """The parts of the object: its bits, or its reduced form for pickle."""
    if isinstance(value, float):
        return struct.pack("<d", value), _part(getattr(value, "__dict__", None))
    reduced = value.__reduce_ex__(2)
    if isinstance(reduced, str):
        return _Same(value)
    items = [list(part) if i > 2 and part is not None else part for i, part in enumerate(reduced)]
    return tuple(map(_part, items))


def _part(part: Any) -> Any:
    """A key for a part: containers by their items, other unhashable objects by identity."""
    kind = type(part)
    if kind is dict:
        return kind, tuple((_part(key), _part(item)) for key, item in part.items())
    if kind is tuple or kind is list:
        return kind, tuple(map(_part, part))
    if kind is set:
        return kind, frozenset(map(_part, part))
    try:
        return exactly(part)
    except TypeError:
        return kind, _Same(part)
