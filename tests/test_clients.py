"""Do the programs that people have run on pygradc unchanged, with the same digits and errors?

`clients/` has programs over `from engine import Value`. Each is run with the oracle's class and
with pygradc's, in this process, and what it prints is compared as text. What a client sets on the
class is undone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pygradc import Value, reference

CLIENTS = Path(__file__).resolve().parent / "clients"
README = (CLIENTS.parent.parent / "README.md").read_text(encoding="utf-8")


def clients(folder: str) -> list[Any]:
    paths = sorted((CLIENTS / folder).glob("*.py"))
    return [pytest.param(path, id=path.stem) for path in paths]


@contextlib.contextmanager
def as_engine(cls: type) -> Iterator[None]:
    """`from engine import Value` gives this class; afterwards it is as it was."""
    engine: Any = ModuleType("engine")
    engine.Value = cls
    before = dict(vars(cls))
    sys.modules["engine"] = engine
    try:
        yield
    finally:
        del sys.modules["engine"]
        for name in set(vars(cls)) - set(before):
            delattr(cls, name)
        for name, member in before.items():
            if vars(cls)[name] is not member:
                setattr(cls, name, member)


def printed(path: Path, cls: type) -> str:
    """What the client prints, with this class for its Value."""
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    said = io.StringIO()
    random.seed(0)
    with as_engine(cls), contextlib.redirect_stdout(said):
        exec(code, {"__name__": "__main__"})
    return said.getvalue()


@pytest.mark.parametrize("path", clients("uses") + clients("programs"))
def test_prints_the_same_to_the_last_digit(path: Path) -> None:
    theirs, ours = (printed(path, cls) for cls in (reference.Value, Value))
    assert ours == theirs
    assert len(re.findall(r"\d\.\d{8,}", ours)) >= 3 or path.stem in WITHOUT_LONG_NUMBERS


# What these print is about the graph or about types rather than numbers.
WITHOUT_LONG_NUMBERS = {"draw_dot", "labels", "protocol_micrograd", "types"}


def test_a_wrong_digit_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    path = CLIENTS / "programs" / "lesson_mlp.py"
    right = printed(path, Value)
    rule = reference.OPS["tanh"]
    bent = rule._replace(value=lambda a, b: rule.value(a, b) * (1 + 1e-15))
    monkeypatch.setitem(reference.OPS, "tanh", bent)
    assert printed(path, reference.Value) != right


def test_patches_are_undone() -> None:
    before = dict(vars(Value))
    printed(CLIENTS / "uses" / "class_patched.py", Value)
    assert dict(vars(Value)) == before
    assert repr(Value(1.0)) == "Value(data=1.0, grad=0.0)"


# ---- where pygradc departs ----------------------------------------------------------------------


def engine(name: str) -> Any:
    """The class Value of a program, of this protocol."""
    spec = importlib.util.spec_from_file_location(name, CLIENTS / "engines" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Value


def readme_row(first: str) -> list[str]:
    """The cells of the row of the README's table of differences that begins so."""
    (found,) = (line for line in README.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_departs_data_are_floats() -> None:
    theirs, ours = engine("closures")(2), Value(2)
    assert (str(theirs.data), str(ours.data)) == ("2", "2.0")
    assert (repr(theirs), repr(ours)) == ("Value(data=2, grad=0)", "Value(data=2.0, grad=0.0)")
    assert "always a float" in readme_row("`Value(2).data`")[2]


def gradients_of_two_sweeps(cls: Any) -> list[float]:
    a, b = cls(3.0), cls(-2.0)
    c = a * b
    d = c * c
    d.backward()
    d.backward()
    return [a.grad, c.grad]


def test_departs_inner_gradients_are_fresh_on_a_second_sweep() -> None:
    once = -12.0  # d's gradient with respect to c
    assert gradients_of_two_sweeps(engine("closures")) == [-2.0 * 3 * once, 2 * once]
    assert gradients_of_two_sweeps(Value) == [-2.0 * 2 * once, once]
    assert gradients_of_two_sweeps(Value) == gradients_of_two_sweeps(reference.Value)
    assert "fresh" in readme_row("a second `backward()`")[2]


def gradient_after_assignment(cls: Any) -> float:
    a, b = cls(3.0), cls(5.0)
    out = a * b
    b.data = 7.0
    out.backward()
    return float(a.grad)


def test_departs_operands_are_read_when_the_sweep_runs() -> None:
    assert gradient_after_assignment(engine("local_grads")) == 5.0
    assert gradient_after_assignment(engine("closures")) == 7.0
    assert gradient_after_assignment(Value) == gradient_after_assignment(reference.Value) == 7.0
    cells = readme_row("data assigned between an op and `backward()`")
    assert "microgpt" in cells[1] and "frozen" in cells[1]


# ---- errors -------------------------------------------------------------------------------------


def failure(path: Path, cls: type) -> tuple[type[BaseException], int, traceback.FrameSummary, str]:
    """The exception's type, the client's last line in its traceback, its last frame, the output."""
    said = io.StringIO()
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    with as_engine(cls), contextlib.redirect_stdout(said), pytest.raises(Exception) as caught:
        exec(code, {"__name__": "__main__"})
    frames = traceback.extract_tb(caught.value.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    return type(caught.value), own[-1].lineno or 0, frames[-1], said.getvalue()


@pytest.mark.parametrize("path", clients("errors"))
def test_fails_as_it_would_and_from_the_users_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    (expected,) = (i for i, line in enumerate(lines, 1) if "# raises" in line)
    theirs, ours = (failure(path, cls) for cls in (reference.Value, Value))
    assert (ours[0], ours[1], ours[3]) == (theirs[0], expected, theirs[3])
    assert theirs[1] == expected
    assert (ours[2].filename, ours[2].lineno) == (str(path), expected)
