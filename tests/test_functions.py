"""Is each op a function of pygradc too, of Values and numbers, eager and recorded?"""

from __future__ import annotations

import builtins
import importlib.util
import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pygradc
from pygradc import Value, compile, detach, functions, nn
from pygradc.core.ops import FUNCTIONS, OPS, Op

each = pytest.mark.parametrize("name", FUNCTIONS)


def point(op: Op) -> list[float]:
    """Near the middle of each interval; a whole number, where that is a plain number."""
    middle = [0.5 * (low + high) + 0.125 for low, high in op.intervals]
    return [*middle[: op.arity], *(float(round(x)) for x in middle[op.arity :])]


def test_every_op_is_a_function_or_an_operator() -> None:
    assert {op.name for op in OPS} - set(FUNCTIONS) == {"pown", "maximum", "minimum"}
    assert all(callable(getattr(pygradc, op.name)) for op in OPS if op.name != "pown")


@each
def test_a_function_is_the_method(name: str) -> None:
    op, numbers = FUNCTIONS[name], point(FUNCTIONS[name])
    given = [Value(x) for x in numbers[: op.arity]], [Value(x) for x in numbers[: op.arity]]
    rest = numbers[op.arity :]
    ours = getattr(pygradc, name)(*given[0], *rest)
    theirs = getattr(given[1][0], op.method)(*given[1][1:], *rest)
    assert type(ours) is Value and (ours.data, ours._op) == (theirs.data, theirs._op)
    ours.backward()
    theirs.backward()
    assert [x.grad for x in given[0]] == [x.grad for x in given[1]]


@each
def test_numbers_give_a_value(name: str) -> None:
    op, numbers = FUNCTIONS[name], point(FUNCTIONS[name])
    function = getattr(functions, name)
    of_values = function(*(Value(x) for x in numbers[: op.arity]), *numbers[op.arity :])
    assert type(function(*numbers)) is Value and function(*numbers).data == of_values.data
    if op.arity == 2:
        a, b = numbers
        assert function(a, Value(b)).data == function(Value(a), b).data == of_values.data
    for wrong in ("x", None, [1.0]):
        with pytest.raises(TypeError):
            function(wrong, *numbers[1:])
        if len(numbers) == 2:
            with pytest.raises(TypeError):
                function(numbers[0], wrong)


@each
def test_a_function_is_recorded(name: str) -> None:
    op, numbers = FUNCTIONS[name], point(FUNCTIONS[name])
    function = getattr(pygradc, name)
    recorded = compile(lambda *xs: function(*xs, *numbers[op.arity :]))
    assert recorded(*numbers[: op.arity]).data == function(*numbers).data


@each
def test_a_function_says_what_it_is(name: str) -> None:
    function, op = getattr(pygradc, name), FUNCTIONS[name]
    assert function.__name__ == name and op.doc in function.__doc__
    parameters = inspect.signature(function).parameters.values()
    assert len(parameters) == len(op.intervals)
    assert [p.default for p in parameters if p.default is not p.empty] == [
        x for x in [op.default] if x is not None
    ]


def test_a_number_beside_a_detached_value_is_detached() -> None:
    v = Value(2.0)
    pygradc.mul(0.0, detach(v) ** -1).backward()
    assert pygradc.fmod(7.0, detach(v)).data == 1.0 and v.grad == 0.0


def test_a_number_that_may_be_left_out() -> None:
    assert pygradc.leaky_relu(-2.0).data == -0.02 and pygradc.leaky_relu(-2.0, 0.5).data == -1.0
    assert Value(-1.0).elu().data == math.expm1(-1.0)
    assert Value(-1.0).elu(2).data == 2.0 * math.expm1(-1.0)
    for wrong in ((1.0, 2.0), (Value(1.0),), ("x",)):
        with pytest.raises(TypeError):
            Value(-1.0).elu(*wrong)


def test_importing_all_hides_no_function_of_python() -> None:
    names: dict[str, Any] = {}
    exec("from pygradc import *", names)
    hidden = {name for name in names if hasattr(builtins, name) and not name.startswith("__")}
    assert hidden == {"compile", "sum"}
    assert {"tanh", "floor", "gelu"} <= names.keys() and pygradc.abs(-2).data == 2.0


TYPED = """
import pygradc
from pygradc import Value

a: Value = pygradc.tanh(1.0)
b: Value = pygradc.elu(a, 0.5) + pygradc.elu(a) + pygradc.fmod(7, a) + a.leaky_relu()
c: Value = a % 2 + 7 // a + round(a)
pygradc.tanh("x")
"""


@pytest.mark.once
@pytest.mark.unsanitized
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="no mypy here")
def test_the_functions_are_typed(tmp_path: Path) -> None:
    file = tmp_path / "typed.py"
    file.write_text(TYPED, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(pygradc.__file__).parents[1]
    )
    assert "Found 1 error" in done.stdout and 'Argument 1 to "tanh"' in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["gelu", "silu", "leaky_relu", "elu", "sign"])
def test_an_activation_by_name(name: str) -> None:
    neuron = nn.Neuron(2, name)
    out = neuron([0.5, -1.0])
    total = neuron.b + neuron.w[0] * 0.5 + neuron.w[1] * -1.0
    assert out.data == getattr(total, name)().data
    model = nn.MLP(2, [3, 1], activation=name)
    recorded = compile(lambda x: model(x))
    assert recorded([0.5, -1.0]).data == model([0.5, -1.0]).data
