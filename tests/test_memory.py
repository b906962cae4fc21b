"""Is memory given back: long chains, long runs, closures that refer to themselves, cycles?"""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

import pygradc
from pygradc import Value, live_nodes

ROOT = Path(pygradc.__file__).resolve().parent.parent

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")

PRELUDE = """
import gc, json, sys
from pygradc import Value, live_nodes

def status(field):
    if not sys.platform.startswith("linux"):
        return 0
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))

def custom(x, factor=0.9):
    out = Value(x.data * factor, (x,), "custom")
    def _backward():
        x.grad += factor * out.grad
    out._backward = _backward
    return out

def fused(ws, xs):
    # a neuron as one node of many children, whose data are set afterwards
    out = Value(0.0, (*ws, *xs), "neuron")
    out.data = 0.1 * sum(w.data * x.data for w, x in zip(ws, xs))
    def _backward():
        for w, x in zip(ws, xs):
            w.grad += 0.1 * x.data * out.grad
            x.grad += 0.1 * w.data * out.grad
    out._backward = _backward
    return out

start = live_nodes()
"""


def run(code: str) -> dict:
    """The dict that this code prints, as JSON, in a Python of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRELUDE + code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def start():
    """How many nodes live before the test, without garbage."""
    gc.collect()
    return live_nodes()


def custom(x: Value, factor: float = 0.9) -> Value:
    """An op with a closure that refers to its output and its input: a cycle."""
    out = Value(x.data * factor, (x,), "custom")

    def _backward():
        x.grad += factor * out.grad

    out._backward = _backward
    return out


# ---- long chains --------------------------------------------------------------------------------

CHAIN = """
before = status("VmHWM")
one, x = Value(1.0), Value(0.0)
for _ in range(10_000_000):
    x = x + one
nodes, data = live_nodes() - start, x.data
x.backward()
grad, peak = one.grad, status("VmHWM") - before
del x
left = live_nodes() - start
print(json.dumps(dict(nodes=nodes, data=data, grad=grad, peak=peak, left=left)))
"""


@linux
@pytest.mark.memory
def test_ten_million_nodes_are_built_swept_and_released():
    seen = run(CHAIN)
    assert (seen["nodes"], seen["data"], seen["grad"]) == (10_000_002, 1e7, 1e7)
    assert seen["left"] == 1
    assert seen["peak"] < 64 * 10_000_000


@pytest.mark.parametrize("collect", [True, False])
def test_a_long_chain_of_closures_is_released_without_recursion(start, collect):
    x = Value(1.0)
    out = x
    for _ in range(200_000):
        out = custom(out, 1.0)
    y = out * 2
    y.backward()
    assert (x.grad, live_nodes() - start) == (2.0, 200_003)
    if not collect:
        gc.disable()
    try:
        del out, y
        if collect:
            gc.collect()
        assert live_nodes() - start == 1
    finally:
        gc.enable()


def test_a_long_chain_of_labelled_nodes_is_released_without_recursion(start):
    x = Value(1.0)
    for i in range(200_000):
        x = -x
        x.label = str(i)
    assert live_nodes() - start == 400_001
    del x
    assert live_nodes() == start


def test_a_long_chain_of_attributes_is_released_without_recursion(start):
    x = Value(1.0)
    for _ in range(200_000):
        following = Value(1.0)
        following.before = x
        x = following
    del following
    assert live_nodes() - start == 200_001
    del x
    assert live_nodes() == start


# ---- long runs ----------------------------------------------------------------------------------

LOOP = """
w, b = Value(0.5), Value(0.1)

def step(x):
    y = (w * x + b).tanh()
    {extra}
    loss = (y - 0.3) ** 2
    loss.backward()
    for p in (w, b):
        p.data -= 0.01 * p.grad
        p.grad = 0.0

def steps(count):
    for i in range(count):
        step(i % 7 - 3.0)
    return live_nodes() - start, status("VmRSS")

first, last = steps({few}), steps({many} - {few})
print(json.dumps(dict(nodes=[first[0], last[0]], grown=last[1] - first[1])))
"""


def is_flat(seen: dict, nodes: int, slack: int = 0) -> bool:
    return max(abs(n - nodes) for n in seen["nodes"]) <= slack and seen["grown"] < 1 << 20


@pytest.mark.memory
def test_a_million_training_steps_leave_nothing_behind():
    seen = run(LOOP.format(extra="", few=100_000, many=1_000_000))
    assert is_flat(seen, nodes=2), seen


EXTRAS = {
    "a closure": "y = custom(y)",
    "five closures with native ops in between": "for _ in range(5): y = custom(y * y) + 0.1",
    "labels": "y.label = 'y'; y = y * 2; y.label = 'z'; y.colour = 'red'; y = y + 1",
    "a fused neuron": "y = fused([w, b, w], [y, y * y, w])",
    "a chain of fused neurons": "for _ in range(5): y = fused([w, b], [y, y]) + y",
    "local gradients": "y = Value(y.data, (y, w), (1.0, 0.5))",
}


@pytest.mark.memory
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_long_runs_with_objects_that_hang_on_nodes_leave_nothing_behind(extra):
    seen = run(LOOP.format(extra=extra, few=100_000, many=300_000))
    assert is_flat(seen, nodes=2), seen


ROOTS = """
x, most = Value(0.5), 0
for _ in range(1_000):
    y = x
    for _ in range(5_000):
        y = y + x
    {sweep}
    y = custom(y)
    {sweep}
    most = max(most, live_nodes() - start)
del y
gc.collect()
print(json.dumps(dict(most=most, left=live_nodes() - start)))
"""


@pytest.mark.parametrize("sweep", ["", "y.backward()"])
def test_graphs_under_a_closure_as_root_are_found_in_time(sweep):
    seen = run(ROOTS.format(sweep=sweep))
    assert seen["left"] == 1
    assert seen["most"] < 1_000_000, "of the 5,000,000 that were built"


# ---- closures and cycles ------------------------------------------------------------------------


def swept(out: Value) -> Value:
    out.backward()
    return out


@pytest.mark.parametrize(
    "use",
    [
        lambda x: custom(x) * 2,
        lambda x: swept(custom(x) * 2),
        lambda x: swept(custom(custom(x).tanh() + 1) * custom(x)),
        lambda x: pygradc.sum([custom(x), custom(x), 1]),
        lambda x: Value(1.0, (custom(x), custom(x)), (1.0, 2.0)),
    ],
)
def test_closures_whose_nodes_were_used_go_at_once_without_the_collector(start, use):
    x = Value(0.5)
    gc.disable()
    try:
        out = use(x)
        assert live_nodes() - start > 2
        del out
        assert live_nodes() - start == 1
    finally:
        gc.enable()


def named_first(x: Value) -> None:
    y = custom(x)
    out = (y * 2).tanh()
    out.backward()


def named_last(x: Value) -> None:
    """As a frame drops its variables one by one, from either end, something goes before y."""
    out = None
    y = custom(x)
    out = (y * 2).tanh()
    out.backward()


def several(x: Value) -> None:
    first, last = custom(x), None
    second = custom(first) * custom(x)
    last = second + first
    last.backward()


@pytest.mark.parametrize("step", [named_first, named_last, several])
def test_closures_that_a_frame_names_go_as_it_does(start, step):
    x = Value(0.5)
    gc.disable()
    try:
        for _ in range(3):
            step(x)
            assert live_nodes() - start == 1
    finally:
        gc.enable()


def test_closures_go_in_a_thread_while_the_main_one_waits(start):
    """It is the main thread that looks at them a last time."""
    x, most = Value(0.5), []

    def work() -> None:
        for _ in range(1000):
            named_first(x)
            named_last(x)
            several(x)
            most.append(live_nodes() - start)

    gc.disable()
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(most) == 1000 and max(most) < 50
        assert live_nodes() - start == 1
    finally:
        gc.enable()


def test_closures_that_somebody_has_stay_until_they_are_collected(start):
    x = Value(0.5)
    held = [custom(x) for _ in range(200)]
    outs = [y * 2 for y in held]
    del outs  # more of them than are looked at again
    assert live_nodes() - start == 201
    (held[7] * 2).backward()
    assert x.grad == pytest.approx(1.8)
    held.clear()
    gc.collect()
    assert live_nodes() - start == 1


@pytest.mark.parametrize("sweeps", [0, 1, 2])
def test_a_closure_as_root_is_collected(start, sweeps):
    x = Value(0.5)
    out = custom(x * 2)
    for _ in range(sweeps):
        out.backward()
    del out
    gc.collect()
    assert live_nodes() - start == 1


def test_a_closure_that_somebody_holds_stays():
    x = Value(3.0)
    e = custom(x, 2.0)
    closure = e._backward
    out = e * 2
    del e, out
    gc.collect()
    closure()
    assert x.grad == 0.0
    cells = dict(zip(closure.__code__.co_freevars, closure.__closure__))
    e = cells["out"].cell_contents
    assert e._backward is closure and e._children == (x,)
    (e * 2).backward()
    assert x.grad == 4.0


def test_a_closure_whose_output_is_still_named_stays():
    x = Value(3.0)
    e = custom(x, 2.0)
    out = e * 2
    out.backward()
    del out
    gc.collect()
    e.backward()
    assert x.grad == 4.0 + 2.0 and e._op == "custom"


class Slotted(Value):
    __slots__ = ("me",)


def itself(v: Value) -> None:
    v.me = v


def itself_below_a_node(v: Value) -> None:
    v.me = v
    v + 1  # used once, and dropped


def its_parent(v: Value) -> None:
    v.parent = v + 1


def its_childs_child(v: Value) -> None:
    v.above = [(v * 2).tanh()]


def each_other(v: Value) -> None:
    w = Value(2.0)
    v.other, w.other = w, v


def a_method(v: Value) -> None:
    v.run = v.backward


def a_closure_of_another_node(v: Value) -> None:
    above = v * 2
    v._backward = lambda: above


@pytest.mark.parametrize(
    "hang",
    [
        itself,
        itself_below_a_node,
        each_other,
        a_method,
    ],
)
@pytest.mark.parametrize("kind", [Value, type("Sub", (Value,), {})])
def test_cycles_of_attributes_are_collected(start, hang, kind):
    v = kind(1.0)
    hang(v)
    gc.collect()
    assert live_nodes() - start > 0 and vars(v)
    del v
    gc.collect()
    assert live_nodes() == start


@pytest.mark.parametrize("hang", [its_parent, its_childs_child, a_closure_of_another_node])
def test_a_cycle_closed_by_the_graphs_own_edges_is_collected(start, hang):
    """Python's collector doesn't see edges between nodes; the core looks after it."""
    v = Value(1.0)
    hang(v)
    weak = weakref.ref(v)
    gc.collect()
    assert live_nodes() > start + 1 and vars(v)
    del v
    gc.collect()
    assert weak() is None and live_nodes() == start


def test_cycles_through_slots_are_collected(start):
    v = Slotted(1.0)
    v.me = v
    del v
    gc.collect()
    assert live_nodes() == start


@pytest.mark.parametrize("kind", [Value, type("Sub", (Value,), {}), Slotted])
def test_the_collector_leaves_attributes_of_a_node_that_is_used(kind):
    v = kind(1.0)
    v.me = v
    out = v + 1
    del v
    gc.collect()
    child = out._children[0]
    assert child.me is child and type(child) is kind


def test_a_finalizer_runs_once_when_the_node_goes():
    class Thing:
        def __del__(self):
            gone.append(True)

    gone: list[bool] = []
    v = Value(1.0)
    v.thing = Thing()
    out = v + 1
    del v
    gc.collect()
    assert gone == []
    del out
    assert gone == [True]


def test_release_may_run_code_that_builds_nodes(start):
    def build(_):
        built.append(((Value(1.0) + 2) ** 3).data)

    built: list[float] = []
    out, watches = Value(1.0), []
    for _ in range(100):
        out = out + 1
        out.label = "kept"
        watches.append(weakref.ref(out, build))
    del out
    assert built == [27.0] * 100 and live_nodes() == start


# ---- reference counts against a model -----------------------------------------------------------


class Model:
    """What must live: nodes by name, each with the names of those that it uses."""

    def __init__(self):
        self.uses: dict[int, list[int]] = {}

    def node(self, *uses: int) -> int:
        name = len(self.uses)
        self.uses[name] = list(uses)
        return name

    def living(self, held) -> int:
        seen, stack = set(), list(held)
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack.extend(self.uses[name])
        return len(seen)


def grow(dice: random.Random, model: Model, a: tuple, b: tuple, closures: bool) -> tuple:
    """A new Value and its name in the model; the hidden exponent of ** is a node as well."""
    (x, i), (y, j) = a, b
    leaf, node = model.node, model.node
    choices = [
        lambda: (Value(0.5), leaf()),
        lambda: (x + y, node(i, j)),
        lambda: (x * x, node(i, i)),
        lambda: (x + 1.0, node(i, leaf())),
        lambda: (x.tanh(), node(i)),
        lambda: (x**2, node(i, leaf())),
        lambda: (-x, node(i, leaf())),
        lambda: (x - y, node(i, node(j, leaf()))),
        lambda: (x / 4.0, node(i, leaf())),
        lambda: ((x.tanh() + 2.0) / 3.0, node(node(node(i), leaf()), leaf())),
        lambda: (x.maximum(0.0), node(i, leaf())),
        lambda: (pygradc.sum([x, y, 1.0]), node(node(node(i, leaf()), j), leaf())),
        lambda: (pygradc.dot([x, y], [0.5, y], y), node(node(j, node(i, leaf())), node(j, j))),
        lambda: (Value(0.5, (x, y, x), (0.1, 0.2, 0.3)), node(i, j, i)),
        lambda: (custom(x), node(i)) if closures else (x.exp().tanh(), node(node(i))),
    ]
    return dice.choice(choices)()


def adorn(dice: random.Random, value: Value) -> None:
    if dice.random() < 0.2:
        value.label = "label"
    if dice.random() < 0.1:
        value.m = 0.0
    if dice.random() < 0.1:
        assert all(child in value._prev for child in value._children)


@pytest.mark.parametrize("closures", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_living_are_exactly_those_that_can_be_reached(start, seed, closures):
    dice, model = random.Random(seed), Model()
    held = [(Value(0.1), model.node()) for _ in range(3)]
    for step in range(3000):
        value, name = grow(dice, model, dice.choice(held), dice.choice(held), closures)
        if abs(value.data) > 3.0:
            value.data = 0.5
        adorn(dice, value)
        held.append((value, name))
        del value
        while len(held) > 3 and dice.random() < 0.5:
            held.pop(dice.randrange(len(held)))
        if step % 1000 == 999:
            held[-1][0].backward()
        if step % 100 == 0 or not closures:
            if closures:
                gc.collect()
            assert live_nodes() - start == model.living(name for _, name in held)
    held.clear()
    gc.collect()
    assert live_nodes() == start


REFERENCES = """
import weakref
{kind}

def make_and_drop():
    kept = [kind(1.0) for _ in range(1000)]
    for v in kept[:500]:
        v.label = "label"
    outs = [v * 2 + 1 for v in kept]
    del kept
    for out in outs:
        assert out._children[0]._children[0].data == 1.0
        weakref.ref(out)

def references():
    for _ in range(100):
        make_and_drop()
    gc.collect()
    return sys.getrefcount(kind)

references()
print(json.dumps(dict(counts=[references() for _ in range(3)])))
"""


@pytest.mark.parametrize("kind", ["kind = Value", "class kind(Value): pass"])
def test_reference_counts_of_the_class_do_not_drift(kind):
    counts = run(REFERENCES.format(kind=kind))["counts"]
    assert max(counts) - min(counts) <= 2


def test_subclasses_can_be_collected_with_their_instances(start):
    kind = type("Short", (Value,), {})
    v = kind(1.0)
    v.label = "v"
    out = v + 1
    watch = weakref.ref(kind)
    del kind, v, out
    gc.collect()
    assert watch() is None and live_nodes() == start


@pytest.mark.parametrize("kind", [Value, type("Sub", (Value,), {})])
def test_what_a_weak_reference_brings_back_outlives_the_node_that_kept_it(start, kind):
    v = kind(3.0)
    v.label, v.grad = "v", 0.5
    weak = weakref.ref(v)
    above = v + 1
    del v  # the node keeps the object, for its label
    again = weak()
    del above  # the node's last user goes, while `again` holds the object
    assert (again.data, again.grad, again.label) == (3.0, 0.5, "v")
    assert (again * 2).data == 6.0
    assert live_nodes() - start == 1
    del again
    assert weak() is None and live_nodes() == start
