"""A program's own `class Value`, and pygradc's in its place.

Invariant: no number of the program changes. A method is pygradc's only where it gave the same bits
as the program's own (`_tries.py`); any other method of the class (a `tanh` made of `exp`, a
`__repr__`, `softplus`) is kept, by setting it on pygradc's Value, whose constructor takes both
protocols. A class for which that can't hold (its data are arrays, its backward() starts from zero,
its attributes have no counterpart) is left as it is.
What no try sees, because it is so for all programs, is in docs/compat.md: data are floats, operands
are read when backward() runs, inner gradients are fresh.
Owns: the members that it set on Value, which it takes off before it sets those of a next class.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import operator
import os
import random
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pygradc.compat import _tries
from pygradc.value import Value


class Unfit(Exception):
    """Why a class can't be replaced."""


class Place(NamedTuple):
    """Where the class statement is."""

    path: str
    line: int

    def __str__(self) -> str:
        here = os.path.join(os.getcwd(), "")
        return f"{self.path[len(here) :] if self.path.startswith(here) else self.path}:{self.line}"

    def say(self, told: str) -> None:
        print(f"pygradc: {self}: {told}", file=sys.stderr, flush=True)


replacements: list[Place] = []  # in the order in which they were made
_set: dict[str, Any] = {}  # the program's members that are on Value
_covered: dict[str, Any] = {}  # what Value itself has under these names
_NOTHING = object()


def replaced(cls: Any, path: str, line: int, keywords: Sequence[str]) -> Any:
    """pygradc's Value for a program's class, or the class itself; says on stderr which.

    Args:
        cls: The class, which its module's global name stands for already.
        path, line: Of the class statement.
        keywords: The names by which the module passes arguments to the constructor.
    """
    place = Place(path, line)
    try:
        _require_protocol(cls, keywords)
        with _unnoticed(), _as_it_was():
            kept = {**_attributes(cls), **_methods(cls)}
        _set_on_value(kept, place)
    except Unfit as why:
        place.say(f"class Value is left as it is: {why}")
        return cls
    place.say(
        "class Value is pygradc's: its data are floats; backward() reads operands late "
        "and gives inner nodes fresh gradients"
    )
    if kept:
        place.say(f"kept of the program's: {', '.join(sorted(kept))}")
    return Value


# ---- The members of the program's class that are on Value ----------------------------------------


def _set_on_value(kept: dict[str, Any], place: Place) -> None:
    elsewhere = [earlier for earlier in replacements if earlier.path != place.path]
    if elsewhere and (kept or _set):
        raise Unfit(f"that of {elsewhere[0]} has other methods")
    _take_off()
    _put_on(kept)
    replacements.append(place)


def restore() -> None:
    """Value as if nothing had ever been replaced."""
    _take_off()
    replacements.clear()


def _put_on(members: dict[str, Any]) -> None:
    for name, member in members.items():
        _set[name], _covered[name] = member, vars(Value).get(name, _NOTHING)
        setattr(Value, name, member)


def _take_off() -> dict[str, Any]:
    """Returns what it took off."""
    members = dict(_set)
    for name, before in _covered.items():
        if before is _NOTHING:
            delattr(Value, name)
        else:
            setattr(Value, name, before)
    _set.clear()
    _covered.clear()
    return members


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """A class is compared with pygradc's Value, not with one that has an earlier one's methods."""
    members = _take_off()
    try:
        yield
    finally:
        _put_on(members)


# ---- Does the class follow the protocol? ---------------------------------------------------------

KEYWORDS = {"data", "_children", "children", "_op", "label", "local_grads"}
POSITIONS = (
    {"children", "_children", "prev", "_prev", "parents", "_parents"},
    {"local_grads", "_local_grads", "local_grad", "op", "_op"},
    {"label"},
)
STATE = {"data", "grad", "label", "_backward", "_children", "_local_grads", "_op", "_prev"}
ALIASES = {  # other names for the state, by which a program may read it
    **dict.fromkeys(("children", "parents", "_parents"), "_children"),
    **dict.fromkeys(("local_grads", "local_grad", "_local_grad"), "_local_grads"),
    **{"prev": "_prev", "op": "_op"},
}
CUSTOM = {  # with one of these, trying methods doesn't tell what the class does
    *("__new__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__del__"),
    *("__init_subclass__", "__class_getitem__"),
}
SLOT = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _require_protocol(cls: Any, keywords: Sequence[str]) -> None:
    if type(cls) is not type or cls.__bases__ != (object,):
        raise Unfit("it has base classes or a metaclass")
    own = {name: member for name, member in vars(cls).items() if not isinstance(member, SLOT)}
    for name in ("__init__", "backward"):
        if not isinstance(own.get(name), types.FunctionType):
            raise Unfit(f"it has no {name} of its own")
    custom = sorted(own.keys() & (CUSTOM | STATE))
    if custom:
        raise Unfit(f"it defines {', '.join(custom)} itself")
    _, *parameters = inspect.signature(own["__init__"]).parameters.values()
    if not _is_known_constructor(parameters):
        shown = ", ".join(map(str, parameters))
        known = "(data, children, local_grads) and (data, _children, _op, label)"
        raise Unfit(f"its constructor takes ({shown}); known are {known}")
    unknown = sorted(set(keywords) - KEYWORDS)
    if unknown:
        raise Unfit(f"the program passes {unknown[0]}= to its constructor")
    if len(inspect.signature(own["backward"]).parameters) != 1:
        raise Unfit("its backward() takes arguments")


def _is_known_constructor(parameters: Sequence[inspect.Parameter]) -> bool:
    rest = parameters[1:]
    by_place = [p.name for p in rest if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = {p.name for p in rest if p.kind is p.KEYWORD_ONLY}
    return (
        0 < len(rest) == len(by_place) + len(by_name)
        and len(by_place) <= len(POSITIONS)
        and all(name in known for name, known in zip(by_place, POSITIONS))
        and by_name <= KEYWORDS
    )


@contextlib.contextmanager
def _unnoticed() -> Iterator[None]:
    """Whatever the class does when it is tried, the program's random numbers are as before."""
    states = random.getstate(), np.random.get_state()
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
    if said.getvalue():
        raise Unfit("its methods print")


# ---- What is kept of it? -------------------------------------------------------------------------

PLAIN = (int, float, str, bool, type(None))


class _Empty:
    """What is in every class is not the program's."""


NOT_TRIED = {*vars(_Empty), "__init__", "backward", "__hash__", "__slots__", "__annotations__"}
HEART = {"__add__", "__radd__", "__mul__", "__rmul__"}


def _attributes(cls: Any) -> dict[str, Any]:
    """What stands in, on Value, for attributes that the constructor sets and a Value lacks."""
    try:
        leaf, inner = cls(2.5), cls(2.0) * cls(7.0)
        ours, theirs = _sweeps(Value), _sweeps(cls)
    except Exception as error:
        raise Unfit(f"2.0 times 7.0, or its backward(), raises {error!r}") from None
    if ours != theirs:
        raise Unfit("its backward() does something else, such as to start from zero gradients")
    if not isinstance(leaf.data, (int, float)):
        raise Unfit(f"its data are of type {type(leaf.data).__name__}")
    if getattr(leaf, "label", "") not in ("", None):
        raise Unfit(f"its label is {leaf.label!r} by default")
    return {
        name: _stand_in(name, leaf, inner)
        for name in sorted(_names(leaf) - STATE)
        if hasattr(leaf, name)  # a slot may be empty: any attribute may be set on a Value
    }


def _sweeps(cls: Any) -> tuple[float, ...]:
    """Gradients of two sweeps from the same leaves, one with a node used twice; sums are exact."""
    a, b = cls(2.0), cls(-3.0)
    c = a * b + a
    d = c * c + c * b
    d.backward()
    first = a.grad, b.grad, c.grad, d.grad
    (a * b).backward()
    return tuple(map(float, (*first, a.grad, b.grad)))


def _names(value: Any) -> set[str]:
    slots = getattr(type(value), "__slots__", ())
    named = {slots} if isinstance(slots, str) else {*slots}
    return (named | {*getattr(value, "__dict__", ())}) - {"__dict__", "__weakref__"}


def _stand_in(name: str, leaf: Any, inner: Any) -> Any:
    if name in ALIASES:
        return property(operator.attrgetter(ALIASES[name]))
    first, second = getattr(leaf, name), getattr(inner, name, _NOTHING)
    if type(first) not in PLAIN or type(second) is not type(first) or first != second:
        raise Unfit(f"its attribute {name} has no counterpart")
    return first


def _methods(cls: Any) -> dict[str, Any]:
    """The class's own members that do something else than pygradc's of that name."""
    own = vars(cls)
    kept = {
        name: member
        for name, member in own.items()
        if name not in NOT_TRIED and not isinstance(member, SLOT) and not _tries.same(cls, name)
    }
    if "__eq__" in kept:
        kept["__hash__"] = own["__hash__"]  # Python has put None there if the class has no own
    if HEART & set(kept):
        raise Unfit(f"{', '.join(sorted(HEART & set(kept)))} give other numbers than pygradc's")
    for name, member in kept.items():
        if name.startswith("_") and not name.endswith("__") and hasattr(Value, name):
            raise Unfit(f"pygradc's Value has another {name}")
        if "__class__" in getattr(getattr(member, "__code__", None), "co_freevars", ()):
            raise Unfit(f"its {name} uses super()")
    return kept
