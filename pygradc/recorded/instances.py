"""Data attached to instances of user classes, stored beside the instance and not in it.

Instances are keyed by identity: they need neither hash nor equality, and nothing is written to
them, so that copies and pickles carry none of it. An instance is referenced weakly, and its data
are released when it dies. Instances that can't be weakly referenced (`__slots__` without
`__weakref__`, a subclass of tuple or int) are held by strong references, the last few of them.
csrc/python/scalar_bind.c reads the same dict.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

MOST_HELD = 8  # strong references to instances that can't be weakly referenced


class _Reference(weakref.ref):  # type: ignore[type-arg]
    """A weak reference with the key of its entry."""

    __slots__ = ("key",)
    key: int


class Beside(dict[int, tuple[Any, Any]]):
    """From an instance's id to (reference to the instance, its data).

    The reference is a weak reference, or a tuple (instance,).
    """

    def of(self, instance: Any, make: Callable[[], Any]) -> Any:
        """The data of the instance; made by `make` the first time."""
        entry = self.get(id(instance))
        if entry is not None and _target(entry[0]) is instance:
            if isinstance(entry[0], tuple):
                self.pop(id(instance), None)  # move to the end: most recently used
                self[id(instance)] = entry
            return entry[1]
        entry = self._way_to(instance), make()
        met = self.setdefault(id(instance), entry)
        if _target(met[0]) is instance:  # another thread was faster
            return met[1]
        self[id(instance)] = entry  # the old entry was of a dead instance with the same id
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


# ---- Methods of a class --------------------------------------------------------------------------

_WRAPPERS = (classmethod, property, functools.cached_property, functools.partialmethod)


def _contents(attribute: Any) -> Any:
    """The function inside classmethod, property and the like."""
    while isinstance(attribute, _WRAPPERS):
        attribute = (
            getattr(attribute, "__func__", None)
            or getattr(attribute, "fget", None)
            or getattr(attribute, "func", None)
        )
    return attribute


def is_method_of(instance: Any, method: Any) -> bool:
    """Is it a method of the instance's class, or of the instance, if that is itself a class?"""
    return any(_contents(attribute) is method for _, attribute in _attributes(instance))


def name_in(instance: Any, method: Any) -> str | None:
    """A name by which the instance, or class, has this method."""
    names = [name for name, found in _attributes(instance) if _contents(found) is method]
    for name in names:
        if _contents(inspect.getattr_static(instance, name, None)) is method:
            return name
    return None


def _attributes(instance: Any) -> Iterator[tuple[str, Any]]:
    """All attributes of its class, and its own, if it is itself a class; bases included."""
    classes = [*type(instance).__mro__, *(instance.__mro__ if isinstance(instance, type) else ())]
    for kind in classes:
        yield from list(vars(kind).items())
