"""Are copies copies: leaves, graphs of any depth, modules, optimisers; is what is shared shared
afterwards; and what is said of what can't be copied, and of bytes that are no graph?"""

from __future__ import annotations

import copy
import gc
import json
import math
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
from graphs import written

import pygradc
from pygradc import Value, live_nodes, nn, optim
from pygradc.core import copying
from pygradc.core.scalar import Scalar, core

ROOT = Path(pygradc.__file__).resolve().parent.parent


@pytest.fixture
def start():
    gc.collect()
    return live_nodes()


def with_protocol(protocol: int):
    return lambda obj: pickle.loads(pickle.dumps(obj, protocol))


def python_pickle(obj):
    """The pure Python pickler has a memo of its own make."""
    import io

    file = io.BytesIO()
    pickle._Pickler(file).dump(obj)
    return pickle._Unpickler(io.BytesIO(file.getvalue())).load()


WAYS = {
    "deepcopy": copy.deepcopy,
    **{f"protocol {p}": with_protocol(p) for p in range(pickle.HIGHEST_PROTOCOL + 1)},
    "Python's pickle": python_pickle,
}
each_way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)
each_kind = pytest.mark.parametrize(
    "again", [copy.deepcopy, with_protocol(pickle.DEFAULT_PROTOCOL)], ids=["deepcopy", "pickle"]
)


class Coloured(Value):
    pass


class Named(Value):
    def __init__(self, name, data, children=()):
        super().__init__(data, children, "named" if children else "")
        self.name = name


class Slotted(Value):
    __slots__ = ("m", "v")


class Stateful(Value):
    def __getstate__(self):
        return {"secret": self.secret + 1}

    def __setstate__(self, state):
        self.secret = state["secret"]


class Reduced(Value):
    def __reduce__(self):
        return Reduced, (self.data + 1.0,)


# ---- copy.copy ----------------------------------------------------------------------------------


def test_a_shallow_copy_is_a_leaf_with_the_same_numbers_and_attributes():
    a, b = Value(2.0), Value(3.0)
    out = a * b
    out.grad, out.label, out.colour = 5.0, "out", ["red"]
    again = copy.copy(out)
    assert again is not out and type(again) is Value
    assert (again.data, again.grad, again.label, again._children, again._op) == (
        6.0,
        5.0,
        "out",
        (),
        "",
    )
    assert again.colour is out.colour
    again.data, again.label = 7.0, "again"
    assert (out.data, out.label) == (6.0, "out")
    (again * 2).backward()
    assert a.grad == 0.0 and again.grad == 7.0


def test_a_shallow_copy_drops_closures():
    a = Value(2.0)
    out = Value(4.0, (a,), "op")
    out._backward = lambda: setattr(a, "grad", 1.0)
    again = copy.copy(out)
    (again + 1).backward()
    assert a.grad == 0.0 and again._op == ""


def test_a_shallow_copy_keeps_the_class_and_its_slots():
    for v in (Coloured(1.0), Named("n", 1.0), Slotted(1.0)):
        v.m = "kept"
        again = copy.copy(v)
        assert type(again) is type(v) and again.m == "kept" and again.data == 1.0
    assert not hasattr(copy.copy(Slotted(1.0)), "m")


def test_a_shallow_copy_of_a_container_holds_the_same_values():
    values = [Value(1.0), Value(2.0)]
    assert all(v is w for v, w in zip(values, copy.copy(values)))


# ---- graphs -------------------------------------------------------------------------------------


def graph() -> tuple[list[Value], Value]:
    a, b = Value(0.5, label="a"), Value(-1.25, label="b")
    h = (a * b + 2).tanh()
    h.label = "h"
    wide = Value(0.3, (h, a, h), "mine")
    given = Value(0.3, (h, a, h), (0.1, 0.2, 0.3))
    out = (h / (a - 3) + wide * given) ** 2 + pygradc.where(True, h ** b.abs(), a) - 2.5**a + h**2.0
    out.label = "out"
    return [a, b], out


@each_way
def test_a_graph_comes_back_node_for_node(again):
    _, out = graph()
    out.backward()
    back = again(out)
    assert back is not out and written(back) == written(out)
    ours, theirs = [out], [back]
    while ours:
        v, w = ours.pop(), theirs.pop()
        assert v is not w and v.grad.hex() == w.grad.hex() and type(v) is type(w)
        assert v._local_grads == w._local_grads
        ours += v._children
        theirs += w._children


@each_way
def test_a_copy_can_be_swept_and_is_independent(again):
    leaves, out = graph()
    back = again((leaves, out))
    out.backward()
    back[1].backward()
    assert [v.grad for v in leaves] == [v.grad for v in back[0]]
    back[0][0].data = 100.0
    back[1].backward()
    assert leaves[0].data == 0.5 and leaves[0].grad != back[0][0].grad


@each_way
def test_what_is_shared_stays_shared(again):
    a, b = Value(2.0), Value(3.0)
    for values in ([a, a * b], [a * b, a]):
        back = again(values)
        leaf, product = sorted(back, key=lambda v: len(v._children))
        assert product._children[0] is leaf
    h = a * b
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]):
        values = [h, h + 1, (h + 1) * h]
        values[2] = values[1] * h
        back = again([values[i] for i in order])
        found = {i: back[place] for place, i in enumerate(order)}
        assert found[1]._children[0] is found[0]
        assert found[2]._children == (found[1], found[0])
    first, second = again([(a * b).tanh(), b + 1])
    assert first._children[0]._children[1] is second._children[0]


@each_way
def test_a_node_that_nobody_holds_is_shared_by_two_that_are_held(again):
    a = Value(2.0)
    h = a * 3
    left, right = h + 1, h.tanh()
    del h
    one, other = again({"left": left, "right": right}).values()
    assert one._children[0] is other._children[0]
    other.backward()
    assert one._children[0].grad != 0.0


@each_way
def test_one_value_twice_is_one_value(again):
    a = Value(2.0)
    y = a * a
    back = again([y, y, a, (y, a)])
    assert back[0] is back[1] is back[3][0] and back[2] is back[3][1]
    assert back[0]._children == (back[2], back[2])


@each_kind
def test_copies_made_one_after_the_other_share_nothing(again):
    a = Value(2.0)
    y = a * 3
    first, second = again(y), again(y)
    assert first is not second and first._children[0] is not second._children[0]
    a.data, y.data = 5.0, 15.0
    assert again(y).data == 15.0 and first.data == 6.0


def test_a_pickler_that_goes_on_keeps_its_memo():
    import io

    a = Value(2.0)
    h, file = a * 3, io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.dump(h)
    above = h + 1
    pickler.dump(above)
    other = pickle.loads(pickle.dumps(above))  # another pickler, while the first one lives
    file.seek(0)
    unpickler = pickle.Unpickler(file)
    first, second = unpickler.load(), unpickler.load()
    assert second._children[0] is first
    assert written(other) == written(above) and other._children[0] is not first


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324, 0.1])
@each_way
def test_every_bit_of_a_number_is_kept(again, number):
    v = Value(number)
    v.grad = -number
    y = v * 1.0
    y.grad = -0.0
    back, above = again((v, y))
    assert [repr(x) for x in (back.data, back.grad, above.grad)] == [
        repr(x) for x in (number, -number, -0.0)
    ]


@each_kind
def test_nothing_is_left_when_copies_go(start, again):
    leaves, out = graph()
    count = live_nodes() - start
    back = again([out, leaves, out._children[0]])
    assert live_nodes() - start == 2 * count
    del back
    gc.collect()
    assert live_nodes() - start == count
    del leaves, out
    gc.collect()
    assert live_nodes() == start and len(copying._parts) == 0


def test_random_graphs_come_back_from_random_roots():
    dice = random.Random(5)
    for _ in range(60):
        values = [Value(dice.uniform(-1, 1)) for _ in range(3)]
        for _ in range(60):
            a, b = dice.choice(values), dice.choice(values)
            makers = [lambda a, b: a * b, lambda a, b: (a + b).tanh(), lambda a, b: a**2 - b]
            made = dice.choice(makers)(a, b)
            if dice.random() < 0.2:
                made.label = str(len(values))
            values.append(made)
        roots = dice.sample(values, 8)
        del values
        for again in (copy.deepcopy, with_protocol(4)):
            back = again(roots)
            total, expected = pygradc.sum(back), pygradc.sum(roots)
            assert written(total) == written(expected)


# ---- what hangs on Values -----------------------------------------------------------------------


@each_way
def test_labels_and_attributes_travel_with_their_nodes(again):
    a = Value(1.0)
    a.m, a.v = 0.25, [1, 2]
    e = a * 2
    e.label, e.note = "e", {"any": ("thing",)}
    out = (e + 1).tanh()
    out._op = "renamed"
    del e
    back = again(out)
    inner = back._children[0]._children[0]
    leaf = inner._children[0]
    assert (back._op, inner.label, inner.note) == ("renamed", "e", {"any": ("thing",)})
    assert (leaf.m, leaf.v) == (0.25, [1, 2]) and leaf.v is not a.v
    gc.collect()
    assert back._children[0]._children[0].label == "e"


@each_way
def test_attributes_may_speak_of_values(again):
    a = Value(1.0)
    y = a * 2
    a.above, y.me, y.others = y, y, [a, y]
    back = again(y)
    leaf = back._children[0]
    assert back.me is back and back.others[0] is leaf and back.others[1] is back
    assert leaf.above is back
    leaf, back = again([a, y])
    assert leaf.above is back and back._children[0] is leaf
    del y.me, y.others, a.above


@each_way
def test_subclasses_keep_class_attributes_and_slots(again):
    p, n, s = Coloured(2.0), Named("n", 3.0), Slotted(4.0)
    p.colour, s.m = "red", 0.5
    inner = Named("inner", 9.0, (p, n))
    out = (p * n + s * inner).tanh()
    expected = [("Coloured", "red"), ("Named", "n"), ("Slotted", 0.5), ("Named", "inner")]
    del p, n, s, inner
    gc.collect()
    back = again(out)
    left, right = back._children[0]._children
    found = [*left._children, *right._children]
    names = [
        (v, next(getattr(v, x) for x in ("colour", "name", "m") if hasattr(v, x))) for v in found
    ]
    assert [(type(v).__name__, x) for v, x in names] == expected
    assert found[3]._children == tuple(found[:2]) and found[3]._op == "named"
    assert not hasattr(found[2], "v")


@each_way
def test_a_subclass_may_have_its_own_way(again):
    v, r = Stateful(1.0), Reduced(1.0)
    v.secret = 1
    out = v * r
    back = again([v, out])
    assert back[0].secret == 2 and back[1]._children[0] is back[0]
    assert type(again(r)) is Reduced and again(r).data == 2.0


# ---- closures -----------------------------------------------------------------------------------


def pass_nothing():
    pass


class Squared:
    """A closure that can be copied: an object that knows its Values."""

    def __init__(self, x: Value) -> None:
        self.x, self.out = x, Value(x.data**2, (x,), "square")
        self.out._backward = self.push

    def push(self) -> None:
        self.x.grad += 2.0 * self.x.data * self.out.grad


def closure_of_cells(x: Value) -> Value:
    out = Value(x.data**2, (x,), "square")

    def _backward():
        x.grad += 2.0 * x.data * out.grad

    out._backward = _backward
    return out


def closure_of_defaults(x: Value) -> Value:
    out = Value(x.data**2, (x,), "square")
    out._backward = lambda x=x, out=out: setattr(x, "grad", 2.0 * x.data * out.grad)
    return out


above = pytest.mark.parametrize(
    "above", [lambda y: [y], lambda y: [y * 2], lambda y: [y.tanh(), 1]]
)
with_closure = pytest.mark.parametrize("make", [closure_of_cells, closure_of_defaults])


@above
@with_closure
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_closures_that_hold_values_are_not_pickled(start, protocol, make, above):
    x = Value(3.0)
    graph = above(make(x))
    with pytest.raises(TypeError, match=r"has a _backward closure, .*pygradc\.op"):
        pickle.dumps(graph, protocol)
    del graph
    gc.collect()
    assert live_nodes() - start == 1


@above
@with_closure
def test_a_deep_copy_leaves_closures_that_hold_values_behind(start, make, above):
    """Python would copy the function as itself, and the copy would push to the original."""
    x = Value(3.0)
    graph = above(make(x))
    back = copy.deepcopy(graph)
    assert back[0].data == graph[0].data and back[0]._op == graph[0]._op
    with pytest.raises(TypeError, match=r"closure, .* or compute this output again"):
        back[0].backward()
    assert x.grad == 0.0 and back[0].grad == 0.0
    graph[0].backward()
    assert x.grad != 0.0
    for again in (copy.deepcopy(back), pickle.loads(pickle.dumps(back))):
        assert again[0].data == graph[0].data
        with pytest.raises(TypeError, match="or compute this output again"):
            again[0].backward()
    del graph, back, again
    gc.collect()
    assert live_nodes() - start == 1


@pytest.mark.parametrize("make", [closure_of_cells, closure_of_defaults, lambda x: Squared(x).out])
def test_a_model_whose_layer_keeps_such_an_output_is_copied(make):
    class Layer(nn.Module):
        def __init__(self) -> None:
            self.w = Value(2.0)

        def __call__(self, x):
            self.out = make(self.w * x)
            return self.out + 1.0

        def parameters(self):
            return [self.w]

    layer = Layer()
    layer.loss = layer(3.0)
    other = copy.deepcopy(layer)
    assert other.out.data == 36.0 and other.loss.data == 37.0 and other.w is not layer.w
    other.w.data = 1.0
    other(3.0).backward()
    assert (other.w.grad, layer.w.grad, other.out.data, layer.out.data) == (18.0, 0.0, 9.0, 36.0)


# ---- subclasses that say how they are copied ---------------------------------------------------


class Measured(Value):
    """Made by a __new__ of its own, which needs its arguments."""

    def __new__(cls, data, unit, *rest):
        self = super().__new__(cls)
        self.unit = unit
        return self

    def __init__(self, data, unit, *rest):
        super().__init__(data, *rest)

    def __getnewargs__(self):
        return self.data, self.unit


class ByKeyword(Measured):
    def __new__(cls, data, *rest, unit):
        return super().__new__(cls, data, unit)

    def __init__(self, data, *rest, unit):
        Value.__init__(self, data, *rest)

    def __getnewargs_ex__(self):
        return (self.data,), {"unit": self.unit.upper()}


class Secretive(Value):
    def __getstate__(self):
        return {"shown": self.shown}

    def __setstate__(self, state):
        self.seen = state


class Renewed(Value):
    def __reduce__(self):
        return Renewed, (self.data + 1.0,), {"note": "reduced"}


@each_way
def test_new_gets_the_arguments_that_it_asks_for(again):
    leaf = Measured(2.0, "m")
    leaf.grad = 3.0
    by_keyword = ByKeyword(4.0, unit="s")
    inner = Measured(5.0, "kg", (leaf,), (2.0,))
    leaf_copy, by_keyword_copy, root = again([leaf, by_keyword, inner * 3.0])
    inner_copy = root._children[0]
    assert (type(leaf_copy), leaf_copy.data, leaf_copy.grad, leaf_copy.unit) == (
        Measured, 2.0, 3.0, "m"
    )  # fmt: skip
    assert (type(by_keyword_copy), by_keyword_copy.unit) == (ByKeyword, "s")
    assert (type(inner_copy), inner_copy.unit, inner_copy.data) == (Measured, "kg", 5.0)
    assert inner_copy._children[0] is leaf_copy
    root.backward()
    assert (leaf_copy.grad, leaf.grad) == (9.0, 3.0)


def test_new_is_called_with_those_arguments_before_the_state_comes():
    class Seen(Exception):
        pass

    class Picky(Measured):
        def __new__(cls, data, unit="", *rest):
            if unit == "copied":
                raise Seen
            return super().__new__(cls, data, unit)

        def __getnewargs__(self):
            return self.data, "copied"

    leaf = Picky(1.0, "m")
    node = Picky(1.0, "m", (leaf,), (1.0,))
    for value in (leaf, node, node * 2.0):
        with pytest.raises(Seen):
            copy.deepcopy(value)
    with pytest.raises(Seen):
        copy.copy(leaf)


def test_a_shallow_copy_asks_for_the_state():
    v = Secretive(2.0)
    v.shown, v.hidden, v.grad = 1, 2, 5.0
    back = copy.copy(v)
    assert (type(back), back.data, back.grad, vars(back)) == (
        Secretive, 2.0, 5.0, {"seen": {"shown": 1}}
    )  # fmt: skip
    new = copy.copy(Measured(2.0, "m"))
    assert (type(new), new.unit, new.data) == (Measured, "m", 2.0)


def test_a_shallow_copy_asks_reduce():
    back = copy.copy(Renewed(2.0))
    assert (type(back), back.data, back.note) == (Renewed, 3.0, "reduced")
    node = Renewed(2.0, (Value(1.0),), (1.0,))
    assert (copy.copy(node).data, copy.copy(node)._children) == (3.0, ())


@each_way
def test_bound_methods_and_plain_functions_are_copied(again):
    x = Value(3.0)
    out = Squared(x).out * 2
    leaf, back = again([x, out])
    back.backward()
    assert leaf.grad == 12.0 and x.grad == 0.0
    plain = Value(1.0, (x,), "op")
    plain._backward = pass_nothing
    assert again(plain * 2)._children[0]._backward is pass_nothing


def test_what_pickle_cannot_do_it_says_itself():
    v = Value(1.0)
    v.lock = __import__("threading").Lock()
    for value in (v, v * 2):
        with pytest.raises(TypeError, match="lock"):
            pickle.dumps(value)
    y = Value(1.0) * 2
    y._backward = lambda: None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(y)


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("call", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_recorded_functions_values_are_refused(call, which):
    w = Value(2.0)

    @pygradc.compile
    def f(x):
        y = w * x
        call((x, y, y.tanh(), w, w * 2)[which])
        return y

    with pytest.raises(pygradc.TraceError):
        f(3.0)


def test_a_recorded_functions_constants_can_be_copied():
    @pygradc.compile
    def f(x):
        return copy.deepcopy(Value(2.0) * 3) * x

    assert f(3.0).data == 18.0


# ---- modules, optimisers, programs --------------------------------------------------------------


@each_way
def test_a_module_comes_back_with_its_parameters(again):
    model = nn.MLP(3, [4, 1], activation="relu", output_activation="linear")
    model.layers[0].neurons[0].w[1].label = "w1"
    back = again(model)
    assert repr(back) == repr(model)
    assert [p.data for p in back.parameters()] == [p.data for p in model.parameters()]
    assert back.layers[0].neurons[0].w[1].label == "w1"
    x = [0.1, -0.2, 0.3]
    assert back(x).data == model(x).data
    back.parameters()[0].data = 9.0
    assert model.parameters()[0].data != 9.0


@each_way
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, decoupled=True),
    ],
)
def test_training_goes_on_from_a_copy_as_if_nothing_had_been(again, optimizer):
    def steps(model, optimizer, count):
        for _ in range(count):
            loss = sum((model([x, 1.0 - x]) - x) ** 2 for x in (0.1, 0.5, 0.9))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [p.data for p in model.parameters()], [p.grad for p in model.parameters()]

    random.seed(1)
    model = nn.MLP(2, [3, 1])
    opt = optimizer(model.parameters())
    steps(model, opt, 5)
    back = again({"model": model, "optimizer": opt})
    assert all(p is q for p, q in zip(back["model"].parameters(), back["optimizer"].parameters))
    assert steps(back["model"], back["optimizer"], 5) == steps(model, opt, 5)


@each_way
def test_programs_come_back_beside_values(again):
    w = Value(2.0, label="w")
    f = pygradc.compile(lambda x: (w * x).tanh())
    out = f(0.5)
    back, leaf, program = again([out, w, f.programs[0]])
    assert back._children == (leaf,) and back.data == out.data == program(0.5).data
    back.backward()
    out.backward()
    assert leaf.grad == w.grad


def test_to_another_process_and_back():
    code = """
import pickle, sys
loss, model = pickle.load(sys.stdin.buffer)
loss.backward()
sys.stdout.buffer.write(pickle.dumps((loss, model)))
"""
    random.seed(2)
    model = nn.MLP(2, [3, 1])
    loss = (model([0.3, -0.4]) - 1.0) ** 2
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((loss, model)),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=120,
    )
    back, other = pickle.loads(done.stdout)
    loss.backward()
    assert back.data == loss.data
    assert [p.grad for p in other.parameters()] == [p.grad for p in model.parameters()]


# ---- size ---------------------------------------------------------------------------------------

DEEP = """
import copy, gc, json, pickle, sys, time
from pygradc import Value, live_nodes

start = live_nodes()
x, one = Value(0.0), Value(1.0)
for _ in range({count}):
    x = x + one
    {extra}
times = [time.perf_counter()]
def lap():
    times.append(time.perf_counter())
content = pickle.dumps(x); lap()
y = pickle.loads(content); lap()
z = copy.deepcopy(x); lap()
nodes = live_nodes() - start
z.backward()
grads = [x.grad, y.grad, z.grad]
datas = [x.data, y.data, z.data]
labels = [v._children[0].label for v in (x, y, z)]
del x, y, z; gc.collect()
print(json.dumps(dict(size=len(content), nodes=nodes, grads=grads, datas=datas, labels=labels,
                      left=live_nodes() - start,
                      seconds=[b - a for a, b in zip(times, times[1:])])))
"""


@pytest.mark.parametrize(
    "extra, count", [("", 1_000_000), ("x.label = 'v'", 200_000)], ids=["plain", "all labelled"]
)
def test_a_very_long_chain(extra, count):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DEEP.format(extra=extra, count=count)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["datas"] == [count] * 3 and seen["grads"] == [0.0, 0.0, 1.0]
    assert seen["labels"] == ["v" if extra else ""] * 3
    assert seen["left"] == 1 and seen["nodes"] == 3 * (count + 1) + 3
    if not extra:
        assert seen["size"] < 20e6


def test_a_chain_of_which_every_node_is_held():
    values = [Value(0.0)]
    for _ in range(20_000):
        values.append(values[-1] + 1.0)
    for again in (copy.deepcopy, with_protocol(4)):
        for back in (again(values), again(values[::-1])[::-1]):
            assert back[-1].data == 20_000.0
            assert all(v._children[0] is w for v, w in zip(back[1:], back))
    del back
    gc.collect()
    assert len(copying._parts) == 0


def test_many_leaves_stay_cheap():
    leaves = [Value(float(i)) for i in range(41)]
    _ = [pygradc.sum(leaves) for _ in range(10)]  # what is built on them doesn't go along
    assert len(pickle.dumps(leaves)) < 41 * 20 + 200
    assert len(pickle.dumps(leaves[0] * leaves[1])) < 500


# ---- bytes that are no graph --------------------------------------------------------------------


def packed() -> tuple[bytes, tuple[Value, ...], list]:
    """Five nodes, the second of which is made of the end, in that place twice."""
    a = Value(2.0)
    return core.pack(core.collect(Value(1.0, (a * 3 + a, a), "mine").tanh()))


def test_what_was_packed_can_be_unpacked():
    content, ends, tags = packed()
    part = core.unpack(content, ends, tuple(tags))
    assert core.value_at(part, 1)._children[0] is ends[0] and tags == ["mine"]
    assert [core.value_at(part, i)._op for i in range(5)] == ["", "*", "+", "mine", "tanh"]


def test_any_bytes_give_an_error_or_a_graph(start):
    content, ends, tags = packed()
    dice = random.Random(7)
    refused = 0
    for _ in range(3000):
        changed = bytearray(content[: dice.choice([len(content), dice.randrange(len(content))])])
        for _ in range(dice.randrange(1, 4)):
            if changed:
                changed[dice.randrange(len(changed))] = dice.randrange(256)
        try:
            part = core.unpack(changed, ends, tuple(tags))
            value = core.value_at(part, 0)
            repr(value), value._op, value._local_grads, value._children
        except (ValueError, IndexError):
            refused += 1
    assert 500 < refused < 3000
    del part, value, ends
    gc.collect()
    assert live_nodes() == start


@pytest.mark.parametrize(
    "arguments, error",
    [
        (lambda c, e, t: (c, (), t), ValueError),
        (lambda c, e, t: (c, (*e, *e), t), ValueError),
        (lambda c, e, t: (c, (1.0,), t), TypeError),
        (lambda c, e, t: (c, list(e), t), TypeError),
        (lambda c, e, t: (c, e, ()), ValueError),
        (lambda c, e, t: (c, e, (3,)), ValueError),
        (lambda c, e, t: (c, e, ((1, 2, 3, 4, 5),)), ValueError),
        (lambda c, e, t: (None, e, t), TypeError),
        (lambda c, e, t: (b"", e, t), ValueError),
        (lambda c, e, t: (c + b"x", e, t), ValueError),
    ],
)
def test_wrong_company_of_the_bytes_is_refused(start, arguments, error):
    content, ends, tags = packed()
    with pytest.raises(error):
        core.unpack(*arguments(content, ends, tuple(tags)))
    del ends
    gc.collect()
    assert live_nodes() == start


def test_places_and_classes_are_checked():
    content, ends, tags = packed()
    part = core.unpack(content, ends, tuple(tags))
    for place in (-1, 5, 10**9):
        with pytest.raises(IndexError, match="has no node"):
            core.value_at(part, place)
    with pytest.raises(OverflowError):
        core.value_at(part, 10**30)
    for call in (core.value_at, core.embody):
        with pytest.raises((TypeError, ValueError)):
            call(object(), 0, *([Coloured] if call is core.embody else []))
    for kind in (int, Value, Scalar):
        with pytest.raises(TypeError, match="not a subclass of Value"):
            core.embody(part, 0, kind)
    assert type(core.embody(part, 0, Coloured)) is Coloured
    holder = core.value_at(part, 1)
    with pytest.raises(ValueError, match="a node is a Value already"):
        core.embody(part, 1, Coloured)
    assert holder is core.value_at(part, 1)
    for odd in (3, None, "x"):
        for call in (core.place, core.collect, core.attributes):
            with pytest.raises(TypeError, match="expected a Value"):
                call(odd)


def test_a_pickle_that_was_cut_is_an_error():
    content = pickle.dumps(graph()[1])
    for end in range(0, len(content) - 1, 7):
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, IndexError)):
            pickle.loads(content[:end])


@pytest.mark.parametrize("make", [lambda: Value(2.0, label="a"), lambda: (Value(2.0) * 3).exp()])
def test_pickles_of_older_versions_name_other_modules(make):
    value = make()
    old = pickle.dumps(value, 0).replace(b"pygradc.core.copying", b"pygradc.copying")
    assert b"pygradc.copying" in old
    assert written(pickle.loads(old)) == written(value)
