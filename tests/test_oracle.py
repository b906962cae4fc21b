"""Does any graph behave as the oracle's, bit for bit?

Random programs run on pygradc and on `pygradc.reference`: after every step the same numbers or the
same exception, with the graph unchanged; and in the end the same nodes, in the same places, with
the same gradients. Then whole networks, losses and optimisers. The comparison itself is put to the
test with oracles that are slightly wrong.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import operator
import os
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pygradc
from pygradc import losses, nn, optim, reference
from pygradc.core.ops import OPS

# ---- Two engines with one interface --------------------------------------------------------------


def node_sum(values: Sequence[Any], start: Any) -> Any:
    """Python's sum, added up plainly (from 3.12 on, the built-in compensates floats)."""
    total = functools.reduce(operator.add, values, start)
    return total if isinstance(total, reference.Value) else reference.Value(total)


OURS = SimpleNamespace(
    Value=pygradc.Value, Layer=nn.Layer, MLP=nn.MLP, SGD=optim.SGD, Adam=optim.Adam,
    RMSprop=optim.RMSprop, sum=pygradc.sum, dot=pygradc.dot,
)  # fmt: skip
ORACLE = SimpleNamespace(
    Value=reference.Value, Layer=reference.Layer, MLP=reference.MLP, SGD=reference.SGD,
    Adam=reference.Adam, RMSprop=reference.RMSprop, sum=node_sum, dot=reference.dot,
)  # fmt: skip


def bits(x: float) -> bytes:
    """All that a float is; every nan is the same."""
    return b"nan" if math.isnan(x) else struct.pack("<d", x)


# ---- Programs: a list of steps over a growing list of Values -------------------------------------

Step = Callable[[Any, list[Any]], Sequence[Any]]  # (engine, values so far) -> new values


@dataclass(frozen=True)
class Ref:
    """An operand that is an earlier Value, counted from the end or the start, wrapping around."""

    index: int

    def of(self, values: list[Any]) -> Any:
        return values[self.index % len(values)]


def resolve(operand: Any, values: list[Any]) -> Any:
    return operand.of(values) if isinstance(operand, Ref) else operand


@dataclass(frozen=True)
class Leaf:
    data: float

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        return [engine.Value(self.data)]


@dataclass(frozen=True)
class Method:
    """A row of the table as a method."""

    name: str
    operands: tuple[Any, ...]

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        first, *rest = (resolve(operand, values) for operand in self.operands)
        return [getattr(first, self.name)(*rest)]


@dataclass(frozen=True)
class Operator:
    """One of Python's operators; at least one operand is a Value."""

    function: Callable[..., Any]
    operands: tuple[Any, ...]

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        return [self.function(*(resolve(operand, values) for operand in self.operands))]


@dataclass(frozen=True)
class Custom:
    """microgpt's way: a node of any arity with its derivatives given as numbers."""

    data: float
    children: tuple[Ref, ...]
    local_grads: tuple[float, ...]

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        children = tuple(child.of(values) for child in self.children)
        return [engine.Value(self.data, children, self.local_grads)]


@dataclass(frozen=True)
class Closure:
    """micrograd's way: children, a name, and a closure that passes the gradient on."""

    children: tuple[Ref, ...]
    factor: float

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        children = tuple(child.of(values) for child in self.children)
        out = engine.Value(self.factor * children[0].data, children, "custom")

        def backward() -> None:
            for child in children:
                child.grad += self.factor * out.grad

        out._backward = backward
        return [out]


@dataclass(frozen=True)
class Sum:
    values: tuple[Any, ...]
    start: Any

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        terms = [resolve(x, values) for x in self.values]
        return [engine.sum(terms, resolve(self.start, values))]


@dataclass(frozen=True)
class Dot:
    pairs: tuple[tuple[Ref, Any], ...]
    bias: Any

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        ws = [w.of(values) for w, _ in self.pairs]
        xs = [resolve(x, values) for _, x in self.pairs]
        return [engine.dot(ws, xs, resolve(self.bias, values))]


@dataclass(frozen=True)
class Layer:
    seed: int
    outputs: int
    activation: str
    inputs: tuple[Any, ...]

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        random.seed(self.seed)
        layer = engine.Layer(len(self.inputs), self.outputs, self.activation)
        outs = layer([resolve(x, values) for x in self.inputs])
        return [*layer.parameters(), *(outs if self.outputs > 1 else [outs])]


@dataclass(frozen=True)
class SetNumber:
    """Change data or grad of a node, which may be used already."""

    attribute: str
    node: Ref
    number: float

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        setattr(self.node.of(values), self.attribute, self.number)
        return []


@dataclass(frozen=True)
class Backward:
    node: Ref

    def __call__(self, engine: Any, values: list[Any]) -> Sequence[Any]:
        self.node.of(values).backward()
        return []


# ---- The comparison ------------------------------------------------------------------------------


@dataclass
class Run:
    """A program under way on one engine."""

    engine: Any
    values: list[Any]

    def step(self, step: Step) -> type[BaseException] | None:
        """Take a step; the type of the exception that it raised, if it did."""
        try:
            self.values += step(self.engine, self.values)
        except (ArithmeticError, ValueError, TypeError) as error:
            return type(error)
        return None

    def numbers(self) -> list[tuple[bytes, bytes]]:
        return [(bits(v.data), bits(v.grad)) for v in nodes_below(self.values)]


def nodes_below(roots: Sequence[Any]) -> Iterator[Any]:
    """Every node once, in an order that depends on the graph's shape only."""
    seen, stack = set(), list(reversed(roots))
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            stack.extend(reversed(node._children))


def different_nodes(ours: Sequence[Any], oracles: Sequence[Any]) -> str | None:
    """Node for node: op, data, gradient, number and order of children, and what is shared."""
    partner: dict[Any, Any] = {}
    stack = list(zip(ours, oracles))
    while stack:
        ours_, oracle = stack.pop()
        if ours_ in partner:
            if partner[ours_] is not oracle:
                return f"{ours_} stands for two nodes of the oracle"
            continue
        partner[ours_] = oracle
        for name in ("_op", "data", "grad"):
            a, b = getattr(ours_, name), getattr(oracle, name)
            if a != b if name == "_op" else bits(a) != bits(b):
                return f"{name} of {ours_._op or 'leaf'!r} is {a!r}, the oracle's {b!r}"
        if len(ours_._children) != len(oracle._children):
            return f"{ours_._op!r} has {len(ours_._children)} children"
        if ours_._prev != set(ours_._children):
            return f"_prev of {ours_._op!r} is not the set of its children"
        stack.extend(zip(ours_._children, oracle._children))
    if len(set(partner.values())) != len(partner):
        return "two nodes stand for one of the oracle"
    return None


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def different_step(step: Step, ours: Run, oracle: Run) -> str | None:
    """Take one step on both; what differs in what it did."""
    before, before_oracle, count = ours.numbers(), oracle.numbers(), len(oracle.values)
    with no_garbage_collection():  # of what an earlier program left behind
        living = pygradc.live_nodes()
        raised = ours.step(step)
        born = pygradc.live_nodes() - living
    expected = oracle.step(step)
    if raised is not expected:
        return f"{step}: {raised}, the oracle {expected}"
    if raised is not None:
        if ours.numbers() != before or born != 0:
            return f"{step}: the graph changed with {raised}"
        return None if oracle.numbers() == before_oracle else f"{step}: the oracle's graph changed"
    for a, b in zip(ours.values[count:], oracle.values[count:]):
        if bits(a.data) != bits(b.data):
            return f"{step}: {a.data!r}, the oracle {b.data!r}"
    return None


def first_difference(program: Sequence[Step]) -> str | None:
    """Run a program on both engines: what differs first, or None."""
    ours, oracle = Run(OURS, []), Run(ORACLE, [])
    for step in program:
        if difference := different_step(step, ours, oracle):
            return difference
        if isinstance(step, Backward) and (
            difference := different_nodes(ours.values, oracle.values)
        ):
            return f"after {step}: {difference}"
    return different_nodes(ours.values, oracle.values)


# ---- Any program ---------------------------------------------------------------------------------

UNARY = [op.name for op in OPS if op.arity == 1 and not op.takes_number]
BINARY = [op.name for op in OPS if op.arity == 2]
WITH_NUMBER = [op.name for op in OPS if op.takes_number and op.name == op.method]
ACTIVATIONS = ["linear", *(op.name for op in OPS if op.is_activation)]
OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.pow),
    *(operator.mod, operator.floordiv),
]
SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 5e-324, -2.2e-308, 1e200, -1e308, 700.0,
    math.inf, -math.inf, math.nan,
]  # fmt: skip

refs = st.one_of(st.integers(-4, -1), st.integers(0, 200)).map(Ref)
tame = st.floats(-3.0, 3.0)
floats = st.one_of(tame, tame, st.sampled_from(SPECIAL), st.floats())
numbers = st.one_of(floats, st.integers(-5, 5), st.integers(-(2**60), 2**60), st.booleans())
operands = st.one_of(refs, refs, numbers)
terms = st.one_of(refs, refs, floats, st.integers(-5, 5))  # Python adds up large ints exactly
pairs = st.one_of(
    st.tuples(refs, refs), st.tuples(refs, numbers), st.tuples(numbers, refs),
    refs.map(lambda ref: (ref, ref)),
)  # fmt: skip
exponents = st.one_of(st.integers(-4, 4), st.sampled_from([0.5, -0.5, 2.0, 1 / 3, 0.0]), numbers)


def up_to(most: int, strategy: st.SearchStrategy[Any], least: int = 0) -> Any:
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


customs = st.integers(0, 6).flatmap(
    lambda n: st.builds(Custom, floats, up_to(n, refs, n), up_to(n, floats, n))
)
steps = st.one_of(
    st.builds(Leaf, floats),
    st.builds(Method, st.sampled_from(UNARY), st.tuples(refs)),
    st.builds(Method, st.sampled_from(UNARY), st.tuples(refs)),
    st.builds(Method, st.sampled_from(BINARY), st.tuples(refs, operands)),
    st.builds(Method, st.sampled_from(WITH_NUMBER), st.tuples(refs, exponents)),
    st.builds(Operator, st.sampled_from(OPERATORS), pairs),
    st.builds(Operator, st.sampled_from(OPERATORS), pairs),
    st.builds(Operator, st.just(operator.pow), st.tuples(refs, exponents)),
    st.builds(Operator, st.sampled_from([operator.neg, operator.pos, abs]), st.tuples(refs)),
    customs,
    st.builds(Closure, up_to(3, refs, 1), floats),
    st.builds(Sum, up_to(6, terms), terms),
    st.builds(Dot, up_to(5, st.tuples(refs, terms), 1), terms),
    st.builds(
        Layer, st.integers(0, 9), st.integers(1, 3), st.sampled_from(ACTIVATIONS),
        up_to(4, operands, 1),
    ),
    st.builds(SetNumber, st.sampled_from(["data", "grad"]), refs, floats),
    st.builds(Backward, refs),
)  # fmt: skip
beginnings = st.lists(st.builds(Leaf, floats), min_size=2, max_size=4)
backwards = [Backward(Ref(-1)), Backward(Ref(-1))]
inner = st.builds(Backward, refs).map(lambda step: [step])

programs = st.builds(
    lambda *parts: [step for part in parts for step in part],
    beginnings, st.lists(steps, max_size=20), st.just(backwards), inner,
)  # fmt: skip


EXAMPLES = int(os.environ.get("PYGRADC_EXAMPLES", "1500"))  # more, for a night's run


@pytest.mark.once
@settings(max_examples=EXAMPLES, deadline=None)
@given(programs)
def test_any_program_is_the_oracles(program: list[Step]) -> None:
    assert first_difference(program) is None


def tower(step: Callable[[int], Step], height: int) -> list[Step]:
    return [Leaf(1.0), Leaf(0.5), *(step(i) for i in range(height)), *backwards]


TOWERS: dict[str, list[Step]] = {
    "x * x of x * x": tower(lambda i: Operator(operator.mul, (Ref(-1), Ref(-1))), 60),
    "diamonds": tower(lambda i: Operator(operator.sub, (Ref(-1), Ref(-2))), 60),
    "one wide node over all": [*tower(lambda i: Leaf(float(i)), 60),
                               Custom(2.0, tuple(map(Ref, range(60))), (0.1,) * 60), *backwards],
    "every number a leaf of its own": tower(lambda i: Operator(operator.add, (Ref(-1), i)), 60),
    "closures over closures": tower(lambda i: Closure((Ref(-1), Ref(-2), Ref(-1)), 0.7), 60),
    "a chain": tower(lambda i: Method("sin", (Ref(-1),)), 1100),
}  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("name", TOWERS)
def test_shapes_that_chance_seldom_builds(name: str) -> None:
    assert first_difference(TOWERS[name]) is None


# ---- Would we notice? ----------------------------------------------------------------------------


def small_program(name: str) -> list[Step]:
    """One op, whose operands nothing else uses."""
    use: Step = Operator(operator.pow, (Ref(0), 3))
    if name in UNARY:
        use = Method(name, (Ref(0),))
    if name in BINARY:
        use = Method(name, (Ref(0), Ref(1)))
    if name in WITH_NUMBER:
        use = Method(name, (Ref(0), 3))
    return [Leaf(1.7 if name == "acosh" else 0.7), Leaf(1.3), use, *backwards]


def next_up(x: float) -> float:
    return math.nextafter(x, math.inf)


def larger(op: reference.Op) -> reference.Op:
    return op._replace(value=lambda a, b: next_up(op.value(a, b)))


def steeper(op: reference.Op) -> reference.Op:
    *others, last = op.derivatives
    return op._replace(derivatives=(*others, lambda a, b, y: next_up(last(a, b, y))))


def renamed(op: reference.Op) -> reference.Op:
    return op._replace(symbol=op.symbol + "'")


MISTAKES = [
    (name, mistake)
    for name in reference.OPS
    for mistake in (larger, steeper, renamed)
    if (name, mistake) != ("pown", renamed)  # its name is made in another place
]


@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_an_op_that_is_wrong_in_the_last_bit_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, mistake: Callable[[reference.Op], reference.Op]
) -> None:
    assert first_difference(small_program(name)) is None
    monkeypatch.setitem(reference.OPS, name, mistake(reference.OPS[name]))
    assert first_difference(small_program(name)) is not None


TELLTALE: list[Step] = [
    Leaf(0.7),
    Leaf(-1.3),
    Operator(operator.truediv, (Ref(0), 0.0)),
    Operator(operator.add, (2.0, Ref(1))),
    Method("abs", (Ref(1),)),
    Sum((Ref(-1), Ref(-2)), 1),
    *backwards,
]


def test_the_telltale_program_is_the_oracles() -> None:
    assert first_difference(TELLTALE) is None


def no_error(self: Any, other: Any) -> Any:
    return self


def number_first(self: Any, other: Any) -> Any:
    return reference.Value(other)._make("add", self)


def forgets_to_share(self: Any) -> Any:
    return reference.Value(self.data)._make("abs")


@pytest.mark.parametrize(
    ("method", "replacement"),
    [("__truediv__", no_error), ("__radd__", number_first), ("abs", forgets_to_share)],
)
def test_a_wrong_structure_is_noticed(
    monkeypatch: pytest.MonkeyPatch, method: str, replacement: Callable[..., Any]
) -> None:
    monkeypatch.setattr(reference.Value, method, replacement)
    assert first_difference(TELLTALE) is not None


def test_a_gradient_that_survives_an_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless_backward(self: Any) -> None:
        self.grad = 1.0
        raise ZeroDivisionError

    program = [Leaf(0.0), Method("sqrt", (Ref(0),)), Backward(Ref(-1))]
    assert first_difference(program) is None
    monkeypatch.setattr(reference.Value, "backward", careless_backward)
    assert first_difference(program) is not None


# ---- Networks, losses, optimisers ----------------------------------------------------------------

STEPS = 50
SAMPLES = 6


def regression(model: Any, xs: Any, ys: Any) -> Any:
    return losses.mse([model(x) for x in xs], ys)


def margin(model: Any, xs: Any, ys: Any) -> Any:
    return losses.hinge([model(x) for x in xs], [1 if y > 0 else -1 for y in ys])


def classification(model: Any, xs: Any, ys: Any) -> Any:
    return losses.cross_entropy([model(x) for x in xs], [int(y > 0) for y in ys])


def sgd(engine: Any, parameters: Any) -> Any:
    return engine.SGD(parameters, lr=0.05)


def momentum(engine: Any, parameters: Any) -> Any:
    return engine.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-3)


def adam(engine: Any, parameters: Any) -> Any:
    return engine.Adam(parameters, lr=0.01, betas=(0.8, 0.99))


def coupled(engine: Any, parameters: Any) -> Any:
    return engine.Adam(parameters, lr=0.01, weight_decay=0.05)


def decoupled(engine: Any, parameters: Any) -> Any:
    return engine.Adam(parameters, lr=0.01, weight_decay=0.05, decoupled=True)


def rmsprop(engine: Any, parameters: Any) -> Any:
    return engine.RMSprop(parameters, lr=0.01, weight_decay=0.05, momentum=0.5)


def trained(
    engine: Any, sizes: Sequence[int], activations: Sequence[str | None], loss: Any, optimiser: Any
) -> Iterator[tuple[bytes, ...]]:
    """Loss, every weight and every gradient after each step."""
    random.seed(1)
    rng = np.random.default_rng(2)
    xs = rng.normal(size=(SAMPLES, sizes[0])).tolist()
    ys = rng.normal(size=SAMPLES).tolist()
    model = engine.MLP(sizes[0], sizes[1:], *activations)
    steps = optimiser(engine, model.parameters())
    for _ in range(STEPS):
        total = loss(model, xs, ys)
        steps.zero_grad()
        total.backward()
        steps.step()
        weights = [x for p in model.parameters() for x in (p.data, p.grad)]
        yield tuple(map(bits, [total.data, *weights]))


NETWORKS = [
    ((2, 4, 1), ("tanh",), regression, sgd),
    ((3, 4, 4, 1), ("tanh",), regression, momentum),
    ((2, 5, 1), ("relu", "linear"), margin, sgd),
    ((2, 3, 3, 1), ("relu", "linear"), margin, momentum),
    ((2, 4, 3), ("tanh", "linear"), classification, adam),
    ((2, 3, 2), ("sigmoid", "linear"), classification, coupled),
    ((1, 6, 1), ("sin", "linear"), regression, decoupled),
    ((4, 1), ("sigmoid",), regression, adam),
    ((1, 1, 1, 1), ("erf", "cos"), regression, coupled),
    ((2, 3, 1), ("abs", None), margin, decoupled),
    ((3, 2, 1), ("linear",), regression, momentum),
    ((2, 3, 1), ("exp", "tanh"), regression, decoupled),
    ((2, 3, 1), ("tanh", "linear"), regression, rmsprop),
]


@pytest.mark.parametrize(("sizes", "activations", "loss", "optimiser"), NETWORKS)
def test_training_is_the_oracles(
    sizes: Sequence[int], activations: Sequence[str | None], loss: Any, optimiser: Any
) -> None:
    ours, oracles = (
        list(trained(engine, sizes, activations, loss, optimiser)) for engine in (OURS, ORACLE)
    )
    assert len(ours) == STEPS and len(set(ours)) > STEPS // 2  # it moved
    assert ours == oracles


@pytest.mark.parametrize("optimiser", [sgd, momentum, rmsprop, adam, coupled, decoupled])
def test_an_optimiser_is_the_oracles_at_the_edges(optimiser: Any) -> None:
    """Gradients of zero, huge, tiny and infinite."""
    results = []
    for engine in (OURS, ORACLE):
        parameters = [engine.Value(x) for x in (0.0, -0.0, 1.0, -1e-310, 1e308, 2.0)]
        for p, grad in zip(parameters, (-0.0, 0.0, 1e200, 5e-324, -1e308, math.inf)):
            p.grad = grad
        steps = optimiser(engine, parameters)
        for _ in range(3):
            steps.step()
        results.append([bits(p.data) for p in parameters])
    assert results[0] == results[1]
