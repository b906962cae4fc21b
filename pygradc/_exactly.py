"""Keys that are equal only if type and bits are.

`==` takes 1 for True and 1.0, 0.0 for -0.0, a str-Enum for its string, Decimal("1.0") for
Decimal("1.00"), and no nan for itself: what was recorded for one would be replayed for the other.
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
    """A key for value, hashed and compared in its stead.

    An object whose class defines no `==` is itself; any other is taken apart as pickle does it.

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
    except Exception:  # whatever a class may raise that doesn't pickle, or has itself as a part
        return kind, value


class _Same:
    """An object, equal to itself alone whatever its class says."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


class _Equal:
    """An object, equal to what its class says is equal; and a nan of any kind to any other."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return 0  # its parts are hashed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Equal):
            return False
        return bool(self.value == other.value or self.value != self.value)


def _pickles_its_own_way(kind: type) -> bool:
    """Then what `==` looks at need not be among the parts."""
    names = ("__reduce__", "__reduce_ex__", "__getstate__")
    return any(getattr(kind, name, None) is not getattr(object, name, None) for name in names)


def _parts(value: Any) -> Any:
    """What the object is made of."""
    if isinstance(value, float):
        return struct.pack("<d", value), _part(getattr(value, "__dict__", None))
    reduced = value.__reduce_ex__(2)
    if isinstance(reduced, str):
        return _Same(value)
    items = [list(part) if i > 2 and part is not None else part for i, part in enumerate(reduced)]
    return tuple(map(_part, items))


def _part(part: Any) -> Any:
    """Containers by their items; what else isn't hashable, by identity."""
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


__all__ = ["exactly"]
