"""What does `__init__` do when it is called again, on a Value that is in use?"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import pygradc
from pygradc import Value, live_nodes, reference


def squared(x: Value) -> Value:
    out = Value(x.data**2, (x,), "squared")

    def _backward() -> None:
        x.grad += 2.0 * x.data * out.grad

    out._backward = _backward
    return out


USED: dict[str, Any] = {
    "leaf": lambda a: Value(3.0, label="a leaf"),
    "number": lambda a: Value(3.0),
    "op": lambda a: a * 2.0,
    "power": lambda a: a**2,
    "given": lambda a: Value(3.0, (a,), (1.5,)),
    "named": lambda a: Value(3.0, (a,), "op", "label"),
    "closure": squared,
    "wide": lambda a: Value(3.0, (a,) * 20, tuple(range(20))),
    "where": lambda a: pygradc.where(True, a, 1.0),
    "custom": pygradc.op(lambda x: x * 2.0, derivatives=lambda x, y: (2.0,)),
}


@pytest.mark.parametrize("kind", USED)
def test_a_number_makes_a_leaf_of_it(kind: str) -> None:
    start = live_nodes()
    a = Value(2.0)
    v = USED[kind](a)
    v.grad, v.mine = 5.0, "stays"
    v.__init__(7.0)
    assert (v.data, v.grad, v._op, v.label, v._children) == (7.0, 0.0, "", "", ())
    assert v.mine == "stays"
    v.backward()
    assert (v.grad, a.grad) == (1.0, 0.0)
    (v * 3.0).backward()
    assert (v.grad, a.grad) == (4.0, 0.0)
    del v
    gc.collect()
    assert live_nodes() - start == 1


@pytest.mark.parametrize("kind", USED)
@pytest.mark.parametrize("third", ["name", (1.5, -2.0), None])
def test_children_make_another_node_of_it(kind: str, third: Any) -> None:
    start = live_nodes()
    a, b, c = Value(2.0), Value(3.0), Value(4.0)
    v = USED[kind](a)
    v.__init__(9.0, (b, c), third, label="again")
    assert v._children == (b, c) and v.label == "again"
    assert v._op == ("name" if third == "name" else "")
    v.backward()
    given = isinstance(third, tuple)
    assert (v.grad, a.grad, b.grad, c.grad) == (1.0, 0.0, 1.5 * given, -2.0 * given)
    del v
    gc.collect()
    assert live_nodes() - start == 3


@pytest.mark.parametrize("kind", ["leaf", "op", "given", "closure", "custom"])
def test_those_that_use_it_see_what_it_has_become(kind: str) -> None:
    a = Value(2.0)
    v = USED[kind](a)
    above = v * 2.0 + v
    v.__init__(10.0)
    assert above._children[1] is v
    above.backward()
    assert (v.grad, a.grad) == (3.0, 0.0)


def test_no_node_is_made_of_itself() -> None:
    a, v = Value(2.0), Value(0.7)
    v._backward = lambda: None
    with pytest.raises(TypeError, match="its own child"):
        v.__init__(1.0, (v,), (1.5,))
    v.backward()
    assert (v.data, v.grad) == (0.7, 1.0)
    above = v * a
    for children in [(above,), (a, above * 2.0), (a,)]:
        with pytest.raises(TypeError, match="nodes use"):
            v.__init__(1.0, children, tuple(1.0 for _ in children))
    above.backward()
    assert (v.grad, a.grad) == (3.0, 0.7)


@pytest.mark.parametrize(
    "arguments",
    [("x",), (1.0, (2.0,)), (1.0, ("a",), (1.0,)), (1.0, 3), (1.0, (Value(1.0),), (1.0, 2.0))],
)
def test_what_is_refused_leaves_it_as_it_was(arguments: Any) -> None:
    a = Value(2.0)
    v = squared(a)
    v.label, v.grad = "v", 4.0
    with pytest.raises((TypeError, ValueError)):
        v.__init__(*arguments)
    assert (v.data, v.grad, v.label, v._op, v._children) == (4.0, 4.0, "v", "squared", (a,))
    v.backward()
    assert a.grad == 4.0


def test_constructors_of_subclasses() -> None:
    class Once(Value):
        def __init__(self, data: float, unit: str) -> None:
            super().__init__(data, label=unit)
            self.unit = unit

    class Twice(Once):
        def __init__(self, data: float, unit: str) -> None:
            super().__init__(data, unit)
            Value.__init__(self, data + 1.0, label="again")

    class Later(Value):
        def __init__(self, data: float, children: Any = (), op: str = "") -> None:
            super().__init__(0.0)
            self._backward = self.nothing
            super().__init__(data, children, op)

        def nothing(self) -> None:
            raise AssertionError("was dropped by the second __init__")

    v = Twice(1.0, "m")
    assert (v.data, v.label, v.unit) == (2.0, "again", "m")
    a = Value(3.0)
    w = Later(5.0, (a,), "later")
    (w * 2.0).backward()
    assert (w.grad, w._op, w._children) == (2.0, "later", (a,))
    w.__init__(6.0)
    w.backward()
    assert (w.grad, w._children) == (1.0, ())


def test_a_hundred_thousand_times_leak_nothing() -> None:
    start, a, v = live_nodes(), Value(2.0), Value(1.0)
    names = [f"name {i}" for i in range(100)]
    v.__init__(1.0, (a,), names[0])
    import sys

    before = [sys.getrefcount(name) for name in names[1:]]
    for i in range(10_000):
        v.__init__(1.0, (a,), names[i % 100])
    v.__init__(1.0)
    assert [sys.getrefcount(name) for name in names[1:]] == before
    assert live_nodes() - start == 2


def test_the_old_closure_goes() -> None:
    a = Value(2.0)
    v = squared(a)
    closure = weakref.ref(v._backward)
    v.__init__(1.0)
    assert closure() is None
    assert v._backward.__name__ == "_push"


def test_a_closure_that_looks_while_it_goes() -> None:
    class Looks:
        seen: Any = None

        def __init__(self, v: Value) -> None:
            self.v = v

        def __call__(self) -> None: ...

        def __del__(self) -> None:
            Looks.seen = (self.v.data, self.v._children, self.v + 1)

    a = Value(2.0)
    v = a * 3.0
    v._backward = Looks(v)
    with pytest.raises(TypeError, match="nodes use"):
        v.__init__(1.0, (a,), (1.0,))
    assert Looks.seen[1] == ()
    Looks.seen = None


@pytest.mark.parametrize("who", ["root", "inner"])
def test_not_in_the_middle_of_a_sweep(who: str) -> None:
    a = Value(2.0)
    inner = squared(a)
    root = inner * 3.0

    def _backward() -> None:
        (root if who == "root" else inner).__init__(1.0)

    inner._backward = _backward
    a.grad = 7.0
    with pytest.raises(RuntimeError, match="during a backward pass"):
        root.backward()
    assert (a.grad, inner.grad, root.grad) == (7.0, 0.0, 0.0)
    assert root._children[0] is inner and inner._children == (a,)


def test_not_by_a_rule_that_is_asked_for_derivatives() -> None:
    made: list[Value] = []

    def derivatives(x: float, y: float) -> tuple[float]:
        made[0].__init__(1.0)
        return (2.0,)

    double = pygradc.op(lambda x: x * 2.0, derivatives=derivatives)
    made.append(double(Value(3.0)))
    for ask in (made[0].backward, lambda: made[0]._local_grads, made[0]._push):
        with pytest.raises(RuntimeError, match="during a backward pass"):
            ask()
    made.clear()


def test_in_no_grad() -> None:
    a = Value(2.0)
    v = squared(a)
    with pygradc.no_grad():
        v.__init__(3.0, (a,), (1.0,))
    assert (v.data, v._children) == (3.0, ())


def test_in_a_recording() -> None:
    @pygradc.compile
    def again(x: Any) -> Any:
        y = x * 2.0
        y.__init__(1.0)
        return y

    with pytest.raises(pygradc.TraceError, match="__init__"):
        again(1.0)


def test_as_the_oracle() -> None:
    def program(kind: Any) -> tuple[float, ...]:
        a, b = kind(2.0), kind(3.0)
        v = a * b
        w = v + a
        v.__init__(5.0)
        w.backward()
        v.__init__(w.data)
        (v * v).backward()
        return a.grad, b.grad, v.grad, v.data, w.data

    assert program(Value) == program(reference.Value)
