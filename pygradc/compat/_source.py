"""What a program's modules say about their class Value, read from their syntax trees.

Invariant: runs nothing. `read` is asked once a module, before that runs; `of` gives the class
statement at a place, `objections` what other parts of the program do that a replaced class could
not know of: they change its graph's attributes, patch what it is made of, derive from it.
Owns: the trees of the modules read so far. Cost: some walks over each tree.
"""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from pygradc.compat._grammar import GRAPH, STATE, Names

CLASS = "Value"
MADE_OF = STATE | {"__init__", "__new__", "backward", "__slots__", "__class__"}


class Module(NamedTuple):
    """A module of the program."""

    path: str
    source: bytes
    tree: ast.Module


class Said(NamedTuple):
    """A class statement: its members' functions, and what its module's names mean."""

    statement: ast.ClassDef
    functions: dict[str, ast.FunctionDef]
    names: Names
    keywords: set[str]  # by which the module passes arguments to the constructor
    module: Module

    def again(self) -> Said:
        """The same from a tree of its own, which may be changed."""
        tree = parse(self.module.source, self.module.path)
        (statement,) = (
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.lineno == self.statement.lineno
        )
        return self._replace(statement=statement, functions=_functions(statement))


def parse(source: bytes, path: str) -> ast.Module:
    """The tree of a module, in whatever encoding it says; SyntaxError as Python raises it."""
    tree = compile(source, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


_modules: list[Module] = []


def read(path: str, source: bytes) -> ast.Module:
    """The tree of a module that is about to run."""
    tree = parse(source, path)
    _modules.append(Module(path, source, ast.Module([*tree.body], [])))
    return tree


def forget() -> None:
    """As if no module had been read."""
    _modules.clear()


def of(path: str, line: int) -> Said | None:
    """What the class statement there says; None if it isn't known."""
    for module in reversed(_modules):
        for node in module.tree.body if module.path == path else ():
            if isinstance(node, ast.ClassDef) and (node.name, node.lineno) == (CLASS, line):
                names, keywords = _names(module.tree), _keywords(module.tree)
                return Said(node, _functions(node), names, keywords, module)
    return None


def hidden(tree: ast.Module) -> Iterator[ast.ClassDef]:
    """Classes Value that are not statements of the module itself."""
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == CLASS and id(node) not in top:
            yield node


# ---- The class statement -------------------------------------------------------------------------


def _functions(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """The members that are functions written there, or other names for such."""
    found: dict[str, ast.FunctionDef] = {}
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                _assign(found, target, statement.value)
        else:
            for name in _stored(statement):
                found.pop(name, None)
    return found


def _assign(found: dict[str, ast.FunctionDef], target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        functions = [found.get(getattr(part, "id", "")) for part in value.elts]
        for part, function in zip(target.elts, functions):
            _bind(found, part, function)
    else:
        for name in _stored(target):
            found.pop(name, None)
        _bind(found, target, found.get(getattr(value, "id", "")))


def _bind(found: dict[str, ast.FunctionDef], target: ast.expr, value: object) -> None:
    if isinstance(target, ast.Name):
        found.pop(target.id, None)
        if isinstance(value, ast.FunctionDef):
            found[target.id] = value


def _stored(node: ast.AST) -> Iterator[str]:
    """All names that are bound below, however."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            yield part.id
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield part.name


def attributes(functions: Mapping[str, ast.FunctionDef]) -> set[str]:
    """What the constructor sets."""
    own = functions.get("__init__")
    return _attributes_set(own) if own is not None else set()


def _attributes_set(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


def outside_of_slots(statement: ast.ClassDef, slots: Collection[str]) -> set[str]:
    """The attributes that the class's methods set and its slots lack."""
    return set() if "__dict__" in slots else _attributes_set(statement) - {*slots}


def _keywords(tree: ast.Module) -> set[str]:
    return {
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == CLASS
        for keyword in node.keywords
        if keyword.arg is not None
    }


# ---- The module's names --------------------------------------------------------------------------


def _names(tree: ast.Module) -> Names:
    """A name that is bound in two ways stands for neither."""
    meanings: dict[str, set[str]] = {}
    for name, meaning in _bindings(tree.body):
        meanings.setdefault(name, set()).add(meaning)
    for node in ast.walk(tree):
        for name in node.names if isinstance(node, ast.Global) else ():
            meanings.setdefault(name, set()).add("?")
    if "*" in meanings:
        return Names(None, {}, _Everything())
    sure = {name: next(iter(kinds)) for name, kinds in meanings.items() if len(kinds) == 1}
    of_math = {name: kind[5:] for name, kind in sure.items() if kind.startswith("math.")}
    own = CLASS if sure.get(CLASS) == "class" else None
    return Names(own, of_math, meanings.keys() - of_math.keys())


class _Everything(frozenset):  # type: ignore[type-arg]
    """After `from x import *` any name may be bound."""

    def __contains__(self, name: object) -> bool:
        return True


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names bound in the module's own scope, each with what to; "?" is anything."""
    todo: list[ast.AST] = [*body]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, "?"
        elif isinstance(node, ast.ClassDef):
            yield node.name, "class"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield from _imported(node, alias)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                yield node.id, "?"
            for field in ("name", "rest"):  # of except clauses and patterns
                if isinstance(getattr(node, field, None), str):
                    yield getattr(node, field), "?"
            todo.extend(ast.iter_child_nodes(node))


def _imported(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield alias.asname or alias.name.partition(".")[0], "math." if alias.name == "math" else "?"
    elif node.module != "math" or node.level:
        yield alias.asname or alias.name, "?"
    elif alias.name == "*":
        yield from ((name, f"math.{name}") for name in vars(math) if not name.startswith("_"))
    else:
        yield alias.asname or alias.name, f"math.{alias.name}"


# ---- What other parts of the program do ----------------------------------------------------------

CHANGERS = frozenset(
    ("add", "clear", "append", "pop", "remove", "discard", "update", "extend", "insert", "sort")
    + ("reverse", "difference_update", "intersection_update", "symmetric_difference_update")
)
SETTERS = frozenset(("setattr", "delattr"))
CENSUS = (
    frozenset(  # what these say of a program's objects depends on there being one for each node
        ("get_objects", "get_referrers", "get_referents", "is_tracked", "getsizeof", "getrefcount")
        + ("getallocatedblocks", "tracemalloc")
    )
)


def objections(graph: Collection[str], without: Collection[int]) -> Iterator[str]:
    """What the modules read so far do to nodes, or to the class from outside of it.

    Args:
        graph: The attributes for the graph that nodes have.
        without: The ids of trees that don't count, since pygradc's methods take their place.
    """
    for module in _modules:
        for line, what in objections_of(module.tree, graph, without):
            yield f"the program {what} in line {line} of {os.path.basename(module.path)}"


def objections_of(
    tree: ast.AST, graph: Collection[str] = GRAPH, without: Collection[int] = ()
) -> Iterator[tuple[int, str]]:
    """The same of one tree: lines, and what happens there."""
    copies = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and getattr(node.value, "attr", "") in graph
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    todo = [tree]
    while todo:
        node = todo.pop()
        if id(node) in without:
            continue
        what = _objection(node, graph, copies)
        if what:
            yield node.lineno, what  # type: ignore[attr-defined]
        parts = set(ast.iter_child_nodes(node))
        if isinstance(node, ast.ClassDef):
            parts -= {*_constructors(node)}
        todo.extend(parts)


def _constructors(node: ast.ClassDef) -> Iterator[ast.AST]:
    """Methods that only make objects of their own class: __init__, which the trial looks at."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            yield part


def _objection(node: ast.AST, graph: Collection[str], copies: set[str]) -> str:
    asked = {getattr(node, "attr", ""), *_imports(node)} & CENSUS
    if asked:
        return f"counts objects by {asked.pop()}"
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        if node.attr in graph:
            return f"assigns to .{node.attr}"
        if node.attr in MADE_OF and getattr(node.value, "id", "") == CLASS:
            return f"assigns to {CLASS}.{node.attr}"
    elif isinstance(node, ast.Call):
        return _objection_to_call(node, graph, copies)
    elif isinstance(node, ast.ClassDef) and any(map(_is_value, node.bases)):
        return f"derives {node.name} from it"
    return ""


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.name


def _has_stars(node: ast.Tuple) -> bool:
    return any(isinstance(part, ast.Starred) for part in node.elts)


def _is_value(node: ast.expr) -> bool:
    return CLASS in (getattr(node, "id", ""), getattr(node, "attr", ""))


def _objection_to_call(node: ast.Call, graph: Collection[str], copies: set[str]) -> str:
    function, first = node.func, next(iter(node.args), None)
    if isinstance(function, ast.Attribute) and function.attr in CHANGERS:
        owner = function.value
        if isinstance(owner, ast.Attribute) and owner.attr in graph:
            return f"changes .{owner.attr}"
        if isinstance(owner, ast.Name) and owner.id in copies:
            return f"changes {owner.id}, a node's children"
    elif getattr(function, "id", "") == CLASS:
        counts = {
            len(part.elts)
            for part in [*node.args[1:3], *(keyword.value for keyword in node.keywords)]
            if isinstance(part, ast.Tuple) and not _has_stars(part)
        }
        if len(counts) > 1:
            return f"gives {CLASS} unequal numbers of children and derivatives"
    elif getattr(function, "id", "") in SETTERS and first is not None:
        name = getattr(node.args[1], "value", None) if len(node.args) > 1 else None
        if getattr(first, "id", "") == CLASS or name in graph:
            return f"calls {function.id}"  # type: ignore[attr-defined]
    return ""
