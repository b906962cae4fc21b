"""Do the types say what the package does: is no public result Any, and are signatures real?

The public API is what `pygradc` and its public modules export, and the public methods, properties
and attributes of those classes. Annotations are read from the sources and stubs, as a type checker
does: where there are overloads, from these.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pygradc
from pygradc import Value, compat, functions, losses, models, nn, optim

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


@functools.lru_cache(None)
def sources() -> Sources:
    return Sources()


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
    known = sources()
    for name, item in public_objects():
        wanted = [(name, item, item.__name__)]
        if inspect.isclass(item):
            wanted = [(f"{name}.{member}", *inner) for member, *inner in members(item)]
            for base in item.__mro__:
                for _, node in known.classes.get(base.__qualname__, []):
                    yield from vague_attributes(name, node)
        for what, inner, qualname in wanted:
            if any(is_vague(node.returns) for node in known.of(inner, qualname)):
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


# ---- One file that uses every public name, another of wrong uses ---------------------------------

TYPING = Path(__file__).resolve().parent / "typing"


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"typing_{name}", TYPING / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_public_name_is_used() -> None:
    tree = ast.parse((TYPING / "uses.py").read_text(encoding="utf-8"))
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    used |= {
        (str(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    missing = []
    for module in MODULES:
        short = module.__name__.rpartition(".")[2]
        for name in public_names(module):
            places = [(short, name)]
            if getattr(pygradc, name, None) is getattr(module, name):
                places.append(("pygradc", name))
            if not used.intersection(places):
                missing.append(f"{short}.{name}")
    assert not missing, f"tests/typing/uses.py lacks {missing}"


def test_what_the_types_promise_holds() -> None:
    load("uses").main()


def test_minimize_returns_what_its_type_says() -> None:
    pytest.importorskip("scipy")
    load("uses").minimizing()


def program_of_the_document() -> str:
    text = (PACKAGE.parent / "docs" / "types.md").read_text(encoding="utf-8")
    (program,) = re.findall("```python\n(.*?)```", text, re.DOTALL)
    return str(program)


@pytest.mark.skipif(not (PACKAGE.parent / "docs").is_dir(), reason="no documents here")
def test_the_documents_program_runs() -> None:
    names: dict[str, Any] = {}
    exec(compile(program_of_the_document(), "types.md", "exec", dont_inherit=True), names)
    assert len(names["history"]) == 3
    lines = [line for line in program_of_the_document().splitlines() if line]
    assert len(lines) <= 12


def check(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


SETTINGS = PACKAGE.parent / "pyproject.toml"


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="no mypy here")
@pytest.mark.skipif(not SETTINGS.is_file(), reason="no sources here")
def test_mypy_agrees(tmp_path: Path) -> None:
    """It also checks that each line of wrong.py is wrong in the way it says."""
    files = [str(TYPING / "uses.py"), str(TYPING / "wrong.py"), str(tmp_path / "document.py")]
    (tmp_path / "document.py").write_text(program_of_the_document(), encoding="utf-8")
    options = ["--strict", "--python-version", "3.10", "--cache-dir", str(tmp_path)]
    told = check("mypy", "--config-file", str(SETTINGS), *options, *files)
    assert told.startswith("0\n"), told
    unmarked = re.sub(r"  # type: ignore.*", "", (TYPING / "wrong.py").read_text(encoding="utf-8"))
    (tmp_path / "unmarked.py").write_text(unmarked, encoding="utf-8")
    lines = set(
        re.findall(
            r"unmarked.py:(\d+): error", check("mypy", *options, str(tmp_path / "unmarked.py"))
        )
    )
    marked = (TYPING / "wrong.py").read_text(encoding="utf-8").splitlines()
    assert lines == {str(i) for i, line in enumerate(marked, 1) if "# type: ignore[" in line}


# ---- Signatures ----------------------------------------------------------------------------------


def stubbed() -> dict[str, Def]:
    """The methods of Scalar in the stub; not properties."""
    return {
        name.partition(".")[2]: node
        for name, found in sources().functions.items()
        for path, node in found
        if path.name == "_core.pyi" and name.startswith("Scalar.") and not node.decorator_list
    }


def written(arguments: ast.arguments) -> list[tuple[str, str]]:
    """(name, default) of a stub's parameters after self."""
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    defaults = ["", *map(ast.unparse, arguments.defaults)]
    missing = [""] * (len(names) - len(defaults) + 1)
    return list(zip(names, missing + defaults[1:]))[1:]


def shown(signature: inspect.Signature) -> list[tuple[str, str]]:
    return [
        (p.name, "" if p.default is p.empty else repr(p.default))
        for p in list(signature.parameters.values())[1:]
    ]


@pytest.mark.parametrize("name", sorted(stubbed()))
def test_the_signature_is_that_of_the_stub(name: str) -> None:
    if name == "__init__":
        return  # test_patching.test_signatures
    expected = written(stubbed()[name].args)
    found = shown(inspect.signature(getattr(Value, name)))
    if name.startswith("__") and name not in ("__round__",):  # Python names the slots' parameters
        assert len(found) == len(expected)
    else:
        assert found == expected


def test_each_public_method_has_a_signature_and_a_type() -> None:
    own = set(stubbed()) | {name for name, _ in inspect.getmembers(Value, inspect.isfunction)}
    aliases = {"arcsin", "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh"}
    for name, method in inspect.getmembers(Value, callable):
        if not name.startswith("_"):
            assert inspect.signature(method).parameters, name
            assert inspect.getdoc(method), name
            assert name in own | aliases, name


def test_signatures_of_ops_with_a_number_have_its_default() -> None:
    texts = {
        n: str(inspect.signature(getattr(Value, n))) for n in ("elu", "leaky_relu", "polygamma")
    }
    assert texts == {
        "elu": "(self, number=1.0, /)",
        "leaky_relu": "(self, number=0.01, /)",
        "polygamma": "(self, number, /)",
    }


@pytest.mark.parametrize(
    "name, function", list(public_objects()), ids=lambda x: x if isinstance(x, str) else ""
)
def test_each_public_function_has_a_signature(name: str, function: Any) -> None:
    if not (inspect.isclass(function) and issubclass(function, (Warning, Exception, list))):
        inspect.signature(function)


def test_a_compiled_function_shows_its_own_signature() -> None:
    @pygradc.compile
    def loss(x: Value, *, scale: float = 1.0) -> Value:
        return x * scale

    assert str(inspect.signature(loss)) == "(x: 'Value', *, scale: 'float' = 1.0) -> 'Value'"


def test_subscripts_are_for_checkers_only() -> None:
    assert nn.MLP[Value] is nn.MLP and pygradc.Program[Value] is pygradc.Program
    assert pygradc.Compiled[[float], Value] is pygradc.Compiled
    assert vars(nn.MLP[Value](2, [1])).keys() == vars(nn.MLP(2, [1])).keys()
