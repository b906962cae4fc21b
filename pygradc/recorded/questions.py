"""Type tests in an op's rule, which a symbol can't refuse: code that may tell floats from Values.

A rule can test two things about an operand without an error on a symbol: its type and, with an
`except`, what it doesn't support. A branch on either may lead floats to a branch on the number,
which a trial with symbols never sees. So the bytecode of all functions that the rule can reach is
searched for such tests, the *questions*; a rule that contains one gets floats. Questions in library
code are noted by the symbols themselves, as are refusals that were caught. A false negative costs a
wrong number; a false positive, a refusal in recordings, which says why: so doubtful forms count as
questions.
Cost: some 50 us, once per op.
"""

from __future__ import annotations

import dis
import functools
import inspect
import math
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np

from pygradc.core import lines
from pygradc.core.refusals import trying
from pygradc.core.scalar import core
from pygradc.recorded.reach import Reached, codes, names, reach
from pygradc.value import Value


class Examined:
    """Base of ops: an op that a rule calls is examined on its own, not as part of the rule."""


class _Asker(NamedTuple):
    """Code or an object of the rule that asks a question."""

    question: str
    code: CodeType | None  # None: an object, such as a function of functools.singledispatch
    known: dict[str, Any]  # the globals of its function


_ASKING = (
    *(isinstance, issubclass, type, id, hasattr, getattr, dir, vars, eval, exec, globals, locals),
    *(functools.singledispatch, functools.singledispatchmethod),
    *(operator.attrgetter, operator.methodcaller, operator.is_, operator.is_not),
    *(__import__, inspect.getattr_static, np.frompyfunc),
)
_ASKING_IDS = frozenset(map(id, _ASKING))
_ASKING_NAMES = frozenset(x.__name__ for x in _ASKING)
# Attributes, among them functions of numpy and others with results that depend on the type.
_ASKING_ATTRIBUTES = frozenset(
    (
        *("singledispatch", "singledispatchmethod", "attrgetter", "methodcaller", "is_", "is_not"),
        *("isscalar", "isreal", "iscomplex", "isrealobj", "iscomplexobj", "issubdtype", "can_cast"),
        *("nan_to_num", "dtype", "result_type", "min_scalar_type", "common_type", "mintypecode"),
        *("itemsize", "nbytes", "typename", "frompyfunc", "dumps", "getsizeof", "is_tracked"),
        *("getattr_static", "getmembers", "import_module"),
        *("__instancecheck__", "__subclasscheck__", "__builtins__"),
        *(name for name in dir(float) if name.startswith("__")),
    )
) - {"__init__", "__new__", "__init_subclass__", "__setattr__", "__delattr__"}
_IMPORTED = ("math", "numpy", "pygradc")
_SINGLETONS = (None, True, False, Ellipsis)
_TELLS = (
    "may tell floats from Values, so the results for the two may differ. Instead, write one rule "
    "for both, with pygradc.where to choose"
)


def askers(rule: Any) -> list[_Asker]:
    found: list[_Asker] = []
    functions, objects = _reached(rule)
    for x in objects:
        name = getattr(x, "__name__", type(x).__name__)
        found.append(_Asker(f"{name} {_TELLS}", None, {}))
    for function in functions:
        for code in codes(function.__code__):
            question = next(_questions(code, function.__globals__), None)
            if question is not None:
                found.append(_Asker(question, code, function.__globals__))
    return found


def _reached(rule: Any) -> tuple[list[FunctionType], list[Any]]:
    """Functions that the rule may call, and objects that ask for types.

    `reach` finds all methods of an object; those that no function names are omitted.
    """
    left_out: set[int] = set()
    while True:
        found, objects, by_value = _reached_without(rule, left_out)
        unnamed = _unnamed(found, by_value)
        if not unnamed:
            return [*dict.fromkeys(x.function for x in found)], objects
        left_out |= unnamed


def _reached_without(
    rule: Any, left_out: set[int]
) -> tuple[list[Reached], list[Any], dict[int, Any]]:
    forward, given = rule
    roots = (forward, *(given if isinstance(given, tuple) else (given,)))
    # even if they aren't user code
    found = [Reached(x, None) for x in roots if isinstance(x, FunctionType)]
    objects: list[Any] = []
    later: dict[int, Any] = {0: rule}
    by_value: dict[int, Any] = {}  # bound methods: a caller needn't name them

    def wanted(x: Any) -> bool:
        for getter in _getters(x):
            later.setdefault(id(getter), getter)
        if isinstance(x, MethodType):
            by_value[id(x.__func__)] = x
        if _is_of_text(x):
            found.append(Reached(x, None))
        if isinstance(x, Examined):
            left_out.add(id(x))
        return id(x) in left_out or _is_asking(x)

    known = 0
    while known < len(later):
        behind, known = [*later.values()][known:], len(later)
        more, asking = reach(behind, wanted)
        found += more
        objects += (x for x in asking if id(x) not in left_out)
    return found, objects, by_value


def _is_of_text(x: Any) -> bool:
    """Was it made by `exec`? The generated methods of dataclasses don't count."""
    if not isinstance(x, FunctionType) or x.__name__.startswith("__"):
        return False
    return x.__code__.co_filename == "<string>"


def _unnamed(found: list[Reached], by_value: dict[int, Any]) -> set[int]:
    """Methods that no function refers to by name."""
    named = {name for x in found for name in names(x.function)}
    unnamed, others = set(), set()
    for x in found:
        keys = _keys(x) if x.owner is not None and id(x.function) not in by_value else ()
        if keys and not any(_may_be_called(key, named) for key in keys):
            unnamed.add(id(x.function))
        else:
            others.add(id(x.function))
    return unnamed - others


_OF_NEW_OBJECTS = ("__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__")


def _may_be_called(key: str, named: set[str]) -> bool:
    return key in named or (key.startswith("__") and key not in _OF_NEW_OBJECTS)


def _keys(x: Reached) -> list[str]:
    """The names of a method in its object's classes."""
    return [
        key
        for kind in type(x.owner).__mro__
        for key, value in vars(kind).items()
        if value is x.function or (isinstance(value, property) and value.fget is x.function)
    ]


def _getters(x: Any) -> Iterator[Any]:
    """Functions that `reach` doesn't follow: those of properties and in library wrappers."""
    if isinstance(x, property):
        yield from (x.fget, x.fset)
    elif isinstance(x, functools.cached_property):
        yield x.func
    elif isinstance(x, functools.partialmethod):
        yield from (x.func, *x.args, *x.keywords.values())
    elif isinstance(x, np.vectorize):
        yield x.pyfunc
    elif isinstance(x, FunctionType) and not lines.is_users_file(x.__code__.co_filename):
        for cell in x.__closure__ or ():
            with suppress(ValueError):  # an empty cell
                yield cell.cell_contents


def _is_asking(x: Any) -> bool:
    if id(x) in _ASKING_IDS:
        return True
    if isinstance(x, FunctionType):
        if "registry" in vars(x) and "dispatch" in vars(x):
            return True
        return x.__name__ in _ASKING_ATTRIBUTES and not lines.is_users_file(x.__code__.co_filename)
    if isinstance(x, np.ufunc):
        return "(vectorized)" in x.__name__  # np.frompyfunc's
    asking = functools.singledispatchmethod, operator.attrgetter, operator.methodcaller
    return isinstance(x, asking)


def _questions(code: CodeType, known: dict[str, Any]) -> Iterator[str]:
    """The questions in this code, in words, with file and line."""
    for name, line, what in _asked(code):
        if id(known.get(name)) in _ASKING_IDS or name not in known:  # unless the global is shadowed
            yield f"{code.co_filename}:{line}: {what}"


@functools.lru_cache(maxsize=1024)
def _asked(code: CodeType) -> tuple[tuple[str, int, str], ...]:
    """The questions in this code: (global name that asks, or "", line, what is asked)."""
    lines, line = dict(dis.findlinestarts(code)), code.co_firstlineno
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "COPY")]
    before, found = instructions[0], []
    for i, after in zip(instructions, [*instructions[1:], before]):
        line = lines.get(i.offset) or line
        what = _asked_by(i, before, after)
        if what is not None:
            name = i.argval if i.opname in ("LOAD_GLOBAL", "LOAD_NAME") else ""
            found.append((name, line, what))
        before = i
    return tuple(found)


def _asked_by(i: dis.Instruction, before: dis.Instruction, after: dis.Instruction) -> str | None:
    kind, name = i.opname, i.argval
    if kind in ("LOAD_GLOBAL", "LOAD_NAME") and name in _ASKING_NAMES:
        return f"{name} {_TELLS}"
    elif kind.startswith(("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM", "LOAD_GLOBAL")):
        if name in _ASKING_ATTRIBUTES:
            return f"{name} {_TELLS}"
    elif kind == "IMPORT_NAME":
        if name.partition(".")[0] not in _IMPORTED:
            return f"an import {_TELLS}"
    elif kind.startswith("MATCH_CLASS"):
        return f"a class pattern {_TELLS}"
    elif kind == "IS_OP":
        if not (before.opname == "LOAD_CONST" and before.argval in _SINGLETONS):
            return f"'is' {_TELLS}"
    elif kind == "CHECK_EG_MATCH" or (kind == "POP_EXCEPT" and after.opname != "RERAISE"):
        return f"a caught exception {_TELLS}"
    return None


# ---- A choice between formulas: `a.tanh() if isinstance(a, Value) else math.tanh(a)`

_FORMULAS = frozenset(dir(math)) & frozenset(("exp", "log", "sqrt", "sin", "cos", "tanh", "erf"))
_IN_FORMULAS = (
    *("RESUME", "NOP", "NOT_TAKEN", "PUSH_NULL", "PRECALL", "CALL", "KW_NAMES", "TO_BOOL"),
    *("LOAD_FAST", "STORE_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "RETURN_", "JUMP_FORWARD"),
    *("UNARY_NEGATIVE", "BINARY_ADD", "BINARY_SUBTRACT", "BINARY_MULTIPLY", "BINARY_TRUE_DIVIDE"),
    *("BINARY_POWER", "BUILD_TUPLE", "EXTENDED_ARG", "CACHE"),
)


def only_chooses_formulas(asker: _Asker) -> bool:
    """Does this code only select between formulas by type, without branching on a number?

    That is, one branch for each isinstance, and only arithmetic and elementary functions.
    """
    if asker.code is None or any(isinstance(x, CodeType) for x in asker.code.co_consts):
        return False
    questions = branches = 0
    for i in dis.get_instructions(asker.code):
        if i.opname.startswith("POP_JUMP"):
            branches += "NONE" not in i.opname
        elif i.opname in ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD"):
            if i.argval == "isinstance":
                questions += 1
            elif not _is_of_formulas(i, asker.known):
                return False
        elif i.opname == "BINARY_OP":
            if i.argrepr not in ("+", "-", "*", "/", "**"):
                return False
        elif not i.opname.startswith(_IN_FORMULAS):
            return False
    return questions == branches


def _is_of_formulas(i: dis.Instruction, known: dict[str, Any]) -> bool:
    name: str = i.argval
    if name in _FORMULAS:
        return i.opname != "LOAD_GLOBAL" or known.get(name) is getattr(math, name)
    if i.opname != "LOAD_GLOBAL":
        return name == "Value"
    x = known.get(name, {"float": float, "int": int}.get(name))
    return any(x is y for y in (Value, float, int, math, sys.modules["pygradc"]))


# ---- Symbols that note questions

_noted: list[list[str]] = []  # the notes of nested trials, the innermost last


def _note(asked: str) -> None:
    """Note a question, unless it is this package's own."""
    if _noted and not sys._getframe(2).f_code.co_filename.startswith(lines.HERE):
        _noted[-1].append(f"{lines.users_line()}: {asked} {_TELLS}")


_OF_FLOATS = frozenset((*(set(dir(float)) - set(dir(Value))), "__class__"))


class _Symbol(Value):
    """An operand of a trial, which notes the attributes that distinguish floats from Values."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_FLOATS:
            _note(name)
        return super().__getattribute__(name)


_Symbol.__name__ = "Value"  # in messages


@contextmanager
def noting(count: int, note: bool) -> Iterator[tuple[tuple[Value, ...], list[str]]]:
    """Operands for a trial, and a list of questions: those noted, and refusals that were caught."""
    noted: list[str] = []
    symbols = tuple(core.trace_input() for _ in range(count))
    with trying(of_rule=True) as caught:
        _noted.append(noted)
        try:
            if note:
                for symbol in symbols:
                    symbol.__class__ = _Symbol
            yield symbols, noted
        finally:
            _noted.pop()
            for symbol in symbols:
                symbol.__class__ = Value
        if caught() is not None:
            noted.append(f"{caught()} The rule caught this error.")
