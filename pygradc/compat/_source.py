"""What a program's modules say about their class Value, read from their syntax trees.

Invariant: runs nothing. `read` is asked once a module, before that runs; `read_ahead` reads those
that these import from the program's folder; `of` gives the class statement at a place. What the
rest of the program does to the class is for `_objections.py` to say.
Owns: the trees of the modules read so far. Cost: some walks over each tree.
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
        nodes: all of the tree, as `ast.walk` gives them, but the signs of operators and contexts.
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
    for node in nodes:  # which grows meanwhile
        nodes += children(node)
    return nodes


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


LIBRARY = os.path.join(os.path.dirname(os.path.realpath(os.__file__)), "")
modules: list[Module] = []  # the program's own file comes first


def read(path: str, source: bytes) -> Module:
    """A module that is about to run. Its tree is shared, and not to be changed."""
    for module in modules:
        if (module.path, module.source) == (path, source):
            return module
    tree = parse(source, path)
    modules.append(Module(path, source, tree, _nodes(tree)))
    return modules[-1]


def forget() -> None:
    """As if no module had been read."""
    modules.clear()


def read_ahead() -> None:
    """Read what the modules so far, and those themselves, import from the program's folder."""
    known = {os.path.realpath(module.path) for module in modules}
    for module in modules:  # which grows meanwhile
        for path in _imported_files(module):
            if path not in known and os.path.isfile(path):
                known.add(path)
                try:
                    with open(path, "rb") as file:
                        read(path, file.read())
                except (OSError, SyntaxError, ValueError):
                    continue  # importing it will raise, if it ever is


def _imported_files(module: Module) -> Iterator[str]:
    """The files, in the program's folder, that its import statements may mean."""
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
    """Is it in the program's folder, and not among what is installed there?"""
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
    """What the class statement there says; None if it isn't known."""
    for module in reversed(modules):
        for node in module.tree.body if module.path == path else ():
            if isinstance(node, ast.ClassDef) and (node.name, node.lineno) == (CLASS, line):
                names, keywords = _names(module), _keywords(module)
                return Said(node, _functions(node), names, keywords, module)
    return None


def hidden(module: Module) -> Iterator[ast.ClassDef]:
    """Classes Value that are not statements of the module itself."""
    top = set(map(id, module.tree.body))
    for node in module.nodes:
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
    """A name that is bound in two ways stands for neither."""
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
