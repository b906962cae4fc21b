"""Replace a program's own `class Value` by pygradc's.

Invariant: no number that the program computes changes. The decision rests on the source: a method
is replaced if its syntax tree proves it pure (`_grammar.py`), and it then behaves as pygradc's does
on a sterile copy of the class (`_sterile.py`, `_tries.py`). No code of the program runs for that.
Any other method (a `tanh` made of `exp`, one that reads a global) is kept: it is set on pygradc's
Value. A class is left as it is if its constructor, sum, product or backward() can't be replaced, if
the program changes the graph from outside of it (`_objections.py`), or if another class has been
replaced already. What the class lacks, Value lacks from then on (`_guard.py`).
docs/compat.md lists the differences for all programs: data are floats, operands are read when
backward() runs, inner gradients are fresh.
Owns: the members that it set on Value.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import inspect
import os
import sys
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from pygradc.compat import _guard, _objections, _source, _tries
from pygradc.compat._grammar import GRAPH, STATE, Impure, check, parameters
from pygradc.compat._sterile import Sterile
from pygradc.compat._tries import View
from pygradc.core.scalar import Scalar
from pygradc.value import Value


class Unfit(Exception):
    """Why a class can't be replaced."""


class Place(NamedTuple):
    """The position of the class statement."""

    path: str
    line: int

    def __str__(self) -> str:
        here = os.path.join(os.getcwd(), "")
        return f"{self.path[len(here) :] if self.path.startswith(here) else self.path}:{self.line}"

    def say(self, told: str) -> None:
        print(f"pygradc: {self}: {told}", file=sys.stderr, flush=True)


replacements: list[Place] = []  # at most one
watched: list[_objections.Watched] = []  # for each, what the rest of the program must not touch
_set: dict[str, Any] = {}  # set on Value: the program's members, and substitutes for missing ones
_covered: dict[str, Any] = {}  # Value's own members under these names
_NOTHING = object()


def replaced(cls: Any, path: str, line: int) -> Any:
    """Decide on a program's class: return pygradc's Value or the class itself; stderr says which.

    Args:
        cls: The class, to which its module's global name is bound already.
        path, line: The position of the class statement, in a module that `_source` has read.
    """
    place = Place(path, line)
    try:
        if replacements:
            raise Unfit(
                f"the one at {replacements[0]} is pygradc's already, and both would be one class"
            )
        with _uncollected():
            decision = _decide(cls, path, line)
    except Unfit as why:
        place.say(f"class Value is left as is: {why}")
        return cls
    _put_on(decision.members)
    replacements.append(place)
    watched.append(decision.watched)
    decision.guard.install(decision.own)
    _report(place, decision)
    return Value


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Disable the garbage collector: the trials make short-lived graphs only."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Decision(NamedTuple):
    """How a class is replaced."""

    members: dict[str, Any]  # set on Value
    kept: dict[str, str]  # the program's members among them, each with the reason
    own: set[str]  # the names of all of the class's members
    guard: _guard.Guard
    watched: _objections.Watched


def _report(place: Place, decision: Decision) -> None:
    place.say(
        "class Value is pygradc's: its data are floats; backward() reads operands late "
        "and gives inner nodes fresh gradients"
    )
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(decision.kept.items()):
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        place.say(f"kept from the program: {', '.join(names)}: {why}")


# ---- The members of the program's class that are on Value ----------------------------------------


def restore() -> None:
    """Undo the replacement: Value gets its own members back."""
    _take_off()
    replacements.clear()
    watched.clear()
    _source.forget()
    _guard.remove()


def _put_on(members: dict[str, Any]) -> None:
    for name, member in members.items():
        _set[name], _covered[name] = member, vars(Value).get(name, _NOTHING)
        setattr(Value, name, member)


def _take_off() -> None:
    for name, before in _covered.items():
        if before is _NOTHING:
            delattr(Value, name)
        else:
            setattr(Value, name, before)
    _set.clear()
    _covered.clear()


# ---- Does the class follow the protocol? ---------------------------------------------------------

KEYWORDS = {"data", "_children", "children", "_op", "label", "local_grads"}
POSITIONS = (
    {"children", "_children", "prev", "_prev", "parents", "_parents"},
    {"local_grads", "_local_grads", "local_grad", "op", "_op"},
    {"label"},
)
CHILDREN = ("_prev", "prev", "_children", "children", "_parents", "parents")
LOCAL_GRADS = ("_local_grads", "local_grads", "_local_grad", "local_grad")
CUSTOM = {  # with one of these, the source of a method doesn't determine its effect
    *("__new__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__del__"),
    *("__init_subclass__", "__class_getitem__", "__instancecheck__", "__set_name__"),
}
SLOT = (types.MemberDescriptorType, types.GetSetDescriptorType)
PLAIN = (int, float, str, bool, type(None))


class _Empty:
    """An empty class: members that it has, too, are not the program's."""


NOT_TRIED = {*vars(_Empty), "__init__", "backward", "__slots__", "__annotations__"}
HEART = ("__init__", "backward", "__add__", "__radd__", "__mul__", "__rmul__")
COMPOSED = {  # pygradc's method calls these, or the program's if one of them is kept
    "__pow__": ("__rpow__",),  # called by Python for float ** Value
    "__neg__": ("__mul__",),
    "__sub__": ("__add__", "__neg__"),
    "__rsub__": ("__add__", "__neg__"),
    "__truediv__": ("__mul__", "__pow__"),
    "__rtruediv__": ("__mul__", "__pow__"),
}


def _decide(cls: Any, path: str, line: int) -> Decision:
    said = _source.of(path, line)
    if said is None:
        raise Unfit("its source isn't available")
    _require_protocol(cls, said)
    outside = sorted(_source.outside_of_slots(said.statement, _declared(cls)))
    if hasattr(cls, "__slots__") and outside:
        raise Unfit(f"it sets {outside[0]}, which its __slots__ lack")
    own = {name: member for name, member in vars(cls).items() if not isinstance(member, SLOT)}
    functions, impure = _pure(own, said)
    for name in HEART:
        if name in impure:
            raise Unfit(f"its {name} can't be replaced: {impure[name]}")
    for name in ("__eq__", "__hash__"):  # which the sweep's set of visited nodes relies on
        follows = name == "__hash__" and own.get(name) is None and "__eq__" in functions
        if name in impure and not follows:
            raise Unfit(f"its {name} can't be checked: {impure[name]}")
    copied = said.again()
    sterile = Sterile(copied, functions.keys(), _slots(copied.statement))
    try:
        trial = _Trial(sterile, own, functions, impure)
        attributes = trial.attributes()
        kept = trial.kept()
    except Unfit:
        raise
    except Exception as error:
        raise Unfit(f"2.0 times 7.0, or its backward(), raises {error!r}") from None
    names = {name for name in own if name not in vars(_Empty) or name in said.functions}
    gone = [f for name, f in functions.items() if name not in kept]
    watched = _objections.Watched(GRAPH & trial.names, trial.changeable(), _called(gone, own))
    for objection in _objections.objections(watched, set(map(id, gone))):
        raise Unfit(objection)
    members = {
        **_guard.lacking(names, trial.names),
        **attributes,
        **{name: vars(cls)[name] for name in kept},
        **{name: vars(cls).get(name) for name in ("__module__", "__doc__")},
    }
    if "__eq__" in kept:
        members["__hash__"] = vars(cls)[
            "__hash__"
        ]  # None, by Python's rule, if the class defines none
    return Decision(members, kept, names, _guard.Guard(sterile), watched)


def _called(functions: Sequence[ast.FunctionDef], own: Collection[str]) -> set[str]:
    """The members that these functions call, or may call."""
    attributes = {n.attr for f in functions for n in ast.walk(f) if isinstance(n, ast.Attribute)}
    return attributes & {*own}


def _require_protocol(cls: Any, said: _source.Said) -> None:
    if type(cls) is not type or cls.__bases__ != (object,):
        raise Unfit("it has base classes or a metaclass")
    if said.statement.decorator_list:
        raise Unfit("it is decorated")
    own = {name: member for name, member in vars(cls).items() if not isinstance(member, SLOT)}
    for name in ("__init__", "backward"):
        if not isinstance(own.get(name), types.FunctionType):
            raise Unfit(f"it has no {name} of its own")
    custom = sorted(own.keys() & (CUSTOM | STATE))
    if custom:
        raise Unfit(f"it defines {', '.join(custom)} itself")
    _, *arguments = inspect.signature(own["__init__"]).parameters.values()
    if not _is_known_constructor(arguments):
        shown = ", ".join(map(str, arguments))
        known = "(data, children, local_grads) and (data, _children, _op, label)"
        raise Unfit(f"its constructor takes ({shown}); supported are {known}")
    unknown = sorted(said.keywords - KEYWORDS)
    if unknown:
        raise Unfit(f"the program passes {unknown[0]}= to its constructor")
    if len(inspect.signature(own["backward"]).parameters) != 1:
        raise Unfit("its backward() takes arguments")


def _is_known_constructor(arguments: Sequence[inspect.Parameter]) -> bool:
    if not arguments or arguments[0].default is not inspect.Parameter.empty:
        return False
    rest = arguments[1:]
    by_place = [p.name for p in rest if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = {p.name for p in rest if p.kind is p.KEYWORD_ONLY}
    return (
        0 < len(rest) == len(by_place) + len(by_name)
        and len(by_place) <= len(POSITIONS)
        and all(name in known for name, known in zip(by_place, POSITIONS))
        and by_name <= KEYWORDS
    )


# ---- Which methods are pure? ---------------------------------------------------------------------


def _pure(
    own: dict[str, Any], said: _source.Said
) -> tuple[dict[str, ast.FunctionDef], dict[str, str]]:
    """The members that the grammar accepts, and the reasons why it doesn't accept the others.

    A method may call others of the class if they are pure, so impure ones are removed until a
    fixpoint is reached.
    """
    pure = {
        name: function
        for name, function in said.functions.items()
        if _is_written_there(own.get(name), function)
    }
    impure = {
        name: "its source doesn't say what it is"
        for name in own
        if name not in pure and name not in NOT_TRIED
    }
    attributes = _source.attributes(pure)
    while True:
        faults = {}
        for name, function in pure.items():
            try:
                check(function, said.names, pure.keys(), attributes)
            except Impure as why:
                faults[name] = str(why)
        if not faults:
            return pure, impure
        impure.update(faults)
        for name in faults:
            del pure[name]


def _is_written_there(member: Any, function: ast.FunctionDef) -> bool:
    """Is it the function of this statement, not another object that the class body bound?"""
    if isinstance(member, staticmethod):
        member = member.__func__
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    return type(member) is types.FunctionType and member.__code__.co_firstlineno == first


def _slots(statement: ast.ClassDef) -> ast.stmt | None:
    for part in statement.body:
        if isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") == "__slots__":
            try:
                ast.literal_eval(part.value)
            except ValueError:
                return None
            return part
    return None


def _constants(function: ast.FunctionDef) -> list[float]:
    """The numeric constants in a function, sorted."""
    constants = (node.value for node in ast.walk(function) if isinstance(node, ast.Constant))
    return sorted({x for x in constants if isinstance(x, (int, float))})


# ---- Does it behave as pygradc's? ----------------------------------------------------------------


class _Trial:
    """Compares a sterile copy of the class with pygradc's Value."""

    def __init__(
        self,
        sterile: Sterile,
        own: dict[str, Any],
        functions: dict[str, ast.FunctionDef],
        impure: dict[str, str],
    ) -> None:
        self.cls, self.watch = sterile.cls, sterile.watch
        self.own, self.functions, self.impure = own, functions, impure
        self.called: dict[str, set[str]] = {}  # the functions that each function calls
        leaf, inner = self.cls(2.5), self.cls(2.0) * self.cls(7.0)
        self.leaf, self.inner = leaf, inner
        self.names = {name for name in _names(leaf) if hasattr(leaf, name)}
        children = next((name for name in CHILDREN if name in self.names), "")
        if not children:
            raise Unfit("its Values don't keep their children")
        kind = _tries.kind_of_children(getattr(inner, children))
        op = next((name for name in ("_op", "op") if name in self.names), "")
        label = "label" if "label" in self.names else ""
        self.view = View(children, op, label, kind in (set, frozenset))

    # Attributes that Value lacks, or has in another form.

    def attributes(self) -> dict[str, Any]:
        """The members to set on Value for attributes of the class's nodes."""
        self._check_constructor()
        try:
            ours, theirs = (_tries.sweeps(c, self.view) for c in (Value, self.cls))
        except Exception as error:
            raise Unfit(f"its backward() raises {error!r}") from None
        if ours != theirs:
            raise Unfit("its backward() does something else, such as starting from zero gradients")
        found = {}
        for name in sorted(self.names):
            member = self._stand_in(name)
            if member is not _NOTHING:
                found[name] = member
        return found

    def _check_constructor(self) -> None:
        """Require that the constructor stores what it is given, and has empty defaults."""
        leaf, cls = self.leaf, self.cls
        for number in (2.5, -3, 0.0, *_constants(self.functions["__init__"])):
            made = cls(number)
            if type(made.data) not in (int, float) or made.data != number:
                raise Unfit(f"its data are {made.data!r} for {number!r}")
            if type(made.grad) not in (int, float) or made.grad != 0:
                raise Unfit(f"its initial gradient is {made.grad!r}")
            self._check_same(made, self.names - {"data"})
        for name, default in (("label", ""), ("_op", ""), ("op", "")):
            if getattr(leaf, name, default) != default:
                raise Unfit(f"its {name} is {getattr(leaf, name)!r} by default")
        _, *arguments = parameters(self.functions["__init__"].args)
        given = [argument.arg for argument in arguments[1:]]
        for count in range(len(given) + 1):
            self._check_given(given[:count])
        for name in given:
            self._check_given([name])

    def _check_given(self, names: Sequence[str]) -> None:
        a, b = self.cls(2.0), self.cls(3.0)
        values: dict[str, Any] = {}
        for name in names:
            is_slope = "grad" in name
            text = "node" if name in ("op", "_op", "label") else None
            values[name] = text or ((1.5, 0.5) if is_slope else (a, b))
        node = self.cls(6.0, **values)
        if (node.data, node.grad) != (6.0, 0):
            raise Unfit("its constructor does something else with its arguments")
        for name in values:
            shown = next((n for n in _same_names(name) if n in self.names), None)
            kept = getattr(node, shown) if shown else values[name]
            if tuple(kept) != tuple(values[name]):
                raise Unfit(f"its constructor stores {name} as {kept!r}")
        given = {other for name in values for other in _same_names(name)}
        self._check_same(node, self.names - {"data", *given})

    def _check_same(self, node: Any, names: Collection[str]) -> None:
        """Require that these attributes of a node are those of a leaf."""
        for name in names:
            first, other = getattr(self.leaf, name), getattr(node, name, _NOTHING)
            functions = callable(first) and callable(other)
            if first != other and not functions and not _is_empty(first, other):
                raise Unfit(f"its {name} differs from node to node")

    def _stand_in(self, name: str) -> Any:
        """The member that Value needs under this name; _NOTHING if its own will do."""
        first, second = getattr(self.leaf, name), getattr(self.inner, name, _NOTHING)
        if name in CHILDREN:
            return self._children(name, first, second)
        if name in LOCAL_GRADS:
            if any(type(x) is not tuple or len(x) > 2 for x in (first, second)):
                raise Unfit(f"its {name} isn't a tuple")
            return _NOTHING if name == "_local_grads" else vars(Scalar)["_local_grads"]
        if name == "op":
            return vars(Scalar)["_op"]
        if name == "_backward":
            if not callable(first) or first() is not None:
                raise Unfit("its _backward isn't a function")
            return _NOTHING
        if name in STATE:
            return _NOTHING
        if type(first) not in PLAIN or type(second) is not type(first) or first != second:
            raise Unfit(f"its attribute {name} has no counterpart")
        return first

    def _children(self, name: str, first: Any, second: Any) -> Any:
        kind = _tries.kind_of_children(second)
        if kind not in (set, frozenset, list, tuple) or _tries.kind_of_children(first) is not kind:
            raise Unfit(f"its {name} isn't always a set, a list or a tuple")
        if kind is (set if name == "_prev" else tuple if name == "_children" else None):
            return _NOTHING
        return _CHILDREN_AS[kind]

    def changeable(self) -> set[str]:
        """The attributes that hold children in a list or a set."""
        return {
            name
            for name in self.names & {*CHILDREN}
            if _tries.kind_of_children(getattr(self.inner, name)) in (set, list)
        }

    # The methods.

    def kept(self) -> dict[str, str]:
        """The class's members that are kept, each with the reason."""
        kept = {
            name: why
            for name in self.own
            if name not in NOT_TRIED and (why := self._why_kept(name))
        }
        for name in [name for name in ("__init__", "backward") if self._is_untried(name)]:
            raise Unfit(f"part of its {name} did not run when it was tried")
        for name, parts in COMPOSED.items():
            if name in self.own and name not in kept and kept.keys() & {*parts}:
                kept[name] = "it calls one that is kept"
        for name in HEART:
            if name in kept:
                raise Unfit(f"its {name} can't be replaced: {kept[name]}")
        for name in kept:
            self._check_can_be_set(name)
        return kept

    def _why_kept(self, name: str) -> str:
        if not _has(name):
            return "pygradc has none"
        if name in self.impure:
            return self.impure[name]
        function = self.functions[name]
        if name == "__hash__":
            return "" if _returns_identity(function) else "it isn't the identity hash"
        if not (name in _tries.TRIES or name in _tries.ANSWERS):
            return "pygradc's means something else"
        if not _tries.same(self.cls, name, self.view, _constants(function)):
            return "it differs from pygradc's"
        if self._is_untried(name):
            return "part of it did not run when it was tried"
        return ""

    def _is_untried(self, name: str) -> bool:
        """Did a branch of it, or of a function of the class that it calls, never run?"""
        todo, done = [name], set()
        while todo:
            name = todo.pop()
            if name in done:
                continue
            done.add(name)
            function = self.functions[name]
            if self.watch.untried(function, name in _tries.REFLECTED):
                return True
            if name not in self.called:
                self.called[name] = _called([function], self.functions)
            todo.extend(self.called[name])
        return False

    def _check_can_be_set(self, name: str) -> None:
        if name.startswith("_") and not name.endswith("__") and _has(name):
            raise Unfit(f"pygradc's Value has a different {name}")
        member = self.own[name]
        code = getattr(getattr(member, "__func__", member), "__code__", None)
        if "__class__" in getattr(code, "co_freevars", ()):
            raise Unfit(f"its {name} uses super()")


def _has(name: str) -> bool:
    """Does Value have a member of this name?"""
    return hasattr(Value, name)


def _declared(cls: Any) -> set[str]:
    slots = getattr(cls, "__slots__", ())
    return {slots} if isinstance(slots, str) else {*slots}


def _names(value: Any) -> set[str]:
    return (_declared(type(value)) | {*getattr(value, "__dict__", ())}) - {
        "__dict__",
        "__weakref__",
    }


def _same_names(argument: str) -> Sequence[str]:
    """The attributes that may hold what this argument passes."""
    for names in (CHILDREN, LOCAL_GRADS, ("_op", "op")):
        if argument in names:
            return names
    return (argument,)


def _is_empty(*kept: Any) -> bool:
    return all(hasattr(each, "__len__") and len(each) == 0 for each in kept)


def _returns_identity(function: ast.FunctionDef) -> bool:
    last = function.body[-1]
    return (
        all(isinstance(part, ast.Expr) for part in function.body[:-1])
        and isinstance(last, ast.Return)
        and last.value is not None
        and ast.dump(last.value) == ast.dump(ast.parse("id(self)", mode="eval").body)
    )


def _children_as(kind: Callable[[Any], Any]) -> property:
    children = Scalar._children.__get__
    return property(lambda value: kind(children(value)))


_CHILDREN_AS: dict[Any, Any] = {
    tuple: vars(Scalar)["_children"],
    **{kind: _children_as(kind) for kind in (set, frozenset, list)},
}
