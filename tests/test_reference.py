"""Is every public name in the reference, with an example that runs?

A function or a class has an example in its own docstring. A method, property or field occurs in one
of its class: there, in another method's, or in a base class's. The ops as methods are the functions
of the same names.
"""

from __future__ import annotations

import ast
import doctest
import gc
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pygradc
from pygradc import Value, compat, datasets, functions, losses, models, nn, optim, plots
from pygradc.core.scalar import ALIASES

pytestmark = pytest.mark.unsanitized
ROOT = Path(__file__).resolve().parent.parent
MODULES = [pygradc, functions, compat, nn, optim, losses, datasets, plots, models]
NEEDS = {"pygradc.minimize": "scipy", "pygradc.draw_dot": "graphviz", "pygradc.Value": "graphviz"}
NEEDS["pygradc.History"] = "matplotlib"

# Without an underscore since other modules of the package use them.
INTERNAL = {
    *(f"pygradc.optim.{name}" for name in ("number", "check_parameters", "check_clip")),
    *(f"pygradc.models.{name}" for name in ("to_state", "from_state")),
    *(f"pygradc.datasets.{name}" for name in ("held_out", "table", "class_name")),
    *(f"pygradc.EarlyStopping.{name}" for name in ("begin", "start", "end")),  # fit calls them
    *(f"pygradc.EarlyStopping.{name}" for name in ("state_dict", "load_state_dict")),
    *(f"pygradc.History.{name}" for name in ("record", "of", "state_dict", "read")),
}


def names_of(module: ModuleType) -> list[str]:
    """Those in __all__; without one, classes and functions that the module defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if not inspect.ismodule(getattr(module, name))]
    return [
        name
        for name, item in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(item) or inspect.isfunction(item))
        and item.__module__ == module.__name__
    ]


def public() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in MODULES:
        for name in names_of(module):
            item = getattr(module, name)
            if not any(item is other for other in found.values()):
                found[f"{module.__name__}.{name}"] = item
    return {name: item for name, item in found.items() if name not in INTERNAL}


PUBLIC = public()
CLASSES = {name: item for name, item in PUBLIC.items() if inspect.isclass(item)}


def examples(item: Any) -> list[doctest.Example]:
    doc = item.__doc__ if inspect.isclass(item) else inspect.getdoc(item)
    return doctest.DocTestParser().get_examples(doc or "")


def own_classes(cls: type) -> list[type]:
    """The class and those of its bases that are pygradc's, the C type under Value included."""
    return [base for base in cls.__mro__ if base.__module__.split(".")[0] in ("pygradc", "_core")]


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods, properties and fields, inherited ones too."""
    for base in own_classes(cls):
        yield from (pair for pair in vars(base).items() if not pair[0].startswith("_"))


def used(cls: type) -> set[str]:
    """The attributes and keyword arguments in the examples of a class and its methods."""
    found = set()
    documented = [*own_classes(cls), *(item for _, item in members(cls))]
    for example in (example for item in documented for example in examples(item)):
        for node in ast.walk(ast.parse(example.source)):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
    return found


def without_example(classes: dict[str, Any]) -> list[str]:
    """The members that no example uses."""
    ops = {*functions.__all__, *ALIASES}
    return [
        f"{cls_name}.{name}"
        for cls_name, cls in classes.items()
        for name in dict(members(cls))
        if name not in used(cls)
        and not (issubclass(cls, Value) and name in ops)
        and f"{cls_name}.{name}" not in INTERNAL
    ]


# ---- Is there an example? ------------------------------------------------------------------------


def test_there_is_much_to_document() -> None:
    assert len(PUBLIC) > 120 and len(CLASSES) > 20
    assert {"pygradc.Value", "pygradc.fit", "pygradc.tanh", "pygradc.nn.MLP"} <= PUBLIC.keys()
    assert {"backward", "data", "draw_dot", "tanh"} <= dict(members(Value)).keys()


def test_every_function_and_class_has_an_example() -> None:
    assert not [name for name, item in PUBLIC.items() if not examples(item)]


def test_every_member_occurs_in_an_example() -> None:
    assert not without_example(CLASSES)


def test_a_member_without_example_would_be_noticed() -> None:
    class Pair:
        """Two numbers.

        >>> Pair().first()
        1
        """

        def first(self) -> int:
            return 1

        def second(self) -> int:
            """No example."""
            return 2

    Pair.__module__ = "pygradc.test"
    assert without_example({"Pair": Pair}) == ["Pair.second"]


# ---- Does it print what it says? -----------------------------------------------------------------


def documented(name: str) -> Iterator[tuple[str, str]]:
    """A name and its docstring, and those of a class's own methods."""
    item = PUBLIC[name]
    yield name, inspect.getdoc(item) or ""
    if inspect.isclass(item):
        for member, function in vars(item).items():
            if not member.startswith("_") and getattr(function, "__doc__", None):
                yield f"{name}.{member}", inspect.cleandoc(function.__doc__)


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_print_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("pygradc.plots."):
        pytest.importorskip("matplotlib")
    elif name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    gc.collect()  # one example counts nodes
    for title, doc in documented(name):
        session = doctest.DocTestParser().get_doctest(doc, {}, title, None, None)
        assert doctest.DocTestRunner().run(session).failed == 0


# ---- Is it in the reference? ---------------------------------------------------------------------


def test_the_reference_has_every_name() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.rst")
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    listed = {
        *re.findall(r"^\.\. auto(?:function|class|exception)::\s+([\w.]+)", text, re.MULTILINE)
    }
    whole = {*re.findall(r"^\.\. automodule::\s+(\S+)$", text, re.MULTILINE)}  # with :members:
    missing = [
        name
        for name in PUBLIC
        if name not in listed
        and name.rpartition(".")[0] not in whole
        and PUBLIC[name].__module__ not in whole
    ]
    assert not missing
    assert not listed - PUBLIC.keys()
