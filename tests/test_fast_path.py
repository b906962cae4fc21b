"""Does the short way to a replay give what the long way gives, and is it taken where it can be?

csrc/python/scalar_replay.c replays a program in one call where the arguments are plain; what isn't
plain goes through pygradc/recorded/program.py. Each function is compiled twice; one of the two has
the short way closed. Which compiled program serves a call comes at the end.
"""

from __future__ import annotations

import functools
import gc
import itertools
import math
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from alarms import alarm, needs_alarm
from failures import failure
from programs import ARRAYS, X, bits
from test_allocations import bytes_in_use
from test_program import FAULTS, POLES

import pygradc
from pygradc import Program, TraceError, Value, compile, live_nodes

W = [Value(0.7), Value(-1.3)]  # the parameters


class LongOnly:
    """The same function, compiled, and its programs' short way closed."""

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        self.compiled = compile(function, **settings)

    def __getattr__(self, name: str) -> Any:
        for program in self.compiled.programs:
            program._fast_path = None
        return getattr(self.compiled, name)

    def __call__(self, *args: Any) -> Any:
        return self.__getattr__("__call__")(*args)


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows whenever a replay goes the long way."""
    taken: list[str] = []
    for name in ("_one_row", "_total", "_jvp", "_hvp"):
        usual = getattr(Program, name)

        def noted(*args: Any, name: str = name, usual: Any = usual) -> Any:
            taken.append(name)
            return usual(*args)

        monkeypatch.setattr(Program, name, noted)
    return taken


def values_in(x: Any) -> list[Value]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, np.ndarray):
        x = x.tolist()
    if isinstance(x, (list, tuple)):
        return [value for item in x for value in values_in(item)]
    return [x] if isinstance(x, Value) else []


def form(x: Any) -> Any:
    """Of a result, all but the numbers."""
    if isinstance(x, (list, tuple)):
        return type(x), [form(item) for item in x]
    return (dict, {key: form(item) for key, item in x.items()}) if isinstance(x, dict) else type(x)


def seen(call: Callable[..., Any], args: Any, known: list[Value] = W) -> Any:
    """All that can be told of a result: its form, its graph, its numbers, and its gradients."""
    gc.collect()
    before = live_nodes()
    known = [*known, *values_in(list(args))]
    places = {id(value): i for i, value in enumerate(known)}  # the last of the same Value
    result = call(*args)
    ends = []
    for y in values_in(result):
        for value in known:
            value.grad = 0.0
        y.backward()
        grads = [value.grad for value in known]
        children = [places[id(child)] for child in y._children]
        assert y._prev == set(y._children)
        ends.append((bits(y.data), y._op, children, bits(y._local_grads), bits(grads)))
    return form(result), ends, live_nodes() - before


def as_eager(x: Any) -> Any:
    """With Values for numbers; Values stay."""
    if isinstance(x, np.ndarray):
        return np.array(as_eager(x.tolist()), dtype=object)
    if isinstance(x, (list, tuple)):
        return type(x)(map(as_eager, x))
    return x if isinstance(x, Value) else Value(float(x))


def eager(function: Callable[..., Any], args: Any) -> list[tuple[bytes, bytes]]:
    """Data and gradients of each output, without a recording."""
    known, ends = [*W, *values_in(list(args))], []
    for y in values_in(function(*as_eager(args))):
        for value in known:
            value.grad = 0.0
        y.backward()
        ends.append((bits(y.data), bits([value.grad for value in known])))
    return ends


# ---- One row -------------------------------------------------------------------------------------


class Special(Value):
    pass


class Row(list):  # type: ignore[type-arg]
    pass


def of_numbers(x: Any, y: Any) -> Any:
    u, v = W
    return (x * u + y.sin() * v) + (x * y).tanh() * u, x, [u, y * 2.0]


def of_lists(x: Any, y: Any) -> Any:
    u, v = W
    (a, (b, c)), (d, e) = x, y
    return {"sum": a * u + b * v + c * d, "one": e.exp() * a}


def of_arrays(x: Any, y: Any) -> Any:
    return pygradc.dot(x[0], x[1], 1.0) * W[0] + y[2] * y[0].tanh()


def values(*numbers: float) -> list[Value]:
    return [Value(x) for x in numbers]


M, V = np.array([[1.5, -2.0], [0.25, 3.0]]), np.array([0.5, -0.0, 1.5])
WIDE = np.arange(8.0).reshape(2, 4) / 4

SHORT: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]] = {
    "floats": (of_numbers, lambda: (0.5, -1.5)),
    "zeros": (of_numbers, lambda: (-0.0, 0.0)),
    "odd floats": (of_numbers, lambda: (math.nan, 5e-324)),
    "ints": (of_numbers, lambda: (2, -3)),
    "large ints": (of_numbers, lambda: (2**70 + 1, -(2**53) - 1)),
    "float64": (of_numbers, lambda: (np.float64(0.5), np.float64(-1.5))),
    "Values": (of_numbers, lambda: (Value(0.5), Value(-1.5))),
    "a Value second": (of_numbers, lambda: (0.5, Value(-1.5))),
    "an inner node": (of_numbers, lambda: (Value(0.5) * 3.0, 2)),
    "lists": (of_lists, lambda: ([0.5, [2, -3.0]], (1.5, 0.25))),
    "Values in lists": (
        of_lists,
        lambda: ([Value(0.5), [2, Value(-3.0)]], tuple(values(1.5, 2.5))),
    ),
    "arrays": (of_arrays, lambda: (M, V)),
    "a read-only array": (of_arrays, lambda: (np.frombuffer(M.tobytes()).reshape(2, 2), V)),
}

LONG: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]] = {
    "a subclass of Value": (of_numbers, lambda: (Special(0.5), Value(-1.5))),
    "float32": (of_numbers, lambda: (np.float32(0.1), 1.0)),
    "int64": (of_numbers, lambda: (np.int64(3), 1.0)),
    "array of no axis": (of_numbers, lambda: (np.array(0.5), 1.0)),
    "fraction": (of_numbers, lambda: (Fraction(1, 3), 1.0)),
    "a subclass of list": (of_lists, lambda: ([0.5, Row([2, -3.0])], (1.5, 0.25))),
    "array of float32": (of_arrays, lambda: (M.astype(np.float32), V)),
    "array of ints": (of_arrays, lambda: (M.astype(int), V)),
    "array in Fortran's order": (of_arrays, lambda: (np.asfortranarray(M), V)),
    "every other column": (of_arrays, lambda: (WIDE[:, ::2], V)),
    "every other number": (of_arrays, lambda: (M, np.repeat(V, 2)[::2])),
    "array of the other byte order": (of_arrays, lambda: (M.astype(">f8"), V)),
    "array of Values": (of_arrays, lambda: (M, np.array(values(0.5, -0.0, 1.5)))),
    "a subclass of array": (of_arrays, lambda: (M.view(np.recarray), V)),
}

each_math = pytest.mark.parametrize("math_", ["exact", "fast"])
both_errors = pytest.mark.parametrize("errors", ["raise", "ignore"])


@each_math
@both_errors
@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_one_row(long_ways: list[str], name: str, math_: str, errors: str) -> None:
    function, make = {**SHORT, **LONG}[name]
    f, g = (kind(function, math=math_, errors=errors) for kind in (compile, LongOnly))
    args = make()
    f(*args)  # records; a program makes its steps back, too, when they are first asked for
    long_ways.clear()
    ours = seen(f, args)
    assert bool(long_ways) == (name in LONG)
    assert seen(f, args) == ours == seen(g, args) == seen(f.programs[0], args)
    if math_ == "exact":
        assert [(end[0], end[4]) for end in ours[1]] == eager(function, args)


def sensitive(x: Any, y: Any, z: Any) -> Any:
    """Of the three contributions, no order gives the bits of another."""
    u, v = W
    return (x * u + y.sin() * v) + z.tanh() * u * v


def test_the_same_value_as_several_inputs_gets_gradients_in_the_functions_own_order() -> None:
    f, g = compile(sensitive), LongOnly(sensitive)
    others = 0
    for data in np.linspace(-2.0, 2.0, 200).tolist():
        x = Value(data)
        ours = seen(f, (x, x, x))
        assert [(end[0], end[4]) for end in ours[1]] == eager(sensitive, (x, x, x))
        assert ours == seen(g, (x, x, x))
        others += ours[1][0][4] != eager(lambda x, y, z: in_another_order(x), (x,) * 3)[0][1]
    assert others > 10  # that is, the order matters


def in_another_order(x: Value) -> Value:
    u, v = W
    return (x.tanh() * u * v + x.sin() * v) + x * u


@pytest.mark.parametrize("mine", [0, 1])
def test_a_parameter_may_be_an_input(mine: int) -> None:
    f, g = compile(sensitive), LongOnly(sensitive)
    for args in ((W[mine],) * 3, (W[mine], Value(2.0), 3.0), (1.0, W[0], W[1])):
        f(*args)
        assert seen(f, args) == seen(f, args) == seen(g, args)


def test_without_a_graph_there_are_numbers_only() -> None:
    f, g, x = compile(sensitive), LongOnly(sensitive), np.linspace(-1, 1, 9)
    ready(f), ready(g)
    for args in ((1.0, 2.0, 3.0), (Value(1.0), 2.0, 3.0)):
        with pygradc.no_grad():
            ours, theirs = f(*args), g(*args)
            total = f.sum(x, x, x)
        assert bits(ours.data) == bits(theirs.data) == bits(f(*args).data)
        assert ours._children == theirs._children == total._children == ()
    assert f(1.0, 2.0, 3.0)._children == tuple(W)


def ready(f: Any, inputs: int = 3) -> Any:
    """f, recorded, with all steps back that the short way needs."""
    f(*[1.0] * inputs), f(*values(*[1.0] * inputs)), f.sum(*[np.ones(2)] * inputs)
    return f


# ---- Rows ----------------------------------------------------------------------------------------


def of_rows(x: Any, y: Any) -> Any:
    u, v = W
    return (x[0] * u + x[1] * y + x[2]).tanh() * v, [x[3] * u, y.sin()]


Y = np.linspace(-1.0, 1.0, len(X))
LAYOUTS = {"C order": X, **ARRAYS}
READY = ("C order", "read-only", "backwards")
both_totals = pytest.mark.parametrize("total", ["sum", "mean"])


@each_math
@both_totals
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_in_every_layout(long_ways: list[str], layout: str, total: str, math_: str) -> None:
    f, g = compile(of_rows, math=math_), LongOnly(of_rows, math=math_)
    args = LAYOUTS[layout], Y
    f.sum(X, Y), g.sum(X, Y)
    long_ways.clear()
    ours = seen(getattr(f, total), args)
    assert bool(long_ways) == (layout not in READY)
    assert ours == seen(getattr(g, total), args) == seen(getattr(f.programs[0], total), args)
    as_doubles = np.array(args[0], dtype=float), Y
    assert ours == seen(getattr(f, total), as_doubles)


@both_totals
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 33, 1024, 1025, 5000])
def test_any_number_of_rows(long_ways: list[str], count: int, total: str) -> None:
    f, g = compile(of_rows), LongOnly(of_rows)
    dice = np.random.default_rng(count)
    args = dice.uniform(-2, 2, (count, 4)), dice.uniform(-2, 2, count)
    f.sum(*args), g.sum(*args)
    long_ways.clear()
    ours = seen(getattr(f, total), args)
    assert long_ways == []
    assert ours == seen(getattr(g, total), args)
    with ThreadPoolExecutor(2) as pool:
        shared = functools.partial(getattr(f, total), executor=pool)
        assert ours == seen(shared, args)


ROWS: dict[str, tuple[Any, ...]] = {
    "no rows": (np.empty((0, 4)), np.empty(0)),
    "a number for all": (X, 2.0),
    "an int for all": (X, 2),
    "a Value for all": (X, Value(2.0)),
    "a list": (X, Y.tolist()),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_other_kinds_go_the_long_way(long_ways: list[str], name: str) -> None:
    f, g = compile(of_rows), LongOnly(of_rows)
    f.sum(X, Y), g.sum(X, Y)
    long_ways.clear()
    assert seen(f.sum, ROWS[name]) == seen(g.sum, ROWS[name])
    assert len(long_ways) == 2 and len(f.programs) == 1


def test_more_arrays_than_the_short_way_takes(long_ways: list[str]) -> None:
    for count in (16, 17):
        f = compile(lambda *x: pygradc.sum(x) * W[0])
        rows = np.arange(3.0 * count).reshape(count, 3)
        f.sum(*rows)
        long_ways.clear()
        assert f.sum(*rows).data == pytest.approx(rows.sum() * W[0].data)
        assert bool(long_ways) == (count > 16)


WRONG: dict[str, tuple[Any, ...]] = {
    "rows that differ": (X, Y[:5]),
    "too wide": (np.ones((6, 5)), Y),
    "too many axes": (X[:, :, None], Y),
    "too few axes": (X[:, 0], Y),
    "one array": (X,),
    "three arrays": (X, Y, Y),
    "nothing": (),
    "complex numbers": (X, Y * 1j),
    "strings": (X, ["a"] * 6),
    "Values": (X, np.array(values(*Y))),
    "a dict": ({"x": X}, Y),
    "None": (X, None),
}


@both_totals
@pytest.mark.parametrize("name", WRONG)
def test_wrong_rows_are_refused_in_the_same_words(name: str, total: str) -> None:
    f, g = compile(of_rows), LongOnly(of_rows)
    f.sum(X, Y), g.sum(X, Y)
    (p,), (q,) = f.programs, g.programs
    before, nodes = seen(f.sum, (X, Y)), live_nodes()
    ours = failure(lambda: getattr(p, total)(*WRONG[name]))
    assert ours[0] in (ValueError, TypeError)
    assert ours == failure(lambda: getattr(q, total)(*WRONG[name]))
    assert live_nodes() == nodes and seen(f.sum, (X, Y)) == before


WRONG_ROW: list[tuple[Any, ...]] = [
    (1.0,), (1.0, 2.0, 3.0), (), (1.0, "x"), (1.0, None), (1.0, True), (1.0, 1j), (1.0, [2.0]),
    (1.0, np.ones(2)), (1.0, 10**400), (np.array([1.0, 2.0]), 1.0), (1.0, {"a": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize("args", WRONG_ROW, ids=repr)
def test_a_wrong_row_is_refused_in_the_same_words(args: Any) -> None:
    f, g = compile(of_numbers), LongOnly(of_numbers)
    ready(f, 2), ready(g, 2)
    (p,), (q,) = f.programs, g.programs
    nodes = live_nodes()
    ours = failure(lambda: p(*args))
    assert ours[0] in (ValueError, TypeError, OverflowError) and ours == failure(lambda: q(*args))
    assert live_nodes() == nodes


# ---- Along a direction ---------------------------------------------------------------------------


def of_one(x: Any, y: Any) -> Any:
    u, v = W
    return (x[0] * u + x[1] * y + x[2] * v).tanh() * v * u + y.sin() * x[3] * u * u


def moved(f: Any, method: str, v: Any, args: Any, **options: Any) -> tuple[Any, Any]:
    """The bits of what `jvp` or `hvp` gives, its shapes, and that these are arrays of their own."""
    before = live_nodes()
    found = getattr(f, method)(v, *args, **options)
    for array in (arrays := found if method == "jvp" else (found,)):
        assert type(array) is np.ndarray and array.flags.writeable and array.dtype == np.float64
    assert live_nodes() == before
    return b"".join(map(bits, arrays)), [array.shape for array in arrays]


def outcome(*args: Any, **options: Any) -> Any:
    """What `moved` gives, or the failure."""
    found: list[Any] = []
    failed = failure(lambda: found.append(moved(*args, **options)))
    return found[0] if found else failed


ALONG: dict[str, tuple[str, dict[str, Any], Any]] = {
    "hvp of the sum": ("hvp", {}, 2),
    "hvp of the mean": ("hvp", {"mean": True}, 2),
    "hvp by inputs": ("hvp", {"wrt": "inputs"}, 5),
    "hvp by inputs, one for each row": ("hvp", {"wrt": "inputs"}, (6, 5)),
    "jvp": ("jvp", {}, 2),
    "jvp by inputs": ("jvp", {"wrt": "inputs"}, 5),
    "jvp by inputs, one for each row": ("jvp", {"wrt": "inputs"}, (6, 5)),
}
each_along = pytest.mark.parametrize("along", ALONG)


def direction(shape: Any) -> Any:
    return np.random.default_rng(3).normal(size=shape)


@each_math
@each_along
@pytest.mark.parametrize("layout", LAYOUTS)
def test_along_a_direction(long_ways: list[str], layout: str, along: str, math_: str) -> None:
    method, options, shape = ALONG[along]
    f, g = compile(of_one, math=math_), LongOnly(of_one, math=math_)
    args, v = (LAYOUTS[layout], Y), direction(shape)
    for h in (f, g):
        moved(h, method, v, (X, Y), **options)
    long_ways.clear()
    ours = moved(f, method, v, args, **options)
    assert bool(long_ways) == (layout not in READY)
    assert ours == moved(g, method, v, args, **options)
    assert ours == moved(f.programs[0], method, v, args, **options)


def wide(v: Any) -> Any:
    return np.repeat(v, 2, axis=-1)[..., ::2]


DIRECTIONS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda v: v.tolist(),
    "a tuple": lambda v: tuple(v.tolist()),
    "not contiguous": wide,
    "backwards": lambda v: v[..., ::-1],
    "Fortran's order": np.asfortranarray,
    "float32": lambda v: v.astype(np.float32),
    "ints": lambda v: (8 * v).astype(int),
    "the other byte order": lambda v: v.astype(">f8"),
    "a subclass": lambda v: v.view(np.recarray),
    "objects": lambda v: v.astype(object),
    "nan": lambda v: v * math.nan,
    "inf": lambda v: v * math.inf,
    "zero": lambda v: v * -0.0,
    "too long": lambda v: np.concatenate([v, v], axis=-1),
    "too short": lambda v: v[..., 1:],
    "another axis": lambda v: v[None],
    "none": lambda v: None,
    "one number": lambda v: 1.0,
    "complex": lambda v: v * 1j,
    "masked": np.ma.masked_invalid,
    "Values": lambda v: [Value(float(x)) for x in np.ravel(v)],
}


@each_along
@pytest.mark.parametrize("name", DIRECTIONS)
def test_directions_of_any_kind(name: str, along: str) -> None:
    method, options, shape = ALONG[along]
    f, g = compile(of_one), LongOnly(of_one)
    v = DIRECTIONS[name](direction(shape))
    for h in (f, g):
        moved(h, method, direction(shape), (X, Y), **options)
    ours, theirs = (outcome(h, method, v, (X, Y), **options) for h in (f, g))
    assert ours == theirs


@each_along
@pytest.mark.parametrize("count", [1, 2, 8, 9, 1025])
def test_along_a_direction_in_any_number_of_rows(
    long_ways: list[str], count: int, along: str
) -> None:
    method, options, shape = ALONG[along]
    f, g = compile(of_one), LongOnly(of_one)
    dice = np.random.default_rng(count)
    args = dice.uniform(-2, 2, (count, 4)), dice.uniform(-2, 2, count)
    v = direction((count, 5) if shape == (6, 5) else shape)
    for h in (f, g):
        moved(h, method, v, args, **options)
    long_ways.clear()
    ours = moved(f, method, v, args, **options)
    assert long_ways == [] and ours == moved(g, method, v, args, **options)


@pytest.mark.parametrize("name", ROWS)
@each_along
def test_along_a_direction_rows_of_other_kinds(along: str, name: str) -> None:
    method, options, shape = ALONG[along]
    f, g = compile(of_one), LongOnly(of_one)
    for h in (f, g):
        moved(h, method, direction(shape), (X, Y), **options)
    v = direction(5 if shape == (6, 5) else shape)
    ours, theirs = (outcome(h, method, v, ROWS[name], **options) for h in (f, g))
    assert ours == theirs
    assert (ours[0] is ValueError) == (name == "no rows" and "mean" in options)


@each_along
@pytest.mark.parametrize("name", WRONG)
def test_along_a_direction_wrong_rows_are_refused_in_the_same_words(name: str, along: str) -> None:
    method, options, shape = ALONG[along]
    (p,), (q,) = (ready_along(kind(of_one)).programs for kind in (compile, LongOnly))
    v, nodes = direction(shape), live_nodes()
    ours = failure(lambda: getattr(p, method)(v, *WRONG[name], **options))
    assert ours[0] in (ValueError, TypeError)
    assert ours == failure(lambda: getattr(q, method)(v, *WRONG[name], **options))
    assert live_nodes() == nodes


def ready_along(f: Any) -> Any:
    """f, recorded for X and Y, with all steps back that the short way needs."""
    f.hvp(np.ones(2), X, Y), f.hvp(np.ones(5), X, Y, wrt="inputs")
    return f


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("hvp", {"wrt": "inputs", "mean": True}),
        ("hvp", {"wrt": "outputs"}),
        ("hvp", {"wrt": None}),
        ("jvp", {"wrt": "outputs"}),
        ("jvp", {"mean": True}),
    ],
)
def test_wrong_options_are_refused_in_the_same_words(method: str, options: dict[str, Any]) -> None:
    f, g = (ready_along(kind(of_one)) for kind in (compile, LongOnly))
    v = np.ones(5 if options.get("wrt") == "inputs" else 2)
    ours = failure(lambda: getattr(f, method)(v, X, Y, **options))
    assert ours[0] in (ValueError, TypeError)
    assert ours == failure(lambda: getattr(g, method)(v, X, Y, **options))


@pytest.mark.parametrize("mean", [0, 1, np.True_, np.False_, "yes"], ids=repr)
def test_a_mean_by_any_truth(mean: Any) -> None:
    f, g = (ready_along(kind(of_one)) for kind in (compile, LongOnly))
    ours = moved(f, "hvp", direction(2), (X, Y), mean=mean)
    assert ours == moved(g, "hvp", direction(2), (X, Y), mean=mean)
    assert ours == moved(f, "hvp", direction(2), (X, Y), mean=bool(mean))


def test_several_outputs_along_a_direction(long_ways: list[str]) -> None:
    f, g = compile(of_rows), LongOnly(of_rows)
    v = direction(2)
    f.jvp(v, X, Y), g.jvp(v, X, Y)
    long_ways.clear()
    ours, theirs = f.jvp(v, X, Y), g.jvp(v, X, Y)
    assert long_ways == ["_jvp"]  # g's
    for mine, other in zip(ours, theirs):
        assert type(mine) is type(other) is tuple
        assert bits(mine[0]) == bits(other[0])
        assert [bits(x) for x in mine[1]] == [bits(x) for x in other[1]]
    (p,), (q,) = f.programs, g.programs
    assert failure(lambda: p.hvp(v, X, Y)) == failure(lambda: q.hvp(v, X, Y))


def test_along_a_direction_without_arguments(long_ways: list[str]) -> None:
    p = values(0.3, -1.1, 2.0)
    f = compile(lambda: (p[0] * p[1]).tanh() * p[2] ** 2)
    g = LongOnly(lambda: (p[0] * p[1]).tanh() * p[2] ** 2)
    v = direction(3)
    for h in (f, g):
        h.hvp(v), h.jvp(v)
    for data in (0.3, -0.0, 1.5):
        p[0].data = data  # parameters are read at each call
        long_ways.clear()
        ours = moved(f, "hvp", v, ()), moved(f, "jvp", v, ())
        assert long_ways == []
        assert ours == (moved(g, "hvp", v, ()), moved(g, "jvp", v, ()))
    assert f.hvp(v).shape == (3,)


def test_a_program_that_went_serves_no_product() -> None:
    f, v = compile(total, max_programs=1), np.ones(3)
    for n in (3, 2, 3):
        assert f.jvp(np.ones(n), rows(n), wrt="inputs")[1].tolist() == [n, n]
        assert recent(f) == widths(f) == [n]
    f.hvp(v, rows(3), wrt="inputs"), f.hvp(v, rows(3), wrt="inputs")
    gone = weakref.ref(f.programs[0])
    f(row(2))
    gc.collect()
    assert gone() is None
    assert f.hvp(v, rows(3), wrt="inputs").tolist() == [[0.0] * 3] * 2 and widths(f) == [3]


@both_errors
@pytest.mark.parametrize("bad", [-1.0, 0.0, math.nan, math.inf])
@each_along
def test_faults_along_a_direction(along: str, bad: float, errors: str) -> None:
    method, options, shape = ALONG[along]

    def function(x: Any, y: Any) -> Any:
        return of_one(x, y) + (x[0] * W[0]).log() * W[1] + (x[1] * W[0] * W[1]).sqrt()

    f, g = (kind(function, errors=errors) for kind in (compile, LongOnly))
    good = np.abs(X) + 0.5
    good[:, 1] *= -1.0
    v = direction(shape)
    for h in (f, g):
        moved(h, method, v, (good, Y), **options)
    for column in (0, 1):
        rows = good.copy()
        rows[4, column] = bad
        ours, theirs = (outcome(h, method, v, (rows, Y), **options) for h in (f, g))
        assert ours == theirs
        if (column, bad, errors) == (0, -1.0, "raise"):
            assert ours[0] is FloatingPointError and ours[1].startswith("row 4: log(")
    assert moved(f, method, v, (good, Y), **options) == moved(g, method, v, (good, Y), **options)


@each_along
def test_along_a_direction_within_a_trace(along: str) -> None:
    method, options, shape = ALONG[along]
    (p,), (q,) = (ready_along(kind(of_one)).programs for kind in (compile, LongOnly))
    v = direction(shape)
    ours, theirs = (
        failure(lambda h=h: compile(lambda x: x * moved(h, method, v, (X, Y), **options))(1.0))
        for h in (p, q)
    )
    assert ours == theirs and ours[0] is TraceError


# ---- Faults --------------------------------------------------------------------------------------


FAULTY = [*FAULTS, *(f"pole of {name}" for name in POLES)]


def with_parameter(name: str) -> tuple[Callable[[Any], Any], float, float]:
    """A function with a fault at `bad`, of its value or of its derivatives."""
    if name.startswith("pole of "):
        return lambda x: POLES[name[8:]][0](x * W[0]), 1.0, 0.0
    function, good, bad = FAULTS[name]
    return lambda x: function(x) * W[0], good, bad


@each_math
@pytest.mark.parametrize("name", FAULTY)
def test_faults_are_told_in_the_same_words(name: str, math_: str) -> None:
    function, good, bad = with_parameter(name)
    f, g = compile(function, math=math_), LongOnly(function, math=math_)
    rows = np.full(40, good)
    for h in (f, g):
        h(good), h(Value(good)), h.sum(rows)
    before = seen(f, (good,))
    rows[33] = rows[20] = bad
    gc.collect()
    nodes, W[0].grad = live_nodes(), 7.0
    calls: list[Callable[[Any], Any]] = [
        lambda h: h.sum(rows), lambda h: h.mean(rows), lambda h: h(Value(bad)), lambda h: h(bad),
    ]  # fmt: skip
    for call in calls:
        ours = failure(lambda call=call: call(f))
        assert ours[0] is FloatingPointError and ours == failure(lambda call=call: call(g))
    gc.collect()
    assert live_nodes() == nodes and W[0].grad == 7.0
    assert seen(f, (good,)) == before


@pytest.mark.parametrize("name", FAULTY)
def test_ignored_faults_give_the_same(long_ways: list[str], name: str) -> None:
    function, good, bad = with_parameter(name)
    f, g = compile(function, errors="ignore"), LongOnly(function, errors="ignore")
    rows = np.full(40, good)
    rows[20] = bad
    for h in (f, g):
        h(good), h(Value(good)), h.sum(rows)
    x = Value(bad)
    for ours, theirs, args in ((f, g, (bad,)), (f, g, (x,)), (f.sum, g.sum, (rows,))):
        long_ways.clear()
        found = seen(ours, args)
        assert long_ways == [] and found == seen(theirs, args)


def test_a_fault_of_parameters_only_is_told_in_the_same_words() -> None:
    w = Value(2.0)
    f, g = (kind(lambda x: x * w.log()) for kind in (compile, LongOnly))
    ready(f, 1), ready(g, 1)
    w.data = -2.0
    for call in (lambda h: h(1.0), lambda h: h(Value(1.0)), lambda h: h.sum(np.ones(3))):
        ours = failure(lambda call=call: call(f))
        assert ours == failure(lambda call=call: call(g))
        assert ours[0] is FloatingPointError and "parameters only: log(-2.0)" in ours[1]


# ---- Traces, threads, time -----------------------------------------------------------------------


def test_within_a_trace_the_function_itself_is_recorded() -> None:
    f = ready(compile(sensitive))
    outer = compile(lambda x: f(x, x * 2.0, Value(1.0)) + 1.0)
    plain = compile(lambda x: sensitive(x, x * 2.0, Value(1.0)) + 1.0)
    for x in (0.5, 1.5):
        assert seen(outer, (x,)) == seen(plain, (x,))
    assert len(outer.programs[0]) == len(plain.programs[0])


def test_within_a_trace_a_program_is_refused_in_the_same_words() -> None:
    f, g = ready(compile(sensitive)), ready(LongOnly(sensitive))
    (p,), (q,) = f.programs, g.programs
    for call in (lambda h, x: h(x, x, x), lambda h, x: h.sum(x, x, x)):
        ours, theirs = (
            failure(lambda h=h, call=call: compile(lambda x: call(h, x))(1.0)) for h in (p, q)
        )
        assert ours == theirs and ours[0] is TraceError


def test_a_traced_value_has_no_number_in_another_thread_either() -> None:
    f, g = ready(compile(sensitive)), ready(LongOnly(sensitive))

    def frozen(h: Any, x: Value) -> float:
        with pygradc.no_grad():
            return h(x, 1.0, 2.0).data

    def recorded(h: Any) -> tuple[Any, str]:
        with ThreadPoolExecutor(1) as pool:
            return failure(lambda: compile(lambda x: x * pool.submit(frozen, h, x).result())(3.0))

    (ours, text), (theirs, long_text) = recorded(f), recorded(g)
    assert ours is theirs is TraceError
    assert text.split(" while ")[1] == long_text.split(" while ")[1]  # line and quote are before it


def test_parameters_are_read_at_each_call(long_ways: list[str]) -> None:
    w = [Value(1.0), Value(2.0)]
    f = ready(compile(lambda x: (x * w[0] + w[1]).sin()), 1)
    long_ways.clear()
    x = np.linspace(0, 1, 5)
    for a, b in itertools.product((0.5, -0.0, 3.0), (1.0, -7.5)):
        w[0].data, w[1].data = a, b
        assert f(2.0).data == f(Value(2.0)).data == math.sin(2.0 * a + b)
        assert f.sum(x).data == pytest.approx(np.sin(x * a + b).sum(), rel=1e-14)
    assert long_ways == []


@pytest.fixture
def switching() -> Iterator[None]:
    """Between threads, as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def at_once(*calls: Callable[[], Any]) -> list[BaseException]:
    """Each in a thread; what they raised."""
    gate, raised = threading.Barrier(len(calls)), []

    def work(call: Callable[[], Any]) -> None:
        gate.wait()
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def deep(x: Any, steps: int = 300) -> Any:
    """Long enough for other threads to come in between."""
    for _ in range(steps):
        x = x.sin() * W[0] + W[1]
    return x


def test_threads_replay_one_program_at_once(switching: None, long_ways: list[str]) -> None:
    f = ready(compile(deep), 1)
    f.hvp(direction(2), np.ones(2))
    long_ways.clear()
    rows = [np.linspace(i, i + 1, 100) for i in range(4)]

    def found(i: int) -> Any:
        x = Value(float(i))
        ends = f(x), f(float(i)), f.sum(rows[i])
        along = bits(f.hvp(direction(2), rows[i])), *map(bits, f.jvp(direction(2), rows[i]))
        grads = pygradc.grads(list(W))  # threads share the parameters, not what is added to them
        ends[0].backward()
        return [(y.data, bits(y._local_grads)) for y in ends], x.grad, len(grads), along

    expected = [found(i) for i in range(4)]

    def work(i: int) -> None:
        for _ in range(100):
            assert found(i) == expected[i]

    assert at_once(*(functools.partial(work, i) for i in range(4))) == []
    assert long_ways == []


def test_inputs_outlive_their_replay_whoever_drops_them(switching: None) -> None:
    """Else another Value would soon be where they were."""
    f = compile(lambda x: deep(x[0], 30_000) + x[1] * 3.0)
    f([1.0, 2.0])
    pairs = [(float(i), i + 0.5) for i in range(8)]
    expected = {pair: f(values(*pair)).data for pair in pairs}
    row: list[Any] = values(*pairs[0])
    done = threading.Event()

    def replay() -> None:
        try:
            for _ in range(100):
                y = f(row)
                a, b = sorted(child.data for child in y._children[len(W) :])
                assert y.data == expected[a, b]
        finally:
            done.set()

    def replace() -> None:
        for pair in itertools.cycle(pairs):
            row[:] = values(*pair)
            values(*[9.0] * 5)  # in the places that became free
            if done.is_set():
                break

    assert at_once(replay, replace) == []


@needs_alarm
def test_a_signal_ends_a_long_sum(long_ways: list[str]) -> None:
    f, rows = ready(compile(deep), 1), np.ones(1_000_000)
    expected = f.sum(rows[:50]).data
    f.hvp(direction(2), rows[:50])
    long_ways.clear()
    gc.collect()
    nodes = live_nodes()
    for call in (f.sum, lambda x: f.hvp(direction(2), x), lambda x: f.jvp(direction(2), x)):
        with alarm(0.05):
            call(rows)
    assert live_nodes() == nodes and f.sum(rows[:50]).data == expected
    assert long_ways == []


# ---- Memory --------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Any], Any]] = {
    "floats": lambda f: f(1.0, 2.0, 3.0),
    "Values": lambda f: f(*values(1.0, 2.0, 3.0)),
    "the same Value": lambda f: f(W[0], W[0], W[0]),
    "rows": lambda f: f.sum(Y, Y, Y),
    "the long way": lambda f: f.sum(Y, Y, 1.0),
    "a wrong row": lambda f: failure(lambda: f.programs[0](1.0, 2.0)),
    "along a direction": lambda f: (f.jvp(np.ones(2), Y, Y, Y), f.hvp(np.ones(2), Y, Y, Y)),
    "a wrong direction": lambda f: failure(lambda: f.hvp(np.ones(3), Y, Y, Y)),
    "other rows": lambda f: failure(lambda: f.sum(Y, Y, Y[1:])),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_left_behind(name: str) -> None:
    f, call = ready(compile(sensitive)), CALLS[name]
    times = 100_000 if name in ("floats", "Values", "the same Value", "rows") else 5000
    for _ in range(times // 10):
        call(f)
    gc.collect()
    nodes, memory = live_nodes(), bytes_in_use()
    for _ in range(times):
        call(f)
    gc.collect()
    assert live_nodes() == nodes
    assert bytes_in_use() - memory < times


# ---- Which program serves a call -----------------------------------------------------------------


def total(x: Any, scale: float = 1.0) -> Any:
    return pygradc.sum(list(x)) * scale


def widths(f: Any) -> list[int]:
    return [program._size.inputs for program in f.programs]


def recent(f: Any) -> list[int]:
    return [program._size.inputs for program in f._kept.recent]


def row(count: int) -> list[float]:
    return [1.0] * count


def rows(count: int) -> Any:
    return np.ones((2, count))


USES: dict[str, Callable[[Any, int], Any]] = {
    "a call": lambda f, n: f(np.ones(n)),
    "a call with Values": lambda f, n: f(np.array(values(*row(n)))),
    "sum": lambda f, n: f.sum(rows(n)),
    "mean": lambda f, n: f.mean(rows(n)),
    "map": lambda f, n: f.map(rows(n)),
    "gradients": lambda f, n: f.gradients(rows(n)),
    "jvp": lambda f, n: f.jvp(np.ones(n), rows(n), wrt="inputs"),
    "hvp": lambda f, n: f.hvp(np.ones(n), rows(n), wrt="inputs"),
}


@pytest.mark.parametrize("use", USES)
def test_any_use_makes_a_program_the_most_recent_one(use: str) -> None:
    f = compile(total, max_programs=3)
    for _ in range(2):
        for n in (1, 2, 3):
            USES[use](f, n)
    assert widths(f) == [1, 2, 3] and recent(f) == [3, 2, 1]
    USES[use](f, 1)
    assert widths(f) == [2, 3, 1] and recent(f) == [1, 3, 2]
    f(np.ones(4))
    assert widths(f) == [3, 1, 4] and recent(f) == [4, 1, 3]


def test_static_arguments_are_looked_for_by_name_but_count() -> None:
    f = compile(total, max_programs=2)
    assert f(row(1), scale=2.0).data == 2.0 and recent(f) == []
    assert f(row(1)).data == 1.0 and recent(f) == [1]
    assert f(row(1), scale=2.0).data == 2.0  # not by the short way of the one without
    f(row(3))
    assert widths(f) == [1, 3] and recent(f) == [3]
    assert f(row(1)).data == 1.0 and widths(f) == [3, 1]  # the one of scale=2.0 has gone


def test_a_program_that_went_is_let_go() -> None:
    f = compile(total, max_programs=1)
    f(row(1)), f(row(1))
    gone = weakref.ref(f.programs[0])
    f(row(2))
    gc.collect()
    assert gone() is None


def test_a_program_that_goes_while_it_is_replayed_is_not_kept() -> None:
    f = compile(total, max_programs=1)
    f(row(1))
    (program,) = f.programs
    usual = program._row_by_fast_path

    def meanwhile(args: Any) -> Any:
        program._row_by_fast_path = usual  # type: ignore[method-assign]
        f(row(2))  # as another thread may
        return usual(args)

    program._row_by_fast_path = meanwhile  # type: ignore[method-assign]
    assert f(row(1)).data == 1.0
    f(row(3)), f(row(4))
    assert recent(f) == widths(f) == [4]
