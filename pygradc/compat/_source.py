"""What a program's modules say about their class Value, read from their syntax trees.

`read` parses a module, once, before it runs; `read_ahead` also parses what the modules import from
the program's folder; `of` returns the class statement at a place. Uses of the class in the rest of
the program are the concern of `_objections.py`.
Invariant: executes no code of the program.
Owns: the trees of the modules read so far. Cost: a few walks over each tree.
"""

from __future__ import annotations

import ast
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from pygradc.compat._grammar import Names

CLASS = "Value"


class Module(NamedTuple):
    """A module of the program.

    Attributes:
        nodes: All nodes of the tree, in the order of `ast.walk`, except operators and contexts.
    """

    path: str
    source: bytes
    tree: ast.Module
    nodes: list[ast.AST]


_SIGNS = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


def children(node: ast.AST) -> list[ast.AST]:
    return [part for part in ast.iter_child_nodes(node) if not isinstance(part, _SIGNS)]


def _nodes(tree: ast.Module) -> list[ast.AST]:
    nodes: list[ast.AST] = [tree]
    for node in nodes:  # grows during the loop
        nodes += children(node)
    return nodes


class Said(NamedTuple):
    """A class statement: its methods, and the meanings of its module's names."""

    statement: ast.ClassDef
    functions: dict[str, ast.FunctionDef]
    names: Names
    keywords: set[str]  # the keywords that the module's calls of the constructor use
    module: Module

    def again(self) -> Said:
        """The same from a fresh tree, which may be changed."""
        tree = parse(self.module.source, self.module.path)
        (statement,) = (
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.lineno == self.statement.lineno
        )
        return self._replace(statement=statement, functions=_functions(statement))


def parse(source: bytes, path: str) -> ast.Module:
    """Parse a module, in the encoding it declares; SyntaxError as Python raises it."""
    tree = compile(source, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


LIBRARY = os.path.join(os.path.dirname(os.path.realpath(os.__file__)), "")
modules: list[Module] = []  # the program's own file comes first


def read(path: str, source: bytes) -> Module:
    """Parse a module that is about to run. The tree is shared and must not be changed."""
    for module in modules:
        if (module.path, module.source) == (path, source):
            return module
    tree = parse(source, path)
    modules.append(Module(path, source, tree, _nodes(tree)))
    return modules[-1]


def forget() -> None:
    """Forget all modules read so far."""
    modules.clear()


def read_ahead() -> None:
    """Read the modules that those read so far import from the program's folder, transitively."""
    known = {os.path.realpath(module.path) for module in modules}
    for module in modules:  # grows during the loop
        for path in _imported_files(module):
            if path not in known and os.path.isfile(path):
                known.add(path)
                try:
                    with open(path, "rb") as file:
                        read(path, file.read())
                except (OSError, SyntaxError, ValueError):
                    continue  # importing it, if that happens, will raise


def _imported_files(module: Module) -> Iterator[str]:
    """The files in the program's folder that its import statements may refer to."""
    top = os.path.dirname(os.path.realpath(modules[0].path))
    folders = {top, *filter(is_programs, sys.path)}
    here = os.path.dirname(os.path.realpath(module.path))
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                for folder in folders:
                    yield from _files(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            bases = folders if not node.level else {_above(here, node.level - 1)}
            parts = (node.module or "").split(".") if node.module else []
            for folder in bases:
                for alias in node.names:
                    yield from _files(folder, [*parts, alias.name])


def is_programs(path: str) -> bool:
    """Is it in the program's folder, but not an installed package there?"""
    path = os.path.realpath(path)
    top = os.path.join(os.path.dirname(os.path.realpath(modules[0].path)), "")
    return path.startswith(top) and not ("site-packages" in path or path.startswith(LIBRARY))


def _files(folder: str, parts: list[str]) -> Iterator[str]:
    if parts[0] == "pygradc":
        return
    for part in parts:
        folder = os.path.join(os.path.realpath(folder), part)
        yield folder + ".py"
        yield os.path.join(folder, "__init__.py")


def _above(folder: str, levels: int) -> str:
    for _ in range(levels):
        folder = os.path.dirname(folder)
    return folder


def of(path: str, line: int) -> Said | None:
    """The class statement at this place; None if its module wasn't read."""
    for module in reversed(modules):
        for node in module.tree.body if module.path == path else ():
            if isinstance(node, ast.ClassDef) and (node.name, node.lineno) == (CLASS, line):
                names, keywords = _names(module), _keywords(module)
                return Said(node, _functions(node), names, keywords, module)
    return None


def hidden(module: Module) -> Iterator[ast.ClassDef]:
    """Classes Value that are not top-level statements of the module."""
    top = set(map(id, module.tree.body))
    for node in module.nodes:
        if isinstance(node, ast.ClassDef) and node.name == CLASS and id(node) not in top:
            yield node


# ---- The class statement -------------------------------------------------------------------------


def _functions(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """The members that are functions defined in the class body, or aliases of these."""
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
    """All names bound in this subtree, in any way."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            yield part.id
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield part.name


def attributes(functions: Mapping[str, ast.FunctionDef]) -> set[str]:
    """The attributes that the constructor sets."""
    own = functions.get("__init__")
    return _attributes_set(own) if own is not None else set()


def _attributes_set(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


def outside_of_slots(statement: ast.ClassDef, slots: Collection[str]) -> set[str]:
    """The attributes that the class's methods set and its `__slots__` lack."""
    return set() if "__dict__" in slots else _attributes_set(statement) - {*slots}


def _keywords(module: Module) -> set[str]:
    return {
        keyword.arg
        for node in module.nodes
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == CLASS
        for keyword in node.keywords
        if keyword.arg is not None
    }


# ---- The module's names --------------------------------------------------------------------------


def _names(module: Module) -> Names:
    """The meanings of the module's names; a name bound in two ways has none."""
    meanings: dict[str, set[str]] = {}
    for name, meaning in _bindings(module.tree.body):
        meanings.setdefault(name, set()).add(meaning)
    for node in module.nodes:
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
    """Names bound in the module's scope, each with its meaning; "?" is anything."""
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
            for field in ("name", "rest"):  # names in except clauses and patterns
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
