"""What belongs to an instance of somebody else's class, kept beside it and not in it.

The instance is told by identity: it needs neither hash nor equality, and nothing is written to it,
so copies and pickles of it have nothing of this. It is referenced weakly, and what belongs to it
goes when it dies. An instance that takes no weak reference (`__slots__` without `__weakref__`, a
tuple's or an int's subclass) is held instead, the last few of them.
csrc/python/scalar_bind.c reads the same dict.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

MOST_HELD = 8  # instances that take no weak reference


class _Reference(weakref.ref):  # type: ignore[type-arg]
    """A weak reference that knows where its entry is."""

    __slots__ = ("key",)
    key: int


class Beside(dict[int, tuple[Any, Any]]):
    """From an instance's id to (what leads to the instance, what belongs to it).

    The first is a weak reference, or a tuple of the instance alone.
    """

    def of(self, instance: Any, make: Callable[[], Any]) -> Any:
        """What belongs to the instance; made, the first time."""
        entry = self.get(id(instance))
        if entry is not None and _target(entry[0]) is instance:
            if isinstance(entry[0], tuple):
                self.pop(id(instance), None)  # to the end again
                self[id(instance)] = entry
            return entry[1]
        entry = self._way_to(instance), make()
        met = self.setdefault(id(instance), entry)
        if _target(met[0]) is instance:  # another thread was faster
            return met[1]
        self[id(instance)] = entry  # what was there belonged to one that died
        return entry[1]

    def _way_to(self, instance: Any) -> Any:
        try:
            reference = _Reference(instance, self._forget)
        except TypeError:
            held = [key for key, entry in list(self.items()) if isinstance(entry[0], tuple)]
            for key in held[: 1 - MOST_HELD]:
                self.pop(key, None)
            return (instance,)
        reference.key = id(instance)
        return reference

    def _forget(self, reference: _Reference) -> None:
        entry = self.get(reference.key)
        if entry is not None and entry[0] is reference:
            self.pop(reference.key, None)


def _target(way: Any) -> Any:
    return way[0] if isinstance(way, tuple) else way()


# ---- Whose method is it? -------------------------------------------------------------------------

_WRAPPERS = (classmethod, property, functools.cached_property, functools.partialmethod)


def _contents(attribute: Any) -> Any:
    """The function in classmethod, property and the like."""
    while isinstance(attribute, _WRAPPERS):
        attribute = (
            getattr(attribute, "__func__", None)
            or getattr(attribute, "fget", None)
            or getattr(attribute, "func", None)
        )
    return attribute


def is_method_of(instance: Any, method: Any) -> bool:
    """Is it in the instance's class, or in the class that it is?"""
    return any(_contents(attribute) is method for _, attribute in _attributes(instance))


def name_in(instance: Any, method: Any) -> str | None:
    """A name by which the instance, or class, has this method."""
    names = [name for name, found in _attributes(instance) if _contents(found) is method]
    for name in names:
        if _contents(inspect.getattr_static(instance, name, None)) is method:
            return name
    return None


def _attributes(instance: Any) -> Iterator[tuple[str, Any]]:
    """All of its class, and of the class that it is itself."""
    classes = [*type(instance).__mro__, *(instance.__mro__ if isinstance(instance, type) else ())]
    for kind in classes:
        yield from list(vars(kind).items())
