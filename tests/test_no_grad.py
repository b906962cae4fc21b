"""Does no_grad() make values without a graph, and only there; does clear_grads clear just what is
below a root?"""

from __future__ import annotations

import functools
import gc
import random
import threading
import warnings

import numpy as np
import pytest

import pygradc
from pygradc import Value, live_nodes, nn, no_grad


@pytest.fixture
def start():
    gc.collect()
    return live_nodes()


def square(x: Value) -> Value:
    """A custom op as micrograd writes it."""
    out = Value(x.data**2, (x,), "square")

    def _backward():
        x.grad += 2.0 * x.data * out.grad

    out._backward = _backward
    return out


cube = pygradc.op(lambda a: a * a * a, lambda a, y: 3.0 * a * a)
halve = pygradc.op(lambda a: float(a) / 2.0, lambda a, y: 0.5)
program = pygradc.compile(lambda x: (x * 3.0).tanh())

A, B = Value(2.0), Value(3.0)
MAKERS = {
    "a + b": lambda: A + B,
    "a + 1": lambda: A + 1,
    "1 - a": lambda: 1 - A,
    "a - b": lambda: A - B,
    "a / b": lambda: A / B,
    "1 / a": lambda: 1 / A,
    "-a": lambda: -A,
    "a ** 2": lambda: A**2,
    "a ** b": lambda: A**B,
    "2 ** a": lambda: 2**A,
    "tanh": lambda: A.tanh(),
    "abs": lambda: abs(A),
    "maximum": lambda: A.maximum(B),
    "maximum of a number": lambda: pygradc.maximum(A, 0),
    "where": lambda: pygradc.where(True, A, B),
    "sum": lambda: pygradc.sum([A, B, 1.0]),
    "Python's sum": lambda: sum([A, B]),
    "dot": lambda: pygradc.dot([A, B], [B, 2.0], A),
    "a neuron": lambda: nn.Neuron(2)([A, B]),
    "a network": lambda: nn.MLP(2, [3, 1])([A, B]),
    "an array": lambda: np.dot(np.array([A, B]), np.array([B, A])),
    "given children": lambda: Value(1.0, (A, B), "op"),
    "given derivatives": lambda: Value(1.0, (A, B), (1.0, 2.0)),
    "a closure": lambda: square(A),
    "a custom op": lambda: cube(A),
    "a custom op of floats": lambda: halve(A),
    "a program": lambda: program(A),
    "a program's sum": lambda: program.sum([1.0, 2.0]),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_is_made_is_a_leaf_with_the_same_data(start, make):
    random.seed(0)
    outside = make()
    random.seed(0)
    with no_grad():
        inside = make()
    assert outside._children != () or make is MAKERS["a program's sum"]
    assert (inside.data, inside._children, inside._op) == (outside.data, (), "")
    A.grad = 0.0
    (inside * 2).backward()
    assert inside.grad == 2.0 and A.grad == 0.0
    del outside, inside
    gc.collect()
    assert live_nodes() == start


def test_nothing_but_the_results_lives_on(start):
    with no_grad():
        kept = [((A * B + 1) / (A - 5)).tanh() for _ in range(10)]
        assert live_nodes() - start == 10
        x = Value(1.0)
        for _ in range(1000):
            x = (x * 1.01 + B * 0.001).tanh()
        assert live_nodes() - start == 11
    del kept, x
    assert live_nodes() == start


def test_labels_and_attributes_stay():
    with no_grad():
        out = Value(1.0, (A,), "op", "label")
        out.colour = "red"
    assert (out.label, out.colour, out._op, out._children) == ("label", "red", "", ())


def test_an_existing_graph_stays_and_can_be_swept():
    a = Value(3.0)
    graph = square(a) * 2
    with no_grad():
        assert pygradc.sum([], graph) is graph and pygradc.dot([], [], graph) is graph
        assert graph._children[0]._op == "square"
        graph.backward()
        a.data -= 0.1 * a.grad
    assert a.grad == 12.0 and graph._children[0]._children == (a,)


def test_a_closure_may_be_set_on_a_node_that_has_children():
    a = Value(3.0)
    graph = a * 2
    with no_grad():
        graph._backward = lambda: setattr(a, "grad", 5.0)
    graph.backward()
    assert a.grad == 5.0


def test_wrong_children_are_refused_all_the_same():
    with no_grad(), pytest.raises(TypeError, match="child 0"):
        Value(1.0, (2.0,), "op")
    with no_grad(), pytest.raises(ZeroDivisionError):
        A / 0


def test_blocks_nest_and_end_with_exceptions():
    block = no_grad()
    with block:
        with block, no_grad():
            pass
        with pytest.raises(KeyError), no_grad():
            raise KeyError
        assert (A * B)._children == ()
    assert (A * B)._children == (A, B)


def test_it_decorates_functions():
    @no_grad()
    def predict(x: Value, scale: float = 2.0) -> Value:
        """Doc."""
        return predict(x, scale=1.0) if scale == 2.0 else x * scale

    assert predict(A)._children == () and (A * 2)._children != ()
    assert (predict.__name__, predict.__doc__) == ("predict", "Doc.")
    with pytest.raises(TypeError):
        predict("x")
    assert (A * 2)._children != ()


def test_functions_that_run_in_steps_are_refused():
    with pytest.raises(TypeError, match="steps runs in steps"):

        @no_grad()
        def steps():
            yield A

    with pytest.raises(TypeError, match="wait"):

        @no_grad()
        async def wait():
            pass


def test_each_thread_has_a_state_of_its_own():
    inside, seen = threading.Barrier(2), {}
    leave = threading.Barrier(2)

    def without() -> None:
        with no_grad():
            inside.wait()
            seen["without"] = (A * B)._children
            leave.wait()

    thread = threading.Thread(target=without)
    thread.start()
    inside.wait()
    seen["with"] = (A * B)._children
    leave.wait()
    thread.join()
    assert seen == {"without": (), "with": (A, B)}


def test_a_generator_that_another_thread_closes_harms_nobody():
    def steps():
        with no_grad():
            yield

    generator = steps()
    thread = threading.Thread(target=lambda: next(generator))
    thread.start()
    thread.join()
    generator.close()
    assert (A * B)._children == (A, B)
    with no_grad():
        assert (A * B)._children == ()
    assert (A * B)._children == (A, B)


# ---- recorded functions -------------------------------------------------------------------------


def test_in_a_recorded_function_it_is_a_detach():
    w = Value(2.0)

    def f(x):
        with no_grad():
            y = (w * x).tanh()
        return y * x * w + Value(1.0)

    recorded = pygradc.compile(f)
    for x in (0.3, -2.0):
        grads = []
        for call in (f, recorded):
            v, w.grad = Value(x), 0.0
            out = call(v)
            out.backward()
            grads.append((out.data, v.grad, w.grad))
        assert grads[0] == grads[1] and grads[0][2] != 0.0
    w.data = 5.0  # and computed anew at each replay
    assert recorded(0.3).data == f(Value(0.3)).data


def test_a_function_that_is_first_called_in_a_block_has_its_gradients():
    w = Value(2.0)
    f = pygradc.compile(lambda x: (w * x).tanh())
    with no_grad():
        assert f(0.5)._children == ()
        assert (w * 2)._children == ()
    f(0.5).backward()
    expected = Value(2.0)
    (expected * 0.5).tanh().backward()
    assert w.grad == expected.grad != 0.0


# ---- clear_grads --------------------------------------------------------------------------------


def test_clear_grads_clears_all_below_the_root_and_nothing_else():
    a, b = Value(2.0), Value(3.0)
    inner = a * b
    root, above = inner.tanh(), inner + 1
    for v in (a, b, inner, root, above):
        v.grad = 5.0
    pygradc.clear_grads(root)
    assert [v.grad for v in (a, b, inner, root, above)] == [0.0, 0.0, 0.0, 0.0, 5.0]
    root.backward()
    first = a.grad
    pygradc.clear_grads(root)
    root.backward()
    assert a.grad == first
    pygradc.clear_grads(a)
    assert a.grad == 0.0 and b.grad != 0.0


@pytest.mark.parametrize("odd", [1.0, None, "x", [A]])
def test_clear_grads_wants_a_value(odd):
    with pytest.raises(TypeError, match="clear_grads: expected a Value"):
        pygradc.clear_grads(odd)


def test_clear_grads_of_a_deep_graph():
    x = one = Value(1.0)
    for _ in range(100_000):
        x = x + one
    x.backward()
    pygradc.clear_grads(x)
    assert one.grad == 0.0


# ---- As a decorator ------------------------------------------------------------------------------


@pytest.mark.parametrize("decorate", [pygradc.no_grad, pygradc.no_grad()])
def test_decorates_with_and_without_parentheses(decorate):
    @decorate
    def predict(x, *, scale=2.0):
        """Says what it does."""
        return x * scale

    class Model:
        @decorate
        def predict(self, x):
            return x + 1.0

        @staticmethod
        @decorate
        def plain(x):
            return -x

    x = Value(3.0)
    for y in (predict(x), predict(x, scale=2.0), Model().predict(x), Model.plain(x)):
        assert y._children == ()
    assert (predict.__name__, predict.__doc__) == ("predict", "Says what it does.")
    assert (x * 2.0)._children[0] is x


def generator():
    yield Value(1.0) * 2


async def coroutine():
    return Value(1.0) * 2


async def asynchronous_generator():
    yield Value(1.0) * 2


class InSteps:
    def __call__(self):
        yield 1


@pytest.mark.parametrize("decorate", [pygradc.no_grad, pygradc.no_grad()])
@pytest.mark.parametrize(
    "function", [generator, coroutine, asynchronous_generator, InSteps()], ids=repr
)
def test_what_runs_in_steps_is_refused(decorate, function):
    name = getattr(function, "__name__", "InSteps")
    for steps in (function, functools.partial(function)):
        with pytest.raises(TypeError, match=r"in steps.*with no_grad\(\):.*between two yields"):
            decorate(steps)()
    with pytest.raises(TypeError, match=f"no_grad: {name} runs in steps"):
        decorate(function)
    hidden = decorate(lambda: function())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="runs in steps"):
            hidden()
    assert (Value(1.0) * 2)._children != ()


def test_the_remedy_for_a_generator_leaves_its_consumer_a_graph():
    """Around what computes between two yields; around one, the consumer would be in the block."""
    a = Value(2.0)

    def remedied():
        for i in range(3):
            with no_grad():
                y = a * i
            yield y

    for y in remedied():
        assert y._children == ()
        (a * y).backward()
    assert a.grad == 0.0 + 2.0 + 4.0


@pytest.mark.parametrize("thing", [3, "f", [generator]])
def test_what_is_no_function_is_refused(thing):
    with pytest.raises(TypeError, match="takes a function to decorate"):
        pygradc.no_grad(thing)
