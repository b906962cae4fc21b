"""Is what somebody patched in Value, or overrode in a subclass, used by what is made of it?

The oracle is micrograd's own class, whose operators are written in terms of each other.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, nn, reference

OPERATORS = [
    "__add__", "__radd__", "__mul__", "__rmul__", "__neg__", "__sub__", "__rsub__",
    "__truediv__", "__rtruediv__", "__pow__",
]  # fmt: skip


class Micrograd:
    """engine.py of micrograd, without the gradients: which operator calls which?"""

    def __init__(self, data: Any, _children: Any = (), _op: str = "") -> None:
        self.data = data
        self._op = _op

    def __add__(self, other: Any) -> Any:
        other = other if isinstance(other, Micrograd) else Micrograd(other)
        return Micrograd(self.data + other.data, (self, other), "+")

    def __mul__(self, other: Any) -> Any:
        other = other if isinstance(other, Micrograd) else Micrograd(other)
        return Micrograd(self.data * other.data, (self, other), "*")

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, Micrograd):
            return Micrograd(self.data**other.data, (self, other), "**")
        return Micrograd(self.data**other, (self,), f"**{other}")

    def relu(self) -> Any:
        return Micrograd(max(self.data, 0.0), (self,), "ReLU")

    def tanh(self) -> Any:
        return Micrograd(math.tanh(self.data), (self,), "tanh")

    def __neg__(self) -> Any:
        return self * -1

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return other + (-self)

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __truediv__(self, other: Any) -> Any:
        return self * other**-1

    def __rtruediv__(self, other: Any) -> Any:
        return other * self**-1


EXPRESSIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a+b": lambda a, b: a + b,
    "a*b": lambda a, b: a * b,
    "a-b": lambda a, b: a - b,
    "a/b": lambda a, b: a / b,
    "-a": lambda a, b: -a,
    "a+1": lambda a, b: a + 1,
    "1+a": lambda a, b: 1 + a,
    "a-1.5": lambda a, b: a - 1.5,
    "1.5-a": lambda a, b: 1.5 - a,
    "2*a": lambda a, b: 2 * a,
    "a*2": lambda a, b: a * 2,
    "a/2.0": lambda a, b: a / 2.0,
    "2.0/a": lambda a, b: 2.0 / a,
    "a**2": lambda a, b: a**2,
    "sum": lambda a, b: sum([a, b, a]),
    "x+sum": lambda a, b: sum([a, b], 0.5),
    "long": lambda a, b: ((a - 2 * b) / (1 - a) + -b * 3).tanh(),
}

BULK: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "sum": (lambda a, b: pygradc.sum([a, b, 2.0]), lambda a, b: sum([a, b, 2.0])),
    "sum of a generator": (
        lambda a, b: pygradc.sum(x for x in (a, b)),
        lambda a, b: sum([a, b]),
    ),
    "dot": (
        lambda a, b: pygradc.dot([a, b], [b, 3.0], 0.5),
        lambda a, b: sum((w * x for w, x in zip([a, b], [b, 3.0])), 0.5),
    ),
}


def neuron_of(a: Any, b: Any) -> Any:
    neuron = nn.Neuron(2, activation="tanh")
    neuron.w, neuron.b = [a, b], a
    return neuron([b, 2.0])


@contextmanager
def patched(kind: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """kind.name = make(what it was); taken back at the end."""
    own = name in vars(kind)
    before = getattr(kind, name)
    setattr(kind, name, make(before))
    try:
        yield
    finally:
        if own:
            setattr(kind, name, before)
        else:
            delattr(kind, name)


def rounded(x: float) -> float:
    """Python's pow and the core's may differ in the last bit."""
    return float(f"{x:.14g}")


def counting(log: list[Any]) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def operator(self: Any, *others: Any) -> Any:
            log.append([rounded(x.data if hasattr(x, "data") else x) for x in others])
            return original(self, *others)

        return operator

    return make


def calls(kind: Any, name: str, expression: Callable[[Any, Any], Any]) -> tuple[float, list[Any]]:
    log: list[Any] = []
    a, b = kind(3.0), kind(0.7)
    with patched(kind, name, counting(log)):
        result = expression(a, b)
    return result.data, log


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_compositions_go_through_what_was_patched(name: str, expression: str) -> None:
    ours = calls(Value, name, EXPRESSIONS[expression])
    theirs = calls(Micrograd, name, EXPRESSIONS[expression])
    assert ours[0] == pytest.approx(theirs[0], rel=1e-15)
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_oracle_goes_through_them_too(name: str, expression: str) -> None:
    assert calls(reference.Value, name, EXPRESSIONS[expression]) == calls(
        Value, name, EXPRESSIONS[expression]
    )


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("first", [True, False])
def test_the_oracles_subclass_gives_the_same(name: str, expression: str, first: bool) -> None:
    results = []
    for base in (Value, reference.Value):
        log: list[Any] = []
        kind = type("Sub", (base,), {name: counting(log)(getattr(base, name))})
        a, b = (kind(3.0), base(0.7)) if first else (base(3.0), kind(0.7))
        y = EXPRESSIONS[expression](a, b)
        y.backward()
        children = sorted(c.data for c in y._children)  # of `__radd__` called with a Value: open
        results.append((y.data, a.grad, b.grad, y._op, children, log))
    assert results[0] == results[1]


@pytest.mark.parametrize("base", [Value, reference.Value])
def test_a_number_on_the_left_of_a_subclass(base: Any) -> None:
    product = type("S", (base,), {"__mul__": lambda self, other: base(42.0)})
    assert (
        (2 * product(3.0)).data == (-product(3.0)).data == (2 / product(3.0) * 1).data * 63 == 42.0
    )
    total = type("S", (base,), {"__add__": lambda self, other: base(7.0)})
    assert (2 + total(3.0)).data == (total(3.0) - 1).data == 7.0 and (2 - total(3.0)).data == -1.0


@pytest.mark.parametrize("name", ["__add__", "__radd__", "__mul__"])
@pytest.mark.parametrize("bulk", BULK)
def test_so_does_what_is_made_in_one_call(name: str, bulk: str) -> None:
    assert calls(Value, name, BULK[bulk][0]) == calls(Value, name, BULK[bulk][1])


@pytest.mark.parametrize("name", ["__mul__", "__add__", "__pow__", "__neg__"])
def test_another_meaning_is_the_compositions_meaning(name: str) -> None:
    """Not only counted: 100 more, on both sides."""

    def more(kind: Any) -> Callable[[Any], Any]:
        return lambda original: lambda *operands: kind(original(*operands).data + 100.0)

    for expression in EXPRESSIONS.values():
        results = []
        for kind in (Value, Micrograd):
            a, b = kind(3.0), kind(0.7)
            with patched(kind, name, more(kind)):
                results.append(expression(a, b).data)
        assert results[0] == pytest.approx(results[1], rel=1e-14)
    assert (-Value(3.0)).data == -3.0 and (Value(3.0) / 2).data == 1.5


@pytest.mark.parametrize("name", [n for n in OPERATORS if "sub" not in n])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_subclass_that_overrides(name: str, expression: str) -> None:
    """micrograd's results are Values, not of the subclass: it is called for its own instances."""

    def subclass(base: Any, log: list[Any]) -> Any:
        return type("Sub", (base,), {name: counting(log)(getattr(base, name))})

    logs: list[list[Any]] = [[], []]
    results = []
    for base, log in zip((Value, Micrograd), logs):
        kind = subclass(base, log)
        results.append(EXPRESSIONS[expression](kind(3.0), kind(0.7)).data)
    assert results[0] == pytest.approx(results[1], rel=1e-15)
    assert logs[0] == logs[1]


@pytest.mark.parametrize("name", ["__add__", "__mul__"])
def test_a_subclass_in_sums_and_layers(name: str) -> None:
    log: list[Any] = []
    kind = type("Sub", (Value,), {name: counting(log)(getattr(Value, name))})
    for bulk, plain in BULK.values():
        both = []
        for way in (bulk, plain):
            log.clear()
            both.append((way(kind(3.0), kind(0.7)).data, list(log)))
        assert both[0] == both[1]
    log.clear()
    neuron_of(kind(3.0), kind(0.7))
    assert log
    shout = type("Shout", (Value,), {"tanh": lambda self: Value(7.0)})
    neuron = nn.Neuron(0, activation="tanh")
    neuron.b = shout(1.0)
    assert neuron([]).data == 7.0


def test_the_patch_may_use_what_it_replaces() -> None:
    a = Value(3.0)
    with patched(Value, "__neg__", lambda original: lambda self: original(self) - 1):
        assert (-a).data == -4.0 and (2 - a).data == -2.0
    with patched(Value, "__radd__", lambda original: lambda self, other: self + (other + 10)):
        assert (1 + a).data == 14.0 and sum([a, a]).data == 16.0


def test_what_has_been_taken_back_is_gone() -> None:
    a = Value(3.0)
    for _ in range(50):
        with patched(Value, "__mul__", lambda original: lambda self, other: Value(0.5)):
            assert (-a).data == 0.5 and (2 * a).data == 0.5
        assert (-a).data == -3.0 and (2 * a).data == 6.0
        Value.anything = 1  # type: ignore[attr-defined]
        assert (-a).data == -3.0
        del Value.anything  # type: ignore[attr-defined]


# ---- A constructor that was patched -------------------------------------------------------------


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_result_is_constructed(expression: str) -> None:
    seen: dict[Any, list[Any]] = {}
    for kind in (Value, Micrograd):
        log: list[Any] = []

        def make(original: Any, log: list[Any] = log) -> Any:
            def init(self: Any, data: Any, _children: Any = (), _op: str = "") -> None:
                log.append((float(data), [float(x.data) for x in _children], _op))
                original(self, data, _children, _op)

            return init

        a, b = kind(3.0), kind(0.7)
        with patched(kind, "__init__", make):
            EXPRESSIONS[expression](a, b)
        seen[kind] = log
    assert [call[2] for call in seen[Value]] == [call[2] for call in seen[Micrograd]]
    for ours, theirs in zip(seen[Value], seen[Micrograd]):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-15)
        assert ours[1] == pytest.approx(theirs[1], rel=1e-15)


def test_a_constructed_graph_is_the_same_graph() -> None:
    def program() -> tuple[Any, ...]:
        a, b = Value(0.5), Value(-0.7)
        y = (a * b + 2 - a / b).tanh() + (a**2).exp() - b.relu() + a.maximum(1) + 2**a + abs(b)
        y = y + neuron_of(a, b) + pygradc.where(True, y, a)
        y.backward()
        return y.data, a.grad, b.grad, y._op, len(y._children)

    expected, nodes = program(), []
    with patched(
        Value,
        "__init__",
        lambda original: lambda self, *rest: (original(self, *rest), nodes.append(self))[0],
    ):
        assert program() == expected
    assert len(nodes) > 30 and len({id(node) for node in nodes}) == len(nodes)


@pytest.mark.parametrize(
    "expression",
    [
        "d * k", "k * d", "d * 1e-200", "1e-200 * d", "-(d * -1e-200)", "d**2 * 1e-200",
        "1e-200 / d", "d.maximum(0.0) * 1e-200", "1e-200**d", "(d - 1e-200) * 1e-200",
    ],
)  # fmt: skip
def test_a_constructed_result_of_detached_values_is_detached(expression: str) -> None:
    def gradients() -> tuple[float, ...]:
        x, d, k = Value(1e-200), pygradc.detach(Value(1.0)), pygradc.detach(Value(1e-200))
        divisor = eval(expression, {"d": d, "k": k})
        y = x / divisor  # whose derivative by the divisor is no number
        y.backward()
        return y.data, x.grad, divisor.grad, d.grad, k.grad

    expected = gradients()
    with patched(Value, "__init__", lambda original: lambda self, *rest: original(self, *rest)):
        assert gradients() == expected


def test_attributes_that_the_constructor_sets_are_there() -> None:
    number = itertools.count()

    def make(original: Any) -> Any:
        def init(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            self.number, self.label = next(number), "made"
            self._backward = lambda: None  # as micrograd; the op sets another one

        return init

    a = Value(2.0)
    with patched(Value, "__init__", make):
        y = (a * 3.0 - 1.0).exp()
    assert (y.number, y.label, y._children[0]._op) == (4, "made", "+")
    y.backward()
    assert a.grad == 3.0 * y.data


def test_a_constructor_that_rounds_or_drops_the_graph() -> None:
    keep = True

    def make(original: Any) -> Any:
        def init(self: Any, data: Any, _children: Any = (), _op: Any = "") -> None:
            original(self, round(data, 1), _children if keep else (), _op if keep else "")

        return init

    a = Value(0.26)
    with patched(Value, "__init__", make):
        y = a * 1.16
        assert (y.data, y._children[1].data) == (0.3, 1.2)
        y.backward()
        assert a.grad == 1.2
        keep = False
        assert (a * 2.0)._children == ()
        keep = True
        with pygradc.no_grad():
            assert (a * 2.0)._children == () and (a * 2.0).data == 0.5


def test_a_constructor_that_hands_on_other_children_is_refused() -> None:
    a = Value(2.0)

    def make(original: Any) -> Any:
        return lambda self, data, _children=(), _op="": original(self, data, _children[:1], _op)

    with patched(Value, "__init__", make), pytest.raises(TypeError, match="children other than"):
        a * 3.0


def test_an_exception_of_the_constructor_comes_out() -> None:
    def make(original: Any) -> Any:
        def init(self: Any, *arguments: Any) -> None:
            raise KeyError("mine")

        return init

    a = Value(2.0)
    nodes = pygradc.live_nodes()
    with patched(Value, "__init__", make):
        for expression in (lambda: a * a, lambda: a + 1, lambda: a.tanh(), lambda: -a):
            with pytest.raises(KeyError, match="mine"):
                expression()
    assert pygradc.live_nodes() == nodes


def test_a_recording_does_not_pass_such_a_constructor_by() -> None:
    @pygradc.compile
    def f(x: Any) -> Any:
        return x * x

    def make(original: Any) -> Any:
        return lambda self, *arguments: original(self, *arguments)

    with patched(Value, "__init__", make), pytest.raises(pygradc.TraceError, match="__init__"):
        f(2.0)
    assert f(2.0).data == 4.0


# ---- data and grad -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "grad"])
@pytest.mark.parametrize("thing", [property(lambda self: 1.0), 3.0])
def test_a_subclass_with_its_own_numbers_is_refused(name: str, thing: Any) -> None:
    with pytest.raises(TypeError, match=rf"Odd\.{name} can't replace Value\.{name}"):
        type("Odd", (Value,), {name: thing})
    mixin = type("Mixin", (), {name: thing})
    with pytest.raises(TypeError, match=rf"Mixin\.{name} can't replace"):
        type("Odd", (mixin, Value), {})
    with pytest.raises(TypeError, match="can't replace"):
        type("Odd", (Value,), {"__slots__": (name,)})
    type("Fine", (Value, mixin), {"datum": thing})  # Value's own comes first


@pytest.mark.parametrize("name", ["data", "grad"])
def test_so_is_value_itself_at_the_next_op(name: str) -> None:
    a = Value(2.0)
    setattr(Value, name, property(lambda self: 1.0))
    try:
        for expression in (
            lambda: a + a, lambda: -a, lambda: 2 * a, lambda: a**2, lambda: a.tanh(),
            lambda: pygradc.sum([a, a]), lambda: a.maximum(1), lambda: neuron_of(a, a),
        ):  # fmt: skip
            with pytest.raises(TypeError, match=rf"Value\.{name} was replaced"):
                expression()
    finally:
        delattr(Value, name)
    assert (a + a).data == 4.0


# ---- Numbers of no dimension --------------------------------------------------------------------


class Tensor:
    """What a library that isn't installed may bring."""

    dtype = None

    def __init__(self, item: Any, shape: tuple[int, ...] = (), requires_grad: bool = False) -> None:
        self._item, self.shape, self.requires_grad = item, shape, requires_grad

    def item(self) -> Any:
        return self._item


def scalars() -> list[Any]:
    found = [np.array(3.0), np.array(3), np.array(3, np.uint8), np.array(3.0, np.float16)]
    found += [np.array(3.0, object), Tensor(3.0), Tensor(3), Tensor(np.float32(3.0))]
    try:
        import torch
    except ImportError:
        return found
    return [*found, torch.tensor(3.0), torch.tensor(3), torch.tensor(3.0, dtype=torch.bfloat16)]


@pytest.mark.parametrize("three", scalars(), ids=lambda x: f"{type(x).__name__} {x!r}"[:40])
def test_numbers_of_no_dimension_are_numbers(three: Any) -> None:
    v = Value(2.0)
    results = [v * three, v + three, v - three, v / three, v**three, v.maximum(three)]
    assert [r.data for r in results] == [6.0, 5.0, -1.0, 2.0 * 3.0**-1, 8.0, 3.0]
    results = [three * v, three + v, three - v, three / v]
    assert [r.data for r in results] == [6.0, 5.0, 1.0, 3.0 * 2.0**-1]
    assert Value(three).data == 3.0 and v < three
    v.data = three
    assert v.data == 3.0
    assert pygradc.sum([v, three]).data == 6.0 and pygradc.dot([v], [three]).data == 9.0
    assert Value(1.0, (v,), (three,))._local_grads == (3.0,)


@pytest.mark.parametrize(
    "other",
    [
        np.array([3.0]), np.array("3"), np.array(3j), np.array("2020-01-01", "M8[ns]"),
        np.array(3, "m8[s]"), np.array(None, object), Tensor("3"), Tensor(3j), Tensor(3.0, (1,)),
        Tensor(None),
    ],
    ids=repr,
)  # fmt: skip
def test_others_are_none(other: Any) -> None:
    with pytest.raises(TypeError):
        Value(other)
    with pytest.raises(TypeError):
        Value(2.0).maximum(other)


def test_a_gradient_is_not_lost_in_silence() -> None:
    v, tensor = Value(2.0), Tensor(3.0, requires_grad=True)
    for expression in (lambda: v * tensor, lambda: tensor * v, lambda: Value(tensor)):
        with pytest.raises(TypeError, match=r"requires grad .*\.item\(\)"):
            expression()


def test_torchs_gradient_is_not_lost_in_silence() -> None:
    torch = pytest.importorskip("torch")
    v, tensor = Value(2.0), torch.tensor(3.0, requires_grad=True)
    for expression in (lambda: v * tensor, lambda: tensor * v, lambda: Value(tensor)):
        with pytest.raises(TypeError, match=r"requires grad .*\.item\(\)"):
            expression()


# ---- Signatures ----------------------------------------------------------------------------------


def test_signatures() -> None:
    expected = "(data, _children=(), _op='', label='', *, children=None, local_grads=None)"
    assert str(inspect.signature(Value)) == expected
    assert str(inspect.signature(type("Sub", (Value,), {}))) == expected

    class Unit(Value):
        def __init__(self, data: float, unit: str) -> None:
            super().__init__(data)

    assert list(inspect.signature(Unit).parameters) == ["data", "unit"]
    assert str(inspect.signature(Value.tanh)) == "(self, /)"
    assert str(inspect.signature(Value.maximum)) == "(self, other, /)"
    assert str(inspect.signature(Value.backward)) == "(self, /)"
    assert Value.tanh.__doc__ == "hyperbolic tangent"


@pytest.mark.parametrize("name", sorted(set(dir(Value)) - set(dir(object))))
def test_each_method_has_a_signature(name: str) -> None:
    method = getattr(Value, name)
    if callable(method):
        inspect.signature(method)
