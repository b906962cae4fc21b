"""What a function can name: the user's functions that it may call, and objects that it holds.

Found without running it, through its globals, closure, defaults and attributes; so what it gets as
an argument, or computes, isn't found. Ends after a few hundred things.
"""

from __future__ import annotations

import builtins
import functools
import random
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

import numpy as np

from pygradc import _lines
from pygradc.value import Value


class Reached(NamedTuple):
    """A function of the user's that may run, and what its first argument then is."""

    function: Any
    owner: Any


_MOST = 300  # things that are looked at
_ROWS = (list, tuple)
_PLAIN = {Value, int, float, bool, complex, str, bytes, type(None), np.ndarray}


def codes(code: CodeType) -> Iterator[CodeType]:
    """It, and the code of the functions and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def names(function: FunctionType) -> list[str]:
    """Of globals and attributes."""
    return [name for code in codes(function.__code__) for name in code.co_names]


def variables(function: FunctionType) -> dict[str, Any]:
    """What the function's names stand for, but its own."""
    known = function.__globals__
    found = {name: known[name] for name in names(function) if name in known}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    return found


def _is_users_class(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    if module is None or module is builtins:
        return False
    return _lines.is_users_file(getattr(module, "__file__", None) or "<stdin>")


def _behind_function(function: FunctionType) -> Iterator[tuple[Any, Any]]:
    named = dict.fromkeys(names(function))
    for value in variables(function).values():
        yield value, None
        if isinstance(value, ModuleType) and value not in (random, np, np.random):
            has = vars(value)
            yield from ((has[name], None) for name in named if name in has)
    defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
    yield from ((value, None) for value in defaults)


def _behind(x: Any) -> Iterator[tuple[Any, Any]]:
    """What may run, or be asked, if x is: with the object that it belongs to."""
    if isinstance(x, FunctionType):
        yield from _behind_function(x)
    elif isinstance(x, MethodType):
        yield from ((x.__func__, x.__self__), (x.__self__, None))
    elif isinstance(x, functools.partial):
        yield from ((v, None) for v in (x.func, *x.args, *x.keywords.values()))
    elif isinstance(x, (list, tuple)):
        yield from ((v, None) for v in x[:_MOST] if not _is_data(v))
    elif isinstance(x, dict):
        yield from ((v, None) for v in list(x.values())[:_MOST] if not _is_data(v))
    elif isinstance(x, type):
        kinds = filter(_is_users_class, x.__mro__)
        yield from ((f, None) for kind in kinds for f in vars(kind).values())
    elif (wrapped := _wrapped(x)) is not None:
        yield wrapped, None
    elif _is_users_class(type(x)):
        for kind in filter(_is_users_class, type(x).__mro__):
            yield from ((f, x) for f in vars(kind).values() if isinstance(f, FunctionType))
        yield from ((v, None) for v in getattr(x, "__dict__", {}).values())


def _is_data(x: Any) -> bool:
    """A number, or a row of them, as most things are that are held: they needn't be queued."""
    kind = type(x)
    return kind in _PLAIN or (kind in _ROWS and _PLAIN.issuperset(map(type, x[:_MOST])))


def _wrapped(x: Any) -> Any:
    try:
        return getattr(x, "__wrapped__", None)
    except Exception:  # of a class that answers for any name
        return None


def reach(function: Any, wanted: Callable[[Any], bool]) -> tuple[list[Reached], list[Any]]:
    """The user's functions that this one may call, itself first; and objects that are wanted."""
    functions: list[Reached] = []
    objects: list[Any] = []
    queue: list[tuple[Any, Any]] = [(function, None)]
    seen: set[tuple[int, int]] = set()  # a method once for each object that has it
    for x, owner in queue:
        key = id(x), id(owner)
        if type(x) in _PLAIN or key in seen:
            continue
        seen.add(key)
        if isinstance(x, (staticmethod, classmethod)):
            x = cast(Any, x.__func__)
        if wanted(x):
            objects.append(x)
            continue
        if isinstance(x, FunctionType):
            if not _lines.is_users_code(x.__code__, x.__globals__):
                continue
            functions.append(Reached(x, owner))
        if len(queue) < _MOST:
            queue += _behind(x)
    return functions, objects
