"""Nested arguments and results, flattened into leaves and rebuilt from them, as pytrees are.

A structure is what remains of lists, tuples, dicts, arrays and so on without the numbers. It is a
tuple: fast to hash, since programs are looked up by it, and plain data, since it is saved with
them.
"""

from __future__ import annotations

import numbers
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Set
from itertools import islice
from types import CoroutineType
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from pygradc.core.foreign import array_of, is_foreign
from pygradc.core.masks import refuse_masked
from pygradc.core.numbers import as_number
from pygradc.recorded.bools import LikeBool
from pygradc.recorded.exactly import exactly
from pygradc.value import Value


class Leaf(NamedTuple):
    """One number."""


class Truth(NamedTuple):
    """A result that is a bool in each row; its leaf is a number, 1.0 or 0.0."""

    kind: type = bool


class Static(NamedTuple):
    """A value that is not a number and is passed through unchanged: None, a string, a bool.

    `kind` distinguishes equal values of different types, such as a str-Enum and a string.
    """

    value: Any
    kind: Any = None


class Array(NamedTuple):
    """A numpy array, its leaves in C order; `truths` are the flat indices of bools in each row."""

    shape: tuple[int, ...]
    truths: tuple[int, ...] = ()


class Sequence(NamedTuple):
    """A list or a tuple; `kind` is the type that rebuilds it from its items."""

    kind: type
    items: tuple[Structure, ...]


class Mapping(NamedTuple):
    """A dict in insertion order; `kind` distinguishes equal keys: 1, True and 1.0."""

    keys: tuple[Any, ...]
    items: tuple[Structure, ...]
    kind: Any = None


Structure = Union[Leaf, Truth, Static, Array, Sequence, Mapping]

LEAF = Leaf()
TRUTH = Truth()
_STATIC = (type(None), str, bytes, bool)
_NUMBERS = frozenset((Value, float, int))
_PLAIN = frozenset(_STATIC)
_STRINGS = frozenset((str,))


def take_apart(obj: Any, leaves: list[Any], what: str) -> Structure:
    """Flatten obj: append its numbers and Values to `leaves`, and return its structure.

    Raises:
        TypeError: something in it is neither a number nor a container; names `what`.
    """
    if isinstance(obj, Value) or (isinstance(obj, (float, int)) and not isinstance(obj, bool)):
        require_plain(obj, what)
        leaves.append(obj)
        return LEAF
    if isinstance(obj, (list, tuple)):
        require_plain(obj, what)
        if _NUMBERS.issuperset(map(type, obj)):  # fast path for a flat row, about 4x
            leaves += obj
            return Sequence(type(obj), (LEAF,) * len(obj))
        return Sequence(type(obj), tuple(take_apart(item, leaves, what) for item in obj))
    if isinstance(obj, dict):
        require_plain(obj, what)
        return mapping(obj, tuple(take_apart(item, leaves, what) for item in obj.values()))
    if isinstance(obj, np.ndarray) and obj.ndim > 0:
        if np.ma.isMaskedArray(obj):
            refuse_masked(what, obj)
        if obj.dtype.kind in "mM":  # whose items may be ints
            raise TypeError(f"{what}: expected numbers, got an array of {obj.dtype}")
        items = obj.ravel().tolist()
        leaves += [_element(item, what) for item in items]
        truths = tuple(i for i, item in enumerate(items) if isinstance(item, LikeBool))
        return Array(obj.shape, truths)
    if isinstance(obj, np.ndarray) and not np.ma.isMaskedArray(obj):
        return take_apart(obj.item(), leaves, what)
    if isinstance(obj, LikeBool):
        leaves.append(obj._number())
        return TRUTH
    if what == "result" and isinstance(obj, np.bool_):
        return static(bool(obj))
    number = as_number(obj)
    if number is NotImplemented or isinstance(obj, bool):
        if isinstance(obj, _STATIC):
            return static(obj)
        if what == "argument" and is_foreign(obj):
            array = array_of(what, obj)
            if array.ndim:
                return take_apart(array, leaves, what)
        raise TypeError(
            f"{what}: expected numbers, Values and containers of them, got {obj!r}"
            + _remedy(obj, what)
        )
    leaves.append(number)
    return LEAF


_RESTORED = frozenset(
    (Value, float, int, list, tuple, dict, OrderedDict, defaultdict, Counter)
)  # rebuilt as they are, or as a type on which anything but item access raises
_ITEMS = ("__getitem__", "__iter__", "__len__", "__contains__")
_DICTS = (*_ITEMS, "__missing__", "get", "items", "keys", "values")
_LISTS = (*_ITEMS, "__new__", "__init__")
_COMPARISONS = frozenset(("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__"))


def require_plain(obj: Any, what: str) -> None:
    """Require that obj is nothing but its items, or its number: only these are recorded.

    Raises:
        TypeError: its class overrides operators or item access, or it has attributes.
    """
    kind = type(obj)
    if kind in _RESTORED:
        return
    if isinstance(obj, Value):
        own = _own_operators(kind) if what == "argument" else ()
        instead = "its .data, a number"
    elif isinstance(obj, dict):
        own, instead = _own(kind, dict, _DICTS), "dict(x)"
    elif isinstance(obj, (list, tuple)):
        own = _own(kind, _base_of(kind), _LISTS) + tuple(getattr(obj, "__dict__", ()))
        instead = "tuple(x)" if isinstance(obj, tuple) else "list(x)"
    else:
        return
    if own:
        raise TypeError(
            f"{what}: a {kind.__name__} with its own {', '.join(own)}: a recording would "
            f"keep only the {'number' if isinstance(obj, Value) else 'items'}: write {instead}; or "
            "refer to it as a global or an attribute"
        )


def _base_of(kind: type) -> type:
    """The base class: list, tuple, or the namedtuple that the class derives from."""
    return next(base for base in kind.__mro__ if base in (list, tuple) or "_fields" in vars(base))


def _own(kind: type, base: type, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(kind, name, None) != getattr(base, name, None))


def _own_operators(kind: type) -> tuple[str, ...]:
    """The operators and methods of Value that its subclass overrides."""
    subclasses = kind.__mro__[: kind.__mro__.index(Value)]
    found = {name for base in subclasses for name, x in vars(base).items() if callable(x)}
    return tuple(
        sorted(
            name
            for name in found
            if hasattr(Value, name) and (not hasattr(object, name) or name in _COMPARISONS)
        )
    )


_OF_NUMBERS = (int, float, list, tuple, dict, np.ndarray, np.generic)


def as_values(obj: Any) -> Any:
    """An argument as a recorded function receives it: numbers become Values, also in containers."""
    kind = type(obj)
    if kind is bool or not (isinstance(obj, _OF_NUMBERS) or is_foreign(obj)):
        return obj
    leaves: list[Any] = []
    structure = take_apart(obj, leaves, "argument")
    return put_together(structure, (x if isinstance(x, Value) else Value(x) for x in leaves))


def _remedy(obj: Any, what: str) -> str:
    if isinstance(obj, CoroutineType):
        obj.close()  # or Python warns that it was never awaited
        return ": write the function without async"
    if isinstance(obj, (Iterator, Set)):
        return ": convert it with list(...)"
    if what != "argument":
        return ""
    if hasattr(obj, "__float__"):
        return ": convert it with float(...)"
    if isinstance(obj, numbers.Number):
        return ""
    return "; pass a non-number by keyword, if it is hashable, or as a global or an attribute"


def is_static(obj: Any) -> bool:
    """Is it passed through unchanged?"""
    return isinstance(obj, _STATIC)


def static(value: Any) -> Static:
    return Static(value, None if type(value) in _PLAIN else exactly(value))


def mapping(keys: Iterable[Any], items: tuple[Structure, ...]) -> Mapping:
    kept = tuple(keys)
    return Mapping(kept, items, None if _STRINGS.issuperset(map(type, kept)) else exactly(kept))


def _element(item: Any, what: str) -> Any:
    """An element of an object array, as a leaf.

    Raises:
        TypeError: it isn't a number or a Value; names `what`.
    """
    if isinstance(item, LikeBool):
        return item._number()
    number = item if isinstance(item, (Value, float)) else as_number(item)
    if number is NotImplemented:
        raise TypeError(f"{what}: expected numbers or Values in the array, got {item!r}")
    return number


def put_together(structure: Structure, leaves: Iterator[Any], of_one_row: bool = False) -> Any:
    """Rebuild from leaves, the inverse of `take_apart`; arrays become object arrays.

    In results of one row a Truth becomes a bool: a Value would be true whatever its number.
    """
    if isinstance(structure, Leaf):
        return next(leaves)
    if isinstance(structure, Truth):
        return bool(next(leaves).data) if of_one_row else next(leaves)
    if isinstance(structure, Static):
        return structure.value
    if isinstance(structure, Array):
        array = np.empty(structure.shape, dtype=object)
        flat = array.reshape(-1)
        for i in range(flat.size):
            flat[i] = next(leaves)
        for i in structure.truths if of_one_row else ():
            flat[i] = bool(flat[i].data)
        return array
    inner = structure.items
    if inner.count(LEAF) == len(inner):  # fast path for a flat row, about 3x
        items = list(islice(leaves, len(inner)))
    else:
        items = [put_together(item, leaves, of_one_row) for item in inner]
    if isinstance(structure, Mapping):
        return dict(zip(structure.keys, items))
    if structure.kind is list:
        return items
    if hasattr(structure.kind, "_fields"):  # a namedtuple
        return structure.kind(*items)
    return structure.kind(items)


_KINDS = {list: 1, tuple: 2}


def words(structure: Structure) -> list[int] | None:
    """Encode for csrc/python/scalar_replay.c: preorder, one word per node, then length or shape.

    None if it contains anything but numbers, lists, tuples and arrays.
    """
    if isinstance(structure, Leaf):
        return [0]
    if isinstance(structure, Array):
        return [3, len(structure.shape), *structure.shape]
    if not isinstance(structure, Sequence) or structure.kind not in _KINDS:
        return None
    found = [_KINDS[structure.kind], len(structure.items)]
    for item in structure.items:
        inner = words(item)
        if inner is None:
            return None
        found += inner
    return found


def count_leaves(structure: Structure) -> int:
    if isinstance(structure, (Leaf, Truth)):
        return 1
    if isinstance(structure, Static):
        return 0
    if isinstance(structure, Array):
        return int(np.prod(structure.shape))
    return sum(map(count_leaves, structure.items))


def shape_of(structure: Structure) -> tuple[int, ...] | None:
    """The shape of an array with the same leaves; None if the structure is irregular."""
    if isinstance(structure, (Leaf, Truth)):
        return ()
    if isinstance(structure, Array):
        return structure.shape
    if not isinstance(structure, Sequence):
        return None
    shapes = {shape_of(item) for item in structure.items}
    if len(shapes) != 1:
        return None
    inner = shapes.pop()
    return None if inner is None else (len(structure.items), *inner)


def stack(structure: Structure, columns: npt.NDArray[np.float64]) -> Any:
    """Results of many rows, shape (rows, leaves), as the structure of one row, of arrays.

    A number becomes an array (rows,); an array or a regular list, (rows, *shape); tuples, dicts and
    irregular lists keep their type.
    """
    if isinstance(structure, Static):
        return structure.value
    shape = shape_of(structure)
    is_tuple = isinstance(structure, Sequence) and issubclass(structure.kind, tuple)
    if shape is not None and not is_tuple:
        return columns.reshape(len(columns), *shape)
    assert isinstance(structure, (Sequence, Mapping))
    items, start = [], 0
    for item in structure.items:
        end = start + count_leaves(item)
        items.append(stack(item, columns[:, start:end]))
        start = end
    if isinstance(structure, Mapping):
        return dict(zip(structure.keys, items))
    return structure.kind(*items) if hasattr(structure.kind, "_fields") else structure.kind(items)


def describe(structure: Structure) -> str:
    """How an argument of this structure is written, for messages."""
    if isinstance(structure, (Leaf, Truth)):
        return "a number"
    if isinstance(structure, Static):
        return repr(structure.value)
    names = getattr(structure.kind, "_fields", None) if isinstance(structure, Sequence) else None
    if isinstance(structure, Sequence) and names is not None:
        named = zip(names, map(describe, structure.items))
        return f"{structure.kind.__name__}({', '.join(f'{name}={x}' for name, x in named)})"
    shape = shape_of(structure)
    if shape is not None:
        return f"numbers of shape {shape}"
    assert isinstance(structure, (Sequence, Mapping))
    if isinstance(structure, Mapping):
        pairs = zip(structure.keys, structure.items)
        return "{" + ", ".join(f"{key!r}: {describe(item)}" for key, item in pairs) + "}"
    inner = ", ".join(map(describe, structure.items))
    return f"({inner})" if issubclass(structure.kind, tuple) else f"[{inner}]"


def describe_all(arguments: Structure) -> str:
    """Describe each of a tuple of arguments."""
    assert isinstance(arguments, Sequence)
    return ", ".join(map(describe, arguments.items)) or "no arguments"
