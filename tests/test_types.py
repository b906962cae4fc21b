"""Do the types say what the package does: is no public result Any, and are signatures real?

The public API is what `pygradc` and its public modules export, and the public methods, properties
and attributes of those classes. Annotations are read from the sources and stubs, as a type checker
does: where there are overloads, from these.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pygradc
from pygradc import compat, functions, losses, models, nn, optim

PACKAGE = Path(pygradc.__file__).resolve().parent
MODULES = (pygradc, compat, functions, losses, models, nn, optim)
CALLS = ("__call__", "__enter__", "__getitem__", "__iter__", "__len__", "__next__")

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]

Def = ast.FunctionDef


def public_names(module: types.ModuleType) -> list[str]:
    """What the module exports: `__all__`, or what it defines itself."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return [*names]
    file = str(module.__file__)
    return [
        name
        for name, item in vars(module).items()
        if not name.startswith("_")
        and getattr(getattr(item, "__code__", None), "co_filename", file) == file
        and (
            inspect.isfunction(item)
            or (inspect.isclass(item) and item.__module__ == module.__name__)
        )
    ]


def public_objects() -> Iterator[tuple[str, Any]]:
    """Functions and classes, each once, with the first of their names."""
    met: set[int] = set()
    for module in MODULES:
        for name in public_names(module):
            item = getattr(module, name)
            if id(item) not in met and not inspect.ismodule(item):
                met.add(id(item))
                yield f"{module.__name__}.{name}", item


class Sources:
    """The definitions in the package's sources and stubs, by qualified name."""

    def __init__(self) -> None:
        self.functions: dict[str, list[tuple[Path, Def]]] = {}
        self.classes: dict[str, list[tuple[Path, ast.ClassDef]]] = {}
        for path in sorted(PACKAGE.rglob("*.py*")):
            if path.suffix in (".py", ".pyi") and "reference" not in path.name:
                self._enter(path, ast.parse(path.read_text(encoding="utf-8")).body, "")

    def _enter(self, path: Path, body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef):
                self.functions.setdefault(prefix + node.name, []).append((path, node))
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(prefix + node.name, []).append((path, node))
                self._enter(path, node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.If):
                self._enter(path, node.body, prefix)

    def of(self, member: Any, qualname: str) -> list[Def]:
        """The overloads of a function, or itself. A stub hides its module."""
        code = getattr(inspect.unwrap(member), "__code__", None)
        file = Path(code.co_filename if code is not None else "")
        found = self.functions.get(qualname, [])
        files = {path for path, _ in found} if code is None else {file}
        stubs = {file.with_suffix(".pyi") for file in files}
        nodes = [node for path, node in found if path in stubs]
        nodes = nodes or [node for path, node in found if path in files]
        assert nodes, f"no source of {qualname}"
        overloads = [node for node in nodes if "overload" in map(ast.unparse, node.decorator_list)]
        return overloads or nodes


def is_vague(annotation: ast.expr | None) -> bool:
    """Is it missing, or is Any in it?"""
    return annotation is None or any(
        isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(annotation)
    )


def members(kind: type) -> Iterator[tuple[str, Any, str]]:
    """The public methods and properties of a class of the package: (name, function, qualified)."""
    for base in kind.__mro__:
        if base.__module__.startswith("pygradc"):
            for name, member in vars(base).items():
                inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
                is_public = name in CALLS or not name.startswith("_")
                if is_public and callable(inner) and not inspect.isclass(inner):
                    yield name, inner, f"{base.__qualname__}.{inner.__name__}"


def vague_results() -> Iterator[str]:
    sources = Sources()
    for name, item in public_objects():
        wanted = [(name, item, item.__name__)]
        if inspect.isclass(item):
            wanted = [(f"{name}.{member}", *inner) for member, *inner in members(item)]
            for base in item.__mro__:
                for _, node in sources.classes.get(base.__qualname__, []):
                    yield from vague_attributes(name, node)
        for what, inner, qualname in wanted:
            if any(is_vague(node.returns) for node in sources.of(inner, qualname)):
                yield what


def vague_attributes(name: str, node: ast.ClassDef) -> Iterator[str]:
    for line in node.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        if not line.target.id.startswith("_") and is_vague(line.annotation):
            yield f"{name}.{line.target.id}"


def test_no_public_result_is_any() -> None:
    assert sorted(set(vague_results())) == []


def test_what_is_vague_is_noticed() -> None:
    for text, expected in (("Any", True), ("dict[str, Any]", True), ("list[Value]", False)):
        node = ast.parse(f"def f() -> {text}: ...").body[0]
        assert isinstance(node, ast.FunctionDef) and is_vague(node.returns) == expected
    assert is_vague(None)
    assert len(list(public_objects())) > 100
