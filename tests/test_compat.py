"""Are micrograd's and microgpt's modules what their programs expect, under either name?

The networks are compared with the classes that people write (clients/uses/parameters.py), on the
oracle for the bits and on pygradc for the graph.
"""

from __future__ import annotations

import importlib
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import written
from test_clients import CLIENTS, as_engine

import pygradc
from pygradc import Value, compat, reference
from pygradc.compat.micrograd import nn
from pygradc.compat.micrograd.nn import MLP, Layer, Module, Neuron


def plain_classes(cls: type) -> dict[str, Any]:
    """Module, Neuron, Layer and MLP as a program spells them out, over this Value."""
    path = CLIENTS / "uses" / "parameters.py"
    names: dict[str, Any] = {"__name__": "__main__", "print": lambda *args: None}
    with as_engine(cls):
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), names)
    return names


def seeded(make: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    random.seed(8)
    return make(*arguments, **named)


def one_step(model: Any, xs: Any) -> list[float]:
    """Loss, gradients and outputs of a small step."""
    outs = [model(x) for x in xs]
    loss = sum((out - 0.5) ** 2 for out in outs)
    model.zero_grad()
    loss.backward()
    return [loss.data, *(p.grad for p in model.parameters()), *(out.data for out in outs)]


ROWS = [[0.5, -1.0, 2.0], [3, 0.25, -4], [-0.1, 0.0, 1e-9]]

# ---- networks -----------------------------------------------------------------------------------


def test_mlp_is_the_plain_programs_to_the_last_bit() -> None:
    ours = seeded(MLP, 3, [5, 4, 1])
    theirs = seeded(plain_classes(reference.Value)["MLP"], 3, [5, 4, 1])
    assert [p.data for p in ours.parameters()] == [p.data for p in theirs.parameters()]
    assert one_step(ours, ROWS) == one_step(theirs, ROWS)


@pytest.mark.parametrize("row", [ROWS[0], [Value(0.5), Value(-1.0), 2.0], np.array(ROWS[0])])
def test_graph_is_the_plain_programs_node_for_node(row: Any) -> None:
    ours = seeded(MLP, 3, [3, 2])(row)
    theirs = seeded(plain_classes(Value)["MLP"], 3, [3, 2])(row)
    assert [written(out) for out in ours] == [written(out) for out in theirs]
    assert [out._op for out in ours] == ["+", "+"]  # the last layer is linear


def test_weights_are_drawn_in_micrograds_order_and_biases_are_zero() -> None:
    model = seeded(MLP, 2, [3, 1])
    random.seed(8)
    for layer, nin in zip(model.layers, (2, 3)):
        for neuron in layer.neurons:
            assert [w.data for w in neuron.w] == [random.uniform(-1, 1) for _ in range(nin)]
            assert neuron.b.data == 0.0
    first = model.layers[0].neurons[0]
    assert model.parameters()[:3] == [*first.w, first.b] and len(model.parameters()) == 13


def test_constructors_take_micrograds_arguments() -> None:
    assert repr(Neuron(2)) == "ReLUNeuron(2)" and repr(Neuron(3, nonlin=False)) == "LinearNeuron(3)"
    assert repr(Layer(2, 2)) == "Layer of [ReLUNeuron(2), ReLUNeuron(2)]"
    assert repr(Layer(1, 1, nonlin=False)) == "Layer of [LinearNeuron(1)]"
    assert repr(MLP(2, [1, 1])) == "MLP of [Layer of [ReLUNeuron(2)], Layer of [LinearNeuron(1)]]"
    assert Module().parameters() == [] and isinstance(MLP(1, [1]), Module)
    with pytest.raises(TypeError):
        Layer(2, 2, activation="tanh")


def test_layers_go_through_the_core_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Neuron, "_expression", None)
    assert len(MLP(3, [4, 4, 2])(ROWS[0])) == 2
    assert isinstance(Neuron(3)(tuple(ROWS[0])), Value)


def test_attributes_of_a_neuron_may_be_set() -> None:
    neuron = Neuron(2)
    neuron.w, neuron.b, neuron.nonlin = [Value(2.0), Value(-1.0)], Value(0.5), False
    assert neuron([1.0, 5.0]).data == -2.5
    neuron.nonlin = True
    assert neuron([1.0, 5.0]).data == 0.0


@pytest.mark.parametrize(
    "inputs", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], iter([1.0, 2.0, 3.0]), map(float, "123")]
)
def test_other_inputs_are_paired_as_zip_pairs_them(inputs: Any) -> None:
    numbers = list(inputs) if isinstance(inputs, list) else [1.0, 2.0, 3.0]
    neuron = Neuron(3, nonlin=False)
    expected = sum(w.data * x for w, x in zip(neuron.w, numbers))
    assert neuron(inputs).data == expected


def test_what_somebody_taught_values_or_neurons_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubled(Neuron):
        def __call__(self, x: Any) -> Any:
            return super().__call__(x) * 2

    layer = Layer(2, 2, nonlin=False)
    plain = [out.data for out in layer([1.0, 2.0])]
    layer.neurons[1].__class__ = Doubled
    assert [out.data for out in layer([1.0, 2.0])] == [plain[0], plain[1] * 2]
    monkeypatch.setattr(Value, "__mul__", lambda a, b: a + 100)
    assert all(out.data > 150 for out in layer([1.0, 2.0]))
    monkeypatch.undo()
    monkeypatch.setattr(Neuron, "__call__", lambda self, x: 7)
    assert Layer(2, 2)([1.0, 2.0]) == [7, 7]


def test_microgpts_value_takes_its_arguments_by_name() -> None:
    from pygradc.compat import microgpt

    a = microgpt.Value(3.0)
    out = microgpt.Value(6.0, children=(a,), local_grads=(2.0,))
    (out * 5).backward()
    assert (a.grad, out._children, out._local_grads) == (10.0, (a,), (2.0,))
    methods = ["exp", "log", "relu", "backward"]
    assert all(callable(getattr(microgpt.Value, name)) for name in methods)
    assert microgpt.Value is Value


def test_modules_are_imported_by_either_spelling() -> None:
    import pygradc.compat.micrograd as micrograd
    from pygradc.compat.micrograd.engine import Value as Again

    assert micrograd.engine.Value is micrograd.Value is Again is Value
    assert micrograd.nn is nn and micrograd.MLP is MLP
    assert pygradc.compat is compat


def test_every_package_is_shipped() -> None:
    root = CLIENTS.parent.parent
    text = (root / "pyproject.toml").read_text("utf-8")
    listed = re.search(r"^packages = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    found = (file.parent.relative_to(root) for file in (root / "pygradc").rglob("__init__.py"))
    assert listed is not None
    assert set(re.findall(r'"(.*?)"', listed[1])) == {".".join(path.parts) for path in found}


# ---- install ------------------------------------------------------------------------------------


@pytest.fixture
def another_micrograd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed micrograd, first on the path, that has a module more than pygradc's."""
    package = tmp_path / "micrograd"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "engine.py").write_text("Value = 'another'")
    (package / "nn.py").write_text("from micrograd.engine import Value\nMLP = Value")
    (package / "optim.py").write_text("from micrograd.engine import Value\nof = Value")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    compat.uninstall()
    for name in [name for name in sys.modules if name.split(".")[0] == "micrograd"]:
        del sys.modules[name]


def imported(name: str) -> Any:
    return importlib.import_module(name)


def test_install_wins_over_another_micrograd(another_micrograd: Path) -> None:
    compat.install()
    assert imported("micrograd.engine").Value is Value
    assert imported("micrograd.nn").MLP is MLP
    import micrograd.nn as theirs  # type: ignore[import-not-found]
    from micrograd import engine  # type: ignore[import-not-found]

    assert theirs is nn and engine.Value is Value


def test_install_wins_over_one_that_was_imported(another_micrograd: Path) -> None:
    before = imported("micrograd.nn")
    assert before.MLP == "another"
    compat.install()
    assert imported("micrograd.nn").MLP is MLP
    compat.uninstall()
    assert imported("micrograd.nn") is before
    assert imported("micrograd.engine").Value == "another"


def test_modules_that_only_the_other_has_get_pygradcs_value(another_micrograd: Path) -> None:
    compat.install()
    assert imported("micrograd.optim").of is Value
    compat.uninstall()
    assert imported("micrograd.optim").of == "another"
    assert not hasattr(compat.micrograd, "optim")
    assert list(compat.micrograd.__path__) == [str(Path(compat.micrograd.__file__).parent)]


def test_install_and_uninstall_may_be_repeated(another_micrograd: Path) -> None:
    for _ in range(2):
        compat.install()
        compat.install()
        assert imported("micrograd.engine").Value is Value
        compat.uninstall()
        compat.uninstall()
        assert imported("micrograd.engine").Value == "another"


def test_without_any_other_micrograd() -> None:
    with pytest.raises(ImportError):
        imported("micrograd")
    compat.install()
    try:
        assert imported("micrograd.engine").Value is Value
        with pytest.raises(ImportError, match=r"micrograd\.optim"):
            imported("micrograd.optim")
    finally:
        compat.uninstall()
    with pytest.raises(ImportError):
        imported("micrograd.engine")
