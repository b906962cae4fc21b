"""Does failure behave: the right exception, a message that helps, and the graph as it was?

What goes wrong for eager work: wrong operands, domains, wrong arguments, a backward() that fails in
the middle, Ctrl-C in a long call. Memory that runs out is test_allocations.py's. What needs a
process of its own is a function of this file too, named in SCENARIOS and run by `python
test_errors.py name`.
"""

from __future__ import annotations

import gc
import itertools
import math
import re
import sys
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from alarms import alarm, needs_alarm
from failures import below, deep_graph, ends_well, failure, small_graph, state

import pygradc
from pygradc import Value, live_nodes, losses, nn, optim

# ---- Helpers -------------------------------------------------------------------------------------


def refuses(
    call: Callable[[], Any], kind: type[BaseException], message: str = "", watch: Any = ()
) -> None:
    """call raises just this, its message matches, and the graph is as it was."""
    gc.collect()  # what earlier tests left, or it might go in the middle of this one
    before = state(watch)
    raised, text = failure(call)
    assert raised is kind, text
    assert re.search(message, text), text
    assert state(watch) == before


# ---- Wrong operands ------------------------------------------------------------------------------

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}
NO_NUMBERS: list[Any] = ["x", None, 1j, b"1", [1.0], (1.0,), {}, object()]
each_odd = pytest.mark.parametrize("odd", NO_NUMBERS, ids=lambda x: type(x).__name__)


@each_odd
def test_data_must_be_a_number(odd: Any) -> None:
    name = type(odd).__name__
    refuses(lambda: Value(odd), TypeError, f"data must be a real number, not {name}")
    refuses(lambda: Value(odd, label="a"), TypeError, f"data must be a real number, not {name}")


@each_odd
@pytest.mark.parametrize("symbol", OPERATORS)
def test_operands_must_be_numbers(symbol: str, odd: Any) -> None:
    nodes, apply = small_graph(), OPERATORS[symbol]
    for call in (lambda: apply(nodes[0], odd), lambda: apply(odd, nodes[0])):
        refuses(call, TypeError, "Value", nodes)  # Python's own message, of several kinds
    if not isinstance(odd, (str, bytes, list, tuple)):
        operands = rf"'Value'.*'{type(odd).__name__}'"
        refuses(lambda: apply(nodes[0], odd), TypeError, operands, nodes)


@each_odd
@pytest.mark.parametrize("name", ["add", "mul", "pow", "maximum", "minimum"])
def test_a_method_names_itself_and_what_it_got(name: str, odd: Any) -> None:
    nodes = small_graph()
    message = f"{name} must be a Value or a real number, not {type(odd).__name__}"
    refuses(lambda: getattr(nodes[0], name)(odd), TypeError, message, nodes)


def test_a_value_is_not_data() -> None:
    a = Value(1.0)
    refuses(lambda: Value(a), TypeError, "data must be a real number, not Value", [a])


def test_pow_with_a_modulus_is_refused() -> None:
    nodes = small_graph()
    refuses(lambda: pow(nodes[0], 2, 5), TypeError, r"\*\*|pow", nodes)


class Angry(Fraction):
    """A number that can't say which."""

    def __float__(self) -> float:
        raise KeyError("no number today")


@pytest.mark.parametrize("symbol", OPERATORS)
def test_an_exception_of_a_foreign_number_passes_through(symbol: str) -> None:
    nodes, odd = small_graph(), Angry(1, 2)
    refuses(lambda: OPERATORS[symbol](nodes[0], odd), KeyError, "no number today", nodes)
    refuses(lambda: Value(odd), KeyError, "no number today", nodes)
    refuses(lambda: pygradc.sum([*nodes, odd]), KeyError, "no number today", nodes)


@pytest.mark.parametrize("symbol", OPERATORS)
def test_an_integer_too_large_for_a_float(symbol: str) -> None:
    nodes = small_graph()
    for call in (
        lambda: OPERATORS[symbol](nodes[0], 10**400),
        lambda: OPERATORS[symbol](10**400, nodes[0]),
        lambda: Value(10**400),
    ):
        refuses(call, OverflowError, "int too large", nodes)


# ---- Domains -------------------------------------------------------------------------------------

DOMAINS: list[tuple[str, Callable[[], Any], type[BaseException], str]] = [
    ("a / 0", lambda: Value(2.0) / 0, ZeroDivisionError, r"0\.0 \*\* -1\.0: division by zero"),
    ("a / -0.0", lambda: Value(2.0) / -0.0, ZeroDivisionError, r"-0\.0 \*\* -1\.0"),
    ("a / Value(0)", lambda: Value(2.0) / Value(0.0), ZeroDivisionError, r"0\.0 \*\* -1\.0"),
    ("1 / Value(0)", lambda: 1 / Value(0.0), ZeroDivisionError, r"0\.0 \*\* -1\.0"),
    ("0 ** -1", lambda: Value(0.0) ** -1, ZeroDivisionError, r"0\.0 \*\* -1\.0"),
    ("0 ** -2.5", lambda: Value(0.0) ** -2.5, ZeroDivisionError, r"0\.0 \*\* -2\.5"),
    ("0 ** Value", lambda: 0 ** Value(-1.0), ZeroDivisionError, r"0\.0 \*\* -1\.0"),
    ("log(-1)", lambda: Value(-1.0).log(), ValueError, r"log\(-1\.0\): outside the real domain"),
    ("log(0)", lambda: Value(0.0).log(), ValueError, r"log\(0\.0\): outside the real domain"),
    ("log(-inf)", lambda: Value(-math.inf).log(), ValueError, r"log\(-inf\)"),
    ("sqrt(-2)", lambda: Value(-2.0).sqrt(), ValueError, r"sqrt\(-2\.0\)"),
    ("sin(inf)", lambda: Value(math.inf).sin(), ValueError, r"sin\(inf\)"),
    ("cos(-inf)", lambda: Value(-math.inf).cos(), ValueError, r"cos\(-inf\)"),
    ("cube root", lambda: Value(-8.0) ** (1 / 3), ValueError, r"-8\.0 \*\* 0\.333"),
    ("-8 ** Value", lambda: Value(-8.0) ** Value(0.5), ValueError, r"-8\.0 \*\* 0\.5"),
    ("huge root", lambda: Value(-1e300) ** 1.5, ValueError, r"-1e\+300 \*\* 1\.5"),
    ("exp(1000)", lambda: Value(1000.0).exp(), OverflowError, r"exp\(1000\.0\): .*too large"),
    ("10 ** 400", lambda: Value(10.0) ** 400, OverflowError, r"10\.0 \*\* 400\.0: .*too large"),
    ("10 ** Value", lambda: 10 ** Value(400.0), OverflowError, r"10\.0 \*\* 400\.0"),
    ("1 / 5e-324", lambda: 1 / Value(5e-324), OverflowError, r"5e-324 \*\* -1\.0"),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), [row[1:] for row in DOMAINS], ids=[row[0] for row in DOMAINS]
)
def test_outside_a_domain(call: Callable[[], Any], kind: type[BaseException], message: str) -> None:
    refuses(call, kind, message, small_graph())


def test_a_failed_expression_leaves_nothing_behind() -> None:
    nodes = small_graph()
    a, zero = nodes[0], Value(0.0)
    refuses(lambda: (a * 3 + 1) * (a.exp() / zero), ZeroDivisionError, "", [*nodes, zero])
    refuses(lambda: -a - (a * 2 - 5).log(), ValueError, r"log\(-1\.0\)", [*nodes, zero])


def test_inf_and_nan_of_the_user_are_carried() -> None:
    assert (Value(math.inf) * 2 + 1).data == math.inf
    assert math.isnan((Value(math.nan) / 3).data)
    assert Value(math.inf).exp().data == math.inf
    assert Value(-math.inf).exp().data == 0.0
    assert math.isnan(Value(math.nan).log().data)
    assert (Value(1e308) * 10).data == math.inf  # as Python's floats
    assert math.isnan((Value(math.inf) - math.inf).data)


# ---- Wrong arguments -----------------------------------------------------------------------------


def custom(*args: Any, **kwargs: Any) -> Callable[[], Any]:
    return lambda: Value(*args, **kwargs)


@pytest.mark.parametrize("odd", ["x", None, 1.0], ids=str)
def test_children_must_be_values(odd: Any) -> None:
    nodes = small_graph()
    name = type(odd).__name__
    message = f"child 1 must be a Value, not {name}"
    refuses(custom(1.0, (nodes[0], odd)), TypeError, message, nodes)
    refuses(custom(1.0, children=[nodes[0], odd]), TypeError, message, nodes)
    refuses(custom(1.0, (nodes[0], odd), (1.0, 2.0)), TypeError, message, nodes)


@pytest.mark.parametrize("odd", ["x", None, 1j], ids=str)
def test_local_gradients_must_be_numbers(odd: Any) -> None:
    nodes = small_graph()
    message = f"a local gradient must be a real number, not {type(odd).__name__}"
    refuses(custom(1.0, tuple(nodes[:2]), (1.0, odd)), TypeError, message, nodes)
    refuses(custom(1.0, tuple(nodes[:2]), local_grads=[odd, 1.0]), TypeError, message, nodes)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_local_gradients_as_children(count: int) -> None:
    nodes = small_graph()
    grads = (0.5,) * count
    refuses(custom(1.0, tuple(nodes[:2]), grads), ValueError, "2 children", nodes)
    if grads:
        refuses(custom(1.0, (), grads), ValueError, "0 children", nodes)
        refuses(custom(1.0, local_grads=grads), ValueError, "0 children", nodes)


def test_value_wants_data_and_knows_its_arguments() -> None:
    nodes = small_graph()
    refuses(lambda: Value(), TypeError, "data", nodes)
    refuses(custom(1.0, 2.0), TypeError, "", nodes)
    refuses(custom(1.0, colour="red"), TypeError, "colour", nodes)
    refuses(custom(1.0, tuple(nodes), 3.0), TypeError, "", nodes)


@each_odd
@pytest.mark.parametrize("attribute", ["data", "grad"])
def test_data_and_grad_must_be_numbers(attribute: str, odd: Any) -> None:
    nodes = small_graph()
    message = f"{attribute} must be a real number, not {type(odd).__name__}"
    for node in nodes:
        refuses(lambda node=node: setattr(node, attribute, odd), TypeError, message, nodes)


@pytest.mark.parametrize("attribute", ["data", "grad"])
def test_data_and_grad_can_not_be_deleted(attribute: str) -> None:
    nodes = small_graph()
    refuses(lambda: delattr(nodes[2], attribute), AttributeError, attribute, nodes)


@pytest.mark.parametrize("attribute", ["_children", "_prev", "_local_grads", "_id"])
def test_what_a_node_is_made_of_is_not_for_changing(attribute: str) -> None:
    nodes = small_graph()
    refuses(lambda: setattr(nodes[2], attribute, ()), AttributeError, "", nodes)


@pytest.mark.parametrize("odd", [None, 3, "push"], ids=str)
def test_a_closure_must_be_callable(odd: Any) -> None:
    nodes = small_graph()
    message = f"_backward must be callable, not {type(odd).__name__}"
    refuses(lambda: setattr(nodes[2], "_backward", odd), TypeError, message, nodes)
    nodes[3].backward()


@pytest.mark.parametrize("name", ["nope", "", "add", "pown", "maximum", "ReLU", None])
@pytest.mark.parametrize("module", [nn.Neuron, nn.Layer, nn.MLP])
def test_an_unknown_activation_is_named(module: Any, name: Any) -> None:
    shape: tuple[Any, ...] = {nn.Neuron: (2,), nn.Layer: (2, 3), nn.MLP: (2, [3, 1])}[module]
    message = f"activation must be 'linear' or one of .*'tanh'.*, not {name!r}"
    refuses(lambda: module(*shape, name), ValueError, message)


@pytest.mark.parametrize("sizes", [[], [0], [3, 0, 1], [3, -1]], ids=str)
def test_a_network_needs_layers_with_neurons(sizes: list[int]) -> None:
    refuses(lambda: nn.MLP(2, sizes), ValueError, "MLP: sizes")
    refuses(lambda: nn.MLP(0, [1]), ValueError, "MLP: sizes")


MODULES: list[Callable[[], Any]] = [
    lambda: nn.Neuron(2),
    lambda: nn.Layer(2, 3),
    lambda: nn.MLP(2, [3, 1]),
]
each_module = pytest.mark.parametrize("make", MODULES, ids=["Neuron", "Layer", "MLP"])


@each_module
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_inputs(make: Callable[[], Any], count: int) -> None:
    module = make()
    refuses(lambda: module([1.0] * count), ValueError, f"takes 2 inputs, got {count}")


@each_module
@pytest.mark.parametrize("odd", ["x", None, 1j, [1.0]], ids=str)
def test_inputs_must_be_numbers(make: Callable[[], Any], odd: Any) -> None:
    module = make()
    message = f"an input must be a Value or a real number, not {type(odd).__name__}"
    refuses(lambda: module([1.0, odd]), TypeError, message, module.parameters())


def layer_with(attribute: str, odd: Any) -> nn.Layer:
    """A layer whose last neuron has something odd."""
    layer = nn.Layer(2, 3)
    setattr(layer.neurons[-1], attribute, odd)
    return layer


@pytest.mark.parametrize(
    ("attribute", "odd", "kind", "message"),
    [
        ("w", [1.0, "x"], TypeError, "a weight must be a Value or a real number, not str"),
        ("w", (None, 1.0), TypeError, "a weight must be .*, not NoneType"),
        ("w", "ab", TypeError, "a weight must be .*, not str"),
        ("w", None, TypeError, "weights must be a sequence"),
        ("w", 3.0, TypeError, "weights must be a sequence"),
        ("w", [1.0], ValueError, "1 weights"),
        ("w", (1.0, 2.0, 3.0), ValueError, "3 weights"),
        ("w", [], ValueError, "0 weights"),
        ("w", [1.0, Angry(1, 2)], KeyError, "no number today"),
        ("b", "x", TypeError, "a bias must be a Value or a real number, not str"),
        ("b", None, TypeError, "a bias must be .*, not NoneType"),
        ("b", [1.0], TypeError, "a bias must be .*, not list"),
    ],
)
def test_odd_weights(attribute: str, odd: Any, kind: type[BaseException], message: str) -> None:
    layer = layer_with(attribute, odd)
    refuses(lambda: layer([1.0, Value(2.0)]), kind, message)


@pytest.mark.parametrize(
    "weights",
    [(1.0, 2.0), np.array([1.0, 2.0]), [np.float32(1), True], [Value(1.0), 2], range(1, 3)],
    ids=lambda weights: type(weights).__name__,
)
def test_weights_may_be_any_sequence_of_numbers(weights: Any) -> None:
    layer = layer_with("w", weights)
    layer.neurons[-1].b = 0.5
    numbers = [w.data if isinstance(w, Value) else float(w) for w in weights]
    expected = sum(w * x for w, x in zip(numbers, (3.0, 4.0))) + 0.5
    assert layer([3.0, 4.0])[-1].data == math.tanh(expected)


def test_a_layer_that_fails_in_a_later_neuron_leaves_nothing_behind() -> None:
    layer = nn.Layer(1, 4, "log")
    for neuron, b in zip(layer.neurons, (5.0, 6.0, -7.0, 8.0)):
        neuron.w[0].data, neuron.b.data = 0.5, b
    refuses(lambda: layer([2.0]), ValueError, r"log\(-6\.0\)", layer.parameters())
    layer.neurons[2].b.data = 7.0
    assert [out.data for out in layer([2.0])] == [math.log(x) for x in (6.0, 7.0, 8.0, 9.0)]


def test_sum_and_dot() -> None:
    nodes = small_graph()
    refuses(lambda: pygradc.sum([*nodes, "x"]), TypeError, "sum: .*not str", nodes)
    refuses(lambda: pygradc.sum(nodes, None), TypeError, "sum: start .*not NoneType", nodes)
    refuses(lambda: pygradc.sum(5), TypeError, "int", nodes)
    refuses(lambda: pygradc.dot(nodes, nodes[1:]), ValueError, "4 weights for 3 inputs", nodes)
    refuses(lambda: pygradc.dot(nodes[:1], ["x"]), TypeError, "an input .*not str", nodes)
    refuses(lambda: pygradc.dot(["x"], nodes[:1]), TypeError, "a weight .*not str", nodes)
    refuses(lambda: pygradc.dot([], [], "x"), TypeError, "a bias .*not str", nodes)


def broken_iterator() -> Iterable[Value]:
    yield Value(1.0)
    raise LookupError("no more")


def test_an_iterator_that_breaks_off() -> None:
    nodes = small_graph()
    refuses(lambda: pygradc.sum(broken_iterator()), LookupError, "no more", nodes)
    refuses(lambda: pygradc.dot(broken_iterator(), nodes), LookupError, "no more", nodes)
    refuses(custom(1.0, broken_iterator()), LookupError, "no more", nodes)


@pytest.mark.parametrize("label", [-1, 2, 100])
def test_cross_entropy_names_a_label_without_class(label: int) -> None:
    logits = small_graph()[:2]
    message = f"label {label} for 2 classes"
    refuses(lambda: losses.cross_entropy(logits, label), ValueError, message, logits)
    refuses(lambda: losses.cross_entropy([logits, logits], [0, label]), ValueError, message, logits)


def test_losses_need_as_many_targets_as_predictions() -> None:
    nodes = small_graph()
    for loss in (losses.mse, losses.hinge):
        refuses(lambda loss=loss: loss(nodes, [1.0]), ValueError, "4 predictions for 1", nodes)
        refuses(lambda loss=loss: loss([], []), ValueError, "nothing to average", nodes)


# ---- Optimisers ----------------------------------------------------------------------------------

SETTINGS: list[tuple[Any, dict[str, Any], str]] = [
    (optim.SGD, {"lr": -0.1}, "lr must be"),
    (optim.SGD, {"lr": math.nan}, "lr must be"),
    (optim.SGD, {"lr": math.inf}, "lr must be"),
    (optim.SGD, {"lr": 0.1, "momentum": -0.5}, "momentum must be"),
    (optim.SGD, {"lr": 0.1, "weight_decay": math.nan}, "weight_decay must be"),
    (optim.RMSprop, {"lr": -0.1}, "lr must be"),
    (optim.RMSprop, {"alpha": 1.0}, "alpha must be"),
    (optim.RMSprop, {"eps": 0.0}, "eps must be"),
    (optim.RMSprop, {"momentum": -0.1}, "momentum must be"),
    (optim.RMSprop, {"weight_decay": math.inf}, "weight_decay must be"),
    (optim.Adam, {"lr": -0.1}, "lr must be"),
    (optim.Adam, {"betas": (1.0, 0.9)}, r"betas\[0\] must be"),
    (optim.Adam, {"betas": (0.9, -0.1)}, r"betas\[1\] must be"),
    (optim.Adam, {"betas": (0.9, math.nan)}, r"betas\[1\] must be"),
    (optim.Adam, {"eps": -1e-8}, "eps must be"),
    (optim.Adam, {"weight_decay": -1.0}, "weight_decay must be"),
]


@pytest.mark.parametrize(("optimiser", "settings", "message"), SETTINGS)
def test_a_setting_out_of_range_is_named(
    optimiser: Any, settings: dict[str, Any], message: str
) -> None:
    nodes = small_graph()
    refuses(lambda: optimiser(nodes, **settings), ValueError, message, nodes)


@pytest.mark.parametrize("optimiser", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("odd", ["x", 1.0, None], ids=str)
def test_parameters_must_be_values(optimiser: Any, odd: Any) -> None:
    nodes = small_graph()
    message = f"parameter 1 must be a Value, not {type(odd).__name__}"
    refuses(lambda: optimiser([nodes[0], odd], lr=0.1), TypeError, message, nodes)


def make_optimiser(name: str, parameters: list[Value]) -> optim.Optimizer:
    if name == "SGD":
        return optim.SGD(parameters, lr=0.1, momentum=0.9)
    if name == "RMSprop":
        return optim.RMSprop(parameters, lr=0.1, momentum=0.9)
    return optim.Adam(parameters, lr=0.1)


STATES = [
    ("SGD", "velocity"),
    ("RMSprop", "square"),
    ("RMSprop", "velocity"),
    ("Adam", "mean"),
    ("Adam", "square"),
]


@pytest.mark.parametrize(("name", "array"), STATES)
@pytest.mark.parametrize(
    "odd",
    [np.zeros(3), np.zeros(5), np.zeros(4, np.float32), np.zeros(4, np.int64), np.zeros(8)[::2]],
    ids=["short", "long", "float32", "int64", "strided"],
)
def test_a_step_with_spoilt_state_changes_nothing(name: str, array: str, odd: Any) -> None:
    nodes = small_graph()
    optimiser = make_optimiser(name, nodes)
    setattr(optimiser, array, odd)
    refuses(optimiser.step, ValueError, "", nodes)
    assert optimiser.steps == 0 and not odd.any()


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam"])
def test_a_step_with_a_spoilt_parameter_or_setting_changes_nothing(name: str) -> None:
    nodes = small_graph()
    optimiser = make_optimiser(name, nodes)
    optimiser.parameters = [*nodes[:3], "x"]  # type: ignore[list-item]
    refuses(optimiser.step, TypeError, "parameter 3 must be a Value, not str", nodes)
    refuses(optimiser.zero_grad, TypeError, "parameter 3 must be a Value, not str", nodes)
    optimiser.parameters = nodes
    optimiser.lr = "fast"  # type: ignore[attr-defined]
    refuses(optimiser.step, TypeError, "", nodes)
    assert optimiser.steps == 0


@pytest.mark.parametrize(("name", "array"), STATES)
def test_state_that_does_not_fit_is_not_loaded(name: str, array: str) -> None:
    nodes = small_graph()
    optimiser = make_optimiser(name, nodes)
    good = optimiser.state_dict()
    missing = {key: value for key, value in good.items() if key != array}
    for bad, message in (({**good, array: [1.0]}, array), (missing, "state_dict needs")):
        refuses(lambda bad=bad: optimiser.load_state_dict(bad), ValueError, message, nodes)
    assert all(np.array_equal(optimiser.state_dict()[key], good[key]) for key in good)


# ---- A backward() that fails in the middle -------------------------------------------------------


def raise_this(error: BaseException) -> None:
    raise error


def sqrt_at_zero(node: Value) -> Value:
    return (node * 0.0).sqrt() + node


def log_then_zero(node: Value) -> Value:
    inner = node + 1.0
    y = inner.log() + node
    inner.data = 0.0
    return y


def power_then_negative(node: Value) -> Value:
    inner = node + 1.0
    y = inner**2.5 + node
    inner.data = -1.0
    return y


def power_then_huge(node: Value) -> Value:
    inner = node + 1.0
    y = inner**3 + node
    inner.data = 1e300
    return y


def closure_raises(node: Value) -> Value:
    y = Value(node.data, (node,), "odd")
    y._backward = lambda: raise_this(LookupError("in the closure"))
    return y


def closure_exits(node: Value) -> Value:
    y = Value(node.data, (node,), "odd")
    y._backward = lambda: raise_this(SystemExit("in the closure"))
    return y


def closure_writes_then_raises(node: Value) -> Value:
    y = Value(node.data, (node,), "odd")

    def backward() -> None:
        node.grad = 99.0
        y.grad = 98.0
        raise LookupError("in the closure")

    y._backward = backward
    return y


def closure_builds_then_raises(node: Value) -> Value:
    """The arena grows under the sweep."""
    y = Value(node.data, (node,), "odd")

    def backward() -> None:
        kept = [Value(float(i)) * node for i in range(5000)]
        raise LookupError(f"in the closure {len(kept)}")

    y._backward = backward
    return y


BREAKS: list[tuple[Callable[[Value], Value], type[BaseException], str]] = [
    (sqrt_at_zero, ZeroDivisionError, r"derivative of sqrt\(0\.0\) with .* first operand"),
    (log_then_zero, ZeroDivisionError, r"derivative of log\(0\.0\)"),
    (power_then_negative, ValueError, r"derivative of -1\.0 \*\* 2\.5"),
    (power_then_huge, OverflowError, r"derivative of 1e\+300 \*\* 3\.0"),
    (closure_raises, LookupError, "in the closure"),
    (closure_exits, SystemExit, "in the closure"),
    (closure_writes_then_raises, LookupError, "in the closure"),
    (closure_builds_then_raises, LookupError, "in the closure 5000"),
]
each_break = pytest.mark.parametrize(
    ("break_it", "kind", "message"), BREAKS, ids=[row[0].__name__ for row in BREAKS]
)


@each_break
def test_a_backward_that_fails_changes_no_gradient(
    break_it: Callable[[Value], Value], kind: type[BaseException], message: str
) -> None:
    nodes = deep_graph(break_it)
    everything = below(nodes[-1])
    assert len(everything) > len(nodes)
    refuses(nodes[-1].backward, kind, message, everything)


@each_break
def test_a_graph_can_be_used_after_a_failure(
    break_it: Callable[[Value], Value], kind: type[BaseException], message: str
) -> None:
    nodes = deep_graph(break_it)
    refuses(nodes[-1].backward, kind, message)
    nodes[1].backward()  # below the break
    assert (nodes[0].grad, nodes[1].grad) == (0.25 + 0.5, 1.0)
    root = nodes[0] * nodes[-1].data
    root.backward()
    assert nodes[0].grad == 0.75 + nodes[-1].data
    refuses(nodes[-1].backward, kind, message, nodes)


def test_a_failure_goes_when_its_cause_does() -> None:
    x = Value(0.0)
    y = (x + 0.0).sqrt() + 1
    refuses(y.backward, ZeroDivisionError, "sqrt", [x, y])
    inner = next(node for node in below(y) if node._op == "sqrt")
    inner.data = 2.0
    y.backward()
    assert x.grad == 0.25


def test_pushing_a_single_node_that_fails_changes_nothing() -> None:
    x = Value(0.0)
    y = x.sqrt()
    y.grad = 2.0
    refuses(y._backward, ZeroDivisionError, r"derivative of sqrt\(0\.0\)", [x, y])


def test_a_failure_within_a_closure_can_be_survived() -> None:
    x, other = Value(3.0), Value(0.0)
    failing = other.sqrt() + 1
    y = Value(3.0, (x,), "odd")

    def backward() -> None:
        refuses(failing.backward, ZeroDivisionError, "sqrt", [other, failing])
        x.grad += 2.0 * y.grad

    y._backward = backward
    (y * 5).backward()
    assert (x.grad, other.grad) == (10.0, 0.0)


# ---- A number that changes what is being read ----------------------------------------------------


class Meddler(Fraction):
    """A number that does something before it says which."""

    deed: Callable[[], Any] = staticmethod(lambda: None)

    def __float__(self) -> float:
        self.deed()
        return 0.5


def meddle() -> None:
    """Whatever a number does to the lists that it stands in: an exception or a result, no crash."""
    deeds: list[Callable[[list[Any]], Any]] = [
        lambda weights: weights.extend([0.5] * 1_000_000),
        lambda weights: weights.clear(),
        lambda weights: weights.pop(),
        lambda weights: [weights.clear(), [Value(9.0) for _ in range(5000)]],
        lambda weights: weights.__setitem__(slice(None), ["x"] * len(weights)),
    ]
    for deed, place in itertools.product(deeds, range(3)):
        for call in (call_layer, call_sum):
            weights: list[Any] = [Value(1.0), Value(2.0), Value(3.0)]
            weights[place] = meddler = Meddler(1, 2)
            meddler.deed = lambda deed=deed, weights=weights: deed(weights)  # type: ignore
            raised, text = failure(lambda call=call, weights=weights: call(weights))
            assert raised in (None, TypeError, ValueError, RuntimeError), text
    assert (Value(2.0) * 3).data == 6.0


def meddle_with_what_was_read() -> None:
    """A late number drops a weight that was read already, and new Values take its place."""
    layer, kept = nn.Layer(1, 2, "linear"), []
    layer.neurons[0].w, layer.neurons[0].b = [Value(2.0)], 0.0
    layer.neurons[1].b = meddler = Meddler(1, 2)

    def replace() -> None:
        layer.neurons[0].w[0] = 0.0
        kept.extend(Value(100.0) for _ in range(3))

    meddler.deed = replace
    outs: list[Value] = []
    raised, text = failure(lambda: outs.extend(layer([1.0])))
    assert raised in (None, RuntimeError), text
    for out in outs[:1]:
        out.backward()
        assert out.data == 2.0
    assert [v.grad for v in kept] == [0.0] * 3


def call_layer(weights: list[Any]) -> None:
    layer = nn.Layer(3, 2)
    layer.neurons[0].w = weights
    for out in layer([1.0, 2.0, 3.0]):
        out.backward()


def call_sum(weights: list[Any]) -> None:
    pygradc.sum(weights).backward()


# ---- Ctrl-C --------------------------------------------------------------------------------------

NODES = 5_200_000
SENTINEL = 7.0


def long_graph() -> tuple[Value, list[Value]]:
    """A root over NODES nodes, whose derivatives take their time; and some of the nodes."""
    x = Value(1e300)
    total, some = x, [x]
    for i in range(NODES // 2):
        total = total + x.sin()
        if i % 10_000 == 0:
            some += [total, *total._children]
    return total, [*some, total]


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interrupt_backward() -> None:
    root, some = long_graph()
    assert live_nodes() >= NODES
    root.backward()
    usual = min(seconds(root.backward) for _ in range(3))
    for part in (0.02, 0.2, 0.4, 0.6):
        for node in some:
            node.grad = SENTINEL
        with alarm(part * usual):
            root.backward()
        assert {node.grad for node in some} == {SENTINEL}
    some[0].grad = 0.0
    root.backward()
    assert root.grad == 1.0
    assert math.isclose(some[0].grad, 1.0 + NODES // 2 * math.cos(1e300), rel_tol=1e-9)


# ---- Processes of their own ----------------------------------------------------------------------

SCENARIOS: dict[str, Callable[[], None]] = {
    "meddle": meddle,
    "meddle with what was read": meddle_with_what_was_read,
    "interrupt": interrupt_backward,
}


@pytest.mark.parametrize("scenario", ["meddle", "meddle with what was read"])
def test_a_number_may_change_the_list_that_it_stands_in(scenario: str) -> None:
    ends_well(__file__, scenario)


@needs_alarm
def test_ctrl_c_stops_a_long_backward() -> None:
    ends_well(__file__, "interrupt")


def test_a_scenario_that_fails_is_noticed() -> None:
    with pytest.raises(AssertionError, match="ended with"):
        ends_well(__file__, "no_such_scenario")


if __name__ == "__main__":
    SCENARIOS[sys.argv[1]]()
    print(f"{sys.argv[1]}: done")
