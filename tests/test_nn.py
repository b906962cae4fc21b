"""Are neurons, layers, losses and optimisers those of the lessons, node for node, bit for bit?"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from graphs import written

import pygradc
from pygradc import Value, losses, nn, optim, reference
from pygradc.core.ops import OPS

ACTIVATIONS = ["linear"] + [op.name for op in OPS if op.is_activation]
X = [0.5, 1.5, 2.5]


def expression(neuron, x):
    """What a neuron is, in Python."""
    out = sum((wi * xi for wi, xi in zip(neuron.w, x)), neuron.b)
    return out if neuron.activation == "linear" else getattr(out, neuron.activation)()


def labelled(module):
    for i, p in enumerate(module.parameters()):
        p.label = f"p{i}"
    return module


def positive_neuron(activation: str) -> nn.Neuron:
    """A neuron whose sum lies in every activation's domain."""
    neuron = nn.Neuron(3, activation)
    scale = 0.1 if activation in ("asin", "acos", "atanh") else 1.0
    for i, p in enumerate(neuron.parameters()):
        p.data = scale * (0.1 + 0.2 * i)
    return labelled(neuron)


def seeded(module, seed, *arguments, **keywords):
    random.seed(seed)
    return module(*arguments, **keywords)


# ---- weights and parameters ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1337])
def test_a_seed_gives_the_lessons_weights(seed):
    model = seeded(nn.MLP, seed, 3, [4, 4, 1])
    after = random.random()
    random.seed(seed)
    drawn = [random.uniform(-1, 1) for _ in range(41)]
    assert [p.data for p in model.parameters()] == drawn and random.random() == after
    first = model.layers[0].neurons[0]
    assert [w.data for w in first.w] == drawn[:3] and first.b.data == drawn[3]


def test_parameters_are_the_same_objects_each_neurons_weights_then_its_bias():
    model = nn.MLP(2, [3, 1])
    neurons = [n for layer in model.layers for n in layer.neurons]
    by_hand = [p for n in neurons for p in [*n.w, n.b]]
    assert len(by_hand) == 13 and all(p is q for p, q in zip(model.parameters(), by_hand))
    assert model.layers[0].parameters() == by_hand[:9]
    assert nn.Module().parameters() == []


def test_zero_grad_resets_the_parameters_and_nothing_else():
    model, x = nn.MLP(2, [3, 1]), [Value(1.0), Value(2.0)]
    model(x).backward()
    assert any(p.grad for p in model.parameters()) and x[0].grad != 0.0
    seen = x[0].grad
    model.zero_grad()
    assert [p.grad for p in model.parameters()] == [0.0] * 13 and x[0].grad == seen


def test_a_module_of_ones_own_needs_only_parameters():
    class Scale(nn.Module):
        def __init__(self):
            self.s = Value(2.0)

        def __call__(self, x):
            return self.s * x

        def parameters(self):
            return [self.s]

    scale = Scale()
    scale(3.0).backward()
    assert scale.s.grad == 3.0
    scale.zero_grad()
    assert scale.s.grad == 0.0
    state = scale.state_dict()
    scale.s.data = 5.0
    scale.load_state_dict(state)
    assert scale.s.data == 2.0


def test_repr_says_the_shape():
    model = nn.MLP(3, [4, 1], "relu", "linear")
    assert repr(model) == "MLP of [Layer(3, 4, 'relu'), Layer(4, 1, 'linear')]"
    assert repr(model.layers[0].neurons[0]) == "Neuron(3, 'relu')"


# ---- calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("make", [float, np.float64, Value])
def test_a_neuron_is_the_python_expression_node_for_node(activation, make):
    neuron, x = positive_neuron(activation), [make(v) for v in X]
    out = neuron(x)
    assert type(out) is Value and written(out) == written(expression(neuron, x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_neurons_gradients_are_the_expressions_to_the_last_bit(activation):
    neuron, x = positive_neuron(activation), [Value(v) for v in X]
    found = []
    for compute in (neuron, lambda x: expression(neuron, x)):
        neuron.zero_grad()
        for v in x:
            v.grad = 0.0
        compute(x).backward()
        found.append([p.grad for p in [*neuron.parameters(), *x]])
    flat = activation in ("sign", "floor", "ceil", "trunc", "rint")
    assert found[0] == found[1] and any(found[0]) != flat


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "linear"])
def test_a_layer_is_its_neurons_side_by_side(activation):
    layer, x = labelled(seeded(nn.Layer, 1, 3, 4, activation)), [Value(v) for v in X]
    outs = layer(x)
    assert type(outs) is list and len(outs) == 4
    assert [written(out) for out in outs] == [written(expression(n, x)) for n in layer.neurons]
    assert all(written(out) == written(n(x)) for out, n in zip(outs, layer.neurons))


def test_outputs_use_the_very_inputs_and_parameters():
    layer, x = nn.Layer(1, 2, "linear"), Value(0.5)
    for out, n in zip(layer([x]), layer.neurons):
        bias, product = out._children
        assert bias is n.b and product._children[0] is n.w[0] and product._children[1] is x


@pytest.mark.parametrize(
    "arguments",
    [(3, [4, 4, 1]), (3, [4, 2], "relu", "linear"), (3, [2, 1], "sigmoid"), (3, (1,), "linear")],
)
@pytest.mark.parametrize("make", [float, Value])
def test_an_mlp_is_the_references_node_for_node(arguments, make):
    model = seeded(nn.MLP, 5, *arguments)
    oracle = seeded(reference.MLP, 5, *arguments)
    out = model([make(v) for v in X])
    expected = oracle([v if make is float else reference.Value(v) for v in X])
    pairs = zip(out, expected) if isinstance(out, list) else [(out, expected)]
    for got, wanted in pairs:
        assert written(got) == written(wanted)


def test_activations_of_hidden_and_last_layers():
    model = nn.MLP(2, [3, 3, 2], "relu", "sigmoid")
    assert [layer.activation for layer in model.layers] == ["relu", "relu", "sigmoid"]
    assert [layer.activation for layer in nn.MLP(2, [3, 1]).layers] == ["tanh", "tanh"]


def test_one_output_is_a_value_and_several_a_list():
    assert type(nn.MLP(2, [3, 1])([1.0, 2.0])) is Value
    assert [type(v) for v in nn.MLP(2, [3, 2])([1.0, 2.0])] == [Value, Value]
    assert type(nn.Layer(2, 1)([1.0, 2.0])) is Value
    assert type(nn.MLP(2, [1, 1])([1.0, 2.0])) is Value


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_inputs_come_in_any_sequence(kind):
    model = seeded(nn.MLP, 2, 3, [2, 1])
    assert model(kind(X)).data == model([Value(v) for v in X]).data


def test_wrong_inputs_are_refused():
    for module in (nn.Neuron(3), nn.Layer(3, 2), nn.MLP(3, [2, 1])):
        for wrong in ([1.0], [1.0] * 4, []):
            with pytest.raises(ValueError, match=f"takes 3 inputs, got {len(wrong)}"):
                module(wrong)
        with pytest.raises(TypeError, match="an input must be a Value or a real number, not str"):
            module(["x", "y", "z"])


@pytest.mark.parametrize("activation", ["swish", "", "pow", "add", "pown", "maximum", None, 3])
def test_unknown_activations_are_refused(activation):
    with pytest.raises(ValueError, match="activation must be 'linear' or one of"):
        nn.Neuron(2, activation)


@pytest.mark.parametrize("nin, nouts", [(0, [1]), (2, []), (2, [0, 1]), (2, [3, -1])])
def test_sizes_are_checked(nin, nouts):
    with pytest.raises(ValueError, match="sizes must be at least 1"):
        nn.MLP(nin, nouts)
    with pytest.raises(ValueError, match="activation"):
        nn.MLP(2, [3, 1], "tanh", "swish")


# ---- what people change -------------------------------------------------------------------------


def test_weights_that_the_user_replaces_are_used():
    layer = seeded(nn.Layer, 3, 2, 2, "linear")
    neuron, x = layer.neurons[1], [2.0, 3.0]
    neuron.w[0], neuron.b = Value(10.0), Value(100.0)
    neuron.w[1] = 0.5
    assert neuron(x).data == layer(x)[1].data == 100.0 + 20.0 + 1.5
    layer(x)[1].backward()
    assert (neuron.w[0].grad, neuron.b.grad) == (2.0, 1.0)
    neuron.w = (Value(1.0), Value(1.0))
    assert layer(x)[1].data == 105.0


def test_a_neuron_whose_weights_are_all_plain_gives_a_value():
    neuron = nn.Neuron(2, "tanh")
    neuron.w, neuron.b = [0.5, 0.25], 1
    out = neuron([1.0, 2.0])
    assert type(out) is Value and out.data == math.tanh(2.0)


def test_a_neuron_that_the_user_replaces_keeps_its_own_activation():
    layer = seeded(nn.Layer, 4, 2, 2, "tanh")
    layer.neurons[1] = nn.Neuron(2, "linear")
    x = [3.0, -2.0]
    assert [v.data for v in layer(x)] == [n(x).data for n in layer.neurons]


def test_a_neuron_of_another_class_is_called():
    class Constant(nn.Neuron):
        def __call__(self, x):
            return Value(42.0)

    layer = nn.Layer(2, 2)
    layer.neurons[1] = Constant(2)
    assert layer([1.0, 2.0])[1].data == 42.0


@pytest.mark.parametrize("module", ["neuron", "layer"])
def test_an_activation_that_the_user_changes_is_used(module):
    layer = seeded(nn.Layer, 4, 2, 1, "tanh")
    neuron = layer.neurons[0]
    neuron.activation = layer.activation = "linear"
    call = neuron if module == "neuron" else layer
    assert written(call([1.0, 2.0])) == written(expression(neuron, [1.0, 2.0]))


def test_a_patched_neuron_is_respected_by_layers(monkeypatch):
    monkeypatch.setattr(nn.Neuron, "__call__", lambda self, x: self.b * 2)
    model = nn.MLP(3, [2, 2])
    outs = model([1.0, 2.0, 3.0])
    assert [out.data for out in outs] == [2 * n.b.data for n in model.layers[1].neurons]


def test_a_layer_may_be_taken_out_or_put_in():
    model = nn.MLP(3, [4, 2, 1])
    del model.layers[2]
    assert len(model(X)) == 2 and len(model.parameters()) == 16 + 10


# ---- state --------------------------------------------------------------------------------------


def test_state_goes_round():
    model, other = seeded(nn.MLP, 1, 3, [4, 2]), seeded(nn.MLP, 2, 3, [4, 2])
    state = model.state_dict()
    assert {name: array.shape for name, array in state.items()} == {
        "layers.0.weight": (4, 3), "layers.0.bias": (4,),
        "layers.1.weight": (2, 4), "layers.1.bias": (2,),
    }  # fmt: skip
    assert all(array.dtype == np.float64 for array in state.values())
    assert state["layers.1.weight"][1, 2] == model.layers[1].neurons[1].w[2].data
    before = other.parameters()
    other.load_state_dict({name: array.tolist() for name, array in state.items()})
    assert [p.data for p in other.parameters()] == [p.data for p in model.parameters()]
    assert all(p is q for p, q in zip(before, other.parameters()))
    state["layers.0.bias"][:] = 9.0
    assert model.layers[0].neurons[0].b.data != 9.0


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("layers.1.bias"), r"\['layers.1.bias'\]"),
        (lambda s: s.update(other=np.zeros(2)), r"\['other'\]"),
        (lambda s: s.update({"layers.0.weight": np.zeros((3, 4))}), r"'layers.0.weight'.*\(3, 4\)"),
        (lambda s: s.update({"layers.1.bias": 1.0}), r"'layers.1.bias' has shape \(\)"),
        (lambda s: s.update({"layers.1.bias": ["x", "y"]}), "x"),
    ],
)
def test_a_state_that_does_not_fit_says_where_and_changes_nothing(change, message):
    model = seeded(nn.MLP, 1, 3, [4, 2])
    before = [p.data for p in model.parameters()]
    state = {name: array + 1.0 for name, array in model.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert [p.data for p in model.parameters()] == before


# ---- losses -------------------------------------------------------------------------------------

SCORES = [0.3, -1.2, 2.0, 0.0]
SIGNS = [1, 1, -1.0, -1]


def of(numbers) -> list[Value]:
    return [Value(x) for x in numbers]


def test_mse():
    y = of(SCORES)
    loss = losses.mse(y, SIGNS)
    loss.backward()
    differences = np.array(SCORES) - SIGNS
    assert loss.data == pytest.approx(np.mean(differences**2))
    assert [v.grad for v in y] == pytest.approx((differences / 2).tolist())
    assert losses.mse(Value(3.0), 1).data == 4.0
    assert losses.mse(of([3.0]), of([1.0])).data == losses.mse(np.array(of([3.0])), [1]).data == 4.0


def test_hinge():
    s = of(SCORES)
    loss = losses.hinge(s, SIGNS)
    loss.backward()
    margins = 1 - np.array(SIGNS) * SCORES
    assert loss.data == pytest.approx(np.mean(np.maximum(0, margins)))
    expected = np.where(margins > 0, -np.array(SIGNS), 0) / 4
    assert [v.grad for v in s] == pytest.approx(expected.tolist())
    assert losses.hinge(Value(0.25), -1).data == 1.25 and losses.hinge(Value(2.0), 1).data == 0.0


def softmax(rows):
    rows = np.exp(np.array(rows) - np.max(rows, axis=-1, keepdims=True))
    return rows / rows.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("logits", [[0.5, -1.0, 2.0], [3.0], [7.0, 7.0], [1000.0, 999.0]])
def test_log_softmax(logits):
    out = losses.log_softmax(of(logits))
    assert [v.data for v in out] == pytest.approx(np.log(softmax(logits)).tolist())


def test_cross_entropy_of_one_row():
    logits = of([0.5, -1.0, 2.0])
    loss = losses.cross_entropy(logits, 1)
    loss.backward()
    p = softmax([0.5, -1.0, 2.0])
    assert loss.data == pytest.approx(-math.log(p[1]))
    assert [v.grad for v in logits] == pytest.approx((p - [0, 1, 0]).tolist())
    assert losses.cross_entropy(logits, np.int64(1)).data == loss.data
    assert -losses.log_softmax(logits)[1].data == pytest.approx(loss.data)


def test_cross_entropy_of_a_batch_is_the_mean():
    rows, labels = [[0.5, -1.0, 2.0], [1.0, 1.0, 1.0]], np.array([2, 0])
    logits = [of(row) for row in rows]
    loss = losses.cross_entropy(logits, labels)
    loss.backward()
    p = softmax(rows)
    assert loss.data == pytest.approx(-np.mean(np.log(p[[0, 1], labels])))
    expected = (p - np.eye(3)[labels]) / 2
    assert np.allclose([[v.grad for v in row] for row in logits], expected)


@pytest.mark.parametrize("label, loss", [(0, 0.0), (1, 2000.0), (2, 1000.0)])
def test_cross_entropy_of_extreme_logits_is_finite(label, loss):
    logits = of([1000.0, -1000.0, 0.0])
    out = losses.cross_entropy(logits, label)
    out.backward()
    assert out.data == loss
    onehot = [float(i == label) for i in range(3)]
    assert [v.grad for v in logits] == [1.0 - onehot[0], -onehot[1], -onehot[2]]


@pytest.mark.parametrize(
    "compute, message",
    [
        (lambda: losses.mse(of([1.0]), [1.0, 2.0]), "mse: 1 predictions for 2 targets"),
        (lambda: losses.mse([], []), "mse: nothing to average"),
        (lambda: losses.hinge(of([1.0, 2.0]), [1]), "hinge: 2 predictions for 1 targets"),
        (lambda: losses.hinge([], []), "hinge: nothing to average"),
        (lambda: losses.cross_entropy(of([1.0, 2.0]), 2), "label 2 for 2 classes"),
        (lambda: losses.cross_entropy(of([1.0, 2.0]), -1), "label -1 for 2 classes"),
        (lambda: losses.cross_entropy([of([1.0, 2.0])], [5]), "label 5 for 2 classes"),
        (lambda: losses.cross_entropy([of([1.0])], [0, 0]), "1 predictions for 2 targets"),
        (lambda: losses.cross_entropy([], []), "cross_entropy: nothing to average"),
        (lambda: losses.cross_entropy([], 0), "label 0 for 0 classes"),
    ],
)
def test_losses_refuse_what_does_not_fit(compute, message):
    with pytest.raises(ValueError, match=message):
        compute()


def test_losses_serve_the_reference_with_the_same_bits():
    def compute(value):
        s = [value(x) for x in SCORES]
        total = losses.mse(s, SIGNS) + losses.hinge(s, SIGNS) + losses.cross_entropy(s, 2)
        total.backward()
        return [total.data] + [v.grad for v in s]

    assert compute(Value) == compute(reference.Value)


# ---- optimisers ---------------------------------------------------------------------------------

OPTIMISERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1, "momentum": 0.5}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled": True}),
]


def descend(library, value, name, settings, steps=7, change=None):
    """A few steps down a bowl; the parameters after each."""
    parameters = [value(x) for x in (1.0, -2.0, 0.5)]
    optimizer = getattr(library, name)(parameters, **settings)
    path = []
    for step in range(steps):
        if change is not None:
            change(optimizer, step)
        optimizer.zero_grad()
        loss = sum((i + 1.0) * (p - 0.3) ** 2 for i, p in enumerate(parameters))
        loss.backward()
        optimizer.step()
        path.append([p.data for p in parameters])
    return path


def decay(optimizer, step):
    optimizer.lr = 0.1 / (step + 1)


@pytest.mark.parametrize("change", [None, decay])
@pytest.mark.parametrize("name, settings", OPTIMISERS)
def test_optimisers_are_the_references_to_the_last_bit(name, settings, change):
    path = descend(optim, Value, name, settings, change=change)
    assert path == descend(reference, reference.Value, name, settings, change=change)
    assert path[0] != path[1]


def test_lr_may_change_between_steps():
    for name, settings in OPTIMISERS:
        with_change = descend(optim, Value, name, {**settings, "lr": 0.01}, change=decay)
        assert with_change != descend(optim, Value, name, {**settings, "lr": 0.01})


def test_momentum_may_come_later():
    p = Value(1.0)
    sgd = optim.SGD([p], lr=0.1)
    p.grad = 1.0
    sgd.step()
    sgd.momentum = 0.9
    sgd.step()
    sgd.step()
    assert p.data == pytest.approx(1.0 - 0.1 - 0.1 - 0.19)


def test_zero_grad_of_an_optimiser():
    p = Value(1.0)
    p.grad = 5.0
    optim.SGD([p], lr=0.1).zero_grad()
    assert p.grad == 0.0


@pytest.mark.parametrize("name, settings", OPTIMISERS)
def test_the_state_goes_round(name, settings):
    def step(optimizer):
        for p in optimizer.parameters:
            p.grad = 2 * p.data
        optimizer.step()

    first = getattr(optim, name)(iter([Value(1.0), Value(-2.0)]), **settings)
    step(first)
    state = first.state_dict()
    second = getattr(optim, name)([Value(p.data) for p in first.parameters], **settings)
    second.load_state_dict(state)
    assert state["steps"] == first.steps == second.steps == 1
    for array in [v for k, v in state.items() if k != "steps"]:
        assert array.shape == (2,) and array.dtype == np.float64
        array[:] = 1e9
    for _ in range(3):
        step(first)
        step(second)
    assert [p.data for p in second.parameters] == [p.data for p in first.parameters]
    assert second.steps == 4


def test_the_names_of_the_states():
    p = [Value(1.0)]
    assert set(optim.SGD(p, 0.1).state_dict()) == {"steps"}
    assert set(optim.SGD(p, 0.1, momentum=0.9).state_dict()) == {"steps", "velocity"}
    assert set(optim.Adam(p).state_dict()) == {"steps", "mean", "square"}


@pytest.mark.parametrize(
    "state, message",
    [
        ({"steps": 1, "mean": [0.0]}, "needs steps and"),
        ({"steps": 1, "mean": [0.0], "square": [0.0], "x": 1}, "needs steps and"),
        ({"steps": 1, "mean": [1.0], "square": [0.0, 0.0]}, r"square has shape \(2,\)"),
        ({"steps": 1, "mean": [[1.0]], "square": [0.0]}, r"mean has shape \(1, 1\)"),
        ({"steps": "x", "mean": [1.0], "square": [1.0]}, "x"),
    ],
)
def test_an_optimiser_state_that_does_not_fit_changes_nothing(state, message):
    adam = optim.Adam([Value(1.0)])
    with pytest.raises(ValueError, match=message):
        adam.load_state_dict(state)
    assert (adam.steps, adam.mean.tolist(), adam.square.tolist()) == (0, [0.0], [0.0])


@pytest.mark.parametrize(
    "name, settings",
    [
        ("SGD", {"lr": -0.1}),
        ("SGD", {"lr": math.nan}),
        ("SGD", {"lr": math.inf}),
        ("SGD", {"lr": 0.1, "momentum": -0.5}),
        ("SGD", {"lr": 0.1, "weight_decay": -0.5}),
        ("Adam", {"lr": -1.0}),
        ("Adam", {"betas": (1.0, 0.9)}),
        ("Adam", {"betas": (0.9, -0.1)}),
        ("Adam", {"betas": (0.9, math.nan)}),
        ("Adam", {"eps": -1e-8}),
        ("Adam", {"weight_decay": math.nan}),
    ],
)
def test_settings_are_checked(name, settings):
    with pytest.raises(ValueError, match="must be in"):
        getattr(optim, name)([Value(1.0)], **settings)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1), optim.Adam])
def test_parameters_must_be_values(make):
    with pytest.raises(TypeError, match="parameter 1 must be a Value, not float"):
        make([Value(1.0), 2.0])
    with pytest.raises(ValueError, match="no parameters to train: the list is empty"):
        make([])


@pytest.mark.parametrize("name", ["tanh", "__add__", "__mul__"])
def test_what_the_user_patches_in_value_networks_use(monkeypatch, name):
    model = nn.MLP(2, [3, 1])
    plain, original, calls = model([0.5, -1.0]).data, getattr(Value, name), []

    def patched(self, *operands):
        calls.append(name)
        return original(self, *operands)

    monkeypatch.setattr(Value, name, patched)
    assert model([0.5, -1.0]).data == plain
    assert len(calls) == {"tanh": 4, "__add__": 9, "__mul__": 9}[name]


def test_what_the_user_patches_in_value_sum_and_dot_use(monkeypatch):
    add, mul = Value.__add__, Value.__mul__
    monkeypatch.setattr(Value, "__add__", lambda a, b: add(a, b) * 10)
    monkeypatch.setattr(Value, "__mul__", lambda a, b: mul(a, b))
    assert pygradc.sum([Value(1.0), Value(2.0)], Value(0.5)).data == 170.0
    assert pygradc.dot([Value(1.0)], [2.0], Value(3.0)).data == 50.0


# ---- what is no row ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [nn.Neuron, lambda nin: nn.Layer(nin, 2), lambda nin: nn.MLP(nin, [2])]
)
def test_what_yields_names_instead_of_numbers_is_no_row(make: Any) -> None:
    pandas = pytest.importorskip("pandas")
    model = make(2)
    for x in ({0: 5.0, 1: 6.0}, {0.5, 1.5}, frozenset((1.0, 2.0)), {0: 5.0, 1: 6.0}.values()):
        if isinstance(x, (dict, set, frozenset)):
            with pytest.raises(TypeError, match="expected one row of numbers in order, not a"):
                model(x)
        else:
            model(x)
    with pytest.raises(TypeError, match=r"expected one row, got 3 at once \(2 axes\)"):
        model(pandas.DataFrame(np.ones((3, 2))))  # whose columns are called 0 and 1
    expected = numbers_of(model([5.0, 6.0]))
    for x in (pandas.Series([5.0, 6.0], index=[7, 8]), np.array([5.0, 6.0]), (5.0, 6.0)):
        assert numbers_of(model(x)) == expected


@pytest.mark.parametrize("number", [2.0, 2, True, np.float32(2.0), np.array(2.0), Value(2.0)])
def test_a_number_is_a_row_of_one(number: Any) -> None:
    for model in (nn.Neuron(1), nn.Layer(1, 2), nn.MLP(1, [3, 1])):
        given = float(number.data if isinstance(number, Value) else number)
        assert numbers_of(model(number)) == numbers_of(model([given]))


def numbers_of(out: Any) -> list[float]:
    return [v.data for v in (out if isinstance(out, list) else [out])]
