"""Do models predict what their calls give, score as defined, name and draw their parameters, and
compose; and does a file hold all of it?
"""

from __future__ import annotations

import copy
import doctest
import gc
import math
import pickle
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, nn, optim
from pygradc.core.ops import OPS

X = np.random.default_rng(0).normal(size=(7, 3))
ACTIVATIONS = ["linear"] + [op.name for op in OPS if op.is_activation]


def called(model: Any, rows: Any = X) -> Any:
    """What plain calls give, row by row."""

    def data(out: Any) -> Any:
        return out.data if isinstance(out, Value) else [v.data for v in out]

    return [data(model(row)) for row in np.asarray(rows).tolist()]


class Line(nn.Module):
    def __init__(self, w: float = 2.0) -> None:
        self.w, self.slope, self.steps = Value(w), 3.0, [1.0, np.ones(2)]

    def __call__(self, x: Any) -> Any:
        return self.w * x[0] * self.slope + self.steps[0] * self.steps[1][0]


class Double:
    """Parameters, but no module."""

    def __init__(self) -> None:
        self.v = Value(2.0)

    def __call__(self, xs: Any) -> Any:
        return [self.v * x for x in xs]

    def parameters(self) -> list[Value]:
        return [self.v]


# ---- predict ------------------------------------------------------------------------------------

MODELS: dict[str, Callable[[], Any]] = {
    "an MLP of one output": lambda: nn.MLP(3, [4, 1]),
    "an MLP of several": lambda: nn.MLP(3, [4, 2], "relu", "linear"),
    "a neuron": lambda: nn.Neuron(3),
    "a layer": lambda: nn.Layer(3, 2),
    "a linear layer": lambda: nn.Linear(3, 2),
    "without biases": lambda: nn.Sequential(nn.Layer(3, 3, bias=False), nn.Linear(3, 2, False)),
    "a sequence": lambda: nn.Sequential(nn.MLP(3, [4, 2]), Double(), nn.Linear(2, 2)),
    "a class of one's own": Line,
}


@pytest.mark.parametrize("name", MODELS)
def test_predict_gives_the_bits_of_calls(name: str) -> None:
    model = MODELS[name]()
    found, expected = model.predict(X), np.array(called(model))
    assert type(found) is np.ndarray and found.dtype == np.float64
    assert found.shape == expected.shape and np.array_equal(found, expected)
    assert np.array_equal(model.predict(X.tolist()), expected)  # and again, as lists
    assert model.predict(X[:0]).shape == (0, *expected.shape[1:])


def test_a_model_of_a_number_takes_a_row_of_numbers() -> None:
    model = nn.MLP(1, [3, 1])
    assert model.predict([0.5, 2.0]).tolist() == model.predict([[0.5], [2.0]]).tolist()
    assert model.predict([0.5, 2.0]).tolist() == [model(0.5).data, model(2.0).data]


def test_one_output_in_a_list_is_one_output() -> None:
    assert nn.Sequential(nn.Linear(3, 1), Double()).predict(X).shape == (7,)


def test_a_recording_is_kept_while_nothing_is_replaced() -> None:
    class Counting(nn.MLP):
        calls = 0

        def __call__(self, x: Any) -> Any:
            type(self).calls += 1
            return super().__call__(x)

    model = Counting(3, [4, 1])
    for step in range(3):
        for p in model.parameters():
            p.data += 0.25 * step
        model.predict(X)
    assert Counting.calls == 1
    model.layers[0].neurons[0].b = Value(1.0)
    model.predict(X)
    assert Counting.calls == 2


CHANGES: dict[str, Callable[[Any], Any]] = {
    "data": lambda m: setattr(m.layers[0].neurons[1].w[2], "data", 9.0),
    "a weight": lambda m: m.layers[0].neurons[1].w.__setitem__(2, Value(9.0)),
    "a bias": lambda m: setattr(m.layers[1].neurons[0], "b", Value(9.0)),
    "a weight, by a number": lambda m: m.layers[0].neurons[1].w.__setitem__(2, 9.0),
    "an activation": lambda m: setattr(m.layers[0].neurons[1], "activation", "relu"),
    "an activation, by a function": lambda m: setattr(
        m.layers[0].neurons[1], "activation", lambda v: v * v
    ),
    "a neuron": lambda m: m.layers[0].neurons.__setitem__(0, nn.Neuron(3)),
    "a layer": lambda m: m.layers.__setitem__(1, nn.Linear(4, 2)),
    "a layer less": lambda m: m.layers.pop(),
    "a layer more": lambda m: m.layers.append(nn.Linear(2, 3)),
    "the layers' order": lambda m: m.layers.__setitem__(
        slice(None), [m.layers[0], nn.Layer(4, 4), m.layers[1]]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", [nn.MLP, lambda *shape: nn.Sequential(*nn.MLP(*shape).layers)])
def test_what_is_changed_counts(make: Callable[..., Any], change: str) -> None:
    model = make(3, [4, 2])
    before = model.predict(X)
    CHANGES[change](model)
    found = model.predict(X)
    assert np.array_equal(found, called(model)) and not np.array_equal(found, before)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "w", Value(5.0)),
        lambda m: setattr(m, "slope", 5.0),
        lambda m: setattr(m, "slope", Value(5.0)),
        lambda m: m.steps.__setitem__(0, 5.0),
        lambda m: m.steps[1].__iadd__(4.0),
        lambda m: setattr(m, "steps", (5.0, m.steps[1])),
    ],
)
def test_what_is_changed_in_a_class_of_ones_own_counts(change: Callable[[Any], Any]) -> None:
    model = Line()
    before = model.predict(X)
    change(model)
    assert model.predict(X).tolist() == called(model) != before.tolist()


@pytest.mark.parametrize("big", [np.zeros((50, 90)), np.zeros((90, 50)).T, np.zeros(999, "U3")])
def test_a_large_array_that_changes_counts(big: Any) -> None:
    class Looks(Line):
        calls = 0

        def __call__(self, x: Any) -> Any:
            type(self).calls += 1
            return super().__call__(x)

    model = Looks()
    model.big = big  # type: ignore[attr-defined]
    for wanted in (1, 2):
        for _ in range(2):
            model.predict(X)
            assert Looks.calls == wanted
        big[7] = 1


def test_another_call_of_the_class_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Line()
    model.predict(X)
    monkeypatch.setattr(Line, "__call__", lambda self, x: self.w * x[1])
    assert model.predict(X).tolist() == (2.0 * X[:, 1]).tolist()


def test_nothing_is_kept_in_the_model_and_nothing_keeps_it() -> None:
    model = nn.MLP(3, [4, 1])
    plain, pickled = dict(vars(model)), pickle.dumps(model)
    before = model.predict(X)
    assert vars(model) == plain and pickle.dumps(model) == pickled
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.layers[0].neurons[0].b.data = 5.0
        assert other != model and other.predict(X).tolist() != before.tolist()
        assert other.predict(X).tolist() == called(other)
    assert copy.copy(model).predict(X).tolist() == before.tolist() == model.predict(X).tolist()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_predict_with_cycles_and_slots() -> None:
    class Slotted(nn.Module):
        __slots__ = ("w",)

        def __init__(self) -> None:
            self.w = Value(2.0)

        def __call__(self, x: Any) -> Any:
            return self.w * x[0]

    model = Line()
    model.me = model.part = Slotted()  # type: ignore[attr-defined]
    model.part.up = model  # type: ignore[attr-defined]
    assert model.predict(X).tolist() == called(model)
    slotted = Slotted()
    assert slotted.predict(X).tolist() == called(slotted)
    slotted.w = Value(3.0)
    assert slotted.predict(X).tolist() == called(slotted)


def test_gradients_stay() -> None:
    model = nn.MLP(3, [2, 1])
    model.predict(X)
    assert [p.grad for p in model.parameters()] == [0.0] * len(model.parameters())


def test_wrong_rows_are_named() -> None:
    model = nn.MLP(3, [4, 1])
    with pytest.raises(ValueError, match=r"expected rows, shape \(n, inputs\), not \(3,\)"):
        model.predict([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="takes 3 inputs, got 2"):
        model.predict([[1.0, 2.0]])
    with pytest.raises(TypeError, match="expected real numbers"):
        model.predict([["a", "b", "c"]])
    with pytest.raises(ValueError, match="expected at least one array"):
        model.predict(1.0)
    assert model.predict(X).tolist() == called(model)  # after failures
    neuron = nn.Neuron(1, "log")
    neuron.w, neuron.b = [Value(1.0)], Value(0.0)
    with pytest.raises(FloatingPointError, match="row 1: log"):
        neuron.predict([[1.0], [-1.0]])


def test_what_is_no_row_of_outputs_is_named() -> None:
    class Named(Line):
        def __call__(self, x: Any) -> Any:
            return {"a": self.w * x[0], "b": x[1]}

    with pytest.raises(TypeError, match=r"predict: Named returns a dict.*compile\(model\)\.map"):
        Named().predict(X)


def test_a_recording_has_no_use_for_predictions() -> None:
    model = nn.MLP(3, [1])
    for use in (lambda: model.predict(X), lambda: model.score(X, X[:, 0])):
        with pytest.raises(pygradc.TraceError, match=r"(predict|score)\(\) while"):
            pygradc.compile(lambda x, use=use: use() and x)(1.0)


# ---- score --------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """Returns its inputs: X is the outputs."""

    def __call__(self, x: Any) -> Any:
        return [v * 1.0 for v in x]


def score(outputs: Any, y: Any) -> float:
    found = Fixed().score(np.array(outputs, dtype=float), y)
    assert type(found) is float
    return found


@pytest.mark.parametrize("kind", [np.int64, np.uint8, float])
def test_accuracy_of_the_largest_output(kind: Any) -> None:
    outputs = [[0.0, 2.0, 1.0], [3.0, 0.0, 1.0], [0.0, 1.0, 2.0], [5.0, 5.0, 0.0]]
    assert score(outputs, np.array([1, 0, 0, 0], dtype=kind)) == 0.75
    assert score(outputs, [1, 0, 2, 0]) == 1.0 and score(outputs, [0, 1, 0, 1]) == 0.0


def test_r2_is_that_of_scikit_learn() -> None:
    """The first two are in its documentation: 0.948 and 0.936."""
    y, outputs = [3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]
    columns = [[x] for x in outputs]
    assert score(columns, y) == score(columns, [[v] for v in y]) == 0.9486081370449679
    assert score(columns, [int(v) for v in y]) < 1.0  # whole numbers, but one output
    pairs, wanted = [[0.0, 2.0], [-1.0, 2.0], [8.0, -5.0]], [[0.5, 1.0], [-1.0, 1.0], [7.0, -6.0]]
    assert score(pairs, wanted) == pytest.approx(0.9368005266622779, abs=1e-15)
    assert score([[0.1], [0.1], [0.1]], [0.1] * 3) == 1.0  # constant, and right
    assert score([[0.1], [0.1], [0.2]], [0.1] * 3) == 0.0
    assert score([[1.0, 0.5], [2.0, 0.5]], [[1.0, 0.5], [2.0, 0.5]]) == 1.0
    assert score([[1.0, 0.5], [2.0, 0.6]], [[1.0, 0.5], [2.0, 0.5]]) == 0.5
    assert score([[-3.0], [3.0]], [1.0, 2.0]) == 1.0 - (16 + 1) / 0.5


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        ([[1.0, 2.0]] * 2, [0, 2], r"from 0 to 1, or have shape \(2, 2\), but y\[1\] is 2"),
        ([[1.0, 2.0]] * 2, [-1, 0], r"y\[0\] is -1"),
        ([[1.0, 2.0]] * 2, [0.0, 0.5], r"y\[1\] is 0\.5"),
        ([[1.0, 2.0]] * 2, [0.0, math.nan], r"y\[1\] is nan"),
        ([[1.0, 2.0]] * 2, [0], r"shape \(1,\), expected \(2,\) or \(2, 2\)"),
        ([[1.0, 2.0]] * 2, [[0], [1]], r"shape \(2, 1\), expected \(2,\) or \(2, 2\)"),
        ([[1.0]] * 2, [0.0, 1.0, 2.0], r"shape \(3,\), expected \(2,\)"),
        ([[1.0]] * 2, [[0.0, 1.0]] * 2, r"shape \(2, 2\), expected \(2,\)"),
        ([[1.0]] * 2, [0.0, math.nan], "y in row 1 is nan"),
        ([[1.0]] * 2, [math.inf, 0.0], "y in row 0 is inf"),
        ([[1.0], [math.nan]], [0.0, 1.0], "an output in row 1 is nan"),
        ([[1.0, 2.0], [math.nan, 1.0]], [0, 1], "an output in row 1 is nan"),
        ([[1.0]], [1.0], "at least two rows"),
        (np.zeros((0, 2)), [], "there are no rows"),
    ],
)
def test_what_has_no_score_is_named(outputs: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"score: .*{message}"):
        score(outputs, y)


def test_labels_that_are_words_are_named() -> None:
    with pytest.raises(TypeError, match="y must be numbers, not an array of <U3, such as"):
        score([[1.0, 2.0]] * 2, ["cat", "dog"])
    with pytest.raises(ValueError, match="masked"):
        score([[1.0]] * 2, np.ma.array([1.0, 2.0], mask=[True, False]))


# ---- summary ------------------------------------------------------------------------------------


def test_the_summary_is_a_table() -> None:
    model = nn.Sequential(
        nn.Embedding(27, 4), nn.Layer(12, 200, lambda v: v.tanh(), bias=False), nn.Linear(200, 1)
    )
    assert [line.rstrip() for line in model.summary().splitlines()] == [
        "part      kind        shape      activation  parameters     memory",
        "layers.0  Embedding   27 x 4                        108   10,368 B",
        "layers.1  Layer       12 -> 200  <lambda>         2,400  230,400 B",
        "layers.2  Linear      200 -> 1   linear             201   19,296 B",
        "total     Sequential                              2,709  260,064 B",
    ]


def test_a_summary_counts_what_is_shared_once_in_its_total() -> None:
    model = Line()
    layer = nn.Linear(2, 1)
    model.layers = [layer, nn.Sequential(layer)]  # type: ignore[attr-defined]
    model.part, model.odd = Line(), Double()  # type: ignore[attr-defined]
    model.part.up = model  # type: ignore[attr-defined]
    rows = [line.split() for line in model.summary().splitlines()]
    assert [(row[0], row[1], row[-3]) for row in rows[1:]] == [
        ("w", "Value", "1"), ("layers.0", "Linear", "3"), ("layers.1.layers.0", "Linear", "3"),
        ("part.w", "Value", "1"), ("odd", "Double", "1"), ("total", "Line", "6"),
    ]  # fmt: skip
    assert len(nn.Neuron(2).summary().splitlines()) == 3
    assert nn.Module().summary().splitlines()[1].split() == ["total", "Module", "0", "0", "B"]


def test_a_class_that_names_its_parameters_itself_is_one_row() -> None:
    class Hidden(nn.Module):
        def parameters(self) -> list[Value]:
            return SECRET

    rows = Hidden().summary().splitlines()
    assert len(rows) == 3 and rows[1].split()[:3] == ["model", "Hidden", "2"]


SECRET = [Value(1.0), Value(2.0)]


# ---- names of parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        nn.MLP(3, [4, 2]),
        nn.Neuron(2),
        nn.Layer(2, 2),
        nn.Linear(2, 2, bias=False),
        nn.Embedding(3, 2),
        nn.Sequential(nn.Embedding(3, 2), nn.MLP(2, [2]), Double(), nn.Linear(2, 1)),
        Line(),
    ],
    ids=repr,
)
def test_names_are_those_of_the_state_with_places(model: Any) -> None:
    named, state = model.named_parameters(), model.state_dict()
    assert [id(p) for _, p in named] == [id(p) for p in model.parameters()]
    assert len({name for name, _ in named}) == len(named)
    by_name = {
        ".".join((key, *map(str, place))): array[place]
        for key, array in state.items()
        for place in np.ndindex(array.shape)
    }
    assert {name: p.data for name, p in named} == by_name


def test_names_of_all_kinds_of_parts() -> None:
    class Own(Line):
        def state_dict(self) -> Any:
            return {"mine": super().state_dict()["w"]}

    class Hidden(nn.Module):
        def parameters(self) -> list[Value]:
            return SECRET

    model = Line()
    model.own, model.odd, model.hidden = Own(), Double(), Hidden()  # type: ignore[attr-defined]
    model.again = model.own.w  # type: ignore[attr-defined]
    assert [name for name, _ in model.named_parameters()] == [
        "w", "own.w", "odd.parameters.0", "hidden.parameters.0", "hidden.parameters.1",
    ]  # fmt: skip

    class Extended(nn.MLP):
        def parameters(self) -> list[Value]:
            return [*super().parameters(), SECRET[0]]

    assert [name for name, _ in Extended(1, [1]).named_parameters()] == [
        "layers.0.weight.0.0", "layers.0.bias.0", "parameters.2",
    ]  # fmt: skip


# ---- initial weights ----------------------------------------------------------------------------


def numbers(model: Any) -> list[float]:
    return [p.data for p in model.parameters()]


def test_a_seed_has_a_generator_of_its_own() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    model = nn.MLP(3, [4, 2], seed=1337)
    nn.Layer(2, 3, seed=0, init="he"), nn.Linear(2, 2, seed=0), nn.Embedding(2, 2, seed=0)
    assert random.random() == expected
    random.seed(1337)
    assert numbers(nn.MLP(3, [4, 2])) == numbers(model)  # the lessons' numbers
    assert numbers(nn.MLP(3, [4, 2], seed=1)) != numbers(model)
    assert numbers(nn.MLP(3, [4, 2], seed=np.int64(1337))) == numbers(model)


def test_layers_may_share_a_generator() -> None:
    own = random.Random(1337)
    model = nn.Sequential(nn.Layer(3, 4, seed=own), nn.Linear(4, 2, seed=own))
    assert numbers(model) == numbers(nn.MLP(3, [4, 2], seed=1337))


@pytest.mark.parametrize(
    ("init", "limit"), [("uniform", 1.0), ("xavier", math.sqrt(6 / 50)), ("he", math.sqrt(6 / 30))]
)
def test_limits_of_initial_weights(init: Any, limit: float) -> None:
    layers = [
        nn.MLP(30, [20], init=init, seed=3).layers[0],
        nn.Layer(30, 20, init=init, seed=3),
        nn.Linear(30, 20, init=init, seed=3),
    ]
    for layer in layers:
        weights = np.array([w.data for n in layer.neurons for w in n.w])
        biases = np.array([n.b.data for n in layer.neurons])
        assert 0.98 * limit < np.abs(weights).max() <= limit
        assert np.var(weights) == pytest.approx(limit**2 / 3, rel=0.1)
        assert np.any(biases) == (init == "uniform")
    assert numbers(layers[0]) == numbers(layers[1]) == numbers(layers[2])


def test_each_layer_has_its_limit() -> None:
    model = nn.MLP(2, [400, 2], init="he", seed=0)
    first, last = (max(abs(w.data) for n in layer.neurons for w in n.w) for layer in model.layers)
    assert math.sqrt(3) * 0.98 < first <= math.sqrt(3)
    assert math.sqrt(6 / 400) * 0.98 < last <= math.sqrt(6 / 400)


@pytest.mark.parametrize(
    "make",
    [
        lambda **how: nn.MLP(2, [1], **how),
        lambda **how: nn.Layer(2, 1, **how),
        lambda **how: nn.Linear(2, 1, **how),
        lambda **how: nn.Embedding(2, 1, **how),
    ],
)
def test_wrong_seeds_and_inits_are_named(make: Callable[..., Any]) -> None:
    kind = type(make()).__name__
    for seed in (1.5, "1337", [1]):
        with pytest.raises(TypeError, match=f"{kind}: seed must be a whole number"):
            make(seed=seed)
    with pytest.raises(ValueError, match=f"{kind}: seed must be at least 0, not -1"):
        make(seed=-1)
    if kind != "Embedding":
        for init in ("glorot", None, ["he"]):
            with pytest.raises(ValueError, match=r"init must be one of \['uniform', 'xavier'"):
                make(init=init)


# ---- layers -------------------------------------------------------------------------------------


def test_a_linear_layer_is_a_layer_without_activation() -> None:
    linear, layer = nn.Linear(3, 2, seed=1), nn.Layer(3, 2, "linear", seed=1)
    assert called(linear) == called(layer)
    assert repr(linear) == "Linear(3, 2)" and isinstance(linear, nn.Layer)
    state = linear.state_dict()
    assert {key: array.shape for key, array in state.items()} == {"weight": (2, 3), "bias": (2,)}
    other = nn.Linear(3, 2)
    other.load_state_dict(state)
    assert called(other) == called(linear)
    with pytest.raises(TypeError, match="Linear: bias must be True or False, not 'relu'"):
        nn.Linear(3, 2, "relu")  # type: ignore[arg-type]


def test_without_a_bias() -> None:
    linear = nn.Linear(3, 2, bias=False, seed=1)
    weights = linear.state_dict()
    assert list(weights) == ["weight"] and len(linear.parameters()) == 6
    np.testing.assert_allclose(linear.predict(X), X @ weights["weight"].T, rtol=1e-15, atol=1e-15)
    assert repr(linear) == "Linear(3, 2, bias=False)"
    assert repr(nn.Layer(3, 2, "relu", bias=False)) == "Layer(3, 2, 'relu', bias=False)"
    linear([1.0, 2.0, 3.0])[0].backward()
    assert [p.grad for p in linear.parameters()] == [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]
    linear.zero_grad()
    assert [p.grad for p in linear.parameters()] == [0.0] * 6


def test_an_embedding_is_rows_of_a_table() -> None:
    table = nn.Embedding(5, 3, seed=0)
    rows = [[v.data for v in row] for row in table.weight]
    assert [v.data for v in table(2)] == [v.data for v in table([2])] == rows[2]
    assert [v.data for v in table([4, 0])] == rows[4] + rows[0]
    assert all(v is w for v, w in zip(table(Value(3.0)), table.weight[3]))
    assert table.predict([0, 4]).tolist() == [rows[0], rows[4]]
    assert table.predict([[1, 1], [2, 3]]).tolist() == [rows[1] + rows[1], rows[2] + rows[3]]
    assert [p.data for p in table.parameters()] == [v for row in rows for v in row]
    assert table.state_dict()["weight"].tolist() == rows and repr(table) == "Embedding(5, 3)"
    loss = pygradc.compile(lambda i: sum(table(i)))
    loss.sum([1, 1, 4]).backward()
    assert [row[0].grad for row in table.weight] == [0.0, 2.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("index", [5, -1, 0.5])
def test_an_index_without_a_row(index: float) -> None:
    table = nn.Embedding(5, 3)
    with pytest.raises(IndexError):
        table(index)
    with pytest.raises(FloatingPointError, match="row 1"):
        table.predict([0.0, index])


def test_embeddings_have_rows() -> None:
    for shape in ((0, 1), (1, 0), (-1, 2)):
        with pytest.raises(ValueError, match="Embedding: count and size must be at least 1"):
            nn.Embedding(*shape)
    with pytest.raises(TypeError, match=r"Embedding: sizes must be whole numbers, not 1\.5"):
        nn.Embedding(1.5, 2)  # type: ignore[arg-type]


def test_a_sequence_is_its_layers_one_after_the_other() -> None:
    mlp = nn.MLP(3, [4, 1], "relu", "linear")
    first, last = mlp.layers
    model = nn.Sequential(first, last)
    assert called(model) == called(mlp) and model.parameters() == mlp.parameters()
    assert list(model.state_dict()) == list(mlp.state_dict())
    mlp.load_state_dict(model.state_dict())
    assert repr(model) == "Sequential of [Layer(3, 4, 'relu'), Layer(4, 1, 'linear')]"
    through = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 2), lambda outs: [v.exp() for v in outs])
    assert called(through)[0] == [
        v.exp().data for v in through.layers[1]([through.layers[0](X[0])])
    ]
    assert len(through.parameters()) == 8


def test_sequences_nest_and_are_saved(tmp_path: Any) -> None:
    def make() -> Any:
        model = nn.Sequential(
            nn.Sequential(nn.Embedding(3, 2), nn.Layer(4, 2)), nn.MLP(2, [2]), Double(), Line()
        )
        model.scale = Value(7.0)  # type: ignore[attr-defined]
        return model

    model, other = make(), make()
    assert list(model.state_dict()) == [
        "layers.0.layers.0.weight", "layers.0.layers.1.weight", "layers.0.layers.1.bias",
        "layers.1.layers.0.weight", "layers.1.layers.0.bias", "layers.2.parameters", "layers.3.w",
        "scale",
    ]  # fmt: skip
    pygradc.save_state(model.state_dict(), tmp_path / "model.npz")
    other.load_state_dict(pygradc.load_state(tmp_path / "model.npz"))
    assert numbers(other) == numbers(model) and len(numbers(model)) == 6 + 10 + 6 + 1 + 1 + 1
    assert numbers(copy.deepcopy(model)) == numbers(model)


def test_a_sequence_is_of_layers() -> None:
    with pytest.raises(ValueError, match="Sequential: there must be at least one layer"):
        nn.Sequential()
    with pytest.raises(TypeError, match=r"layer 0 must be .*write Sequential\(\*layers\)"):
        nn.Sequential([nn.Linear(1, 1)])
    with pytest.raises(TypeError, match="Sequential: layer 1 must be a module or a function"):
        nn.Sequential(nn.Linear(1, 1), nn.Linear)
    with pytest.raises(TypeError, match="Embedding: expected one row, got 7 at once"):
        nn.Sequential(nn.Embedding(2, 2))(X)


def test_such_a_model_learns() -> None:
    rows = np.array([[a, b] for a in range(4) for b in range(4)])
    wanted = (rows[:, 0] + rows[:, 1]) % 3
    own = random.Random(0)
    model = nn.Sequential(
        nn.Embedding(4, 3, seed=own), nn.Layer(6, 12, "tanh", seed=own), nn.Linear(12, 3, seed=own)
    )
    loss = pygradc.compile(lambda x, y: losses.cross_entropy(model(x), y))
    before = model.score(rows, wanted)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    pygradc.fit(loss, rows, wanted, optimizer, epochs=100, batch_size=4, seed=0)
    assert before < 0.8 and model.score(rows, wanted) == 1.0


# ---- activations --------------------------------------------------------------------------------


def halves(value: Value) -> Value:
    return value * 0.5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_unary_op_by_name_in_all_kinds_of_layers(name: str) -> None:
    small = 1.0 + X[:, :2] ** 2 if name in ("acosh",) else 0.05 + 0.01 * np.abs(X[:, :2])
    for model in (
        nn.Neuron(2, name), nn.Layer(2, 2, name), nn.MLP(2, [2], name), nn.MLP(2, [1], "relu", name)
    ):  # fmt: skip
        for i, p in enumerate(model.parameters()):
            p.data = 0.1 * i + 0.05
        if name == "acosh":
            for p in model.parameters():
                p.data += 1.0
        assert model.predict(small).tolist() == called(model, small)
        out = model(small[0].tolist())
        (out[0] if isinstance(out, list) else out).backward()
        layers = getattr(model, "layers", [model])
        assert layers[-1].activation == name


def test_a_function_as_activation() -> None:
    for function in (halves, pygradc.tanh, Value.relu, lambda v: (v * v).sqrt() + v):
        model = nn.MLP(3, [4, 2], function)
        by_hand = [
            [function(sum((w * x for w, x in zip(n.w, row)), n.b)) for n in model.layers[0].neurons]
            for row in X.tolist()
        ]
        first = model.layers[0]
        assert called(first) == [[v.data for v in row] for row in by_hand]
        assert model.predict(X).tolist() == called(model)
        assert [n(X[0].tolist()).data for n in first.neurons] == called(first)[0]
        grads = []
        for out in (first(X[0].tolist())[0], by_hand[0][0]):
            first.zero_grad()
            out.backward()
            grads.append([p.grad for p in first.parameters()])
        assert grads[0] == grads[1]
    model = nn.MLP(3, [2, 1], halves, "tanh")
    assert repr(model) == "MLP of [Layer(3, 2, halves), Layer(2, 1, 'tanh')]"
    assert repr(model.layers[0].neurons[0]) == "Neuron(3, halves)"
    assert pickle.loads(pickle.dumps(model)).predict(X).tolist() == model.predict(X).tolist()


def test_functions_and_names_side_by_side() -> None:
    layer = nn.Layer(3, 3, "tanh")
    layer.neurons[1].activation = halves
    assert [v.data for v in layer(X[0])] == [n(X[0]).data for n in layer.neurons]
    with pytest.raises(ValueError, match="takes 3 inputs, got 2"):
        layer([1.0, 2.0])
    with pytest.raises(TypeError, match="expected one row, got 7 at once"):
        layer(X)
    layer.neurons[1].activation = "relu"
    assert layer.predict(X).tolist() == called(layer)


def test_a_patched_value_meets_functions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Layer(2, 2, halves)
    original = Value.__mul__
    monkeypatch.setattr(Value, "__mul__", lambda a, b: original(a, b) + 1.0)
    expected = [
        (sum((w * x for w, x in zip(n.w, [2.0, 3.0])), n.b) * 0.5).data for n in layer.neurons
    ]
    assert [v.data for v in layer([2.0, 3.0])] == expected


def test_what_is_no_activation_is_named() -> None:
    with pytest.raises(TypeError, match="activation <lambda> returned a float, not a Value"):
        nn.Neuron(2, lambda v: 1.0)([1.0, 2.0])  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"activation must be .*write 'tanh'"):
        nn.Layer(2, 2, math.tanh)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one name for all layers"):
        nn.MLP(2, [2, 1], ["tanh", "relu"])  # type: ignore[arg-type]


# ---- files --------------------------------------------------------------------------------------

SAVED: dict[str, Callable[[], Any]] = {
    "an MLP": lambda: nn.MLP(3, [4, 2], "relu", "linear"),
    "one output": lambda: nn.MLP(3, [1]),
    "a linear layer put in": lambda: with_layers(nn.MLP(3, [4, 2]), nn.Linear(3, 2, False)),
    "a layer": lambda: nn.Layer(3, 2, "gelu", bias=False),
    "a linear layer": lambda: nn.Linear(3, 2),
    "a neuron": lambda: nn.Neuron(3, "sigmoid"),
    "a sequence": lambda: nn.Sequential(
        nn.Sequential(nn.Layer(3, 4, "elu"), nn.Linear(4, 4)), nn.MLP(4, [3, 2]), nn.Neuron(2)
    ),
}


def with_layers(model: Any, *layers: Any) -> Any:
    model.layers = [*layers]
    return model


@pytest.mark.parametrize("name", SAVED)
def test_models_come_back(name: str, tmp_path: Any) -> None:
    model, path = SAVED[name](), tmp_path / "model.npz"
    pygradc.save_model(model, path)
    random.seed(3)
    before = random.getstate()
    again, scaling, names = pygradc.load_model(path)
    assert random.getstate() == before
    assert type(again) is type(model) and repr(again) == repr(model)
    assert scaling is None and names is None
    assert again.predict(X).tolist() == model.predict(X).tolist()
    assert pygradc.load_model(path).predict(X).tolist() == model.predict(X).tolist()
    with np.load(path, allow_pickle=False) as file:
        assert {*model.state_dict()} < {*file}
    content = path.read_bytes()
    pygradc.save_model(again, path)
    assert path.read_bytes() == content


def test_an_embedding_comes_back(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(4, 5))
    pygradc.save_model(model, tmp_path / "m.npz", class_names=list("abcde"))
    saved = pygradc.load_model(tmp_path / "m.npz")
    rows = [[0, 1], [4, 2]]
    assert repr(saved.model) == repr(model) and saved.class_names == tuple("abcde")
    assert saved.predict(rows).tolist() == ["abcde"[i] for i in model.predict(rows).argmax(axis=1)]


def test_scaling_and_names_come_back(tmp_path: Any) -> None:
    mean, scale = X.mean(axis=0), X.std(axis=0)
    model, path = nn.MLP(3, [4, 2]), tmp_path / "m.npz"
    pygradc.save_model(model, str(path), (mean, scale), ["cat", "dog"])
    saved = pygradc.load_model(str(path))
    outputs = model.predict((X - mean) / scale)
    assert saved.predict(X).tolist() == np.array(["cat", "dog"])[outputs.argmax(axis=1)].tolist()
    assert saved.scaling is not None and saved.scaling.mean.tolist() == mean.tolist()
    given = pygradc.models.Scaling(mean, scale, [1.0, 2.0], 10.0, ("a", "b", "c"))
    pygradc.save_model(model, path, given)
    saved = pygradc.load_model(path)
    np.testing.assert_array_equal(saved.predict(X), outputs * 10.0 + [1.0, 2.0])
    assert saved.scaling is not None and saved.scaling.feature_names == ("a", "b", "c")
    assert saved.scaling.target_scale == 10.0 and saved.class_names is None
    for wrong in (X[:, :1], X[0]):  # which numpy would stretch
        with pytest.raises(ValueError, match=r"X has shape .*, expected \(n, 3\)"):
            saved.predict(wrong)
    with pytest.raises(ValueError, match="masked"):
        saved.predict(np.ma.array(X, mask=X > 0))


def test_one_input_is_scaled(tmp_path: Any) -> None:
    model = nn.Linear(1, 1)
    pygradc.save_model(model, tmp_path / "m.npz", ([2.0], [4.0], 1.0, 3.0))
    saved = pygradc.load_model(tmp_path / "m.npz")
    expected = model.predict([[0.5], [1.5]]) * 3.0 + 1.0
    assert saved.predict([4.0, 8.0]).tolist() == expected.tolist()
    assert saved.predict([[4.0], [8.0]]).tolist() == expected.tolist()


def test_no_class_is_largest_beside_nan(tmp_path: Any) -> None:
    pygradc.save_model(nn.Linear(1, 2), tmp_path / "m.npz", class_names=["a", "b"])
    with pytest.raises(ValueError, match="predict: an output in row 1 is nan"):
        pygradc.load_model(tmp_path / "m.npz").predict([[1.0], [math.nan]])


def test_the_command_writes_such_a_file(tmp_path: Any) -> None:
    from pygradc.__main__ import main
    from pygradc.datasets import load

    rows = "".join(f"{x},{x % 7},{3 * x + 0.5}\n" for x in range(40))
    (tmp_path / "r.csv").write_text("a,b,price\n" + rows)
    for data in ("iris", str(tmp_path / "r.csv")):
        arguments = ["train", "--data", data, "--epochs", "30", "--out", str(tmp_path)]
        assert main(arguments) == 0
        dataset, saved = load(data), pygradc.load_model(tmp_path / "weights.npz")
        found = saved.predict(dataset.features)
        assert saved.class_names == dataset.class_names and saved.scaling is not None
        assert saved.scaling.feature_names == dataset.feature_names
        assert saved.scaling.target_name == dataset.target_name
        if dataset.class_names:
            assert np.mean(found == np.array(dataset.class_names)[dataset.labels]) > 0.9
        else:
            assert np.abs(found - dataset.labels).max() < 30.0 < np.ptp(dataset.labels)


def odd(model: Any, change: Callable[[Any], Any]) -> Any:
    change(model)
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Line, r"model is a Line: .*write save_state\(model\.state_dict\(\), path\)"),
        (lambda: nn.Sequential(nn.Linear(1, 1), Line()), r"model\.layers\.1 is a Line"),
        (lambda: nn.Sequential(nn.Linear(1, 1), len), r"model\.layers\.1 is a builtin"),
        (lambda: nn.Layer(2, 2, halves), "activation <function halves.*, a function"),
        (
            lambda: odd(nn.MLP(2, [2]), lambda m: m.layers[0].neurons[0].w.__setitem__(0, 1.0)),
            r"model\.layers\.0 has a weight or a bias that is no Value",
        ),
        (
            lambda: odd(
                nn.MLP(2, [2]), lambda m: setattr(m.layers[0].neurons[0], "activation", "relu")
            ),
            r"model\.layers\.0 has neurons that differ",
        ),
        (lambda: odd(nn.Neuron(2), lambda n: setattr(n, "b", 1.0)), "model has a weight or a bias"),
        (lambda: odd(nn.MLP(2, [1]), lambda m: setattr(m, "s", Value(1.0))), r"layers, \['s'\]"),
        (lambda: odd(nn.MLP(2, [1]), lambda m: m.layers.clear()), "model is MLP of"),
        (lambda: odd(nn.MLP(2, [1]), lambda m: m.layers.append(nn.Neuron(1))), "model is MLP of"),
        (lambda: nn.Layer(0, 1), "model is Layer"),
        (lambda: nn.MLP(1, [1]).state_dict(), "model is a dict"),
    ],
)
def test_models_that_no_file_can_build_are_named(
    make: Callable[[], Any], message: str, tmp_path: Any
) -> None:
    with pytest.raises(TypeError, match=f"save_model: .*{message}"):
        pygradc.save_model(make(), tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"scaling": 3.0}, r"scaling must be \(mean, scale\)"),
        ({"scaling": ([0.0] * 3,)}, r"scaling must be \(mean, scale\)"),
        ({"scaling": ([0.0] * 3, [1.0] * 2)}, r"shapes \(3,\) and \(2,\)"),
        ({"scaling": (0.0, 1.0)}, r"one number per input, not shapes \(\)"),
        ({"scaling": ([0.0] * 2, [1.0] * 2)}, "scaling has 2 inputs, the model 3"),
        ({"scaling": ([0.0] * 3, [1.0, 0.0, 1.0])}, r"scale is 0 at \[1\]"),
        ({"scaling": ([0.0] * 3, [1.0, math.nan, 1.0])}, "scaling: scale must be finite"),
        ({"scaling": (["a"] * 3, [1.0] * 3)}, "scaling: mean must be real numbers"),
        ({"scaling": ([0.0] * 3, [1.0] * 3, [1.0] * 3)}, r"target_mean has shape \(3,\)"),
        ({"scaling": ([0.0] * 3, [1.0] * 3, 0, 1, ["a"])}, "1 feature_names for 3 inputs"),
        ({"scaling": ([0.0] * 3, [1.0] * 3, 0, 1, [1, 2, 3])}, "feature_names must be strings"),
        ({"class_names": ["a", "b", "c"]}, "3 class_names for 2 outputs"),
        ({"class_names": [0, 1]}, "class_names must be strings"),
        ({"class_names": "ab"}, "class_names must be strings"),
    ],
)
def test_what_does_not_fit_the_model_is_named(more: Any, message: str, tmp_path: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        pygradc.save_model(nn.MLP(3, [4, 2]), tmp_path / "m.npz", **more)
    assert not list(tmp_path.iterdir())


def test_model_and_path_swapped() -> None:
    with pytest.raises(TypeError, match="the model comes first"):
        pygradc.save_model("m.npz", nn.MLP(1, [1]))  # type: ignore[arg-type]


def changed_text(old: str, new: str) -> Callable[[Any], Any]:
    return lambda state: state.update(model=str(state["model"]).replace(old, new, 1))


DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no model": (lambda s: s.pop("model"), "holds no model that save_model wrote; load_state"),
    "no text": (lambda s: s.update(model=1.0), "description of the model isn't text"),
    "no JSON": (lambda s: s.update(model="{"), "description of the model is damaged"),
    "deep JSON": (lambda s: s.update(model="[" * 100_000), "description of the model is damaged"),
    "a list": (lambda s: s.update(model="[]"), "model is none of"),
    "another kind": (changed_text("MLP", "Net"), "model is none of"),
    "another kind of layer": (changed_text('"Layer"', '"Embedding"'), r"model\.layers\.0 has"),
    "an entry more": (changed_text('"bias"', '"x": 1, "bias"'), r"model\.layers\.0 has"),
    "no layers": (lambda s: s.update(model='{"kind": "MLP", "layers": []}'), "model: layers"),
    "an activation": (changed_text("tanh", "swish"), r"layers\.0: activation"),
    "an op of two": (changed_text("tanh", "add"), r"layers\.0: activation"),
    "a bias": (changed_text("true", "1"), r"layers\.0: bias"),
    "a size": (changed_text('"nin": 3', '"nin": -3'), r"layers\.0: nin"),
    "a real size": (changed_text('"nin": 3', '"nin": 3.0'), r"layers\.0: nin"),
    "a size of many digits": (changed_text('"nin": 3', f'"nin": {"9" * 5000}'), r"layers\.0: nin"),
    "sizes that aren't the arrays'": (
        changed_text('"nin": 3', '"nin": 99999999999'),
        r"sizes is|'layers\.0\.weight' has shape \(4, 3\)",
    ),
    "an array of another shape": (
        lambda s: s.update({"layers.0.bias": np.zeros(5)}),
        r"'layers\.0\.bias' has shape \(5,\), expected \(4,\)",
    ),
    "an array of words": (
        lambda s: s.update({"layers.0.bias": ["a"] * 4}), "must be real numbers",
    ),
    "an array less": (lambda s: s.pop("layers.1.bias"), r"\['layers\.1\.bias'\] missing"),
    "an array more": (lambda s: s.update(layers=1.0), r"\['layers'\] not expected"),
    "no scaling": (lambda s: s.pop("scale"), r"\['scale'\] missing"),
    "half a scaling": (lambda s: s.update(scale=None), "scaling: scale must be real numbers"),
    "a scale of 0": (lambda s: s.update(scale=np.zeros(3)), "scale is 0"),
    "a scaling of words": (lambda s: s.update(mean=["a"] * 3), "mean must be real numbers"),
    "names of another number": (lambda s: s.update(class_names=["a"]), "1 class_names for 2"),
    "a target of 3": (lambda s: s.update(target_name=3), "target_name must be a string"),
    "names that are numbers": (lambda s: s.update(class_names=[1.0, 2.0]), "must be strings"),
    "other sizes": (lambda s: s.update(sizes=[3, 5, 2]), r"sizes is \[3 5 2\], but the layers"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_no_models_are_named(damage: str, tmp_path: Any) -> None:
    change, message = DAMAGES[damage]
    state = pygradc.models.to_state(nn.MLP(3, [4, 2]), ([0.0] * 3, [1.0] * 3), ["a", "b"])
    change(state)
    pygradc.save_state(state, tmp_path / "m.npz")
    with pytest.raises(ValueError, match=rf"m\.npz: .*{message}"):
        pygradc.load_model(tmp_path / "m.npz")


def test_a_file_without_the_targets_name_is_read(tmp_path: Any) -> None:
    state = pygradc.models.to_state(nn.MLP(3, [4, 2]), ([0.0] * 3, [1.0] * 3))
    del state["target_name"]
    pygradc.save_state(state, tmp_path / "m.npz")
    scaling = pygradc.load_model(tmp_path / "m.npz").scaling
    assert scaling is not None and scaling.target_name == ""


def test_other_files_and_no_file(tmp_path: Any) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(FileNotFoundError):
        pygradc.load_model(path)
    pygradc.save_model(nn.MLP(3, [4, 2]), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.npz: .*damaged"):
        pygradc.load_model(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"m\.npz: "):
        pygradc.load_model(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Any, monkeypatch: Any) -> None:
    path = tmp_path / "m.npz"
    pygradc.save_model(nn.MLP(3, [4, 2]), path)
    content = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        pygradc.save_model(nn.MLP(3, [4, 2]), path)
    assert path.read_bytes() == content and [p.name for p in tmp_path.iterdir()] == ["m.npz"]


# ---- docstrings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "documented",
    [
        nn.Module.predict,
        nn.Module.score,
        nn.Module.summary,
        nn.Module.named_parameters,
        pygradc.save_model,
    ],
    ids=lambda f: f.__name__,
)
def test_examples_in_docstrings(documented: Any) -> None:
    test = doctest.DocTestParser().get_doctest(
        documented.__doc__, {}, documented.__name__, None, None
    )
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0
