"""Does a recording notice whatever it can't record, say where, and leave everything as it was?

And what it can record besides arithmetic: choices, detached Values, other recorded functions.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import inspect
import itertools
import linecache
import math
import operator
import pickle
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpys import HANDS_ON
from programs import Case, bits, eager, eager_row, first_difference, recorded_rows, row_difference

import pygradc
from pygradc import TraceError, Value, compile, detach, live_nodes, maximum, minimum, where
from pygradc.core.refusals import tracing

# ---- What asks for a number that there isn't -----------------------------------------------------


def helper(y: Value) -> float:
    return y.data * 2  # here, of the functions that call it


def reads_data(x: Value) -> Any:
    return x * (x * 2).data  # here


def reads_data_of_an_input(x: Value) -> Any:
    return x * x.data  # here


def converts(x: Value) -> Any:
    return x * float(x.tanh())  # here


def asks_for_truth(x: Value) -> Any:
    return x * bool(x + 1)  # here


def negates(x: Value) -> Any:
    return x * (not x.relu())  # here


def branches(x: Value) -> Any:
    if x.sin() > 0:  # here
        return x
    return -x


def chooses(x: Value) -> Any:
    half = 0.5
    return x if half < x.exp() else -x  # here


def chains_comparisons(x: Value) -> Any:
    return x if 0.0 < x * x < 1.0 else -x  # here


def combines(x: Value) -> Any:
    return x if x > 0.0 and x < 1.0 else -x  # here


def loops(x: Value) -> Any:
    while x.abs() > 1.0:  # here
        x = x * 0.5
    return x


def assigns_data(x: Value) -> Any:
    y = x * x
    y.data = 1.0  # here
    return y


def takes_a_root(x: Value) -> Any:
    return x * math.sqrt(x + 2)  # here


def rounds_down(x: Value) -> Any:
    return x * int(x + 2)  # here


def takes_the_larger(x: Value) -> Any:
    return max(x * 2, x.tanh())  # here


def takes_the_smaller(x: Value) -> Any:
    return min([x * 2, x.tanh()])  # here


def sorts(x: Value) -> Any:
    return sorted([x * 2, x, x.tanh()])[0]  # here


def makes_an_array(x: Value) -> Any:
    return x * np.array([x * 2], dtype=np.float64)[0]  # here


def formats(x: Value) -> Any:
    return x * len(f"{x * 2:.3f}")  # here


def in_a_helper(x: Value) -> Any:
    return x * helper(x.log())


def in_a_comprehension(x: Value) -> Any:
    return sum(
        x * y.data  # here
        for y in [Value(1.0), x * 2]
    )


def in_a_key(x: Value) -> Any:
    return sorted([x + 1, x], key=lambda y: y.data)[0]  # here


def in_the_library(x: Value) -> Any:
    return pygradc.nn.Neuron(1)([float(x**2)])  # here


def after_a_choice(x: Value) -> Any:
    return x * where(x > 0, x, 1.0).data  # here


def after_detaching(x: Value) -> Any:
    return x * detach(x).data  # here


def pushes_back(x: Value) -> Any:
    y = x * x
    y.backward()  # here
    return y * x.grad


def pushes_one_back(x: Value) -> Any:
    y = x * x
    y._backward()  # here
    return y


def reads_a_gradient(x: Value) -> Any:
    return x * x.grad  # here


def assigns_a_gradient(x: Value) -> Any:
    x.grad = 1.0  # here
    return x


def is_equal(x: Value) -> Any:
    return x if x.tanh() == 1 else -x  # here


def differs(x: Value) -> Any:
    return x if 1.0 != x else -x  # here  # noqa: SIM300


def is_one_of(x: Value) -> Any:
    return x if x in (1, 2.0) else -x  # here


def is_another_value(x: Value) -> Any:
    return x if x * 2 == x else -x  # here


def is_no_other_value(x: Value) -> Any:
    return x if x != x * 2 else -x  # here


def converts_to_int(x: Value) -> Any:
    return x * int(x * 2)  # here


def rounds(x: Value) -> Any:
    return x * round(x, 2)  # here


def indexes(x: Value) -> Any:
    return [x, -x][x]  # here


def counts(x: Value) -> Any:
    return sum(x for _ in range(x))  # here


def copies(x: Value) -> Any:
    return x * copy.copy(x)  # here


def copies_deeply(x: Value) -> Any:
    return x + len(copy.deepcopy([x * 2]))  # here


def pickles(x: Value) -> Any:
    return x * len(pickle.dumps({"x": x}))  # here


def stacks(x: Value) -> Any:
    return x * pygradc.data([x, 1.0])[0]  # here


def stacks_gradients(x: Value) -> Any:
    return x * pygradc.grads([x])[0]  # here


def sets_data(x: Value) -> Any:
    pygradc.set_data([x], [1.0])  # here
    return x


def clears_gradients(x: Value) -> Any:
    pygradc.clear_grads(x * x)  # here
    return x


def asks_for_derivatives(x: Value) -> Any:
    return x * (x * x)._local_grads[0]  # here


def interpolates(x: Value) -> Any:
    return x * np.interp(x, [0, 1], [2, 3])  # here


def fills_an_array(x: Value) -> Any:
    array = np.zeros(2)
    array[0] = x * x  # here
    return x * array[0]


ASKING: list[tuple[Callable[..., Any], str, str, str]] = [
    # function, what it asked, what made the Value, the remedy
    (reads_data, r"\.data", r"'\*'", "detach"),
    (reads_data_of_an_input, r"\.data", "an input", "compute with the Value itself"),
    (converts, r"float\(\)", "'tanh'", "compute with the Value itself"),
    (asks_for_truth, r"bool\(\)", r"'\+'", "where"),
    (negates, r"bool\(\)", "'ReLU'", "where"),
    (branches, r"bool\(\)", r"comparison '.*x\.sin\(\) > 0\b", "where"),
    (chooses, r"bool\(\)", r"comparison '.*half < x\.exp\(\)", "where"),
    (chains_comparisons, r"bool\(\)", r"comparison '.*0\.0 < x \* x", "where"),
    (combines, r"bool\(\)", r"comparison '.*x > 0\.0", "where"),
    (loops, r"bool\(\)", r"comparison '.*x\.abs\(\) > 1\.0", "where"),
    (assigns_data, r"assigning \.data", r"'\*'", "a new Value"),
    (takes_a_root, r"float\(\)", r"'\+'", "compute with the Value itself"),
    (rounds_down, r"int\(\)", r"'\+'", "look it up with pygradc.take"),
    (takes_the_larger, r"bool\(\)", r"comparison '.*max\(x \* 2, x\.tanh\(\)\)", "maximum"),
    (takes_the_smaller, r"bool\(\)", r"comparison '.*min\(\[x \* 2, x\.tanh\(\)\]\)", "minimum"),
    (sorts, r"bool\(\)", r"comparison '.*sorted\(\[", "where"),
    (makes_an_array, r"float\(\)", r"'\*'", "compute with the Value itself"),
    (formats, "a format", r"'\*'", "return the Value as well"),
    (in_a_helper, r"\.data", "'log'", "compute with the Value itself"),
    (in_a_comprehension, r"\.data", r"'\*'", "compute with the Value itself"),
    (in_a_key, r"\.data", r"'\+'", "compute with the Value itself"),
    (in_the_library, r"float\(\)", r"'\*\*2'", "compute with the Value itself"),
    (after_a_choice, r"\.data", "'?where\\b", "compute with the Value itself"),
    (after_detaching, r"\.data", "'?detach\\b", "compute with the Value itself"),
    (pushes_back, r"backward\(\)", r"'\*'", r"call backward\(\) on what"),
    (pushes_one_back, r"_backward\(\)", r"'\*'", r"call backward\(\) on what"),
    (reads_a_gradient, r"\.grad", "an input", "read gradients after that"),
    (assigns_a_gradient, r"assigning \.grad", "an input", "outside of recorded functions"),
    (is_equal, r"bool\(\)", r"comparison '.*x\.tanh\(\) == 1", "where"),
    (differs, r"bool\(\)", r"comparison '.*1\.0 != x", "where"),
    (is_one_of, r"bool\(\)", r"comparison '.*x in \(1, 2\.0\)", "where"),
    (is_another_value, "==", r"'\*'", "a is b"),
    (is_no_other_value, "!=", "an input", "a is b"),
    (converts_to_int, r"int\(\)", r"'\*'", "look it up with pygradc.take"),
    (rounds, r"round\(\) to digits", "an input", r"write \(v \* 10\*\*n\)\.round\(\)"),
    (indexes, "an index or integer", "an input", "look it up with pygradc.take"),
    (counts, "an index or integer", "an input", "a keyword argument"),
    (copies, "a copy", "an input", "make the copy before"),
    (copies_deeply, "a copy", r"'\*'", "make the copy before"),
    (pickles, "a copy", "an input", "make the copy before"),
    (stacks, r"data\(\)", "an input", "stack the Values themselves"),
    (stacks_gradients, r"grads\(\)", "an input", "read gradients after that"),
    (sets_data, r"assigning \.data", "an input", "a new Value"),
    (clears_gradients, r"clear_grads\(\)", r"'\*'", "outside of recorded functions"),
    (asks_for_derivatives, r"\._local_grads", r"'\*'", "write the derivative"),
    (interpolates, r"float\(\)", "an input", "compute with the Value itself"),
    (fills_an_array, r"float\(\)", r"'\*'", "compute with the Value itself"),
]
ids = [row[0].__name__ for row in ASKING]
LOSING = (
    converts,
    takes_a_root,
    rounds_down,
    makes_an_array,
    in_the_library,
    converts_to_int,
    rounds,
    indexes,
    counts,
    interpolates,
    fills_an_array,
)


def place(function: Callable[..., Any]) -> str:
    """This file and the line that the function, or its helper, marks."""
    lines, first = inspect.getsourcelines(function)
    if function is in_a_helper:
        lines, first = inspect.getsourcelines(helper)
    (offset,) = (i for i, line in enumerate(lines) if "# here" in line)
    return f"{__file__}:{first + offset}: "


@pytest.mark.parametrize(("function", "asked", "made_by", "remedy"), ASKING, ids=ids)
def test_asking_for_a_number_says_where_and_what_to_do(
    function: Callable[..., Any], asked: str, made_by: str, remedy: str
) -> None:
    f = compile(function)
    for call in (lambda: f(0.5), lambda: f(Value(0.5)), lambda: f.sum(np.ones(3))):
        with pytest.raises(TraceError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(place(function)), message
        assert re.search(f"{asked} of a Value made by (the )?{made_by}", message), message
        assert re.search(f"Instead, .*{remedy}", message), message


@pytest.mark.parametrize("function", [row[0] for row in ASKING], ids=ids)
def test_after_a_trace_error_nothing_is_broken(function: Callable[..., Any]) -> None:
    w = Value(3.0)
    good, bad = compile(lambda x: x * w), compile(function)
    good(1.0)
    gc.collect()
    nodes = live_nodes()
    for _ in range(3):
        with pytest.raises(TraceError):
            bad(0.5)
    gc.collect()
    assert live_nodes() == nodes and bad.programs == () and not tracing()
    assert bool(Value(0.5) * 2 > 0.0)
    if function in LOSING:  # also without a recording
        with pytest.raises(TypeError, match=r"Value|float") as caught:
            function(Value(0.5))
        assert not isinstance(caught.value, TraceError)
    else:
        assert function(Value(0.5)) is not None
    assert good(2.0).data == 6.0 and compile(lambda x: x * w + 1)(2.0).data == 7.0
    assert w.grad == 0.0


def test_a_trace_error_is_a_type_error() -> None:
    assert issubclass(TraceError, TypeError) and pygradc.TraceError is TraceError


def test_backward_has_no_place_in_a_recording() -> None:
    w = Value(2.0)

    def function(x: Value) -> Value:
        y = x * w
        y.backward()
        return y * x.grad

    with pytest.raises(TraceError):
        compile(function)(3.0)
    assert w.grad == 0.0
    assert function(Value(3.0)).data == 12.0


@pytest.mark.parametrize("root", [lambda x: x * 2.0, lambda x: W, lambda x: Value(2.0) * 3])
def test_a_drawing_has_no_place_in_a_recording(root: Callable[[Value], Value]) -> None:
    def draws(x: Value) -> Value:
        pygradc.draw_dot(root(x))
        return x

    def draws_itself(x: Value) -> Value:
        root(x).draw_dot()
        return x

    for function in (draws, draws_itself):
        with pytest.raises(TraceError, match=r": draw_dot\(\) while a function is recorded"):
            compile(function)(3.0)


W = Value(2.0)


# ---- What has a number ---------------------------------------------------------------------------

P, Q = Value(2.0), Value(-3.0)

ALLOWED: dict[str, Callable[[Value], Any]] = {
    "a constant": lambda x: x * Value(2.5).data,
    "a constant's node": lambda x: x * (Value(2.5) * 2).tanh().data,
    "a constant's truth": lambda x: x * 2 if Value(2.5) else x,
    "a constant's comparison": lambda x: x * 2 if Value(2.5) > Value(1.0) * 3 else x,
    "a constant's number": lambda x: x * 2 if Value(2.5) == 2.5 and Value(2.5) != 2 else x,
    "constants in a tuple": lambda x: x * 2 if Value(2.0) in (1, 2) else x,
    "larger constant": lambda x: x * max(Value(2.5), Value(3.5)) + sorted([Value(2), Value(1)])[0],
    "a detached constant": lambda x: x * detach(Value(2.5)).data,
    "a chosen constant": lambda x: x * where(Value(2.5) > 1, Value(2.5), Value(1.0)).data,
    "a format of constants": lambda x: x * len(f"{Value(2.5):.3f}{Value(2.0)!r}"),
    "a constant that is set": lambda x: x * assigned(Value(2.5), 3.5),
    "a constant's gradient": lambda x: x * gradient_of(Value(2.5)),
    "a constant's copy": lambda x: x * copy.copy(Value(2.5)) * copy.deepcopy(Value(2.5) * 2),
    "constants' data": lambda x: x * pygradc.data([Value(2.5), Value(1.5)]).sum(),
    "a detached parameter": lambda x: x * detach(P),
    "a detached parameter's node": lambda x: x * (detach(P) * Q),
    "a chosen parameter": lambda x: x * where(P > Q, P, Q),
    "a parameter that is equal": lambda x: x * where(P == 2.0, P, Q),
    "a parameter that differs": lambda x: x * where(P != 2.0, P, Q),
    "parameters by a bool": lambda x: where(True, P, Q) + where(False, P, 1.0) * x,
    "a parameter's repr": lambda x: x * bool(f"{P}{P!r}{P * x}"),
    "the same parameter": lambda x: x * 2 if P == P and not P != P else x,  # noqa: SIM202
}


def assigned(c: Value, data: float) -> Value:
    c.data = data
    return c


def gradient_of(c: Value) -> float:
    (c * c).backward()
    return c.grad


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_the_same_after_a_parameter_was_set_may_be_asked(name: str) -> None:
    case = Case(ALLOWED[name], 1, [P, Q])
    f = compile(case.function)
    f(0.5)
    for p, q in ((2.0, -3.0), (-3.0, 2.0), (2.5, 2.5)):
        P.data, Q.data = p, q
        rows = case.rows(9)
        table = eager(case, rows)
        for ours, theirs in zip(recorded_rows(f, rows), (table.data, table.inputs)):
            assert first_difference(ours, theirs) is None
        assert row_difference(f, case, [0.7], eager_row(case, [0.7])) is None
    P.data, Q.data = 2.0, -3.0
    assert len(f.programs) == 1


OPTIMIZERS = pygradc.optim.SGD([P], lr=0.1), pygradc.optim.Adam([P, Q])
MODEL = pygradc.nn.MLP(1, [1])
INNER = compile(lambda x: x * P)

PARAMETERS: dict[str, Callable[[Value], Any]] = {
    "a parameter's data": lambda x: x * P.data,
    "a parameter's node": lambda x: x * (P * Q).data,
    "a parameter's gradient": lambda x: x * P.grad,
    "a parameter's truth": lambda x: x * 2 if P else x,
    "a parameter's comparison": lambda x: x * 2 if P > Q else x,
    "a parameter's number": lambda x: x * 2 if P == 2 else x,
    "a parameter in a tuple": lambda x: x * 2 if P in (1, 2) else x,
    "two parameters": lambda x: x * 2 if P == Q else x,
    "a parameter in a list": lambda x: x * 2 if P in [Q, P] else x,
    "float of a parameter": lambda x: x * float(P),
    "int of a parameter": lambda x: x * int(P),
    "a rounded parameter": lambda x: x * round(P, 1),
    "a parameter as an index": lambda x: [x, -x][P],
    "larger parameter": lambda x: x * max(P, Q) + sorted([P, Q])[0],
    "a detached parameter's data": lambda x: x * detach(P).data,
    "a detached parameter's node": lambda x: x * (detach(P) * Q).data,
    "a chosen parameter's data": lambda x: x * where(P > Q, P, Q).data,
    "math": lambda x: x * math.sqrt(P),
    "numpy": lambda x: x * np.interp(P, [0, 1], [0, 1]),
    "a format": lambda x: x * len(f"{P:.3f}"),
    "a percent": lambda x: x * len("%.3f" % P),  # noqa: UP031
    "a copy": lambda x: x * copy.copy(P),
    "a deep copy": lambda x: x * copy.deepcopy({"p": [P]})["p"][0],
    "a pickle": lambda x: x * len(pickle.dumps(P * Q)),
    "data()": lambda x: x * pygradc.data([P, Q])[0],
    "grads()": lambda x: x * pygradc.grads(P),
    "set_data": lambda x: pygradc.set_data([P], [1.0]) or x,
    "assigned data": lambda x: setattr(P, "data", 1.0) or x,
    "assigned gradient": lambda x: setattr(P, "grad", 1.0) or x,
    "assigned closure": lambda x: setattr(P, "_backward", print) or x,
    "derivatives": lambda x: x * (P * Q)._local_grads[0],
    "backward": lambda x: (P * Q).backward() or x,
    "one step back": lambda x: (P * Q)._backward() or x,
    "clear_grads": lambda x: pygradc.clear_grads(P) or x,
    "zero_grad": lambda x: OPTIMIZERS[0].zero_grad() or x,
    "a module's zero_grad": lambda x: MODEL.zero_grad() or x,
    "SGD's step": lambda x: OPTIMIZERS[0].step() or x,
    "Adam's step": lambda x: OPTIMIZERS[1].step() or x,
    "an optimizer's state": lambda x: x * len(OPTIMIZERS[1].state_dict()["mean"]),
    "an optimizer's new state": lambda x: OPTIMIZERS[1].load_state_dict(STATE) or x,
    "a module's state": lambda x: x * len(MODEL.state_dict()),
    "a module's new state": lambda x: MODEL.load_state_dict(MODEL_STATE) or x,
    "fit": lambda x: x * pygradc.fit(INNER, np.ones(3), OPTIMIZERS[0])[0],
    "a replay": lambda x: x * INNER.programs[0].map(np.ones(3))[0],
    "a row": lambda x: x * INNER.programs[0](2.0),
    "a sum": lambda x: x * INNER.sum(np.ones(3)),
    "a jvp": lambda x: x * INNER.jvp([1.0], np.ones(3))[0][0],
    "a hvp": lambda x: x * INNER.hvp([1.0], np.ones(3))[0],
    "a program's bytes": lambda x: x * len(pickle.dumps(INNER.programs[0])),
}
STATE = OPTIMIZERS[1].state_dict()
MODEL_STATE = MODEL.state_dict()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_has_no_number_either(name: str) -> None:
    """It would be that of one moment, for all replays to come."""
    INNER(1.0)
    parameters = [P, Q, *MODEL.parameters()]
    before = [(p.data, p.grad) for p in parameters], OPTIMIZERS[1].steps
    f = compile(PARAMETERS[name])
    gc.collect()
    nodes = live_nodes()
    for call in (lambda: f(0.5), lambda: f(Value(0.5)), lambda: f.sum(np.ones(3))):
        with pytest.raises(TraceError, match=r"recorded.* Instead, ") as caught:
            call()
        assert str(caught.value).startswith(f"{__file__}:")
    del caught
    gc.collect()
    assert live_nodes() == nodes and f.programs == () and not tracing()
    assert ([(p.data, p.grad) for p in parameters], OPTIMIZERS[1].steps) == before


def test_a_constant_that_was_used_cant_be_set() -> None:
    """What was made of it has its old number, in Python, and would get the new one in a replay."""
    used, made = Value(2.0), Value(3.0)

    def function(x: Value) -> Value:
        c = Value(5.0)
        y = x * c
        c.data = 7.0
        return y

    with pytest.raises(TraceError, match=r"assigning \.data of a constant that an op has"):
        compile(function)(1.0)
    with pytest.raises(TraceError, match=r"assigning \.data of a constant that an op has"):
        compile(lambda x: x * assigned(Value(2.0) * 3.0, 1.0))(1.0)
    with pytest.raises(TraceError, match=r"assigning \.data of a constant that an op has"):
        compile(lambda x: [x * (c := Value(1.0)), pygradc.set_data([c], [2.0])])(1.0)
    assert (used * made).data == 6.0


def test_a_comparison_knows_a_constant_as_it_was() -> None:
    def function(x: Value) -> Value:
        c = Value(5.0)
        larger = x > c
        c.data = 0.0
        return where(larger, x, c)

    f = compile(function)
    assert f.map([1.0, 6.0]).tolist() == [0.0, 6.0] == [function(Value(v)).data for v in (1.0, 6.0)]


def test_names_and_identity_may_be_asked_for() -> None:
    def function(x: Value, y: Value) -> Value:
        seen = {x: 1.0, y: 2.0}
        product = x * y
        product.label = "product"
        assert x in [x, y] and x in seen and x is not y and {x, x} == {x} and not x != x  # noqa: SIM202
        assert 3.0 not in seen and x != "x" and x != None  # noqa: E711
        assert product._op == "*" and x.label == ""
        assert product._children == (x, y)
        return product * seen[y]

    assert compile(function)(2.0, 3.0).data == 12.0


def test_numpy_computes_with_traced_values() -> None:
    def function(x: Any) -> Any:
        return np.tanh(x) @ np.arange(6.0).reshape(3, 2) + x.sum() - (x**2).mean()

    f, x = compile(function), np.linspace(-1, 1, 12).reshape(4, 3)
    expected = np.tanh(x) @ np.arange(6.0).reshape(3, 2) + (x.sum(1) - (x**2).mean(1))[:, None]
    np.testing.assert_allclose(f.map(x), expected, rtol=1e-13)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "use", [np.exp, np.log, np.tanh, np.square, lambda x: 1 / x, lambda x: 2**x]
)
def test_numpy_has_nothing_to_warn_of(use: Callable[[Any], Any]) -> None:
    """What stands for the inputs is nan, which numpy mustn't notice."""
    f = compile(lambda x: use(x).sum())
    assert f(np.array([0.5, 0.75])).data == use(np.array([Value(0.5), Value(0.75)])).sum().data


# ---- where, maximum, minimum, detach -------------------------------------------------------------

COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]
EQUALITIES = [operator.eq, operator.ne]
NUMBERS = (0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, math.nan)
POINTS = np.array(list(itertools.product(NUMBERS, repeat=2)))
each_comparison = pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)


def check(function: Callable[..., Any], rows: Any, recorded: Any = None) -> None:
    """Eager and recorded give the same bits: values and gradients."""
    case = Case(function, rows.shape[1])
    table = eager(case, rows)
    data, by_inputs = recorded_rows(compile(recorded or function), rows)
    assert first_difference(data, table.data) is None
    assert first_difference(by_inputs, table.inputs) is None


@each_comparison
def test_every_comparison_chooses_as_eagerly(compare: Callable[[Any, Any], Any]) -> None:
    check(lambda x, y: where(compare(x, y), x, y), POINTS)
    check(lambda x, y: where(compare(x, y), x * 2.0, y.tanh() - x), POINTS)
    check(lambda x, y: where(compare(x, 0.0), x, y) + where(compare(0.0, y), 1.0, x), POINTS)
    check(lambda x, y: where(compare(x, x), 2.0, 3) * y, POINTS)


@pytest.mark.parametrize("compare", EQUALITIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("number", [*NUMBERS, 1, True, np.float32(1.0), 2**70], ids=repr)
def test_every_equality_chooses_as_eagerly(compare: Callable[[Any, Any], Any], number: Any) -> None:
    check(lambda x, y: where(compare(x, number), x, y), POINTS)
    if not isinstance(number, np.generic) or HANDS_ON:
        check(lambda x, y: where(compare(number, y), x * 2.0, y.tanh() - x), POINTS)
    check(lambda x, y: where(compare(Value(1.0), number), x, y) + x * y, POINTS)
    check(
        lambda x, y: where(compare(x, number), x, y),
        POINTS,
        lambda x, y: where(~~compare(x, number), x, y),
    )
    check(
        lambda x, y: where(not compare(x, number), x, y),
        POINTS,
        lambda x, y: where(~compare(x, number), x, y),
    )


def both(x: Any, y: Any, no: Callable[[Any], Any]) -> list[Any]:
    """Conditions of conditions; `no` negates."""
    a, b = x < y, y >= 0.5
    return [
        a & b,
        a | b,
        no(a),
        no(a & b),
        no(a) & no(b),
        no(no(a)),
        a & no(b) | b & no(a),
        (a | b) & (x > 0.0) & (y < 2.0),
        no((x <= 0.0) | (a & (x > -1.0))) | b,
        a & True,
        True & a,
        a | True,
        a & False,
        False | a,
    ]


CONDITIONS = range(len(both(1.0, 2.0, operator.not_)))


def chosen(i: int, no: Callable[[Any], Any]) -> Callable[[Value, Value], Value]:
    return lambda x, y: where(both(x, y, no)[i], x * 2.0, y - 1.0)


@pytest.mark.parametrize("i", CONDITIONS)
def test_combined_conditions_choose_as_eagerly(i: int) -> None:
    check(chosen(i, operator.not_), POINTS, chosen(i, operator.invert))


def shared(i: int, no: Callable[[Any], Any]) -> Callable[[Value, Value], Value]:
    """Both operands are used elsewhere too, and of what they share the order shows."""

    def function(x: Value, y: Value) -> Value:
        t = x.tanh()
        a, b = t * t + y.sin(), t * 0.3 - y
        return where(both(x, y, no)[i], a, b) + a * b

    return function


@pytest.mark.parametrize("i", CONDITIONS)
def test_combined_conditions_keep_the_order_of_gradients(i: int) -> None:
    rows = np.random.default_rng(i).uniform(-2, 2, (200, 2))
    check(shared(i, operator.not_), rows, shared(i, operator.invert))


def infinite(i: int, no: Callable[[Any], Any]) -> Callable[[Value, Value], Value]:
    return lambda x, y: chosen(i, no)(x, y) * 1e308 * 10.0


@pytest.mark.parametrize("i", CONDITIONS)
def test_combined_conditions_pass_on_an_infinite_gradient(i: int) -> None:
    """Once: what isn't chosen gets 0 * inf, and what is chosen doesn't."""
    rows = np.random.default_rng(i).uniform(-2, 2, (50, 2))
    check(infinite(i, operator.not_), rows, infinite(i, operator.invert))


def nested(x: Value, y: Value) -> Value:
    inner = where(x < y, where(y > 0.5, x * y, y), where(x >= 0.0, x, -y))
    return where(inner > 0.1, inner * inner, inner.sin()) + inner


def test_choices_of_choices_choose_as_eagerly() -> None:
    check(nested, np.random.default_rng(0).uniform(-2, 2, (200, 2)))


def test_a_bool_chooses_when_recording() -> None:
    for flag in (True, False, np.True_, np.False_):
        check(lambda x, y, flag=flag: where(flag, x * 2.0, y) + where(flag, 1.0, x), POINTS)


def test_a_choice_has_its_operands_for_children() -> None:
    x, y = Value(1.0), Value(2.0)
    z = where(x < y, x, y)
    assert z.data == 1.0 and z._children == (x, y)


WRONG: list[Any] = [1.0, 0, 1, -2, None, "x", [True], Value(1.0), np.array([True, False])]


@pytest.mark.parametrize("condition", WRONG, ids=repr)
def test_what_is_no_condition_is_refused(condition: Any) -> None:
    for call in (
        lambda: where(condition, 1.0, 2.0),
        lambda: compile(lambda x: where(condition, x, 2.0))(1.0),
    ):
        with pytest.raises(TypeError, match="where: the condition must be a bool or a comparison"):
            call()


def test_a_traced_value_is_no_condition() -> None:
    with pytest.raises(TypeError, match="must be a bool or a comparison, not Value"):
        compile(lambda x: where(x, x, 2.0))(1.0)


@pytest.mark.parametrize("flag", [True, False])
def test_a_negated_bool_never_chooses_wrongly(flag: bool) -> None:
    """~True is -2, which is true."""
    x = Value(1.0 if flag else 3.0)
    with pytest.raises(TypeError, match="where: the condition must be"):
        where(~int(x < 2.0), 10.0, 20.0)


@pytest.mark.parametrize("odd", ["x", None, 1j, [1.0]], ids=repr)
def test_what_is_no_operand_is_refused(odd: Any) -> None:
    calls: list[Callable[[Value], Any]] = [
        lambda x: where(True, x, odd),
        lambda x: where(x > 0, odd, x),
        lambda x: maximum(odd, x),
        lambda x: minimum(x, odd),
        lambda x: detach(odd),
        lambda x: where(x < odd, x, 1.0),
    ]
    for call in calls:
        for do in (lambda call=call: call(Value(1.0)), lambda call=call: compile(call)(1.0)):
            with pytest.raises(TypeError) as caught:
                do()
            assert not isinstance(caught.value, TraceError)
    assert not tracing()


@pytest.mark.parametrize("choose", [maximum, minimum])
def test_numbers_on_either_side_of_maximum_and_minimum(choose: Callable[..., Value]) -> None:
    check(lambda x, y: choose(x, y) * 2.0, POINTS)
    check(lambda x, y: choose(x, 1.0) - choose(0, y) + choose(x, x), POINTS)
    check(lambda x, y: choose(choose(x, y), choose(-0.0, y)), POINTS)
    both_numbers = choose(1, 2.5)
    assert isinstance(both_numbers, Value) and both_numbers.data in (1.0, 2.5)
    assert compile(lambda x: x * choose(2.0, 2))(3.0).data == 6.0


def test_nothing_flows_through_detach() -> None:
    w = Value(3.0)
    rows = np.random.default_rng(1).uniform(-2, 2, (40, 2))

    def function(x: Value, y: Value) -> Any:
        product = x * w
        return detach(product) * y + product, detach(x * y) + detach(w) * x, detach(x)

    case = Case(function, 2, [w])
    f, table = compile(function), eager(case, rows)
    data, by_inputs = recorded_rows(f, rows)
    assert bits(data) == bits(table.data) and bits(by_inputs) == bits(table.inputs)
    assert row_difference(f, case, rows[0].tolist(), eager_row(case, rows[0].tolist())) is None
    assert f.parameters() == [w]
    x = Value(2.0)
    y = detach(x * x)
    y.backward()
    assert y.data == 4.0 and x.grad == 0.0 and y._children == ()


# ---- Nodes that a program can't replay -----------------------------------------------------------


def closure(x: Value) -> Value:
    out = Value(1.0, (x,), "odd")

    def backward() -> None:
        x.grad += out.grad

    out._backward = backward
    return out


CUSTOM: dict[str, Callable[[Value], Value]] = {
    "closure": closure,
    "children": lambda x: Value(1.0, (x,), "odd"),
    "local gradients": lambda x: Value(1.0, (x,), (2.0,)),
    "microgpt's": lambda x: Value(1.0, children=(x,), local_grads=(2.0,)),
    "inside": lambda x: (closure(x * 2) * x).tanh(),
    "of a parameter": lambda x: closure(P) * x,
}


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_nodes_cant_be_recorded(name: str) -> None:
    f = compile(CUSTOM[name])
    gc.collect()
    nodes = live_nodes()
    for _ in range(2):
        with pytest.raises(TraceError, match=r"closure.*Values' own operators") as caught:
            f(1.0)
        line = int(str(caught.value).removeprefix(f"{__file__}:").split(":")[0])
        assert "Value(1.0, " in linecache.getline(__file__, line)
        del caught
    gc.collect()
    assert live_nodes() == nodes and f.programs == () and not tracing()


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_nodes_that_were_there_before_are_parameters(name: str) -> None:
    w = Value(0.5)
    node = CUSTOM[name](w)
    f = compile(lambda x: x * node)
    y = f.sum(np.array([1.0, 2.0]))
    (w * 0).backward()
    w.grad = 0.0
    y.backward()
    assert f.parameters() == [node] and y.data == 3.0 * node.data and node.grad == 3.0
    other = 3.0 * CUSTOM[name](v := Value(0.5))
    other.backward()
    assert w.grad == v.grad


def test_custom_nodes_that_no_output_needs_do_no_harm() -> None:
    def function(x: Value) -> Value:
        closure(x)
        return x * 2

    assert compile(function)(3.0).data == 6.0


# ---- Recorded functions in recorded functions ----------------------------------------------------


def test_a_compiled_function_in_another_is_part_of_it() -> None:
    w, v = Value(3.0), Value(0.5)
    inner = compile(lambda x, n=1: (x * w) ** n)
    outer = compile(lambda x: inner(x).tanh() * v + inner(x, n=2))
    case = Case(outer.__wrapped__, 1, [w, v])
    plain = Case(lambda x: (x * w).tanh() * v + (x * w) ** 2, 1, [w, v])
    rows = plain.rows(20)
    ours, theirs = recorded_rows(outer, rows), eager(plain, rows)
    assert inner.programs == () and len(outer.programs) == 1
    assert bits(ours[0]) == bits(theirs.data) and bits(ours[1]) == bits(theirs.inputs)
    row = rows[0].tolist()
    assert row_difference(outer, case, row, eager_row(plain, row)) is None
    assert inner(1.0).data == 3.0  # recorded on its own now


def test_a_compiled_function_may_call_itself() -> None:
    @compile
    def power(x: Value, n: int = 0) -> Value:
        return x * power(x, n=n - 1) if n > 1 else x

    assert power(2.0, n=5).data == 32.0 and len(power.programs) == 1


@pytest.mark.parametrize("recorded_before", [False, True])
def test_other_calls_of_a_compiled_function_dont_spoil_the_recording(recorded_before: bool) -> None:
    """inner.mean() has a number of its own: it may be refused, or be a constant."""
    w, v = Value(2.0), Value(5.0)
    inner, x = compile(lambda x: v * x), np.array([1.0, 2.0])
    if recorded_before:
        inner.mean(x)
    outer = compile(lambda y: y * w + inner.mean(x).data)
    try:
        result = outer(3.0)
    except TraceError:
        pass
    else:
        result.backward()
        assert result.data == 13.5 and outer.parameters() == [w] and w.grad == 3.0
    assert not tracing() and inner.mean(x).data == 7.5
    with pytest.raises(TraceError):
        compile(lambda y: y * inner.mean(x))(3.0)
    assert not tracing()


def test_a_program_refuses_traced_values() -> None:
    inner = compile(lambda x: x * 2)
    inner(1.0)
    with pytest.raises(TraceError):
        compile(lambda x: inner.programs[0](x))(1.0)
    with pytest.raises(TypeError):
        compile(lambda x: inner.sum([x, x]))(1.0)
    assert not tracing() and inner(3.0).data == 6.0


# ---- Exceptions and threads ----------------------------------------------------------------------


class Odd(BaseException):
    """Nobody's business."""


@pytest.mark.parametrize("error", [KeyError("k"), ZeroDivisionError("z"), Odd(), SystemExit(3)])
def test_what_the_function_raises_comes_out_unchanged(error: BaseException) -> None:
    def function(x: Value) -> Value:
        y = x * 2
        if not calm:
            raise error
        return y

    calm: list[int] = []
    f = compile(function)
    gc.collect()
    nodes = live_nodes()
    with pytest.raises(type(error)) as caught:
        f(1.0)
    assert caught.value is error and not tracing()
    del caught
    error.__traceback__ = None  # whose frames hold nodes
    gc.collect()
    assert live_nodes() == nodes and f.programs == ()
    calm.append(1)
    assert f(1.0).data == 2.0


def test_an_op_of_parameters_is_judged_by_the_replay() -> None:
    w = Value(-1.0)
    f = compile(lambda x: x * w.log())
    with pytest.raises(FloatingPointError, match=r"log\(-1\.0\): outside the real domain"):
        f(1.0)
    assert len(f.programs) == 1
    w.data = 1.0
    assert f(1.0).data == 0.0 and not tracing()


def test_a_domain_error_of_constants_comes_out_unchanged() -> None:
    f = compile(lambda x: x * Value(-1.0).log())
    with pytest.raises(ValueError, match=r"^log\(-1\.0\): outside the real domain"):
        f(1.0)
    assert not f.programs and not tracing()


def in_threads(*calls: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(params=[None, 1e-6], ids=["usual interval", "switching all the time"])
def interval(request: pytest.FixtureRequest) -> Any:
    before = sys.getswitchinterval()
    if request.param is not None:
        sys.setswitchinterval(request.param)
    yield
    sys.setswitchinterval(before)


def test_functions_are_recorded_in_several_threads_at_once(interval: Any) -> None:
    wrong: list[Any] = []
    gate = threading.Barrier(6)

    def work(i: int) -> None:
        w = Value(float(i))
        gate.wait()
        try:
            for n in range(30):
                f = compile(lambda x, n=n: sum(x * w for _ in range(n + 1)) + x.tanh())
                y = f(2.0)
                expected = sum(2.0 * Value(w.data) for _ in range(n + 1)) + math.tanh(2.0)
                y.backward()
                if (y.data, w.grad, len(f.parameters())) != (expected.data, 2.0 * (n + 1), 1):
                    wrong.append((i, n, y.data, expected.data, w.grad))
                w.grad = 0.0
                with pytest.raises(TraceError):
                    compile(lambda x: x * x.data)(1.0)
        except BaseException as error:
            wrong.append(error)

    in_threads(*(lambda i=i: work(i) for i in range(6)))
    assert wrong == [] and not tracing()


def test_other_threads_work_eagerly_meanwhile() -> None:
    begun, done = threading.Event(), threading.Event()
    w, found = Value(3.0), []
    ready = compile(lambda x: x * w)
    ready(1.0)

    def slow(x: Value) -> Value:
        y = x * w
        begun.set()
        assert done.wait(30)
        with pytest.raises(TraceError):
            float(y)
        return y + 1

    def work() -> None:
        assert begun.wait(30)
        try:
            x = Value(2.0)
            y = where(x * 2 > 3.0, x * x, x) + detach(x) + maximum(x, 1.0)
            y.backward()
            found.append((y.data, x.grad, w.data, x == 2.0, not tracing(), ready(5.0).data))
            x.data = 4.0
            closure(x).backward()
        except BaseException as error:
            found.append(error)
        done.set()

    f = compile(slow)
    results: list[Any] = []
    in_threads(work, lambda: results.append(f(2.0).data))
    assert found == [(8.0, 5.0, 3.0, True, True, 15.0)] and results == [7.0]


def test_a_function_is_recorded_once_whoever_comes_first() -> None:
    calls, gate = [], threading.Barrier(6)

    @compile
    def function(x: Value) -> Value:
        calls.append(1)
        return x * 2

    def work() -> None:
        gate.wait()
        function(1.0)

    in_threads(*[work] * 6)
    assert len(function.programs) == 1
    assert 1 <= len(calls) <= 6


@pytest.mark.parametrize("asks", [np.isnan, np.isfinite, np.signbit])
def test_what_numpy_refuses_itself_names_the_line_too(asks: Callable[..., Any]) -> None:
    def function(x: Value) -> Any:
        asks(x)
        return x * 2.0

    line = function.__code__.co_firstlineno + 1
    with pytest.raises(TraceError, match=rf"test_tracing\.py:{line}: .*ufunc .*compute with"):
        compile(function)(1.0)


# ---- What the function catches -------------------------------------------------------------------


def _anything(x: Value) -> Any:
    try:
        return x if x > 0 else -x
    except Exception:
        return x * 0.0


def _type_errors(x: Value) -> Any:
    try:
        return x * x.data
    except TypeError:
        return x


def _suppressed(x: Value) -> Any:
    with contextlib.suppress(TypeError):
        return x if x == 1 else -x
    return x


def _returns_in_finally(x: Value) -> Any:
    try:
        return x * len(f"{x:.2f}")
    finally:
        return x  # noqa: B012, SIM107 - as people write it


def _in_a_thread(x: Value) -> Any:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(x if x > 0 else -x)
        except TypeError:
            found.append(x)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def _asks_a_comparison(x: Value) -> Any:
    try:
        return x * float(x > 0)
    except TypeError:
        return x


def _needs_a_number(x: Value) -> Any:
    sine = pygradc.op(lambda a: math.sin(a), lambda a, y: math.cos(a))
    try:
        return sine(x)
    except TypeError:
        return x


def _replays_another(x: Value) -> Any:
    other = compile(lambda y: y * 2.0)
    try:
        return x * other.map([1.0])[0]
    except TypeError:
        return x


@pytest.mark.parametrize(
    "catches",
    [
        _anything, _type_errors, _suppressed, _returns_in_finally, _in_a_thread,
        _asks_a_comparison, _needs_a_number, _replays_another,
    ],
)  # fmt: skip
def test_a_refusal_that_the_function_catches_arrives_all_the_same(
    catches: Callable[..., Any],
) -> None:
    recorded = compile(catches)
    for _ in range(2):  # nothing of it is kept
        with pytest.raises(TraceError, match=rf"{re.escape(__file__)}:\d+: .*caught this error"):
            recorded(2.0)
    assert compile(lambda x: x * 2)(2.0).data == 4.0
    assert not recorded.programs


def _takes_floats_too(x: Any) -> Any:
    try:
        return float(x) * 2.0
    except TypeError:
        return x * 3.0


def _asks_numpy(x: Any) -> Any:
    try:
        return x * np.isnan(x)
    except TypeError:
        return x * 3.0


@pytest.mark.parametrize("asks", [_takes_floats_too, _asks_numpy])
def test_what_a_value_answers_nowhere_may_be_caught(asks: Callable[..., Any]) -> None:
    assert asks(Value(2.0)).data == compile(asks)(2.0).data == 6.0


def test_what_kind_an_op_is_may_be_found_out_while_recording() -> None:
    @pygradc.op(derivatives=lambda a, y: math.cos(a))
    def sine(a: Any) -> Any:
        return math.sin(a)

    known = sine(Value(0.5))  # of a parameter: made before
    square = pygradc.op(lambda a: a * a, lambda a, y: 2.0 * a)
    assert compile(lambda x: square(x) * known)(3.0).data == 9.0 * math.sin(0.5)


@pytest.mark.parametrize(
    "chooses",
    [
        lambda x: np.array([x, 2 * x])[np.array([x > 0, x > 1])].sum(),
        lambda x: np.select([x > 0], [x], 0.0),
        lambda x: np.sum(np.array([x, 2 * x]), where=np.array([x > 0, x > 1])),
    ],
)
def test_comparisons_as_a_mask_say_what_to_write(chooses: Callable[..., Any]) -> None:
    with pytest.raises(TraceError, match=rf"{re.escape(__file__)}:\d+: .*where\("):
        compile(chooses)(2.0)


def test_a_comparison_as_a_label_is_one_or_zero() -> None:
    found = compile(lambda x: pygradc.losses.cross_entropy([x, 2 * x], x > 0)).map([2.0, -2.0])
    expected = [
        pygradc.losses.cross_entropy([Value(2.0), Value(4.0)], 1).data,
        pygradc.losses.cross_entropy([Value(-2.0), Value(-4.0)], 0).data,
    ]
    assert found.tolist() == expected
