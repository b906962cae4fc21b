"""What a function can reach by name: user functions that it may call, and objects that it holds.

Found without running it, through globals, closures, defaults and attributes, and through iterators
and bound methods; objects that it receives as arguments, or computes, aren't found. The walk is
limited to a few hundred objects.
"""

from __future__ import annotations

import builtins
import functools
import gc
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from types import (
    BuiltinMethodType,
    CodeType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, NamedTuple, cast

import numpy as np

from pygradc.core import lines
from pygradc.value import Value


class Reached(NamedTuple):
    """A user function that may run, and its first argument if that is an instance, else None."""

    function: Any
    owner: Any


_MOST = 300  # objects to visit
_ROWS = {list, tuple}
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)
_METHODS = (FunctionType, property, functools.cached_property)
_LAYERS = "pygradc.nn"
_KNOWN_MODULES = ("random", "numpy", "numpy.random")
_PLAIN = {Value, int, float, bool, complex, str, bytes, type(None), np.ndarray}
_PLAIN |= {ModuleType, GetSetDescriptorType, MemberDescriptorType}


def codes(code: CodeType) -> Iterator[CodeType]:
    """This code object, and those of nested functions and comprehensions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def names(function: FunctionType) -> list[str]:
    """The names of globals and attributes in its code."""
    return [name for code in codes(function.__code__) for name in code.co_names]


def variables(function: FunctionType) -> dict[str, Any]:
    """What the function's globals and free variables refer to."""
    known = function.__globals__
    found = {name: known[name] for name in names(function) if name in known}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # an empty cell
            continue
    return found


def _is_users_class(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    if module is None or module is builtins:
        return False
    return lines.is_users_file(getattr(module, "__file__", None) or "<stdin>")


def _users_classes(kind: type) -> list[type]:
    """The user's classes in its MRO."""
    return list(filter(_is_users_class, kind.__mro__))


def _behind_function(function: FunctionType) -> Iterator[tuple[Any, Any]]:
    named = dict.fromkeys(names(function))
    for value in variables(function).values():
        yield value, None
        if isinstance(value, ModuleType) and vars(value).get("__name__") not in _KNOWN_MODULES:
            has = vars(value)
            yield from ((has[name], None) for name in named if name in has)
    defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
    yield from ((value, None) for value in defaults)


def _behind(x: Any) -> Iterator[tuple[Any, Any]]:
    """What may run, or be read, if x is used: pairs (object, instance that it is a method of)."""
    if isinstance(x, FunctionType):
        yield from _behind_function(x)
    elif isinstance(x, MethodType):
        yield from ((x.__func__, x.__self__), (x.__self__, None))
    elif type(x).__module__ == _LAYERS:
        yield from _behind_layers(x)
    elif isinstance(x, functools.partial):
        yield from ((v, None) for v in (x.func, *x.args, *x.keywords.values()))
    elif isinstance(x, (BuiltinMethodType, MethodWrapperType)):
        if not isinstance(x.__self__, ModuleType):
            yield x.__self__, None
    elif isinstance(x, SimpleNamespace):
        yield from _held(vars(x).values())
    elif isinstance(x, _CONTAINERS):
        yield from _held(_iterate(x))
        if type(x) not in _CONTAINERS:
            yield from _behind_object(x, _users_classes(type(x)))
    elif isinstance(x, type):
        yield from ((f, None) for kind in _users_classes(x) for f in _all(vars(kind).values()))
    elif (wrapped := _wrapped(x)) is not None:
        yield wrapped, None
    elif kinds := _users_classes(type(x)):
        yield from _behind_object(x, kinds)
    elif isinstance(x, GeneratorType):
        yield from _behind_generator(x)
    elif hasattr(type(x), "__next__"):
        yield from _held(gc.get_referents(x))


def _iterate(x: Any) -> Iterable[Any]:
    """Iterate over a container with the built-in type's method, not an override."""
    if isinstance(x, dict):
        return dict.values(x)
    if isinstance(x, (set, frozenset)):
        return frozenset(x)
    kind: Any = next(kind for kind in (list, tuple, deque) if isinstance(x, kind))
    return kind.__iter__(x)  # type: ignore[no-any-return]


def _behind_object(x: Any, kinds: list[type]) -> Iterator[tuple[Any, Any]]:
    """Its methods, and the values of its attributes, class attributes and slots included."""
    for kind in kinds:
        for name, value in _all(vars(kind).items()):
            if isinstance(value, _METHODS):
                yield value, x
            elif name.startswith("__"):
                continue
            elif isinstance(value, MemberDescriptorType):
                yield _slot(value, x), None
            elif not _is_data(value):
                yield value, None
    yield from ((v, None) for v in _all(getattr(x, "__dict__", {}).values()))


def _behind_layers(x: Any) -> Iterator[tuple[Any, Any]]:
    """What the user added to a layer of the library; the layer itself holds Values only."""
    for value in _all(vars(x).values()):
        parts = value if isinstance(value, list) else (value,)
        yield from _held(part for part in parts if type(part).__module__ != _LAYERS)


def _behind_generator(x: GeneratorType[Any, Any, Any]) -> Iterator[tuple[Any, Any]]:
    """What a suspended generator refers to; nothing once it has finished."""
    frame = x.gi_frame
    if frame is not None:
        named = {name for code in codes(frame.f_code) for name in code.co_names}
        known = frame.f_globals
        yield from _held(known[name] for name in named if name in known)
        yield from _held(frame.f_locals.values())


def _slot(descriptor: MemberDescriptorType, x: Any) -> Any:
    """The value of a slot; None if it isn't set."""
    try:
        return descriptor.__get__(x, type(x))
    except AttributeError:
        return None


def attribute(x: Any, name: str, default: Any) -> Any:
    """x.name, looked up without running user code."""
    found = inspect.getattr_static(x, name, default)
    if isinstance(found, MemberDescriptorType):
        return _slot(found, x)
    return found.__func__ if isinstance(found, staticmethod) else found


def _all(items: Iterable[Any]) -> list[Any]:
    """The first `_MOST` items; retried if another thread changes the container meanwhile."""
    for _ in range(100):
        try:
            return list(islice(items, _MOST))
        except RuntimeError:
            continue
    return []


def _held(items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The items that aren't plain data, that is numbers and rows of numbers, as most items are."""
    found = _all(items)
    kinds = set(map(type, found))
    if kinds <= _PLAIN or (kinds <= _ROWS and _are_plain(chain.from_iterable(found))):
        return iter(())
    return ((v, None) for v in found if not _is_data(v))


def _is_data(x: Any) -> bool:
    kind = type(x)
    return kind in _PLAIN or (kind in _ROWS and _are_plain(x))


def _are_plain(items: Iterable[Any]) -> bool:
    return _PLAIN.issuperset(map(type, islice(items, _MOST * _MOST)))


def _wrapped(x: Any) -> Any:
    try:
        return getattr(x, "__wrapped__", None)
    except Exception:  # a class with a __getattr__ for any name
        return None


def reach(
    function: Any, wanted: Callable[[Any], bool], arguments: Iterable[Any] = ()
) -> tuple[list[Reached], list[Any]]:
    """The user functions that this one may call, itself first, and the reached objects wanted.

    Args:
        wanted: selects the objects to return; they aren't followed further.
        arguments: arguments of the call, as far as they are known.
    """
    functions: list[Reached] = []
    objects: list[Any] = []
    queue: list[tuple[Any, Any]] = [(function, None), *((x, None) for x in arguments)]
    seen: set[tuple[int, int]] = set()  # a method is visited once for each instance
    for x, owner in queue:
        key = id(x), id(owner)
        if type(x) in _PLAIN or key in seen:
            continue
        seen.add(key)
        if isinstance(x, (staticmethod, classmethod)):
            x = cast(Any, x.__func__)
        elif isinstance(x, property):
            x = x.fget
        elif isinstance(x, functools.cached_property):
            x = x.func
        if wanted(x):
            objects.append(x)
            continue
        if isinstance(x, FunctionType):
            if not lines.is_users_code(x.__code__, x.__globals__):
                continue
            functions.append(Reached(x, owner))
        if len(queue) < _MOST:
            queue += _behind(x)
    return functions, objects
