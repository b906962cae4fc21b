"""Does a module that defines no parameters() find what it is made of, each part once, by name?"""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, nn, optim


def values(*numbers: float) -> list[Value]:
    return [Value(x) for x in numbers]


def data(module: nn.Module) -> list[float]:
    return [p.data for p in module.parameters()]


class Line(nn.Module):
    def __init__(self, w: float = 1.0, b: float = 2.0) -> None:
        self.w, self.b = Value(w), Value(b)

    def __call__(self, x: Any) -> Any:
        return self.w * x + self.b


class Holder(nn.Module):
    """Whatever it is given, as attributes."""

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            setattr(self, name, part)


class Foreign:
    """No module, but it has parameters."""

    def __init__(self, *numbers: float) -> None:
        self.own = values(*numbers)

    def parameters(self) -> Any:
        return iter(self.own)


def objects(*items: Any) -> Any:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


# What is held, the numbers of its parameters, the names and shapes of its state.
HELD: dict[str, tuple[Callable[[], dict[str, Any]], list[float], dict[str, Any]]] = {
    "nothing": (lambda: {}, [], {}),
    "a Value": (lambda: {"w": Value(1.0)}, [1.0], {"w": ()}),
    "in the order of assignment": (
        lambda: {"z": Value(1.0), "a": Value(2.0), "m": Value(3.0)}, [1, 2, 3],
        {"z": (), "a": (), "m": ()},
    ),
    "a list": (lambda: {"w": values(1, 2, 3)}, [1, 2, 3], {"w": (3,)}),
    "a tuple": (lambda: {"w": tuple(values(1, 2))}, [1, 2], {"w": (2,)}),
    "a matrix": (lambda: {"w": [values(1, 2), values(3, 4)]}, [1, 2, 3, 4], {"w": (2, 2)}),
    "a ragged list": (
        lambda: {"w": [values(1, 2), values(3)]}, [1, 2, 3], {"w.0": (2,), "w.1": (1,)},
    ),
    "an object array": (
        lambda: {"w": np.array([values(1, 2), values(3, 4)])}, [1, 2, 3, 4], {"w": (2, 2)},
    ),
    "a list of object arrays": (
        lambda: {"w": [objects(*values(1, 2)), objects(*values(3, 4))]}, [1, 2, 3, 4],
        {"w": (2, 2)},
    ),
    "an object array of this and that": (
        lambda: {"w": objects(Value(1.0), "word", Line(2, 3))}, [1, 2, 3],
        {"w.0": (), "w.2.w": (), "w.2.b": ()},
    ),
    "a 0-d object array": (lambda: {"w": np.array(Value(1.0))}, [1.0], {"w": ()}),
    "an array of numbers": (lambda: {"w": np.ones(3), "b": Value(1.0)}, [1.0], {"b": ()}),
    "a dict": (
        lambda: {"w": {"b": Value(1.0), "a": Value(2.0), 3: Value(3.0), "3": Value(4.0)}},
        [1, 2, 3, 4], {"w.b": (), "w.a": (), "w.3": (), "w['3']": ()},
    ),
    "keys with dots": (
        lambda: {"w": OrderedDict({"a.b": Value(1.0), "a": {"b": Value(2.0)}})}, [1, 2],
        {"w['a.b']": (), "w.a.b": ()},
    ),
    "numbers and words between": (
        lambda: {"w": [Value(1.0), 0.5, "word", None, Value(2.0)]}, [1, 2],
        {"w.0": (), "w.4": ()},
    ),
    "modules": (
        lambda: {"one": Line(1, 2), "more": [Line(3, 4), Line(5, 6)]}, [1, 2, 3, 4, 5, 6],
        {f"{path}.{x}": () for path in ("one", "more.0", "more.1") for x in "wb"},
    ),
    "modules in a dict": (
        lambda: {"of": {"left": Line(1, 2), "right": Line(3, 4)}}, [1, 2, 3, 4],
        {f"of.{path}.{x}": () for path in ("left", "right") for x in "wb"},
    ),
    "a foreign object": (lambda: {"f": Foreign(1, 2)}, [1, 2], {"f.parameters": (2,)}),
    "the same twice": (
        lambda: (lambda v, m: {"a": v, "b": v, "c": [v, Value(2.0)], "m": m, "n": [m]})(
            Value(1.0), Line(3, 4)
        ),
        [1, 2, 3, 4], {"a": (), "c.1": (), "m.w": (), "m.b": ()},
    ),
    "a list with one twice": (
        lambda: (lambda v: {"w": [v, v, Value(2.0)]})(Value(1.0)), [1, 2], {"w.0": (), "w.2": ()},
    ),
    "kept outputs": (
        lambda: (lambda v: {"w": v, "out": v * 2, "outs": [v + 1, Value(3.0)]})(Value(1.0)),
        [1, 3], {"w": (), "outs.1": ()},
    ),
    "detached": (
        lambda: (lambda v: {"w": v, "mean": pygradc.detach(v * 2), "same": [pygradc.detach(v)]})(
            Value(1.0)
        ),
        [1.0], {"w": ()},
    ),
    "a foreign object without Values": (
        lambda: {"f": Foreign(), "w": Value(1.0)}, [1.0], {"w": ()},
    ),
    "a module whose parameters are an attribute": (
        lambda: {"m": Holder(parameters=values(1, 2))}, [1, 2], {"m.parameters": (2,)},
    ),
    "classes": (lambda: {"kind": nn.MLP, "w": Value(1.0)}, [1.0], {"w": ()}),
}  # fmt: skip


@pytest.mark.parametrize("held", HELD)
def test_parts_are_found_in_order_and_named(held: str) -> None:
    make, numbers, names = HELD[held]
    module = Holder(**make())
    assert data(module) == numbers
    state = module.state_dict()
    assert {name: array.shape for name, array in state.items()} == names
    assert list(state) == list(names)
    assert all(array.dtype == np.float64 for array in state.values())
    assert [x for array in state.values() for x in array.ravel().tolist()] == numbers


@pytest.mark.parametrize("held", HELD)
def test_states_go_round(held: str) -> None:
    make, numbers, _ = HELD[held]
    module, other = Holder(**make()), Holder(**make())
    for p in module.parameters():
        p.data = -10.0 * p.data
    before = other.parameters()
    other.load_state_dict(module.state_dict())
    assert data(other) == [-10.0 * x for x in numbers]
    assert all(p is q for p, q in zip(before, other.parameters()))
    for p in module.parameters():
        p.grad = 5.0
    module.zero_grad()
    assert [p.grad for p in module.parameters()] == [0.0] * len(numbers)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("held", HELD)
def test_copies_have_parameters_of_their_own(held: str, copied: Callable[[Any], Any]) -> None:
    make, numbers, names = HELD[held]
    module = Holder(**make())
    other = copied(module)
    assert data(other) == numbers and list(other.state_dict()) == list(names)
    assert not set(map(id, other.parameters())) & set(map(id, module.parameters()))


# ---- cycles -------------------------------------------------------------------------------------


def test_a_part_that_holds_its_parent() -> None:
    parent = Holder(w=Value(1.0), part=Line(2, 3))
    parent.part.parent = parent  # type: ignore[attr-defined]
    assert data(parent) == [1.0, 2.0, 3.0]
    assert list(parent.state_dict()) == ["w", "part.w", "part.b"]
    child = parent.part  # type: ignore[attr-defined]
    assert data(child) == [2.0, 3.0, 1.0]
    assert list(child.state_dict()) == ["w", "b", "parent.w"]


def test_a_list_that_holds_itself() -> None:
    items: list[Any] = [Value(1.0)]
    items.append(items)
    items.append({"again": items, "w": Value(2.0)})
    module = Holder(items=items)
    assert data(module) == [1.0, 2.0]
    assert list(module.state_dict()) == ["items.0", "items.2.w"]


def test_modules_that_override_parameters_and_lead_back() -> None:
    class Head(nn.Module):
        def __init__(self, body: Any) -> None:
            self.body, self.w = body, Value(9.0)

        def parameters(self) -> list[Value]:
            return [*self.body.parameters(), self.w]

    body = Holder(w=Value(1.0))
    body.head = Head(body)  # type: ignore[attr-defined]
    assert data(body) == [1.0, 9.0]
    assert list(body.state_dict()) == ["w", "head.parameters"]


def test_a_class_that_adds_to_what_is_found() -> None:
    hidden = Value(3.0)

    class More(Line):
        def parameters(self) -> list[Value]:
            return [*super().parameters(), hidden]

    assert data(More()) == [1.0, 2.0, 3.0]
    assert data(Holder(more=More(), last=Value(4.0))) == [1.0, 2.0, 3.0, 4.0]
    assert Holder(more=More()).state_dict()["more.parameters"].tolist() == [1.0, 2.0, 3.0]


def test_a_long_chain_of_modules() -> None:
    first = module = Line(0, 0)
    for i in range(5000):
        module.next = Line(i, 0)  # type: ignore[attr-defined]
        module = module.next  # type: ignore[attr-defined]
    assert len(first.parameters()) == 10_002


# ---- classes of other shapes ---------------------------------------------------------------------


def test_slots_dataclasses_and_no_init_of_modules() -> None:
    class Slotted(nn.Module):
        __slots__ = ("__hidden", "b", "empty", "w")

        def __init__(self) -> None:
            self.w, self.b = Value(1.0), Value(2.0)
            self.__hidden = Value(3.0)
            self.late = Value(4.0)

    assert sorted(data(Slotted())) == [1.0, 2.0, 3.0, 4.0]
    assert data(Slotted()) == data(Slotted()) and data(Slotted())[-1] == 4.0

    @dataclasses.dataclass
    class Data(nn.Module):  # whose eq=True makes it unhashable
        w: Value
        parts: list[Any]

    assert data(Data(Value(1.0), [Line(2, 3), Data(Value(4.0), [])])) == [1.0, 2.0, 3.0, 4.0]

    class Grown(Line):
        def __init__(self) -> None:
            self.first = Value(7.0)
            super().__init__()

    assert data(Grown()) == [7.0, 1.0, 2.0]


def test_compiled_functions_and_optimizers_are_somebody_elses() -> None:
    v = Value(9.0)
    loss = pygradc.compile(lambda x: v * x)
    loss(1.0)

    class Model(Line):
        @pygradc.compile
        def loss(self, x: Any) -> Any:
            return self(x) * v

    model = Model()
    model.compiled, model.optimizer = loss, optim.SGD([v], lr=0.1)  # type: ignore[attr-defined]
    assert model.loss(1.0).data == 27.0
    assert data(model) == [1.0, 2.0]
    assert list(model.state_dict()) == ["w", "b"]


def test_what_a_recording_leaves_behind_is_no_parameter() -> None:
    class Keeping(Line):
        def __call__(self, x: Any) -> Any:
            self.last_input, self.last_output = x, super().__call__(x)
            self.seen = [x, self.last_output]
            return self.last_output

    for model in (Keeping(), Keeping()):
        found = []

        @pygradc.compile
        def penalised(x: Any, model: Any = model, found: Any = found) -> Any:
            y = model(x)
            found.append(model.parameters())
            return y + sum(p * p for p in model.parameters())

        for rows in ([1.0, 2.0], [3.0, 4.0]):
            assert penalised.map(np.array(rows)).tolist() == [x + 2.0 + 5.0 for x in rows]
        assert [len(ps) for ps in found] == [2]
        assert data(model) == [1.0, 2.0] and list(model.state_dict()) == ["w", "b"]


@pytest.mark.parametrize("model", [Line(), Holder(line=Line()), nn.MLP(1, [2, 1]), nn.Neuron(1)])
def test_a_recording_has_no_use_for_states(model: nn.Module) -> None:
    state, before = model.state_dict(), data(model)

    def saves(x: Any) -> Any:
        model.state_dict()
        return x

    def loads(x: Any) -> Any:
        model.load_state_dict(state)
        return x

    for function, name in ((saves, "state_dict"), (loads, "load_state_dict")):
        with pytest.raises(pygradc.TraceError, match=rf": {name}\(\) while.*between calls"):
            pygradc.compile(function)(1.0)
    assert data(model) == before


# ---- those that say themselves what they have ----------------------------------------------------


def test_layers_keep_their_names_as_parts() -> None:
    model = Holder(scale=Value(2.0), body=nn.MLP(2, [3, 1]), neuron=nn.Neuron(2))
    assert {name: array.shape for name, array in model.state_dict().items()} == {
        "scale": (), "body.layers.0.weight": (3, 2), "body.layers.0.bias": (3,),
        "body.layers.1.weight": (1, 3), "body.layers.1.bias": (1,), "neuron.parameters": (3,),
    }  # fmt: skip
    parts = [model.body, model.neuron]  # type: ignore[attr-defined]
    assert model.parameters()[1:] == [p for part in parts for p in part.parameters()]
    other = Holder(scale=Value(3.0), body=nn.MLP(2, [3, 1]), neuron=nn.Neuron(2))
    other.load_state_dict(model.state_dict())
    assert data(other) == data(model)


def test_an_mlp_with_more_than_layers() -> None:
    class Scaled(nn.MLP):
        def __init__(self) -> None:
            super().__init__(2, [3, 1])
            self.scale = Value(2.0)
            self.first_again = self.layers[0].neurons[0].w[0]

        def __call__(self, x: Any) -> Any:
            return self.scale * super().__call__(x)

    model, other = Scaled(), Scaled()
    plain = nn.MLP(2, [3, 1])
    assert model.parameters()[:-1] == nn.MLP.parameters(model)[:13]
    assert model.parameters()[-1] is model.scale and len(model.parameters()) == 14
    assert list(model.state_dict()) == [*plain.state_dict(), "scale"]
    model.scale.data = 5.0
    other.load_state_dict(model.state_dict())
    assert data(other) == data(model)


# ---- loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("w"), r"\['w'\] missing"),
        (lambda s: s.update(v=1.0), r"\['v'\] not expected"),
        (lambda s: s.update(w=[1.0, 2.0]), r"'w' has shape \(2,\), expected \(\)"),
        (lambda s: s.update({"part.w": "x"}), "'part.w' must be real numbers"),
        (
            lambda s: s.update({"m": np.ma.array([1.0, 2.0], mask=[True, False])}),
            "'m'.*1 masked entry",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(
    change: Callable[[Any], Any], message: str
) -> None:
    model = Holder(w=Value(1.0), part=Line(2, 3), m=values(4, 5))
    state: dict[str, Any] = {k: a + 1.0 for k, a in model.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert data(model) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_part_that_refuses_its_state_leaves_the_others_as_they_were() -> None:
    class Positive(Line):
        def load_state_dict(self, state: Any) -> None:
            super().load_state_dict(state)
            if self.w.data < 0:
                raise ValueError("negative")

    model = Holder(first=Value(1.0), part=Positive(2, 3), last=Value(4.0))
    state = model.state_dict()
    model.load_state_dict({name: array + 1.0 for name, array in state.items()})
    assert data(model) == [2.0, 3.0, 4.0, 5.0]
    with pytest.raises(ValueError, match="negative"):
        model.load_state_dict({name: array - 10.0 for name, array in state.items()})
    assert data(model) == [2.0, 3.0, 4.0, 5.0]


def test_such_a_model_is_trained_and_saved(tmp_path: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.body = nn.MLP(1, [4, 1], "tanh", "linear")
            self.gain = Value(0.5)

        def __call__(self, x: Any) -> Any:
            return self.gain * self.body([x])

    random.seed(1)
    model = Net()
    before = data(model)
    loss = pygradc.compile(lambda x, y: losses.mse(model(x), y))
    xs = np.linspace(-1, 1, 20)
    history = pygradc.fit(loss, xs, xs**2, optim.Adam(model.parameters(), lr=0.05), epochs=60)
    assert history[-1] < history[0] / 3
    assert all(x != y for x, y in zip(before, data(model)))
    pygradc.save_state(model.state_dict(), tmp_path / "net.npz")
    other = Net()
    other.load_state_dict(pygradc.load_state(tmp_path / "net.npz"))
    assert data(other) == data(model)
