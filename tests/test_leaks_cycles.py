"""Does a node go that holds itself, in each of the ways in which a Value of pure Python goes?"""

from __future__ import annotations

import functools
import gc
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pygradc import Value, live_nodes

Make = Callable[[Value], Value]


def push(x: Value, out: Value) -> None:
    x.grad += out.grad


class Push:
    """A closure as an object."""

    def __init__(self, x: Value, out: Value) -> None:
        self.x, self.out = x, out

    def __call__(self) -> None:
        push(self.x, self.out)


class SlottedPush(Push):
    __slots__ = ("out", "x")


class Slotted(Value):
    __slots__ = ("me",)


class Pusher(Value):
    def push_one(self) -> None:
        for child in self._children:
            child.grad += self.grad


def node(x: Value) -> Value:
    return Value(x.data, (x,), "same")


def by_cell(x: Value) -> Value:
    out = node(x)

    def _backward() -> None:
        x.grad += out.grad

    out._backward = _backward
    return out


def by_default(x: Value) -> Value:
    out = node(x)

    def _backward(x: Value = x, out: Value = out) -> None:
        x.grad += out.grad

    out._backward = _backward
    return out


def by_keyword_default(x: Value) -> Value:
    out = node(x)

    def _backward(*, x: Value = x, out: Value = out) -> None:
        x.grad += out.grad

    out._backward = _backward
    return out


def by_helper(x: Value) -> Value:
    out = node(x)

    def help_it() -> None:
        x.grad += out.grad

    out._backward = lambda: help_it()
    return out


def by_recursion(x: Value) -> Value:
    """The closure holds itself as well."""
    out = node(x)

    def _backward(again: bool = True) -> None:
        if again:
            _backward(False)
        else:
            x.grad += out.grad

    out._backward = _backward
    return out


def in_a_cell(wrap: Callable[[Value, Value], Any]) -> Make:
    def make(x: Value) -> Value:
        out = node(x)
        kept = wrap(x, out)

        def _backward() -> None:
            assert kept is not None
            for child in out_of(kept)._children:
                child.grad += out_of(kept).grad

        out._backward = _backward
        return out

    return make


def out_of(kept: Any) -> Value:
    while not isinstance(kept, Value):
        kept = kept["out"] if isinstance(kept, dict) else kept[-1]
    return kept


def with_closure(closure: Callable[[Value, Value], Callable[[], Any]]) -> Make:
    def make(x: Value) -> Value:
        out = node(x)
        out._backward = closure(x, out)
        return out

    return make


def with_attribute(hang: Callable[[Value], Any]) -> Make:
    def make(x: Value) -> Value:
        out = x * 1.0
        hang(out)
        return out

    return make


def by_slot(x: Value) -> Value:
    out = Slotted(x.data, (x,), (1.0,))
    out.me = out
    return out


def by_own_method(x: Value) -> Value:
    out = Pusher(x.data, (x,), "same")
    out._backward = out.push_one
    return out


def a_list_that_holds_itself(out: Value) -> None:
    held: list[Any] = [out]
    held.append(held)
    out.held = held


AT_ONCE: dict[str, Make] = {
    "cell": by_cell,
    "default": by_default,
    "keyword default": by_keyword_default,
    "helper": by_helper,
    "slot": by_slot,
    "own method": by_own_method,
    "tuple in a cell": in_a_cell(lambda x, out: (x, out)),
    "list in a cell": in_a_cell(lambda x, out: [x, out]),
    "dict in a cell": in_a_cell(lambda x, out: {"x": x, "out": out}),
    "nested": in_a_cell(lambda x, out: [({"out": [out]},)]),
    "partial": with_closure(lambda x, out: functools.partial(push, x, out)),
    "keyword partial": with_closure(lambda x, out: functools.partial(push, x=x, out=out)),
    "object": with_closure(Push),
    "slotted object": with_closure(SlottedPush),
    "bound method": with_closure(lambda x, out: Push(x, out).__call__),
    "core's push": with_closure(lambda x, out: functools.partial(push, x, out)),
    "attribute": with_attribute(lambda out: setattr(out, "me", out)),
    "attribute's list": with_attribute(lambda out: setattr(out, "all", [out, (out,)])),
}


def parents(out: Value) -> None:
    """Both operands know what was made of them."""
    other = Value(1.0)
    made = out * other
    out.users, other.users = [made], [made]


def an_exception(out: Value) -> None:
    user = out + 1.0
    try:
        raise ValueError(user)
    except ValueError as error:
        out.error = error


def a_frame(out: Value) -> None:
    user = out + 1.0
    out.frame = sys._getframe(), user


def a_class(out: Value) -> None:
    class Kept:
        user = out + 1.0

        def method(self) -> Any:
            return super().__repr__()

    out.kind = Kept


def a_module(out: Value) -> None:
    module = types.ModuleType("one that nobody imports")
    exec("def function():\n    return user\n", vars(module))
    module.user = out + 1.0  # type: ignore[attr-defined]
    out.function = module.function


def a_generator(out: Value) -> None:
    def steps() -> Iterator[Value]:
        user = out + 1.0
        yield user
        yield user

    out.steps = steps()
    next(out.steps)


IN_ONE_COLLECTION: dict[str, Make] = {
    "recursion": by_recursion,
    "a list that holds itself": with_attribute(a_list_that_holds_itself),
    "the graph": with_attribute(lambda out: setattr(out, "parent", out + 1)),
    "the graph, further up": with_attribute(
        lambda out: setattr(out, "parent", {"it": [((out + 1) * 2).tanh()]})
    ),
    "two operands": with_attribute(parents),
    "an exception": with_attribute(an_exception),
    "a frame": with_attribute(a_frame),
    "a class": with_attribute(a_class),
    "a module": with_attribute(a_module),
    "a generator": with_attribute(a_generator),
}


@pytest.fixture
def start() -> Iterator[int]:
    gc.collect()
    gc.disable()
    yield live_nodes()
    gc.enable()


def chain(make: Make, depth: int) -> tuple[Value, Value]:
    x = y = Value(1.0)
    for _ in range(depth):
        y = make(y)
    return x, y * 2


@pytest.mark.parametrize("kind", AT_ONCE)
def test_a_chain_goes_at_once(start: int, kind: str) -> None:
    x, z = chain(AT_ONCE[kind], 100)
    z.backward()
    assert x.grad == 2.0
    del z
    assert live_nodes() - start == 1


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_ONE_COLLECTION])
def test_a_chain_goes_in_one_collection(start: int, kind: str) -> None:
    make = {**AT_ONCE, **IN_ONE_COLLECTION}[kind]
    x = y = Value(1.0)
    for _ in range(100):
        y = make(y)
    y.backward()
    assert x.grad == 1.0
    del y
    gc.collect()
    assert live_nodes() - start == 1


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_ONE_COLLECTION])
def test_what_is_in_use_stays(start: int, kind: str) -> None:
    make = {**AT_ONCE, **IN_ONE_COLLECTION}[kind]
    x, z = chain(make, 5)
    nodes = live_nodes()
    gc.collect()
    gc.collect()
    assert live_nodes() == nodes
    z.backward()
    assert x.grad == 2.0
    inner = z._children[0]
    del z
    gc.collect()
    inner.backward()
    assert x.grad == 3.0
    del inner
    gc.collect()
    assert live_nodes() - start == 1


def test_only_the_last_user_lets_the_graphs_cycle_go(start: int) -> None:
    v = Value(1.0)
    v.parent = v + 1
    above = v.parent * 3
    del v
    gc.collect()
    assert above._children[0]._children[0].parent is above._children[0]
    above.backward()
    gc.collect()
    assert live_nodes() - start == 5
    del above
    gc.collect()
    assert live_nodes() == start


def test_a_cycle_through_others_objects_goes(start: int) -> None:
    class Owner:
        pass

    v, owner = Value(1.0), Owner()
    s = v + 1
    s.owner, owner.value, v.parent = owner, v, s  # type: ignore[attr-defined]
    seen = weakref.ref(owner)
    del v, s, owner
    gc.collect()
    assert live_nodes() == start
    gc.collect()
    assert seen() is None


def test_one_outside_keeps_all(start: int) -> None:
    class Owner:
        pass

    v, owner = Value(1.0), Owner()
    v.owner, owner.parent = owner, (v + 1)  # type: ignore[attr-defined]
    del v
    for _ in range(3):
        gc.collect()
    (child, _) = owner.parent._children  # type: ignore[attr-defined]
    assert child.owner is owner
    del child, _, owner
    gc.collect()
    assert live_nodes() == start


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_ONE_COLLECTION])
def test_three_hundred_steps_need_no_more_room_than_a_few(kind: str) -> None:
    """With Python's collector as it comes."""
    make = {**AT_ONCE, **IN_ONE_COLLECTION}[kind]
    gc.collect()
    start, most = live_nodes(), 0
    steps = 300 if kind in AT_ONCE else 100
    for step in range(steps):
        x, z = chain(make, 100)
        z.backward()
        del x, z
        if kind in IN_ONE_COLLECTION and step % 10 == 9:
            gc.collect()
        most = max(most, live_nodes() - start)
    gc.collect()
    assert live_nodes() == start
    assert most < (1_000 if kind in AT_ONCE else 10_000)


def test_finalizers_run_once_and_before_anything_is_gone(start: int) -> None:
    said: list[Any] = []

    class Last:
        def __init__(self, out: Value) -> None:
            self.out = out

        def __del__(self) -> None:
            said.append((self.out.label, self.out.last is self, len(self.out.users)))

    def steps(out: Value) -> Iterator[None]:
        try:
            yield
        finally:
            said.append((out.label, len(out.users)))

    def make() -> None:
        out = Value(1.0, label="out")
        out.users, out.last, out.steps = [out + 1.0], Last(out), steps(out)
        next(out.steps)

    make()
    gc.collect()
    assert sorted(said, key=len) == [("out", 1), ("out", True, 1)]
    gc.collect()
    assert len(said) == 2
    assert live_nodes() == start


def test_a_finalizer_may_keep_all(start: int) -> None:
    kept: list[Any] = []

    class Last:
        def __init__(self, out: Value) -> None:
            self.out = out

        def __del__(self) -> None:
            kept.append(self)

    def make() -> None:
        out = Value(3.0, label="out")
        out.users, out.last = [out * out], Last(out)

    make()
    gc.collect()
    (last,) = kept
    assert last.out.last is last and last.out.label == "out"
    (user,) = last.out.users
    user.backward()
    assert (user.data, last.out.grad) == (9.0, 6.0)
    del last, user
    kept.clear()
    gc.collect()
    assert live_nodes() == start


def test_what_runs_is_not_garbage(start: int) -> None:
    def run() -> tuple[Value, Any]:
        out = Value(2.0)
        out.frame, out.users = sys._getframe(), [out + 1.0]
        gc.collect()
        return out.users[0], out.frame.f_code.co_name

    user, name = run()
    assert (user.data, name) == (3.0, "run")
    del user
    gc.collect()
    assert live_nodes() == start
