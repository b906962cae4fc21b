"""Does everything together, in any order, leave what the oracle says?

A state machine of hypothesis's builds, drops, labels, sweeps, copies, pickles, records and replays,
on pygradc and on `pygradc.reference` at once. After each step the same graphs, with the same bits,
hang below what is held, and as many nodes live as can be reached.

PYGRADC_MACHINES says how many machines run; the default is CI's.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import pygradc
from pygradc import Value, reference
from tests.programs import bits

MACHINES = int(os.environ.get("PYGRADC_MACHINES", "100"))
MOST_HELD, MOST_NODES = 10, 120

Pair = tuple[Any, Any]  # ours, the oracle's
index = st.integers(0, 2**16)  # of something held: modulo how much there is
number = st.one_of(
    st.floats(-3.0, 3.0),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 5e-324, 1e300, float("inf"), float("nan")]),
)
unary = st.sampled_from(
    [
        name
        for name, op in reference.OPS.items()
        if len(op.derivatives) == 1 and name != "pown" and name not in reference.NUMBERS
    ]
)
binary = st.sampled_from(["add", "mul", "sub", "truediv", "pow", "maximum", "minimum"])


# ---- Custom ops, in both worlds ------------------------------------------------------------------


def _slopes(a: Any, b: Any, y: Any) -> tuple[Any, Any]:
    return b + 1.0, a


@functools.partial(pygradc.op, derivatives=_slopes)
def shifted_product(a: Any, b: Any) -> Any:
    return a * b + a


def push_shifted(node: Any) -> None:
    """As the core: the last operand gets its gradient first."""
    a, b = node._children
    slopes = _slopes(a.data, b.data, node.data)
    b.grad += slopes[1] * node.grad
    a.grad += slopes[0] * node.grad


def oracle_shifted(a: Any, b: Any) -> Any:
    node = reference.Value(shifted_product._forward(a.data, b.data), (a, b), "shifted_product")
    node._backward = functools.partial(push_shifted, node)
    return node


def doubled(kind: Any, a: Any) -> Any:
    """A custom op the way that micrograd's readers write it."""
    out = kind(a.data * 2.0, (a,), "doubled")

    def _backward() -> None:
        a.grad += 2.0 * out.grad

    out._backward = _backward
    return out


# ---- The oracle's graphs -------------------------------------------------------------------------


def below(roots: Sequence[Any]) -> list[Any]:
    seen: dict[Any, None] = {}
    for root in roots:
        if root not in seen:
            seen.update(dict.fromkeys(root._order()))
    return list(seen)


def clone(node: Any, copies: dict[Any, Any]) -> Any:
    """A copy of all that is below, with what was copied before."""
    for old in node._order():
        if old in copies:
            continue
        new = copies[old] = copy.copy(old)
        new._children = tuple(copies[child] for child in old._children)
        if old._op == "shifted_product":
            new._backward = functools.partial(push_shifted, new)
    return copies[node]


def has_closure(node: Any) -> bool:
    return any(n._op == "doubled" and n._children for n in node._order())


def nodes_of(roots: Sequence[Any]) -> int:
    """The exponent of a ** 2 is a node of ours."""
    return sum(2 if n._rule is reference.OPS["pown"] else 1 for n in below(roots))


def compare(ours: Any, oracle: Any, known: dict[Any, Any]) -> None:
    """Everything below these two is the same; known: the oracle's nodes, with ours."""
    stack = [(ours, oracle)]
    while stack:
        ours, oracle = stack.pop()
        if oracle in known:
            assert known[oracle] is ours
            continue
        known[oracle] = ours
        assert bits(ours.data) == bits(oracle.data)
        assert bits(ours.grad) == bits(oracle.grad)
        assert (ours._op, ours.label) == (oracle._op, oracle.label)
        assert len(ours._children) == len(oracle._children)
        stack += zip(ours._children, oracle._children)


def collect() -> None:
    """All garbage: a closure's cycle is seen as one only when what uses its node has gone."""
    while gc.collect():
        pass


# ---- Calls that may fail -------------------------------------------------------------------------


def attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """The result, and the type of the exception instead; not the exception, which holds frames."""
    try:
        return function(*arguments), None
    except (ArithmeticError, TypeError, ValueError) as error:
        return None, type(error)


def apply(name: str, a: Any, b: Any) -> Any:
    operator = getattr(a, f"__{name}__", None) if name in ("sub", "truediv", "pow") else None
    if operator is not None:
        return operator(b)
    return a + b if name == "add" else a * b if name == "mul" else getattr(a, name)(b)


# ---- Functions to record -------------------------------------------------------------------------

Plan = list[tuple[str, int, int]]
plans = st.lists(
    st.tuples(st.sampled_from(["add", "mul", "tanh", "relu", "maximum", "shifted"]), index, index),
    min_size=1,
    max_size=6,
)


def follow(plan: Plan, shifted: Any, values: list[Any]) -> Any:
    """Ops without domain errors over a growing list."""
    for name, i, j in plan:
        a, b = values[i % len(values)], values[j % len(values)]
        if name in ("tanh", "relu"):
            step = getattr(a, name)()
        else:
            step = shifted(a, b) if name == "shifted" else apply(name, a, b)
        values = [*values, step]
    return values[-1]


class Recording:
    """A function of one number that captures Values, recorded, and the oracle's."""

    def __init__(self, plan: Plan, captured: list[Pair]) -> None:
        self.plan = plan
        self.captured = captured
        ours = [pair[0] for pair in captured]
        self.compiled = pygradc.compile(
            lambda x: follow(plan, shifted_product, [*ours, x]), errors="ignore"
        )

    def expected(self, x: float) -> tuple[Any, Any, list[Any]]:
        """Its result on leaves of its own, swept; the input; what stands for what is captured."""
        leaves: dict[Any, Any] = {}
        for _, oracle in self.captured:
            leaves.setdefault(oracle, reference.Value(oracle.data))
        params = [leaves[oracle] for _, oracle in self.captured]
        given = reference.Value(x)
        y = follow(self.plan, oracle_shifted, [*params, given])
        y.backward()
        return y, given, params

    def row(self, x: float) -> Pair:
        """The sum over one row: a Value that is made of what it captures."""
        ours = self.compiled.sum(np.array([x]))
        y, _, params = self.expected(x)
        gradients = {id(v): (oracle, p.grad) for (v, oracle), p in zip(self.captured, params)}
        made_of = [gradients[id(child)] for child in ours._children]
        children = tuple(oracle for oracle, _ in made_of)
        node = reference.Value(0.0 + y.data, children, tuple(grad for _, grad in made_of))
        node._op = ours._op
        return ours, node


# ---- The machine ---------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.before = pygradc.live_nodes()
        self.held: list[Pair] = []
        self.recordings: list[Recording] = []
        self.block = contextlib.ExitStack()
        self.blind = False  # in a block of no_grad

    # Tools.

    def at(self, i: int) -> Pair:
        return self.held[i % len(self.held)]

    def hold(self, ours: Any, oracle: Any) -> None:
        self.held.append((ours, oracle))

    def made(self, ours: tuple[Any, Any], oracle: tuple[Any, Any]) -> None:
        """The result of an op on both sides, or the same error."""
        assert ours[1] is oracle[1]
        if ours[1] is None:
            value = oracle[0]
            self.hold(ours[0], reference.Value(value.data) if self.blind else value)

    def roots(self) -> list[Any]:
        captured = [oracle for r in self.recordings for _, oracle in r.captured]
        return [oracle for _, oracle in self.held] + captured

    def teardown(self) -> None:
        self.block.close()
        self.held.clear()
        self.recordings.clear()
        if pygradc.live_nodes() != self.before:
            collect()
        if sys.exc_info()[0] is None:  # a failure's frames hold Values
            assert pygradc.live_nodes() == self.before

    # Building.

    @initialize(data=number)
    def first(self, data: float) -> None:
        self.hold(Value(data), reference.Value(data))

    @rule(data=number, label=st.sampled_from(["", "w"]))
    def make_leaf(self, data: float, label: str) -> None:
        self.hold(Value(data, label=label), reference.Value(data, label=label))

    @rule(name=unary, i=index)
    def make_unary(self, name: str, i: int) -> None:
        ours, oracle = self.at(i)
        self.made(attempt(getattr(ours, name)), attempt(getattr(oracle, name)))

    @rule(name=binary, i=index, j=index)
    def make_binary(self, name: str, i: int, j: int) -> None:
        a, b = self.at(i), self.at(j)
        self.made(attempt(apply, name, a[0], b[0]), attempt(apply, name, a[1], b[1]))

    @rule(name=binary, i=index, b=number)
    def make_with_number(self, name: str, i: int, b: float) -> None:
        ours, oracle = self.at(i)
        self.made(attempt(apply, name, ours, b), attempt(apply, name, oracle, b))

    @rule(i=index, exponent=st.sampled_from([2, 3, -1, 0, 0.5, 2.0]))
    def make_power(self, i: int, exponent: float) -> None:
        ours, oracle = self.at(i)
        self.made(attempt(pow, ours, exponent), attempt(pow, oracle, exponent))

    # Custom ops: given derivatives, a closure, an op.

    @rule(i=index, j=index, data=number, slopes=st.tuples(number, number))
    def make_given(self, i: int, j: int, data: float, slopes: tuple[float, float]) -> None:
        a, b = self.at(i), self.at(j)
        ours = Value(data, (a[0], b[0]), slopes)
        self.made((ours, None), (reference.Value(data, (a[1], b[1]), slopes), None))

    @precondition(lambda self: not self.blind)
    @rule(i=index)
    def make_closure(self, i: int) -> None:
        ours, oracle = self.at(i)
        self.hold(doubled(Value, ours), doubled(reference.Value, oracle))

    @rule(i=index, j=index)
    def make_op(self, i: int, j: int) -> None:
        a, b = self.at(i), self.at(j)
        self.made((shifted_product(a[0], b[0]), None), (oracle_shifted(a[1], b[1]), None))

    # Constructed again.

    @rule(i=index, data=number)
    def start_again(self, i: int, data: float) -> None:
        for value in self.at(i):
            value.__init__(data)
        self.at(i)[1]._closure = None

    @rule(i=index, j=index, data=number, slopes=st.tuples(number, number))
    def make_again(self, i: int, j: int, data: float, slopes: tuple[float, float]) -> None:
        """Refused if others use it, and for a node that would be made of itself."""
        a, b = self.at(i), self.at(j)
        collect()  # garbage uses nodes, too
        used = a[1] is b[1] or any(a[1] in node._children for node in below(self.roots()))
        _, error = attempt(a[0].__init__, data, (b[0], b[0]), slopes)
        assert error is (TypeError if used else None)
        if not used:
            a[1].__init__(data, () if self.blind else (b[1], b[1]), () if self.blind else slopes)
            a[1]._closure = None

    # Holding.

    @precondition(lambda self: len(self.held) > 1)
    @rule(i=index)
    def drop(self, i: int) -> None:
        del self.held[i % len(self.held)]

    @rule(i=index, k=index)
    def hold_child(self, i: int, k: int) -> None:
        ours, oracle = self.at(i)
        if oracle._children:
            k %= len(oracle._children)
            self.hold(ours._children[k], oracle._children[k])

    @rule(i=index, text=st.sampled_from(["", "a", "loss"]))
    def label(self, i: int, text: str) -> None:
        for value in self.at(i):
            value.label = text

    @rule(i=index, data=number)
    def set_data(self, i: int, data: float) -> None:
        for value in self.at(i):
            value.data = data

    @rule(i=index, grad=number)
    def set_grad(self, i: int, grad: float) -> None:
        for value in self.at(i):
            value.grad = grad

    # Gradients.

    @rule(i=index)
    def backward(self, i: int) -> None:
        ours, oracle = self.at(i)
        assert attempt(ours.backward) == attempt(oracle.backward)

    @rule(i=index)
    def clear_grads(self, i: int) -> None:
        ours, oracle = self.at(i)
        pygradc.clear_grads(ours)
        for node in oracle._order():
            node.grad = 0.0

    @precondition(lambda self: not self.blind)
    @rule()
    def enter_no_grad(self) -> None:
        self.block.enter_context(pygradc.no_grad())
        self.blind = True

    @precondition(lambda self: self.blind)
    @rule()
    def leave_no_grad(self) -> None:
        self.block.close()
        self.blind = False

    # Copies.

    @rule(i=index)
    def copy_one(self, i: int) -> None:
        ours, oracle = self.at(i)
        leaf = reference.Value(oracle.data, label=oracle.label)
        leaf.grad = oracle.grad
        self.hold(copy.copy(ours), leaf)

    @rule(i=index, j=index, through=st.sampled_from([copy.deepcopy, "pickle"]))
    def copy_two(self, i: int, j: int, through: Any) -> None:
        """What they share is shared by the copies."""
        a, b = self.at(i), self.at(j)
        copies, error = attempt(through if callable(through) else by_pickle, [a[0], b[0]])
        closures = has_closure(a[1]) or has_closure(b[1])  # which a deep copy leaves behind
        assert error is (TypeError if closures and through == "pickle" else None)
        if not closures:
            known: dict[Any, Any] = {}
            self.hold(copies[0], clone(a[1], known))
            self.hold(copies[1], clone(b[1], known))

    # Recordings.

    @precondition(lambda self: len(self.recordings) < 2)
    @rule(plan=plans, captured=st.lists(index, min_size=1, max_size=3), x=number)
    def record(self, plan: Plan, captured: list[int], x: float) -> None:
        self.recordings.append(Recording(plan, [self.at(i) for i in captured]))
        self.recordings[-1].compiled.map(np.array([x]))

    @precondition(lambda self: self.recordings)
    @rule(i=index, xs=st.lists(number, min_size=1, max_size=9))
    def replay(self, i: int, xs: list[float]) -> None:
        recording = self.recordings[i % len(self.recordings)]
        values = recording.compiled.map(np.array(xs))
        results, gradients = recording.compiled.gradients(np.array(xs))
        for row, x in enumerate(xs):
            y, given, _ = recording.expected(x)
            assert bits(values[row]) == bits(y.data) == bits(results[row])
            assert bits(gradients[0][row]) == bits(given.grad)

    @precondition(lambda self: self.recordings)
    @rule(i=index, x=number)
    def replay_to_value(self, i: int, x: float) -> None:
        ours, oracle = self.recordings[i % len(self.recordings)].row(x)
        self.made((ours, None), (oracle, None))

    @precondition(lambda self: self.recordings)
    @rule(i=index)
    def forget(self, i: int) -> None:
        del self.recordings[i % len(self.recordings)]

    # What must hold.

    @invariant()
    def small(self) -> None:
        while len(self.held) > 1 and (
            len(self.held) > MOST_HELD or nodes_of(self.roots()) > MOST_NODES
        ):
            del self.held[0]

    @invariant()
    def same(self) -> None:
        known: dict[Any, Any] = {}
        for ours, oracle in self.held:
            compare(ours, oracle, known)

    @invariant()
    def counted(self) -> None:
        expected = self.before + nodes_of(self.roots())
        if pygradc.live_nodes() != expected:
            collect()  # a closure is a cycle; so is what a recording leaves
        assert pygradc.live_nodes() == expected


def by_pickle(values: list[Any]) -> Any:
    return pickle.loads(pickle.dumps(values))


def run(machine: type[RuleBasedStateMachine], machines: int, phases: Sequence[Phase]) -> None:
    collect()
    gc.freeze()  # so that the machines' own collections look at what is theirs
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=machines,
                stateful_step_count=40,
                deadline=None,
                derandomize="PYGRADC_MACHINES" not in os.environ,
                database=None,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        gc.unfreeze()


def test_any_order() -> None:
    run(Machine, MACHINES, [Phase.generate, Phase.shrink])


# ---- Would we notice? ----------------------------------------------------------------------------

kept: list[Any] = []


class Leaks(Machine):
    """A node that nobody holds stays."""

    @rule(i=index)
    def leak(self, i: int) -> None:
        kept.append(self.at(i)[0] * 2.0)


class SweepsOnce(Machine):
    """One of the two sweeps more than the other."""

    @rule(i=index)
    def sweep_ours(self, i: int) -> None:
        attempt(self.at(i)[0].backward)


class Unshares(Machine):
    """Copies of what is shared that share nothing."""

    @rule(i=index)
    def copy_apart(self, i: int) -> None:
        ours, oracle = self.at(i)
        node = ours + ours
        self.hold(node, oracle + clone(oracle, {}))


@pytest.mark.parametrize("machine", [Leaks, SweepsOnce, Unshares])
def test_machine_notices(machine: type[RuleBasedStateMachine]) -> None:
    with pytest.raises(AssertionError):
        run(machine, 20, [Phase.generate])
    kept.clear()
