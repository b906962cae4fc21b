"""Does a recording notice whatever it can't record, say where, and leave everything as it was?

And what it can record besides arithmetic: choices, detached Values, other recorded functions.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import math
import operator
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from programs import Case, bits, eager, eager_row, first_difference, recorded_rows, row_difference

import pygradc
from pygradc import TraceError, Value, compile, detach, live_nodes, maximum, minimum, where
from pygradc.tracing import tracing

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
    return x * math.floor(x + 2)  # here


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


ASKING: list[tuple[Callable[..., Any], str, str, str]] = [
    # function, what it asked, what made the Value, the remedy
    (reads_data, r"\.data", r"'\*'", "detach"),
    (reads_data_of_an_input, r"\.data", "an input", "compute with the Value itself"),
    (converts, r"float\(\)", "'tanh'", "compute with the Value itself"),
    (asks_for_truth, r"bool\(\)", r"'\+'", "where"),
    (negates, r"bool\(\)", "'ReLU'", "where"),
    (branches, r"bool\(\)", "comparison 'sin > leaf'", "where"),
    (chooses, r"bool\(\)", "comparison 'exp > leaf'", "where"),
    (chains_comparisons, r"bool\(\)", r"comparison '\* > leaf'", "where"),
    (combines, r"bool\(\)", "comparison 'input > leaf'", "where"),
    (loops, r"bool\(\)", "comparison 'abs > leaf'", "where"),
    (assigns_data, r"assigning \.data", r"'\*'", "a new Value"),
    (takes_a_root, r"float\(\)", r"'\+'", "compute with the Value itself"),
    (rounds_down, r"float\(\)", r"'\+'", "compute with the Value itself"),
    (takes_the_larger, r"bool\(\)", r"comparison 'tanh > \*'", "maximum"),
    (takes_the_smaller, r"bool\(\)", r"comparison 'tanh < \*'", "minimum"),
    (sorts, r"bool\(\)", r"comparison 'input < \*'", "where"),
    (makes_an_array, r"float\(\)", r"'\*'", "compute with the Value itself"),
    (formats, r"\.data", r"'\*'", "compute with the Value itself"),
    (in_a_helper, r"\.data", "'log'", "compute with the Value itself"),
    (in_a_comprehension, r"\.data", r"'\*'", "compute with the Value itself"),
    (in_a_key, r"\.data", r"'\+'", "compute with the Value itself"),
    (in_the_library, r"float\(\)", r"'\*\*2'", "compute with the Value itself"),
    (after_a_choice, r"\.data", "'?where\\b", "compute with the Value itself"),
    (after_detaching, r"\.data", "'?detach\\b", "compute with the Value itself"),
]
ids = [row[0].__name__ for row in ASKING]


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
    assert function(Value(0.5)) is not None and bool(Value(0.5) * 2 > 0.0)  # eager
    assert good(2.0).data == 6.0 and compile(lambda x: x * w + 1)(2.0).data == 7.0
    assert w.grad == 0.0


def test_a_trace_error_is_a_type_error() -> None:
    assert issubclass(TraceError, TypeError) and pygradc.TraceError is TraceError


INTEGERS: dict[str, Callable[[Value], Any]] = {
    "int()": lambda x: x * int(x),
    "range()": lambda x: [x for _ in range(x)],  # type: ignore[call-overload]
    "an index": lambda x: [x, x][x],  # type: ignore[call-overload]
    "round()": lambda x: x * round(x),  # type: ignore[call-overload]
}


@pytest.mark.parametrize("use", INTEGERS)
def test_a_value_is_no_integer_when_recording_either(use: str) -> None:
    nodes = live_nodes()
    for call in (lambda: INTEGERS[use](Value(1.0)), lambda: compile(INTEGERS[use])(1.0)):
        with pytest.raises(TypeError):
            call()
    gc.collect()
    assert live_nodes() == nodes and not tracing()


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


# ---- What has a number ---------------------------------------------------------------------------

P, Q = Value(2.0), Value(-3.0)

ALLOWED: dict[str, Callable[[Value], Any]] = {
    "a parameter's data": lambda x: x * P.data,
    "a parameter's node": lambda x: x * (P * Q).data,
    "a parameter's truth": lambda x: x * 2 if P else x,
    "a parameter's comparison": lambda x: x * 2 if P > Q else x,
    "float of a parameter": lambda x: x * float(P),
    "a constant": lambda x: x * Value(2.5).data,
    "a constant's node": lambda x: x * (Value(2.5) * 2).tanh().data,
    "larger parameter": lambda x: x * max(P, Q) + sorted([P, Q])[0],
    "a detached parameter": lambda x: x * detach(P).data,
    "a detached parameter's node": lambda x: x * (detach(P) * Q).data,
    "a chosen parameter": lambda x: x * where(P > Q, P, Q),
    "a chosen parameter's data": lambda x: x * where(P > Q, P, Q).data,
    "parameters by a bool": lambda x: where(True, P, Q) + where(False, P, 1.0) * x,
    "math": lambda x: x * math.sqrt(P),
    "format": lambda x: x * len(f"{P:.3f}{Q}"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_depends_on_no_input_has_its_number(name: str) -> None:
    case = Case(ALLOWED[name], 1, [P, Q])
    rows = case.rows(9)
    f = compile(case.function)
    table = eager(case, rows)
    for ours, theirs in zip(recorded_rows(f, rows), (table.data, table.inputs)):
        assert first_difference(ours, theirs) is None
    assert row_difference(f, case, [0.7], eager_row(case, [0.7])) is None


def test_names_and_identity_may_be_asked_for() -> None:
    def function(x: Value, y: Value) -> Value:
        seen = {x: 1.0, y: 2.0}
        product = x * y
        product.label = "product"
        assert x in [y, x] and x != y and product._op == "*" and x.label == ""
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
        with pytest.raises(TraceError, match=r"closure.*Values' own operators"):
            f(1.0)
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


def test_a_domain_error_of_constants_comes_out_when_recording() -> None:
    w = Value(-1.0)
    f = compile(lambda x: x * w.log() + Value(-1.0).log())
    with pytest.raises(ValueError, match=r"^log\(-1\.0\): outside the real domain"):
        f(1.0)
    assert not tracing()


def test_parameters_are_judged_by_the_replay() -> None:
    w = Value(-1.0)
    f = compile(lambda x: x * w.log())
    with pytest.raises(FloatingPointError, match=r"log\(-1\.0\): outside the real domain"):
        f(1.0)
    w.data = 1.0
    assert f(1.0).data == 0.0 and not tracing()


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
            found.append((y.data, x.grad, float(x), bool(x > 1), not tracing(), ready(5.0).data))
            x.data = 4.0
            closure(x).backward()
        except BaseException as error:
            found.append(error)
        done.set()

    f = compile(slow)
    results: list[Any] = []
    in_threads(work, lambda: results.append(f(2.0).data))
    assert found == [(8.0, 5.0, 2.0, True, True, 15.0)] and results == [7.0]


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
