"""Functions to record, what they give without a recording, and how to compare the two.

A `Case` is a function of single numbers with the Values that it captures. It is written by hand, or
follows a plan: a list of steps over a growing list of Values, drawn by a seed or by hypothesis.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import pygradc
from pygradc import Value, detach, maximum, minimum, reference, where
from pygradc.core.ops import OPS, Op

# ---- Comparing -----------------------------------------------------------------------------------


def bits(numbers: Any) -> bytes:
    """All that floats are, but every nan is the same."""
    array = np.array(numbers, dtype=np.float64)
    array[np.isnan(array)] = np.nan
    return array.tobytes()


def first_difference(ours: Any, expected: Any) -> str | None:
    """Where two arrays differ in any bit, or None."""
    ours, expected = np.asarray(ours), np.asarray(expected)
    if ours.shape != expected.shape:
        return f"shape {ours.shape}, expected {expected.shape}"
    for where_, a, b in zip(np.ndindex(ours.shape), ours.ravel(), expected.ravel()):
        if bits(a) != bits(b):
            return f"{where_}: {float(a)!r}, expected {float(b)!r}"
    return None


def near(ours: Any, expected: Any, size: Any) -> bool:
    """Equal to 1e-12 of size, the sum of the absolute values of what was added up."""
    return bool(np.all(np.abs(np.subtract(ours, expected)) <= 1e-12 * np.asarray(size)))


# ---- Functions and what they give ----------------------------------------------------------------


@dataclass
class Case:
    """A function of `inputs` numbers, which captures `params`."""

    function: Callable[..., Any]
    inputs: int
    params: list[Value] = field(default_factory=list)
    low: float = -2.0
    high: float = 2.0

    def rows(self, count: int, seed: int = 0) -> Any:
        return np.random.default_rng(seed).uniform(self.low, self.high, (count, self.inputs))


@dataclass
class Row:
    """What one row gives: of each output its data and its gradients."""

    data: list[float]
    inputs: list[list[float]]
    params: list[list[float]]


def as_list(result: Any) -> list[Value]:
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    return [y if isinstance(y, Value) else Value(y) for y in results]


def clear(nodes: Sequence[Value]) -> None:
    for node in nodes:
        node.grad = 0.0


def gradients(output: Value, inputs: Sequence[Value], params: Sequence[Value]) -> Any:
    """Of one output, with respect to both."""
    clear([*inputs, *params])
    output.backward()
    return [x.grad for x in inputs], [p.grad for p in params]


def eager_row(case: Case, row: Sequence[float]) -> Row:
    """Without a recording; each output in a graph of its own."""
    result = Row([], [], [])
    count = len(as_list(case.function(*map(Value, row))))
    for i in range(count):
        inputs = [Value(x) for x in row]
        output = as_list(case.function(*inputs))[i]
        by_inputs, by_params = gradients(output, inputs, case.params)
        result.data.append(output.data)
        result.inputs.append(by_inputs)
        result.params.append(by_params)
    return result


@dataclass
class Table:
    """What many rows give: arrays (rows, outputs), (rows, outputs, inputs or params)."""

    data: Any
    inputs: Any
    params: Any


def eager(case: Case, rows: Any) -> Table:
    found = [eager_row(case, row) for row in rows.tolist()]
    return Table(
        np.array([row.data for row in found]),
        np.array([row.inputs for row in found]),
        np.array([row.params for row in found]),
    )


def columns(rows: Any) -> list[Any]:
    """One array an argument; they aren't contiguous."""
    return [rows[:, i] for i in range(rows.shape[1])]


def recorded_rows(f: Any, rows: Any) -> tuple[Any, Any]:
    """Outputs and gradients of many rows, as in `Table`."""
    data, by_inputs = f.gradients(*columns(rows))
    return as_columns(data), np.stack([part.reshape(len(rows), -1) for part in by_inputs], axis=-1)


def as_columns(data: Any) -> Any:
    """Outputs of many rows as an array (rows, outputs)."""
    data = np.stack(data, axis=-1) if isinstance(data, tuple) else data
    return data.reshape(len(data), -1)


def recorded_row(f: Any, case: Case, row: Sequence[float]) -> Row:
    """f called with Values."""
    result = Row([], [], [])
    count = len(as_list(f(*row)))
    for i in range(count):
        inputs = [Value(x) for x in row]
        output = as_list(f(*inputs))[i]
        by_inputs, by_params = gradients(output, inputs, case.params)
        result.data.append(output.data)
        result.inputs.append(by_inputs)
        result.params.append(by_params)
    return result


def recorded_row_of_floats(f: Any, case: Case, row: Sequence[float]) -> tuple[Any, Any]:
    """(data, gradients of the parameters) of f called with floats."""
    outputs = as_list(f(*row))
    return [y.data for y in outputs], [gradients(y, [], case.params)[1] for y in outputs]


def row_difference(f: Any, case: Case, row: Sequence[float], expected: Row) -> str | None:
    """What one row of f gives otherwise than expected, bit for bit."""
    ours = recorded_row(f, case, row)
    data, by_params = recorded_row_of_floats(f, case, row)
    sums = as_list(f.sum(*[np.array([x]) for x in row]))
    sums_params = [gradients(y, [], case.params)[1] for y in sums]
    for name, a, b in (
        ("data", ours.data, expected.data),
        ("gradients by Values", ours.inputs, expected.inputs),
        ("gradients by parameters", ours.params, expected.params),
        ("data of floats", data, expected.data),
        ("gradients by parameters of floats", by_params, expected.params),
        ("gradients of a sum", sums_params, expected.params),
    ):
        if difference := first_difference(a, b):
            return f"{name} {difference}"
    return None


# ---- Plans ---------------------------------------------------------------------------------------

UNARY = [op.name for op in OPS if op.arity == 1 and not op.takes_number]


def positive(a: Value) -> Value:
    return a.abs() + 0.1


def small(a: Value) -> Value:
    """Within (-0.85, 0.85)."""
    return a.sin().sin()


_OF_POSITIVE = ("log", "log1p", "log2", "log10", "sqrt", "cbrt", "lgamma", "digamma")

# What brings an operand into an op's domain, away from its poles, and the result to a size.
INTO_DOMAIN: dict[str, Callable[[Value], Value]] = {
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), lambda a: a.tanh()),
    **dict.fromkeys(_OF_POSITIVE, positive),
    **dict.fromkeys(("tan", "asin", "acos", "atanh"), small),
    "acosh": lambda a: positive(a) + 1.0,
}


def of_any(name: str, a: Value) -> Value:
    """The unary op of a, brought into its domain."""
    return getattr(INTO_DOMAIN.get(name, lambda a: a)(a), name)()  # type: ignore[no-any-return]


def is_defined(name: str, a: float) -> bool:
    """Does the oracle's unary op have a value at a?"""
    try:
        reference.OPS[name].value(a, 0.0)
    except ValueError:
        return False
    return True


def chain(pick: Callable[[int], Value], indices: Sequence[int], start: Any) -> Value:
    """sum(w * x), from a start."""
    total = start
    for i, j in zip(indices[::2], indices[1::2]):
        total = total + pick(i) * pick(j)
    return total


Step = tuple[str, tuple[int, ...], float]

STEPS: dict[str, Callable[[Any, tuple[int, ...], float], Any]] = {
    **{name: (lambda pick, i, c, name=name: of_any(name, pick(i[0]))) for name in UNARY},
    "add": lambda pick, i, c: pick(i[0]) + pick(i[1]),
    "twice": lambda pick, i, c: pick(i[0]) + pick(i[0]),
    "add number": lambda pick, i, c: c + pick(i[0]),
    "sub": lambda pick, i, c: pick(i[0]) - pick(i[1]),
    "number sub": lambda pick, i, c: c - pick(i[0]),
    "mul": lambda pick, i, c: pick(i[0]) * pick(i[1]),
    "square": lambda pick, i, c: pick(i[0]) * pick(i[0]),
    "mul number": lambda pick, i, c: pick(i[0]) * c,
    "soft mul": lambda pick, i, c: pick(i[0]).tanh() * pick(i[1]),
    "div": lambda pick, i, c: pick(i[0]) / positive(pick(i[1])),
    "number div": lambda pick, i, c: c / positive(pick(i[0])),
    "div number": lambda pick, i, c: pick(i[0]) / (abs(c) + 0.5),
    "neg": lambda pick, i, c: -pick(i[0]),
    "whole power": lambda pick, i, c: pick(i[0]).sin() ** int(c),
    "pown": lambda pick, i, c: positive(pick(i[0])) ** c,
    "pow": lambda pick, i, c: positive(pick(i[0])) ** pick(i[1]).tanh(),
    "number pow": lambda pick, i, c: (abs(c) + 0.1) ** pick(i[0]).tanh(),
    "maximum": lambda pick, i, c: maximum(pick(i[0]), pick(i[1])),
    "minimum": lambda pick, i, c: minimum(pick(i[0]), pick(i[1])),
    "maximum number": lambda pick, i, c: maximum(c, pick(i[0])),
    "minimum number": lambda pick, i, c: minimum(pick(i[0]), c),
    "detach": lambda pick, i, c: detach(pick(i[0])),
    "where": lambda pick, i, c: where(pick(i[0]) < pick(i[1]), pick(i[2]), pick(i[3])),
    "where number": lambda pick, i, c: where(pick(i[0]) >= c, pick(i[1]), c),
    "where and": lambda pick, i, c: where(
        (pick(i[0]) > c) & (pick(i[1]) <= pick(i[2])), pick(i[2]), pick(i[3])
    ),
    "where or": lambda pick, i, c: where(
        (pick(i[0]) > c) | (pick(i[1]) <= pick(i[2])), pick(i[2]), pick(i[3])
    ),
    "constant": lambda pick, i, c: Value(c),
    "chain": lambda pick, i, c: chain(pick, i, 0),
    "chain from number": lambda pick, i, c: chain(pick, i, c),
    "chain from Value": lambda pick, i, c: chain(pick, i[1:], pick(i[0])),
    "chain, other way round": lambda pick, i, c: pick(i[0]) * pick(i[1]) + (pick(i[2]) * c + c),
    "chain of chains": lambda pick, i, c: chain(pick, i, chain(pick, i[2:], 0)),
    "product of chains": lambda pick, i, c: chain(pick, i, c) * chain(pick, i[1:], 0),
    "shared product": lambda pick, i, c: (
        lambda p: chain(pick, i[2:], p) + p * pick(i[1]) + p
    )(pick(i[0]) * pick(i[1])),
    "sum": lambda pick, i, c: pygradc.sum([pick(j) for j in i], c),
    "dot": lambda pick, i, c: pygradc.dot([pick(j) for j in i[:3]], [pick(j) for j in i[3:]], c),
}  # fmt: skip

OUTPUTS = ("last", "two", "list", "input", "parameter", "constant", "same twice", "all")


def outputs_of(kind: str, values: list[Value], inputs: int) -> Any:
    last = values[-1]
    return {
        "last": lambda: last,
        "two": lambda: (last, values[-2]),
        "list": lambda: (values[-2], last, values[-3]),
        "input": lambda: (last, values[0]),
        "parameter": lambda: (values[inputs], last),
        "constant": lambda: (last, Value(-0.0), 2.5),
        "same twice": lambda: (last, last),
        "all": lambda: tuple(values[-8:]),
    }[kind]()


def planned(plan: Sequence[Step], inputs: int, numbers: Sequence[float], outputs: str) -> Case:
    """A function of the steps; numbers are the data of what it captures, the last by a node."""
    leaves = [Value(x) for x in numbers]
    params = [*leaves[:-1], leaves[-1] * 2.0]

    def function(*args: Value) -> Any:
        values = [*args, *params]
        for name, indices, number in plan:
            taken = values[-6:] if indices[-1] % 3 == 0 else values  # the newest now and then
            values.append(STEPS[name](lambda i, t=taken: t[i % len(t)], indices, number))
        return outputs_of(outputs, values, inputs)

    function.keep = leaves  # type: ignore[attr-defined]
    return Case(function, inputs, params)


def drawn(seed: int, steps: int = 25) -> Case:
    dice = random.Random(seed)
    plan = [
        (
            dice.choice(list(STEPS)),
            tuple(dice.randrange(100) for _ in range(6)),
            dice.choice([dice.uniform(-3, 3), 1.0, 2.0, -1.0, 0.0, 0.5]),
        )
        for _ in range(steps)
    ]
    numbers = [dice.uniform(-2, 2) for _ in range(3)]
    return planned(plan, 3, numbers, OUTPUTS[seed % len(OUTPUTS)])


# ---- Cases written by hand -----------------------------------------------------------------------


def mlp(sizes: Sequence[int], activation: str = "tanh", seed: int = 1) -> Case:
    random.seed(seed)
    model = pygradc.nn.MLP(sizes[0], list(sizes[1:]), activation)
    return Case(lambda *x: model(list(x)), sizes[0], model.parameters())


def with_params(count: int, build: Callable[..., Any], inputs: int, **more: Any) -> Case:
    """build(params, *inputs)."""
    params = [Value(x) for x in np.random.default_rng(count).uniform(-1.5, 1.5, count).tolist()]
    return Case(functools.partial(build, params), inputs, params, **more)


def apply(op: Op, a: Value, b: Value | float) -> Value:
    """The op, of its first operand only if it takes one."""
    if op.takes_number:
        return getattr(a, op.method)(2.0 if op.name == "polygamma" else 0.7)
    return getattr(a, op.name)(*[b][: op.arity - 1])


def op_case(op: Op) -> Case:
    """One op, of an input and a parameter where it takes two; and of parameters only."""
    (low, high), *rest = op.intervals
    p, q = Value(0.5 * (low + high) + 0.3), Value(0.6)

    def function(x: Value, y: Value) -> Any:
        pairs = (x, y), (x, q), (p, x), (p, q), (x, x), (y, x)
        a, b, c, d, e, f = (apply(op, *pair) for pair in pairs)
        return a, b, c, d * x, e + f

    if rest:
        low, high = max(low, rest[0][0]), min(high, rest[0][1])
    return Case(function, 2, [p, q], low, high)


OP_CASES = {op.name: op_case(op) for op in OPS}


# ---- Rows of four numbers, in every layout -------------------------------------------------------

X = np.arange(24.0).reshape(6, 4) / 8
ARRAYS = {
    "float32": X.astype(np.float32),
    "float16": X.astype(np.float16),
    "longdouble": X.astype(np.longdouble),
    "big endian": X.astype(">f8"),
    "Fortran": np.asfortranarray(X),
    "every other row": np.repeat(X, 2, axis=0)[::2],
    "every other column": np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": X[::-1][::-1],
    "transposed": X.T.copy().T,
    "broadcast": np.broadcast_to(X[0], (6, 4)),
    "unaligned": np.frombuffer(b"." + X.tobytes(), np.uint8)[1:].view(float).reshape(6, 4),
    "subclass": X.view(np.recarray),
    "read-only": np.frombuffer(X.tobytes()).reshape(6, 4),
    "list": X.tolist(),
    "list of arrays": list(X),
    "int": np.arange(24).reshape(6, 4),
    "uint8": np.arange(24, dtype=np.uint8).reshape(6, 4),
    "bool": np.arange(24).reshape(6, 4) % 3 == 0,
}
