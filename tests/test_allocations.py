"""Does a call survive any allocation that fails?

The core's hook lets the nth allocation fail, n rising until the call succeeds. Each time it must
raise MemoryError, leave the nodes and the parameters as they were and keep no memory, and the same
call must then give what it gives when nothing ever failed.

What makes nodes needs a larger arena each time, twice as large: it runs in a process of its own,
`python test_allocations.py name`. Programs don't: they are in CALLS.
Python's own allocations don't pass through the hook.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import itertools
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failures import below, deep_graph, ends_well, failure, small_graph, state

import pygradc
from pygradc import Value, nn, optim
from pygradc._core import lib
from pygradc.recorded.program import Program

# ---- Letting allocations fail --------------------------------------------------------------------


ROUNDS, REPEATS = 5, 10  # of failures, to see whether they keep memory


class Mallinfo(ctypes.Structure):
    """glibc's own account of its memory: see mallinfo(3)."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


# Found once: to look for it makes a class, which takes memory itself until it is collected.
MALLINFO = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
if MALLINFO is not None:
    MALLINFO.restype = Mallinfo


def bytes_in_use() -> int:
    """What malloc has handed out, which Python's small objects don't take; 0 where nobody counts.

    AddressSanitizer's malloc doesn't count either, but finds what is leaked itself.
    """
    if MALLINFO is None:
        return 0
    info = MALLINFO()
    return int(info.uordblks + info.hblkhd)


def keeps_memory(action: Callable[[], Any]) -> bool:
    """Does each round of repetitions take a block's worth each?"""
    for _ in range(ROUNDS):
        before = bytes_in_use()
        for _ in range(REPEATS):
            action()
        if bytes_in_use() - before < 16 * REPEATS:
            return False
        gc.collect()  # it may be garbage
    return True


def fails_at(n: int, action: Callable[[], Any]) -> bool:
    """Let the nth allocation of action fail. Did it run out of memory?"""
    lib.pg_alloc_fail_at(n)
    try:
        raised, text = failure(action)
    finally:
        lib.pg_alloc_fail_at(0)
    assert raised in (None, MemoryError), text
    return raised is not None


def starve(
    action: Callable[[], Any],
    watch: Callable[[], Any],
    prepare: Callable[[], Any] = lambda: None,
) -> int:
    """Let every allocation of action fail in turn. Returns how many there were."""
    for n in itertools.count(1):
        prepare()
        before = watch()
        if not fails_at(n, action):
            return n - 1
        assert watch() == before, f"allocation {n} left traces"
        assert not keeps_memory(lambda n=n: fails_at(n, action)), f"allocation {n} leaks"
        assert watch() == before, f"allocation {n} left traces, in time"
        raised, text = failure(action)
        assert raised is None, f"after allocation {n} failed: {text}"
    raise AssertionError


# ---- Nodes ---------------------------------------------------------------------------------------


def fill_the_arena(keep: list[Value]) -> None:
    """Add leaves until the next node can't be had without an allocation."""
    while not fails_at(1, lambda: keep.append(Value(0.0))):
        pass


def outgrow_every_walk(keep: list[Value]) -> None:
    """Make the arena so much larger that a walk needs more room than it ever had."""
    fill_the_arena(keep)
    keep.append(Value(0.0))
    fill_the_arena(keep)


def starve_building(build: Callable[[list[Value]], Any], allocations: int) -> None:
    """Building needs a larger arena, its nodes and its owners, and what build needs itself."""
    nodes, keep = small_graph(), list[Value]()
    expected = build(nodes)
    found = starve(lambda: build(nodes), lambda: state(nodes), lambda: fill_the_arena(keep))
    assert found == allocations, found
    assert build(nodes) == expected


BUILDS: dict[str, tuple[Callable[[list[Value]], Any], int]] = {
    "leaf": (lambda v: Value(1.0).data, 2),
    "a + b": (lambda v: (v[0] + v[1]).data, 2),
    "2 - a": (lambda v: (2 - v[0]).data, 2),
    "a / b": (lambda v: (v[0] / v[1]).data, 2),
    "-a": (lambda v: (-v[0]).data, 2),
    "a ** 2": (lambda v: (v[0] ** 2).data, 2),
    "2 ** a": (lambda v: (2 ** v[0]).data, 2),
    "maximum": (lambda v: v[0].maximum(7).data, 2),
    "tanh": (lambda v: v[0].tanh().data, 2),
    "expression": (lambda v: ((v[0] * v[1] + 1) / (v[0] - v[1])).data, 2),
    "custom node": (lambda v: Value(1.0, v[:2], "odd").data, 3),
    "local_grads": (lambda v: Value(1.0, v[:2], (1.0, 2.0)).data, 3),
    "layer": (lambda v: [out.data for out in nn.Layer(4, 3)(v)] and None, 2),
    "network": (lambda v: nn.MLP(4, [3, 2, 1])([1.0, *v[1:]]).data and None, 2),
    "sum": (lambda v: pygradc.sum([*v, 1.0, 2]).data, 2),
    "long sum": (lambda v: pygradc.sum(v * 1000).data, 2),
    "dot": (lambda v: pygradc.dot(v, v, 0.5).data, 2),
}


def starve_backward() -> None:
    """A walk needs two arrays. The root's gradient says whether the sweep took place."""
    nodes, keep = deep_graph(lambda node: node.sin()), list[Value]()
    everything = below(nodes[-1])
    sweep = nodes[-1].backward
    assert starve(sweep, lambda: state(everything), lambda: outgrow_every_walk(keep)) == 2
    assert nodes[-1].grad == 1.0


def closure_that_builds(node: Value) -> Value:
    y = Value(node.data, (node,), "odd")

    def backward() -> None:
        node.grad += y.grad * (Value(2.0) * node + 1.0).data

    y._backward = backward
    return y


def starve_backward_with_closures() -> None:
    """What a closure allocates may fail, too: then its MemoryError stops the sweep."""
    nodes, keep = deep_graph(closure_that_builds), list[Value]()
    everything = below(nodes[-1])
    for n in range(1, 4):
        fill_the_arena(keep)
        before = state(everything)
        if fails_at(n, nodes[-1].backward):
            assert state(everything) == before
        nodes[-1].backward()
        assert nodes[-1].grad == 1.0


def keep_a_block(kept: list[Any]) -> None:
    """A failure that leaks: the tests of leaks must say so."""
    kept.append(np.empty(1000))
    raise MemoryError


SCENARIOS: dict[str, Callable[[], None]] = {
    **{name: partial(starve_building, *row) for name, row in BUILDS.items()},
    "backward": starve_backward,
    "backward with closures": starve_backward_with_closures,
}


@pytest.mark.once
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nodes(scenario: str) -> None:
    ends_well(__file__, scenario)


@pytest.mark.skipif(not bytes_in_use(), reason="no malloc that counts")
def test_a_leak_would_be_noticed() -> None:
    kept: list[Any] = []
    assert keeps_memory(lambda: failure(lambda: keep_a_block(kept)))
    assert not keeps_memory(lambda: failure(lambda: keep_a_block([])))


# ---- Programs ------------------------------------------------------------------------------------


class Here(Executor):
    """Does what it is given at once: the path of executors, in one thread."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*args, **named))
        return future


class Scene:
    """A model, a program of its loss, and rows: what the calls need, each time as at first."""

    def __init__(self, folder: Path) -> None:
        self.model = nn.MLP(2, [3, 1])
        self.parameters = self.model.parameters()
        self.start = [p.data for p in self.parameters]
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(2100, 2)), rng.normal(size=2100)
        self.reset()
        self.program: Program = self.record()
        compiled = pygradc.compile(self.loss)
        compiled.map(self.x, self.y)
        self.of_arrays: Program = compiled.programs[0]
        self.file = folder / "program"
        self.program.save(self.file)
        self.pickled = pickle.dumps(self.program)

    def reset(self) -> None:
        """Parameters and optimisers as at first; an op that nobody has used yet."""
        for p, data in zip(self.parameters, self.start):
            p.data, p.grad = data, 0.25
        self.optimisers = {
            "SGD": optim.SGD(self.parameters, lr=0.01, momentum=0.9),
            "Adam": optim.Adam(self.parameters, lr=0.01),
        }
        self.op = pygradc.op(lambda a, b: a * b, lambda a, b, y: (b, a), name="times")

    def watch(self) -> Any:
        states = [optimiser.state_dict() for optimiser in self.optimisers.values()]
        return state(self.parameters), repr(states)

    def loss(self, x: Any, y: Any) -> Value:
        off = self.model(list(x)) - y
        return self.op(off, off) + 0.1 * off.tanh()

    def record(self, **settings: Any) -> Program:
        """A new recording, by its first call."""
        compiled = pygradc.compile(self.loss, **settings)
        compiled([0.5, 0.25], 1.0)
        return compiled.programs[0]

    def again(self) -> Program:
        """The program, as if it had not been used yet."""
        return copy.copy(self.program)

    def short(self, program: Any, wrt: int) -> Any:
        """The same program with its steps back: what is missing is what the short way needs."""
        program = copy.copy(program)
        program._plan(wrt)
        for long in ("_one_row", "_total", "_jvp", "_hvp"):
            setattr(program, long, None)  # it must not go the long way
        return program

    def fit(self, name: str, **settings: Any) -> Any:
        """One epoch: what fails has not begun. After more it leaves the last whole step."""
        optimiser = self.optimisers[name]
        epochs = pygradc.fit(
            self.again(), self.x, self.y, optimiser, batch_size=2000, seed=1, **settings
        )
        return epochs, [(p.data, p.grad) for p in self.parameters], optimiser.state_dict()


@pygradc.op(derivatives=lambda a, b, y: (b, a))
def times(a: Any, b: Any) -> Any:
    return a * b


def numbers(*results: Any) -> str:
    """All bits of results, to compare."""
    return "\n".join(np.asarray(result).tobytes().hex() for result in results)


def expression(s: Scene) -> Value:
    return times(s.parameters[0].tanh() * 2, s.parameters[1])


def with_graph(s: Scene) -> str:
    a, b = Value(0.5), Value(0.75)
    return numbers(s.again()([a, b * 2], 1.0).data)


def short_call(s: Scene) -> str:
    return numbers(s.short(s.program, lib.PG_WRT_PARAMS)([0.5, 2], 1.0).data)


def short_with_graph(s: Scene) -> str:
    a, b = Value(0.5), Value(0.75)
    return numbers(s.short(s.program, lib.PG_WRT_PARAMS | lib.PG_WRT_INPUTS)([a, b * 2], 1.0).data)


def short_sum(s: Scene) -> str:
    return numbers(s.short(s.of_arrays, lib.PG_WRT_PARAMS).sum(s.x, s.y).data)


def short_product(s: Scene) -> str:
    program, v = s.short(s.of_arrays, lib.PG_WRT_PARAMS), np.array(s.start)
    return numbers(program.hvp(v, s.x, s.y), *program.jvp(v, s.x, s.y))


def gradients(s: Scene) -> str:
    outputs, (by_x, by_y) = s.again().gradients(s.x, s.y)
    return numbers(outputs, by_x, by_y)


# What each call gives, and how many allocations it has to survive at least.
CALLS: dict[str, tuple[Callable[[Scene], Any], int]] = {
    "record, no pass": (lambda s: str(s.record(passes=[])), 40),
    "record, exact": (lambda s: str(s.record()), 40),
    "record, fast": (lambda s: str(s.record(math="fast")), 40),
    "load": (lambda s: str(pygradc.load(s.file)), 10),
    "unpickle": (lambda s: str(pickle.loads(s.pickled)), 10),
    "copy": (lambda s: str(copy.deepcopy(s.program)), 10),
    "save": (lambda s: s.program.save(s.file), 0),
    "translate": (lambda s: s.again().to_c(), 4),
    "call": (lambda s: numbers(s.again()([0.5, 0.25], 1.0).data), 10),
    "call with Values": (with_graph, 10),
    "call, the short way": (short_call, 10),
    "call with Values, the short way": (short_with_graph, 10),
    "sum, the short way": (short_sum, 10),
    "map": (lambda s: numbers(s.again().map(s.x, s.y)), 6),
    "sum": (lambda s: numbers(s.again().sum(s.x, s.y).data), 10),
    "mean": (lambda s: numbers(s.again().mean(s.x, s.y).data), 10),
    "sum by an executor": (lambda s: numbers(s.again().sum(s.x, s.y, executor=Here()).data), 10),
    "gradients": (gradients, 6),
    "gradients by parameters": (
        lambda s: numbers(*s.again().gradients(s.x, s.y, wrt="parameters")),
        10,
    ),
    "vjp": (lambda s: numbers(s.again().vjp([2.0], s.x, s.y)), 10),
    "hessian": (lambda s: numbers(s.again().hessian(s.x, s.y)), 10),
    "hessian by parameters": (lambda s: numbers(s.again().hessian(s.x, s.y, wrt="parameters")), 10),
    "jvp": (lambda s: numbers(*s.again().jvp(s.start, s.x, s.y)), 10),
    "hvp and jvp, the short way": (short_product, 10),
    "hvp": (lambda s: numbers(s.again().hvp(s.start, s.x, s.y)), 10),
    "fit, SGD": (lambda s: repr(s.fit("SGD")), 10),
    "fit, Adam": (lambda s: repr(s.fit("Adam")), 10),
    "fit, callback": (lambda s: repr(s.fit("Adam", callback=lambda *_: None)), 10),
    "step, SGD": (lambda s: s.optimisers["SGD"].step(), 0),
    "step, Adam": (lambda s: s.optimisers["Adam"].step(), 0),
    "copy of a graph": (lambda s: copy.deepcopy(expression(s)).data, 3),
    "pickle of a graph": (lambda s: pickle.loads(pickle.dumps(expression(s))).data, 3),
}


@pytest.mark.once
@pytest.mark.parametrize("call", CALLS)
def test_programs(call: str, tmp_path: Path) -> None:
    make, least = CALLS[call]
    scene = Scene(tmp_path)
    expected, results = make(scene), list[Any]()
    gc.collect()

    def action() -> None:
        results[:] = [make(scene)]

    found = starve(action, scene.watch, scene.reset)
    assert found >= least, found
    assert results == [expected]


if __name__ == "__main__":
    SCENARIOS[sys.argv[1]]()
    print(f"{sys.argv[1]}: done")
