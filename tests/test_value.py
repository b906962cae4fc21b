"""Does Value behave as micrograd's, and as Python and numpy expect of a number and an object?"""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from graphs import written

import pygradc
from pygradc import Value

ROOT = Path(pygradc.__file__).resolve().parent.parent


def run(code: str) -> str:
    """What this code prints in a Python of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def leaves(*data: float) -> list[Value]:
    return [Value(x, label=f"v{i}") for i, x in enumerate(data)]


class Coloured(Value):
    """A subclass as people write it: instances have a dict."""


class Named(Value):
    def __init__(self, name, data, children=()):
        super().__init__(data, children, "named" if children else "")
        self.name = name


class Slotted(Value):
    __slots__ = ("m",)


# ---- data, grad, label --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [3, 3.0, True, np.float32(3), np.int64(3), np.bool_(True), Fraction(3)]
)
def test_data_and_grad_are_floats_whatever_real_number_came(number):
    v = Value(number)
    v.grad = number
    assert type(v.data) is float and v.data == float(number)
    assert type(v.grad) is float and v.grad == float(number)
    v.data = 7
    assert type(v.data) is float and v.data == 7.0


def test_a_new_value_has_gradient_zero_and_no_label_op_or_children():
    v = Value(2.0)
    assert (v.grad, v.label, v._op, v._children, v._prev) == (0.0, "", "", (), set())


@pytest.mark.parametrize("wrong", ["x", None, 1j, [1.0], Value(1.0), np.zeros(2)])
def test_what_is_no_real_number_is_refused_and_changes_nothing(wrong):
    with pytest.raises(TypeError, match="real number"):
        Value(wrong)
    v = Value(2.0)
    for name in ("data", "grad"):
        with pytest.raises(TypeError, match=f"{name} must be a real number"):
            setattr(v, name, wrong)
    assert (v.data, v.grad) == (2.0, 0.0)


def test_data_and_grad_cannot_be_deleted():
    v = Value(2.0)
    for name in ("data", "grad"):
        with pytest.raises(AttributeError, match=name):
            delattr(v, name)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_infinity_and_nan_are_carried(number):
    assert repr((Value(number) * 2 + 1).data) == repr(number * 2 + 1)


def test_data_of_an_inner_node_can_be_set_and_backward_reads_it():
    a, b = Value(2.0), Value(3.0)
    e = a * b
    out = e * e
    e.data, a.data = 10.0, 5.0
    out.backward()
    assert (e.grad, a.grad, b.grad) == (20.0, 60.0, 100.0)


def test_labels_can_be_set_read_and_deleted():
    v = Value(1.0, label="a")
    assert v.label == "a"
    v.label = "b"
    assert v.label == "b"
    del v.label
    assert v.label == ""


# ---- children, op -------------------------------------------------------------------------------


def test_children_are_the_same_objects_in_order():
    a, b = Value(1.0), Value(2.0)
    out = b - 1 + a
    assert isinstance(out._children, tuple) and isinstance(out._prev, set)
    assert out._children[1] is a and out._prev == set(out._children)
    assert out._children[0]._children[0] is b


def test_an_inner_node_that_was_dropped_comes_back_as_one_object():
    a = Value(1.0)
    out = (a * 2).tanh()
    inner = out._children[0]
    assert inner is out._children[0] is next(iter(out._prev))
    assert inner._children[0] is a and inner._children[1].data == 2.0


def test_a_value_used_twice_is_two_children_and_one_of_prev():
    a = Value(3.0)
    out = a * a
    assert [child is a for child in out._children] == [True, True] and out._prev == {a}


@pytest.mark.parametrize("name", ["_children", "_prev"])
def test_children_cannot_be_set(name):
    with pytest.raises(AttributeError):
        setattr(Value(1.0), name, ())


@pytest.mark.parametrize(
    "expression, op, data",
    [
        (lambda a, b: a + b, "+", 5.0),
        (lambda a, b: a * b, "*", 6.0),
        (lambda a, b: a**2, "**2", 4.0),
        (lambda a, b: a**-1, "**-1", 0.5),
        (lambda a, b: a**2.5, "**2.5", 2.0**2.5),
        (lambda a, b: a**2.0, "**2.0", 4.0),
        (lambda a, b: a ** np.int64(3), "**3", 8.0),
        (lambda a, b: a**b, "**", 8.0),
        (lambda a, b: a.relu(), "ReLU", 2.0),
        (lambda a, b: a.tanh(), "tanh", math.tanh(2.0)),
        (lambda a, b: a.exp(), "exp", math.exp(2.0)),
        (lambda a, b: a.log(), "log", math.log(2.0)),
        (lambda a, b: +a, "", 2.0),
    ],
)
def test_op_names_are_micrograds(expression, op, data):
    out = expression(Value(2.0), Value(3.0))
    assert (out._op, out.data, type(out)) == (op, data, Value)


def test_negation_subtraction_and_division_are_micrograds_compositions():
    a, b = leaves(2.0, 4.0)
    assert written(-a) == written(a * -1)
    assert written(a - b) == written(a + b * -1)
    assert written(a / b) == written(a * b**-1)
    assert written(a - 3) == written(a + -3)
    assert written(3 - a) == written(a * -1 + 3)
    assert written(3 / a) == written(a**-1 * 3)
    assert written(a / 4) == written(a * 0.25)
    assert written(3 + a) == written(a + 3) and written(3 * a) == written(a * 3)


def test_the_op_can_be_renamed():
    out = Value(1.0) + Value(2.0)
    out._op = "plus"
    assert out._op == "plus"
    del out._op
    assert out._op == "+"


# ---- _backward ----------------------------------------------------------------------------------


def test_backward_of_one_node_adds_to_its_children_only():
    a, b = Value(2.0), Value(3.0)
    e = a * b
    out = e + a
    out.grad = 1.0
    out._backward()
    assert (out.grad, e.grad, a.grad, b.grad) == (1.0, 1.0, 1.0, 0.0)
    e._backward()
    e._backward()
    assert (a.grad, b.grad) == (7.0, 4.0)


def test_backward_of_a_leaf_does_nothing():
    v = Value(1.0)
    v.grad = 5.0
    assert v._backward() is None and v.grad == 5.0


@pytest.mark.parametrize("wrong", [None, 3, "f"])
def test_backward_must_be_callable(wrong):
    out = Value(1.0) + 1
    with pytest.raises(TypeError, match="_backward must be callable"):
        out._backward = wrong
    out.backward()
    assert out._children[0].grad == 1.0


def scaled(x: Value, factor: float, calls: list[str], name: str) -> Value:
    """A custom op as micrograd writes it."""
    out = Value(x.data * factor, (x,), name)

    def _backward():
        calls.append(name)
        x.grad += factor * out.grad

    out._backward = _backward
    return out


def test_closures_are_called_once_each_and_in_topological_order():
    calls: list[str] = []
    x = Value(0.5)
    a = scaled(x, 2.0, calls, "a")
    b = scaled((a * a).tanh(), 3.0, calls, "b")
    c = scaled(a + b, 5.0, calls, "c")
    (c * b + a).backward()
    assert sorted(calls) == ["a", "b", "c"] and calls == ["c", "b", "a"]


def test_closures_and_native_ops_give_the_native_gradient():
    x, y = Value(0.7), Value(0.7)
    mixed = scaled(scaled(x * x, 2.0, [], "a").tanh(), 3.0, [], "b") + x
    native = (y * y * 2.0).tanh() * 3.0 + y
    mixed.backward()
    native.backward()
    assert (mixed.data, x.grad) == (native.data, y.grad)


def test_an_assigned_backward_replaces_the_native_one_until_it_is_deleted():
    a = Value(3.0)
    out = a * 2
    out._backward = lambda: None
    out.backward()
    assert a.grad == 0.0
    del out._backward
    out.backward()
    assert a.grad == 2.0


def test_an_exception_in_a_closure_comes_out_and_leaves_all_gradients():
    def fail():
        raise KeyError("mine")

    a = Value(3.0)
    e = a * 2
    e._backward = fail
    out = e * a
    a.grad, e.grad, out.grad = 0.25, 0.5, 0.75
    with pytest.raises(KeyError, match="mine"):
        out.backward()
    assert (a.grad, e.grad, out.grad) == (0.25, 0.5, 0.75)


def test_a_closure_may_build_nodes_and_run_another_sweep():
    a = Value(3.0)
    out = Value(9.0, (a,), "square")

    def _backward():
        inner = Value(a.data)
        (inner * inner).backward()
        a.grad += inner.grad * out.grad + sum([Value(0.0) for _ in range(5000)]).data

    out._backward = _backward
    (out * 2).backward()
    assert a.grad == 12.0


# ---- constructors -------------------------------------------------------------------------------


def test_micrograds_constructor():
    a, b = Value(1.0), Value(2.0)
    out = Value(3.0, (a, b), "op", "out")
    assert (out.data, out._children, out._op, out.label) == (3.0, (a, b), "op", "out")
    out.backward()
    assert (out.grad, a.grad, b.grad) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", [tuple, list, set, iter])
def test_children_come_in_any_iterable(kind):
    a, b = Value(1.0), Value(2.0)
    assert Value(3.0, kind([a, b]), "op")._prev == {a, b}


def test_microgpts_constructor_sweeps_with_the_local_gradients():
    a, b = Value(1.0), Value(2.0)
    out = Value(3.0, (a, b), (5.0, 7))
    assert (out._children, out._op, out._local_grads) == ((a, b), "", (5.0, 7.0))
    (out * 10).backward()
    assert (a.grad, b.grad) == (50.0, 70.0)


def test_all_keywords():
    a = Value(data=1.0, _children=(), _op="", label="a")
    out = Value(data=2.0, children=(a,), local_grads=(4.0,), label="out")
    assert (out.data, out.label, out._children, out._local_grads) == (2.0, "out", (a,), (4.0,))
    named = Value(data=2.0, _children=(a,), _op="op", label="n")
    assert (named._children, named._op, named.label) == ((a,), "op", "n")


def test_a_string_in_second_place_is_the_label():
    v = Value(2.0, "name")
    assert (v.label, v._op, v._children) == ("name", "", ())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((1.0, (2.0,), "op"), TypeError, "child 0 must be a Value, not float"),
        ((1.0, (Value(1.0), None)), TypeError, "child 1 must be a Value, not NoneType"),
        ((1.0, (Value(1.0),), (1.0, 2.0)), ValueError, "1 children"),
        ((1.0, (Value(1.0),), ("x",)), TypeError, "a local gradient must be a real number"),
        ((1.0, (), (1.0,)), ValueError, "0 children"),
        ((), TypeError, "data"),
    ],
)
def test_wrong_constructions_are_refused_and_leave_no_node(arguments, error, message):
    gc.collect()
    before = pygradc.live_nodes()
    with pytest.raises(error, match=message):
        Value(*arguments)
    gc.collect()
    assert pygradc.live_nodes() == before


# ---- operators ----------------------------------------------------------------------------------


def test_assignment_operators_make_new_nodes():
    v = first = Value(3.0, label="first")
    v += 1
    v -= 2.0
    v *= Value(4.0)
    v /= 2
    v **= 2
    assert (v.data, v._op, first.data, first.label) == (16.0, "**2", 3.0, "first")
    v.backward()
    assert first.grad == 16.0


@pytest.mark.parametrize("other", ["x", None, [1.0], 1j, object()])
def test_operators_refuse_what_is_no_number(other):
    v = Value(2.0)
    for compute in (
        lambda: v + other,
        lambda: other + v,
        lambda: v - other,
        lambda: v * other,
        lambda: v / other,
        lambda: other / v,
        lambda: v**other,
        lambda: v < other,
    ):
        with pytest.raises(TypeError):
            compute()


def test_python_asks_the_other_operand_when_it_is_no_number():
    class Other:
        def __radd__(self, left):
            return ("other", left)

    v = Value(1.0)
    assert v + Other() == ("other", v)


def test_pow_takes_no_modulus():
    with pytest.raises(TypeError):
        pow(Value(2.0), 3, 5)


def test_float_format_and_repr():
    L = Value(-2.0) * (Value(2.0) * -3.0 + 10)
    assert repr(L) == str(L) == f"{L}" == "Value(data=-8.0, grad=0.0)"
    assert f"{L:.3f}" == "-8.000" and f"{L:>8.1f}|" == "    -8.0|"
    L.grad = 1.5
    assert repr(L) == "Value(data=-8.0, grad=1.5)"


def test_order_is_that_of_the_data():
    one, two, three = Value(1.0), Value(2.0), Value(3.0)
    values = [two, three, one]
    assert sorted(values) == [one, two, three]
    assert min(values) is one and max(values) is three and max(two, 0) is two
    assert one < two <= three and three > two >= one and not two < one
    assert two <= Value(2.0) and two >= Value(2.0) and not two < Value(2.0)


@pytest.mark.parametrize("number", [2, 2.5, np.float64(2.5), np.float32(2.5), Fraction(5, 2)])
def test_order_against_numbers_on_either_side(number):
    low, high = Value(1.0), Value(3.0)
    assert low < number < high and low <= number <= high
    assert number > low and number >= low and number < high and number <= high
    assert not low > number and not number >= high


def test_nan_is_neither_smaller_nor_larger():
    v, nan = Value(1.0), Value(math.nan)
    assert not (v < nan or v > nan or v <= nan or v >= nan or nan < 1.0 or nan > 1.0)


def test_equality_of_values_and_hash_are_identity():
    a, b = Value(1.0), Value(1.0)
    assert a == a and a != b and b != a
    assert (a == b, a != b, a == a, a != a) == (False, True, True, False)
    names = {a: "a", b: "b"}
    assert (names[a], names[b], len({a, b, a})) == ("a", "b", 2)
    a.data = 5.0
    assert names[a] == "a" and a in [b, a] and Value(5.0) not in [b, a]
    assert 5.0 not in names and a not in {5.0} and 5.0 not in {a}  # by hash, as with any class


def test_any_value_is_true():
    assert Value(0.0) and Value(math.nan) and Value(1.0)


# ---- attributes, weak references ----------------------------------------------------------------


def test_a_label_outlives_the_name_that_set_it():
    a, b, c = Value(2.0), Value(-3.0), Value(10.0)
    e = a * b
    e.label = "e"
    d = e + c
    del e
    gc.collect()
    assert [child.label for child in d._children] == ["e", ""]


def test_attributes_live_as_long_as_the_node():
    p = Value(1.0)
    p.m, p.colour = 0.0, "red"
    out = (p * 2).tanh()
    del p
    for round_ in range(3):
        gc.collect()
        p = out._children[0]._children[0]
        assert (p.m, p.colour, vars(p)) == (float(round_), "red", {"m": p.m, "colour": "red"})
        p.m += 1.0
        del p


def test_attributes_die_with_the_node():
    class Thing:
        pass

    v, thing = Value(1.0), Thing()
    v.thing = thing
    out = v + 1
    watch = weakref.ref(thing)
    del v, thing
    gc.collect()
    assert watch() is not None
    del out
    assert watch() is None


def test_an_attribute_that_was_not_set_is_an_attribute_error():
    v = Value(1.0)
    with pytest.raises(AttributeError, match="momentum"):
        v.momentum  # noqa: B018
    v.momentum = 1.0
    del v.momentum
    assert not hasattr(v, "momentum")


def test_a_closure_outlives_the_name_of_its_node():
    calls: list[str] = []
    x = Value(1.0)
    out = scaled(x, 2.0, calls, "first") + 1
    gc.collect()
    out.backward()
    assert calls == ["first"] and x.grad == 2.0


def test_weak_references():
    v = Value(1.0)
    seen: list[object] = []
    watch = weakref.ref(v, seen.append)
    registry = weakref.WeakKeyDictionary({v: "v"})
    assert watch() is v and registry[v] == "v"
    del v
    assert watch() is None and seen == [watch] and len(registry) == 0


def test_a_weak_reference_to_a_labelled_inner_node_lasts_as_long_as_the_node():
    e = Value(1.0) * 2
    e.label = "e"
    watch = weakref.ref(e)
    d = e + 1
    del e
    gc.collect()
    assert watch() is d._children[0]
    del d
    assert watch() is None


# ---- patching, subclassing ----------------------------------------------------------------------

PATCHES = {
    "a method": """
def tanh(self):
    t = (math.exp(2 * self.data) - 1) / (math.exp(2 * self.data) + 1)
    out = Value(t, (self,), "mine")
    def _backward():
        self.grad += (1 - t**2) * out.grad
    out._backward = _backward
    return out
Value.tanh = tanh
x = Value(0.5); y = x.tanh() * 2; y.backward()
assert y._children[0]._op == "mine" and abs(x.grad - 2 / math.cosh(0.5) ** 2) < 1e-12
""",
    "an operator": """
def power(self, other):
    assert isinstance(other, (int, float))
    out = Value(self.data**other, (self,), "mine")
    def _backward():
        self.grad += 100.0 * out.grad
    out._backward = _backward
    return out
Value.__pow__ = power
x = Value(3.0); y = x**2; y.backward()
assert (y.data, y._op, x.grad) == (9.0, "mine", 100.0)
""",
    "operators that lessons add": """
def add(self, other):
    return Value(self.data + getattr(other, "data", other), (self,), "mine+")
Value.__add__ = add
Value.__radd__ = lambda self, other: self + other
assert (Value(1.0) + 2)._op == "mine+" and (2 + Value(1.0))._op == "mine+"
assert sum([Value(1.0), Value(2.0)])._op == "mine+"
""",
    "a new method": """
Value.softplus = lambda self: (1 + self.exp()).log()
x = Value(0.0); x.softplus().backward()
assert x.grad == 0.5
""",
    "repr and format": """
Value.__repr__ = lambda self: f"V({self.data})"
assert repr(Value(1.0) + 1) == "V(2.0)" and str([Value(1.0)]) == "[V(1.0)]"
""",
    "total_ordering": """
assert functools.total_ordering(Value) is Value
assert Value(1.0) < Value(2.0) and max(Value(1.0), Value(3.0), 2.0).data == 3.0
""",
    "total_ordering after the lesson's own comparisons": """
Value.__lt__ = lambda self, other: self.data < other.data
Value.__eq__ = lambda self, other: self.data == other.data
Value.__hash__ = lambda self: id(self)
functools.total_ordering(Value)
assert Value(1.0) == Value(1.0) and Value(1.0) < Value(2.0) and Value(2.0) >= Value(1.0)
""",
    "backward": """
def backward(self):
    topo, visited = [], set()
    def build(v):
        if v not in visited:
            visited.add(v)
            for child in v._prev:
                build(child)
            topo.append(v)
    build(self)
    self.grad = 1.0
    for node in reversed(topo):
        node._backward()
Value.backward = backward
a = Value(3.0); (a * a + a).backward()
assert a.grad == 7.0
""",
}


@pytest.mark.parametrize("code", PATCHES.values(), ids=PATCHES)
def test_the_class_can_be_patched(code):
    imports = "import functools, gc, math\nfrom pygradc import Value\n"
    assert run(imports + code + "gc.collect(); print('ok')") == "ok\n"


@pytest.mark.parametrize(
    "make", [lambda: Coloured(2.0), lambda: Named("n", 2.0), lambda: Slotted(2.0)]
)
def test_instances_of_subclasses_are_operands_and_come_back(make):
    p = make()
    kind = type(p)
    out = p * 3 + p
    assert type(out) is Value and out._children[1] is p
    out.backward()
    assert (p.data, p.grad) == (2.0, 4.0)
    identity = id(p)
    del p
    gc.collect()
    assert type(out._children[1]) is kind and id(out._children[1]) == identity


@pytest.mark.parametrize(
    "kind, arguments, name",
    [(Coloured, (2.0,), "m"), (Named, ("n", 2.0), "name"), (Slotted, (2.0,), "m")],
)
def test_attributes_of_subclasses_live_as_long_as_the_node(kind, arguments, name):
    p = kind(*arguments)
    setattr(p, name, "kept")
    out = p + 1
    del p
    gc.collect()
    assert getattr(out._children[0], name) == "kept"


def test_slots_of_a_subclass_are_given_back():
    class Thing:
        pass

    p, thing = Slotted(2.0), Thing()
    p.m = thing
    watch = weakref.ref(thing)
    out = p + 1
    del p, thing
    gc.collect()
    assert watch() is not None
    del out
    assert watch() is None


def test_a_subclass_may_have_children_of_its_own():
    a = Value(1.0)
    out = Named("sum", 2.0, (a, a))
    assert (out._children, out._op, out.name, out.data) == ((a, a), "named", "sum", 2.0)


def test_operators_return_exactly_value():
    p, v = Coloured(2.0), Value(3.0)
    outs = [p + v, v + p, p - 1, 1 - p, -p, abs(p), p**2, 2**p, p / v, p.tanh(), p.maximum(v)]
    assert all(type(out) == Value for out in outs)  # noqa: E721 - as programs write it
    assert isinstance(p, Value) and type(v) == Value  # noqa: E721


# ---- sum and dot --------------------------------------------------------------------------------


def mixtures():
    a, b, c = leaves(0.1, -0.2, 0.3)
    return [[a, b, c], [a], [a, a, a], [a, 2, b, 0.5], [1, 2.5, a, b], [np.float64(0.5), c, 1]]


@pytest.mark.parametrize("values", mixtures())
def test_sum_is_pythons_node_for_node(values):
    start = Value(0.7, label="start")
    assert written(pygradc.sum(values)) == written(sum(values))
    assert written(pygradc.sum(iter(values), 0.5)) == written(sum(values, 0.5))
    assert written(pygradc.sum(values, start)) == written(sum(values, start))


def test_sum_uses_the_very_values():
    a, b = leaves(1.0, 2.0)
    total = pygradc.sum([a, b])
    assert total._children[1] is b and total._children[0]._children[0] is a
    total.backward()
    assert (a.grad, b.grad) == (1.0, 1.0)


def test_sum_of_numbers_is_a_leaf():
    total = pygradc.sum([1, 2.5], 3)
    assert (type(total), total.data, total._children) == (Value, 6.5, ())
    assert pygradc.sum([]).data == 0.0


@pytest.mark.parametrize("values", mixtures())
def test_dot_is_pythons_node_for_node(values):
    others = [Value(float(i), label=f"x{i}") for i in range(len(values))]
    for xs in (others, [0.5 * i for i in range(len(values))]):
        expected = sum(w * x for w, x in zip(values, xs))
        assert written(pygradc.dot(values, iter(xs))) == written(expected)
        bias = Value(0.7, label="bias")
        expected = sum((x * w for x, w in zip(xs, values)), bias)
        assert written(pygradc.dot(xs, values, bias)) == written(expected)


def test_sum_and_dot_refuse_what_they_cannot_add():
    a = Value(1.0)
    for wrong in ([a, "x"], [None], [a, 1j]):
        with pytest.raises(TypeError):
            pygradc.sum(wrong)
        with pytest.raises(TypeError):
            pygradc.dot([a] * len(wrong), wrong)
    with pytest.raises(TypeError):
        pygradc.sum(3)
    with pytest.raises(ValueError, match="2 weights for 1 inputs"):
        pygradc.dot([a, a], [1.0])


# ---- numpy --------------------------------------------------------------------------------------


@pytest.fixture
def array():
    return np.array(leaves(0.25, 0.5, 2.0))


def test_an_array_of_values_holds_the_same_objects():
    values = leaves(1.0, 2.0)
    array = np.array(values)
    assert array.dtype == object and array[0] is values[0] and array[1] is values[1]
    assert np.array([values, values]).shape == (2, 2)


@pytest.mark.parametrize("product", [np.dot, np.inner, lambda a, b: a @ b])
def test_products_of_object_arrays(array, product):
    out = product(array, array)
    assert type(out) is Value and out.data == 0.25**2 + 0.5**2 + 2.0**2
    out.backward()
    assert [v.grad for v in array] == [0.5, 1.0, 4.0]


def test_a_matrix_of_values_times_a_vector(array):
    matrix = np.vectorize(Value)(np.arange(6.0).reshape(2, 3))
    out = matrix @ array
    assert out.shape == (2,) and out.dtype == object
    assert [v.data for v in out] == [4.5, 0.75 + 2.0 + 10.0]


def test_reductions_of_object_arrays(array):
    assert (np.sum(array).data, np.mean(array).data) == (2.75, 2.75 / 3)
    assert np.max(array) is array[2] and np.min(array) is array[0]
    assert np.prod(array).data == 0.25
    mean = np.mean(array)
    mean.backward()
    assert [v.grad for v in array] == [1 / 3] * 3


@pytest.mark.parametrize("name", ["tanh", "exp", "log", "sqrt", "sin", "cos"])
def test_functions_of_object_arrays(array, name):
    out = getattr(np, name)(array)
    assert out.dtype == object and all(type(v) is Value for v in out)
    assert [v.data for v in out] == [getattr(math, name)(v.data) for v in array]
    assert [v._children[0] is w for v, w in zip(out, array)] == [True] * 3


def test_absolute_values_of_object_arrays(array):
    out = np.abs(-array)
    assert [v.data for v in out] == [0.25, 0.5, 2.0] and out[0]._op == "abs"


def test_arrays_to_values_and_back():
    numbers = np.array([[1.0, 2.0], [3.0, 4.0]])
    values = np.vectorize(Value)(numbers)
    assert values.dtype == object and values.shape == (2, 2) and type(values[1, 0]) is Value
    back = pygradc.data(values)
    assert back.dtype == float and np.array_equal(back, numbers)
    with pytest.raises(TypeError, match=r"v\.data"):
        np.asarray([Value(1.0), 2.0], dtype=float)


@pytest.mark.parametrize(
    "compute",
    [
        lambda v, x: v * x,
        lambda v, x: x * v,
        lambda v, x: v + x,
        lambda v, x: x + v,
        lambda v, x: v - x,
        lambda v, x: x - v,
        lambda v, x: v / x,
        lambda v, x: x / v,
        lambda v, x: v**x,
        lambda v, x: x**v,
    ],
)
def test_a_value_and_an_array_broadcast(compute):
    v = Value(3.0, label="v")
    numbers = np.array([[1.0, 2.0], [4.0, 8.0]])
    out = compute(v, numbers)
    assert out.shape == (2, 2) and out.dtype == object
    for got, number in zip(out.ravel(), numbers.ravel().tolist()):
        assert written(got) == written(compute(v, number))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.int8])
def test_numpy_scalars_are_plain_numbers_on_either_side(kind):
    v = Value(3.0, label="v")
    outs = [kind(2) * v, v * kind(2), kind(2) - v, v - kind(2), v / kind(2), kind(2) / v]
    assert [type(out) for out in outs] == [Value] * 6
    assert [out.data for out in outs] == [6.0, 6.0, -1.0, 1.0, 1.5, 3.0**-1 * 2]


# ---- import -------------------------------------------------------------------------------------


def test_import_brings_in_none_of_the_extras():
    extras = {"matplotlib", "tqdm", "graphviz", "scipy"}
    code = f"import sys, pygradc; print(sorted({extras} & set(sys.modules)))"
    assert run(code) == "[]\n"


def test_the_hash_is_that_of_any_object():
    for v in (Value(1.0), Value(1.0) * 2, Value(math.nan)):
        assert hash(v) == object.__hash__(v)
